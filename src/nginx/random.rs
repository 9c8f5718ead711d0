//! Random bytes from the system.

/// Bytes that nobody can guess, for a handshake.
pub fn seed() -> [u8; 32] {
    let mut bytes = [0u8; 32];
    // SAFETY: the buffer is valid for its length. A request this small is never cut short once the
    // system has booted; a seed of zeroes would still make a valid handshake.
    unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    bytes
}
