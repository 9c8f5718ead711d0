//! A relay that is kept up as long as it has clients, however often it breaks.

use std::future::pending;
use std::rc::Rc;

use super::attempt::{attempt, Outcome, Relay};
use super::decision::Targets;
use super::delays::Delays;
use super::failure::Failure;
use super::loops::{self, MAX_HOPS};
use super::report::Report;
use super::target::Target;
use crate::conf::Msec;
use crate::nginx::task::sleep;
use crate::stream_request::StreamRequest;

/// Why a relay is not kept up any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Its last client has left, or it is not to be.
    Done,
    /// It is not to be, and its clients are to end.
    EndClients(&'static str),
}

/// A relay that is kept up as long as it has clients.
pub trait Lasting: Relay {
    /// A client that the relay is for, now; `None` when the last has left.
    fn client(&self) -> Option<Rc<StreamRequest>>;
    /// The first delay after a failure, and the longest.
    fn delays(&self, request: &StreamRequest) -> (Msec, Msec);
}

/// Keeps a relay up, until there is no client or another reason to stop. What the other server says
/// never ends the clients.
pub async fn keep_up<R: Lasting>(relay: &R, targets: &mut impl Targets) -> Stop {
    let report = Report::of(format!("{} {}", relay.describe(), targets.name()));
    let mut delay = Delays::default();
    let mut begin = 0;
    while let Some(request) = relay.client() {
        if loops::is_spent(&request) {
            report.speaks_for(&request);
            let why = format!("it has come through {MAX_HOPS} relays already");
            report.failed(&relay.describe(), None, &why, format_args!("given up"));
            return Stop::Done;
        }
        let outcome = attempt(relay, targets, &request, begin, &report, pending()).await;
        begin = 0;
        let failed = |failure: &Failure, target: Option<&Target>, ms: Msec| {
            let next = format_args!("again in {ms}ms").to_string();
            report.failed(&relay.describe(), target, &failure.to_string(), format_args!("{next}"));
        };
        let ms = match outcome {
            Outcome::Left | Outcome::GiveUp => return Stop::Done,
            Outcome::EndClients(why) => return Stop::EndClients(why),
            Outcome::Failed { failure, last } => {
                let ms = delay.failed(relay.delays(&request));
                failed(&failure, last.as_ref(), ms);
                ms
            }
            Outcome::Ended(ended) => {
                begin = ended.next;
                let ms = match ended.stable {
                    true => delay.start_anew(),
                    false => delay.failed(relay.delays(&request)),
                };
                failed(&ended.failure, Some(&ended.target), ms);
                ms
            }
        };
        if ms > 0 {
            sleep(ms).await;
        }
    }
    Stop::Done
}
