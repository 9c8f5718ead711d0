//! How often a connection may begin anew. With HTTP/2, a packet holds a hundred requests, and each of
//! them makes us ask a server and try an origin.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;

use super::StreamRequest;
use crate::nginx::clock;

/// A connection that has spent all its attempts has all of them again after so many milliseconds.
const MINUTE_MS: u64 = 60_000;
/// The table of connections is swept when it has grown by so many.
const SWEEP: usize = 1024;

thread_local! {
    /// By the number of a connection, and for each kind, when it has all its attempts again, in the
    /// loop's milliseconds.
    static SPENT: RefCell<HashMap<(usize, Attempt), u64>> = RefCell::default();
    static SWEEP_AT: Cell<usize> = const { Cell::new(SWEEP) };
}

/// What `rtmp_limit_attempts` counts.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Attempt {
    /// To begin to publish or to play.
    Begin,
    /// To have a stream pulled.
    Pull,
}

/// The connection has spent its attempts: `rtmp_limit_attempts`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent;

impl Spent {
    /// For the log and for the client.
    pub fn why(self) -> &'static str {
        "the connection has spent its attempts"
    }
}

impl fmt::Display for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.why())
    }
}

impl std::error::Error for Spent {}

/// Spends one of the attempts of the client's connection.
pub fn spend(request: &StreamRequest, attempt: Attempt) -> Result<(), Spent> {
    // a static pull has no connection
    let Some(max) = request.app.limit.attempts.filter(|_| request.caller.connection != 0) else {
        return Ok(());
    };
    let now = clock::now();
    SPENT.with_borrow_mut(|all| {
        if all.len() >= SWEEP_AT.get() {
            all.retain(|_, full_at| *full_at > now);
            SWEEP_AT.set(all.len() + SWEEP);
        }
        let full_at = all.entry((request.caller.connection, attempt)).or_insert(now);
        *full_at = next_full_at(*full_at, now, max).ok_or(Spent)?;
        Ok(())
    })
}

/// When a connection that has all of its `max` attempts at `full_at` has them again after one more;
/// `None` if it has none left.
fn next_full_at(full_at: u64, now: u64, max: u32) -> Option<u64> {
    let each = (MINUTE_MS / u64::from(max.max(1))).max(1);
    let next = full_at.max(now) + each;
    (next <= now + MINUTE_MS).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many attempts a connection has, of which each comes `apart` ms after the one before.
    fn attempts(max: u32, apart: u64, within: u64) -> u32 {
        let (mut now, mut full_at, mut count) = (1_000_000, 1_000_000, 0);
        let end = now + within;
        while now <= end {
            if let Some(next) = next_full_at(full_at, now, max) {
                (full_at, count) = (next, count + 1);
            }
            now += apart;
        }
        count
    }

    #[test]
    fn all_attempts_may_come_at_once() {
        assert_eq!(attempts(30, 1, 100), 30);
    }

    #[test]
    fn as_many_more_come_in_a_minute() {
        assert_eq!(attempts(30, 10, MINUTE_MS), 60);
        assert_eq!(attempts(1, 10, MINUTE_MS), 2);
    }

    #[test]
    fn who_is_slower_than_that_is_never_refused() {
        assert_eq!(attempts(30, 2000, 10 * MINUTE_MS), 301);
    }
}
