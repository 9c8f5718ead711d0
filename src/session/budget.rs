//! How many commands a client may send.

use std::cell::Cell;

/// A client may send this many commands at once...
pub const COMMAND_BURST: u64 = 512;
/// ...and so many per second in the long run; a player that seeks and pauses sends one or two.
const COMMANDS_A_SECOND: u64 = 16;

/// Commands a client may still send.
pub struct Budget {
    left: Cell<u64>,
    filled: Cell<u64>,
}

impl Budget {
    pub fn new(now: u64) -> Self {
        Budget { left: Cell::new(COMMAND_BURST), filled: Cell::new(now) }
    }

    /// Takes one command off it; false if there is none left.
    pub fn take(&self, now: u64) -> bool {
        let earned = now.saturating_sub(self.filled.get()) * COMMANDS_A_SECOND / 1000;
        if earned > 0 {
            self.filled.set(now);
        }
        let left = (self.left.get() + earned).min(COMMAND_BURST);
        self.left.set(left.saturating_sub(1));
        left > 0
    }
}
