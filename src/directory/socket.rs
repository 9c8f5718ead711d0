//! A worker's own sockets: one by which other workers pull streams, one by which they send word.
//!
//! Their names have a part that follows from the secret of the zone; the zone tells in which directory
//! each worker has them.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};

use shared_table::Class;

use super::place::Place;
use super::proof::{self, Purpose};
use super::{inner, master};
use crate::nginx::clock;
use crate::nginx::event::Event;
use crate::nginx::listening::{self, Acceptor, Watched};
use crate::nginx::log;
use crate::nginx::process;
use crate::nginx::zone;

/// A key never encodes to more: server, application and name are bounded when a client gives them.
const MAX_KEY: usize = 4096;
/// A worker that has many words to read takes no more (Linux: 10, as net.unix.max_dgram_qlen says):
/// they are sent again after so long.
const RETRY_MS: u64 = 2;
/// A worker whose socket was taken away is tried again after so long.
const ABSENT_MS: u64 = 100;
/// A worker that reads none of them for so long hangs, and is not waited for any more.
const GIVE_UP_MS: u64 = 5000;
/// How often a worker looks whether its sockets are still there: what cleans temporary directories
/// may have taken them.
const LOOK_AFTER_MS: u64 = 2000;
/// Sockets that can't be made are reported once in so long.
const REPORT_MS: u64 = 60_000;

thread_local! {
    static OWN: RefCell<Option<Own>> = const { RefCell::new(None) };
    static LOOK_AFTER: Event = Event::cancelable(look_after);
    static REPORTED: Cell<Option<u64>> = const { Cell::new(None) };
    /// Words that could not be sent yet, and since when. One for each worker and key is enough,
    /// since it only says where to look.
    static UNSENT: RefCell<HashMap<(i32, Vec<u8>), u64>> = RefCell::default();
    /// A worker that leaves sends them before, so it is not cancelable.
    static RETRY: Event = Event::new(send_again);
}

/// This worker's sockets.
struct Own {
    place: Place,
    stream: Bound,
    word: Bound,
    datagrams: UnixDatagram,
    _accepted: Acceptor,
    _watched: Watched,
}

/// A socket's place in the file system.
struct Bound {
    path: PathBuf,
    id: (u64, u64),
}

impl Bound {
    fn new(path: PathBuf) -> io::Result<Bound> {
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        let id = id_of(&path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Bound { path, id })
    }

    fn is_there(&self) -> bool {
        id_of(&self.path) == Some(self.id)
    }
}

fn id_of(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

impl Own {
    fn open(directory: &Path) -> io::Result<Own> {
        let place = Place::open_or_restore(directory)?;
        let me = super::me();
        let (stream, word) = names(place.path(), me).ok_or(io::ErrorKind::NotFound)?;
        for path in [&stream, &word] {
            // left behind by a process that had this id before
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => (),
            }
        }
        let accepted =
            listening::accept(UnixListener::bind(&stream)?, Some(inner::ngx_rtmp_accept_inner))?;
        let datagrams = UnixDatagram::bind(&word)?;
        let watched = listening::readable(&datagrams, hear)?;
        let (stream, word) = (Bound::new(stream)?, Bound::new(word)?);
        Ok(Own { place, stream, word, datagrams, _accepted: accepted, _watched: watched })
    }

    fn is_there(&self) -> bool {
        self.place.is_there() && self.stream.is_there() && self.word.is_there()
    }
}

/// The sockets of a worker in a directory: for streams and for words.
fn names(directory: &Path, pid: i32) -> Option<(PathBuf, PathBuf)> {
    let [a, b, c, d, ..] = proof::of(Purpose::Name, &[&pid.to_be_bytes()])?;
    let name = format!("{pid}.{:08x}", u32::from_be_bytes([a, b, c, d]));
    Some((directory.join(&name), directory.join(name + ".w")))
}

/// Where the zone has a worker's directory.
fn worker_key(pid: i32) -> Vec<u8> {
    [b"worker", pid.to_be_bytes().as_slice()].concat()
}

fn of(pid: i32) -> Option<(PathBuf, PathBuf)> {
    let directory = zone::get(&worker_key(pid));
    (!directory.is_empty()).then(|| names(Path::new(OsStr::from_bytes(&directory)), pid)).flatten()
}

/// Where another worker accepts inner pulls.
pub(super) fn path(pid: i32) -> Option<PathBuf> {
    of(pid).map(|(stream, _)| stream)
}

/// Opens this worker's sockets, and forgets the workers that are no more.
pub fn start() {
    // a process that had this id before
    super::forget(super::me());
    super::forget_dead();
    look_after();
}

/// Sees to it that this worker's sockets are there, now and from now on.
fn look_after() {
    LOOK_AFTER.with(|event| event.set_timer(LOOK_AFTER_MS));
    if OWN.with_borrow(|own| own.as_ref().is_some_and(Own::is_there)) {
        return;
    }
    // closed first, so that there are descriptors for the new ones
    OWN.take();
    let Some(directory) = master::place() else { return };
    match Own::open(&directory) {
        Ok(own) => {
            OWN.replace(Some(own));
            let told = zone::update(&worker_key(super::me()), |value| {
                *value = directory.into_os_string().into_vec();
                ((), Class::Reserved)
            });
            if told.is_err() {
                report("\"rtmp_zone\" is full");
            }
        }
        Err(error) => report(error),
    }
}

fn report(why: impl std::fmt::Display) {
    let now = clock::now();
    let quiet = REPORTED.get().is_some_and(|before| now.saturating_sub(before) < REPORT_MS);
    if !quiet {
        REPORTED.set(Some(now));
        log::error!(
            log::cycle(),
            "rtmp: no socket in the directory of \"rtmp_auto_pull_port\": {why}; \
             other workers can't play the streams of this one"
        );
    }
}

/// Takes this worker's sockets out of the file system, and its entries out of the directory.
pub fn stop() {
    let me = super::me();
    super::forget(me);
    if let Some(own) = OWN.take() {
        for socket in [&own.stream, &own.word] {
            let _ = fs::remove_file(&socket.path);
        }
    }
    let _ = zone::update(&worker_key(me), |value| {
        value.clear();
        ((), Class::Reserved)
    });
}

/// The workers that the zone knows of, whether they are there or not.
pub(super) fn workers() -> Vec<i32> {
    let mut pids = Vec::new();
    zone::update_all(|key, _| {
        if let Some(pid) = key.strip_prefix(b"worker").and_then(|pid| pid.try_into().ok()) {
            pids.push(i32::from_be_bytes(pid));
        }
        Class::Reserved
    });
    pids
}

/// Removes what a worker left in the file system and in the zone.
pub(super) fn remove(pid: i32) {
    if let Some((stream, word)) = of(pid) {
        // it may have cleaned up itself
        let _ = fs::remove_file(stream);
        let _ = fs::remove_file(word);
    }
    let _ = zone::update(&worker_key(pid), |value| {
        value.clear();
        ((), Class::Reserved)
    });
}

/// Sends word of a change of `key` to a worker, at once or as soon as it has room for it.
pub(super) fn notify(pid: i32, key: &[u8]) {
    if send(pid, key) != Sent::Done {
        UNSENT.with_borrow_mut(|unsent| {
            unsent.entry((pid, key.to_vec())).or_insert_with(clock::now);
        });
        RETRY.with(|retry| retry.set_timer(RETRY_MS));
    }
}

fn send_again() {
    let mut hang = BTreeSet::new();
    let mut absent = true;
    let left = UNSENT.with_borrow_mut(|unsent| {
        unsent.retain(|(pid, key), since| {
            let sent = send(*pid, key);
            let waits = sent != Sent::Done;
            let hangs = waits && clock::now().saturating_sub(*since) >= GIVE_UP_MS;
            if hangs {
                hang.insert(*pid);
            }
            absent &= sent != Sent::Full;
            waits && !hangs
        });
        !unsent.is_empty()
    });
    for pid in hang {
        log::error!(log::cycle(), "rtmp: worker {pid} hangs, it is not told of streams any more");
    }
    if left {
        RETRY.with(|retry| retry.set_timer(if absent { ABSENT_MS } else { RETRY_MS }));
    }
}

/// What became of a word.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sent {
    /// It is sent, or there is nobody to send it to.
    Done,
    /// The worker has no room for another word now.
    Full,
    /// The worker's socket is not there; the worker makes another.
    Absent,
}

fn send(pid: i32, key: &[u8]) -> Sent {
    let Some((_, path)) = of(pid) else { return Sent::Done };
    let Some(proof) = proof::of(Purpose::Word, &[&pid.to_be_bytes(), key]) else {
        return Sent::Done;
    };
    let word = [proof.as_slice(), key].concat();
    let sent = OWN.with_borrow(|own| match own {
        Some(own) => own.datagrams.send_to(&word, path).map(drop),
        None => Err(io::ErrorKind::NotFound.into()),
    });
    match sent {
        Ok(()) => Sent::Done,
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock => Sent::Full,
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused if process::alive(pid) => {
                Sent::Absent
            }
            _ => {
                log::info!(log::cycle(), "rtmp: no word to worker {pid}: {error}");
                Sent::Done
            }
        },
    }
}

fn hear() {
    let mut buffer = [0; proof::SIZE + MAX_KEY];
    let me = super::me().to_be_bytes();
    loop {
        let heard = OWN.with_borrow(|own| match own {
            Some(own) => own.datagrams.recv(&mut buffer),
            None => Err(io::ErrorKind::WouldBlock.into()),
        });
        let Ok(n) = heard else { return };
        let word = buffer.get(..n).and_then(|word| word.split_first_chunk::<{ proof::SIZE }>());
        let Some((proof, key)) = word else { continue };
        if !proof::holds(Purpose::Word, &[&me, key], proof) {
            continue;
        }
        super::heard(key);
    }
}
