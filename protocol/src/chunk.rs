//! Chunk streams: messages cut into chunks and interleaved (RTMP 1.0 section 5.3).

use std::ops::Range;

use thiserror::Error;

use crate::message::{ABORT, SET_CHUNK_SIZE};
use crate::wire::{append, recycle, u24, u24_bytes, Fields};

/// The chunk size of both sides until they say otherwise.
pub const DEFAULT_CHUNK_SIZE: usize = 128;
/// The longest message: its length is a 24-bit field.
pub const MAX_MESSAGE: usize = 0xFF_FFFF;
/// The longest chunk header; what `ChunkReader::read` leaves over is always shorter.
pub const MAX_HEADER: usize = 18;

/// A timestamp field of this value says that the extended one follows.
const EXTENDED: u32 = 0xFF_FFFF;
/// How many times `max_message` may lie in unfinished messages of one session: audio, video, data and
/// a command may be interleaved.
const PARTIAL_MESSAGES: usize = 4;
/// Beyond so many bytes, no more than twice: a key frame, and what is interleaved with it.
const MANY_BYTES: usize = 16 << 20;
/// Chunks that any message may take; if `max_message` needs more at the default chunk size, then so
/// many. A chunk costs some 8 ns and at least two bytes on the wire, so time is always proportional
/// to what arrives (1-byte chunks: 140 MB/s a core, chunks of 4096: 20 GB/s). This bound keeps the
/// dearest form for small messages: nobody has a reason to cut a long one into millions.
const MIN_CHUNK_BUDGET: usize = 16 * 1024;
/// The largest timestamp of a type-0 chunk that a type-3 chunk after it repeats as a delta, in ms.
/// The specification has it so, and FFmpeg counts on it when a stream starts at its frame interval;
/// librtmp and nginx-rtmp mean "the same timestamp" instead, and would jump by hours.
const MAX_FIRST_DELTA: u32 = 5000;

/// What a peer may ask of a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many chunk streams the peer may use, whatever their ids are.
    pub max_streams: u32,
    /// The longest message, in bytes; [`Limits::max_partial`] follows from it.
    pub max_message: usize,
}

impl Limits {
    /// What may lie in unfinished messages of a session, in bytes: four of the longest messages, or
    /// where that is more than 16 MiB, two.
    pub fn max_partial(&self) -> usize {
        let twice = self.max_message.saturating_mul(2);
        self.max_message.saturating_mul(PARTIAL_MESSAGES).min(twice.max(MANY_BYTES))
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_streams: 32, max_message: 16 * 1024 * 1024 }
    }
}

/// Why a peer's chunk stream cannot be read on. None of them can be recovered from.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum ChunkError {
    #[error("chunk stream {csid} is one more than the {max} that are allowed")]
    ChunkStream { csid: u32, max: u32 },
    #[error("message of {length} bytes on chunk stream {csid}, more than {max}")]
    MessageTooLarge { csid: u32, length: usize, max: usize },
    #[error("length changed from {from} to {to} within a message on chunk stream {csid}")]
    LengthChanged { csid: u32, from: u32, to: u32 },
    #[error("type changed from {from} to {to} within a message on chunk stream {csid}")]
    KindChanged { csid: u32, from: u8, to: u8 },
    #[error("timestamp changed from {from} to {to} within a message on chunk stream {csid}")]
    TimestampChanged { csid: u32, from: u32, to: u32 },
    #[error("message stream changed from {from} to {to} within a message on chunk stream {csid}")]
    StreamIdChanged { csid: u32, from: u32, to: u32 },
    #[error("chunk size {0}, neither 0 nor the top bit is allowed")]
    ChunkSize(u32),
    #[error("first chunk of chunk stream {csid} has no header")]
    NoPreviousChunk { csid: u32 },
    #[error("unfinished messages hold {bytes} bytes, more than {max}")]
    TooManyPartialBytes { bytes: usize, max: usize },
    #[error("message of {length} bytes on chunk stream {csid} takes more than {max} chunks")]
    TooManyChunks { csid: u32, length: u32, max: usize },
}

/// A whole message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// Message type id, one of the constants in [`crate::message`] or unknown.
    pub kind: u8,
    /// Absolute time in ms, modulo 2^32.
    pub timestamp: u32,
    /// Message stream id.
    pub stream_id: u32,
    /// Chunk stream id.
    pub csid: u32,
    /// The message without any header.
    pub payload: &'a [u8],
}

/// Puts a peer's chunks together again.
///
/// Memory: what arrived of unfinished messages (at most [`Limits::max_partial`], and at most twice
/// that in capacity), plus at most 64 KiB kept for each chunk stream in use.
#[derive(Debug)]
pub struct ChunkReader {
    limits: Limits,
    chunk_size: usize,
    streams: Streams,
    /// Bytes in the buffers of unfinished messages.
    partial: usize,
    /// The chunk whose header has been read but not all of its payload.
    open: Option<OpenChunk>,
    /// The chunk stream whose buffer was lent out as the last message.
    lent: Option<u32>,
    /// Chunks that have begun since [`ChunkReader::take_chunks`].
    chunks: u32,
}

/// The chunk stream of a complete message, and its payload if that is in the input.
type Complete<'a> = (u32, Option<&'a [u8]>);

#[derive(Debug, Clone, Copy)]
struct OpenChunk {
    csid: u32,
    left: usize,
}

/// One chunk stream: its last header and what has arrived of its message.
#[derive(Debug, Clone, Default)]
struct Stream {
    buffer: Vec<u8>,
    timestamp: u32,
    /// What the last timestamp field said, absolute or delta, from the extended field if it had one.
    field: u32,
    /// What a type-3 chunk that starts a message adds.
    delta: u32,
    length: u32,
    stream_id: u32,
    chunks: u32,
    kind: u8,
    used: bool,
    extended: bool,
    /// A message has begun and is not complete.
    unfinished: bool,
}

/// Chunk stream ids below this have the one-byte header that peers use, and a place by their id.
const LOW_IDS: u32 = 64;

/// The chunk streams of a peer.
#[derive(Debug, Default)]
struct Streams {
    /// By id, as long as the largest of the low ones that was seen.
    low: Vec<Stream>,
    /// In the order of their ids.
    high: Vec<(u32, Stream)>,
    /// How many of them the peer uses.
    used: u32,
}

impl Streams {
    fn get(&self, csid: u32) -> Option<&Stream> {
        if csid < LOW_IDS {
            return self.low.get(csid as usize);
        }
        let at = self.high.binary_search_by_key(&csid, |(id, _)| *id).ok()?;
        self.high.get(at).map(|(_, stream)| stream)
    }

    fn get_mut(&mut self, csid: u32) -> Option<&mut Stream> {
        if csid < LOW_IDS {
            return self.low.get_mut(csid as usize);
        }
        let at = self.high.binary_search_by_key(&csid, |(id, _)| *id).ok()?;
        self.high.get_mut(at).map(|(_, stream)| stream)
    }

    /// Makes a place for one that was not used so far.
    fn add(&mut self, csid: u32) {
        if csid >= LOW_IDS {
            if let Err(at) = self.high.binary_search_by_key(&csid, |(id, _)| *id) {
                self.high.insert(at, (csid, Stream::default()));
            }
        } else if self.low.len() <= csid as usize {
            self.low.resize_with((csid as usize).saturating_add(1), Stream::default);
        }
        if let Some(stream) = self.get_mut(csid) {
            stream.used = true;
            self.used = self.used.saturating_add(1);
        }
    }
}

/// A chunk header as it stands in the input.
struct ChunkHeader {
    fmt: u8,
    /// Bytes of the header.
    size: usize,
    /// Timestamp or delta, and whether it came from the extended field; types 0, 1, 2.
    field: u32,
    extended: bool,
    /// Types 0 and 1.
    length: u32,
    kind: u8,
    /// Type 0.
    stream_id: u32,
}

impl ChunkReader {
    /// A reader at the start of a chunk stream, right behind the handshake.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            chunk_size: DEFAULT_CHUNK_SIZE,
            streams: Streams::default(),
            partial: 0,
            open: None,
            lent: None,
            chunks: 0,
        }
    }

    /// Other limits from the next chunk header on. Before a client is known to publish, a
    /// `max_message` of a few KiB is enough for its commands, and all that it can make us hold.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// The chunk size the peer has set, cut to [`MAX_MESSAGE`].
    pub fn chunk_size(&self) -> usize {
        self.chunk_size
    }

    /// Bytes of unfinished messages held now.
    pub fn partial_bytes(&self) -> usize {
        self.partial
    }

    /// How many chunks have begun since this was asked last: what reading them has cost.
    pub fn take_chunks(&mut self) -> u32 {
        std::mem::take(&mut self.chunks)
    }

    /// Whether no message has begun that has not come to its end.
    pub fn is_between_messages(&self) -> bool {
        self.partial == 0 && self.open.is_none()
    }

    /// The next message in `input`, which is advanced past all that was used.
    ///
    /// `Ok(None)` asks for more input: what is left (less than [`MAX_HEADER`] bytes, an incomplete
    /// header) must stand in front of the next bytes. A message that lies in `input` in one chunk is
    /// a borrow of `input`; any other has been gathered in a buffer. Set Chunk Size and Abort are
    /// carried out here, in their place among the chunks, and not returned. After an error the
    /// reader is of no more use.
    pub fn read<'a, 'b: 'a>(
        &'a mut self,
        input: &mut &'b [u8],
    ) -> Result<Option<Message<'a>>, ChunkError> {
        loop {
            self.take_back();
            let Some((csid, part)) = self.next_message(input)? else { return Ok(None) };
            // looked up anew where it is returned, since the borrow would last for the other ways too
            let Some(stream) = self.streams.get(csid) else { return Ok(None) };
            let payload = part.unwrap_or(&stream.buffer);
            match stream.kind {
                kind @ (SET_CHUNK_SIZE | ABORT) => {
                    // one that is cut short says nothing
                    let Some(value) = Fields(payload).u32() else { continue };
                    if kind == SET_CHUNK_SIZE {
                        self.set_chunk_size(value)?;
                    } else {
                        self.abort(value);
                    }
                }
                _ => return Ok(self.message(csid, part)),
            }
        }
    }

    /// The message that is complete on a chunk stream: its payload is `part` of the input, or in the
    /// chunk stream's buffer.
    fn message<'a, 'b: 'a>(&'a self, csid: u32, part: Option<&'b [u8]>) -> Option<Message<'a>> {
        let stream = self.streams.get(csid)?;
        Some(Message {
            kind: stream.kind,
            timestamp: stream.timestamp,
            stream_id: stream.stream_id,
            csid,
            payload: part.unwrap_or(&stream.buffer),
        })
    }

    /// Reads chunks until a message is complete, and gives its chunk stream, and its payload if that
    /// is in the input; else it is in the chunk stream's buffer.
    fn next_message<'a>(
        &mut self,
        input: &mut &'a [u8],
    ) -> Result<Option<Complete<'a>>, ChunkError> {
        loop {
            let chunk = match self.open.take() {
                Some(chunk) => chunk,
                None => match self.begin_chunk(input)? {
                    Some(chunk) => chunk,
                    None => return Ok(None),
                },
            };
            let Some(stream) = self.streams.get_mut(chunk.csid) else { return Ok(None) };
            let length = stream.length as usize;
            let available = chunk.left.min(input.len());
            let Some((part, rest)) = input.split_at_checked(available) else { return Ok(None) };
            *input = rest;

            // all of it, so nothing of it came before
            if available == length {
                stream.unfinished = false;
                return Ok(Some((chunk.csid, Some(part))));
            }
            let left = chunk.left.saturating_sub(available);
            if self.gather(chunk.csid, part)? {
                return Ok(Some((chunk.csid, None)));
            }
            if left > 0 {
                self.open = Some(OpenChunk { csid: chunk.csid, left });
                return Ok(None);
            }
        }
    }

    /// Puts a part of a message behind those that came before. True if it is the last one.
    #[inline(never)]
    fn gather(&mut self, csid: u32, part: &[u8]) -> Result<bool, ChunkError> {
        let Some(stream) = self.streams.get_mut(csid) else { return Ok(false) };
        let length = stream.length as usize;
        self.partial = self.partial.saturating_add(part.len());
        let max = self.limits.max_partial();
        if self.partial > max {
            return Err(ChunkError::TooManyPartialBytes { bytes: self.partial, max });
        }
        append(&mut stream.buffer, part, length);
        let complete = stream.buffer.len() == length;
        if complete {
            stream.unfinished = false;
            self.partial = self.partial.saturating_sub(length);
            self.lent = Some(csid);
        }
        Ok(complete)
    }

    /// Reads a chunk header and brings its chunk stream up to date.
    fn begin_chunk(&mut self, input: &mut &[u8]) -> Result<Option<OpenChunk>, ChunkError> {
        let Some((fmt, csid, basic)) = basic_header(input) else { return Ok(None) };
        if !self.streams.get(csid).is_some_and(|stream| stream.used) {
            self.begin_stream(csid, fmt)?;
        }
        let Some(stream) = self.streams.get_mut(csid) else { return Ok(None) };
        let after_basic = input.get(basic..).unwrap_or_default();
        let Some(mut header) = message_header(fmt, after_basic, stream) else { return Ok(None) };
        header.size = header.size.saturating_add(basic);

        if stream.unfinished {
            stream.go_on(csid, &header)?;
            let max = self.limits.max_message / DEFAULT_CHUNK_SIZE;
            let max = max.saturating_add(1).max(MIN_CHUNK_BUDGET);
            if stream.chunks as usize > max {
                return Err(ChunkError::TooManyChunks { csid, length: stream.length, max });
            }
        } else {
            stream.start(&header);
            let (length, max) = (stream.length as usize, self.limits.max_message);
            if length > max {
                return Err(ChunkError::MessageTooLarge { csid, length, max });
            }
        }

        *input = input.get(header.size..).unwrap_or_default();
        self.chunks = self.chunks.saturating_add(1);
        let left = (stream.length as usize).saturating_sub(stream.buffer.len());
        Ok(Some(OpenChunk { csid, left: left.min(self.chunk_size) }))
    }

    /// A chunk stream is used for the first time. Its first chunk should be of type 0, but librtmp
    /// and encoders begin some with type 1, whose time then counts from 0.
    #[cold]
    fn begin_stream(&mut self, csid: u32, fmt: u8) -> Result<(), ChunkError> {
        let max = self.limits.max_streams;
        if self.streams.used >= max {
            return Err(ChunkError::ChunkStream { csid, max });
        }
        if fmt == 3 {
            return Err(ChunkError::NoPreviousChunk { csid });
        }
        self.streams.add(csid);
        Ok(())
    }

    /// The buffer lent out as the last message is free again.
    fn take_back(&mut self) {
        let Some(csid) = self.lent.take() else { return };
        if let Some(stream) = self.streams.get_mut(csid) {
            recycle(&mut stream.buffer);
        }
    }

    fn set_chunk_size(&mut self, size: u32) -> Result<(), ChunkError> {
        if size == 0 || size > 0x7FFF_FFFF {
            return Err(ChunkError::ChunkSize(size));
        }
        // a chunk ends with its message, so a larger size says no more than this one
        self.chunk_size = (size as usize).min(MAX_MESSAGE);
        Ok(())
    }

    /// Drops the unfinished message of a chunk stream, if there is one.
    fn abort(&mut self, csid: u32) {
        let Some(stream) = self.streams.get_mut(csid) else { return };
        if stream.unfinished {
            stream.unfinished = false;
            self.partial = self.partial.saturating_sub(stream.buffer.len());
            recycle(&mut stream.buffer);
        }
    }
}

impl Stream {
    /// A chunk that starts a message.
    fn start(&mut self, header: &ChunkHeader) {
        match header.fmt {
            0 => {
                self.timestamp = header.field;
                self.delta = if header.field <= MAX_FIRST_DELTA { header.field } else { 0 };
                self.stream_id = header.stream_id;
            }
            3 => self.timestamp = self.timestamp.wrapping_add(self.delta),
            _ => {
                self.timestamp = self.timestamp.wrapping_add(header.field);
                self.delta = header.field;
            }
        }
        if header.fmt <= 2 {
            self.field = header.field;
            self.extended = header.extended;
        }
        if header.fmt <= 1 {
            self.length = header.length;
            self.kind = header.kind;
        }
        self.unfinished = true;
        self.chunks = 1;
    }

    /// A chunk that continues a message: whatever its header says must be what was said before.
    fn go_on(&mut self, csid: u32, header: &ChunkHeader) -> Result<(), ChunkError> {
        self.chunks = self.chunks.saturating_add(1);
        if header.fmt <= 1 && header.length != self.length {
            return Err(ChunkError::LengthChanged { csid, from: self.length, to: header.length });
        }
        if header.fmt <= 1 && header.kind != self.kind {
            return Err(ChunkError::KindChanged { csid, from: self.kind, to: header.kind });
        }
        if header.fmt == 0 && header.stream_id != self.stream_id {
            let (from, to) = (self.stream_id, header.stream_id);
            return Err(ChunkError::StreamIdChanged { csid, from, to });
        }
        if header.fmt == 0 && header.field != self.timestamp {
            return Err(ChunkError::TimestampChanged {
                csid,
                from: self.timestamp,
                to: header.field,
            });
        }
        if (header.fmt == 1 || header.fmt == 2) && header.field != self.field {
            return Err(ChunkError::TimestampChanged { csid, from: self.field, to: header.field });
        }
        Ok(())
    }

    /// How many bytes the extended timestamp takes in a type-3 chunk with `rest` behind its basic
    /// header. Some peers repeat it and some do not, so the bytes are compared with what it would
    /// be; `None` when too few are there to tell.
    fn repeated_timestamp(&self, rest: &[u8]) -> Option<usize> {
        if !self.extended {
            return Some(0);
        }
        let seen = rest.get(..4).unwrap_or(rest);
        let next = self.timestamp.wrapping_add(self.delta);
        let repeated = [self.field, self.timestamp, next]
            .iter()
            .any(|expected| expected.to_be_bytes().starts_with(seen));
        match (repeated, seen.len()) {
            (false, _) => Some(0),
            (true, 4) => Some(4),
            (true, _) => None,
        }
    }
}

/// Bytes of a basic header that begins with `first`.
pub(crate) fn basic_len(first: u8) -> usize {
    match first & 0x3F {
        0 => 2,
        1 => 3,
        _ => 1,
    }
}

/// Type, chunk stream id and size of a basic header.
fn basic_header(input: &[u8]) -> Option<(u8, u32, usize)> {
    let (&first, rest) = input.split_first()?;
    let fmt = first >> 6;
    match (first & 0x3F, rest) {
        (0, [low, ..]) => Some((fmt, u32::from(*low).saturating_add(64), 2)),
        (1, [low, high, ..]) => {
            let id = u32::from(u16::from_le_bytes([*low, *high]));
            Some((fmt, id.saturating_add(64), 3))
        }
        (0 | 1, _) => None,
        (id, _) => Some((fmt, u32::from(id), 1)),
    }
}

/// The rest of a header behind the basic one; its size does not count the basic one.
fn message_header(fmt: u8, rest: &[u8], stream: &Stream) -> Option<ChunkHeader> {
    let mut header =
        ChunkHeader { fmt, size: 0, field: 0, extended: false, length: 0, kind: 0, stream_id: 0 };
    if fmt == 3 {
        header.size = stream.repeated_timestamp(rest)?;
        return Some(header);
    }
    let mut fields = Fields(rest);
    header.field = u24(fields.array()?);
    header.size = 3;
    if fmt <= 1 {
        header.length = u24(fields.array()?);
        header.kind = fields.u8()?;
        header.size = 7;
    }
    if fmt == 0 {
        header.stream_id = u32::from_le_bytes(fields.array()?);
        header.size = 11;
    }
    if header.field == EXTENDED {
        header.field = fields.u32()?;
        header.extended = true;
        header.size = header.size.saturating_add(4);
    }
    Some(header)
}

/// What stands in front of a message to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Chunk stream id, 2–65599; others are cut to that.
    pub csid: u32,
    /// Absolute time in ms, modulo 2^32.
    pub timestamp: u32,
    /// Message type id.
    pub kind: u8,
    /// Message stream id.
    pub stream_id: u32,
}

/// A chunk header made ready, on the stack. The basic header ends at `MESSAGE` whatever its length
/// is, so that each field behind it has its place.
struct HeaderBytes {
    bytes: [u8; MAX_HEADER],
    from: usize,
    to: usize,
}

/// The longest basic header.
const MESSAGE: usize = 3;
/// The message header of type 0, without an extended timestamp.
const FIRST_LEN: usize = 11;

impl HeaderBytes {
    fn as_slice(&self) -> &[u8] {
        self.bytes.get(self.from..self.to).unwrap_or_default()
    }
}

impl Header {
    /// A header of these fields behind the basic one, with the extended timestamp if there is one.
    fn bytes(&self, fmt: u8, fields: [u8; FIRST_LEN], len: usize) -> HeaderBytes {
        let mut bytes = [0; MAX_HEADER];
        let [a, b, c, rest @ ..] = &mut bytes;
        let fmt = fmt << 6;
        let from = match self.csid.clamp(2, 65599) {
            id @ 0..=63 => {
                *c = fmt | id as u8;
                2
            }
            id @ 64..=319 => {
                [*b, *c] = [fmt, id.saturating_sub(64) as u8];
                1
            }
            id => {
                let [low, high] = (id.saturating_sub(64) as u16).to_le_bytes();
                [*a, *b, *c] = [fmt | 1, low, high];
                0
            }
        };
        if let Some(place) = rest.first_chunk_mut() {
            *place = fields;
        }
        let mut to = MESSAGE.saturating_add(len);
        if self.is_extended() {
            if let Some(place) = bytes.get_mut(to..).and_then(<[u8]>::first_chunk_mut) {
                *place = self.timestamp.to_be_bytes();
            }
            to = to.saturating_add(4);
        }
        HeaderBytes { bytes, from, to }
    }

    fn basic_len(&self) -> usize {
        match self.csid {
            0..=63 => 1,
            64..=319 => 2,
            _ => 3,
        }
    }

    fn is_extended(&self) -> bool {
        self.timestamp >= EXTENDED
    }

    fn extended_len(&self) -> usize {
        if self.is_extended() {
            4
        } else {
            0
        }
    }

    /// Bytes of the type-0 header.
    fn first_len(&self) -> usize {
        self.basic_len().saturating_add(FIRST_LEN).saturating_add(self.extended_len())
    }

    /// Bytes of each type-3 header.
    fn next_len(&self) -> usize {
        self.basic_len().saturating_add(self.extended_len())
    }

    fn first(&self, payload_len: usize) -> HeaderBytes {
        let [t0, t1, t2] = u24_bytes(self.timestamp.min(EXTENDED));
        let [l0, l1, l2] = u24_bytes(payload_len as u32);
        let [s0, s1, s2, s3] = self.stream_id.to_le_bytes();
        self.bytes(0, [t0, t1, t2, l0, l1, l2, self.kind, s0, s1, s2, s3], FIRST_LEN)
    }

    fn next(&self) -> HeaderBytes {
        self.bytes(3, [0; FIRST_LEN], 0)
    }
}

/// Gives `put` the pieces of a message's wire form, in order: a type-0 header with the absolute
/// timestamp, payload, and for the rest type-3 headers, which repeat an extended timestamp.
///
/// Two messages of the same bytes have the same wire form, whatever was sent before them. A payload
/// is cut to [`MAX_MESSAGE`], all that a header can say; `chunk_size` 0 counts as 1.
pub fn encode(h: &Header, payload: &[u8], chunk_size: usize, mut put: impl FnMut(&[u8])) {
    let payload = payload.get(..MAX_MESSAGE).unwrap_or(payload);
    put(h.first(payload.len()).as_slice());
    let (first, mut rest) = payload.split_at_checked(chunk_size.max(1)).unwrap_or((payload, &[]));
    put(first);
    if rest.is_empty() {
        return;
    }
    let next = h.next();
    while !rest.is_empty() {
        let (part, after) = rest.split_at_checked(chunk_size.max(1)).unwrap_or((rest, &[]));
        put(next.as_slice());
        put(part);
        rest = after;
    }
}

/// How many bytes [`encode`] puts.
pub fn encoded_len(h: &Header, payload_len: usize, chunk_size: usize) -> usize {
    let payload_len = payload_len.min(MAX_MESSAGE);
    let chunks = payload_len.div_ceil(chunk_size.max(1));
    let continuations = chunks.saturating_sub(1).saturating_mul(h.next_len());
    h.first_len().saturating_add(payload_len).saturating_add(continuations)
}

/// Appends a message's wire form.
pub fn write(out: &mut Vec<u8>, h: &Header, payload: &[u8], chunk_size: usize) {
    out.reserve(encoded_len(h, payload.len(), chunk_size));
    encode(h, payload, chunk_size, |piece| out.extend_from_slice(piece));
}

/// Where the payload lies in what [`encode`] put: one range for each chunk that has any.
pub fn payload_ranges(
    h: &Header,
    payload_len: usize,
    chunk_size: usize,
) -> impl Iterator<Item = Range<usize>> {
    let (chunk_size, next_len) = (chunk_size.max(1), h.next_len());
    let mut left = payload_len.min(MAX_MESSAGE);
    let mut at = h.first_len();
    std::iter::from_fn(move || {
        if left == 0 {
            return None;
        }
        let end = at.saturating_add(left.min(chunk_size));
        let range = at..end;
        left = left.saturating_sub(chunk_size);
        at = end.saturating_add(next_len);
        Some(range)
    })
}
