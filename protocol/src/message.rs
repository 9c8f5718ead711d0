//! Message types and their ids, control messages, commands as messages, aggregates
//! (RTMP 1.0 sections 5.4, 6.2 and 7.1).
//!
//! The builders of control messages take no chunk size: they are right for 10 bytes and more.

use thiserror::Error;

use crate::amf0::{encode, Value};
use crate::chunk::{self, Header, DEFAULT_CHUNK_SIZE};
use crate::wire::Fields;

pub use crate::kinds::*;

/// Chunk stream of control messages.
pub const CSID_CONTROL: u32 = 2;
/// Chunk stream of connect, createStream and their answers.
pub const CSID_COMMAND: u32 = 3;
/// Chunk stream of onStatus and data.
pub const CSID_STATUS: u32 = 5;
/// Chunk stream of audio.
pub const CSID_AUDIO: u32 = 6;
/// Chunk stream of video.
pub const CSID_VIDEO: u32 = 7;

/// User control: the stream has become functional.
pub const STREAM_BEGIN: u16 = 0;
/// User control: the stream has ended.
pub const STREAM_EOF: u16 = 1;
/// User control: no data for now.
pub const STREAM_DRY: u16 = 2;
/// User control: the player's buffer in ms.
pub const SET_BUFFER_LENGTH: u16 = 3;
/// User control: the stream is recorded.
pub const STREAM_IS_RECORDED: u16 = 4;
/// User control: asks for a pong.
pub const PING_REQUEST: u16 = 6;
/// User control: the pong, with the ping's timestamp.
pub const PING_RESPONSE: u16 = 7;

/// Set Peer Bandwidth: limit at once.
pub const LIMIT_HARD: u8 = 0;
/// Set Peer Bandwidth: the smaller of this and the present one.
pub const LIMIT_SOFT: u8 = 1;
/// Set Peer Bandwidth: hard if the last was hard, else ignored.
pub const LIMIT_DYNAMIC: u8 = 2;

// The longest has ten bytes, and no sender of ours sets its chunk size below that: one chunk.
fn control(out: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    let header = Header { csid: CSID_CONTROL, timestamp: 0, kind, stream_id: 0 };
    chunk::write(out, &header, payload, DEFAULT_CHUNK_SIZE);
}

/// Appends Set Chunk Size, 1–0x7FFFFFFF.
pub fn set_chunk_size(out: &mut Vec<u8>, n: u32) {
    control(out, SET_CHUNK_SIZE, &n.to_be_bytes());
}

/// Appends Abort for a chunk stream.
pub fn abort(out: &mut Vec<u8>, csid: u32) {
    control(out, ABORT, &csid.to_be_bytes());
}

/// Appends an acknowledgement of `n` bytes in all, modulo 2^32.
pub fn ack(out: &mut Vec<u8>, n: u32) {
    control(out, ACK, &n.to_be_bytes());
}

/// Appends Window Acknowledgement Size, in bytes.
pub fn window_ack_size(out: &mut Vec<u8>, n: u32) {
    control(out, WINDOW_ACK_SIZE, &n.to_be_bytes());
}

/// Appends Set Peer Bandwidth, in bytes, with one of the `LIMIT_` types.
pub fn set_peer_bandwidth(out: &mut Vec<u8>, n: u32, limit_type: u8) {
    let [a, b, c, d] = n.to_be_bytes();
    control(out, SET_PEER_BANDWIDTH, &[a, b, c, d, limit_type]);
}

/// Appends a user control message: the event, its first value (a stream id or a timestamp), and for
/// SetBufferLength its second (ms).
pub fn user_control(out: &mut Vec<u8>, event: u16, a: u32, b: Option<u32>) {
    let mut payload = Vec::with_capacity(10);
    payload.extend_from_slice(&event.to_be_bytes());
    payload.extend_from_slice(&a.to_be_bytes());
    if let Some(b) = b {
        payload.extend_from_slice(&b.to_be_bytes());
    }
    control(out, USER_CONTROL, &payload);
}

/// Appends a command message of these values: name, transaction, command object, arguments.
pub fn command(out: &mut Vec<u8>, csid: u32, stream_id: u32, chunk_size: usize, values: &[Value]) {
    let header = Header { csid, timestamp: 0, kind: COMMAND, stream_id };
    chunk::write(out, &header, &amf(values), chunk_size);
}

/// Appends a data message of these values: name, arguments.
pub fn data(
    out: &mut Vec<u8>,
    timestamp: u32,
    stream_id: u32,
    chunk_size: usize,
    values: &[Value],
) {
    let header = Header { csid: CSID_STATUS, timestamp, kind: DATA, stream_id };
    chunk::write(out, &header, &amf(values), chunk_size);
}

fn amf(values: &[Value]) -> Vec<u8> {
    let mut payload = Vec::new();
    for value in values {
        encode(value, &mut payload);
    }
    payload
}

/// The number in an Ack or Window Acknowledgement Size; also the bytes of a Set Peer Bandwidth.
pub fn control_value(payload: &[u8]) -> Option<u32> {
    Fields(payload).u32()
}

/// A user control message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserControl {
    /// Such as [`PING_REQUEST`]; may be unknown.
    pub event: u16,
    /// The first value: a stream id or a timestamp; 0 if it is missing.
    pub a: u32,
    /// The second value: the ms of [`SET_BUFFER_LENGTH`].
    pub b: Option<u32>,
}

impl UserControl {
    /// `None` if there is not even an event.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let mut fields = Fields(payload);
        let event = fields.u16()?;
        Some(Self { event, a: fields.u32().unwrap_or(0), b: fields.u32() })
    }
}

/// The bytes that an empty message takes in an aggregate.
pub const MIN_PART: usize = 15;
/// The most messages of an aggregate: servers that send them fill 64 KiB, and a message may be empty.
pub const MAX_PARTS: usize = 4096;

/// Why an aggregate can't be read on. What came before is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum AggregateError {
    #[error("aggregate ends within the header of a message at byte {at}")]
    Header { at: usize },
    #[error(
        "message of {length} bytes at byte {at} of an aggregate is longer than the {left} left"
    )]
    Length { at: usize, length: usize, left: usize },
    #[error("aggregate within an aggregate at byte {at}")]
    Nested { at: usize },
    #[error("aggregate of more than {MAX_PARTS} messages")]
    TooMany,
}

/// A message out of an aggregate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part<'a> {
    /// Message type id.
    pub kind: u8,
    /// Absolute time in ms.
    pub timestamp: u32,
    /// The message.
    pub payload: &'a [u8],
}

/// The messages of an aggregate, in order, up to the first that is not whole. Timestamps within
/// count from the first one, which is the aggregate's own.
pub fn aggregate(
    msg_timestamp: u32,
    payload: &[u8],
) -> impl Iterator<Item = Result<Part<'_>, AggregateError>> {
    let mut first = None;
    Parts::new(payload).map(move |part| {
        part.map(|mut part| {
            let first = *first.get_or_insert(part.timestamp);
            part.timestamp = msg_timestamp.wrapping_add(part.timestamp.wrapping_sub(first));
            part
        })
    })
}

/// The tags in an aggregate with the timestamps they carry.
struct Parts<'a> {
    fields: Fields<'a>,
    at: usize,
    count: usize,
}

impl<'a> Parts<'a> {
    fn new(payload: &'a [u8]) -> Self {
        Self { fields: Fields(payload), at: 0, count: 0 }
    }

    fn part(&mut self) -> Result<Part<'a>, AggregateError> {
        if self.count == MAX_PARTS {
            return Err(AggregateError::TooMany);
        }
        self.count = self.count.saturating_add(1);
        let at = self.at;
        let header = AggregateError::Header { at };
        let kind = self.fields.u8().ok_or(header)?;
        let length = self.fields.u24().ok_or(header)?;
        let low = self.fields.u24().ok_or(header)?;
        let high = self.fields.u8().ok_or(header)?;
        self.fields.u24().ok_or(header)?;
        if kind == AGGREGATE {
            return Err(AggregateError::Nested { at });
        }
        let left = self.fields.0.len();
        let too_long = AggregateError::Length { at, length: length as usize, left };
        let payload = self.fields.take(length as usize).ok_or(too_long)?;
        // the size of this message once more, for those who read backwards: encoders put 0 there,
        // and leave it out behind the last one
        if self.fields.u32().is_none() {
            self.fields = Fields(&[]);
        }
        self.at = at.saturating_add(length as usize).saturating_add(15);
        Ok(Part { kind, timestamp: u32::from(high) << 24 | low, payload })
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Result<Part<'a>, AggregateError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.fields.0.is_empty() {
            return None;
        }
        let part = self.part();
        if part.is_err() {
            self.fields = Fields(&[]);
        }
        Some(part)
    }
}
