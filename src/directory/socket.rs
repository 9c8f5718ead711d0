//! A worker's own sockets: one by which other workers pull streams, one to which they send
//! notifications. Lost ones are made anew.

use std::cell::RefCell;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use super::inner_source;
use super::master;
use super::notification::{self, Listening};
use super::socket_dir::SocketDir;
use super::sources::{forget, forget_dead};
use super::workers::{self, me};
use crate::nginx::event::Event;
use crate::nginx::listening::{self, Acceptor};
use crate::nginx::log;
use crate::nginx::seldom::Seldom;

/// How often a worker looks whether its sockets are still there: what cleans temporary directories
/// may have taken them.
const LOOK_AFTER_MS: u64 = 2000;
/// Sockets that can't be made are reported once in so long.
const REPORT_MS: u64 = 60_000;

thread_local! {
    static OWN: RefCell<Option<Own>> = const { RefCell::new(None) };
    static LOOK_AFTER: Event = Event::cancelable(look_after);
    static REPORTED: Seldom = const { Seldom::every(REPORT_MS) };
}

/// This worker's sockets.
struct Own {
    dir: SocketDir,
    stream: Bound,
    notification: Bound,
    _listening: Listening,
    _accepted: Acceptor,
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
        let dir = SocketDir::open_or_restore(directory)?;
        let paths = workers::paths_in(dir.path(), me()).ok_or(io::ErrorKind::NotFound)?;
        for path in [&paths.stream, &paths.notification] {
            // left behind by a process that had this id before
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => (),
            }
        }
        let accepted = listening::accept(UnixListener::bind(&paths.stream)?, inner_source::serve)?;
        let listening = notification::listen(&paths.notification)?;
        Ok(Own {
            dir,
            stream: Bound::new(paths.stream)?,
            notification: Bound::new(paths.notification)?,
            _listening: listening,
            _accepted: accepted,
        })
    }

    fn is_there(&self) -> bool {
        self.dir.is_there() && self.stream.is_there() && self.notification.is_there()
    }
}

/// Opens this worker's sockets, and forgets the workers that are no more.
pub fn start() {
    // a process that had this id before
    forget(me());
    forget_dead();
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
    let Some(directory) = master::dir() else { return };
    match Own::open(&directory) {
        Ok(own) => {
            OWN.replace(Some(own));
            let told = workers::set_directory(me(), directory.into_os_string().into_vec());
            if told.is_err() {
                report("\"rtmp_zone\" is full");
            }
        }
        Err(error) => report(error),
    }
}

fn report(why: impl std::fmt::Display) {
    if REPORTED.with(Seldom::is_due) {
        log::error!(
            log::cycle(),
            "rtmp: no socket in the directory of \"rtmp_auto_pull_port\": {why}; \
             other workers can't play the streams of this one"
        );
    }
}

/// Takes this worker's sockets out of the file system, and its entries out of the directory.
pub fn stop() {
    forget(me());
    if let Some(own) = OWN.take() {
        for socket in [&own.stream, &own.notification] {
            let _ = fs::remove_file(&socket.path);
        }
    }
    let _ = workers::set_directory(me(), Vec::new());
}
