//! How long a stream gathers before one write per player, when `merge_window` is `auto`.
//!
//! The kernel's price of a write hardly depends on its size, so fewer and larger writes are the
//! only thing that makes a busy worker cheaper. An idle worker writes at once. Sockets are counted,
//! not time: on a machine that is shared, what a flush takes says more of its neighbours.

use std::cell::Cell;
use std::rc::Rc;

/// A worker that has no more streams and subscribers than these writes at once.
const IDLE: usize = 125;
/// With these its window has grown to the full. It grows from nothing, so that a worker at the limit
/// does not jump to and fro.
const BUSY: usize = 250;
/// Half of the latency (p99 60 ms) that a busy worker may add: a message may come right behind a
/// flush, and the flush itself takes a part.
const MAX_MS: usize = 33;

/// The sockets that one flush of a stream reads from and writes to; they count into the worker's sum
/// until dropped.
pub(crate) struct Sockets {
    own: Cell<usize>,
    all: Rc<Cell<usize>>,
}

impl Sockets {
    /// None so far, of the worker whose sum is `all`.
    pub(crate) fn new(all: &Rc<Cell<usize>>) -> Self {
        Sockets { own: Cell::new(0), all: all.clone() }
    }

    /// There are so many now.
    pub(crate) fn set(&self, sockets: usize) {
        let old = self.own.replace(sockets);
        self.all.set(self.all.get() + sockets - old);
    }

    /// The window in milliseconds that suits the worker's load; 0 = at the end of the loop turn.
    pub(crate) fn window(&self) -> u64 {
        let beyond = self.all.get().min(BUSY).saturating_sub(IDLE);
        (beyond * MAX_MS / (BUSY - IDLE)) as u64
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        self.set(0);
    }
}
