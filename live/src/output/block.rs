//! A block of bytes that is written once, front to back, and read by many meanwhile.

use std::cell::{Cell, UnsafeCell};
use std::mem::MaybeUninit;

/// A fixed number of bytes, filled by appending. What is filled never changes or moves, so players
/// and nginx's output chains may point into it while it is filled further.
pub struct Block {
    bytes: Box<[UnsafeCell<MaybeUninit<u8>>]>,
    len: Cell<usize>,
}

impl Block {
    /// An empty block for `capacity` bytes.
    pub fn new(capacity: usize) -> Self {
        let bytes = Box::<[UnsafeCell<MaybeUninit<u8>>]>::new_uninit_slice(capacity);
        // SAFETY: a cell of MaybeUninit is valid whatever its bytes are.
        let bytes = unsafe { bytes.assume_init() };
        Block { bytes, len: Cell::new(0) }
    }

    /// Appends as much of `data` as there is room for, and says how much that was.
    pub fn append(&self, data: &[u8]) -> usize {
        let len = self.len.get();
        let n = data.len().min(self.bytes.len() - len);
        // SAFETY: len..len + n lies in the box and behind every slice that `filled` gave out.
        unsafe {
            let to = UnsafeCell::raw_get(self.bytes.as_ptr().add(len)).cast::<u8>();
            std::ptr::copy_nonoverlapping(data.as_ptr(), to, n);
        }
        self.len.set(len + n);
        n
    }

    /// The bytes appended so far.
    pub fn filled(&self) -> &[u8] {
        // SAFETY: the first len bytes are written, and are never written again.
        unsafe {
            let from = UnsafeCell::raw_get(self.bytes.as_ptr()).cast::<u8>();
            std::slice::from_raw_parts(from, self.len.get())
        }
    }

    /// How many bytes it can hold.
    pub fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing more fits.
    pub fn is_full(&self) -> bool {
        self.len.get() == self.bytes.len()
    }

    /// Makes the block empty again; nobody else can be reading, since it is borrowed alone.
    pub fn clear(&mut self) {
        self.len.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::Block;

    #[test]
    fn takes_as_much_as_there_is_room_for() {
        let block = Block::new(4);
        assert_eq!((block.append(b"abc"), block.is_full()), (3, false));
        assert_eq!((block.append(b"de"), block.is_full()), (1, true));
        assert_eq!(block.append(b"f"), 0);
        assert_eq!(block.filled(), b"abcd");
    }

    #[test]
    fn what_is_filled_stays_where_it_is() {
        let block = Block::new(8);
        block.append(b"abc");
        let before = block.filled();
        block.append(b"defgh");
        assert_eq!((before, block.filled()), (&b"abc"[..], &b"abcdefgh"[..]));
        assert_eq!(before.as_ptr(), block.filled().as_ptr());
    }

    #[test]
    fn a_cleared_block_is_filled_from_the_front_again() {
        let mut block = Block::new(3);
        block.append(b"abc");
        block.clear();
        assert_eq!((block.filled(), block.is_full()), (&b""[..], false));
        assert_eq!(block.append(b"xyz"), 3);
        assert_eq!(block.filled(), b"xyz");
    }

    #[test]
    fn a_block_of_no_bytes_is_full() {
        let block = Block::new(0);
        assert!(block.is_full());
        assert_eq!((block.append(b"a"), block.capacity()), (0, 0));
        assert_eq!(block.filled(), b"");
    }
}
