//! Reading big-endian fields off the front of a slice, and a buffer for what is not whole yet.

/// A slice that is read from the front; every read says `None` when there is not enough.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(n)?;
        self.0 = tail;
        Some(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk()?;
        self.0 = tail;
        Some(*head)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u24(&mut self) -> Option<u32> {
        self.array().map(u24)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }
}

/// A 24-bit big-endian number.
pub(crate) fn u24([a, b, c]: [u8; 3]) -> u32 {
    u32::from_be_bytes([0, a, b, c])
}

/// The low 24 bits of `n`, big-endian.
pub(crate) fn u24_bytes(n: u32) -> [u8; 3] {
    let [_, a, b, c] = n.to_be_bytes();
    [a, b, c]
}

/// What a buffer may keep between messages: above it a rare key frame would pin memory for as long
/// as the session lives.
const KEEP: usize = 64 * 1024;

/// Appends `part` of a body of `declared` bytes. The capacity grows with what has arrived, by
/// doubling, and never beyond the body.
pub(crate) fn append(buffer: &mut Vec<u8>, part: &[u8], declared: usize) {
    let need = buffer.len().saturating_add(part.len());
    if need > buffer.capacity() {
        let target = buffer.capacity().saturating_mul(2).min(declared).max(need);
        buffer.reserve_exact(target.saturating_sub(buffer.len()));
    }
    buffer.extend_from_slice(part);
}

/// Empties a buffer for the next body.
pub(crate) fn recycle(buffer: &mut Vec<u8>) {
    if buffer.capacity() > KEEP {
        *buffer = Vec::new();
    } else {
        buffer.clear();
    }
}
