//! Random bytes from the system.

use std::io;

/// Bytes that nobody can guess, for a handshake.
pub fn seed() -> [u8; 32] {
    let mut bytes = [0u8; 32];
    // SAFETY: the buffer is valid for its length. A request this small is never cut short once the
    // system has booted; a seed of zeroes would still make a valid handshake.
    unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    bytes
}

/// Bytes that nobody may guess, or none.
pub fn secret() -> io::Result<[u8; 32]> {
    let mut bytes = [0u8; 32];
    // SAFETY: the buffer is valid for its length.
    let n = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if n == bytes.len() as isize {
        Ok(bytes)
    } else {
        Err(io::Error::last_os_error())
    }
}
