//! A worker's own sockets: one by which other workers pull streams, one by which they send word.

use std::cell::RefCell;
use std::fs;
use std::io;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::PathBuf;

use super::{decode, inner, tell_observer};
use crate::nginx::listening;
use crate::nginx::log;

/// A key never encodes to more: server, application and name are bounded when a client gives them.
const MAX_KEY: usize = 4096;

thread_local! {
    static PREFIX: RefCell<String> = const { RefCell::new(String::new()) };
    static WORD: RefCell<Option<UnixDatagram>> = const { RefCell::new(None) };
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
    let listener = UnixListener::bind(path(me))?;
    listening::accept(listener, Some(inner::ngx_rtmp_accept_inner))?;
    let word = UnixDatagram::bind(word_path(me))?;
    listening::readable(&word, hear)?;
    WORD.replace(Some(word));
    super::forget_dead();
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

/// Sends word of a change of `key` to a worker.
pub(super) fn notify(pid: i32, key: &[u8]) {
    let sent = WORD.with_borrow(|word| match word {
        Some(word) => word.send_to(key, word_path(pid)).map(drop),
        None => Ok(()),
    });
    if let Err(error) = sent {
        log::info!(log::cycle(), "rtmp: no word to worker {pid}: {error}");
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
