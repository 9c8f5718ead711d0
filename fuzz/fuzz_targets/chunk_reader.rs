//! Any bytes, whole and in pieces: the same messages, the same error, bounded memory.

#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use rtmp_protocol::chunk::{ChunkError, ChunkReader, Limits, MAX_HEADER};
use rtmp_protocol_fuzz::Cuts;

const LIMITS: Limits = Limits { max_streams: 400, max_message: 300 };

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    cuts: Cuts,
    bytes: &'a [u8],
}

type Owned = (u8, u32, u32, u32, Vec<u8>);

fn read(pieces: &[&[u8]]) -> (Vec<Owned>, Option<ChunkError>) {
    let mut reader = ChunkReader::new(LIMITS);
    let mut messages = Vec::new();
    let mut pending = Vec::new();
    for piece in pieces {
        pending.extend_from_slice(piece);
        let mut input = &pending[..];
        loop {
            match reader.read(&mut input) {
                Ok(Some(m)) => {
                    assert!(m.payload.len() <= LIMITS.max_message);
                    messages.push((m.kind, m.timestamp, m.stream_id, m.csid, m.payload.to_vec()));
                }
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
            }
        }
        assert!(input.len() < MAX_HEADER);
        assert!(reader.partial_bytes() <= LIMITS.max_partial());
        pending = input.to_vec();
    }
    (messages, None)
}

fuzz_target!(|input: Input| {
    assert_eq!(read(&[input.bytes]), read(&input.cuts.pieces(input.bytes)));
});
