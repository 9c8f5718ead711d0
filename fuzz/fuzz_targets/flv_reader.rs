//! Any bytes as FLV, whole and in pieces: the same tags, the same error.

#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use rtmp_protocol::flv::{header, FlvError, FlvReader, MAX_LEFTOVER};
use rtmp_protocol_fuzz::Cuts;

const MAX_TAG: usize = 300;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    /// Puts a right file header in front.
    header: bool,
    cuts: Cuts,
    bytes: &'a [u8],
}

type Owned = (u8, u32, Vec<u8>);

fn read(pieces: &[&[u8]]) -> (Vec<Owned>, Option<FlvError>) {
    let mut reader = FlvReader::new(MAX_TAG);
    let mut tags = Vec::new();
    let mut pending = Vec::new();
    for piece in pieces {
        pending.extend_from_slice(piece);
        let mut input = &pending[..];
        loop {
            match reader.read(&mut input) {
                Ok(Some(tag)) => {
                    assert!(tag.payload.len() <= MAX_TAG);
                    tags.push((tag.kind, tag.timestamp, tag.payload.to_vec()));
                }
                Ok(None) => break,
                Err(error) => return (tags, Some(error)),
            }
        }
        assert!(input.len() < MAX_LEFTOVER);
        pending = input.to_vec();
    }
    (tags, None)
}

fuzz_target!(|input: Input| {
    let mut bytes = Vec::new();
    if input.header {
        bytes.extend_from_slice(&header(true, true)[..9]);
    }
    bytes.extend_from_slice(input.bytes);
    assert_eq!(read(&[&bytes]), read(&input.cuts.pieces(&bytes)));
});
