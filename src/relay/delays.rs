//! How long a relay that has failed waits before the next attempt.

use crate::conf::Msec;
use crate::nginx::random;

/// How far a delay is off by chance, in percent: relays that broke together do not come back
/// together.
const JITTER: u64 = 20;

/// The delay after the last failure; 0 = none yet.
#[derive(Default)]
pub struct Delays(Msec);

impl Delays {
    /// The next delay: `first`, then twice the last, no longer than `longest`, all give or take
    /// [`JITTER`] percent.
    pub fn failed(&mut self, (first, longest): (Msec, Msec)) -> Msec {
        self.0 = match self.0 {
            0 => first.min(longest),
            last => last.saturating_mul(2).min(longest),
        };
        let [a, b, c, d, ..] = random::seed();
        let chance = u64::from(u32::from_ne_bytes([a, b, c, d])) % (2 * JITTER + 1);
        (self.0.saturating_mul(100 - JITTER + chance) / 100).max(1)
    }

    /// After a success: at once.
    pub fn start_anew(&mut self) -> Msec {
        self.0 = 0;
        0
    }
}
