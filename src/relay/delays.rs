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

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether `ms` is `about`, give or take the jitter.
    fn is_about(ms: Msec, about: Msec) -> bool {
        (about * (100 - JITTER) / 100..=about * (100 + JITTER) / 100).contains(&ms)
    }

    #[test]
    fn delays_double_up_to_the_longest() {
        let mut delays = Delays::default();
        for about in [1000, 2000, 4000, 5000, 5000] {
            let ms = delays.failed((1000, 5000));
            assert!(is_about(ms, about), "{ms} is not about {about}");
        }
    }

    #[test]
    fn the_first_is_no_longer_than_the_longest() {
        assert!(is_about(Delays::default().failed((1000, 500)), 500));
    }

    #[test]
    fn after_a_success_there_is_none_and_the_next_is_the_first() {
        let mut delays = Delays::default();
        delays.failed((1000, 5000));
        delays.failed((1000, 5000));
        assert_eq!(delays.start_anew(), 0);
        assert!(is_about(delays.failed((1000, 5000)), 1000));
    }

    #[test]
    fn a_delay_is_never_nothing_and_never_overflows() {
        assert_eq!(Delays::default().failed((0, 0)), 1);
        let mut delays = Delays::default();
        for _ in 0..100 {
            assert!(delays.failed((Msec::MAX / 200, Msec::MAX / 200)) > 0);
        }
    }

    #[test]
    fn relays_that_broke_together_do_not_come_back_together() {
        let all: std::collections::HashSet<_> =
            (0..100).map(|_| Delays::default().failed((10_000, 10_000))).collect();
        assert!(all.len() > 5, "{all:?}");
    }
}
