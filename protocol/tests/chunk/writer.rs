//! The writer's wire form, byte by byte and through the reader.

use proptest::collection::vec;
use proptest::prelude::*;
use rtmp_protocol::chunk::{
    encode, encoded_len, payload_ranges, write, ChunkReader, Header, Limits, MAX_MESSAGE,
};
use rtmp_protocol::message;

use super::{cut, read_pieces, Owned};

#[test]
fn bytes_of_the_specification() {
    let mut out = Vec::new();
    let header = Header { csid: 4, timestamp: 1000, kind: 9, stream_id: 12346 };
    write(&mut out, &header, &[0xAB; 307], 128);
    assert_eq!(out[..12], [4, 0, 3, 0xE8, 0, 1, 0x33, 9, 0x3A, 0x30, 0, 0]);
    assert_eq!(out[12..140], [0xAB; 128]);
    assert_eq!(out[140], 0xC4);
    assert_eq!(out[269], 0xC4);
    assert_eq!(out.len(), 12 + 128 + 1 + 128 + 1 + 51);
}

#[test]
fn extended_timestamp_is_repeated() {
    let mut out = Vec::new();
    let header = Header { csid: 7, timestamp: 0xFF_FFFF, kind: 9, stream_id: 1 };
    write(&mut out, &header, &[1, 2, 3], 2);
    let expected = [
        7, 255, 255, 255, 0, 0, 3, 9, 1, 0, 0, 0, 0, 255, 255, 255, 1, 2, 0xC7, 0, 255, 255, 255, 3,
    ];
    assert_eq!(out, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn round_trip(
        csid in prop_oneof![2u32..64, 64u32..320, 320u32..1000],
        timestamp in prop_oneof![any::<u32>(), 0xFF_FFF0u32..0x100_0010],
        kind in 8u8..22,
        stream_id: u32,
        payload in vec(any::<u8>(), 0..600),
        chunk_size in prop_oneof![1usize..20, 100usize..5000],
        cuts in vec(any::<usize>(), 0..8),
    ) {
        let header = Header { csid, timestamp, kind, stream_id };
        let mut bytes = Vec::new();
        message::set_chunk_size(&mut bytes, chunk_size as u32);
        let start = bytes.len();
        write(&mut bytes, &header, &payload, chunk_size);
        let wire = &bytes[start..];

        let mut pieces = Vec::new();
        encode(&header, &payload, chunk_size, |piece| pieces.extend_from_slice(piece));
        prop_assert_eq!(&pieces[..], wire);
        prop_assert_eq!(encoded_len(&header, payload.len(), chunk_size), wire.len());
        let ranges = payload_ranges(&header, payload.len(), chunk_size);
        let back: Vec<u8> = ranges.flat_map(|range| wire[range].iter().copied()).collect();
        prop_assert_eq!(&back, &payload);

        let limits = Limits { max_streams: 1000, ..Limits::default() };
        let messages = read_pieces(&mut ChunkReader::new(limits), cut(&bytes, &cuts)).unwrap();
        prop_assert_eq!(messages, vec![Owned { csid, timestamp, kind, stream_id, payload }]);
    }
}

/// The first and last id of each size of the basic header.
#[test]
fn chunk_stream_ids() {
    let cases: [(u32, &[u8]); 6] = [
        (2, &[2]),
        (63, &[63]),
        (64, &[0, 0]),
        (319, &[0, 255]),
        (320, &[1, 0, 1]),
        (65_599, &[1, 255, 255]),
    ];
    for (csid, basic) in cases {
        let header = Header { csid, timestamp: 0, kind: 9, stream_id: 1 };
        let mut bytes = Vec::new();
        write(&mut bytes, &header, &[7], 128);
        assert!(bytes.starts_with(basic));
        assert_eq!(bytes.len(), basic.len() + 12);
        assert_eq!(encoded_len(&header, 1, 128), bytes.len());
        let limits = Limits { max_streams: 65_600, ..Limits::default() };
        let messages = read_pieces(&mut ChunkReader::new(limits), [&bytes[..]]).unwrap();
        assert_eq!(messages[0].csid, csid);
    }
}

#[test]
fn nothing_overflows_at_the_edges() {
    let header = Header { csid: 0, timestamp: u32::MAX, kind: 9, stream_id: u32::MAX };
    let mut out = Vec::new();
    write(&mut out, &header, &[], 0);
    assert_eq!(out.len(), encoded_len(&header, 0, 0));
    assert_eq!(payload_ranges(&header, 0, 0).count(), 0);
    write(&mut out, &Header { csid: u32::MAX, ..header }, &[1], usize::MAX);
    let long = vec![0; MAX_MESSAGE + 10];
    let mut out = Vec::new();
    write(&mut out, &header, &long, usize::MAX);
    assert_eq!(out.len(), 16 + MAX_MESSAGE);
    assert_eq!(payload_ranges(&header, usize::MAX, usize::MAX).last(), Some(16..16 + MAX_MESSAGE));
}
