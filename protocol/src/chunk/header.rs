//! Chunk headers as they stand in the input (RTMP 1.0 section 5.3.1).

use crate::wire::{u24, Fields};

/// The chunk size of both sides until they say otherwise.
pub const DEFAULT_CHUNK_SIZE: usize = 128;
/// The longest message: its length is a 24-bit field.
pub const MAX_MESSAGE: usize = 0xFF_FFFF;
/// The longest chunk header; what `ChunkReader::read` leaves over is always shorter.
pub const MAX_HEADER: usize = 18;

/// A timestamp field of this value says that the extended one follows.
pub(super) const EXTENDED: u32 = 0xFF_FFFF;
/// A chunk header as it stands in the input.
pub(super) struct ChunkHeader {
    pub fmt: u8,
    /// Bytes of the header.
    pub size: usize,
    /// Timestamp or delta, and whether it came from the extended field; types 0, 1, 2.
    pub field: u32,
    pub extended: bool,
    /// Types 0 and 1.
    pub length: u32,
    pub kind: u8,
    /// Type 0.
    pub stream_id: u32,
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
pub(super) fn basic_header(input: &[u8]) -> Option<(u8, u32, usize)> {
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

impl ChunkHeader {
    /// A header of type 0, 1 or 2 behind the basic one; its size does not count the basic one.
    pub(super) fn parse(fmt: u8, rest: &[u8]) -> Option<Self> {
        let mut header = Self::without_fields(fmt, 0);
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

    /// A header of type 3, of so many bytes behind the basic one.
    pub(super) fn without_fields(fmt: u8, size: usize) -> Self {
        Self { fmt, size, field: 0, extended: false, length: 0, kind: 0, stream_id: 0 }
    }
}
