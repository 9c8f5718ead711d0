//! The handshake before the first chunk, simple and digest, in both roles (RTMP 1.0 section 5.2).
//!
//! The digest form, which Flash Player 9 introduced and librtmp, FFmpeg and others use, hides an
//! HMAC-SHA256 in C1 and S1 at an offset told by four bytes at 772 or 8, and signs the other side's
//! digest at the end of C2 and S2. A peer's C2 or S2 is not verified: it proves nothing about a
//! peer, and old clients send what they like.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use thiserror::Error;

use crate::wire::Fields;

/// Bytes of C1, S1, C2 and S2.
const PACKET: usize = 1536;
/// Bytes of C0 and C1, or S0 and S1, together.
const HELLO: usize = 1 + PACKET;
/// Bytes of an HMAC-SHA256.
const DIGEST: usize = 32;
/// The protocol version in C0 and S0.
const VERSION: u8 = 3;
/// Where the four bytes that tell the digest's offset may stand.
const SCHEMES: [usize; 2] = [772, 8];
/// The digest lies this many positions at most behind the four bytes.
const OFFSETS: u32 = 728;

/// The version in a digest S1, as the older nginx modules send it.
const SERVER_VERSION: [u8; 4] = [0x0D, 0x0E, 0x0A, 0x0D];
/// The version in C1: Flash Player 9.0.124.2, which FFmpeg sends too.
const CLIENT_VERSION: [u8; 4] = [9, 0, 124, 2];

const CLIENT_KEY: [u8; 62] = *b"Genuine Adobe Flash Player 001\
    \xF0\xEE\xC2\x4A\x80\x68\xBE\xE8\x2E\x00\xD0\xD1\x02\x9E\x7E\x57\
    \x6E\xEC\x5D\x2D\x29\x80\x6F\xAB\x93\xB8\xE6\x36\xCF\xEB\x31\xAE";
/// How much of `CLIENT_KEY` signs C1.
const CLIENT_KEY_TEXT: usize = 30;
const SERVER_KEY: [u8; 68] = *b"Genuine Adobe Flash Media Server 001\
    \xF0\xEE\xC2\x4A\x80\x68\xBE\xE8\x2E\x00\xD0\xD1\x02\x9E\x7E\x57\
    \x6E\xEC\x5D\x2D\x29\x80\x6F\xAB\x93\xB8\xE6\x36\xCF\xEB\x31\xAE";
/// How much of `SERVER_KEY` signs S1.
const SERVER_KEY_TEXT: usize = 36;

/// Why a handshake failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HandshakeError {
    /// The peer's first byte is not 3, so it does not speak plain RTMP.
    #[error("handshake version {0} instead of 3")]
    Version(u8),
}

/// What became of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the input that belong to the handshake; the rest is chunk stream.
    pub consumed: usize,
    /// Whether the handshake is over. Further inputs are not consumed.
    pub done: bool,
}

/// The side that accepted the connection.
#[derive(Debug)]
pub struct ServerHandshake(Option<Box<Server>>);

#[derive(Debug)]
struct Server {
    random: Random,
    hello: Vec<u8>,
    answer: Gather,
}

impl ServerHandshake {
    /// `random` is the seed of the bytes in S1 and S2.
    pub fn new(random: [u8; 32]) -> Self {
        Self(Some(Box::new(Server {
            random: Random::new(random),
            hello: Vec::new(),
            answer: Gather::new(PACKET),
        })))
    }

    /// Takes what arrived, in pieces of any size. S0, S1 and S2 are appended to `out` as soon as C1
    /// is whole; the handshake is done when C2 has been consumed.
    pub fn input(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<Progress, HandshakeError> {
        let Some(server) = &mut self.0 else {
            return Ok(Progress { consumed: 0, done: true });
        };
        let mut rest = input;
        if server.hello.len() < HELLO && gather_hello(&mut server.hello, &mut rest)? {
            answer_c1(server.hello.get(1..).unwrap_or_default(), &mut server.random, out);
        }
        let done = server.hello.len() == HELLO && server.answer.skip(&mut rest);
        if done {
            self.0 = None;
        }
        Ok(Progress { consumed: input.len().saturating_sub(rest.len()), done })
    }
}

/// The side that opened the connection.
#[derive(Debug)]
pub struct ClientHandshake(Option<Box<Client>>);

#[derive(Debug)]
struct Client {
    random: Random,
    hello: Vec<u8>,
    answer: Gather,
}

impl ClientHandshake {
    /// `random` is the seed of the bytes in C1 and C2.
    pub fn new(random: [u8; 32]) -> Self {
        Self(Some(Box::new(Client {
            random: Random::new(random),
            hello: Vec::new(),
            answer: Gather::new(PACKET),
        })))
    }

    /// Appends C0 and C1, in digest form, to `out`.
    pub fn start(&mut self, out: &mut Vec<u8>) {
        let Some(client) = &mut self.0 else { return };
        out.push(VERSION);
        put_signed(out, CLIENT_VERSION, 8, client_text_key(), &mut client.random);
    }

    /// Takes what arrived, in pieces of any size. C2 is appended to `out` as soon as S1 is whole;
    /// the handshake is done when S2 has been consumed.
    pub fn input(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<Progress, HandshakeError> {
        let Some(client) = &mut self.0 else {
            return Ok(Progress { consumed: 0, done: true });
        };
        let mut rest = input;
        if client.hello.len() < HELLO && gather_hello(&mut client.hello, &mut rest)? {
            answer_s1(client.hello.get(1..).unwrap_or_default(), &mut client.random, out);
        }
        let done = client.hello.len() == HELLO && client.answer.skip(&mut rest);
        if done {
            self.0 = None;
        }
        Ok(Progress { consumed: input.len().saturating_sub(rest.len()), done })
    }
}

/// Moves bytes of C0C1 or S0S1 into `hello`; true when it is whole.
fn gather_hello(hello: &mut Vec<u8>, rest: &mut &[u8]) -> Result<bool, HandshakeError> {
    let mut fields = Fields(rest);
    let part = fields.take(rest.len().min(HELLO.saturating_sub(hello.len()))).unwrap_or_default();
    *rest = fields.0;
    if hello.is_empty() {
        match part.first() {
            Some(&version) if version != VERSION => return Err(HandshakeError::Version(version)),
            _ => {}
        }
    }
    hello.extend_from_slice(part);
    Ok(hello.len() == HELLO)
}

/// Counts down bytes that only have to arrive.
#[derive(Debug)]
struct Gather(usize);

impl Gather {
    fn new(n: usize) -> Self {
        Self(n)
    }

    fn skip(&mut self, rest: &mut &[u8]) -> bool {
        let n = rest.len().min(self.0);
        self.0 = self.0.saturating_sub(n);
        *rest = rest.get(n..).unwrap_or_default();
        self.0 == 0
    }
}

fn answer_c1(c1: &[u8], random: &mut Random, out: &mut Vec<u8>) {
    out.push(VERSION);
    match find_digest(c1, client_text_key()) {
        Some((scheme, digest)) => {
            put_signed(out, SERVER_VERSION, scheme, server_text_key(), random);
            put_answer(out, &digest, &SERVER_KEY, random);
        }
        None => {
            put_plain(out, random);
            out.extend_from_slice(c1);
        }
    }
}

fn answer_s1(s1: &[u8], random: &mut Random, out: &mut Vec<u8>) {
    match find_digest(s1, server_text_key()) {
        Some((_, digest)) => put_answer(out, &digest, &CLIENT_KEY, random),
        None => out.extend_from_slice(s1),
    }
}

fn client_text_key() -> &'static [u8] {
    CLIENT_KEY.get(..CLIENT_KEY_TEXT).unwrap_or_default()
}

fn server_text_key() -> &'static [u8] {
    SERVER_KEY.get(..SERVER_KEY_TEXT).unwrap_or_default()
}

/// The scheme and the digest that a C1 or S1 carries, if it carries one.
fn find_digest(packet: &[u8], key: &[u8]) -> Option<(usize, [u8; DIGEST])> {
    // the version is zero in a simple handshake, where the next 1528 bytes mean nothing
    if packet.get(4..8)? == [0; 4] {
        return None;
    }
    SCHEMES.into_iter().find_map(|scheme| {
        let at = digest_at(packet, scheme)?;
        let (before, rest) = packet.split_at_checked(at)?;
        let (digest, after) = rest.split_first_chunk::<DIGEST>()?;
        (hmac(key, &[before, after]) == *digest).then_some((scheme, *digest))
    })
}

/// Where the digest of `scheme` lies in `packet`.
fn digest_at(packet: &[u8], scheme: usize) -> Option<usize> {
    let told = packet.get(scheme..)?.first_chunk::<4>()?;
    let sum: u32 = told.iter().map(|&byte| u32::from(byte)).sum();
    scheme.checked_add(4)?.checked_add((sum % OFFSETS) as usize)
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; DIGEST] {
    // HMAC takes keys of every length, so the error does not happen
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; DIGEST] };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// Appends a C1 or S1 without a digest.
fn put_plain(out: &mut Vec<u8>, random: &mut Random) {
    out.extend_from_slice(&[0; 8]);
    random.put(out, PACKET - 8);
}

/// Appends a C1 or S1 with its digest.
fn put_signed(out: &mut Vec<u8>, version: [u8; 4], scheme: usize, key: &[u8], random: &mut Random) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&version);
    random.put(out, PACKET - 8);
    let Some(packet) = out.get_mut(start..) else { return };
    let Some(at) = digest_at(packet, scheme) else { return };
    let Some((before, rest)) = packet.split_at_mut_checked(at) else { return };
    let Some((digest, after)) = rest.split_first_chunk_mut::<DIGEST>() else { return };
    *digest = hmac(key, &[before, after]);
}

/// Appends a C2 or S2 that signs the peer's digest.
fn put_answer(out: &mut Vec<u8>, digest: &[u8; DIGEST], key: &[u8], random: &mut Random) {
    let start = out.len();
    random.put(out, PACKET - DIGEST);
    let signature = hmac(&hmac(key, &[digest]), &[out.get(start..).unwrap_or_default()]);
    out.extend_from_slice(&signature);
}

/// SplitMix64. These bytes only have to differ, nobody relies on their secrecy.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn new(seed: [u8; 32]) -> Self {
        let words = seed
            .chunks(8)
            .map(|word| word.iter().fold(0u64, |sum, &byte| sum.wrapping_shl(8) | u64::from(byte)));
        Self(words.fold(0, |state, word| mix(state ^ word)))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    fn put(&mut self, out: &mut Vec<u8>, n: usize) {
        let end = out.len().saturating_add(n);
        while out.len() < end {
            let bytes = self.next().to_le_bytes();
            let left = end.saturating_sub(out.len()).min(bytes.len());
            out.extend_from_slice(bytes.get(..left).unwrap_or_default());
        }
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
