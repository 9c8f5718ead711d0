//! Why a request was not answered, by whose failure it is.

use std::fmt;
use std::io;

use http::StatusCode;

use crate::nginx::addresses;
use crate::nginx::async_conn::ConnectError;
use crate::nginx::resolver;

/// Why there is no answer: whose failure it is.
#[derive(Debug)]
pub enum RequestError {
    /// Nobody wants it any more, and nothing was sent.
    Left,
    /// This side: the server was not asked, or not in time.
    Own(Own),
    /// The server, or the way to it.
    Silence(Silence),
}

/// Why this side could not ask.
#[derive(Debug)]
pub enum Own {
    /// All of `timeout=` went by behind other requests of this worker.
    Busy,
    /// No connection, descriptor, port or memory.
    Connect(io::Error),
    /// There is no name server to ask, or the host's name is none.
    Resolve(resolver::Error),
    /// The request would be longer than servers take, in bytes.
    TooLong(usize),
    /// The request makes no valid url.
    Request(http::Error),
}

/// Why the server, or the name server before it, has not answered.
#[derive(Debug)]
pub enum Silence {
    /// It took longer than `timeout=`.
    TimedOut,
    /// Name servers know no address of the host, or do not answer: the way to the server is cut.
    Resolve(String),
    /// None of its addresses takes a connection.
    Connect(addresses::Error),
    /// The connection broke, or what came is no answer of HTTP's.
    Http(hyper::Error),
    /// No final status of HTTP's (RFC 9110, 15).
    Status(StatusCode),
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestError::Left => f.write_str("the client has left"),
            RequestError::Own(own) => write!(f, "not asked: {own}"),
            RequestError::Silence(silence) => write!(f, "no answer: {silence}"),
        }
    }
}

impl fmt::Display for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Own::Busy => f.write_str("too many requests of this worker are under way"),
            Own::Connect(error) => write!(f, "{error}"),
            Own::Resolve(error) => write!(f, "the host is not resolved: {error}"),
            Own::TooLong(bytes) => write!(f, "a request of {bytes} bytes is too long"),
            Own::Request(error) => write!(f, "not a request: {error}"),
        }
    }
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Silence::TimedOut => f.write_str("timed out"),
            Silence::Resolve(error) => write!(f, "the host is not resolved: {error}"),
            Silence::Connect(error) => error.fmt(f),
            // hyper names the cause of what went wrong only as a source
            Silence::Http(error) => match std::error::Error::source(error) {
                Some(cause) => write!(f, "{error}: {cause}"),
                None => write!(f, "{error}"),
            },
            Silence::Status(status) => write!(f, "status {}", status.as_u16()),
        }
    }
}

impl std::error::Error for RequestError {}

impl From<Own> for RequestError {
    fn from(own: Own) -> Self {
        RequestError::Own(own)
    }
}

impl From<Silence> for RequestError {
    fn from(silence: Silence) -> Self {
        RequestError::Silence(silence)
    }
}

impl From<resolver::Error> for RequestError {
    fn from(error: resolver::Error) -> Self {
        match error {
            resolver::Error::Own(why) => Own::Connect(io::Error::other(why)).into(),
            resolver::Error::Answer(text) => Silence::Resolve(text).into(),
            error => Own::Resolve(error).into(),
        }
    }
}

impl From<addresses::Error> for RequestError {
    fn from(error: addresses::Error) -> Self {
        match error {
            addresses::Error::Failed(_, ConnectError::Own(error)) => Own::Connect(error).into(),
            error => Silence::Connect(error).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> io::Error {
        io::Error::from(io::ErrorKind::AddrNotAvailable)
    }

    #[test]
    fn who_could_not_connect_is_told_from_who_was_refused() {
        let address = ([127, 0, 0, 1], 80).into();
        let error = addresses::Error::Failed(address, ConnectError::Own(own()));
        assert!(matches!(RequestError::from(error), RequestError::Own(Own::Connect(_))));
        let error = addresses::Error::Failed(address, ConnectError::Peer(own()));
        assert!(matches!(RequestError::from(error), RequestError::Silence(Silence::Connect(_))));
        let error = addresses::Error::NoAddress;
        assert!(matches!(RequestError::from(error), RequestError::Silence(Silence::Connect(_))));
    }

    #[test]
    fn who_could_not_resolve_is_told_from_a_name_that_is_none() {
        let error = resolver::Error::Own("no connection");
        assert!(matches!(RequestError::from(error), RequestError::Own(Own::Connect(_))));
        for own in [resolver::Error::NoNameServer, resolver::Error::NotAName] {
            assert!(matches!(RequestError::from(own), RequestError::Own(Own::Resolve(_))));
        }
        let error = resolver::Error::Answer("host not found".into());
        assert!(matches!(RequestError::from(error), RequestError::Silence(Silence::Resolve(_))));
    }

    #[test]
    fn the_text_says_whose_failure_it_is() {
        assert_eq!(RequestError::Left.to_string(), "the client has left");
        let busy = RequestError::from(Own::Busy).to_string();
        assert!(busy.starts_with("not asked: "), "{busy}");
        let silence = RequestError::from(Silence::TimedOut).to_string();
        assert_eq!(silence, "no answer: timed out");
    }
}
