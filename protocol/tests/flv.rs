//! FLV written and read, whole, in pieces and broken.

use proptest::collection::vec;
use proptest::prelude::*;
use rtmp_protocol::flv::{
    encode, encoded_len, header, tag_header, tag_trailer, FlvError, FlvReader, MAX_LEFTOVER,
};

type Owned = (u8, u32, Vec<u8>);

fn read<'a>(
    reader: &mut FlvReader,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<Owned>, FlvError> {
    let mut tags = Vec::new();
    let mut pending = Vec::new();
    for piece in pieces {
        pending.extend_from_slice(piece);
        let mut input = &pending[..];
        while let Some(tag) = reader.read(&mut input)? {
            tags.push((tag.kind, tag.timestamp, tag.payload.to_vec()));
        }
        assert!(input.len() < MAX_LEFTOVER);
        pending = input.to_vec();
    }
    Ok(tags)
}

fn read_all(bytes: &[u8]) -> Result<Vec<Owned>, FlvError> {
    read(&mut FlvReader::new(1000), [bytes])
}

fn file(tags: &[Owned]) -> Vec<u8> {
    let mut out = header(true, true).to_vec();
    for (kind, timestamp, payload) in tags {
        encode(*kind, *timestamp, payload, |piece| out.extend_from_slice(piece));
    }
    out
}

#[test]
fn bytes_of_the_format() {
    assert_eq!(header(true, false), *b"FLV\x01\x04\x00\x00\x00\x09\x00\x00\x00\x00");
    assert_eq!(header(false, true)[4], 1);
    assert_eq!(tag_header(9, 0x0403_0201, 0x05_0607), [9, 5, 6, 7, 3, 2, 1, 4, 0, 0, 0]);
    assert_eq!(tag_trailer(0x100), [0, 0, 1, 11]);
    assert_eq!(encoded_len(10), 25);
    assert_eq!(file(&[(8, 1, vec![7])])[13..], [8, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 7, 0, 0, 0, 12]);
}

proptest! {
    #[test]
    fn round_trip_in_any_pieces(
        tags in vec(
            (prop_oneof![Just(8u8), Just(9), Just(18)], any::<u32>(), vec(any::<u8>(), 0..100)),
            0..6,
        ),
        cuts in vec(any::<usize>(), 0..6),
    ) {
        let bytes = file(&tags);
        prop_assert_eq!(&read_all(&bytes).unwrap(), &tags);
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut % (bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for to in cuts.into_iter().chain([bytes.len()]) {
            pieces.push(&bytes[from..to]);
            from = to;
        }
        prop_assert_eq!(&read(&mut FlvReader::new(1000), pieces).unwrap(), &tags);
        prop_assert_eq!(&read(&mut FlvReader::new(1000), bytes.chunks(1)).unwrap(), &tags);
    }

    #[test]
    fn garbage_is_the_same_in_pieces(bytes in vec(any::<u8>(), 0..200), n in 1usize..20) {
        let bytes = [&header(true, true)[..], &bytes].concat();
        prop_assert_eq!(read_all(&bytes), read(&mut FlvReader::new(1000), bytes.chunks(n)));
    }
}

#[test]
fn whole_tag_is_a_borrow_of_the_input() {
    let bytes = file(&[(9, 5, vec![1, 2, 3])]);
    let mut reader = FlvReader::new(1000);
    let mut input = &bytes[..];
    let tag = reader.read(&mut input).unwrap().unwrap();
    assert!(std::ptr::eq(tag.payload, &bytes[24..27]));
}

#[test]
fn data_offset_is_honoured() {
    let tags = vec![(8, 1, vec![7]), (9, 2, vec![])];
    let mut bytes = file(&tags);
    bytes[8] = 12;
    bytes.splice(9..9, [0xAA; 3]);
    assert_eq!(read_all(&bytes).unwrap(), tags);
    assert_eq!(read(&mut FlvReader::new(1000), bytes.chunks(1)).unwrap(), tags);
    for offset in [0u32, 8, 65_537, u32::MAX] {
        bytes[5..9].copy_from_slice(&offset.to_be_bytes());
        assert_eq!(read_all(&bytes), Err(FlvError::DataOffset(offset)));
    }
}

#[test]
fn back_pointers_are_not_believed() {
    let tags = vec![(8, 1, vec![7]), (9, 2, vec![8, 9])];
    let mut bytes = file(&tags);
    bytes[9..13].fill(0xFF);
    bytes[25..29].fill(0xFF);
    assert_eq!(read_all(&bytes).unwrap(), tags);
}

#[test]
fn unknown_tags_are_skipped() {
    let tags = vec![(8, 1, vec![7]), (11, 2, vec![8; 5000]), (31, 3, vec![]), (18, 4, vec![9])];
    let expected = vec![tags[0].clone(), tags[3].clone()];
    let bytes = file(&tags);
    assert_eq!(read_all(&bytes).unwrap(), expected);
    assert_eq!(read(&mut FlvReader::new(1000), bytes.chunks(7)).unwrap(), expected);
}

#[test]
fn what_is_refused() {
    assert_eq!(read_all(b"HTTP/1.1 "), Err(FlvError::Signature(*b"HTT")));
    let mut bytes = file(&[(9, 0, vec![0; 1000])]);
    read_all(&bytes).unwrap();
    bytes[13] |= 0x20;
    assert_eq!(read_all(&bytes), Err(FlvError::Encrypted(9)));
    let too_large = FlvError::TagTooLarge { length: 1001, max: 1000 };
    // refused by the header alone
    assert_eq!(read_all(&file(&[(9, 0, vec![0; 1001])])[..24]), Err(too_large));
    assert_eq!(too_large.to_string(), "FLV tag of 1001 bytes, more than 1000");
}
