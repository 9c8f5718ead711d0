//! What the master does for its workers: the zone, and a directory for their sockets. Both outlive
//! every configuration, and a new binary takes them over.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use shared_table::Class;

use super::socket_dir::{self, SocketDir};
use crate::nginx::cycle::Cycle;
use crate::nginx::{process, zone};

/// Where the zone has the path of the directory.
const DIR: &[u8] = b"place";

thread_local! {
    /// The directory of the configuration that is running, and that of the one being started.
    static CURRENT: RefCell<Option<SocketDir>> = const { RefCell::new(None) };
    static NEXT: RefCell<Option<SocketDir>> = const { RefCell::new(None) };
    /// Those of former configurations, whose workers may be there still.
    static FORMER: RefCell<Vec<SocketDir>> = const { RefCell::new(Vec::new()) };
}

/// What workers are to share.
#[derive(Debug, Clone, Copy)]
pub struct Shared<'a> {
    /// Size of the zone, in bytes.
    pub zone_size: usize,
    /// With what the path begins of the directory that has the workers' sockets; `None` if they have
    /// none.
    pub sockets: Option<&'a str>,
}

/// Why workers can't share what they are to.
#[derive(Debug)]
pub enum Error {
    /// `rtmp_zone`.
    Zone(io::Error),
    /// `rtmp_auto_pull_port`: no directory that begins with this path.
    Directory(String, io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Zone(error) => write!(f, "no memory can be shared for \"rtmp_zone\": {error}"),
            Error::Directory(prefix, error) => write!(
                f,
                "no directory can be made for \"rtmp_auto_pull_port\" unix:{prefix}: {error}"
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Zone(error) | Error::Directory(_, error) => Some(error),
        }
    }
}

/// A configuration has been read: makes what its workers will share, or says why it can't be.
pub fn prepare(cycle: Cycle, shared: Shared<'_>) -> Result<(), Error> {
    if process::is_testing() {
        return match shared.sockets {
            Some(prefix) => socket_dir::check(prefix).map_err(refused(prefix)),
            None => Ok(()),
        };
    }
    if !process::is_starting() {
        return Ok(());
    }
    zone::open(shared.zone_size).map_err(Error::Zone)?;
    // of a configuration that was refused in the end
    if let Some(dir) = NEXT.take() {
        dir.remove_if_last();
    }
    let Some(prefix) = shared.sockets else { return Ok(()) };
    let owner = process::worker_user(cycle);
    let user = owner.map_or(process::user(), |(user, _)| user);
    let kept = CURRENT.with_borrow(|dir| match dir {
        Some(dir) if dir.is_of(prefix) && dir.is_there() => Some(dir.give_to(owner)),
        _ => None,
    });
    if let Some(kept) = kept {
        return kept.map_err(refused(prefix));
    }
    let next = match inherited(user).filter(|dir| dir.is_of(prefix)) {
        Some(dir) => dir,
        None => {
            socket_dir::remove_abandoned(prefix, &[process::user(), user]);
            SocketDir::create(prefix, owner).map_err(refused(prefix))?
        }
    };
    NEXT.replace(Some(next));
    Ok(())
}

fn refused(prefix: &str) -> impl Fn(io::Error) -> Error + '_ {
    |error| Error::Directory(prefix.to_owned(), error)
}

/// The directory that the binary before this one uses.
fn inherited(user: u32) -> Option<SocketDir> {
    let path = zone::get(DIR);
    SocketDir::open(Path::new(OsStr::from_bytes(&path)), user).ok()
}

/// The configuration holds from now on.
pub fn commit(cycle: Cycle, shared: Shared<'_>) {
    zone::commit(cycle, shared.zone_size);
    if let Some(next) = NEXT.take() {
        let path = next.path().to_owned().into_os_string().into_vec();
        let _ = zone::update(DIR, |value| {
            *value = path;
            ((), Class::Reserved)
        });
        let former = CURRENT.replace(Some(next));
        FORMER.with_borrow_mut(|dirs| dirs.extend(former));
    }
    // their workers may have left
    FORMER.with_borrow_mut(|former| former.retain(|dir| !dir.remove_if_last()));
}

/// The directory of the running configuration.
pub(super) fn dir() -> Option<PathBuf> {
    CURRENT.with_borrow(|dir| dir.as_ref().map(|dir| dir.path().to_owned()))
}

/// The master ends, after its workers. What those of another binary use stays.
pub fn end() {
    for dir in FORMER.take().iter().chain(&CURRENT.take()) {
        dir.remove_if_last();
    }
}
