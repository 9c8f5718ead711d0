//! A socket that the engine writes to itself.

use std::io::{self, IoSlice};
use std::os::fd::RawFd;

/// A stream socket that does not block, to be written to without a look at the connection that owns
/// it. It is whoever holds the connection that must not close it meanwhile.
#[derive(Clone, Copy, Debug)]
pub struct Socket(RawFd);

impl Socket {
    /// The socket of this descriptor.
    pub fn new(fd: RawFd) -> Self {
        Socket(fd)
    }

    /// Writes a prefix of `data`. After a short count or `WouldBlock` it is for the connection to wait.
    pub fn send(self, data: &[u8]) -> io::Result<usize> {
        // SAFETY: the bytes are readable during the call.
        let n = unsafe { libc::send(self.0, data.as_ptr().cast(), data.len(), libc::MSG_NOSIGNAL) };
        usize::try_from(n).map_err(|_| io::Error::last_os_error())
    }

    /// The same for several parts, in one system call.
    pub fn writev(self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        if let [one] = data {
            return self.send(one);
        }
        // the kernel refuses more parts than this in one call
        let parts = data.len().min(libc::UIO_MAXIOV as usize);
        // SAFETY: IoSlice has the layout of iovec, and msghdr of zeroes plus the parts is valid.
        let n = unsafe {
            let mut msg: libc::msghdr = std::mem::zeroed();
            msg.msg_iov = data.as_ptr() as *mut libc::iovec;
            msg.msg_iovlen = parts as _;
            libc::sendmsg(self.0, &msg, libc::MSG_NOSIGNAL)
        };
        usize::try_from(n).map_err(|_| io::Error::last_os_error())
    }
}
