//! Whether media comes over a relay.

use std::cell::Cell;

use crate::nginx::clock;
use crate::nginx::task::{sleep, Signal};

/// Whether media comes.
#[derive(Default)]
pub struct MediaFlow {
    /// Raised with the first message.
    begun: Signal,
    /// When the last message came; 0 = none has.
    last: Cell<u64>,
}

impl MediaFlow {
    /// A message has come, at this moment of the loop.
    pub fn came(&self, now: u64) {
        if self.last.replace(now) == 0 {
            self.begun.set();
        }
    }

    /// Waits for the first message.
    pub async fn begins(&self) {
        if !self.has_begun() {
            self.begun.wait().await;
        }
    }

    /// Whether there was a message.
    pub fn has_begun(&self) -> bool {
        self.last.get() > 0
    }

    /// Waits until no message has come for `limit` milliseconds.
    pub async fn dries_up(&self, limit: u64) {
        while let Some(left @ 1..) = limit.checked_sub(clock::now().saturating_sub(self.last.get()))
        {
            sleep(left).await;
        }
    }
}
