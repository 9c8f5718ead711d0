//! What a peer may make a reader hold.

/// How many times `max_message` may lie in unfinished messages of one session: audio, video, data and
/// a command may be interleaved.
const PARTIAL_MESSAGES: usize = 4;
/// Beyond so many bytes, no more than one of the longest, and what is interleaved with it.
const MANY_BYTES: usize = 16 << 20;
/// What may be interleaved with it, in bytes: seconds of audio.
const BESIDE: usize = 1 << 20;

/// What a peer may ask of a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many chunk streams the peer may use, whatever their ids are.
    pub max_streams: u32,
    /// The longest message, in bytes; [`Limits::max_partial`] follows from it.
    pub max_message: usize,
}

impl Limits {
    /// What may lie in unfinished messages of a session, in bytes: four of the longest messages, or
    /// where that is more than 16 MiB, one and 1 MiB.
    pub fn max_partial(&self) -> usize {
        let one = self.max_message.saturating_add(BESIDE);
        self.max_message.saturating_mul(PARTIAL_MESSAGES).min(one.max(MANY_BYTES))
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_streams: 32, max_message: 16 * 1024 * 1024 }
    }
}
