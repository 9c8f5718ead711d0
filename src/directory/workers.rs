//! The workers that the zone knows of, and where their sockets are: the zone has the directory of
//! each, and the names in it have a part that follows from the secret of the zone.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use shared_table::{Class, Full};

use super::proof::{self, Purpose};
use crate::nginx::zone;

/// The id of this worker's process.
pub(super) fn me() -> i32 {
    std::process::id() as i32
}

/// A worker's sockets.
pub(super) struct Paths {
    /// By which other workers pull streams.
    pub(super) stream: PathBuf,
    /// To which they send notifications.
    pub(super) notification: PathBuf,
}

/// The sockets of a worker in a directory; `None` without a zone.
pub(super) fn paths_in(directory: &Path, pid: i32) -> Option<Paths> {
    let [a, b, c, d, ..] = proof::of(Purpose::Name, &[&pid.to_be_bytes()])?;
    let name = format!("{pid}.{:08x}", u32::from_be_bytes([a, b, c, d]));
    Some(Paths { stream: directory.join(&name), notification: directory.join(name + ".w") })
}

/// The sockets of a worker that has some.
pub(super) fn paths(pid: i32) -> Option<Paths> {
    let directory = zone::get(&key(pid));
    (!directory.is_empty())
        .then(|| paths_in(Path::new(OsStr::from_bytes(&directory)), pid))
        .flatten()
}

/// Makes known in which directory a worker has its sockets; nowhere, if it is empty.
pub(super) fn set_directory(pid: i32, directory: Vec<u8>) -> Result<(), Full> {
    zone::update(&key(pid), |value| {
        *value = directory;
        ((), Class::Reserved)
    })
}

/// All of them, whether they are there or not.
pub(super) fn all() -> Vec<i32> {
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
    if let Some(paths) = paths(pid) {
        // it may have cleaned up itself
        let _ = fs::remove_file(paths.stream);
        let _ = fs::remove_file(paths.notification);
    }
    let _ = set_directory(pid, Vec::new());
}

/// Where the zone has a worker's directory.
fn key(pid: i32) -> Vec<u8> {
    [b"worker", pid.to_be_bytes().as_slice()].concat()
}
