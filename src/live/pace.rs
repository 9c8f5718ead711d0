//! How long a stream gathers before one write per player, when `merge_window` is `auto`.
//!
//! The kernel's price of a write hardly depends on its size, so fewer and larger writes are the
//! only thing that makes a busy worker cheaper. An idle worker writes at once.

use std::cell::Cell;
use std::time::Duration;

use crate::nginx::clock;

/// Flushing all streams of the worker once costs less than this, as it does with a hundred players:
/// write at once.
const IDLE_US: f64 = 500.0;
/// The window is this many times what flushing everything once costs beyond that. It begins at
/// nothing, so that a worker at the limit does not jump to and fro, and has grown to its full length
/// where flushing every message would take a twentieth of the time.
const FACTOR: f64 = 100.0;
/// The longest window: a thousand players see p99 50 ms with it.
const MAX_MS: f64 = 33.0;
/// The longest that a message may take, as it does right behind the beginning of a flush: that flush,
/// the window, and its own flush. With many players the window is shorter by the flushes, down to the
/// half.
const MAX_LATENCY_MS: f64 = 55.0;
/// One flush of so many is measured, as the clock of the thread costs a system call.
const MEASURED: u32 = 8;
/// So many measurements are kept. Their median counts: on a machine that is shared with others a
/// flush may now and then take ten times as long, which says nothing of the worker's load.
const KEPT: usize = 5;

thread_local! {
    /// Sum over the worker's streams of what one flush costs, in microseconds.
    static WORKER_COST: Cell<f64> = const { Cell::new(0.0) };
}

/// What one flush of one stream costs in time on the processor, with the reading that was put off
/// until then; it counts into the worker's sum until dropped.
#[derive(Default)]
pub struct Cost {
    flushes: Cell<u32>,
    /// The last measurements, in microseconds.
    last: Cell<[f32; KEPT]>,
    /// What this stream has in the worker's sum.
    counted: Cell<f64>,
}

impl Cost {
    /// Does a flush.
    pub fn of<R>(&self, flush: impl FnOnce() -> R) -> R {
        let n = self.flushes.get();
        self.flushes.set(n.wrapping_add(1));
        if n % MEASURED > 0 {
            return flush();
        }
        let before = clock::thread_time();
        let result = flush();
        self.note(n / MEASURED, clock::thread_time().saturating_sub(before));
        result
    }

    /// Takes the measurement of this number.
    fn note(&self, number: u32, took: Duration) {
        let mut last = self.last.get();
        last[number as usize % KEPT] = took.as_secs_f32() * 1e6;
        self.last.set(last);
        last.sort_by(f32::total_cmp);
        self.count(f64::from(last[KEPT / 2]));
    }

    fn count(&self, cost: f64) {
        let old = self.counted.replace(cost);
        WORKER_COST.set((WORKER_COST.get() + cost - old).max(0.0));
    }
}

impl Drop for Cost {
    fn drop(&mut self) {
        self.count(0.0);
    }
}

/// The window in milliseconds that suits the worker's load; 0 = at the end of the loop turn.
pub fn window() -> u64 {
    let cost = WORKER_COST.get();
    let beyond = (cost - IDLE_US).max(0.0);
    let longest = (MAX_LATENCY_MS - 2.0 * cost / 1000.0).clamp(MAX_MS / 2.0, MAX_MS);
    (beyond * FACTOR / 1000.0).min(longest) as u64
}
