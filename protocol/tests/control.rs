//! Acknowledgements and pongs, as a peer reads them.

use proptest::prelude::*;
use rtmp_protocol::chunk::{ChunkReader, Limits};
use rtmp_protocol::control::Control;
use rtmp_protocol::message::{
    self, control_value, UserControl, ACK, AUDIO, PING_REQUEST, PING_RESPONSE, USER_CONTROL,
    WINDOW_ACK_SIZE,
};

/// The messages in what was to be sent.
fn messages(out: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let (mut reader, mut input, mut all) = (ChunkReader::new(Limits::default()), out, Vec::new());
    while let Some(message) = reader.read(&mut input).unwrap() {
        assert_eq!((message.csid, message.stream_id), (message::CSID_CONTROL, 0));
        all.push((message.kind, message.payload.to_vec()));
    }
    assert!(input.is_empty());
    all
}

fn with_window(window: u32) -> Control {
    let mut control = Control::default();
    let mut out = Vec::new();
    control.message(WINDOW_ACK_SIZE, &window.to_be_bytes(), &mut out);
    assert!(out.is_empty());
    control
}

#[test]
fn nothing_is_acknowledged_to_who_wants_nothing() {
    for mut control in [Control::default(), with_window(0)] {
        let mut out = Vec::new();
        control.received(u64::from(u32::MAX));
        control.acknowledge(&mut out);
        assert!(out.is_empty());
        assert_eq!(control.bytes(), u64::from(u32::MAX));
    }
}

#[test]
fn sequence_numbers_wrap() {
    let mut control = with_window(1);
    let mut out = Vec::new();
    control.received((1 << 32) + 5);
    control.acknowledge(&mut out);
    assert_eq!(messages(&out), [(ACK, vec![0, 0, 0, 5])]);
}

#[test]
fn a_window_that_is_cut_short_changes_nothing() {
    let mut control = with_window(10);
    let mut out = Vec::new();
    control.message(WINDOW_ACK_SIZE, &[0, 0, 1], &mut out);
    control.received(10);
    control.acknowledge(&mut out);
    assert_eq!(messages(&out).len(), 1);
}

#[test]
fn pings_are_answered_with_their_time() {
    let mut control = Control::default();
    let mut out = Vec::new();
    control.message(USER_CONTROL, &[0, 6, 1, 2, 3, 4], &mut out);
    let answer = messages(&out);
    let pong = UserControl::parse(&answer[0].1).unwrap();
    assert_eq!((pong.event, pong.a), (PING_RESPONSE, 0x0102_0304));
    out.clear();
    for payload in [&[0, 7, 1, 2, 3, 4][..], &[0, 0, 0, 0, 0, 1], &[0], &[]] {
        control.message(USER_CONTROL, payload, &mut out);
    }
    control.message(AUDIO, &[0, 6, 1, 2, 3, 4], &mut out);
    assert!(out.is_empty());
}

proptest! {
    /// Of any reads, each acknowledgement is of all that came, at least a window behind the one
    /// before, and what is not acknowledged in the end is less than a window.
    #[test]
    fn acknowledgements_keep_to_the_window(
        window in 1u32..100_000,
        reads in prop::collection::vec(1u64..200_000, 0..60),
    ) {
        let mut control = with_window(window);
        let (mut received, mut said) = (0, 0);
        for bytes in reads {
            control.received(bytes);
            received += bytes;
            let mut out = Vec::new();
            control.acknowledge(&mut out);
            let told = messages(&out);
            prop_assert!(told.len() < 2);
            for (kind, payload) in told {
                let ack = u64::from(control_value(&payload).unwrap());
                prop_assert_eq!((kind, ack), (ACK, received));
                prop_assert!(ack - said >= u64::from(window));
                said = ack;
            }
            prop_assert!(received - said < u64::from(window));
        }
        prop_assert_eq!(control.bytes(), received);
    }

    /// Whatever is said answers nothing but a ping, with one message.
    #[test]
    fn any_message_is_answered_once_at_most(
        kind in any::<u8>(),
        payload in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut control = Control::default();
        let mut out = Vec::new();
        control.message(kind, &payload, &mut out);
        let ping = kind == USER_CONTROL && payload.starts_with(&PING_REQUEST.to_be_bytes());
        prop_assert_eq!(messages(&out).len(), usize::from(ping));
    }
}
