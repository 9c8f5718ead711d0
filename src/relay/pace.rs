//! How often an origin is asked for a stream. It outlives the players, so that those who are
//! refused and come back do not have it asked without end.

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
/// A stream that nobody has asked an origin for in so long is forgotten.
const FORGET_MS: u64 = 10_000;
/// Streams that are remembered before those of no use any more are looked for.
const MIN_STREAMS: usize = 64;

thread_local! {
    static PACES: RefCell<HashMap<Key, Rc<Pace>>> = RefCell::default();
}

/// The attempts for one stream.
#[derive(Default)]
pub struct Pace {
    /// When the last attempt was due, had they come evenly.
    even: Cell<u64>,
    last: Cell<u64>,
    /// Until then nobody asks: the origin can't be reached, or is of no use.
    down_until: Cell<u64>,
    /// Until then nobody asks for what was asked for before.
    again_at: Cell<u64>,
    delays: RefCell<Delays>,
    /// In whose name it worked last.
    worked: Cell<Option<u64>>,
    asked: RefCell<HashMap<u64, Asked>>,
    /// How often clients of an address were refused.
    refused: RefCell<HashMap<IpAddr, u32>>,
}

/// What became of the last attempt in somebody's name.
#[derive(Clone, Copy)]
struct Asked {
    at: u64,
    refused: bool,
}

impl Pace {
    /// The pace for the stream of `key`.
    pub fn of(key: &Key) -> Rc<Self> {
        PACES.with_borrow_mut(|paces| {
            if let Some(pace) = paces.get(key) {
                return pace.clone();
            }
            if paces.len() >= MIN_STREAMS && paces.len().is_power_of_two() {
                let now = clock::now();
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
    pub fn ask(&self, identity: u64) {
        let now = clock::now();
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

    /// The origin is of no use to anybody for a while: how long, in milliseconds.
    pub fn failed(&self, delays: (Msec, Msec)) -> Msec {
        let ms = self.delays.borrow_mut().failed(delays);
        self.down_until.set(clock::now() + ms);
        ms
    }

    /// The origin does not have it for those in whose names it was asked: how long they wait.
    pub fn not_found(&self, delays: (Msec, Msec)) -> Msec {
        let ms = self.delays.borrow_mut().failed(delays);
        self.again_at.set(clock::now() + ms);
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
