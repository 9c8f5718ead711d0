//! Media on another message stream are the bytes that would have been written for it.

use proptest::collection::vec;
use proptest::prelude::*;
use rtmp_protocol::chunk::{write, Header};
use rtmp_protocol::renumber::Renumber;

fn message() -> impl Strategy<Value = (Header, usize)> {
    let csid = prop_oneof![Just(2u32), Just(5), Just(63), Just(64), Just(319), Just(320)];
    let timestamp = prop_oneof![0u32..100, Just(0xFF_FFFE), Just(0xFF_FFFF), any::<u32>()];
    let kind = prop_oneof![Just(4u8), Just(8), Just(9), Just(18), Just(20)];
    let len = prop_oneof![0usize..4, 126usize..131, 250usize..400];
    (csid, timestamp, kind, len).prop_map(|(csid, timestamp, kind, len)| {
        (Header { csid, timestamp, kind, stream_id: 1 }, len)
    })
}

proptest! {
    #[test]
    fn the_same_as_written_for_it(
        messages in vec(message(), 0..8),
        stream_id: u32,
        chunk_size in 128usize..140,
        cuts in vec(1usize..50, 1..20),
    ) {
        let (mut one, mut other) = (Vec::new(), Vec::new());
        for (header, len) in messages {
            let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
            write(&mut one, &header, &payload, chunk_size);
            let media = [8, 9, 18].contains(&header.kind);
            let header = Header { stream_id: if media { stream_id } else { 1 }, ..header };
            write(&mut other, &header, &payload, chunk_size);
        }
        let mut renumber = Renumber::new(stream_id, chunk_size);
        let mut rest = &mut one[..];
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, behind) = rest.split_at_mut((*cut).min(rest.len()));
            renumber.pass(piece);
            rest = behind;
        }
        prop_assert_eq!(one, other);
    }

    #[test]
    fn garbage_never_panics(mut bytes in vec(any::<u8>(), 0..300)) {
        Renumber::new(7, 128).pass(&mut bytes);
    }
}
