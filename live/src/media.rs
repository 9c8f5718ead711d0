//! A media message, and what the engine remembers of it.

use rtmp_protocol::codec::{self, Info};
use rtmp_protocol::message;

/// What a message carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Audio,
    Video,
    /// Metadata and other script data.
    Data,
}

impl Kind {
    /// The RTMP message type, which is also the FLV tag type.
    pub fn message_type(self) -> u8 {
        match self {
            Kind::Audio => message::AUDIO,
            Kind::Video => message::VIDEO,
            Kind::Data => message::DATA,
        }
    }

    /// The kind of a message type; none for a message that is not media.
    pub fn of_message_type(kind: u8) -> Option<Self> {
        match kind {
            message::AUDIO => Some(Kind::Audio),
            message::VIDEO => Some(Kind::Video),
            message::DATA => Some(Kind::Data),
            _ => None,
        }
    }
}

/// A message on its way through: the payload is forwarded byte for byte.
#[derive(Clone, Copy, Debug)]
pub struct Media<'a> {
    pub kind: Kind,
    /// Milliseconds, wrapping at 2^32.
    pub timestamp: u32,
    pub payload: &'a [u8],
}

const ON_META_DATA: &[u8] = b"\x02\x00\x0aonMetaData";

impl Media<'_> {
    /// What the payload's first bytes say of an audio or video message.
    pub fn info(&self) -> Option<Info> {
        match self.kind {
            Kind::Audio => Some(codec::classify_audio(self.payload)),
            Kind::Video => Some(codec::classify_video(self.payload)),
            Kind::Data => None,
        }
    }

    /// Whether this is the stream's metadata.
    pub fn is_metadata(&self) -> bool {
        self.kind == Kind::Data && self.payload.starts_with(ON_META_DATA)
    }
}

/// What is kept of a packet beside its encoded bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet {
    pub kind: Kind,
    /// A player may start here.
    pub key: bool,
    /// One of the messages that players get in front, see [`Headers`](super::headers::Headers).
    pub sticky: bool,
    /// Milliseconds as sent to players.
    pub timestamp: u32,
    /// Milliseconds of the stream, whatever track it is of; they never go back.
    pub time: u64,
    pub len: u32,
    /// When it came, in milliseconds of the time that the worker was at work on the stream: it
    /// stands still while the worker does.
    pub arrived: u64,
}
