//! Subscribers whose sockets the engine writes to directly.
//!
//! What a flush needs of each of them lies side by side: with a thousand players the processor's
//! cache misses, one for each thing that a session is asked, cost as much as a tenth of the writes.

use std::io::{self, IoSlice};
use std::rc::Rc;

use crate::cursor::{Cursor, Place};
use crate::output::{Block, Socket};
use crate::sink::{Data, Direct, End, Ended, Framing};
use crate::wire::Wire;

/// The longest HTTP chunk, in bytes: what a client leaves unread of it is kept for that client alone.
const MAX_CHUNK: u64 = 64 * 1024;

/// Players by their framing, then relays.
const LISTS: usize = 4;

/// The list of those that have this in common.
fn list_of(relay: bool, framing: Framing) -> usize {
    2 * usize::from(relay) + framing as usize
}

/// A subscriber that has taken all that was flushed so far.
struct Member {
    /// The next byte of the wire.
    pos: u64,
    /// Bytes written since it became one.
    sent: u64,
    slot: u32,
    socket: Socket,
}

/// The subscribers of one wire that the engine writes to itself, by what they have in common.
#[derive(Default)]
pub(crate) struct Members {
    lists: [Vec<Member>; LISTS],
    /// How many there are.
    count: usize,
    /// Where the wire ended at the last flush: each of them has all that is before.
    flushed: u64,
}

/// A member that stands at another place, since the one there has left.
pub(crate) struct Moved {
    slot: u32,
    place: Place,
}

impl Moved {
    /// Tells its cursor.
    pub(crate) fn tell(self, slots: &mut [Option<Cursor>]) {
        if let Some(Some(cursor)) = slots.get_mut(self.slot as usize) {
            cursor.direct = Some(self.place);
        }
    }
}

impl Members {
    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// A position that each of them has reached, if there are any.
    pub(crate) fn reached(&self) -> Option<u64> {
        (self.count > 0).then_some(self.flushed)
    }

    /// Takes in the cursor of `slot`, if it has all that there is and its sink gives its socket.
    pub(crate) fn enter(&mut self, cursor: &mut Cursor, slot: u32) {
        if !cursor.is_steady() || cursor.direct.is_some() {
            return;
        }
        let Some(Direct { socket, framing, relay }) = cursor.sink.direct() else { return };
        let list = list_of(relay, framing);
        let Some(members) = self.lists.get_mut(list) else { return };
        cursor.direct = Some(Place { list: list as u8, index: members.len() as u32 });
        members.push(Member { pos: cursor.pos, sent: 0, slot, socket });
        if self.count == 0 {
            self.flushed = cursor.pos;
        }
        self.count += 1;
    }

    /// Takes the cursor out, so that it may be looked at and changed. The last of its list takes its
    /// place.
    #[must_use]
    pub(crate) fn leave(&mut self, cursor: &mut Cursor) -> Option<Moved> {
        let place = cursor.direct.take()?;
        let members = self.lists.get_mut(usize::from(place.list))?;
        let index = place.index as usize;
        if index >= members.len() {
            return None;
        }
        let member = members.swap_remove(index);
        self.count -= 1;
        cursor.pos = member.pos;
        cursor.sink.sent(member.sent);
        members.get(index).map(|moved| Moved { slot: moved.slot, place })
    }

    /// Writes to each relay, or each player, what is new in `wire`. A member that takes less leaves.
    pub(crate) fn flush(
        &mut self,
        relays: bool,
        wire: &Wire,
        slots: &mut [Option<Cursor>],
        ended: &mut Ended,
    ) {
        for framing in [Framing::Plain, Framing::Chunked] {
            let list = list_of(relays, framing);
            if self.lists.get(list).is_some_and(|members| !members.is_empty()) {
                self.flush_list(list, framing, wire, slots, ended);
            }
        }
        // relays come first
        if !relays {
            self.flushed = wire.end();
        }
    }

    fn flush_list(
        &mut self,
        list: usize,
        framing: Framing,
        wire: &Wire,
        slots: &mut [Option<Cursor>],
        ended: &mut Ended,
    ) {
        let Some(members) = self.lists.get_mut(list) else { return };
        let end = wire.end();
        // members that joined between two flushes may be ahead of the others
        let behind = members.iter().find(|member| member.pos != end);
        let mut next = behind.map(|member| member.pos);
        while let Some(pos) = next.take() {
            let mut fallen = Vec::new();
            let Some(members) = self.lists.get_mut(list) else { return };
            next = match wire.last_slice(pos) {
                Some(bytes) if framing == Framing::Plain => {
                    let send = |socket: Socket| socket.send(bytes);
                    write(members, pos, end, bytes.len(), send, &mut fallen)
                }
                _ => write_frame(members, pos, framing, wire, &mut fallen),
            };
            if !fallen.is_empty() {
                let mut head = String::new();
                let frame = Frame::new(wire, pos, framing, &mut head);
                self.fall(list, &frame, fallen, slots, ended);
            }
        }
    }

    /// Makes ordinary subscribers of the members that did not take all of a frame.
    #[cold]
    fn fall(
        &mut self,
        list: usize,
        frame: &Frame<'_>,
        fallen: Vec<Fallen>,
        slots: &mut [Option<Cursor>],
        ended: &mut Ended,
    ) {
        // from the last one on: a member that moves to the place of one that left has taken all
        for Fallen { index, pos, taken } in fallen.into_iter().rev() {
            let member = self.lists.get(list).and_then(|members| members.get(index as usize));
            let Some(slot) = member.map(|member| member.slot as usize) else { continue };
            let Some(Some(cursor)) = slots.get_mut(slot) else { continue };
            let moved = self.leave(cursor);
            cursor.pos = pos;
            if let Err(error) = frame.fell_short(cursor, taken) {
                // nothing more is written to it
                cursor.blocked = true;
                ended.push((cursor.sink.clone(), End::Failed(error)));
            }
            if let Some(moved) = moved {
                moved.tell(slots);
            }
        }
    }
}

/// Has `send` write the `len` bytes from `pos` to `end` to each member that is there. Gives the
/// position of one that is elsewhere, and not at the end.
fn write(
    members: &mut [Member],
    pos: u64,
    end: u64,
    len: usize,
    send: impl Fn(Socket) -> io::Result<usize>,
    fallen: &mut Vec<Fallen>,
) -> Option<u64> {
    let mut elsewhere = None;
    for (index, member) in members.iter_mut().enumerate() {
        if member.pos != pos {
            if member.pos != end {
                elsewhere = Some(member.pos);
            }
            continue;
        }
        let taken = send(member.socket);
        member.pos = end;
        match taken {
            Ok(n) if n == len => member.sent += n as u64,
            taken => fallen.push(Fallen { index: index as u32, pos, taken }),
        }
    }
    elsewhere
}

/// The same where it is more than one piece.
#[inline(never)]
fn write_frame(
    members: &mut [Member],
    pos: u64,
    framing: Framing,
    wire: &Wire,
    fallen: &mut Vec<Fallen>,
) -> Option<u64> {
    let mut head = String::new();
    let frame = Frame::new(wire, pos, framing, &mut head);
    let too_long = framing == Framing::Chunked && wire.end() - pos > MAX_CHUNK;
    let send = |socket: Socket| match too_long {
        true => Err(io::ErrorKind::WouldBlock.into()),
        false => socket.writev(&frame.parts),
    };
    let len = frame.parts.iter().map(|part| part.len()).sum();
    write(members, pos, wire.end(), len, send, fallen)
}

/// A member that did not take all of a frame.
struct Fallen {
    index: u32,
    /// Where the frame begins.
    pos: u64,
    taken: io::Result<usize>,
}

/// What every member at a position is written, and the blocks that it lies in.
struct Frame<'a> {
    framing: Framing,
    end: u64,
    parts: Vec<IoSlice<'a>>,
    blocks: Vec<Option<&'a Rc<Block>>>,
}

impl<'a> Frame<'a> {
    /// The bytes of `wire` from `pos` on, in a chunk if they are to be; its head is put into `head`.
    fn new(wire: &'a Wire, pos: u64, framing: Framing, head: &'a mut String) -> Self {
        let (mut parts, mut blocks) = (Vec::new(), Vec::new());
        if framing == Framing::Chunked {
            *head = format!("{:x}\r\n", wire.end() - pos);
            parts.push(IoSlice::new(head.as_bytes()));
            blocks.push(None);
        }
        wire.slices(pos, wire.end(), &mut parts, &mut blocks);
        if framing == Framing::Chunked {
            parts.push(IoSlice::new(b"\r\n"));
            blocks.push(None);
        }
        Frame { framing, end: wire.end(), parts, blocks }
    }

    /// A cursor at the frame's beginning has `taken` of it. The engine writes the rest through its
    /// sink.
    fn fell_short(&self, cursor: &mut Cursor, taken: io::Result<usize>) -> io::Result<()> {
        let n = match taken {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            taken => taken?,
        };
        cursor.sink.sent(n as u64);
        if self.framing == Framing::Plain {
            cursor.pos += n as u64;
        } else if n > 0 {
            cursor.pos = self.end;
            cursor.blocked =
                !cursor.sink.complete(Data { parts: &self.parts, blocks: &self.blocks }, n)?;
        }
        Ok(())
    }
}
