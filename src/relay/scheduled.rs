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
        let carried = (
            request.args.clone(),
            request.caller.domain.clone(),
            request.caller.hops,
            request.caller.via.clone(),
        );
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

#[cfg(test)]
mod tests {
    use super::*;

    fn redirect(location: Option<&str>, domain: Option<&str>) -> Answer {
        let bytes = |text: &str| text.as_bytes().to_vec();
        Answer::Redirect(Redirect { location: location.map(bytes), domain: domain.map(bytes) })
    }

    #[test]
    fn each_answer_to_a_pull_means_what_the_table_says() {
        assert!(matches!(Steered::by(Call::Pull, Answer::Ok), Steered::GiveUp));
        for answer in [Answer::OtherSuccess, Answer::Failure] {
            let steered = Steered::by(Call::Pull, answer);
            assert!(matches!(steered, Steered::EndClients("no such stream")));
        }
        assert!(matches!(
            Steered::by(Call::Pull, Answer::None),
            Steered::Unknown(Cause::Unanswered)
        ));
        assert!(matches!(
            Steered::by(Call::Pull, Answer::NotAsked),
            Steered::Unknown(Cause::NotAsked)
        ));
    }

    #[test]
    fn a_push_that_is_refused_ends_its_publisher() {
        for call in [Call::Push, Call::Meta] {
            assert!(matches!(Steered::by(call, Answer::Ok), Steered::GiveUp));
            assert!(matches!(Steered::by(call, Answer::Failure), Steered::EndClients(_)));
        }
    }

    #[test]
    fn a_pull_goes_to_rtmp_and_http_and_a_push_to_rtmp_only() {
        for url in ["rtmp://o/live/a", "http://o/live/a"] {
            let to = Steered::by(Call::Pull, redirect(Some(url), None));
            assert!(matches!(to, Steered::To(_)), "{url}");
        }
        let to = Steered::by(Call::Push, redirect(Some("rtmp://o/live/a"), None));
        assert!(matches!(to, Steered::To(_)));
        let to = Steered::by(Call::Push, redirect(Some("http://o/live/a?secret"), None));
        let Steered::Unknown(Cause::BadRedirect(why)) = to else { panic!("{to:?}") };
        assert_eq!(why, BadRedirect::PushToHttp("http://o/live/a".into()));
    }

    #[test]
    fn a_redirect_that_names_no_relay_is_unknown() {
        for (answer, text) in [
            (redirect(None, None), "a redirect without a Location"),
            (redirect(Some("rtmp://o/live/a"), Some("a b")), "a Domain that is no name of a host"),
            (redirect(Some("rtmp://o/live/a"), Some("")), "a Domain that is no name of a host"),
        ] {
            let to = Steered::by(Call::Pull, answer);
            let Steered::Unknown(cause) = to else { panic!("{to:?}") };
            assert_eq!(cause.to_string(), format!("the callback was answered with {text}"));
        }
        let to = Steered::by(Call::Pull, redirect(Some("nonsense"), None));
        assert!(matches!(to, Steered::Unknown(Cause::BadRedirect(BadRedirect::Location(..)))));
    }

    #[test]
    fn a_domain_is_a_host_with_or_without_a_port() {
        for domain in ["a.example", "a.example:1935", "[::1]:80"] {
            assert!(is_authority(domain.as_bytes()), "{domain}");
        }
        for domain in ["", "a/b", "a?b", "a@b", "a\r\nb", "\u{e4}"] {
            assert!(!is_authority(domain.as_bytes()), "{domain}");
        }
    }
}
