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

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, IoSlice, Read};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use super::Socket;

    fn pair() -> (Socket, UnixStream, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        (Socket::new(near.as_raw_fd()), near, far)
    }

    #[test]
    fn sends_bytes_and_parts_in_order() {
        let (socket, near, mut far) = pair();
        assert_eq!(socket.send(b"one").unwrap(), 3);
        let parts = [IoSlice::new(b"two"), IoSlice::new(b""), IoSlice::new(b"three")];
        assert_eq!(socket.writev(&parts).unwrap(), 8);
        assert_eq!(socket.writev(&parts[..1]).unwrap(), 3);
        drop(near);
        let mut got = String::new();
        far.read_to_string(&mut got).unwrap();
        assert_eq!(got, "onetwothreetwo");
    }

    #[test]
    fn takes_more_parts_than_one_call_does_as_a_short_write() {
        let (socket, near, mut far) = pair();
        let parts = vec![IoSlice::new(b"x"); 2000];
        let sent = socket.writev(&parts).unwrap();
        assert_eq!(sent, libc::UIO_MAXIOV as usize);
        drop(near);
        let mut got = Vec::new();
        far.read_to_end(&mut got).unwrap();
        assert_eq!(got.len(), sent);
    }

    #[test]
    fn a_full_socket_would_block_and_a_closed_one_is_an_error_without_a_signal() {
        let (socket, _near, far) = pair();
        let bytes = vec![7; 1 << 20];
        let error = loop {
            if let Err(error) = socket.send(&bytes) {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        drop(far);
        assert_eq!(socket.send(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
        let parts = [IoSlice::new(b"x"), IoSlice::new(b"y")];
        assert_eq!(socket.writev(&parts).unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}
