//! What workers say to each other on their own sockets: by one who knows the secret of their zone, by
//! one who does not, and by one who repeats what was said before.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use fastrand::Rng;
use hmac::{Hmac, KeyInit, Mac};
use rtmp_protocol::{flv, message};
use sha2::Sha256;

use crate::node::Target;
use crate::{mutate, rtmp};

/// Bytes of a number, and of a proof over it.
const SIZE: usize = 16;
/// Where the secret lies in the zone, and how long it is.
const SECRET: (usize, usize) = (24, 32);
/// What a proof is for, as the module numbers it.
const SOURCE: u8 = 1;
const PULL: u8 = 2;
const WORD: u8 = 3;
/// A write or a read takes no longer.
const PATIENCE: Duration = Duration::from_millis(500);

/// What was said to a worker before, to be said again.
static SAID: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Pulls that a worker took for those of another one.
static FED: AtomicU64 = AtomicU64::new(0);
/// Those of an attacker who had no right proof.
static FOOLED: AtomicU64 = AtomicU64::new(0);

/// How many pulls were answered with a stream, and how many of them without a right proof.
pub fn fed() -> (u64, u64) {
    (FED.load(Ordering::Relaxed), FOOLED.load(Ordering::Relaxed))
}

/// How an attacker proves that he shares the zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// As it should be.
    Right,
    /// Of another purpose.
    OtherPurpose,
    /// Over a number of another connection.
    Stale,
    /// The worker's own, sent back.
    Reflected,
    /// Of bytes by chance.
    Wrong,
    /// All of an earlier request.
    Replayed,
    /// No conversation at all: the pieces of the plan, in a row.
    None,
}

/// How an attack on workers' sockets goes.
#[derive(Clone, Copy, Debug)]
pub struct Talk {
    pub proof: Proof,
    seed: u64,
}

impl Talk {
    pub fn new(random: &mut Rng) -> Self {
        use Proof::*;
        let proof = [Right, Right, Right, OtherPurpose, Stale, Reflected, Wrong, Replayed, None];
        Self { proof: random.choice(proof).unwrap_or(None), seed: random.u64(..) }
    }
}

/// The secret that the workers of an nginx share, as root may read it.
pub fn secret(master: u32) -> Option<Vec<u8>> {
    let files = fs::read_dir(format!("/proc/{master}/fd")).ok()?;
    let zone = files.flatten().find(|file| {
        fs::read_link(file.path())
            .is_ok_and(|to| to.to_string_lossy().contains("memfd:ngx_rtmp_zone"))
    })?;
    let mut head = vec![0; SECRET.0 + SECRET.1];
    fs::File::open(zone.path()).ok()?.read_exact(&mut head).ok()?;
    Some(head.split_off(SECRET.0))
}

fn proof(secret: &[u8], purpose: u8, parts: &[&[u8]]) -> Vec<u8> {
    // a key of any length is one
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else {
        return vec![0; SIZE];
    };
    mac.update(&[purpose]);
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes()[..SIZE].to_vec()
}

/// The key of a stream, as workers write it.
fn key(random: &mut Rng, listen: &str) -> Vec<u8> {
    // most often what is there
    let (mut server, mut app, mut name) = (listen, "watched", "s");
    match random.u8(..8) {
        0 => server = random.choice(["0", "", "127.0.0.1"]).unwrap_or(""),
        1 => app = random.choice(["live", "asked", "nowhere", ""]).unwrap_or(""),
        2 => name = random.choice(["a", "b", "", "x/y"]).unwrap_or(""),
        _ => (),
    }
    let mut key = Vec::new();
    for part in [server, app, name] {
        key.extend((part.len() as u32).to_be_bytes());
        key.extend_from_slice(part.as_bytes());
    }
    if random.u8(..5) == 0 {
        mutate::bytes(random, &mut key);
    }
    key
}

/// Talks to every socket that there is.
pub fn attack(talk: Talk, pieces: &[Vec<u8>], target: &Target) {
    let random = &mut Rng::with_seed(talk.seed);
    for path in found(&target.sockets) {
        // whatever breaks it off is fine
        let _ = match is_for_words(&path) {
            true => word(talk, pieces, &path, target, random),
            false => pull(talk, pieces, &path, target, random),
        };
    }
}

/// Whether a socket is for datagrams.
fn is_for_words(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "w")
}

/// What the workers call the first server of the configuration.
fn listen(target: &Target) -> String {
    format!("127.0.0.1:{}", target.ports.rtmp)
}

fn pull(
    talk: Talk,
    pieces: &[Vec<u8>],
    path: &Path,
    target: &Target,
    random: &mut Rng,
) -> io::Result<()> {
    let mut socket = UnixStream::connect(path)?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    if talk.proof == Proof::None {
        for piece in pieces {
            socket.write_all(piece)?;
        }
        let _ = socket.read(&mut [0; 65536]);
        return Ok(());
    }
    let own: Vec<u8> = (0..SIZE).map(|_| random.u8(..)).collect();
    if talk.proof == Proof::Replayed {
        let said = SAID.lock().map(|said| said.clone()).unwrap_or_default();
        socket.write_all(&said)?;
        // the worker's number and proof come to everybody
        socket.read_exact(&mut [0; 2 * SIZE])?;
        if !said.is_empty() && socket.read(&mut [0; 65536])? > 0 {
            FOOLED.fetch_add(1, Ordering::Relaxed);
        }
        return Ok(());
    }
    split(random, &own, |part| socket.write_all(part))?;
    let mut answer = [0; 2 * SIZE];
    socket.read_exact(&mut answer)?;
    let (theirs, their_proof) = answer.split_at(SIZE);
    let (secret, listen) = (target.secret.as_deref().unwrap_or_default(), &listen(target));
    let key = key(random, listen);
    let right = proof(secret, PULL, &[&own, theirs, &key]);
    let proof = match talk.proof {
        Proof::OtherPurpose => proof(secret, SOURCE, &[&own, theirs, &key]),
        Proof::Stale => proof(secret, PULL, &[&own, &own, &key]),
        Proof::Reflected => their_proof.to_vec(),
        Proof::Wrong => (0..SIZE).map(|_| random.u8(..)).collect(),
        _ => right,
    };
    let len = match random.u8(..12) {
        0 => random.u32(..),
        1 => 0,
        2 => (key.len() as u32).saturating_sub(1),
        _ => key.len() as u32,
    };
    let mut request = [proof, len.to_be_bytes().to_vec(), key].concat();
    if random.u8(..4) == 0 {
        // behind what is asked for
        request.extend(std::iter::repeat_n(7, random.usize(..6000)));
    }
    if let Ok(mut said) = SAID.lock() {
        *said = [own.as_slice(), &request].concat();
    }
    split(random, &request, |part| socket.write_all(part))?;
    // the stream, for a while, or hardly read at all
    let until = Instant::now() + Duration::from_millis(random.u64(..400));
    let mut part = [0; 65536];
    if socket.read(&mut part)? > 0 {
        FED.fetch_add(1, Ordering::Relaxed);
        if talk.proof != Proof::Right {
            FOOLED.fetch_add(1, Ordering::Relaxed);
        }
    }
    if random.bool() {
        while Instant::now() < until && socket.read(&mut part)? > 0 {}
    } else {
        std::thread::sleep(until.saturating_duration_since(Instant::now()));
    }
    Ok(())
}

fn word(
    talk: Talk,
    pieces: &[Vec<u8>],
    path: &Path,
    target: &Target,
    random: &mut Rng,
) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(PATIENCE))?;
    if talk.proof == Proof::None {
        for piece in pieces {
            socket.send_to(piece, path)?;
        }
        return Ok(());
    }
    // the file is named by the worker's number
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let pid: i32 = name.split('.').next().and_then(|pid| pid.parse().ok()).unwrap_or(0);
    let (secret, listen) = (target.secret.as_deref().unwrap_or_default(), &listen(target));
    for _ in 0..random.usize(1..40) {
        let key = key(random, listen);
        let purpose = if talk.proof == Proof::OtherPurpose { PULL } else { WORD };
        let to = if talk.proof == Proof::Stale { pid + 1 } else { pid };
        let proof = match talk.proof {
            Proof::Wrong | Proof::Reflected => (0..SIZE).map(|_| random.u8(..)).collect(),
            _ => proof(secret, purpose, &[&to.to_be_bytes(), &key]),
        };
        let mut word = [proof, key].concat();
        if random.u8(..8) == 0 {
            word.truncate(random.usize(..word.len()));
        }
        socket.send_to(&word, path)?;
    }
    Ok(())
}

/// Takes the place of one worker's socket, with the right proof, and answers pulls as no worker
/// should, until the worker has a socket again.
pub fn usurp(sockets: &Path, secret: &[u8], random: &mut Rng) {
    let streams: Vec<PathBuf> =
        found(sockets).into_iter().filter(|path| path.extension().is_none()).collect();
    let Some(path) = random.choice(streams) else {
        return;
    };
    if fs::remove_file(&path).is_err() {
        return;
    }
    let Ok(listener) = UnixListener::bind(&path) else {
        return;
    };
    let _ = listener.set_nonblocking(true);
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        match listener.accept() {
            Ok((socket, _)) => {
                let _ = feed(&socket, secret, random);
            }
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    // what the worker has put there since is its own
    drop(listener);
}

/// Answers one pull.
fn feed(mut socket: &UnixStream, secret: &[u8], random: &mut Rng) -> io::Result<()> {
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    let mut theirs = [0; SIZE];
    socket.read_exact(&mut theirs)?;
    let own: Vec<u8> = (0..SIZE).map(|_| random.u8(..)).collect();
    let mut right = proof(secret, SOURCE, &[&theirs, &own]);
    if random.u8(..4) == 0 {
        mutate::bytes(random, &mut right);
    }
    socket.write_all(&[own, right].concat())?;
    let _ = socket.read(&mut [0; 8192]);
    let mut media = flv::header(true, true).to_vec();
    for i in 0..random.u32(..200) {
        let payload = rtmp::frame(i % 10 == 0, random.usize(..2000));
        let kind = random.choice([message::VIDEO, message::VIDEO, message::AUDIO, message::DATA]);
        let kind = kind.unwrap_or(message::VIDEO);
        flv::encode(kind, i * 40, &payload, |bytes| media.extend_from_slice(bytes));
    }
    if random.bool() {
        flv::encode(message::DATA, 0, b"\x02\x00\x0fngxRtmpNotFound", |bytes| {
            media.extend_from_slice(bytes)
        });
    }
    if random.bool() {
        mutate::bytes(random, &mut media);
    }
    split(random, &media, |part| socket.write_all(part))
}

/// Says `bytes` in one piece, or in several.
fn split(
    random: &mut Rng,
    bytes: &[u8],
    mut write: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let at = if random.u8(..3) == 0 { random.usize(..=bytes.len()) } else { 0 };
    let (first, rest) = bytes.split_at(at);
    if !first.is_empty() {
        write(first)?;
        std::thread::sleep(Duration::from_millis(2));
    }
    write(rest)
}

/// Sockets below a directory, two levels deep.
fn found(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        if kind.is_socket() {
            all.push(entry.path());
        } else if kind.is_dir() {
            all.extend(found(&entry.path()));
        }
    }
    all
}
