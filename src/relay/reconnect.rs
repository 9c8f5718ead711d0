//! How a relay is kept up: who is tried, in which order, and how long to wait in between.

use std::fmt;
use std::rc::Rc;

use super::loops::MAX_HOPS;
use super::target::Target;
use crate::conf::Msec;
use crate::nginx::clock;
use crate::nginx::log;
use crate::nginx::random;
use crate::nginx::task::{sleep, timeout};
use crate::visit::Visit;

/// A relay that breaks sooner than this after it was established waits like one that failed, so
/// that a server which takes and drops everybody is not asked without end.
const STABLE_MS: u64 = 1000;
/// How far a delay is off by chance, in percent: relays that broke together do not come back
/// together.
const JITTER: u64 = 20;

/// Why an attempt failed, or an established relay broke.
#[derive(Debug)]
pub struct Failure {
    /// What the other server said of the stream, if it said it.
    pub refused: Option<Refused>,
    /// For the log.
    pub why: String,
}

/// What another server says of a stream that it does not serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// There is no such stream.
    NotFound,
    /// It is not for us.
    Forbidden,
}

impl Failure {
    /// A failure of the way to the server, or of the server.
    pub fn new(why: impl Into<String>) -> Self {
        Failure { refused: None, why: why.into() }
    }

    /// The server's answer was no.
    pub fn refused(refused: Refused, why: impl Into<String>) -> Self {
        Failure { refused: Some(refused), why: why.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// Who says where a relay goes: the configuration, or a scheduler.
pub trait Targets {
    /// Decides about the next attempt for the stream of `visit`.
    async fn next(&mut self, visit: &Rc<Visit>) -> Decision;
}

/// Where an attempt goes.
pub enum Decision {
    /// There: each in turn, at once, until one works.
    Try(Vec<Candidate>),
    /// Nowhere: there is to be no relay.
    GiveUp,
    /// Nowhere, and the clients that the relay is for are to end.
    EndClients(&'static str),
    /// Nobody knows; the question is asked again later.
    Failed(String),
}

/// A target, and what is held as long as a relay to it is tried or established.
pub struct Candidate {
    pub target: Target,
    pub lease: Box<dyn Lease>,
}

/// Held by the one relay session that a decision led to; dropped when that has ended, established
/// or not.
pub trait Lease {
    /// The relay works now.
    fn established(&mut self) {}

    /// No relay is made of the decision.
    fn unused(self: Box<Self>) {}
}

impl Lease for () {}

/// One direction of relaying: how one session is opened, and how it goes on.
pub trait Relay {
    /// For the log: `pull of X from`, `push of X to`.
    fn describe(&self) -> String;
    /// An established session; dropped, it is closed.
    type Session;
    /// A client that the relay is for, now; `None` when the last has left.
    fn client(&self) -> Option<Rc<Visit>>;
    /// The first delay after a failure, and the longest.
    fn delays(&self, visit: &Visit) -> (Msec, Msec);
    /// From the host's name to the other server's first status.
    async fn open(&self, visit: &Rc<Visit>, target: &Target) -> Result<Self::Session, Failure>;
    /// Until it breaks.
    async fn run(&self, session: Self::Session) -> Failure;
    /// What it means that the last of all candidates failed so.
    fn stop(&self, failure: &Failure) -> Option<Stop>;
}

/// Why a relay is not kept up any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Its last client has left.
    NobodyLeft,
    /// It is not to be.
    GiveUp,
    /// It is not to be, and its clients are to end.
    EndClients(&'static str),
}

/// Keeps a relay up, until there is a reason to stop.
pub async fn keep_up<R: Relay>(relay: &R, targets: &mut impl Targets) -> Stop {
    let mut delays = Delays::default();
    loop {
        let Some(visit) = relay.client() else { return Stop::NobodyLeft };
        if visit.hops >= MAX_HOPS {
            let why = format_args!("it has come through {MAX_HOPS} relays already; given up");
            log(relay, None, why);
            return Stop::GiveUp;
        }
        let (first, longest) = relay.delays(&visit);
        let candidates = match targets.next(&visit).await {
            Decision::Try(candidates) => candidates,
            Decision::GiveUp => return Stop::GiveUp,
            Decision::EndClients(why) => return Stop::EndClients(why),
            Decision::Failed(why) => {
                let ms = delays.failed(first, longest);
                log(relay, None, format_args!("{why}; again in {ms}ms"));
                sleep(ms).await;
                continue;
            }
        };
        let limit = visit.app.relay.relay_timeout;
        let mut candidates = candidates.into_iter().peekable();
        let mut wait = None;
        while let Some(Candidate { target, mut lease }) = candidates.next() {
            let opened = timeout(limit, relay.open(&visit, &target)).await;
            let opened =
                opened.unwrap_or_else(|| Err(Failure::new(format!("no answer within {limit}ms"))));
            if opened.is_err() {
                target.failed();
            }
            match opened {
                Ok(session) => {
                    log::notice!(log::cycle(), "rtmp: {} {target}: established", relay.describe());
                    lease.established();
                    let since = clock::now();
                    let failure = relay.run(session).await;
                    drop(lease);
                    let ms = match clock::now().saturating_sub(since) >= STABLE_MS {
                        true => delays.start_anew(),
                        false => delays.failed(first, longest),
                    };
                    log(relay, Some(&target), format_args!("ended: {failure}; again in {ms}ms"));
                    wait = Some(ms);
                    break;
                }
                Err(failure) if candidates.peek().is_some() => {
                    log(relay, Some(&target), format_args!("{failure}; trying the next url"));
                }
                Err(failure) => {
                    if let Some(stop) = relay.stop(&failure) {
                        log(relay, Some(&target), format_args!("{failure}; given up"));
                        return stop;
                    }
                    let ms = delays.failed(first, longest);
                    log(relay, Some(&target), format_args!("{failure}; again in {ms}ms"));
                    wait = Some(ms);
                }
            }
        }
        let wait = wait.unwrap_or_else(|| delays.failed(first, longest));
        if wait > 0 {
            sleep(wait).await;
        }
    }
}

fn log(relay: &impl Relay, target: Option<&Target>, what: fmt::Arguments<'_>) {
    let relay = relay.describe();
    match target {
        Some(target) => log::error!(log::cycle(), "rtmp: {relay} {target}: {what}"),
        None => log::error!(log::cycle(), "rtmp: {relay} nowhere: {what}"),
    }
}

/// The delay after the last failure; 0 = none yet.
#[derive(Default)]
struct Delays(Msec);

impl Delays {
    /// The next delay: `first`, then twice the last, no longer than `longest`, all give or take
    /// [`JITTER`] percent.
    fn failed(&mut self, first: Msec, longest: Msec) -> Msec {
        self.0 = match self.0 {
            0 => first.min(longest),
            last => last.saturating_mul(2).min(longest),
        };
        let [a, b, c, d, ..] = random::seed();
        let chance = u64::from(u32::from_ne_bytes([a, b, c, d])) % (2 * JITTER + 1);
        (self.0.saturating_mul(100 - JITTER + chance) / 100).max(1)
    }

    /// After a success: at once.
    fn start_anew(&mut self) -> Msec {
        self.0 = 0;
        0
    }
}
