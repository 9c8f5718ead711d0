//! Chunk streams: messages cut into chunks and interleaved (RTMP 1.0 section 5.3).

mod error;
mod header;
mod limits;
mod reader;
mod stream;
mod writer;

pub(crate) use header::basic_len;

pub use error::ChunkError;
pub use header::{DEFAULT_CHUNK_SIZE, MAX_HEADER, MAX_MESSAGE};
pub use limits::Limits;
pub use reader::{ChunkReader, Message};
pub use writer::{encode, encoded_len, payload_ranges, write, Header};
