//! Both roles against a peer that is right but for some bytes, in pieces of any size.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use rtmp_protocol::handshake::{ClientHandshake, HandshakeError, Progress, ServerHandshake};
use rtmp_protocol_fuzz::Cuts;

#[derive(Arbitrary, Debug)]
struct Input {
    client: bool,
    simple: bool,
    cuts: Cuts,
    /// Bytes that are different: position and value.
    patches: Vec<(u16, u8)>,
}

/// What a right client and a right server send, with digests.
fn right() -> &'static (Vec<u8>, Vec<u8>) {
    static RIGHT: OnceLock<(Vec<u8>, Vec<u8>)> = OnceLock::new();
    RIGHT.get_or_init(|| {
        let (mut from_client, mut from_server) = (Vec::new(), Vec::new());
        let mut client = ClientHandshake::new([1; 32]);
        client.start(&mut from_client);
        ServerHandshake::new([2; 32]).input(&from_client, &mut from_server).unwrap();
        client.input(&from_server, &mut from_client).unwrap();
        (from_client, from_server)
    })
}

fn run(
    pieces: &[&[u8]],
    mut input: impl FnMut(&[u8], &mut Vec<u8>) -> Result<Progress, HandshakeError>,
) -> (Vec<u8>, Result<(usize, bool), HandshakeError>) {
    let (mut out, mut consumed, mut done) = (Vec::new(), 0, false);
    for piece in pieces {
        match input(piece, &mut out) {
            Ok(progress) => {
                assert!(progress.done || progress.consumed == piece.len());
                assert!(!done || progress.consumed == 0);
                consumed += progress.consumed;
                done = progress.done;
            }
            Err(error) => return (out, Err(error)),
        }
    }
    (out, Ok((consumed, done)))
}

fuzz_target!(|input: Input| {
    let (from_client, from_server) = right();
    let mut bytes = if input.client { from_server.clone() } else { from_client.clone() };
    bytes.extend_from_slice(b"chunks");
    if input.simple {
        bytes[5..9].fill(0);
    }
    for (at, value) in &input.patches {
        let at = usize::from(*at) % bytes.len();
        bytes[at] = *value;
    }
    let pieces = input.cuts.pieces(&bytes);
    let (whole, cut) = if input.client {
        let mut a = ClientHandshake::new([1; 32]);
        let mut b = ClientHandshake::new([1; 32]);
        (run(&[&bytes], |i, o| a.input(i, o)), run(&pieces, |i, o| b.input(i, o)))
    } else {
        let mut a = ServerHandshake::new([2; 32]);
        let mut b = ServerHandshake::new([2; 32]);
        (run(&[&bytes], |i, o| a.input(i, o)), run(&pieces, |i, o| b.input(i, o)))
    };
    assert_eq!(whole, cut);
    if bytes[0] == 3 {
        assert_eq!(whole.1, Ok((3073, true)));
        assert_eq!(whole.0.len(), if input.client { 1536 } else { 3073 });
    } else {
        assert!(whole.0.is_empty() && whole.1.is_err());
    }
});
