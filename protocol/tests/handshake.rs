//! Handshakes between our two roles, and against a simple peer.

use rtmp_protocol::handshake::{ClientHandshake, HandshakeError, Progress, ServerHandshake};

/// Runs a whole handshake, moving `step` bytes at a time, and returns both outputs.
fn shake(step: usize) -> (Vec<u8>, Vec<u8>) {
    let mut client = ClientHandshake::new([1; 32]);
    let mut server = ServerHandshake::new([2; 32]);
    let (mut from_client, mut from_server) = (Vec::new(), Vec::new());
    let (mut to_server, mut to_client) = (0, 0);
    client.start(&mut from_client);
    let (mut client_done, mut server_done) = (false, false);
    while !(client_done && server_done) {
        let end = from_client.len().min(to_server + step);
        let progress = server.input(&from_client[to_server..end], &mut from_server).unwrap();
        to_server += progress.consumed;
        server_done = progress.done;
        let end = from_server.len().min(to_client + step);
        let progress = client.input(&from_server[to_client..end], &mut from_client).unwrap();
        to_client += progress.consumed;
        client_done = progress.done;
    }
    (from_client, from_server)
}

#[test]
fn digest_in_pieces_of_any_size() {
    for step in [1, 7, 1536, 1537, 3073, 10_000] {
        let (from_client, from_server) = shake(step);
        assert_eq!((from_client.len(), from_server.len()), (3073, 3073));
        // neither side fell back to an echo
        assert_ne!(from_server[1537..], from_client[1..1537]);
        assert_ne!(from_client[1537..], from_server[1..1537]);
        assert_eq!(from_server[5..9], [0x0D, 0x0E, 0x0A, 0x0D]);
    }
}

#[test]
fn simple_c1_is_echoed_and_chunks_are_left_alone() {
    let mut c1 = vec![3];
    c1.extend_from_slice(&[0; 8]);
    c1.extend((0..1528).map(|i| i as u8));
    let mut server = ServerHandshake::new([9; 32]);
    let mut out = Vec::new();
    assert_eq!(server.input(&c1, &mut out), Ok(Progress { consumed: 1537, done: false }));
    assert_eq!(out.len(), 3073);
    assert_eq!(out[0], 3);
    assert_eq!(out[5..9], [0; 4]);
    assert_eq!(out[1537..], c1[1..]);
    let mut c2_and_more = vec![0xEE; 1536];
    c2_and_more.extend_from_slice(b"chunk");
    let done = Progress { consumed: 1536, done: true };
    assert_eq!(server.input(&c2_and_more, &mut out), Ok(done));
    assert_eq!(server.input(b"chunk", &mut out), Ok(Progress { consumed: 0, done: true }));
    assert_eq!(out.len(), 3073);
}

#[test]
fn version_other_than_3_is_refused_at_once() {
    let mut out = Vec::new();
    for version in [0, 2, 6, b'G', 255] {
        let mut server = ServerHandshake::new([0; 32]);
        assert_eq!(server.input(&[version], &mut out), Err(HandshakeError::Version(version)));
        let mut client = ClientHandshake::new([0; 32]);
        assert_eq!(client.input(&[version], &mut out), Err(HandshakeError::Version(version)));
    }
    assert!(out.is_empty());
}
