//! Where the workers of one nginx have their sockets: a directory of its own, which nobody else may
//! enter.
//!
//! The master makes it, and gives it to the workers' user. Each process that uses it holds a lock on
//! it, so that the next nginx with this prefix can tell one that is in use from one left behind.

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

    /// Enters the directory, and makes it anew if it was removed.
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

/// Removes the directories of an nginx that was killed: those without a lock. Those of other users stay.
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

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    /// A directory of a test, which is removed with all that is in it.
    struct Temp(PathBuf);

    impl Temp {
        fn new() -> Self {
            let name = random_name().expect("random bytes");
            let path = std::env::temp_dir().join(format!("ngx-rtmp-unit-{name}"));
            fs::create_dir(&path).expect("a directory");
            Temp(path)
        }

        fn prefix(&self) -> String {
            self.0.join("sockets").to_string_lossy().into_owned()
        }

        fn count(&self) -> usize {
            fs::read_dir(&self.0).map_or(0, Iterator::count)
        }
    }

    impl Drop for Temp {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_new_directory_is_its_users_alone() {
        let temp = Temp::new();
        let dir = SocketDir::create(&temp.prefix(), None).expect("made");
        let mode = fs::metadata(dir.path()).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert!(dir.is_there() && dir.is_of(&temp.prefix()));
        assert!(!dir.is_of("/somewhere/else"));
    }

    #[test]
    fn no_two_are_the_same() {
        let temp = Temp::new();
        let one = SocketDir::create(&temp.prefix(), None).expect("made");
        let other = SocketDir::create(&temp.prefix(), None).expect("made");
        assert_ne!(one.path(), other.path());
    }

    #[test]
    fn one_that_others_may_enter_is_refused() {
        let temp = Temp::new();
        let dir = SocketDir::create(&temp.prefix(), None).expect("made");
        fs::set_permissions(dir.path(), Permissions::from_mode(0o750)).expect("set");
        let error = SocketDir::open(dir.path(), process::user()).expect_err("refused");
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn one_of_another_user_is_refused() {
        let temp = Temp::new();
        let dir = SocketDir::create(&temp.prefix(), None).expect("made");
        assert!(SocketDir::open(dir.path(), process::user() + 1).is_err());
    }

    #[test]
    fn a_link_is_not_followed() {
        let temp = Temp::new();
        let dir = SocketDir::create(&temp.prefix(), None).expect("made");
        let link = temp.0.join("link");
        std::os::unix::fs::symlink(dir.path(), &link).expect("linked");
        assert!(SocketDir::open(&link, process::user()).is_err());
    }

    #[test]
    fn the_last_one_removes_it_with_its_sockets() {
        let temp = Temp::new();
        let dir = SocketDir::create(&temp.prefix(), None).expect("made");
        let other = SocketDir::open(dir.path(), process::user()).expect("entered");
        drop(UnixListener::bind(dir.path().join("1.00000000")).expect("bound"));
        assert!(!dir.remove_if_last());
        assert!(dir.is_there());
        drop(other);
        assert!(dir.remove_if_last());
        assert!(!dir.is_there());
    }

    #[test]
    fn what_is_no_socket_is_let_be() {
        let temp = Temp::new();
        let dir = SocketDir::create(&temp.prefix(), None).expect("made");
        fs::write(dir.path().join("file"), b"").expect("written");
        assert!(dir.remove_if_last());
        assert!(dir.is_there());
    }

    #[test]
    fn one_that_was_removed_is_made_anew() {
        let temp = Temp::new();
        let dir = SocketDir::create(&temp.prefix(), None).expect("made");
        fs::remove_dir(dir.path()).expect("removed");
        assert!(!dir.is_there());
        let again = SocketDir::open_or_restore(dir.path()).expect("made anew");
        assert!(again.is_there() && !dir.is_there());
    }

    #[test]
    fn a_check_leaves_nothing() {
        let temp = Temp::new();
        check(&temp.prefix()).expect("could be made");
        assert_eq!(temp.count(), 0);
        assert!(check(&temp.0.join("missing/sockets").to_string_lossy()).is_err());
    }

    #[test]
    fn only_those_that_nobody_uses_are_removed() {
        let temp = Temp::new();
        let used = SocketDir::create(&temp.prefix(), None).expect("made");
        let left = SocketDir::create(&temp.prefix(), None).expect("made").path().to_owned();
        fs::create_dir(format!("{}.other", temp.prefix())).expect("made");
        remove_abandoned(&temp.prefix(), &[process::user()]);
        assert!(used.is_there());
        assert!(!left.exists());
        assert_eq!(temp.count(), 2);
    }
}
