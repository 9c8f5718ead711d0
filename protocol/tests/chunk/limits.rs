//! What a hostile peer gets: chunk streams, sizes, lengths, changes within a message, aborts.

use rtmp_protocol::chunk::{write, ChunkError, ChunkReader, Header, Limits};
use rtmp_protocol::message::{abort, set_chunk_size};

use super::{read_all, Feeder};

const LIMITS: Limits = Limits { max_streams: 32, max_message: 1_000_000 };

/// A type-0 header of a video message at time 7.
fn start(csid: u8, length: u32) -> Vec<u8> {
    let [_, a, b, c] = length.to_be_bytes();
    vec![csid, 0, 0, 7, a, b, c, 9, 1, 0, 0, 0]
}

fn error(bytes: &[u8]) -> ChunkError {
    read_all(&mut ChunkReader::new(LIMITS), bytes).unwrap_err()
}

/// Each with one byte of video, whatever its id is.
#[test]
fn chunk_streams_are_bounded_in_number() {
    let limits = Limits { max_streams: 4, ..LIMITS };
    let message = |csid| {
        let mut out = Vec::new();
        write(&mut out, &Header { csid, timestamp: 0, kind: 9, stream_id: 1 }, &[7], 128);
        out
    };
    let four = [2, 63, 64, 65_599].map(message).concat();
    let mut reader = ChunkReader::new(limits);
    let csids = |messages: Vec<super::Owned>| messages.iter().map(|m| m.csid).collect::<Vec<_>>();
    assert_eq!(csids(read_all(&mut reader, &four).unwrap()), [2, 63, 64, 65_599]);
    // those in use go on
    assert_eq!(csids(read_all(&mut reader, &four).unwrap()), [2, 63, 64, 65_599]);
    for csid in [3, 62, 65, 319, 320, 65_598] {
        let mut reader = ChunkReader::new(limits);
        read_all(&mut reader, &four).unwrap();
        let expected = ChunkError::ChunkStream { csid, max: 4 };
        assert_eq!(read_all(&mut reader, &message(csid)), Err(expected));
    }
}

#[test]
fn sum_of_unfinished_messages_is_bounded() {
    let mut reader = ChunkReader::new(LIMITS);
    let mut feeder = Feeder::default();
    let mut size = Vec::new();
    set_chunk_size(&mut size, 999_999);
    feeder.feed(&mut reader, &size).unwrap();
    for csid in 3..7 {
        feeder.feed(&mut reader, &start(csid, 1_000_000)).unwrap();
        feeder.feed(&mut reader, &vec![0; 999_999]).unwrap();
    }
    assert_eq!(reader.partial_bytes(), 3_999_996);
    feeder.feed(&mut reader, &start(7, 1_000_000)).unwrap();
    feeder.feed(&mut reader, &[0; 4]).unwrap();
    assert_eq!(
        feeder.feed(&mut reader, &[0]),
        Err(ChunkError::TooManyPartialBytes { bytes: 4_000_001, max: 4_000_000 })
    );
}

#[test]
fn chunk_size_zero_and_top_bit_are_refused() {
    for size in [0, 0x8000_0000, 0xFFFF_FFFF] {
        let mut bytes = Vec::new();
        set_chunk_size(&mut bytes, size);
        assert_eq!(error(&bytes), ChunkError::ChunkSize(size));
    }
}

#[test]
fn huge_chunk_size_is_cut_to_the_longest_message() {
    let mut bytes = Vec::new();
    set_chunk_size(&mut bytes, 0x7FFF_FFFF);
    let mut reader = ChunkReader::new(LIMITS);
    read_all(&mut reader, &bytes).unwrap();
    assert_eq!(reader.chunk_size(), 0xFF_FFFF);
}

/// A session widens its limits once it knows what its client is.
#[test]
fn limits_can_change_between_messages() {
    let mut bytes = Vec::new();
    set_chunk_size(&mut bytes, 5000);
    let small = Limits { max_message: 1000, ..LIMITS };
    let mut reader = ChunkReader::new(small);
    read_all(&mut reader, &bytes).unwrap();
    let header = Header { csid: 4, timestamp: 0, kind: 9, stream_id: 1 };
    let mut bytes = Vec::new();
    write(&mut bytes, &header, &[7; 4000], 5000);
    reader.set_limits(LIMITS);
    assert_eq!(read_all(&mut reader, &bytes).unwrap()[0].payload, [7; 4000]);
    reader.set_limits(small);
    let expected = ChunkError::MessageTooLarge { csid: 4, length: 4000, max: 1000 };
    assert_eq!(read_all(&mut reader, &bytes), Err(expected));
}

#[test]
fn chunk_size_one_carries_small_messages_only() {
    let mut bytes = Vec::new();
    set_chunk_size(&mut bytes, 1);
    let header = Header { csid: 4, timestamp: 0, kind: 9, stream_id: 1 };
    write(&mut bytes, &header, &[1; 16_384], 1);
    let mut reader = ChunkReader::new(LIMITS);
    assert_eq!(read_all(&mut reader, &bytes).unwrap()[0].payload, [1; 16_384]);
    let mut bytes = Vec::new();
    write(&mut bytes, &header, &[1; 16_385], 1);
    assert_eq!(
        read_all(&mut reader, &bytes),
        Err(ChunkError::TooManyChunks { csid: 4, length: 16_385, max: 16_384 })
    );
}

/// A peer that never sets a chunk size can still send the longest message there is.
#[test]
fn default_chunk_size_carries_the_longest_message() {
    let header = Header { csid: 4, timestamp: 0, kind: 9, stream_id: 1 };
    let mut bytes = Vec::new();
    write(&mut bytes, &header, &vec![7; 0xFF_FFFF], 128);
    let messages = read_all(&mut ChunkReader::new(Limits::default()), &bytes).unwrap();
    assert_eq!(messages[0].payload.len(), 0xFF_FFFF);
}

#[test]
fn message_length_is_bounded() {
    read_all(&mut ChunkReader::new(LIMITS), &start(4, 1_000_000)).unwrap();
    let expected = ChunkError::MessageTooLarge { csid: 4, length: 1_000_001, max: 1_000_000 };
    assert_eq!(error(&start(4, 1_000_001)), expected);
}

/// The header of a message, 128 of its 200 bytes, and then another header.
fn interrupted(by: &[u8]) -> ChunkError {
    error(&[&start(4, 200)[..], &[0; 128], by].concat())
}

#[test]
fn nothing_changes_within_a_message() {
    let csid = 4;
    assert_eq!(
        interrupted(&[0x44, 0, 0, 7, 0, 0, 201, 9]),
        ChunkError::LengthChanged { csid, from: 200, to: 201 }
    );
    assert_eq!(
        interrupted(&[0x44, 0, 0, 7, 0, 0, 200, 8]),
        ChunkError::KindChanged { csid, from: 9, to: 8 }
    );
    for by in [&[4, 0, 0, 8, 0, 0, 200, 9, 1, 0, 0, 0][..], &[0x44, 0, 0, 8, 0, 0, 200, 9]] {
        assert_eq!(interrupted(by), ChunkError::TimestampChanged { csid, from: 7, to: 8 });
    }
    assert_eq!(
        interrupted(&[0x84, 0xFF, 0xFF, 0xFF, 1, 0, 0, 0]),
        ChunkError::TimestampChanged { csid, from: 7, to: 0x100_0000 }
    );
    assert_eq!(
        interrupted(&[4, 0, 0, 7, 0, 0, 200, 9, 2, 0, 0, 0]),
        ChunkError::StreamIdChanged { csid, from: 1, to: 2 }
    );
}

#[test]
fn first_chunk_must_have_a_header() {
    assert_eq!(error(&[0xC5]), ChunkError::NoPreviousChunk { csid: 5 });
    assert_eq!(error(&[0xC0, 1]), ChunkError::NoPreviousChunk { csid: 65 });
}

/// A control message that is cut short changes nothing.
#[test]
fn short_control_messages_say_nothing() {
    let audio = [4, 0, 0, 7, 0, 0, 1, 8, 1, 0, 0, 0, 0x55];
    for kind in [1, 2] {
        for length in 0..4 {
            let mut bytes = vec![2, 0, 0, 0, 0, 0, length, kind, 0, 0, 0, 0];
            bytes.extend(vec![0; length.into()]);
            bytes.extend(audio);
            let mut reader = ChunkReader::new(LIMITS);
            assert_eq!(read_all(&mut reader, &bytes).unwrap().len(), 1);
            assert_eq!(reader.chunk_size(), 128);
        }
    }
    // of a longer one the first four bytes count
    let longer = [2, 0, 0, 0, 0, 0, 6, 1, 0, 0, 0, 0, 0, 0, 1, 0, 9, 9];
    let mut reader = ChunkReader::new(LIMITS);
    read_all(&mut reader, &longer).unwrap();
    assert_eq!(reader.chunk_size(), 256);
}

#[test]
fn abort_drops_the_unfinished_message() {
    let mut reader = ChunkReader::new(LIMITS);
    let mut bytes = [&start(4, 200)[..], &[0; 128], &start(5, 200), &[5; 128]].concat();
    read_all(&mut reader, &bytes).unwrap();
    assert_eq!(reader.partial_bytes(), 256);

    bytes.clear();
    abort(&mut bytes, 4);
    // what no longer exists, never existed or cannot exist is aborted without effect
    for csid in [4, 9, 2, 0, 65_599, u32::MAX] {
        abort(&mut bytes, csid);
    }
    read_all(&mut reader, &bytes).unwrap();
    assert_eq!(reader.partial_bytes(), 128);

    // both chunk streams go on: one with the rest of its message, one with a new one
    let rest = [&[0xC5][..], &[5; 72], &start(4, 3), &[1, 2, 3]].concat();
    let messages = read_all(&mut reader, &rest).unwrap();
    assert_eq!(messages[0].payload, [5; 200]);
    assert_eq!(messages[1].payload, [1, 2, 3]);
    assert_eq!(reader.partial_bytes(), 0);
}

#[test]
fn errors_name_the_numbers() {
    let text = interrupted(&[0x44, 0, 0, 7, 0, 0, 201, 9]).to_string();
    assert_eq!(text, "length changed from 200 to 201 within a message on chunk stream 4");
    let text = ChunkError::ChunkStream { csid: 65_599, max: 32 }.to_string();
    assert_eq!(text, "chunk stream 65599 is one more than the 32 that are allowed");
}
