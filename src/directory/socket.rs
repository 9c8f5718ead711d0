//! A worker's own sockets: one by which other workers pull streams, one by which they send word.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::{decode, inner, tell_observer};
use crate::nginx::clock;
use crate::nginx::event::Event;
use crate::nginx::listening;
use crate::nginx::log;
use crate::nginx::process;

/// A key never encodes to more: server, application and name are bounded when a client gives them.
const MAX_KEY: usize = 4096;
/// A worker that has many words to read takes no more (Linux: 10, as net.unix.max_dgram_qlen says):
/// they are sent again after so long.
const RETRY_MS: u64 = 2;
/// A worker that reads none of them for so long hangs, and is not waited for any more.
const GIVE_UP_MS: u64 = 5000;

thread_local! {
    static PREFIX: RefCell<String> = const { RefCell::new(String::new()) };
    static WORD: RefCell<Option<UnixDatagram>> = const { RefCell::new(None) };
    /// Words that could not be sent yet, and since when. One for each worker and key is enough,
    /// since it only says where to look.
    static UNSENT: RefCell<HashMap<(i32, Vec<u8>), u64>> = RefCell::default();
    /// A worker that leaves sends them before, so it is not cancelable.
    static RETRY: Event = Event::new(send_again);
}

/// Where another worker accepts inner pulls.
pub fn path(pid: i32) -> PathBuf {
    PREFIX.with_borrow(|prefix| format!("{prefix}.{pid}").into())
}

/// Where another worker hears of changes.
fn word_path(pid: i32) -> PathBuf {
    PREFIX.with_borrow(|prefix| format!("{prefix}.{pid}.word").into())
}

/// Opens this worker's sockets under `prefix`, and forgets the workers that are no more.
pub fn start(prefix: &str) -> io::Result<()> {
    PREFIX.replace(prefix.to_owned());
    let me = std::process::id() as i32;
    // left behind by a process that had this id before
    remove(me);
    super::forget(me);
    let listener = UnixListener::bind(path(me))?;
    listening::accept(listener, Some(inner::ngx_rtmp_accept_inner))?;
    let word = UnixDatagram::bind(word_path(me))?;
    listening::readable(&word, hear)?;
    WORD.replace(Some(word));
    super::forget_dead();
    remove_abandoned(Path::new(prefix));
    Ok(())
}

/// Takes this worker's sockets out of the file system, and its entries out of the directory.
pub fn stop() {
    let me = std::process::id() as i32;
    if PREFIX.with_borrow(String::is_empty) {
        return;
    }
    super::forget(me);
    remove(me);
}

/// Removes what a worker left in the file system.
pub(super) fn remove(pid: i32) {
    // it may have cleaned up itself
    let _ = fs::remove_file(path(pid));
    let _ = fs::remove_file(word_path(pid));
}

/// Removes the sockets of workers that died without a stream, which the directory knows nothing of.
fn remove_abandoned(prefix: &Path) {
    let (Some(dir), Some(name)) = (prefix.parent(), prefix.file_name()) else { return };
    let start = [name.as_bytes(), b"."].concat();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.as_bytes().strip_prefix(start.as_slice()).map(String::from_utf8_lossy);
        let Some(pid) = pid.and_then(|pid| pid.parse().ok()) else { continue };
        // a worker that this system does not know may still be there, in another container
        let refused = || {
            UnixStream::connect(entry.path())
                .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
        };
        if !process::alive(pid) && refused() {
            remove(pid);
        }
    }
}

/// Sends word of a change of `key` to a worker, at once or as soon as it has room for it.
pub(super) fn notify(pid: i32, key: &[u8]) {
    if !send(pid, key) {
        UNSENT.with_borrow_mut(|unsent| {
            unsent.entry((pid, key.to_vec())).or_insert_with(clock::now);
        });
        RETRY.with(|retry| retry.set_timer(RETRY_MS));
    }
}

fn send_again() {
    let mut hang = BTreeSet::new();
    let left = UNSENT.with_borrow_mut(|unsent| {
        unsent.retain(|(pid, key), since| {
            let sent = send(*pid, key);
            let hangs = !sent && clock::now().saturating_sub(*since) >= GIVE_UP_MS;
            if hangs {
                hang.insert(*pid);
            }
            !sent && !hangs
        });
        !unsent.is_empty()
    });
    for pid in hang {
        log::error!(log::cycle(), "rtmp: worker {pid} hangs, it is not told of streams any more");
    }
    if left {
        RETRY.with(|retry| retry.set_timer(RETRY_MS));
    }
}

/// Whether that is done with: false if the worker has no room for another word now.
fn send(pid: i32, key: &[u8]) -> bool {
    let sent = WORD.with_borrow(|word| match word {
        Some(word) => word.send_to(key, word_path(pid)).map(drop),
        None => Ok(()),
    });
    match sent {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
        Err(error) => {
            log::info!(log::cycle(), "rtmp: no word to worker {pid}: {error}");
            true
        }
    }
}

fn hear() {
    let mut buffer = [0; MAX_KEY];
    loop {
        let heard = WORD.with_borrow(|word| match word {
            Some(word) => word.recv(&mut buffer),
            None => Err(io::ErrorKind::WouldBlock.into()),
        });
        match heard {
            Ok(n) => {
                if let Some(key) = decode(buffer.get(..n).unwrap_or_default()) {
                    tell_observer(&key);
                }
            }
            Err(_) => return,
        }
    }
}
