//! Lines of the log that are written at most once in a while, however often there is cause.

use std::cell::Cell;

use crate::nginx::clock;

/// A line, and when it was last written.
pub struct Seldom {
    every: u64,
    last: Cell<Option<u64>>,
}

impl Seldom {
    /// A line that is written once in so many milliseconds.
    pub const fn every(ms: u64) -> Self {
        Seldom { every: ms, last: Cell::new(None) }
    }

    /// Whether it is to be written now; then not again for a while.
    pub fn is_due(&self) -> bool {
        self.is_due_at(clock::now())
    }

    fn is_due_at(&self, now: u64) -> bool {
        let due = self.last.get().is_none_or(|last| now.saturating_sub(last) >= self.every);
        if due {
            self.last.set(Some(now));
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_due_at_once_and_then_once_in_a_while() {
        let line = Seldom::every(1000);
        let due: Vec<_> = [5, 6, 1004, 1005, 1500, 2005].map(|now| line.is_due_at(now)).into();
        assert_eq!(due, [true, false, false, true, false, true]);
    }

    #[test]
    fn a_clock_that_steps_back_makes_no_more_lines() {
        let line = Seldom::every(1000);
        assert!(line.is_due_at(5000));
        assert!(!line.is_due_at(10));
    }
}
