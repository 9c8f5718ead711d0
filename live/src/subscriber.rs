//! A cursor over a stream's bytes, and the peer that takes them.

use std::io::{self, IoSlice};
use std::rc::Rc;

use crate::cost::Held;
use crate::direct::{Direct, Place};
use crate::head::Head;
use crate::output::Block;
use crate::stream::Stream;
use crate::wire::{Form, Wire};

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

/// The peer of a subscriber. None of these may call back into the engine.
pub trait Sink {
    /// Writes a prefix of `data`. Less than all, or `WouldBlock`, means that the peer is full: the
    /// engine goes on after [`Subscription::writable`].
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

/// What a player wants of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter {
    pub audio: bool,
    pub video: bool,
}

impl Filter {
    /// Everything.
    pub const ALL: Filter = Filter { audio: true, video: true };
}

/// What a new subscriber is.
pub struct Subscriber {
    pub form: Form,
    pub sink: Rc<dyn Sink>,
    /// Counts as a player, so it keeps a pull alive; a relay that pushes does not.
    pub player: bool,
    /// Bytes to be written in front of the stream's: statuses, for example.
    pub prologue: Vec<u8>,
}

/// How a subscriber moves over the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Takes every byte from `pos` on.
    Live,
    /// Looks at each packet, from number `seq` on: until a key frame comes, or for good if the
    /// player does not want everything. That packet has begun to go out if `pos` is within it.
    Picking { seq: u64 },
    /// Takes nothing for now.
    Paused,
}

/// A subscriber inside its stream.
pub(super) struct Cursor {
    pub sink: Rc<dyn Sink>,
    pub id: u64,
    /// Which of the stream's wires.
    pub form: Form,
    pub mode: Mode,
    /// The next byte of the wire, in mode `Live` or within a packet.
    pub pos: u64,
    /// Own bytes that go before those at `pos`.
    pub head: Option<Box<Head>>,
    pub blocked: bool,
    pub player: bool,
    pub filter: Filter,
    /// It has the sticky messages of the packets before this number.
    pub headers: u64,
    /// How often it was moved to a key frame because it was behind.
    pub drops: u32,
    /// What it was behind when it came, as what is cached costs, and when that was, in the time of
    /// [`Packet::arrived`]: neither is its own doing.
    ///
    /// [`Packet::arrived`]: crate::media::Packet::arrived
    pub granted: u64,
    pub since: u64,
    /// The engine writes to its socket itself; what then is new stands there, `pos` included.
    pub direct: Option<Place>,
}

impl Cursor {
    /// Whether it takes the bytes of the wire as they are.
    pub fn is_live(&self) -> bool {
        self.mode == Mode::Live
    }

    /// The same, and whether it has all that it could get so far.
    pub fn is_steady(&self) -> bool {
        self.is_live() && self.head.is_none() && !self.blocked
    }

    /// The bytes that go out before the wire's.
    pub fn head(&mut self) -> &mut Head {
        self.head.get_or_insert_default()
    }

    /// What it holds for itself alone.
    pub fn held(&self) -> u64 {
        self.head.as_ref().map_or(0, |head| head.cost())
    }

    /// Takes the rest of the packet at `pos` over into the head, so that the cursor may be moved.
    pub fn finish_packet(&mut self, wire: &Wire) {
        let Some((from, to)) = self.rest_of_packet(wire) else { return };
        for (block, range) in wire.pieces(from, to) {
            self.head().push_rest(block, range);
        }
        match self.mode {
            Mode::Picking { seq } => self.pick_from(seq + 1),
            _ => self.pos = to,
        }
    }

    /// The bytes that complete the packet which has begun to go out.
    pub fn rest_of_packet(&self, wire: &Wire) -> Option<(u64, u64)> {
        let seq = match self.mode {
            Mode::Live => wire.packet_at(self.pos),
            Mode::Picking { seq } => seq,
            Mode::Paused => return None,
        };
        let to = wire.start_of(seq + 1);
        (wire.start_of(seq) < self.pos && self.pos < to).then_some((self.pos, to))
    }

    /// Looks at each packet from number `seq` on.
    pub fn pick_from(&mut self, seq: u64) {
        self.mode = Mode::Picking { seq };
        self.pos = 0;
    }

    /// Notes that `n` bytes were taken, first of the head, and gives how many were of the wire.
    pub fn advance(&mut self, n: usize) -> u64 {
        let Some(head) = &mut self.head else { return n as u64 };
        let n = head.advance(n);
        if head.len() == 0 {
            self.head = None;
        }
        n as u64
    }
}

/// A subscriber's hold on its stream; dropped, it takes nothing any more.
pub struct Subscription {
    pub(super) stream: Rc<Stream>,
    pub(super) id: u64,
}

impl Subscription {
    /// The peer takes bytes again.
    pub fn writable(&self, now: u64) {
        self.stream.writable(self.id, now);
    }

    /// Sends `bytes` at the next message boundary. False if more than `max` of such bytes wait for
    /// the peer now.
    pub fn send(&self, bytes: &[u8], max: usize, now: u64) -> bool {
        self.stream.send_own(self.id, bytes, now) <= max
    }

    /// When bytes were last written to the peer, in the loop's milliseconds, if its sink does not
    /// know that.
    pub fn written(&self) -> Option<u64> {
        self.stream.written(self.id)
    }

    /// Stops or goes on; a player that goes on starts at a key frame.
    pub fn pause(&self, pause: bool, now: u64) {
        self.stream.pause(self.id, pause, now);
    }

    /// Changes what the player wants.
    pub fn set_filter(&self, filter: Filter, now: u64) {
        self.stream.set_filter(self.id, filter, now);
    }

    /// Ends the subscription and gives the bytes that complete what the peer has begun to receive.
    pub fn finish(self) -> Vec<u8> {
        self.stream.unsubscribe(self.id).unwrap_or_default()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.stream.unsubscribe(self.id);
    }
}
