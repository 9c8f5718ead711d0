//! A media message, and what the engine remembers of it.

use rtmp_protocol::codec::{self, Class, Info};
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
pub struct Packet {
    pub kind: Kind,
    /// A player may start here.
    pub key: bool,
    /// One of the messages that players get in front, see [`Sticky`].
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

/// A message that every later player needs first: metadata, a sequence header, colour information.
pub struct Sticky {
    /// Which change of its stream's sticky messages brought it.
    pub version: u64,
    pub kind: Kind,
    pub track: u8,
    pub four_cc: [u8; 4],
    pub class: Option<Class>,
    pub payload: Box<[u8]>,
}

/// The sticky messages of one source, per (kind, track, FourCC).
#[derive(Default)]
pub struct Headers(Vec<Sticky>);

/// What a message was to the sticky ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// Not one of them.
    Nothing,
    /// One of a kind that was not there.
    New,
    /// One of them; frames go on as before.
    Same,
    /// Frames after it can't be decoded with what was before.
    Changed,
    /// One of them, but there is no room for it: it is not kept.
    TooLarge,
}

/// Sticky messages kept for one source: eight tracks of audio and video with colour information
/// fit, and a peer that invents tracks does not fill the memory.
const MAX_STICKIES: usize = 64;
/// The bytes of them: real ones take hundreds, and metadata with pictures in it some 100 KiB.
pub const MAX_STICKY_BYTES: usize = 1024 * 1024;

impl Headers {
    /// Takes note of `media`, which makes it the change `version` if it is one.
    pub fn note(&mut self, media: &Media<'_>, info: Option<&Info>, version: u64) -> Noted {
        let (track, four_cc, class) = match info {
            Some(info) => match info.class {
                Class::SequenceHeader | Class::Metadata => {
                    (info.track, info.four_cc, Some(info.class))
                }
                Class::SequenceEnd => {
                    self.0.retain(|s| s.kind != media.kind || s.track != info.track);
                    return Noted::Same;
                }
                _ => return Noted::Nothing,
            },
            None if media.is_metadata() => (0, [0; 4], None),
            None => return Noted::Nothing,
        };
        let mut noted = Noted::New;
        // a track has one codec at a time, and its sequence header says which; ffmpeg writes colour
        // information of any track as if it were of the first one
        let header = class == Some(Class::SequenceHeader);
        self.0.retain(|s| {
            let same_codec = s.four_cc == four_cc;
            let replaced = s.kind == media.kind
                && s.track == track
                && (if header {
                    s.class == class || !same_codec
                } else {
                    s.class == class && same_codec
                });
            if replaced && s.class == Some(Class::SequenceHeader) && *s.payload != *media.payload {
                noted = Noted::Changed;
            } else if replaced && noted == Noted::New {
                noted = Noted::Same;
            }
            !replaced
        });
        if self.0.len() >= MAX_STICKIES || self.bytes() + media.payload.len() > MAX_STICKY_BYTES {
            return Noted::TooLarge;
        }
        let payload = media.payload.into();
        self.0.push(Sticky { version, kind: media.kind, track, four_cc, class, payload });
        noted
    }

    fn bytes(&self) -> usize {
        self.0.iter().map(|sticky| sticky.payload.len()).sum()
    }

    /// What they hold.
    pub fn held(&self) -> u64 {
        (self.bytes() + self.0.capacity() * size_of::<Sticky>()) as u64
    }

    /// Makes all of them new: they are those of another source now.
    pub fn renew(&mut self, version: u64) {
        self.0.iter_mut().for_each(|sticky| sticky.version = version);
    }

    /// The messages in the order a player wants them: metadata, video, audio.
    pub fn in_order(&self) -> impl Iterator<Item = &Sticky> {
        [Kind::Data, Kind::Video, Kind::Audio]
            .into_iter()
            .flat_map(|kind| self.0.iter().filter(move |s| s.kind == kind))
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
