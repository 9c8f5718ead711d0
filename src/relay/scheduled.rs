//! Relays that a scheduler steers: it is asked at every attempt, and its answer names the target.

use std::hash::Hash;
use std::rc::Rc;

use super::decision::{Candidate, Decision, Lease, Targets};
use super::failure::{BadRedirect, Cause, Failure};
use super::target::{readable, Scheme, StreamUrl, Target};
use crate::conf::oclp::{Call, Callback};
use crate::oclp::{about_stream, ask, Act, Answer, Notice, Ongoing, Redirect};
use crate::registry;
use crate::stream_request::attempts::{self, Attempt};
use crate::stream_request::StreamRequest;

/// A line `oclp_pull`, `oclp_push` or `oclp_meta`.
pub struct Scheduled(pub Rc<Callback>);

impl Scheduled {
    /// What a server, and then an origin, is told in the name of `request`.
    pub fn told(&self, request: &StreamRequest) -> impl Hash {
        let asked = about_stream(&self.0, Act::Start, request);
        let carried =
            (request.args.clone(), request.domain.clone(), request.hops, request.via.clone());
        (asked, carried)
    }
}

impl Targets for Scheduled {
    fn name(&self) -> String {
        let Callback { url, groupid, .. } = &*self.0;
        let groupid = String::from_utf8_lossy(groupid.as_deref().unwrap_or_default());
        format!("{}{} {groupid}", url.authority, url.target)
    }

    async fn next(&mut self, request: &Rc<StreamRequest>) -> Decision {
        let call = self.0.call;
        if call == Call::Pull {
            if let Err(spent) = attempts::spend(request, Attempt::Pull) {
                return Decision::Failed(Cause::Spent(spent).into());
            }
        }
        let decided = ask(Notice::new(&self.0, request), decide).await;
        let decision = decided.unwrap_or_else(|| failed(Cause::Internal));
        if call == Call::Pull && !matches!(decision, Decision::EndClients(_)) {
            // whoever waited to hear whether there is a stream need not wait for it to come
            if let Some(stream) = registry::find(&request.key) {
                stream.set_decided();
            }
        }
        decision
    }
}

/// Nobody knows, maybe because of what the client says.
fn failed(cause: Cause) -> Decision {
    Decision::Failed(Failure::from(cause).when_asked())
}

/// What an answer does to a relay.
fn decide(notice: Notice, answer: Answer) -> Decision {
    match Steered::by(notice.callback.call, answer) {
        Steered::GiveUp => Decision::GiveUp,
        Steered::EndClients(why) => Decision::EndClients(why),
        Steered::Unknown(cause) => failed(cause),
        // from here on the relay's end is told
        Steered::To(location) => {
            let target = location.target(&notice.request);
            let lease = Box::new(Reported(Ongoing::new(notice)));
            Decision::Try(vec![Candidate { target, lease }])
        }
    }
}

/// What a scheduling server's answer means for a relay.
#[derive(Debug)]
enum Steered {
    GiveUp,
    EndClients(&'static str),
    To(Location),
    Unknown(Cause),
}

impl Steered {
    /// pull, push and meta: what an answer means.
    fn by(call: Call, answer: Answer) -> Self {
        let (end, http) = match call {
            Call::Pull => ("no such stream", true),
            _ => ("refused by the callback of a push", false),
        };
        match answer {
            Answer::Ok => Steered::GiveUp,
            Answer::OtherSuccess => Steered::EndClients(end),
            Answer::Redirect(to) => match Location::read(&to, http) {
                Ok(location) => Steered::To(location),
                Err(why) => Steered::Unknown(Cause::BadRedirect(why)),
            },
            Answer::Failure => Steered::EndClients(end),
            Answer::None => Steered::Unknown(Cause::Unanswered),
            Answer::NotAsked => Steered::Unknown(Cause::NotAsked),
        }
    }
}

/// Where a 3xx sends a relay.
#[derive(Debug)]
struct Location {
    url: StreamUrl,
    domain: Option<Vec<u8>>,
}

impl Location {
    /// Reads the headers of a redirect; only a pull may go to an `http` url.
    fn read(to: &Redirect, http: bool) -> Result<Self, BadRedirect> {
        let location = to.location.as_deref().ok_or(BadRedirect::NoLocation)?;
        let url = StreamUrl::parse(location)
            .map_err(|error| BadRedirect::Location(readable(location), error))?;
        if url.scheme == Scheme::Http && !http {
            return Err(BadRedirect::PushToHttp(readable(location)));
        }
        if !to.domain.as_deref().is_none_or(is_authority) {
            return Err(BadRedirect::Domain);
        }
        Ok(Location { url, domain: to.domain.clone() })
    }

    fn target(self, request: &StreamRequest) -> Target {
        Target::of_location(self.url, self.domain.as_deref(), request)
    }
}

/// Whether `domain` can stand in tcUrl and in a `Host` header.
fn is_authority(domain: &[u8]) -> bool {
    !domain.is_empty()
        && domain.iter().all(|byte| byte.is_ascii_graphic() && !b"/?#@\\\"<>".contains(byte))
}

/// One relay session, as the server knows of it.
struct Reported(Ongoing);

impl Lease for Reported {
    fn established(&mut self) {
        self.0.update();
    }

    fn unused(self: Box<Self>) {
        self.0.forget();
    }
}
