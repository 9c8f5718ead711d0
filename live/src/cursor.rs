//! A subscriber inside its stream: a position in the bytes of a wire.

use std::rc::Rc;

use crate::form::Form;
use crate::head::Head;
use crate::sink::Sink;
use crate::wire::Wire;

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

/// How a subscriber moves over the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It takes every byte from `pos` on.
    Live,
    /// It looks at each packet, from number `seq` on: until a key frame comes, or for good if the
    /// player does not want everything. That packet has begun to go out if `pos` is within it.
    Picking { seq: u64 },
    /// It takes nothing for now.
    Paused,
}

/// Where a cursor stands among the members of its wire.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Which of the lists.
    pub list: u8,
    pub index: u32,
}

/// A subscriber's state. There is one for each player, so its size counts.
pub(crate) struct Cursor {
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
    /// It picks video alone, and has had the key frame that this begins with.
    pub keyed: bool,
    /// It has the sticky messages of the packets before this number.
    pub headers: u64,
    /// How often it was moved to a key frame because it was behind.
    pub drops: u32,
    /// What it was behind when it came, as what is cached costs, and when that was, in the time of
    /// [`Packet::arrived`](crate::media::Packet::arrived): neither is its own doing.
    pub granted: u64,
    pub since: u64,
    /// Where it stands among the members, if it is one: then the member's position counts, not `pos`.
    pub direct: Option<Place>,
}

impl Cursor {
    /// Whether it takes the bytes of the wire as they are.
    pub(crate) fn is_live(&self) -> bool {
        self.mode == Mode::Live
    }

    /// The same, and whether it has all that it could get so far.
    pub(crate) fn is_steady(&self) -> bool {
        self.is_live() && self.head.is_none() && !self.blocked
    }

    /// The bytes that go out before the wire's.
    pub(crate) fn head(&mut self) -> &mut Head {
        self.head.get_or_insert_default()
    }

    /// What it holds for itself alone.
    pub(crate) fn held(&self) -> u64 {
        self.head.as_ref().map_or(0, |head| head.cost())
    }

    /// Takes the rest of the packet at `pos` over into the head, so that the cursor may be moved.
    pub(crate) fn finish_packet(&mut self, wire: &Wire) {
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
    pub(crate) fn rest_of_packet(&self, wire: &Wire) -> Option<(u64, u64)> {
        let seq = match self.mode {
            Mode::Live => wire.packet_at(self.pos),
            Mode::Picking { seq } => seq,
            Mode::Paused => return None,
        };
        let to = wire.start_of(seq + 1);
        (wire.start_of(seq) < self.pos && self.pos < to).then_some((self.pos, to))
    }

    /// Looks for a new start from packet number `seq` on.
    pub(crate) fn start_at(&mut self, seq: u64) {
        self.pick_from(seq);
        self.keyed = false;
    }

    /// Goes on to look at each packet, from number `seq` on.
    pub(crate) fn pick_from(&mut self, seq: u64) {
        self.mode = Mode::Picking { seq };
        self.pos = 0;
    }

    /// Notes that `n` bytes were taken, first of the head, and gives how many were of the wire.
    pub(crate) fn advance(&mut self, n: usize) -> u64 {
        let Some(head) = &mut self.head else { return n as u64 };
        let n = head.advance(n);
        if head.len() == 0 {
            self.head = None;
        }
        n as u64
    }
}
