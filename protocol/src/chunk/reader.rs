//! From chunks to messages.

use super::error::ChunkError;
use super::header::{basic_header, DEFAULT_CHUNK_SIZE, MAX_MESSAGE};
use super::limits::Limits;
use super::stream::ChunkStreams;
use crate::kinds::{ABORT, SET_CHUNK_SIZE};
use crate::wire::{append, Fields};

/// Chunks that any message may take; if `max_message` needs more at the default chunk size, then so
/// many. A chunk costs some 8 ns and at least two bytes on the wire, so time is always proportional
/// to what arrives (1-byte chunks: 140 MB/s a core, chunks of 4096: 20 GB/s). This bound keeps the
/// dearest form for small messages: nobody has a reason to cut a long one into millions.
const MIN_CHUNK_BUDGET: usize = 16 * 1024;
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
/// that in capacity), plus, for each chunk stream in use, 64 bytes, and at most 64 KiB if it carries
/// audio or video.
#[derive(Debug)]
pub struct ChunkReader {
    limits: Limits,
    chunk_size: usize,
    streams: ChunkStreams,
    /// Bytes in the buffers of unfinished messages.
    partial: usize,
    /// The chunk whose header has been read but not all of its payload.
    open: Option<OpenChunk>,
    /// The place of the chunk stream whose buffer was lent out as the last message.
    lent: Option<usize>,
    /// Chunks that have begun since [`ChunkReader::take_chunks`].
    chunks: u32,
}

/// The place of a complete message's chunk stream, and its payload if that is in the input.
type Complete<'a> = (usize, Option<&'a [u8]>);

#[derive(Debug, Clone, Copy)]
struct OpenChunk {
    /// Of its chunk stream: none is added while it is open.
    place: usize,
    left: usize,
}

impl ChunkReader {
    /// A reader at the start of a chunk stream, right behind the handshake.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            chunk_size: DEFAULT_CHUNK_SIZE,
            streams: ChunkStreams::default(),
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
            let Some((place, part)) = self.next_message(input)? else { return Ok(None) };
            // looked up anew where it is returned, since the borrow would last for the other ways too
            let Some(stream) = self.streams.at(place) else { return Ok(None) };
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
                _ => return Ok(self.message(place, part)),
            }
        }
    }

    /// The message that is complete on a chunk stream: its payload is `part` of the input, or in the
    /// chunk stream's buffer.
    fn message<'a, 'b: 'a>(&'a self, place: usize, part: Option<&'b [u8]>) -> Option<Message<'a>> {
        let stream = self.streams.at(place)?;
        Some(Message {
            kind: stream.kind,
            timestamp: stream.timestamp,
            stream_id: stream.stream_id,
            csid: stream.csid,
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
            let Some(stream) = self.streams.at_mut(chunk.place) else { return Ok(None) };
            let length = stream.length as usize;
            let available = chunk.left.min(input.len());
            let Some((part, rest)) = input.split_at_checked(available) else { return Ok(None) };
            *input = rest;

            // all of it, so nothing of it came before
            if available == length {
                stream.unfinished = false;
                return Ok(Some((chunk.place, Some(part))));
            }
            let left = chunk.left.saturating_sub(available);
            if self.gather(chunk.place, part)? {
                return Ok(Some((chunk.place, None)));
            }
            if left > 0 {
                self.open = Some(OpenChunk { place: chunk.place, left });
                return Ok(None);
            }
        }
    }

    /// Puts a part of a message behind those that came before. True if it is the last one.
    #[inline(never)]
    fn gather(&mut self, place: usize, part: &[u8]) -> Result<bool, ChunkError> {
        let Some(stream) = self.streams.at_mut(place) else { return Ok(false) };
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
            self.lent = Some(place);
        }
        Ok(complete)
    }

    /// Reads a chunk header and brings its chunk stream up to date.
    fn begin_chunk(&mut self, input: &mut &[u8]) -> Result<Option<OpenChunk>, ChunkError> {
        let Some((fmt, csid, basic)) = basic_header(input) else { return Ok(None) };
        let place = match self.streams.find(csid) {
            Ok(place) => place,
            Err(_) => self.begin_stream(csid, fmt)?,
        };
        let Some(stream) = self.streams.at_mut(place) else { return Ok(None) };
        let after_basic = input.get(basic..).unwrap_or_default();
        let Some(mut header) = stream.header(fmt, after_basic) else { return Ok(None) };
        header.size = header.size.saturating_add(basic);

        if stream.unfinished {
            stream.go_on(&header)?;
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
        Ok(Some(OpenChunk { place, left: left.min(self.chunk_size) }))
    }

    /// A chunk stream is used for the first time. Its first chunk should be of type 0, but librtmp
    /// and encoders begin some with type 1, whose time then counts from 0.
    #[cold]
    fn begin_stream(&mut self, csid: u32, fmt: u8) -> Result<usize, ChunkError> {
        let max = self.limits.max_streams;
        if self.streams.len() >= max as usize {
            return Err(ChunkError::ChunkStream { csid, max });
        }
        if fmt == 3 {
            return Err(ChunkError::NoPreviousChunk { csid });
        }
        Ok(self.streams.add(csid))
    }

    /// The buffer lent out as the last message is free again.
    fn take_back(&mut self) {
        let Some(place) = self.lent.take() else { return };
        if let Some(stream) = self.streams.at_mut(place) {
            stream.recycle();
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
        let Ok(place) = self.streams.find(csid) else { return };
        let Some(stream) = self.streams.at_mut(place) else { return };
        if stream.unfinished {
            stream.unfinished = false;
            self.partial = self.partial.saturating_sub(stream.buffer.len());
            stream.recycle();
        }
    }
}
