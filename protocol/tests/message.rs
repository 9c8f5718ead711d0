//! Control messages and commands as messages, and aggregates.

use proptest::collection::vec;
use proptest::prelude::*;
use rtmp_protocol::amf0::{decode_all, Value};
use rtmp_protocol::chunk::{ChunkReader, Limits, Message};
use rtmp_protocol::flv;
use rtmp_protocol::message::*;

/// Hands the only message in `bytes` to `check`.
fn only<T>(bytes: &[u8], check: impl Fn(Message) -> T) -> T {
    let mut reader = ChunkReader::new(Limits::default());
    let mut input = bytes;
    let checked = check(reader.read(&mut input).unwrap().unwrap());
    assert!(input.is_empty());
    checked
}

fn built(build: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    build(&mut out);
    out
}

#[test]
fn control_messages_byte_by_byte() {
    assert_eq!(
        built(|out| set_chunk_size(out, 4096)),
        [2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 16, 0]
    );
    assert_eq!(built(|out| abort(out, 7))[7..], [2, 0, 0, 0, 0, 0, 0, 0, 7]);
    assert_eq!(built(|out| ack(out, u32::MAX))[7..], [3, 0, 0, 0, 0, 255, 255, 255, 255]);
    assert_eq!(built(|out| window_ack_size(out, 1))[7..], [5, 0, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(
        built(|out| set_peer_bandwidth(out, 5_000_000, LIMIT_DYNAMIC)),
        [2, 0, 0, 0, 0, 0, 5, 6, 0, 0, 0, 0, 0, 0x4C, 0x4B, 0x40, 2]
    );
    assert_eq!(
        built(|out| user_control(out, STREAM_BEGIN, 1, None)),
        [2, 0, 0, 0, 0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    );
    assert_eq!(
        built(|out| user_control(out, SET_BUFFER_LENGTH, 1, Some(3000)))[12..],
        [0, 3, 0, 0, 0, 1, 0, 0, 0x0B, 0xB8]
    );
}

#[test]
fn user_control_is_read_as_written() {
    for b in [None, Some(3000)] {
        let bytes = built(|out| user_control(out, SET_BUFFER_LENGTH, 9, b));
        let expected = UserControl { event: SET_BUFFER_LENGTH, a: 9, b };
        assert_eq!(only(&bytes, |m| UserControl::parse(m.payload)), Some(expected));
    }
    assert_eq!(UserControl::parse(&[0]), None);
    assert_eq!(UserControl::parse(&[0, 6]), Some(UserControl { event: 6, a: 0, b: None }));
    assert_eq!(control_value(&[0, 0, 1, 0, 9]), Some(256));
    assert_eq!(control_value(&[0, 0, 1]), None);
}

#[test]
fn commands_and_data() {
    let values = vec![Value::from("onStatus"), Value::from(0.0), Value::Null];
    let bytes = built(|out| command(out, CSID_STATUS, 1, 128, &values));
    only(&bytes, |m| {
        assert_eq!((m.kind, m.csid, m.stream_id, m.timestamp), (COMMAND, CSID_STATUS, 1, 0));
        assert_eq!(decode_all(m.payload).unwrap(), values);
    });
    let bytes = built(|out| data(out, 77, 1, 128, &values));
    only(&bytes, |m| {
        assert_eq!((m.kind, m.csid, m.stream_id, m.timestamp), (DATA, CSID_STATUS, 1, 77));
        assert_eq!(decode_all(m.payload).unwrap(), values);
    });
}

/// An aggregate of these messages: FLV tags without a file header.
fn aggregate_of(parts: &[(u8, u32, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (kind, timestamp, payload) in parts {
        flv::encode(*kind, *timestamp, payload, |piece| out.extend_from_slice(piece));
    }
    out
}

/// How many messages are whole, and what is wrong behind them.
fn broken(payload: &[u8]) -> (usize, AggregateError) {
    let mut results: Vec<_> = aggregate(0, payload).collect();
    let error = results.pop().unwrap().unwrap_err();
    assert!(results.iter().all(Result::is_ok), "nothing comes behind an error");
    (results.len(), error)
}

#[test]
fn aggregate_counts_from_its_own_time() {
    let payload = aggregate_of(&[(8, 500, vec![1]), (9, 520, vec![]), (18, 0x100_0000, vec![2])]);
    let parts: Vec<_> = aggregate(90_000, &payload).map(Result::unwrap).collect();
    assert_eq!(parts[0], Part { kind: 8, timestamp: 90_000, payload: &[1] });
    assert_eq!(parts[1], Part { kind: 9, timestamp: 90_020, payload: &[] });
    assert_eq!(parts[2].timestamp, 90_000 + 0x100_0000 - 500);
    // around the wrap, and backwards
    let payload = aggregate_of(&[(8, 500, vec![1]), (9, 520, vec![]), (9, 490, vec![])]);
    let times: Vec<u32> =
        aggregate(u32::MAX, &payload).map(|part| part.unwrap().timestamp).collect();
    assert_eq!(times, [u32::MAX, 19, u32::MAX - 10]);
    assert_eq!(aggregate(7, &[]).count(), 0);
}

#[test]
fn aggregates_are_good_as_far_as_they_are_whole() {
    let good = aggregate_of(&[(8, 0, vec![1, 2, 3]), (9, 20, vec![4])]);
    for end in 1..14 {
        assert_eq!(broken(&good[..end]).0, 0);
    }
    assert_eq!(broken(&good[..20]), (1, AggregateError::Header { at: 18 }));
    let mut longer = good.clone();
    longer[18 + 1] = 0xFF;
    let error = AggregateError::Length { at: 18, length: 0xFF_0001, left: 5 };
    assert_eq!(broken(&longer), (1, error));
    let nested = aggregate_of(&[(8, 0, vec![]), (AGGREGATE, 0, good)]);
    assert_eq!(broken(&nested), (1, AggregateError::Nested { at: 15 }));
}

#[test]
fn aggregates_have_so_many_messages() {
    let many = |count| aggregate_of(&vec![(8, 0, vec![]); count]);
    assert_eq!(many(MAX_PARTS).len(), MAX_PARTS * MIN_PART);
    assert_eq!(aggregate(0, &many(MAX_PARTS)).count(), MAX_PARTS);
    assert_eq!(broken(&many(MAX_PARTS + 1)), (MAX_PARTS, AggregateError::TooMany));
}

#[test]
fn back_pointers_are_not_looked_at() {
    let good = aggregate_of(&[(8, 0, vec![1, 2, 3]), (9, 20, vec![4])]);
    let kinds = |payload: &[u8]| -> Vec<u8> {
        aggregate(0, payload).map(|part| part.unwrap().kind).collect()
    };
    for pointer in [0, 15, u32::MAX] {
        let mut payload = good.clone();
        payload[14..18].copy_from_slice(&pointer.to_be_bytes());
        assert_eq!(kinds(&payload), [8, 9]);
    }
    // that of the last message may be missing
    for cut in 1..=4 {
        assert_eq!(kinds(&good[..good.len() - cut]), [8, 9]);
    }
}

proptest! {
    #[test]
    fn aggregate_round_trip(
        parts in vec((prop_oneof![Just(8u8), Just(9), Just(18)], any::<u32>(), vec(any::<u8>(), 0..50)), 0..6),
        timestamp: u32,
    ) {
        let payload = aggregate_of(&parts);
        let read: Vec<_> = aggregate(timestamp, &payload).map(Result::unwrap).collect();
        prop_assert_eq!(read.len(), parts.len());
        for (read, (kind, time, payload)) in read.iter().zip(&parts) {
            prop_assert_eq!((read.kind, read.payload), (*kind, &payload[..]));
            prop_assert_eq!(read.timestamp.wrapping_sub(timestamp), time.wrapping_sub(parts[0].1));
        }
    }

    #[test]
    fn garbage_ends_with_its_first_error(payload in vec(any::<u8>(), 0..100)) {
        let results: Vec<_> = aggregate(0, &payload).collect();
        let whole = results.iter().take_while(|part| part.is_ok()).count();
        prop_assert!(whole + 1 >= results.len());
    }
}
