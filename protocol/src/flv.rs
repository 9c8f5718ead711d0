//! FLV: the file header and tags, written and read (FLV 10.1 Annex E.2–E.4.1).

use thiserror::Error;

use crate::kinds::{AUDIO, DATA, VIDEO};
use crate::wire::{append, recycle, u24, u24_bytes, Fields};

/// Bytes of the file header and the zero back pointer behind it.
pub const HEADER: usize = 13;
/// Bytes of a tag's header.
pub const TAG_HEADER: usize = 11;
/// Bytes of the back pointer behind a tag.
pub const TAG_TRAILER: usize = 4;
/// What [`FlvReader::read`] leaves over is shorter than this: a back pointer and a tag's header.
pub const MAX_LEFTOVER: usize = TAG_TRAILER + TAG_HEADER;

/// Bytes of the file header proper.
const FILE_HEADER: usize = 9;
/// How far the first tag may lie: writers put it at 9, and nobody needs a file in front of a file.
const MAX_DATA_OFFSET: u32 = 64 * 1024;

/// The file header, with the zero back pointer that follows it.
pub fn header(has_audio: bool, has_video: bool) -> [u8; HEADER] {
    let flags = u8::from(has_audio) << 2 | u8::from(has_video);
    [b'F', b'L', b'V', 1, flags, 0, 0, 0, FILE_HEADER as u8, 0, 0, 0, 0]
}

/// The header of a tag with `len` bytes (at most 0xFFFFFF) behind it; `kind` is a message type,
/// 8, 9 or 18, and `timestamp` in ms.
pub fn tag_header(kind: u8, timestamp: u32, len: usize) -> [u8; TAG_HEADER] {
    let [l0, l1, l2] = u24_bytes(len as u32);
    let [t0, t1, t2, t3] = timestamp.to_be_bytes();
    [kind, l0, l1, l2, t1, t2, t3, t0, 0, 0, 0]
}

/// The back pointer behind a tag of `len` bytes.
pub fn tag_trailer(len: usize) -> [u8; TAG_TRAILER] {
    (len.saturating_add(TAG_HEADER) as u32).to_be_bytes()
}

/// How many bytes [`encode`] puts.
pub fn encoded_len(payload_len: usize) -> usize {
    payload_len.saturating_add(TAG_HEADER + TAG_TRAILER)
}

/// Gives `put` the pieces of a tag, in order: header, payload (at most 0xFFFFFF bytes), back pointer.
pub fn encode(kind: u8, timestamp: u32, payload: &[u8], mut put: impl FnMut(&[u8])) {
    put(&tag_header(kind, timestamp, payload.len()));
    put(payload);
    put(&tag_trailer(payload.len()));
}

/// Why an FLV cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum FlvError {
    #[error("not an FLV: it begins with {0:02x?}")]
    Signature([u8; 3]),
    #[error("FLV data offset {0}, neither below 9 nor above {MAX_DATA_OFFSET} is allowed")]
    DataOffset(u32),
    #[error("FLV tag of {length} bytes, more than {max}")]
    TagTooLarge { length: usize, max: usize },
    #[error("encrypted FLV tag of type {0}")]
    Encrypted(u8),
}

/// An audio, video or data tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag<'a> {
    /// 8, 9 or 18, as the message types.
    pub kind: u8,
    /// Time in ms.
    pub timestamp: u32,
    /// The tag's data.
    pub payload: &'a [u8],
}

/// Reads an FLV that arrives piece by piece.
///
/// Memory: what arrived of one tag, at most `max_tag` (twice that in capacity), of which at most
/// 64 KiB are kept.
#[derive(Debug)]
pub struct FlvReader {
    max_tag: usize,
    state: State,
    buffer: Vec<u8>,
    lent: bool,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Before the file header.
    Start,
    /// So many bytes mean nothing to us.
    Skip(usize),
    /// Before a back pointer and a tag's header.
    Between,
    /// Within the data of a tag.
    Body { kind: u8, timestamp: u32, length: usize },
}

impl FlvReader {
    /// A reader at the start of a file, which refuses tags with more than `max_tag` bytes.
    pub fn new(max_tag: usize) -> Self {
        Self { max_tag, state: State::Start, buffer: Vec::new(), lent: false }
    }

    /// The next tag in `input`, which is advanced past all that was used.
    ///
    /// `Ok(None)` asks for more input: what is left (less than [`MAX_LEFTOVER`] bytes) must stand in
    /// front of the next bytes. A tag that lies whole in `input` is a borrow of it. Back pointers
    /// are not looked at, as many writers get them wrong, and tags of unknown types are skipped.
    pub fn read<'a, 'b: 'a>(
        &'a mut self,
        input: &mut &'b [u8],
    ) -> Result<Option<Tag<'a>>, FlvError> {
        if std::mem::take(&mut self.lent) {
            recycle(&mut self.buffer);
        }
        let (kind, timestamp, direct) = loop {
            match self.state {
                State::Start => {
                    let mut fields = Fields(input);
                    let Some(head) = fields.array::<FILE_HEADER>() else { return Ok(None) };
                    *input = fields.0;
                    self.state = State::Skip(data_offset(head)?);
                }
                State::Skip(left) => {
                    let n = left.min(input.len());
                    *input = input.get(n..).unwrap_or_default();
                    match left.saturating_sub(n) {
                        0 => self.state = State::Between,
                        left => {
                            self.state = State::Skip(left);
                            return Ok(None);
                        }
                    }
                }
                State::Between => {
                    let mut fields = Fields(input);
                    let Some(head) = fields.array::<MAX_LEFTOVER>() else { return Ok(None) };
                    *input = fields.0;
                    self.state = self.tag(head)?;
                }
                State::Body { kind, timestamp, length } => {
                    let left = length.saturating_sub(self.buffer.len());
                    let mut fields = Fields(input);
                    let part = fields.take(left.min(input.len())).unwrap_or_default();
                    *input = fields.0;
                    let whole = part.len() == left;
                    if whole && self.buffer.is_empty() {
                        break (kind, timestamp, Some(part));
                    }
                    append(&mut self.buffer, part, length);
                    if !whole {
                        return Ok(None);
                    }
                    self.lent = true;
                    break (kind, timestamp, None);
                }
            }
        };
        self.state = State::Between;
        Ok(Some(Tag { kind, timestamp, payload: direct.unwrap_or(&self.buffer) }))
    }

    /// What follows a tag's header.
    fn tag(&self, head: [u8; MAX_LEFTOVER]) -> Result<State, FlvError> {
        let [_, _, _, _, first, l0, l1, l2, t1, t2, t3, t0, _, _, _] = head;
        let kind = first & 0x1F;
        let length = u24([l0, l1, l2]) as usize;
        if ![AUDIO, VIDEO, DATA].contains(&kind) {
            return Ok(State::Skip(length));
        }
        if first & 0x20 != 0 {
            return Err(FlvError::Encrypted(kind));
        }
        if length > self.max_tag {
            return Err(FlvError::TagTooLarge { length, max: self.max_tag });
        }
        Ok(State::Body { kind, timestamp: u32::from_be_bytes([t0, t1, t2, t3]), length })
    }
}

/// How many bytes stand between the file header and the first back pointer.
fn data_offset(head: [u8; FILE_HEADER]) -> Result<usize, FlvError> {
    let [f, l, v, _, _, o0, o1, o2, o3] = head;
    if [f, l, v] != *b"FLV" {
        return Err(FlvError::Signature([f, l, v]));
    }
    let offset = u32::from_be_bytes([o0, o1, o2, o3]);
    match offset.checked_sub(FILE_HEADER as u32) {
        Some(skip) if offset <= MAX_DATA_OFFSET => Ok(skip as usize),
        _ => Err(FlvError::DataOffset(offset)),
    }
}
