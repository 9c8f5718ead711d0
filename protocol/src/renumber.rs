//! The same media on another message stream.

use crate::chunk::{basic_len, MAX_HEADER, MAX_MESSAGE};
use crate::kinds::{AUDIO, DATA, VIDEO};
use crate::wire::{u24, Fields};

/// Bytes of a type-0 header behind the basic one, without an extended timestamp.
const FIRST_LEN: usize = 11;
/// Where in them the type of the message is, and its stream's id.
const KIND: usize = 6;
const STREAM_ID: usize = 7;

/// Changes the message stream of audio, video and data in bytes as [`encode`] writes them, while
/// they pass in pieces of any size. Other messages stay as they are.
///
/// [`encode`]: crate::chunk::encode
#[derive(Debug, Clone)]
pub struct Renumber {
    id: [u8; 4],
    chunk_size: usize,
    /// The header that is passing, and how much of it has.
    header: [u8; MAX_HEADER],
    seen: usize,
    /// Payload of the present chunk that is still to come.
    chunk_left: usize,
    /// Payload of the message in chunks to come.
    message_left: usize,
    extended: bool,
}

impl Renumber {
    /// At the beginning of a message; `chunk_size` is what the bytes are cut to.
    pub fn new(stream_id: u32, chunk_size: usize) -> Self {
        Self {
            id: stream_id.to_le_bytes(),
            chunk_size: chunk_size.clamp(1, MAX_MESSAGE),
            header: [0; MAX_HEADER],
            seen: 0,
            chunk_left: 0,
            message_left: 0,
            extended: false,
        }
    }

    /// Changes the bytes that come next.
    pub fn pass(&mut self, mut bytes: &mut [u8]) {
        loop {
            let payload = self.chunk_left.min(bytes.len());
            let Some((_, rest)) = bytes.split_at_mut_checked(payload) else { return };
            self.chunk_left = self.chunk_left.saturating_sub(payload);
            let Some((byte, rest)) = rest.split_first_mut() else { return };
            self.pass_header(byte);
            bytes = rest;
        }
    }

    fn pass_header(&mut self, byte: &mut u8) {
        if let Some(place) = self.header.get_mut(self.seen) {
            *place = *byte;
        }
        let [first, ..] = self.header;
        let basic = basic_len(first);
        let starts = first >> 6 == 0;
        let fields = self.header.get(basic..).unwrap_or_default();
        let at = self.seen.checked_sub(basic).and_then(|at| at.checked_sub(STREAM_ID));
        let kind = fields.get(KIND).copied().unwrap_or_default();
        if let Some(id) = at.filter(|_| starts).and_then(|at| self.id.get(at)) {
            if matches!(kind, AUDIO | VIDEO | DATA) {
                *byte = *id;
            }
        }
        self.seen = self.seen.saturating_add(1);
        let len = basic.saturating_add(if starts { FIRST_LEN } else { 0 });
        if self.seen < len {
            return;
        }
        if starts && self.seen == len {
            let mut fields = Fields(fields);
            self.extended = fields.array() == Some([0xFF; 3]);
            self.message_left = fields.array().map_or(0, u24) as usize;
        }
        if self.seen < len.saturating_add(if self.extended { 4 } else { 0 }) {
            return;
        }
        self.seen = 0;
        self.chunk_left = self.chunk_size.min(self.message_left);
        self.message_left = self.message_left.saturating_sub(self.chunk_left);
    }
}
