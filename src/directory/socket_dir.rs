//! Where the workers of one nginx have their sockets: a directory of its own, which nobody else may
//! enter.
//!
//! The master makes it, and gives it to the workers' user. Whoever uses it holds a lock on it, so
//! that the next nginx with this prefix can tell one that is in use from one that was left behind.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{fchown, DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::nginx::file::{lock, Lock};
use crate::nginx::{process, random};

/// Bytes of the directory's own part of its name, in letters and digits.
const RANDOM: usize = 8;
/// Others may make directories in the same place, but they do not know the names.
const ATTEMPTS: usize = 8;

/// A directory that is in use by this process.
#[derive(Debug)]
pub(super) struct SocketDir {
    path: PathBuf,
    dir: File,
}

impl SocketDir {
    /// Makes a new directory, whose path begins with `prefix`, for processes of `owner`.
    pub(super) fn create(prefix: &str, owner: Option<(u32, u32)>) -> io::Result<SocketDir> {
        let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
        for _ in 0..ATTEMPTS {
            let path = PathBuf::from(format!("{prefix}.{}", random_name()?));
            match make(&path).and_then(|()| SocketDir::open(&path, process::user())) {
                Ok(place) => {
                    // the umask may have taken more than it should
                    place.dir.set_permissions(Permissions::from_mode(0o700))?;
                    place.give_to(owner)?;
                    return Ok(place);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = error,
                // another nginx that starts now took it for one that was left behind
                Err(error) if error.kind() == io::ErrorKind::NotFound && !parent_missing(&path) => {
                    last = error;
                }
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// Enters a directory of `owner`, which only that user may enter.
    pub(super) fn open(path: &Path, owner: u32) -> io::Result<SocketDir> {
        let dir = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(path)?;
        let meta = dir.metadata()?;
        if meta.uid() != owner || meta.permissions().mode() & 0o077 != 0 {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "the directory is not nginx's alone",
            ));
        }
        lock(&dir, Lock::Shared)?;
        let place = SocketDir { path: path.to_owned(), dir };
        match place.is_there() {
            true => Ok(place),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Enters the directory, and makes it anew if somebody has removed it.
    pub(super) fn open_or_restore(path: &Path) -> io::Result<SocketDir> {
        match SocketDir::open(path, process::user()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // another worker may be doing the same
                match make(path) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                    _ => SocketDir::open(path, process::user()),
                }
            }
            entered => entered,
        }
    }

    /// Has processes of `owner` use the directory.
    pub(super) fn give_to(&self, owner: Option<(u32, u32)>) -> io::Result<()> {
        match owner {
            Some((user, group)) => fchown(&self.dir, Some(user), Some(group)),
            None => Ok(()),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the directory is still the one of this path.
    pub(super) fn is_there(&self) -> bool {
        let same = |now: fs::Metadata| {
            let meta = self.dir.metadata().ok()?;
            Some((now.dev(), now.ino()) == (meta.dev(), meta.ino()))
        };
        fs::symlink_metadata(&self.path).ok().and_then(same).unwrap_or(false)
    }

    /// Removes the directory and what is in it, if this process is the last that uses it. Says
    /// whether it was.
    pub(super) fn remove_if_last(&self) -> bool {
        if lock(&self.dir, Lock::Alone).is_err() {
            // the attempt has cost the lock that was held
            let _ = lock(&self.dir, Lock::Shared);
            return false;
        }
        if self.is_there() {
            empty(&self.path);
        }
        true
    }

    /// Whether it is one that is made for `prefix`.
    pub(super) fn is_of(&self, prefix: &str) -> bool {
        let path = self.path.as_os_str().as_bytes();
        path.strip_prefix(prefix.as_bytes()).is_some_and(|rest| rest.len() == RANDOM + 1)
    }
}

/// Whether a directory could be made, as far as can be told without leaving one.
pub(super) fn check(prefix: &str) -> io::Result<()> {
    let path = PathBuf::from(format!("{prefix}.{}", random_name()?));
    make(&path)?;
    fs::remove_dir(&path)
}

/// Removes the directories that nobody uses any more: their nginx was killed. Those of other users
/// are let be.
pub(super) fn remove_abandoned(prefix: &str, users: &[u32]) {
    let prefix = Path::new(prefix);
    let (Some(parent), Some(name)) = (prefix.parent(), prefix.file_name()) else { return };
    let start = [name.as_bytes(), b"."].concat();
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let random = name.as_bytes().strip_prefix(start.as_slice());
        let Some(random) = random else { continue };
        if random.len() != RANDOM || !random.iter().all(u8::is_ascii_alphanumeric) {
            continue;
        }
        let Ok(meta) = fs::symlink_metadata(entry.path()) else { continue };
        if meta.is_dir() && users.contains(&meta.uid()) {
            if let Ok(place) = SocketDir::open(&entry.path(), meta.uid()) {
                place.remove_if_last();
            }
        }
    }
}

fn make(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

fn parent_missing(path: &Path) -> bool {
    path.parent().is_some_and(|parent| !parent.is_dir())
}

/// Removes the sockets in a directory, and the directory if nothing else is in it.
fn empty(path: &Path) {
    use std::os::unix::fs::FileTypeExt;

    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_socket()) {
            let _ = fs::remove_file(entry.path());
        }
    }
    let _ = fs::remove_dir(path);
}

fn random_name() -> io::Result<String> {
    let bytes = random::secret()?;
    let pick = |byte: &u8| match byte % 32 {
        letter @ 0..26 => char::from(b'a' + letter),
        digit => char::from(b'0' + (digit - 26)),
    };
    Ok(bytes.iter().take(RANDOM).map(pick).collect())
}
