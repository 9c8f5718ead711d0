//! What reading and writing allocate: nothing per message once a stream runs, and never by what a
//! peer only declares.

use allocation_counter::measure;
use rtmp_protocol::chunk::{encode, write, ChunkReader, Header, Limits};
use rtmp_protocol::flv::{self, FlvReader};
use rtmp_protocol::message::set_chunk_size;

/// Reads all there is, and returns the bytes of payload.
fn read(reader: &mut ChunkReader, mut input: &[u8]) -> usize {
    let mut bytes = 0;
    while let Some(message) = reader.read(&mut input).unwrap() {
        bytes += message.payload.len();
    }
    assert!(input.is_empty());
    bytes
}

/// A second of audio and video in chunks of 4096: messages of one chunk and of several.
fn second() -> Vec<u8> {
    let mut out = Vec::new();
    for i in 0..50 {
        let audio = Header { csid: 6, timestamp: i * 20, kind: 8, stream_id: 1 };
        write(&mut out, &audio, &[0xAF; 300], 4096);
        let video = Header { csid: 7, timestamp: i * 20, kind: 9, stream_id: 1 };
        write(&mut out, &video, &[0x27; 20_000], 4096);
    }
    out
}

#[test]
fn a_running_stream_allocates_nothing() {
    let mut reader = ChunkReader::new(Limits::default());
    let mut size = Vec::new();
    set_chunk_size(&mut size, 4096);
    read(&mut reader, &size);
    let second = second();
    // audio, whose headers are never cut, arrives in whole; video is gathered in the one buffer
    assert_eq!(read(&mut reader, &second), 50 * 20_300);
    let used = measure(|| {
        for _ in 0..10 {
            read(&mut reader, &second);
        }
    });
    assert_eq!(used.count_total, 0);
}

#[test]
fn encoding_allocates_nothing() {
    let payload = vec![0; 20_000];
    let header = Header { csid: 7, timestamp: u32::MAX, kind: 9, stream_id: 1 };
    let used = measure(|| {
        let mut bytes = 0;
        encode(&header, &payload, 128, |piece| bytes += piece.len());
        assert!(bytes > payload.len());
    });
    assert_eq!(used.count_total, 0);
}

#[test]
fn declared_lengths_allocate_nothing() {
    // thirty messages of 16 MiB are announced, with one byte of each
    let mut bytes = Vec::new();
    for csid in 2..32 {
        bytes.extend_from_slice(&[csid, 0, 0, 0, 255, 255, 255, 9, 1, 0, 0, 0, 0xEE]);
        bytes.extend_from_slice(&[csid; 127]);
    }
    let used = measure(|| {
        let mut reader = ChunkReader::new(Limits::default());
        read(&mut reader, &bytes);
        assert_eq!(reader.partial_bytes(), 30 * 128);
    });
    assert!(used.bytes_max < 16 * 1024, "{} bytes", used.bytes_max);

    let mut file = flv::header(true, true).to_vec();
    file.extend_from_slice(&flv::tag_header(9, 0, 0xFF_FFFF));
    file.push(0xEE);
    let used = measure(|| {
        let mut reader = FlvReader::new(usize::MAX);
        assert_eq!(reader.read(&mut &file[..]), Ok(None));
    });
    assert!(used.bytes_max < 1024, "{} bytes", used.bytes_max);
}

#[test]
fn set_chunk_size_allocates_nothing() {
    let mut bytes = Vec::new();
    set_chunk_size(&mut bytes, 0x7FFF_FFFF);
    let mut reader = ChunkReader::new(Limits::default());
    read(&mut reader, &bytes);
    let used = measure(|| {
        read(&mut reader, &bytes);
    });
    assert_eq!(used.count_total, 0);
}

#[test]
fn a_large_message_leaves_nothing_behind() {
    let header = Header { csid: 4, timestamp: 0, kind: 9, stream_id: 1 };
    let mut bytes = Vec::new();
    write(&mut bytes, &header, &vec![7; 5_000_000], 128);
    let mut reader = ChunkReader::new(Limits::default());
    let used = measure(|| {
        read(&mut reader, &bytes);
    });
    // while it grows for the last time, there are two buffers
    assert!(used.bytes_max < 10_000_000, "{} bytes", used.bytes_max);
    assert!(used.bytes_current < 1000, "{} bytes", used.bytes_current);
}

#[test]
fn amf0_counts_are_no_sizes() {
    let array = [10, 255, 255, 255, 255];
    let ecma = [8, 255, 255, 255, 255];
    for bytes in [array, ecma] {
        let used = measure(|| assert!(rtmp_protocol::amf0::decode_all(&bytes).is_err()));
        assert!(used.bytes_max < 1000, "{} bytes", used.bytes_max);
    }
}

#[test]
fn an_idle_player_holds_little() {
    let mut bytes = Vec::new();
    for (csid, kind) in [(3, 20), (3, 20), (8, 20), (2, 4)] {
        let header = Header { csid, timestamp: 0, kind, stream_id: 1 };
        write(&mut bytes, &header, &[2; 900], 128);
    }
    let mut reader = ChunkReader::new(Limits::default());
    let used = measure(|| {
        assert_eq!(read(&mut reader, &bytes), 4 * 900);
    });
    // three chunk streams, and no buffer of a command
    assert!(used.bytes_current < 256, "{} bytes", used.bytes_current);
}
