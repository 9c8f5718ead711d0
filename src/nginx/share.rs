//! What of one peer's input is handled in one turn of the event loop.
//!
//! Reads are bounded, but a message may be one byte long, and a read then brings thousands of them.
//! Each one costs time whatever its length is, so they are counted too. The rest waits for the
//! next turn, behind the input of all others.

use std::cell::Cell;

/// What is read of a peer at once, in bytes: a merged write of a fast stream.
pub const READ_BUFFER: usize = 64 * 1024;
/// Reads of one peer in a turn.
pub const READS_A_TURN: u32 = 16;
/// Messages of one peer in a turn: more than ten seconds of a stream, some 0.2 ms of work.
const MESSAGES_A_TURN: u32 = 1024;
/// What a message that has to be answered counts for, as its answer may be a write of its own.
pub const ANSWERED: u32 = 16;
/// Chunks that cost as much as a message. A long message may come in chunks of one byte.
const CHUNKS_A_MESSAGE: u32 = 16;

/// What one peer may still have handled in this turn.
pub struct Share(Cell<u32>);

impl Default for Share {
    fn default() -> Self {
        Share(Cell::new(MESSAGES_A_TURN))
    }
}

impl Share {
    /// A new turn begins.
    pub fn renew(&self) {
        self.0.set(MESSAGES_A_TURN);
    }

    /// A message was handled that counts for so many.
    pub fn take(&self, messages: u32) {
        self.0.set(self.0.get().saturating_sub(messages));
    }

    /// So many chunks were read.
    pub fn take_chunks(&self, chunks: u32) {
        self.take(chunks / CHUNKS_A_MESSAGE);
    }

    /// Whether the rest has to wait for the next turn.
    pub fn is_used_up(&self) -> bool {
        self.0.get() == 0
    }
}
