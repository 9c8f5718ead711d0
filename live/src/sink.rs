//! The peer that takes a stream's bytes.

use std::io::{self, IoSlice};
use std::rc::Rc;

use crate::cost::Held;
use crate::output::{Block, Socket};

/// Bytes for a peer. `blocks` holds, for each part, the block that it lies in, so that a sink
/// which can't write at once may keep it; the other parts are only there during the call.
pub struct Data<'a> {
    pub parts: &'a [IoSlice<'a>],
    pub blocks: &'a [Option<&'a Rc<Block>>],
}

/// Why the engine ends a subscriber.
#[derive(Debug)]
pub enum End {
    /// The peer's connection failed.
    Failed(io::Error),
    /// The player fell behind more often than `out_queue drop=` allows.
    TooSlow { times: u32 },
    /// There is no source, and none is to come.
    NotFound(&'static str),
    /// The player left more unread than `player_memory` allows: so many bytes of its own.
    Unread { bytes: u64, stream: Held },
    /// The stream is put into too many other forms.
    TooManyForms,
}

impl End {
    /// Why, for the log.
    pub fn why(&self) -> String {
        match self {
            End::Failed(error) => format!("connection failed: {error}"),
            End::TooSlow { times } => format!("too slow, {times} times"),
            End::NotFound(why) => (*why).to_owned(),
            End::Unread { bytes, stream } => format!(
                "more unread than \"player_memory\" allows: {bytes} bytes, of a stream that \
                 holds {} of packets, {} of headers and {} for its players",
                stream.log, stream.headers, stream.players
            ),
            End::TooManyForms => "the stream has too many forms".to_owned(),
        }
    }
}

/// Subscribers that the engine ends, and why.
pub(crate) type Ended = Vec<(Rc<dyn Sink>, End)>;

/// How the bytes of a stream are wrapped on their way to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Not at all.
    Plain,
    /// Each write is a chunk (RFC 9112, 7.1).
    Chunked,
}

/// A socket that the engine may write to without its owner.
#[derive(Clone, Copy, Debug)]
pub struct Direct {
    pub socket: Socket,
    pub framing: Framing,
    /// The peer passes the stream on.
    pub relay: bool,
}

/// The peer of a subscriber. None of these may call back into the engine.
pub trait Sink {
    /// Writes a prefix of `data`. Less than all, or `WouldBlock`, means that the peer is full: the
    /// engine goes on after [`Subscription::writable`](crate::Subscription::writable).
    fn write(&self, data: Data<'_>) -> io::Result<usize>;
    /// A socket that the engine may write to itself from now on, as everything before is out.
    fn direct(&self) -> Option<Direct> {
        None
    }
    /// The engine has written so many bytes to that socket.
    fn sent(&self, _bytes: u64) {}
    /// That socket took `sent` bytes of `frame`, a chunk: sends the rest. True if it is all out.
    fn complete(&self, _frame: Data<'_>, _sent: usize) -> io::Result<bool> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// The engine has ended this subscriber, or asks for its end.
    fn end(&self, why: End);
    /// A source went on air or left.
    fn source(&self, on_air: bool);
}
