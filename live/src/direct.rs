//! Subscribers to whose sockets the engine writes itself.
//!
//! What a flush needs of each of them lies side by side: with a thousand players the processor's
//! cache misses, one for each thing that a session is asked, cost as much as a tenth of the writes.

use std::io::{self, IoSlice};
use std::rc::Rc;

use crate::output::Block;
use crate::output::Socket;
use crate::subscriber::{Cursor, Data, End, Sink};
use crate::wire::Wire;

/// A chunk of HTTP's takes no more than this: what of it a client does not read is its own.
const MAX_CHUNK: u64 = 64 * 1024;

/// How the bytes of a stream are wrapped on their way to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Not at all.
    Plain,
    /// Each write is a chunk (RFC 9112, 7.1).
    Chunked,
}

/// Players by their framing, then relays.
const LISTS: usize = 4;

/// Which list one belongs to.
fn list_of(relay: bool, framing: Framing) -> usize {
    2 * usize::from(relay) + framing as usize
}

/// A socket that takes a stream's bytes without its owner doing anything about them.
#[derive(Clone, Copy, Debug)]
pub struct Direct {
    pub socket: Socket,
    pub framing: Framing,
    /// Whose peer passes the stream on.
    pub relay: bool,
}

/// Where a cursor is among those of its wire that are written to directly.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Which of the lists.
    list: u8,
    index: u32,
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

/// The subscribers of one wire that are written to directly, by what they are.
#[derive(Default)]
pub(super) struct Members {
    lists: [Vec<Member>; LISTS],
    /// How many there are.
    count: usize,
    /// Where the wire ended at the last flush: each of them has all that is before.
    flushed: u64,
}

/// Subscribers that a flush has ended, and why.
pub(super) type Ended = Vec<(Rc<dyn Sink>, End)>;

impl Members {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// A position that each of them has reached, if there are any.
    pub fn reached(&self) -> Option<u64> {
        (self.count > 0).then_some(self.flushed)
    }

    /// Takes in the cursor of `slot`, if it is one that can be written to directly.
    pub fn enter(&mut self, cursor: &mut Cursor, slot: u32) {
        if !cursor.is_steady() || cursor.direct.is_some() {
            return;
        }
        let Some(Direct { socket, framing, relay }) = cursor.sink.direct() else { return };
        let list = list_of(relay, framing);
        let members = &mut self.lists[list];
        cursor.direct = Some(Place { list: list as u8, index: members.len() as u32 });
        members.push(Member { pos: cursor.pos, sent: 0, slot, socket });
        if self.count == 0 {
            self.flushed = cursor.pos;
        }
        self.count += 1;
    }

    /// Takes the cursor out, so that it may be looked at and changed.
    pub fn leave(&mut self, cursor: &mut Cursor, others: &mut [Option<Cursor>]) {
        let Some(Place { list, index }) = cursor.direct.take() else { return };
        let members = &mut self.lists[list as usize];
        let member = members.swap_remove(index as usize);
        self.count -= 1;
        if let Some(moved) = members.get(index as usize) {
            if let Some(Some(cursor)) = others.get_mut(moved.slot as usize) {
                cursor.direct = Some(Place { list, index });
            }
        }
        cursor.pos = member.pos;
        cursor.sink.sent(member.sent);
    }

    /// Writes to each relay, or each player, what is new in `wire`. Those that do not take it all are
    /// none of them any more.
    pub fn flush(
        &mut self,
        relays: bool,
        wire: &Wire,
        cursors: &mut [Option<Cursor>],
        ended: &mut Ended,
    ) {
        let mut flush = |framing| {
            if !self.lists[list_of(relays, framing)].is_empty() {
                self.flush_list(relays, framing, wire, cursors, ended);
            }
        };
        flush(Framing::Plain);
        flush(Framing::Chunked);
        // relays come first
        if !relays {
            self.flushed = wire.end();
        }
    }

    fn flush_list(
        &mut self,
        relays: bool,
        framing: Framing,
        wire: &Wire,
        cursors: &mut [Option<Cursor>],
        ended: &mut Ended,
    ) {
        let list = list_of(relays, framing);
        let end = wire.end();
        // those that came between two flushes may be further on than the others
        let behind = self.lists[list].iter().find(|member| member.pos != end);
        let mut next = behind.map(|member| member.pos);
        while let Some(pos) = next.take() {
            let mut fallen = Vec::new();
            next = match wire.last_slice(pos) {
                Some(bytes) if framing == Framing::Plain => {
                    let send = |socket: Socket| socket.send(bytes);
                    self.write(list, pos, end, bytes.len(), send, &mut fallen)
                }
                _ => self.write_frame(list, pos, framing, wire, &mut fallen),
            };
            if !fallen.is_empty() {
                let mut head = String::new();
                let frame = Frame::new(wire, pos, framing, &mut head);
                self.fall(list, &frame, fallen, cursors, ended);
            }
        }
    }

    /// Has `send` write the `len` bytes from `pos` to `end` to each one that is there. Gives the
    /// position of one that is elsewhere, and not at the end.
    fn write(
        &mut self,
        list: usize,
        pos: u64,
        end: u64,
        len: usize,
        send: impl Fn(Socket) -> io::Result<usize>,
        fallen: &mut Vec<Fallen>,
    ) -> Option<u64> {
        let mut elsewhere = None;
        for (index, member) in self.lists[list].iter_mut().enumerate() {
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
        &mut self,
        list: usize,
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
        self.write(list, pos, wire.end(), len, send, fallen)
    }

    /// Makes those that did not take all of a frame be written to as others.
    #[cold]
    fn fall(
        &mut self,
        list: usize,
        frame: &Frame<'_>,
        fallen: Vec<Fallen>,
        cursors: &mut [Option<Cursor>],
        ended: &mut Ended,
    ) {
        // from the last one on, so that those that move up have been dealt with
        for Fallen { index, pos, taken } in fallen.into_iter().rev() {
            let slot = self.lists[list][index as usize].slot as usize;
            let Some(mut cursor) = cursors.get_mut(slot).and_then(Option::take) else {
                continue;
            };
            self.leave(&mut cursor, cursors);
            cursor.pos = pos;
            if let Err(error) = frame.fell_short(&mut cursor, taken) {
                // nothing more is written to it
                cursor.blocked = true;
                ended.push((cursor.sink.clone(), End::Failed(error)));
            }
            cursors[slot] = Some(cursor);
        }
    }
}

/// One that did not take all of a frame.
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

    /// A cursor at the frame's beginning has `taken` of it. What is missing is written as to those
    /// that are not written to directly.
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
