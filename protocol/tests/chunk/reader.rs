//! What the reader makes of every legal way to cut messages.

use proptest::collection::vec;
use proptest::prelude::*;
use rtmp_protocol::chunk::{ChunkReader, Limits};

use super::peer::{chunk, Choices};
use super::{cut, read_all, read_pieces, Feeder, Owned};

const LIMITS: Limits = Limits { max_streams: 1000, max_message: 0xFF_FFFF };

/// Times around every place where something wraps.
fn timestamp() -> impl Strategy<Value = u32> {
    prop_oneof![
        0u32..100,
        0xFF_FFF0u32..0x100_0010,
        Just(0x7FFF_FFFF),
        0xFFFF_FFD8u32..=0xFFFF_FFFF,
    ]
}

/// Messages of three chunk streams, one for each size of the basic header. The payload's bytes are
/// in no extended timestamp above, so that a reader can tell whether it is repeated.
fn messages() -> impl Strategy<Value = Vec<Owned>> {
    let message = (
        prop_oneof![Just(4u32), Just(64), Just(319), Just(320), Just(999)],
        timestamp(),
        prop_oneof![Just(8u8), Just(9), Just(18)],
        prop_oneof![Just(1u32), Just(0x0102_0304)],
        prop_oneof![0usize..4, 100usize..300, Just(20)],
        0x10u8..0x60,
    );
    vec(message, 0..12).prop_map(|messages| {
        let owned = messages.into_iter().map(|(csid, timestamp, kind, stream_id, len, fill)| {
            let payload = (0..len).map(|i| 0x10 + (fill as usize + i) as u8 % 0x50).collect();
            Owned { csid, timestamp, kind, stream_id, payload }
        });
        owned.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_chunking_in_any_pieces(
        messages in messages(),
        repeat: bool,
        choices in vec(any::<u8>(), 0..200),
        cuts in vec(any::<usize>(), 0..20),
    ) {
        let (bytes, expected) = chunk(&messages, repeat, &mut Choices(choices.into()));
        let mut reader = ChunkReader::new(LIMITS);
        prop_assert_eq!(&read_all(&mut reader, &bytes).unwrap(), &expected);
        prop_assert_eq!(reader.partial_bytes(), 0);
        let mut reader = ChunkReader::new(LIMITS);
        prop_assert_eq!(&read_pieces(&mut reader, cut(&bytes, &cuts)).unwrap(), &expected);
        prop_assert_eq!(reader.partial_bytes(), 0);
        let mut reader = ChunkReader::new(LIMITS);
        prop_assert_eq!(&read_pieces(&mut reader, bytes.chunks(1)).unwrap(), &expected);
    }

    #[test]
    fn garbage_never_panics(bytes in vec(any::<u8>(), 0..300), cuts in vec(any::<usize>(), 0..5)) {
        let limits = Limits { max_streams: 400, max_message: 1000 };
        let whole = read_all(&mut ChunkReader::new(limits), &bytes);
        let pieces = read_pieces(&mut ChunkReader::new(limits), cut(&bytes, &cuts));
        prop_assert_eq!(whole, pieces);
    }
}

/// One stream with everything in it, cut in two at every byte.
#[test]
fn every_boundary() {
    let message = |csid, timestamp, len| Owned {
        csid,
        timestamp,
        kind: 9,
        stream_id: 1,
        payload: (0..len).map(|i| 0x10 + (i % 0x50) as u8).collect(),
    };
    let messages = [
        message(4, 0xFF_FFFE, 300),
        message(64, 40, 20),
        message(4, 0x100_0026, 300),
        message(64, 80, 20),
        message(320, 0xFFFF_FFF0, 200),
        message(320, 24, 200),
        message(64, 80, 0),
    ];
    for repeat in [false, true] {
        let choices = Choices((0..200u8).map(|i| i.wrapping_mul(37)).collect());
        let (bytes, expected) = chunk(&messages, repeat, &mut { choices });
        for at in 0..=bytes.len() {
            let (head, tail) = bytes.split_at(at);
            let mut reader = ChunkReader::new(LIMITS);
            assert_eq!(read_pieces(&mut reader, [head, tail]).unwrap(), expected, "cut at {at}");
        }
    }
}

fn timestamps(bytes: &[u8]) -> Vec<u32> {
    let messages = read_all(&mut ChunkReader::new(LIMITS), bytes).unwrap();
    messages.into_iter().map(|message| message.timestamp).collect()
}

/// A type-0 header on chunk stream 4 with one byte of audio.
fn type_0(timestamp: u32) -> Vec<u8> {
    let mut out = vec![4];
    out.extend_from_slice(&timestamp.min(0xFF_FFFF).to_be_bytes()[1..]);
    out.extend_from_slice(&[0, 0, 1, 8, 1, 0, 0, 0]);
    if timestamp >= 0xFF_FFFF {
        out.extend_from_slice(&timestamp.to_be_bytes());
    }
    out.push(0x55);
    out
}

fn type_2(delta: u32) -> Vec<u8> {
    let mut out = vec![0x84];
    out.extend_from_slice(&delta.min(0xFF_FFFF).to_be_bytes()[1..]);
    if delta >= 0xFF_FFFF {
        out.extend_from_slice(&delta.to_be_bytes());
    }
    out.push(0x55);
    out
}

const TYPE_3: [u8; 2] = [0xC4, 0x55];

#[test]
fn type_3_repeats_the_last_delta() {
    let bytes = [type_0(1000), type_2(20), TYPE_3.to_vec(), TYPE_3.to_vec()].concat();
    assert_eq!(timestamps(&bytes), [1000, 1020, 1040, 1060]);
}

/// FFmpeg's start at its frame interval, and librtmp's "the same timestamp".
#[test]
fn type_3_behind_type_0() {
    assert_eq!(timestamps(&[&type_0(23)[..], &TYPE_3].concat()), [23, 46]);
    assert_eq!(timestamps(&[&type_0(5_000)[..], &TYPE_3].concat()), [5_000, 10_000]);
    assert_eq!(timestamps(&[&type_0(3_600_000)[..], &TYPE_3].concat()), [3_600_000, 3_600_000]);
}

#[test]
fn deltas_wrap_at_24_and_32_bits() {
    assert_eq!(timestamps(&[type_0(0xFF_FFFE), type_2(4)].concat()), [0xFF_FFFE, 0x100_0002]);
    assert_eq!(timestamps(&[type_0(0xFFFF_FFFE), type_2(4)].concat()), [0xFFFF_FFFE, 2]);
    // a delta that needs the extended field, and one that goes back
    assert_eq!(timestamps(&[type_0(5), type_2(0x100_0000)].concat()), [5, 0x100_0005]);
    assert_eq!(timestamps(&[type_0(50), type_2(0xFFFF_FFEC)].concat()), [50, 30]);
    assert_eq!(timestamps(&[type_0(0xFF_FFFF), type_0(0)].concat()), [0xFF_FFFF, 0]);
}

/// A peer that repeats the absolute time behind an extended delta is understood too.
#[test]
fn extended_delta_with_absolute_time_repeated() {
    let mut bytes = type_0(0x10);
    // type 1, delta 0x1000000, 200 bytes, of which 128 come before the continuation
    bytes.extend_from_slice(&[0x44, 0xFF, 0xFF, 0xFF, 0, 0, 200, 9, 1, 0, 0, 0]);
    bytes.extend_from_slice(&[0x33; 128]);
    bytes.extend_from_slice(&[0xC4, 1, 0, 0, 0x10]);
    bytes.extend_from_slice(&[0x33; 72]);
    let messages = read_all(&mut ChunkReader::new(LIMITS), &bytes).unwrap();
    assert_eq!(messages[1].timestamp, 0x100_0010);
    assert_eq!(messages[1].payload, [0x33; 200]);
}

/// librtmp answers the first ping with a type-1 chunk on chunk stream 2, which it has not used.
#[test]
fn type_1_pong_on_a_fresh_control_stream() {
    let bytes = [0x42, 0, 0, 0, 0, 0, 6, 4, 0, 7, 0, 0, 0, 9];
    let messages = read_all(&mut ChunkReader::new(LIMITS), &bytes).unwrap();
    assert_eq!((messages[0].kind, &messages[0].payload[..]), (4, &[0, 7, 0, 0, 0, 9][..]));
}

/// Encoders begin the chunk stream of audio so: the time counts from 0, on message stream 0.
#[test]
fn a_chunk_stream_may_begin_with_a_delta() {
    for basic in [&[0x46][..], &[0x40, 1], &[0x41, 1, 1]] {
        let bytes = [basic, &[0, 0, 23, 0, 0, 1, 8, 0x55], basic, &[0, 0, 23, 0, 0, 1, 8, 0x55]];
        let messages = read_all(&mut ChunkReader::new(LIMITS), &bytes.concat()).unwrap();
        let read = messages.iter().map(|m| (m.kind, m.timestamp, m.stream_id));
        assert_eq!(read.collect::<Vec<_>>(), [(8, 23, 0), (8, 46, 0)]);
    }
    // without a length there is nothing in it
    let bytes = [&[0x86, 0, 0, 23][..], &[4, 0, 0, 7, 0, 0, 1, 8, 1, 0, 0, 0, 0x55]].concat();
    let messages = read_all(&mut ChunkReader::new(LIMITS), &bytes).unwrap();
    assert_eq!(messages.iter().map(|m| m.payload.len()).collect::<Vec<_>>(), [0, 1]);
}

/// A header said once more within a message is a continuation if it says the same.
#[test]
fn same_header_again_is_a_continuation() {
    for again in [&[4, 0, 0, 7, 0, 0, 200, 9, 1, 0, 0, 0][..], &[0x44, 0, 0, 7, 0, 0, 200, 9]] {
        let mut bytes = vec![4, 0, 0, 7, 0, 0, 200, 9, 1, 0, 0, 0];
        bytes.extend_from_slice(&[1; 128]);
        bytes.extend_from_slice(again);
        bytes.extend_from_slice(&[2; 72]);
        let messages = read_all(&mut ChunkReader::new(LIMITS), &bytes).unwrap();
        assert_eq!((messages.len(), messages[0].timestamp), (1, 7));
        assert_eq!(messages[0].payload.len(), 200);
    }
}

#[test]
fn whole_message_is_a_borrow_of_the_input() {
    let bytes = type_0(7);
    let mut input = &bytes[..];
    let mut reader = ChunkReader::new(LIMITS);
    let message = reader.read(&mut input).unwrap().unwrap();
    assert!(std::ptr::eq(message.payload, &bytes[bytes.len() - 1..]));
    assert!(input.is_empty());
    assert_eq!(reader.read(&mut input), Ok(None));
}

/// A control message that arrives in pieces takes effect in its place.
#[test]
fn set_chunk_size_in_pieces() {
    let mut bytes = vec![2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0, 200];
    bytes.extend_from_slice(&[4, 0, 0, 7, 0, 0, 200, 9, 1, 0, 0, 0]);
    bytes.extend_from_slice(&[0xC4; 200]);
    let mut reader = ChunkReader::new(LIMITS);
    let messages = read_pieces(&mut reader, bytes.chunks(3)).unwrap();
    assert_eq!(messages[0].payload, [0xC4; 200]);
    assert_eq!(reader.chunk_size(), 200);
}

#[test]
fn feeder_keeps_what_is_left() {
    let mut feeder = Feeder::default();
    let mut reader = ChunkReader::new(LIMITS);
    feeder.feed(&mut reader, &[4, 0, 0]).unwrap();
    feeder.feed(&mut reader, &type_0(9)[3..]).unwrap();
    assert_eq!(feeder.messages.len(), 1);
}
