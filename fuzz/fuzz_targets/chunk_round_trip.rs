//! Any messages, written, cut anywhere and read, are the same messages.

#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use rtmp_protocol::chunk::{encoded_len, payload_ranges, write, ChunkReader, Header, Limits};
use rtmp_protocol::message;
use rtmp_protocol_fuzz::Cuts;

const MAX_STREAMS: u32 = 400;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    chunk_size: u8,
    cuts: Cuts,
    messages: Vec<Sent<'a>>,
}

#[derive(Arbitrary, Debug)]
struct Sent<'a> {
    csid: u16,
    timestamp: u32,
    kind: u8,
    stream_id: u32,
    payload: &'a [u8],
}

fuzz_target!(|input: Input| {
    let chunk_size = usize::from(input.chunk_size).max(1);
    let mut bytes = Vec::new();
    message::set_chunk_size(&mut bytes, chunk_size as u32);
    let mut sent = Vec::new();
    for message in &input.messages {
        let Sent { csid, timestamp, kind, stream_id, payload } = message;
        // all three sizes of a basic header
        let csid = u32::from(*csid) % (MAX_STREAMS - 2) + 2;
        // Set Chunk Size and Abort are not returned but carried out
        let kind = (*kind).max(3);
        let header = Header { csid, timestamp: *timestamp, kind, stream_id: *stream_id };
        let start = bytes.len();
        write(&mut bytes, &header, payload, chunk_size);
        let wire = &bytes[start..];
        assert_eq!(wire.len(), encoded_len(&header, payload.len(), chunk_size));
        let ranges = payload_ranges(&header, payload.len(), chunk_size);
        assert!(ranges.flat_map(|range| &wire[range]).eq(*payload));
        sent.push((header, payload.to_vec()));
    }

    let mut reader = ChunkReader::new(Limits { max_streams: MAX_STREAMS, ..Limits::default() });
    let mut received = Vec::new();
    let mut pending = Vec::new();
    for piece in input.cuts.pieces(&bytes) {
        pending.extend_from_slice(piece);
        let mut rest = &pending[..];
        while let Some(m) = reader.read(&mut rest).expect("what was written can be read") {
            let (csid, timestamp, kind, stream_id) = (m.csid, m.timestamp, m.kind, m.stream_id);
            received.push((Header { csid, timestamp, kind, stream_id }, m.payload.to_vec()));
        }
        pending = rest.to_vec();
    }
    assert!(pending.is_empty());
    assert_eq!(received, sent);
});
