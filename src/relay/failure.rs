//! Why a relay is not, or not any more.

use std::fmt;
use std::io;
use std::net::IpAddr;

use http::StatusCode;
use live::End;
use rtmp_protocol::chunk::ChunkError;
use rtmp_protocol::flv::FlvError;
use rtmp_protocol::handshake::HandshakeError;
use rtmp_protocol::url::UrlError;

use crate::conf::Msec;
use crate::nginx::addresses;
use crate::nginx::async_conn::ConnectError;
use crate::nginx::resolver;
use crate::stream_request::attempts::Spent;

/// Why an attempt failed, or an established relay broke.
#[derive(Debug)]
pub struct Failure {
    /// What happened.
    pub cause: Cause,
    /// What the other server says of the stream by it.
    pub refused: Option<Refused>,
    /// The stream is not there any more, though the server is: the normal end of a relay.
    pub gone: bool,
}

/// What another server says of a stream that it does not serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// There is no such stream.
    NotFound,
    /// It is not for us.
    Forbidden,
    /// Nothing of use, once it had heard what we want.
    Unclear,
}

/// Who has ended a relay, or kept it from beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndedBy {
    /// This side.
    Us,
    /// The way to the other server.
    Network,
    /// The other server.
    Peer,
    /// The scheduling server.
    Scheduler,
}

/// What happened.
#[derive(Debug)]
pub enum Cause {
    // ---- by us ----
    /// The line of the configuration names no url.
    NoUrl,
    /// None of its urls is one once its variables have values.
    NoValidUrl,
    /// The client's connection has had as many pulls as it may.
    Spent(Spent),
    /// The host leads to this very stream.
    ThisStream(String),
    /// `relay_allow` and `relay_deny` let no relay go to the host, which is at this address.
    NotAllowed(String, IpAddr),
    /// A name that RTMP can't say: the query begins at its `?`.
    NameWithQuery,
    /// What is asked for makes no HTTP request.
    NoRequest(http::Error),
    /// `relay_redirects` follows no redirect to this url, for this reason.
    NotFollowed(String, &'static str),
    /// Another pull of this worker feeds the stream.
    OtherPull,
    /// The engine has ended our subscription.
    Subscription(End),
    /// A fault of our own, which is in the log.
    Internal,

    // ---- by the network ----
    /// The host has no address.
    Resolve(String, resolver::Error),
    /// None of its addresses takes a connection.
    Connect(addresses::Error),
    /// There was no answer within so many milliseconds.
    Late(Msec),
    /// The connection broke.
    Broken(io::Error),
    /// It broke under HTTP, or what came is no HTTP.
    Http(hyper::Error),

    // ---- by the other server ----
    /// It has closed the connection.
    Closed,
    /// It has closed the connection within the handshake.
    ClosedInHandshake,
    /// Its handshake is none.
    Handshake(HandshakeError),
    /// Its chunks are none.
    Chunks(ChunkError),
    /// Its FLV is none.
    Flv(FlvError),
    /// It has refused with this status: code and description.
    Status(String),
    /// It has answered with this status of HTTP's.
    Answered(StatusCode),
    /// Its answer is encoded.
    Encoded,
    /// It has redirected us without saying where to.
    NoLocation,
    /// It has redirected us to what is no url.
    BadLocation(String, UrlError),
    /// It has redirected us more often than this.
    Redirects(u32),
    /// Its answer to `createStream` names no stream.
    NoStream,
    /// It has the stream, but sends nothing of it.
    NoMedia,
    /// It has sent nothing of the stream for so many milliseconds.
    Dry(Msec),
    /// It has sent nothing at all for too long.
    Silent,
    /// It has not answered a ping.
    NoPong,
    /// It does not read what we send.
    DoesNotRead,
    /// It does not read the answers that it asks for.
    AnswersUnread,
    /// Its publisher has left.
    Unpublished,

    // ---- by the scheduling server ----
    /// It has not answered.
    Unanswered,
    /// It could not be asked, which is our own fault.
    NotAsked,
    /// What it answers with names no relay.
    BadRedirect(BadRedirect),
}

/// Why a redirect of a scheduling server names no relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadRedirect {
    /// It has no `Location`.
    NoLocation,
    /// Its `Location` is no url that a relay can go to.
    Location(String, UrlError),
    /// A push goes to RTMP only.
    PushToHttp(String),
    /// Its `Domain` is no name of a host.
    Domain,
}

impl Failure {
    /// The other server said the stream's name, or nothing, by it.
    pub fn refused(refused: Refused, cause: Cause) -> Self {
        Failure { refused: Some(refused), ..Failure::from(cause) }
    }

    /// The stream has ended, as it should, by this.
    pub fn gone(cause: Cause) -> Self {
        Failure { gone: true, ..Failure::from(cause) }
    }

    /// The server had heard what we want when that happened: it may be because of it.
    pub fn when_asked(self) -> Self {
        Failure { refused: self.refused.or(Some(Refused::Unclear)), ..self }
    }

    /// Whether this is how a relay ends when all is well.
    pub fn is_normal(&self) -> bool {
        self.gone
    }
}

impl From<Cause> for Failure {
    fn from(cause: Cause) -> Self {
        Failure { cause, refused: None, gone: false }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.source()
    }
}

impl Cause {
    /// Whose doing it is.
    pub fn ended_by(&self) -> EndedBy {
        match self {
            Cause::NoUrl
            | Cause::NoValidUrl
            | Cause::Spent(_)
            | Cause::ThisStream(_)
            | Cause::NotAllowed(..)
            | Cause::NameWithQuery
            | Cause::NoRequest(_)
            | Cause::NotFollowed(..)
            | Cause::OtherPull
            | Cause::Subscription(_)
            | Cause::Internal
            | Cause::NotAsked
            | Cause::Resolve(
                _,
                resolver::Error::Own(_) | resolver::Error::NoNameServer | resolver::Error::NotAName,
            )
            | Cause::Connect(addresses::Error::Failed(_, ConnectError::Own(_))) => EndedBy::Us,
            Cause::Resolve(_, resolver::Error::Answer(_))
            | Cause::Connect(_)
            | Cause::Late(_)
            | Cause::Broken(_)
            | Cause::Http(_) => EndedBy::Network,
            Cause::Unanswered | Cause::BadRedirect(_) => EndedBy::Scheduler,
            _ => EndedBy::Peer,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Cause::NoUrl => "there is no url",
            Cause::NoValidUrl => "no url is valid with the values of its variables",
            Cause::Spent(spent) => return spent.fmt(f),
            Cause::ThisStream(host) => return write!(f, "{host} is this very stream here"),
            Cause::NotAllowed(host, ip) => {
                return write!(
                    f,
                    "\"{host}\" is at {ip}, where relay_allow and relay_deny let no relay go"
                )
            }
            Cause::NameWithQuery => "its name holds a \"?\", where RTMP begins the query",
            Cause::NoRequest(error) => return write!(f, "not a request: {error}"),
            Cause::NotFollowed(url, why) => return write!(f, "redirected to \"{url}\": {why}"),
            Cause::OtherPull => "the stream has another pull",
            Cause::Subscription(end) => return f.write_str(&end.why()),
            Cause::Internal => "internal error",
            Cause::Resolve(host, error) => return write!(f, "\"{host}\" is not resolved: {error}"),
            Cause::Connect(error) => return error.fmt(f),
            Cause::Late(ms) => return write!(f, "no answer within {ms}ms"),
            Cause::Broken(error) => return write!(f, "connection failed: {error}"),
            // hyper names the cause only as a source
            Cause::Http(error) => match std::error::Error::source(error) {
                Some(cause) => return write!(f, "HTTP failed: {error}: {cause}"),
                None => return write!(f, "HTTP failed: {error}"),
            },
            Cause::Closed => "closed by the server",
            Cause::ClosedInHandshake => "closed by the server within the handshake",
            Cause::Handshake(error) => return write!(f, "handshake: {error}"),
            Cause::Chunks(error) => return error.fmt(f),
            Cause::Flv(error) => return error.fmt(f),
            Cause::Status(status) => return write!(f, "refused: {status}"),
            Cause::Answered(status) => return write!(f, "answered {status}"),
            Cause::Encoded => "the answer is encoded, though not asked for",
            Cause::NoLocation => "redirected to \"\": there is no Location",
            Cause::BadLocation(url, error) => return write!(f, "redirected to \"{url}\": {error}"),
            Cause::Redirects(max) => return write!(f, "more than {max} redirects"),
            Cause::NoStream => "createStream was answered without a stream",
            Cause::NoMedia => "the server has the stream, but sends nothing of it",
            Cause::Dry(ms) => return write!(f, "nothing came for {ms}ms"),
            Cause::Silent => "timed out: the origin sends nothing",
            Cause::NoPong => "timed out: no answer to a ping",
            Cause::DoesNotRead => "timed out: the server does not read",
            Cause::AnswersUnread => "the server does not read the answers it asks for",
            Cause::Unpublished => "unpublished",
            Cause::Unanswered => "the callback was not answered",
            Cause::NotAsked => "the callback could not be sent",
            Cause::BadRedirect(why) => return write!(f, "the callback was answered with {why}"),
        };
        f.write_str(text)
    }
}

impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Cause::Spent(error) => Some(error),
            Cause::NoRequest(error) => Some(error),
            Cause::Connect(error) => Some(error),
            Cause::Broken(error) => Some(error),
            Cause::Http(error) => Some(error),
            Cause::Handshake(error) => Some(error),
            Cause::Chunks(error) => Some(error),
            Cause::Flv(error) => Some(error),
            Cause::BadLocation(_, error) => Some(error),
            Cause::BadRedirect(error) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Display for BadRedirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadRedirect::NoLocation => f.write_str("a redirect without a Location"),
            BadRedirect::Location(url, error) => write!(f, "the Location \"{url}\": {error}"),
            BadRedirect::PushToHttp(url) => {
                write!(f, "the Location \"{url}\": a push goes to an rtmp url")
            }
            BadRedirect::Domain => f.write_str("a Domain that is no name of a host"),
        }
    }
}

impl std::error::Error for BadRedirect {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_whose_doing_it_is() {
        let io = || io::Error::from(io::ErrorKind::ConnectionReset);
        for (cause, by) in [
            (Cause::NoUrl, EndedBy::Us),
            (Cause::NotAsked, EndedBy::Us),
            (Cause::Resolve("o".into(), resolver::Error::Own("no memory")), EndedBy::Us),
            (Cause::Resolve("o".into(), resolver::Error::NoNameServer), EndedBy::Us),
            (Cause::Resolve("o".into(), resolver::Error::Answer("none".into())), EndedBy::Network),
            (Cause::Broken(io()), EndedBy::Network),
            (Cause::Late(1), EndedBy::Network),
            (Cause::Closed, EndedBy::Peer),
            (Cause::Unpublished, EndedBy::Peer),
            (Cause::Unanswered, EndedBy::Scheduler),
        ] {
            assert_eq!(cause.ended_by(), by, "{cause}");
        }
    }

    #[test]
    fn only_an_end_that_is_due_is_normal() {
        assert!(Failure::gone(Cause::Unpublished).is_normal());
        assert!(!Failure::from(Cause::Closed).is_normal());
    }

    #[test]
    fn a_refusal_is_not_made_unclear_by_having_been_asked() {
        let refused = Failure::refused(Refused::NotFound, Cause::Closed).when_asked();
        assert_eq!(refused.refused, Some(Refused::NotFound));
        assert_eq!(Failure::from(Cause::Closed).when_asked().refused, Some(Refused::Unclear));
    }

    #[test]
    fn a_cause_has_its_own_as_source() {
        let broken = Failure::from(Cause::Broken(io::ErrorKind::TimedOut.into()));
        assert!(std::error::Error::source(&broken).is_some());
        assert!(std::error::Error::source(&Failure::from(Cause::Closed)).is_none());
    }
}
