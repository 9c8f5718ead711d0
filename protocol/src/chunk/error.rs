//! Why a chunk stream can't be read on.

use thiserror::Error;

/// Why a peer's chunk stream cannot be read on. None of them can be recovered from.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum ChunkError {
    #[error("chunk stream {csid} is one more than the {max} that are allowed")]
    ChunkStream { csid: u32, max: u32 },
    #[error("message of {length} bytes on chunk stream {csid}, more than {max}")]
    MessageTooLarge { csid: u32, length: usize, max: usize },
    #[error("length changed from {from} to {to} within a message on chunk stream {csid}")]
    LengthChanged { csid: u32, from: u32, to: u32 },
    #[error("type changed from {from} to {to} within a message on chunk stream {csid}")]
    KindChanged { csid: u32, from: u8, to: u8 },
    #[error("timestamp changed from {from} to {to} within a message on chunk stream {csid}")]
    TimestampChanged { csid: u32, from: u32, to: u32 },
    #[error("message stream changed from {from} to {to} within a message on chunk stream {csid}")]
    StreamIdChanged { csid: u32, from: u32, to: u32 },
    #[error("chunk size {0}, neither 0 nor the top bit is allowed")]
    ChunkSize(u32),
    #[error("first chunk of chunk stream {csid} has no header")]
    NoPreviousChunk { csid: u32 },
    #[error("unfinished messages hold {bytes} bytes, more than {max}")]
    TooManyPartialBytes { bytes: usize, max: usize },
    #[error("message of {length} bytes on chunk stream {csid} takes more than {max} chunks")]
    TooManyChunks { csid: u32, length: u32, max: usize },
}
