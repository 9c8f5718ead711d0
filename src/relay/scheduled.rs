//! Relays that a scheduler steers: it is asked at every attempt, and its answer names the target.

use std::hash::Hash;
use std::rc::Rc;

use super::decision::{Candidate, Decision, Lease, Targets};
use super::failure::Failure;
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
        if self.0.call == Call::Pull {
            if let Err(spent) = attempts::spend(request, Attempt::Pull) {
                return Decision::Failed(Failure::new(spent.why()));
            }
        }
        let decided = match self.0.call {
            Call::Pull => ask(Notice::new(&self.0, request), pull).await,
            _ => ask(Notice::new(&self.0, request), push).await,
        };
        let decision = decided.unwrap_or_else(|| failed("the decision failed"));
        if self.0.call == Call::Pull && !matches!(decision, Decision::EndClients(_)) {
            // whoever waited to hear whether there is a stream need not wait for it to come
            if let Some(stream) = registry::find(&request.key) {
                stream.set_decided();
            }
        }
        decision
    }
}

/// Nobody knows, maybe because of what the client says.
fn failed(why: impl Into<String>) -> Decision {
    Decision::Failed(Failure::new(why).when_asked())
}

/// pull: what an answer does.
fn pull(notice: Notice, answer: Answer) -> Decision {
    let end = Decision::EndClients("no such stream");
    match answer {
        Answer::Ok => Decision::GiveUp,
        Answer::OtherSuccess => end,
        Answer::Redirect(to) => follow(notice, &to, &[Scheme::Rtmp, Scheme::Http]),
        Answer::Failure => end,
        Answer::None => failed("the callback was not answered"),
        Answer::NotAsked => failed("the callback could not be sent"),
    }
}

/// push and meta: what an answer does.
fn push(notice: Notice, answer: Answer) -> Decision {
    let end = Decision::EndClients("refused by the callback of a push");
    match answer {
        Answer::Ok => Decision::GiveUp,
        Answer::OtherSuccess => end,
        Answer::Redirect(to) => follow(notice, &to, &[Scheme::Rtmp]),
        Answer::Failure => end,
        Answer::None => failed("the callback was not answered"),
        Answer::NotAsked => failed("the callback could not be sent"),
    }
}

/// The relay that a 3xx makes: from here on its end is told.
fn follow(notice: Notice, to: &Redirect, schemes: &[Scheme]) -> Decision {
    match target(&notice.request, to, schemes) {
        Err(why) => failed(format!("the callback was answered with {why}")),
        Ok(target) => {
            let lease = Box::new(Reported(Ongoing::new(notice)));
            Decision::Try(vec![Candidate { target, lease }])
        }
    }
}

fn target(request: &StreamRequest, to: &Redirect, schemes: &[Scheme]) -> Result<Target, String> {
    let location = to.location.as_deref().ok_or("a redirect without a Location")?;
    let refused = |why: &str| format!("the Location \"{}\": {why}", readable(location));
    let url = StreamUrl::parse(location).map_err(|error| refused(&error.to_string()))?;
    if !schemes.contains(&url.scheme) {
        return Err(refused("a push goes to an rtmp url"));
    }
    let domain = to.domain.as_deref();
    if !domain.is_none_or(is_authority) {
        return Err("a Domain that is no name of a host".into());
    }
    Ok(Target::of_location(url, domain, request))
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
