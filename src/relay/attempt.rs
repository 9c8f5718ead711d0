//! One attempt: the targets that were decided for it, in turn, until one works, and then until that
//! ends.

use std::future::{pending, Future};
use std::pin::{pin, Pin};
use std::rc::Rc;

use super::decision::{Candidate, Decision, Lease, Targets};
use super::failure::{Cause, EndedBy, Failure, Refused};
use super::media_flow::MediaFlow;
use super::report::Report;
use super::target::Target;
use crate::conf::relay::RelayConf;
use crate::conf::Msec;
use crate::nginx::clock;
use crate::nginx::log;
use crate::nginx::task::{race, sleep, timeout};
use crate::stream_request::StreamRequest;

/// A relay that breaks sooner than this after it was established waits like one that failed, so
/// that a server which takes and drops everybody is not asked without end.
const STABLE_MS: u64 = 1000;
/// The part of the time that players may be without media which is left to the next url.
const NEXT_URL: u64 = 5;

/// One direction of relaying: how one session is opened, and how it goes on.
pub trait Relay {
    /// For the log: `pull of X from`, `push of X to`.
    fn describe(&self) -> String;
    /// A session that the other server has consented to; dropped, it is closed.
    type Session;
    /// From the host's name to the other server's first status.
    async fn open(
        &self,
        request: &Rc<StreamRequest>,
        target: &Target,
    ) -> Result<Self::Session, Failure>;
    /// The media that has to come before the relay works; none for one that sends it.
    fn flow(&self, session: &Self::Session) -> Option<Rc<MediaFlow>>;
    /// Waits until media has been waited for long enough: for so many milliseconds, if there is
    /// somewhere else to go.
    async fn waited(&self, limit: Msec, spares: bool);
    /// Until it breaks.
    async fn run(&self, session: Self::Session) -> Failure;
}

/// What became of one attempt.
pub enum Outcome {
    /// Its client left before it was established.
    Left,
    /// There is to be no relay.
    GiveUp,
    /// There is to be no relay, and its clients are to end.
    EndClients(&'static str),
    /// None of the targets worked; what the last one said.
    Failed { failure: Failure, last: Option<Target> },
    /// It worked, and ended.
    Ended(Ended),
}

/// An established relay that has ended.
pub struct Ended {
    pub failure: Failure,
    pub target: Target,
    /// Whether it has worked for a while.
    pub stable: bool,
    /// The url to begin with next.
    pub next: usize,
}

/// One attempt for the stream of `request`: the targets in turn, from number `begin` on, until one
/// works, and then until that ends. It ends when `left` does, unless it works by then.
pub async fn attempt<R: Relay>(
    relay: &R,
    targets: &mut impl Targets,
    request: &Rc<StreamRequest>,
    begin: usize,
    report: &Report,
    left: impl Future<Output = ()>,
) -> Outcome {
    let mut left = pin!(left);
    report.speaks_for(request);
    let mut candidates = match unless(left.as_mut(), targets.next(request)).await {
        None => return Outcome::Left,
        Some(Decision::Try(candidates)) => candidates,
        Some(Decision::GiveUp) => return Outcome::GiveUp,
        Some(Decision::EndClients(why)) => return Outcome::EndClients(why),
        Some(Decision::Failed(failure)) => return Outcome::Failed { failure, last: None },
    };
    let urls = candidates.len();
    candidates.rotate_left(begin % urls.max(1));
    let limits = Limits::new(&request.app.relay, urls > 1);
    let mut candidates = candidates.into_iter().enumerate().peekable();
    while let Some((number, Candidate { target, mut lease })) = candidates.next() {
        let tried = try_one(relay, request, &target, &mut *lease, &limits, report, left.as_mut());
        let failure = match tried.await {
            Tried::Left => return Outcome::Left,
            Tried::Ended { failure, stable } => {
                let next = if failure.is_normal() { begin + number + 1 } else { 0 };
                return Outcome::Ended(Ended { failure, target, stable, next });
            }
            Tried::Failed(failure) => failure,
        };
        drop(lease);
        // an address that has answered is as good as the others, and so is one that we could not ask
        let answered = matches!(failure.refused, Some(Refused::NotFound | Refused::Forbidden));
        if !answered && failure.cause.ended_by() != EndedBy::Us {
            target.failed();
        }
        if candidates.peek().is_none() {
            return Outcome::Failed { failure, last: Some(target) };
        }
        let next = format_args!("trying the next url");
        report.failed(&relay.describe(), Some(&target), &failure.to_string(), next);
    }
    Outcome::Failed { failure: Cause::NoUrl.into(), last: None }
}

/// How long each target may take.
struct Limits {
    /// Until there is media.
    open: Msec,
    /// Between media; `None` = for ever.
    idle: Option<Msec>,
    /// Whether there is another target.
    spares: bool,
}

impl Limits {
    fn new(conf: &RelayConf, spares: bool) -> Self {
        // with somewhere else to go, players have media from there when the time is over
        let in_time = |limit: Msec| if spares { limit - limit / NEXT_URL } else { limit };
        let idle = Some(in_time(conf.relay_idle_timeout)).filter(|_| spares);
        Limits { open: in_time(conf.relay_timeout), idle, spares }
    }
}

/// What became of one target.
enum Tried {
    /// Its client left before it was established.
    Left,
    Failed(Failure),
    /// It worked, and ended.
    Ended {
        failure: Failure,
        stable: bool,
    },
}

async fn try_one<R: Relay>(
    relay: &R,
    request: &Rc<StreamRequest>,
    target: &Target,
    lease: &mut dyn Lease,
    limits: &Limits,
    report: &Report,
    mut left: Pin<&mut impl Future<Output = ()>>,
) -> Tried {
    let opened = open(relay, request, target, limits.open);
    let (session, rest) = match unless(left.as_mut(), opened).await {
        None => return Tried::Left,
        Some(Err(failure)) => return Tried::Failed(failure),
        Some(Ok(opened)) => opened,
    };
    let flow = relay.flow(&session);
    if flow.is_some() {
        let relay = relay.describe();
        log::debug!(log::cycle(), "rtmp: {relay} {target}: waits for media");
    }
    let mut run = pin!(relay.run(session));
    let begun = begins(relay, flow.as_deref(), run.as_mut(), rest, limits.spares);
    let ended = match unless(left, begun).await {
        None => return Tried::Left,
        Some(Err(failure)) => return Tried::Failed(failure),
        Some(Ok(ended)) => ended,
    };
    lease.established();
    report.established(&relay.describe(), target);
    let since = clock::now();
    let failure = match ended {
        Some(failure) => failure,
        None => works(relay, target, flow.as_deref(), run, limits.idle, report).await,
    };
    Tried::Ended { failure, stable: clock::now().saturating_sub(since) >= STABLE_MS }
}

/// Opens a session within `limit` milliseconds, and gives what is left of them.
async fn open<R: Relay>(
    relay: &R,
    request: &Rc<StreamRequest>,
    target: &Target,
    limit: Msec,
) -> Result<(R::Session, Msec), Failure> {
    let began = clock::now();
    let session = timeout(limit, relay.open(request, target)).await;
    let late = || Err(Failure::from(Cause::Late(limit)));
    let session = session.unwrap_or_else(late)?;
    Ok((session, limit.saturating_sub(clock::now().saturating_sub(began))))
}

/// Runs a session until its first media, if it has to bring any; with why it ended, if that was all.
async fn begins<R: Relay>(
    relay: &R,
    flow: Option<&MediaFlow>,
    run: Pin<&mut impl Future<Output = Failure>>,
    limit: Msec,
    spares: bool,
) -> Result<Option<Failure>, Failure> {
    let Some(flow) = flow else { return Ok(None) };
    let begins = async {
        flow.begins().await;
        Ok(None)
    };
    let waited = async {
        relay.waited(limit, spares).await;
        Err(Cause::NoMedia.into())
    };
    let ends = async { Err(run.await) };
    match race(begins, race(ends, waited)).await {
        Err(failure) if flow.has_begun() => Ok(Some(failure)),
        result => result.map_err(Failure::when_asked),
    }
}

/// Runs an established session until it ends, or brings no media for `idle` milliseconds.
async fn works<R: Relay>(
    relay: &R,
    target: &Target,
    flow: Option<&MediaFlow>,
    run: Pin<&mut impl Future<Output = Failure>>,
    idle: Option<Msec>,
    report: &Report,
) -> Failure {
    let stable = async {
        sleep(STABLE_MS).await;
        report.stable(&relay.describe(), target);
        pending().await
    };
    let dry = async {
        match (flow, idle) {
            (Some(flow), Some(limit @ 1..)) => {
                flow.dries_up(limit).await;
                Failure::gone(Cause::Dry(limit))
            }
            _ => pending().await,
        }
    };
    let failure = race(run, race(stable, dry)).await;
    // an origin that has lost the stream may say that there is none
    Failure { gone: failure.gone || failure.refused == Some(Refused::NotFound), ..failure }
}

/// Waits for `future`, unless `end` is ready first.
async fn unless<T>(
    end: Pin<&mut impl Future<Output = ()>>,
    future: impl Future<Output = T>,
) -> Option<T> {
    let end = async {
        end.await;
        None
    };
    race(async { Some(future.await) }, end).await
}
