//! One attack: what is sent where, in which pieces, and how it ends. A seed and a number make the same one again.

use std::fmt;

use fastrand::Rng;

use crate::inner::{Proof, Talk};
use crate::{http, mutate, rtmp};

/// Where an attack goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    Rtmp,
    Proxied,
    Http,
    Http2,
    /// By TLS, HTTP/1 and 2.
    Https,
    /// The port of TLS, without TLS.
    Raw,
    /// A socket between workers: a stream's, or one of datagrams.
    Inner,
}

/// How an attack ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Close,
    Reset,
    /// Our side first, then what comes is read.
    HalfClose,
    /// Nothing more is sent or read for a while.
    Hang,
}

/// See the module.
pub struct Plan {
    number: u64,
    pub to: To,
    pub pieces: Vec<Vec<u8>>,
    /// What is offered by TLS.
    pub http2: bool,
    /// How it goes on with a worker's socket.
    pub talk: Talk,
    /// Which of the two nodes.
    pub far: bool,
    /// Pauses between pieces, in milliseconds.
    pub pause: u64,
    /// Whether what comes is read meanwhile.
    pub reads: bool,
    pub end: End,
    /// How long the end takes, in milliseconds.
    pub linger: u64,
}

const APPS: [&str; 11] = [
    "live",
    "asked",
    "meta",
    "edge",
    "edgeh",
    "out",
    "any/thing",
    "watched",
    "ring",
    "ringh",
    "mutual",
];
/// The watched stream is `s` of `watched`: it may be played, and nobody may take it.
const NAMES: [&str; 8] = ["a", "b", "s", "c?x=1&pubpri=3", "d e", "%41", "", "x/y.flv"];
const PATHS: [&str; 12] = [
    "/watched/s.flv",
    "/live/a.flv",
    "/asked/a",
    "/edge/a.flv",
    "/edgeh/b",
    "/ring/a",
    "/ringh/a",
    "/mutual/a",
    "/slow/watched/s",
    "/gz/watched/s.flv",
    "/any/thing/%41?a=b",
    "/",
];

impl Plan {
    pub fn new(seed: u64, number: u64) -> Self {
        let random = &mut Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number);
        let app = random.choice(APPS).unwrap_or("live");
        let name = random.choice(NAMES).unwrap_or("a");
        let path = random.choice(PATHS).unwrap_or("/");
        let mut http2 = false;
        let (to, mut steps) = match random.u8(..21) {
            0..5 => (To::Rtmp, publishers(random, app, name)),
            5..9 => (To::Rtmp, rtmp::player(random, app.as_bytes(), name.as_bytes())),
            9 => (To::Proxied, proxied(random)),
            10 | 11 => (To::Http, http::requests(random, path)),
            12 => (To::Http, http::websocket(random, path)),
            13 | 14 => (To::Http2, http::http2(random, path)),
            15 => (To::Https, http::requests(random, path)),
            16 => (To::Https, http::websocket(random, path)),
            17 => {
                http2 = true;
                (To::Https, http::http2(random, path))
            }
            18 => (To::Raw, raw(random)),
            _ => (To::Inner, inner(random)),
        };
        if random.u8(..4) != 0 {
            mutate::steps(random, &mut steps);
        }
        let mut pieces = Vec::new();
        for step in steps {
            split(random, step, &mut pieces);
        }
        let end = random.choice([End::Close, End::Reset, End::HalfClose, End::Hang]);
        Self {
            number,
            to,
            pieces,
            http2,
            talk: Talk::new(random),
            far: random.u8(..4) == 0,
            pause: if random.u8(..4) == 0 { random.u64(1..8) } else { 0 },
            reads: random.u8(..4) != 0,
            end: end.unwrap_or(End::Close),
            linger: random.u64(..400),
        }
    }
}

/// The watched stream's name is never published: that would be allowed, and end it.
fn publishers(random: &mut Rng, app: &str, name: &str) -> Vec<Vec<u8>> {
    let app = if app == "watched" { "live" } else { app };
    rtmp::publisher(random, app.as_bytes(), name.as_bytes())
}

fn proxied(random: &mut Rng) -> Vec<Vec<u8>> {
    let header = match random.u8(..4) {
        0 => b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 1935\r\n".to_vec(),
        1 => b"PROXY UNKNOWN\r\n".to_vec(),
        2 => [
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".as_slice(),
            &[192, 0, 2, 1, 192, 0, 2, 2, 4, 0, 7, 143],
        ]
        .concat(),
        _ => b"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n".to_vec(),
    };
    let mut steps = vec![header];
    steps.extend(rtmp::player(random, b"live", b"a"));
    steps
}

/// A handshake of TLS that breaks off or goes wrong: a record, and what a ClientHello begins with.
fn raw(random: &mut Rng) -> Vec<Vec<u8>> {
    let mut hello = b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03".to_vec();
    hello.extend((0..random.usize(..300)).map(|_| random.u8(..)));
    vec![hello, b"\x15\x03\x03\x00\x02\x02\x28".to_vec()]
}

/// What a worker of an older version might ask another one for, and noise.
fn inner(random: &mut Rng) -> Vec<Vec<u8>> {
    let mut key = Vec::new();
    for part in ["0", "watched", "s"] {
        key.extend((part.len() as u32).to_be_bytes());
        key.extend_from_slice(part.as_bytes());
    }
    let mut request = (key.len() as u32).to_be_bytes().to_vec();
    request.extend(&key);
    if random.bool() {
        return vec![request];
    }
    vec![(0..random.usize(..4000)).map(|_| random.u8(..)).collect()]
}

/// Cuts a step where a network might, most often not at all.
fn split(random: &mut Rng, mut step: Vec<u8>, pieces: &mut Vec<Vec<u8>>) {
    for _ in 0..random.usize(..8).saturating_sub(5) {
        if step.len() > 1 {
            let rest = step.split_off(random.usize(1..step.len()));
            pieces.push(std::mem::replace(&mut step, rest));
        }
    }
    pieces.push(step);
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "attack {} on {:?} of the {} node, {} ms between pieces, then {:?}",
            self.number,
            self.to,
            if self.far { "far" } else { "near" },
            self.pause,
            self.end
        )?;
        if self.to == To::Inner && self.talk.proof != Proof::None {
            return writeln!(f, "  {:?}", self.talk);
        }
        for piece in &self.pieces {
            writeln!(
                f,
                "  {:5} bytes: {}",
                piece.len(),
                piece[..piece.len().min(120)].escape_ascii()
            )?;
        }
        Ok(())
    }
}
