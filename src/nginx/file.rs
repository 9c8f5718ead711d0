//! Log files, which nginx opens, and opens again when it is told to.

use std::cell::Cell;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::NonNull;

use nginx_sys::ngx_open_file_t;

use crate::nginx::log;

/// A failing log is reported once in so many seconds.
const REPORT_INTERVAL: i64 = 60;

/// A log file of the configuration.
#[derive(Clone)]
pub struct LogFile {
    file: NonNull<ngx_open_file_t>,
    reported: Cell<i64>,
}

impl LogFile {
    /// # Safety
    ///
    /// `file` is in a cycle's list of open files, and what holds this value does not outlive that.
    pub unsafe fn new(file: NonNull<ngx_open_file_t>) -> Self {
        LogFile { file, reported: Cell::new(0) }
    }

    /// Appends `line` in one write. It waits for the disk, as nginx's own logs do.
    pub fn write(&self, line: &[u8]) {
        // SAFETY: nginx keeps the descriptor open, and the one here up to date.
        let n = unsafe { libc::write((*self.file.as_ptr()).fd, line.as_ptr().cast(), line.len()) };
        if usize::try_from(n) == Ok(line.len()) {
            return;
        }
        let err = io::Error::last_os_error();
        let (now, _) = super::process::time_of_day();
        if now - self.reported.get() >= REPORT_INTERVAL {
            self.reported.set(now);
            let path = self.path().display();
            match n {
                ..0 => log::alert!(log::cycle(), "rtmp: write() to \"{path}\" failed: {err}"),
                _ => log::alert!(log::cycle(), "rtmp: write() to \"{path}\" was incomplete"),
            }
        }
    }

    fn path(&self) -> &Path {
        // SAFETY: the name lives as long as the file.
        let name = unsafe { (*self.file.as_ptr()).name.as_bytes() };
        Path::new(OsStr::from_bytes(name))
    }
}

/// What a lock on a file lets others do. It is advisory, and ends with the last descriptor that was
/// copied from the one that it was taken by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// Others may hold such a lock, too.
    Shared,
    /// Nobody else holds any.
    Alone,
}

/// Takes a lock on a file or a directory, or changes the one that is held: at once or not at all.
pub fn lock(file: &std::fs::File, lock: Lock) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    let operation = match lock {
        Lock::Shared => libc::LOCK_SH,
        Lock::Alone => libc::LOCK_EX,
    };
    // SAFETY: the descriptor is open.
    match unsafe { libc::flock(file.as_raw_fd(), operation | libc::LOCK_NB) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
