//! The chunk streams of a peer.

use super::error::ChunkError;
use super::header::ChunkHeader;
use crate::kinds::{AGGREGATE, AUDIO, VIDEO};
use crate::wire::recycle;

/// The largest timestamp of a type-0 chunk that a type-3 chunk after it repeats as a delta, in ms.
/// The specification has it so, and FFmpeg counts on it when a stream starts at its frame interval;
/// librtmp and nginx-rtmp mean "the same timestamp" instead, and would jump by hours.
const MAX_FIRST_DELTA: u32 = 5000;

/// One chunk stream: its last header and what has arrived of its message.
#[derive(Debug, Clone, Default)]
pub(super) struct ChunkStream {
    pub csid: u32,
    pub buffer: Vec<u8>,
    pub timestamp: u32,
    /// What the last timestamp field said, absolute or delta, from the extended field if it had one.
    field: u32,
    /// What a type-3 chunk that starts a message adds.
    delta: u32,
    pub length: u32,
    pub stream_id: u32,
    pub chunks: u32,
    pub kind: u8,
    extended: bool,
    /// A message has begun and is not complete.
    pub unfinished: bool,
}

impl ChunkStream {
    /// A chunk that starts a message.
    pub(super) fn start(&mut self, header: &ChunkHeader) {
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
    pub(super) fn go_on(&mut self, header: &ChunkHeader) -> Result<(), ChunkError> {
        let csid = self.csid;
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

    /// Empties the buffer for the next message. One of a kind that comes rarely gives it back.
    pub(super) fn recycle(&mut self) {
        match self.kind {
            AUDIO | VIDEO | AGGREGATE => recycle(&mut self.buffer),
            _ => self.buffer = Vec::new(),
        }
    }

    /// The rest of a header behind the basic one; its size does not count the basic one.
    pub(super) fn header(&self, fmt: u8, rest: &[u8]) -> Option<ChunkHeader> {
        match fmt {
            3 => self.repeated_timestamp(rest).map(|size| ChunkHeader::without_fields(fmt, size)),
            _ => ChunkHeader::parse(fmt, rest),
        }
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

/// The chunk streams of a peer, in the order of their ids: no more room than for those it uses.
#[derive(Debug, Default)]
pub(super) struct ChunkStreams(Vec<ChunkStream>);

impl ChunkStreams {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Where the one of that id is, or belongs.
    pub(super) fn find(&self, csid: u32) -> Result<usize, usize> {
        self.0.binary_search_by_key(&csid, |stream| stream.csid)
    }

    /// The one at that place, as long as none is added.
    pub(super) fn at(&self, place: usize) -> Option<&ChunkStream> {
        self.0.get(place)
    }

    pub(super) fn at_mut(&mut self, place: usize) -> Option<&mut ChunkStream> {
        self.0.get_mut(place)
    }

    /// Makes a place for one that was not used so far.
    pub(super) fn add(&mut self, csid: u32) -> usize {
        self.find(csid).unwrap_or_else(|place| {
            // a peer uses few of them, and a session that idles keeps them
            self.0.reserve_exact(1);
            self.0.insert(place.min(self.0.len()), ChunkStream { csid, ..ChunkStream::default() });
            place
        })
    }
}
