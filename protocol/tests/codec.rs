//! What media messages are, by example: old codecs, Enhanced RTMP, and what is cut off.

use proptest::collection::vec;
use proptest::prelude::*;
use rtmp_protocol::codec::{classify_audio, classify_video, Class, Info, UNKNOWN};

/// Class and codec of a message that is not multitrack.
#[track_caller]
fn check(info: Info, class: Class, four_cc: &[u8; 4]) {
    assert_eq!((info.class, &info.four_cc), (class, four_cc));
    assert_eq!((info.track, info.many_tracks), (0, false));
}

#[test]
fn legacy_video() {
    for (id, four_cc) in [(7, b"avc1"), (12, b"hvc1"), (13, b"av01"), (14, b"vvc1")] {
        let class = |frame_type: u8, packet_type: u8| {
            let info = classify_video(&[frame_type << 4 | id, packet_type, 0, 0, 0]);
            assert!(info.video && info.legacy);
            assert_eq!(&info.four_cc, four_cc);
            info.class
        };
        assert_eq!(class(1, 0), Class::SequenceHeader);
        assert_eq!(class(1, 1), Class::KeyFrame);
        assert_eq!(class(2, 1), Class::InterFrame);
        assert_eq!(class(3, 1), Class::Disposable);
        assert_eq!(class(1, 2), Class::SequenceEnd);
        assert_eq!(class(5, 0), Class::Command);
        // neither a generated key frame nor a packet type of the future is decodable by itself
        assert_eq!(class(4, 1), Class::InterFrame);
        assert_eq!(class(1, 3), Class::InterFrame);
        check(classify_video(&[0x10 | id]), Class::Empty, four_cc);
    }
    // codecs without a packet type: the frame type tells
    for (id, four_cc) in [(2, b"FLV1"), (3, b"FSV1"), (4, b"VP6F"), (5, b"VP6A"), (6, b"FSV2")] {
        check(classify_video(&[0x10 | id]), Class::KeyFrame, four_cc);
        check(classify_video(&[0x10 | id, 0]), Class::KeyFrame, four_cc);
        check(classify_video(&[0x20 | id, 0]), Class::InterFrame, four_cc);
        check(classify_video(&[0x30 | id, 0]), Class::Disposable, four_cc);
        check(classify_video(&[0x50 | id, 0]), Class::Command, four_cc);
    }
    check(classify_video(&[0x1F]), Class::KeyFrame, &UNKNOWN);
}

#[test]
fn legacy_audio() {
    check(classify_audio(&[0xAF, 0, 0x12, 0x10]), Class::SequenceHeader, b"mp4a");
    check(classify_audio(&[0xAF, 1, 0x21]), Class::Audio, b"mp4a");
    check(classify_audio(&[0xAF]), Class::Audio, b"mp4a");
    check(classify_audio(&[0xDF, 0, b'O']), Class::SequenceHeader, b"Opus");
    check(classify_audio(&[0xDF, 1, 0x78]), Class::Audio, b"Opus");
    // no other codec has a header: its second byte is sound
    for (format, four_cc) in [
        (0u8, b"lpcm"),
        (1, b"swfa"),
        (2, b".mp3"),
        (3, b"lpcm"),
        (4, b"nmos"),
        (7, b"alaw"),
        (8, b"ulaw"),
        (11, b"spex"),
        (14, b".mp3"),
        (15, &UNKNOWN),
    ] {
        let info = classify_audio(&[format << 4 | 0x0F, 0, 0]);
        assert!(!info.video && info.legacy);
        check(info, Class::Audio, four_cc);
    }
}

#[test]
fn empty() {
    check(classify_audio(&[]), Class::Empty, &UNKNOWN);
    check(classify_video(&[]), Class::Empty, &UNKNOWN);
}

/// An enhanced video message: frame type, packet type, codec, and one byte of body.
fn ex_video(frame_type: u8, packet_type: u8, four_cc: &[u8; 4]) -> Vec<u8> {
    [&[0x80 | frame_type << 4 | packet_type], &four_cc[..], &[0xEE]].concat()
}

fn ex_audio(packet_type: u8, four_cc: &[u8; 4]) -> Vec<u8> {
    [&[0x90 | packet_type], &four_cc[..], &[0xEE]].concat()
}

#[test]
fn enhanced_video() {
    for four_cc in [b"hvc1", b"av01", b"vp09", b"vp08", b"avc1", b"vvc1"] {
        let case = |frame_type, packet_type, class| {
            let info = classify_video(&ex_video(frame_type, packet_type, four_cc));
            assert!(info.video && !info.legacy);
            check(info, class, four_cc);
        };
        case(1, 0, Class::SequenceHeader);
        case(1, 1, Class::KeyFrame);
        case(2, 1, Class::InterFrame);
        case(3, 1, Class::Disposable);
        case(1, 2, Class::SequenceEnd);
        case(1, 3, Class::KeyFrame);
        case(2, 3, Class::InterFrame);
        case(1, 5, Class::SequenceHeader);
        // metadata is metadata under any frame type; FFmpeg sends it as a command
        for frame_type in 0..8 {
            case(frame_type, 4, Class::Metadata);
        }
        // packet types of the future
        case(1, 8, Class::InterFrame);
        case(1, 15, Class::InterFrame);
    }
}

/// The byte behind the header is the command's; it is no FourCC.
#[test]
fn enhanced_command() {
    for packet_type in [0, 1, 2, 3, 5, 6] {
        check(classify_video(&[0xD0 | packet_type, 0]), Class::Command, &UNKNOWN);
    }
}

/// An old parser would take the `h` of `hvc1`, or a 0 or 1 there, for an AVC packet type.
#[test]
fn second_byte_is_no_packet_type() {
    for second in [0, 1, 2] {
        let four_cc = [second, b'v', b'c', b'1'];
        check(classify_video(&ex_video(1, 1, &four_cc)), Class::KeyFrame, &four_cc);
        check(classify_audio(&ex_audio(1, &four_cc)), Class::Audio, &four_cc);
    }
}

#[test]
fn enhanced_audio() {
    for four_cc in [b"Opus", b"fLaC", b"ac-3", b"ec-3", b".mp3", b"mp4a"] {
        let case = |packet_type, class| {
            let info = classify_audio(&ex_audio(packet_type, four_cc));
            assert!(!info.video && !info.legacy);
            check(info, class, four_cc);
        };
        case(0, Class::SequenceHeader);
        case(1, Class::Audio);
        case(2, Class::SequenceEnd);
        case(4, Class::Metadata);
        case(8, Class::Audio);
    }
}

#[test]
fn mod_ex_is_unwrapped() {
    // a nanosecond offset of three bytes in front of coded frames
    let video = [0x97, 2, 0, 0, 1, 0x01, b'a', b'v', b'0', b'1', 0xEE];
    check(classify_video(&video), Class::KeyFrame, b"av01");
    let audio = [0x97, 2, 0, 0, 1, 0x01, b'O', b'p', b'u', b's', 0xEE];
    check(classify_audio(&audio), Class::Audio, b"Opus");
    // two in a row, the second with a 16-bit size
    let mut chain = vec![0x97, 0, 0xAA, 0x17, 0xFF, 0x01, 0x00];
    chain.extend_from_slice(&[0xBB; 257]);
    chain.extend_from_slice(&[0x00, b'h', b'v', b'c', b'1']);
    check(classify_video(&chain), Class::SequenceHeader, b"hvc1");
    // in front of metadata and of a command
    check(classify_video(&[0xD7, 0, 0, 0x04, b'h', b'v', b'c', b'1']), Class::Metadata, b"hvc1");
    check(classify_video(&[0xD7, 0, 0, 0x01, 0]), Class::Command, &UNKNOWN);
}

#[test]
fn multitrack_is_unwrapped() {
    // one track: kind and packet type, codec, track
    let one = [0x96, 0x01, b'h', b'v', b'c', b'1', 3, 0xEE];
    let info = classify_video(&one);
    assert_eq!((info.class, &info.four_cc, info.track), (Class::KeyFrame, b"hvc1", 3));
    assert!(!info.many_tracks);
    let header = [0x96, 0x00, b'h', b'v', b'c', b'1', 3, 0xEE];
    assert_eq!(classify_video(&header).class, Class::SequenceHeader);
    // many tracks of one codec: track, size, body, each
    let many = [0x95, 0x11, b'O', b'p', b'u', b's', 1, 0, 0, 1, 0xEE, 2, 0, 0, 1, 0xEE];
    let info = classify_audio(&many);
    assert_eq!((info.class, &info.four_cc, info.track), (Class::Audio, b"Opus", 1));
    assert!(info.many_tracks);
    // many tracks of many codecs: codec, track, size, body, each
    let many = [0xA6, 0x23, b'a', b'v', b'0', b'1', 2, 0, 0, 1, 0xEE];
    let info = classify_video(&many);
    assert_eq!((info.class, &info.four_cc, info.track), (Class::InterFrame, b"av01", 2));
    assert!(info.many_tracks);
    // behind a ModEx
    let both = [0x97, 0, 0, 0x06, 0x03, b'h', b'v', b'c', b'1', 1, 0xEE];
    let info = classify_video(&both);
    assert_eq!((info.class, info.track), (Class::KeyFrame, 1));
    // kinds of the future, and multitrack within multitrack, are no key frames
    assert_eq!(classify_video(&[0x96, 0x31, 1, 2, 3, 4, 5]).class, Class::Empty);
    assert_eq!(classify_video(&[0x96, 0x06, 1, 2, 3, 4, 5]).class, Class::InterFrame);
}

/// What FFmpeg 9.0.2 publishes: HEVC with Opus, and two tracks each of H.264 and AAC, of which the
/// first stays in old headers. The first bytes of each message, in its order.
#[test]
fn recorded_ffmpeg() {
    let hevc: [(&[u8], Class); 4] = [
        (b"\x90hvc1\x01\x04\x08\x00\x00\x00\x9e", Class::SequenceHeader),
        (b"\xd4hvc1\x02\x00\x09colo", Class::Metadata),
        (b"\x91hvc1\x00\x00\xc8\x00\x00\x1b\x66", Class::KeyFrame),
        (b"\xa1hvc1\x00\x01\xf4\x00\x00\x02\x69", Class::InterFrame),
    ];
    for (message, class) in hevc {
        check(classify_video(message), class, b"hvc1");
    }
    let opus: [(&[u8], Class); 3] = [
        (b"\x90OpusOpusHea", Class::SequenceHeader),
        (b"\x94Opus\x01\x01\x00\x00\x00\x04", Class::Metadata),
        (b"\x91Opus\xf8\x72\x49\x47\x27\x10\xe4", Class::Audio),
    ];
    for (message, class) in opus {
        check(classify_audio(message), class, b"Opus");
    }
    check(classify_video(b"\x17\x00\x00\x00\x00\x01\xf4"), Class::SequenceHeader, b"avc1");
    check(classify_video(b"\x17\x01\x00\x00\x00\x00\x00"), Class::KeyFrame, b"avc1");
    check(classify_audio(b"\xaf\x00\x12\x08\x56\xe5\x00"), Class::SequenceHeader, b"mp4a");
    let second_tracks: [(Info, Class); 5] = [
        (classify_video(b"\x96\x00avc1\x01\x01\xf4\x00\x0a\xff"), Class::SequenceHeader),
        (classify_video(b"\x96\x03avc1\x01\x00\x00\x02\x46\x06"), Class::KeyFrame),
        (classify_audio(b"\x95\x00mp4a\x01\x12\x08\x56\xe5\x00"), Class::SequenceHeader),
        (classify_audio(b"\x95\x04mp4a\x01\x01\x01\x00\x00\x00"), Class::Metadata),
        (classify_audio(b"\x95\x01mp4a\x01\xdc\x00\x4c\x61\x76"), Class::Audio),
    ];
    for (info, class) in second_tracks {
        assert_eq!((info.class, info.track, info.many_tracks), (class, 1, false));
        assert!(!info.legacy);
    }
}

#[test]
fn cut_off_headers_are_empty() {
    let messages: [&[u8]; 5] = [
        b"\x90hvc1",
        b"\x97\x02\x00\x00\x01\x01hvc1",
        b"\x96\x01hvc1\x03",
        b"\x97\x00\x00\x06\x21hvc1\x03",
        b"\x97\xFF\x00\x01\x00\x00\x01hvc1",
    ];
    for message in messages {
        assert_ne!(classify_video(message).class, Class::Empty);
        for end in 1..message.len() {
            check(classify_video(&message[..end]), Class::Empty, &UNKNOWN);
        }
    }
    for end in 1..5 {
        check(classify_audio(&b"\x90Opus"[..end]), Class::Empty, &UNKNOWN);
    }
}

proptest! {
    #[test]
    fn any_bytes(payload in vec(any::<u8>(), 0..40)) {
        let video = classify_video(&payload);
        prop_assert!(video.video && video.class != Class::Audio);
        let audio = classify_audio(&payload);
        prop_assert!(!audio.video);
        prop_assert!(!matches!(audio.class, Class::KeyFrame | Class::InterFrame));
    }
}
