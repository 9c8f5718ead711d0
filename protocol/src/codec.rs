//! What a media message is to a cache: sequence header, key frame or neither (FLV 10.1 Annex
//! E.4.2.1 and E.4.3.1, Enhanced RTMP v2). Only headers are read; the media itself is opaque.

use crate::wire::Fields;

/// A FourCC that is not known.
pub const UNKNOWN: [u8; 4] = [0; 4];

/// What a message is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// A decoder's configuration. A later one of the same kind, track and codec replaces it.
    SequenceHeader,
    /// The track ends: its sequence header and metadata are void.
    SequenceEnd,
    /// Video that can be decoded without any before it.
    KeyFrame,
    /// Video that cannot.
    InterFrame,
    /// Video that no other frame needs.
    Disposable,
    /// Sound.
    Audio,
    /// Colour information, channel order and the like: as lasting as a sequence header, but beside
    /// it, never in its place.
    Metadata,
    /// A command to the player (start or end of seeking).
    Command,
    /// Empty, or cut off within its header. Empty audio is a legal mark of silence.
    Empty,
}

/// What the headers of a message say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Info {
    /// Video or audio.
    pub video: bool,
    /// What it is good for.
    pub class: Class,
    /// The codec; old numeric ids are mapped (`avc1`, `hvc1`, `av01`, `mp4a`, `Opus`, …), 0 if unknown.
    pub four_cc: [u8; 4],
    /// The track; 0 unless multitrack. Of several tracks in a message it is the first.
    pub track: u8,
    /// Whether the message holds several tracks, all of the same class.
    pub many_tracks: bool,
    /// Without the header of Enhanced RTMP.
    pub legacy: bool,
}

impl Info {
    fn legacy(video: bool, class: Class, four_cc: [u8; 4]) -> Self {
        Self { video, class, four_cc, track: 0, many_tracks: false, legacy: true }
    }
}

/// Classifies the payload of a video message or tag.
pub fn classify_video(payload: &[u8]) -> Info {
    let Some(&first) = payload.first() else {
        return Info::legacy(true, Class::Empty, UNKNOWN);
    };
    if first & 0x80 != 0 {
        return enhanced_video(first, payload);
    }
    let (frame_type, codec) = (first >> 4, first & 0x0F);
    let four_cc = legacy_video_codec(codec);
    let class = match (frame_type, codec, payload.get(1)) {
        (FRAME_COMMAND, ..) => Class::Command,
        (_, AVC | HEVC..=VVC, Some(0)) => Class::SequenceHeader,
        (_, AVC | HEVC..=VVC, Some(1)) => frame_class(frame_type),
        (_, AVC | HEVC..=VVC, Some(2)) => Class::SequenceEnd,
        (_, AVC | HEVC..=VVC, Some(_)) => Class::InterFrame,
        (_, AVC | HEVC..=VVC, None) => Class::Empty,
        _ => frame_class(frame_type),
    };
    Info::legacy(true, class, four_cc)
}

/// Classifies the payload of an audio message or tag.
pub fn classify_audio(payload: &[u8]) -> Info {
    let Some(&first) = payload.first() else {
        return Info::legacy(false, Class::Empty, UNKNOWN);
    };
    let format = first >> 4;
    if format == EX_AUDIO {
        return enhanced_audio(first, payload);
    }
    let class = match (format, payload.get(1)) {
        (AAC | OPUS, Some(0)) => Class::SequenceHeader,
        _ => Class::Audio,
    };
    Info::legacy(false, class, legacy_audio_codec(format))
}

const AVC: u8 = 7;
/// 12 to 14 and the sound format 13 are no part of FLV: CDNs and their encoders write these codecs
/// as AVC and AAC are.
const HEVC: u8 = 12;
const AV1: u8 = 13;
const VVC: u8 = 14;
const AAC: u8 = 10;
const OPUS: u8 = 13;
const EX_AUDIO: u8 = 9;

const FRAME_KEY: u8 = 1;
const FRAME_DISPOSABLE: u8 = 3;
const FRAME_COMMAND: u8 = 5;

const SEQUENCE_START: u8 = 0;
const CODED_FRAMES: u8 = 1;
const SEQUENCE_END: u8 = 2;
const CODED_FRAMES_X: u8 = 3;
const VIDEO_METADATA: u8 = 4;
const VIDEO_MPEG2TS_SEQUENCE_START: u8 = 5;
const VIDEO_MULTITRACK: u8 = 6;
const AUDIO_MULTICHANNEL_CONFIG: u8 = 4;
const AUDIO_MULTITRACK: u8 = 5;
const MOD_EX: u8 = 7;

const ONE_TRACK: u8 = 0;
const MANY_TRACKS_MANY_CODECS: u8 = 2;

fn frame_class(frame_type: u8) -> Class {
    match frame_type {
        FRAME_KEY => Class::KeyFrame,
        FRAME_DISPOSABLE => Class::Disposable,
        FRAME_COMMAND => Class::Command,
        _ => Class::InterFrame,
    }
}

fn legacy_video_codec(id: u8) -> [u8; 4] {
    match id {
        1 => *b"JPEG",
        2 => *b"FLV1",
        3 => *b"FSV1",
        4 => *b"VP6F",
        5 => *b"VP6A",
        6 => *b"FSV2",
        AVC => *b"avc1",
        HEVC => *b"hvc1",
        AV1 => *b"av01",
        VVC => *b"vvc1",
        _ => UNKNOWN,
    }
}

fn legacy_audio_codec(format: u8) -> [u8; 4] {
    match format {
        0 | 3 => *b"lpcm",
        1 => *b"swfa",
        2 | 14 => *b".mp3",
        4..=6 => *b"nmos",
        7 => *b"alaw",
        8 => *b"ulaw",
        AAC => *b"mp4a",
        11 => *b"spex",
        OPUS => *b"Opus",
        _ => UNKNOWN,
    }
}

fn enhanced_video(first: u8, payload: &[u8]) -> Info {
    let frame_type = first >> 4 & 0x07;
    let Some(head) = ExHeader::video(first, payload) else { return cut_off(true) };
    let class = match head.packet_type {
        VIDEO_METADATA => Class::Metadata,
        _ if frame_type == FRAME_COMMAND => Class::Command,
        SEQUENCE_START | VIDEO_MPEG2TS_SEQUENCE_START => Class::SequenceHeader,
        CODED_FRAMES | CODED_FRAMES_X => frame_class(frame_type),
        SEQUENCE_END => Class::SequenceEnd,
        _ => Class::InterFrame,
    };
    head.info(true, class)
}

fn enhanced_audio(first: u8, payload: &[u8]) -> Info {
    let Some(head) = ExHeader::audio(first, payload) else { return cut_off(false) };
    let class = match head.packet_type {
        SEQUENCE_START => Class::SequenceHeader,
        SEQUENCE_END => Class::SequenceEnd,
        AUDIO_MULTICHANNEL_CONFIG => Class::Metadata,
        _ => Class::Audio,
    };
    head.info(false, class)
}

/// An Enhanced RTMP message that ends within its header.
fn cut_off(video: bool) -> Info {
    Info { legacy: false, ..Info::legacy(video, Class::Empty, UNKNOWN) }
}

/// The header of Enhanced RTMP with ModEx and Multitrack unwrapped.
struct ExHeader {
    packet_type: u8,
    four_cc: [u8; 4],
    track: u8,
    many_tracks: bool,
}

impl ExHeader {
    fn video(first: u8, payload: &[u8]) -> Option<Self> {
        let (packet_type, mut fields) = after_mod_ex(first, payload)?;
        if first >> 4 & 0x07 == FRAME_COMMAND && packet_type != VIDEO_METADATA {
            // the command's one byte follows, and no FourCC
            return Some(Self { packet_type, four_cc: UNKNOWN, track: 0, many_tracks: false });
        }
        Self::body(packet_type, VIDEO_MULTITRACK, &mut fields)
    }

    fn audio(first: u8, payload: &[u8]) -> Option<Self> {
        let (packet_type, mut fields) = after_mod_ex(first, payload)?;
        Self::body(packet_type, AUDIO_MULTITRACK, &mut fields)
    }

    fn body(packet_type: u8, multitrack: u8, fields: &mut Fields<'_>) -> Option<Self> {
        if packet_type != multitrack {
            let four_cc = fields.array()?;
            return Some(Self { packet_type, four_cc, track: 0, many_tracks: false });
        }
        // with many codecs the FourCC belongs to the track, but stands in the same place
        let kinds = fields.u8()?;
        let (kind, packet_type) = (kinds >> 4, kinds & 0x0F);
        if kind > MANY_TRACKS_MANY_CODECS {
            return None;
        }
        let four_cc = fields.array()?;
        let track = fields.u8()?;
        Some(Self { packet_type, four_cc, track, many_tracks: kind != ONE_TRACK })
    }

    fn info(self, video: bool, class: Class) -> Info {
        let Self { four_cc, track, many_tracks, .. } = self;
        Info { video, class, four_cc, track, many_tracks, legacy: false }
    }
}

/// The packet type behind any ModEx packets, and what follows it.
fn after_mod_ex(first: u8, payload: &[u8]) -> Option<(u8, Fields<'_>)> {
    let mut packet_type = first & 0x0F;
    let mut fields = Fields(payload);
    fields.u8()?;
    while packet_type == MOD_EX {
        let size = match fields.u8()? {
            0xFF => usize::from(fields.u16()?),
            size => usize::from(size),
        };
        fields.take(size.checked_add(1)?)?;
        packet_type = fields.u8()? & 0x0F;
    }
    Some((packet_type, fields))
}
