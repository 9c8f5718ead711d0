//! What is logged of relays that fail: the first failure, then at most a line a minute with the
//! count, and the recovery; each attempt at level `debug`. It is kept by the relay's name, so that a client which comes and goes
//! does not bring a first failure each time.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;

use super::target::Target;
use crate::nginx::clock;
use crate::nginx::log;
use crate::stream_request::StreamRequest;

/// A relay that goes on failing is logged once in so many milliseconds.
const AGAIN_MS: u64 = 60_000;
/// The lines that the failures and recoveries of all relays of a worker take in that time.
const MAX_LINES: u32 = 150;
/// Names that are remembered before those of no use any more are looked for.
const MIN_NAMES: usize = 64;

thread_local! {
    static KNOWN: RefCell<HashMap<Rc<str>, Rc<State>>> = RefCell::default();
    static LINES: Cell<Lines> = const { Cell::new(Lines { since: 0, said: 0, left_out: 0 }) };
}

/// The lines since a moment.
#[derive(Clone, Copy)]
struct Lines {
    since: u64,
    said: u32,
    left_out: u32,
}

/// What was said of a relay.
#[derive(Default)]
struct State {
    /// When a failure was last logged.
    said: Cell<Option<u64>>,
    /// Failures since then that were not.
    unsaid: Cell<u32>,
    /// It has failed, and not worked for a while since.
    failing: Cell<bool>,
    /// The failure that goes on was logged, so its end is to be.
    told: Cell<bool>,
}

impl State {
    fn is_recent(&self) -> bool {
        self.said.get().is_some_and(|said| clock::now().saturating_sub(said) < AGAIN_MS)
    }
}

/// What is logged of one relay.
pub struct Report {
    name: Rc<str>,
    state: Rc<State>,
    /// nginx's number of the connection that the relay is for now; 0 = nobody's.
    client: Cell<usize>,
}

impl Report {
    /// `name` tells the relay apart: `pull of X`, `push of X`, and whose line it is.
    pub fn of(name: String) -> Self {
        KNOWN.with_borrow_mut(|known| {
            if known.len() >= MIN_NAMES && known.len().is_power_of_two() {
                known.retain(|_, state| Rc::strong_count(state) > 1 || state.is_recent());
            }
            let name: Rc<str> = name.into();
            let state = known.entry(name.clone()).or_default().clone();
            Report { name, state, client: Cell::new(0) }
        })
    }

    /// Whom the relay is for from now on.
    pub fn speaks_for(&self, request: &StreamRequest) {
        self.client.set(request.caller.connection);
    }

    /// What lines begin with, as nginx begins those of a connection.
    fn begin(&self) -> String {
        match self.client.get() {
            0 => "rtmp:".into(),
            number => format!("*{number} rtmp:"),
        }
    }

    /// An attempt failed, or a relay that worked broke; `next` is what follows.
    pub fn failed(&self, relay: &str, target: Option<&Target>, what: &str, next: fmt::Arguments) {
        let state = &self.state;
        state.failing.set(true);
        let (log, begin) = (log::cycle(), self.begin());
        if state.is_recent() || !may_say() {
            state.unsaid.set(state.unsaid.get().saturating_add(1));
            match target {
                Some(target) => log::debug!(log, "{begin} {relay} {target}: {what}; {next}"),
                None => log::debug!(log, "{begin} {relay} nowhere: {what}; {next}"),
            }
            return;
        }
        state.said.set(Some(clock::now()));
        state.told.set(true);
        let before = match state.unsaid.take() {
            0 => String::new(),
            1 => "; one failure before it was not logged".into(),
            n => format!("; {n} failures before it were not logged"),
        };
        match target {
            Some(target) => log::error!(log, "{begin} {relay} {target}: {what}; {next}{before}"),
            None => log::error!(log, "{begin} {relay} nowhere: {what}; {next}{before}"),
        }
    }

    /// It works. One that has failed has to work for a while before that is said.
    pub fn established(&self, relay: &str, target: &Target) {
        let begin = self.begin();
        match self.state.failing.get() {
            false => log::notice!(log::cycle(), "{begin} {relay} {target}: established"),
            true => log::debug!(log::cycle(), "{begin} {relay} {target}: established"),
        }
    }

    /// It has worked for a while.
    pub fn stable(&self, relay: &str, target: &Target) {
        let state = &self.state;
        if !state.failing.replace(false) || !state.told.replace(false) || !may_say() {
            return;
        }
        let (log, begin) = (log::cycle(), self.begin());
        match state.unsaid.take() {
            0 => log::notice!(log, "{begin} {relay} {target}: established again"),
            n => {
                log::notice!(
                    log,
                    "{begin} {relay} {target}: established again, after {n} more failures"
                );
            }
        }
    }

    /// It has ended as it should.
    pub fn ended(&self, relay: &str, target: &Target, what: &str) {
        let begin = self.begin();
        log::info!(log::cycle(), "{begin} {relay} {target}: ended: {what}");
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        KNOWN.with_borrow_mut(|known| {
            // this and the map
            if Rc::strong_count(&self.state) <= 2 && !self.state.is_recent() {
                known.remove(&self.name);
            }
        });
    }
}

/// Whether there is room for another line. What there was none for is counted, and that is said.
fn may_say() -> bool {
    let now = clock::now();
    let mut lines = LINES.get();
    if now.saturating_sub(lines.since) >= AGAIN_MS {
        if lines.left_out > 0 {
            log::error!(
                log::cycle(),
                "rtmp: {} more failures of relays were not logged in a minute",
                lines.left_out
            );
        }
        lines = Lines { since: now, said: 0, left_out: 0 };
    }
    let room = lines.said < MAX_LINES;
    match room {
        true => lines.said += 1,
        false => lines.left_out = lines.left_out.saturating_add(1),
    }
    LINES.set(lines);
    room
}
