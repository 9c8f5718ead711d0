//! Handshakes: our two roles against each other, recorded peers, and broken ones.
//!
//! `data/` holds what real peers sent: C0 and C1 of FFmpeg 5.1 (digest at 8) and of rtmpdump 2.4
//! with SWF verification (digest), and what nginx-rtmp 1.2.2 answered to C1 of `CLIENT_SEED`.

use hmac::{Hmac, KeyInit, Mac};
use proptest::collection::vec;
use proptest::prelude::*;
use rtmp_protocol::handshake::{ClientHandshake, HandshakeError, Progress, ServerHandshake};
use sha2::Sha256;

const CLIENT_SEED: [u8; 32] = [7; 32];
const FFMPEG: &[u8] = include_bytes!("data/ffmpeg.c0c1");
const RTMPDUMP: &[u8] = include_bytes!("data/rtmpdump.c0c1");
const NGINX_RTMP: &[u8] = include_bytes!("data/nginx-rtmp.s0s1s2");

const TAIL: &[u8] = b"\
    \xF0\xEE\xC2\x4A\x80\x68\xBE\xE8\x2E\x00\xD0\xD1\x02\x9E\x7E\x57\
    \x6E\xEC\x5D\x2D\x29\x80\x6F\xAB\x93\xB8\xE6\x36\xCF\xEB\x31\xAE";
const PLAYER: &[u8] = b"Genuine Adobe Flash Player 001";
const SERVER: &[u8] = b"Genuine Adobe Flash Media Server 001";

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// The digest in a C1 or S1 whose four bytes stand at `base`.
fn digest(packet: &[u8], base: usize, key: &[u8]) -> Option<[u8; 32]> {
    let sum: usize = packet[base..base + 4].iter().map(|&byte| usize::from(byte)).sum();
    let at = base + 4 + sum % 728;
    let found: [u8; 32] = packet[at..at + 32].try_into().unwrap();
    (hmac(key, &[&packet[..at], &packet[at + 32..]]) == found).then_some(found)
}

/// Whether a C2 or S2 signs `digest` with `key`.
fn signs(packet: &[u8], digest: &[u8; 32], key: &[u8]) -> bool {
    hmac(&hmac(&[key, TAIL].concat(), &[digest]), &[&packet[..1504]]) == packet[1504..]
}

/// What our server answers to a C0 and C1.
fn answer(c0c1: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut server = ServerHandshake::new([2; 32]);
    let progress = server.input(c0c1, &mut out).unwrap();
    assert_eq!(progress, Progress { consumed: 1537, done: false });
    assert_eq!((out.len(), out[0]), (3073, 3));
    out
}

/// Runs a whole handshake, moving `step` bytes at a time, and returns both outputs.
fn shake(step: usize) -> (Vec<u8>, Vec<u8>) {
    let mut client = ClientHandshake::new(CLIENT_SEED);
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
fn our_roles_in_pieces_of_any_size() {
    for step in [1, 7, 1536, 1537, 3073, 10_000] {
        let (c, s) = shake(step);
        assert_eq!((c.len(), s.len()), (3073, 3073));
        let from_client = digest(&c[1..1537], 8, PLAYER).unwrap();
        let from_server = digest(&s[1..1537], 8, SERVER).unwrap();
        assert!(signs(&s[1537..], &from_client, SERVER));
        assert!(signs(&c[1537..], &from_server, PLAYER));
    }
}

#[test]
fn server_answers_recorded_digest_clients() {
    for c0c1 in [FFMPEG, RTMPDUMP] {
        let (scheme, theirs) = [772, 8]
            .into_iter()
            .find_map(|base| Some((base, digest(&c0c1[1..], base, PLAYER)?)))
            .unwrap();
        let out = answer(c0c1);
        assert_eq!(out[5..9], [0x0D, 0x0E, 0x0A, 0x0D]);
        assert!(digest(&out[1..1537], scheme, SERVER).is_some());
        assert!(signs(&out[1537..], &theirs, SERVER));
    }
}

/// Both places of the four bytes, and every offset from 0 to the largest sum.
#[test]
fn server_finds_every_digest() {
    for base in [772, 8] {
        for sum in [0, 1, 727, 728, 1019, 1020] {
            let mut c0c1 = vec![3];
            c0c1.extend((0..1536).map(|i| (i * 7) as u8));
            let mut left = sum;
            for byte in &mut c0c1[base + 1..base + 5] {
                *byte = left.min(255) as u8;
                left -= left.min(255);
            }
            let at = 1 + base + 4 + sum % 728;
            let mac = hmac(PLAYER, &[&c0c1[1..at], &c0c1[at + 32..]]);
            c0c1[at..at + 32].copy_from_slice(&mac);
            assert!(signs(&answer(&c0c1)[1537..], &mac, SERVER), "base {base}, sum {sum}");
        }
    }
}

#[test]
fn client_answers_a_recorded_server() {
    let mut client = ClientHandshake::new(CLIENT_SEED);
    let mut c = Vec::new();
    client.start(&mut c);
    // the recorded server found our digest
    let ours = digest(&c[1..], 8, PLAYER).unwrap();
    assert!(signs(&NGINX_RTMP[1537..], &ours, SERVER));
    let progress = client.input(NGINX_RTMP, &mut c).unwrap();
    assert_eq!(progress, Progress { consumed: 3073, done: true });
    let theirs = digest(&NGINX_RTMP[1..1537], 8, SERVER)
        .or_else(|| digest(&NGINX_RTMP[1..1537], 772, SERVER))
        .unwrap();
    assert!(signs(&c[1537..], &theirs, PLAYER));
}

fn simple_c0c1() -> Vec<u8> {
    let mut c0c1 = vec![3];
    c0c1.extend_from_slice(&[0; 8]);
    c0c1.extend((0..1528).map(|i| i as u8));
    c0c1
}

#[test]
fn simple_c1_is_echoed_and_chunks_are_left_alone() {
    let c0c1 = simple_c0c1();
    let mut server = ServerHandshake::new([9; 32]);
    let mut out = Vec::new();
    assert_eq!(server.input(&c0c1, &mut out), Ok(Progress { consumed: 1537, done: false }));
    assert_eq!(out.len(), 3073);
    assert_eq!(out[5..9], [0; 4]);
    assert_eq!(out[1537..], c0c1[1..]);
    // C2 is not looked at, and nothing behind it is taken
    let mut c2_and_more = vec![0xEE; 1536];
    c2_and_more.extend_from_slice(b"chunk");
    let done = Progress { consumed: 1536, done: true };
    assert_eq!(server.input(&c2_and_more, &mut out), Ok(done));
    assert_eq!(server.input(b"chunk", &mut out), Ok(Progress { consumed: 0, done: true }));
    assert_eq!(out.len(), 3073);
}

/// A version without a digest, as Wirecast and others send it.
#[test]
fn version_without_a_digest_is_simple() {
    let mut c0c1 = simple_c0c1();
    c0c1[5..9].copy_from_slice(&[128, 0, 7, 2]);
    assert_eq!(answer(&c0c1)[1537..], c0c1[1..]);
}

#[test]
fn client_echoes_a_simple_server() {
    let mut client = ClientHandshake::new(CLIENT_SEED);
    let mut out = Vec::new();
    client.start(&mut out);
    let mut server = simple_c0c1();
    server.extend_from_slice(&[0; 1536]);
    server.extend_from_slice(b"chunk");
    let progress = client.input(&server, &mut out).unwrap();
    assert_eq!(progress, Progress { consumed: 3073, done: true });
    assert_eq!(out[1537..], server[1..1537]);
    // a finished handshake has nothing more to say
    client.start(&mut out);
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
    assert_eq!(HandshakeError::Version(6).to_string(), "handshake version 6 instead of 3");
}

#[test]
fn another_seed_gives_other_bytes() {
    let start = |seed| {
        let mut out = Vec::new();
        ClientHandshake::new(seed).start(&mut out);
        out
    };
    let mut seed = CLIENT_SEED;
    seed[31] ^= 1;
    assert_ne!(start(CLIENT_SEED), start(seed));
    assert_eq!(start(CLIENT_SEED), start(CLIENT_SEED));
}

/// Both are kept for as long as a session lives.
#[test]
fn finished_handshakes_are_small() {
    assert!(std::mem::size_of::<ServerHandshake>() <= 8);
    assert!(std::mem::size_of::<ClientHandshake>() <= 8);
}

proptest! {
    #[test]
    fn any_peer_in_any_pieces(mut bytes in vec(any::<u8>(), 3073..3100), at in 0usize..3073) {
        bytes[0] = 3;
        let (head, tail) = bytes.split_at(at);
        let (mut whole, mut cut) = (Vec::new(), Vec::new());
        let done = ServerHandshake::new([1; 32]).input(&bytes, &mut whole).unwrap();
        prop_assert_eq!(done, Progress { consumed: 3073, done: true });
        let mut server = ServerHandshake::new([1; 32]);
        prop_assert!(!server.input(head, &mut cut).unwrap().done);
        prop_assert!(server.input(tail, &mut cut).unwrap().done);
        prop_assert_eq!(whole, cut);
    }
}
