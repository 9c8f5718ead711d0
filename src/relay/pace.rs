//! How often an origin is asked for a stream. It outlives the players: one that is
//! refused and comes back at once does not have the origin asked at once.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;

use live::Key;

use super::delays::Delays;
use crate::conf::Msec;
use crate::nginx::clock;

/// The shortest time between two attempts, on the average: twenty a second.
const INTERVAL_MS: u64 = 50;
/// Attempts that may follow each other at once when there were none before.
const BURST: u64 = 20;
/// One who was refused does not have the origin asked for the same again sooner than this.
const REFUSED_MS: u64 = 1000;
/// What was asked in whose name, and whose addresses were refused, is remembered for so many.
const MAX_REMEMBERED: usize = 4096;
/// A stream is forgotten this long after its last attempt.
const FORGET_MS: u64 = 10_000;
/// Streams that are remembered before those of no use any more are looked for.
const MIN_STREAMS: usize = 64;

thread_local! {
    static PACES: RefCell<HashMap<Key, Rc<Pace>>> = RefCell::default();
}

/// The attempts for one stream. Moments are the loop's, in milliseconds.
#[derive(Default)]
pub struct Pace {
    /// When the last attempt was due, had they come evenly.
    even: Cell<u64>,
    last: Cell<u64>,
    /// No attempt before this moment: the origin can't be reached, or serves nothing.
    down_until: Cell<u64>,
    /// No attempt in a name that was asked for before, until this moment.
    again_at: Cell<u64>,
    delays: RefCell<Delays>,
    /// In whose name it worked last.
    worked: Cell<Option<u64>>,
    asked: RefCell<HashMap<u64, Asked>>,
    /// How often clients of an address were refused.
    refused: RefCell<HashMap<IpAddr, u32>>,
}

/// The last attempt in the name of a player, and whether it was refused.
#[derive(Clone, Copy)]
struct Asked {
    at: u64,
    refused: bool,
}

impl Pace {
    /// The pace for the stream of `key`.
    pub fn of(key: &Key) -> Rc<Self> {
        let now = clock::now();
        PACES.with_borrow_mut(|paces| {
            if let Some(pace) = paces.get(key) {
                return pace.clone();
            }
            if paces.len() >= MIN_STREAMS && paces.len().is_power_of_two() {
                paces.retain(|_, pace| {
                    Rc::strong_count(pace) > 1 || pace.last.get() + FORGET_MS > now
                });
            }
            paces.entry(key.clone()).or_default().clone()
        })
    }

    /// When the origin may be asked in the name of `identity`.
    pub fn ready_at(&self, identity: u64) -> u64 {
        let burst = self.even.get().saturating_sub((BURST - 1) * INTERVAL_MS);
        let own = match self.asked.borrow().get(&identity) {
            Some(Asked { at, refused: true }) => self.again_at.get().max(at + REFUSED_MS),
            Some(_) => self.again_at.get(),
            None => 0,
        };
        burst.max(own).max(self.down_until.get())
    }

    /// When the origin was last asked in the name of `identity`; 0 = never.
    pub fn asked_at(&self, identity: u64) -> u64 {
        self.asked.borrow().get(&identity).map_or(0, |asked| asked.at)
    }

    /// How often clients of this address were refused.
    pub fn refusals(&self, ip: Option<IpAddr>) -> u32 {
        let refused = self.refused.borrow();
        ip.and_then(|ip| refused.get(&ip)).copied().unwrap_or(0)
    }

    /// The origin is asked in the name of `identity` now.
    pub fn ask(&self, identity: u64, now: u64) {
        self.last.set(now);
        self.worked.set(None);
        self.even.set(self.even.get().max(now) + INTERVAL_MS);
        let mut asked = self.asked.borrow_mut();
        make_room(&mut asked);
        asked.insert(identity, Asked { at: now, refused: false });
    }

    /// Whether it worked in the name of `identity`, and broke.
    pub fn has_worked(&self, identity: u64) -> bool {
        self.worked.get() == Some(identity)
    }

    /// It worked in the name of `identity` until now.
    pub fn worked(&self, identity: u64) {
        self.worked.set(Some(identity));
        self.start_anew();
    }

    /// What failed before does not count any more.
    pub fn start_anew(&self) {
        self.delays.borrow_mut().start_anew();
        self.down_until.set(0);
        self.again_at.set(0);
    }

    /// The origin failed, for all players: gives the delay, in milliseconds.
    pub fn failed(&self, delays: (Msec, Msec), now: u64) -> Msec {
        let ms = self.delays.borrow_mut().failed(delays);
        self.down_until.set(now + ms);
        ms
    }

    /// The origin does not have it for those in whose names it was asked: how long they wait.
    pub fn not_found(&self, delays: (Msec, Msec), now: u64) -> Msec {
        let ms = self.delays.borrow_mut().failed(delays);
        self.again_at.set(now + ms);
        ms
    }

    /// The origin refuses those of `identity`, one of whom has this address.
    pub fn refused(&self, identity: u64, ip: Option<IpAddr>) {
        if let Some(asked) = self.asked.borrow_mut().get_mut(&identity) {
            asked.refused = true;
        }
        if let Some(ip) = ip {
            let mut refused = self.refused.borrow_mut();
            make_room(&mut refused);
            let times = refused.entry(ip).or_default();
            *times = times.saturating_add(1);
        }
    }
}

/// What is forgotten costs an attempt too many, no more.
fn make_room<K, V>(remembered: &mut HashMap<K, V>) {
    if remembered.len() >= MAX_REMEMBERED {
        remembered.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAYS: (Msec, Msec) = (1000, 10_000);
    const IP: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    #[test]
    fn who_was_not_asked_for_may_be_at_once() {
        assert_eq!(Pace::default().ready_at(1), 0);
        assert_eq!(Pace::default().asked_at(1), 0);
    }

    #[test]
    fn a_burst_is_followed_by_twenty_a_second() {
        let pace = Pace::default();
        for identity in 0..BURST {
            assert!(pace.ready_at(identity) <= 100_000, "{identity}");
            pace.ask(identity, 100_000);
        }
        assert_eq!(pace.ready_at(BURST), 100_000 + INTERVAL_MS);
        pace.ask(BURST, 100_050);
        assert_eq!(pace.ready_at(BURST + 1), 100_000 + 2 * INTERVAL_MS);
    }

    #[test]
    fn an_origin_that_fails_is_asked_for_nobody_until_the_delay_is_over() {
        let pace = Pace::default();
        pace.ask(1, 5000);
        let ms = pace.failed(DELAYS, 5000);
        assert_eq!(pace.ready_at(1), 5000 + ms);
        assert_eq!(pace.ready_at(2), 5000 + ms);
    }

    #[test]
    fn an_origin_without_the_stream_is_asked_for_others() {
        let pace = Pace::default();
        pace.ask(1, 5000);
        let ms = pace.not_found(DELAYS, 5000);
        assert_eq!(pace.ready_at(1), 5000 + ms);
        assert!(pace.ready_at(2) <= 5000);
    }

    #[test]
    fn who_was_refused_waits_a_second() {
        let pace = Pace::default();
        pace.ask(1, 5000);
        pace.refused(1, IP);
        assert_eq!(pace.ready_at(1), 5000 + REFUSED_MS);
        assert_eq!((pace.refusals(IP), pace.refusals(None)), (1, 0));
    }

    #[test]
    fn what_works_forgets_the_delays_but_not_the_refusals() {
        let pace = Pace::default();
        pace.ask(1, 5000);
        pace.failed(DELAYS, 5000);
        pace.refused(1, IP);
        pace.worked(1);
        assert!(pace.has_worked(1) && !pace.has_worked(2));
        assert_eq!(pace.ready_at(2), pace.ready_at(3));
        assert!(pace.ready_at(2) <= 5000);
        assert_eq!(pace.refusals(IP), 1);
        pace.ask(2, 6000);
        assert!(!pace.has_worked(1));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let pace = Pace::default();
        for identity in 0..2 * MAX_REMEMBERED as u64 {
            pace.ask(identity, 1);
        }
        assert!(pace.asked.borrow().len() <= MAX_REMEMBERED);
    }
}
