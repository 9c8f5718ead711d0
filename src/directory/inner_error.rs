//! Why a pull between two workers does not begin, or ends.

use std::fmt;
use std::io;

use rtmp_protocol::flv::FlvError;

use crate::nginx::async_conn::ConnectError;

/// What went wrong.
#[derive(Debug)]
pub(super) enum InnerError {
    /// The other worker has no socket.
    NoSocket,
    /// Its socket takes no connection.
    Connect(ConnectError),
    /// The connection broke.
    Io(io::Error),
    /// The other worker has not answered in time.
    Silent,
    /// It has closed the connection before the end of a stream.
    Closed,
    /// It could not prove that it shares the zone.
    Stranger,
    /// There is no zone, or there are no random numbers.
    NoProof,
    /// Its request is longer than any key.
    TooLong,
    /// Its request names no stream.
    NoKey,
    /// This worker has no source of the stream.
    NoSource,
    /// What it sends is no FLV.
    Flv(FlvError),
    /// The stream has no players any more.
    NoPlayers,
    /// The stream has another source of this priority.
    Taken,
}

impl InnerError {
    /// Whether the other worker seems to be no more.
    pub(super) fn is_of_a_dead_worker(&self) -> bool {
        match self {
            InnerError::NoSocket => true,
            InnerError::Connect(ConnectError::Peer(error)) => {
                matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
            }
            _ => false,
        }
    }
}

impl From<io::Error> for InnerError {
    fn from(error: io::Error) -> Self {
        InnerError::Io(error)
    }
}

impl fmt::Display for InnerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            InnerError::NoSocket => "the worker has no socket",
            InnerError::Connect(error) => return error.fmt(f),
            InnerError::Io(error) => return error.fmt(f),
            InnerError::Silent => "the worker has not answered in time",
            InnerError::Closed => "the worker has closed the connection",
            InnerError::Stranger => "the socket is not that of a worker of this nginx",
            InnerError::NoProof => "nothing can be proved",
            InnerError::TooLong => "the request is too long",
            InnerError::NoKey => "the request names no stream",
            InnerError::NoSource => "there is no source of the stream here",
            InnerError::Flv(error) => return error.fmt(f),
            InnerError::NoPlayers => "the stream has no players any more",
            InnerError::Taken => "the stream has another source",
        })
    }
}

impl std::error::Error for InnerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            InnerError::Connect(error) => Some(error),
            InnerError::Io(error) => Some(error),
            InnerError::Flv(error) => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_dead_whose_socket_is_gone_or_takes_nothing() {
        let connect = |kind: io::ErrorKind| ConnectError::Peer(kind.into());
        for error in [
            InnerError::NoSocket,
            InnerError::Connect(connect(io::ErrorKind::ConnectionRefused)),
            InnerError::Connect(connect(io::ErrorKind::NotFound)),
        ] {
            assert!(error.is_of_a_dead_worker(), "{error}");
        }
    }

    #[test]
    fn a_failure_of_our_own_or_of_the_stream_makes_no_worker_dead() {
        let own = ConnectError::Own(io::ErrorKind::NotFound.into());
        let busy = ConnectError::Peer(io::ErrorKind::WouldBlock.into());
        for error in [
            InnerError::Connect(own),
            InnerError::Connect(busy),
            InnerError::Io(io::ErrorKind::NotFound.into()),
            InnerError::Silent,
            InnerError::Closed,
            InnerError::NoPlayers,
            InnerError::Taken,
        ] {
            assert!(!error.is_of_a_dead_worker(), "{error}");
        }
    }
}
