//! From messages to chunks.

use std::ops::Range;

use super::header::{EXTENDED, MAX_HEADER, MAX_MESSAGE};
use crate::wire::u24_bytes;

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
