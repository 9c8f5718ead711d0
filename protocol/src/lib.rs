//! RTMP and FLV on the wire, and the urls of streams, sans-io: bytes in, values out.
//!
//! Nothing here knows a socket, a clock, a file or a random number generator; what an RTMP server,
//! relay or load generator needs of them is passed in. No input makes it panic, and nothing is
//! allocated because a peer declared a size: memory grows with bytes that arrived, under limits
//! that are named constants or parameters.
//!
//! | module | what | after |
//! |---|---|---|
//! | [`handshake`] | C0–S2, simple and digest, both roles | RTMP 1.0 section 5.2 |
//! | [`chunk`] | chunk stream reader and writer | RTMP 1.0 section 5.3, 5.4.1, 5.4.2 |
//! | [`renumber`] | media for another message stream | RTMP 1.0 section 5.3.1.2 |
//! | [`message`] | type ids, control messages, aggregates | RTMP 1.0 section 5.4, 6.2, 7.1.6 |
//! | [`amf0`] | the values in commands and metadata | AMF 0 (2007) |
//! | [`command`] | connect, statuses, typed views of commands | RTMP 1.0 section 7.2, Enhanced RTMP v2 |
//! | [`control`] | acknowledgements and pongs, both roles | RTMP 1.0 section 5.4.3, 5.4.4, 7.1.7 |
//! | [`flv`] | FLV file header and tags | FLV 10.1 Annex E.2–E.4.1 |
//! | [`codec`] | sequence header, key frame or other, of one media message | FLV 10.1 Annex E.4.2–E.4.3, Enhanced RTMP v2 |
//! | [`timeline`] | what players see of their sources' timestamps | RTMP 1.0 section 5.3.1.3 |
//! | [`url`] | urls of streams, redirects | RFC 3986 |
//!
//! A reader takes what is there and says when it needs more; what it leaves over, always less than
//! a header, stands in front of the next bytes:
//!
//! ```
//! use rtmp_protocol::chunk::{self, ChunkReader, Header, Limits};
//! use rtmp_protocol::message::AUDIO;
//!
//! let mut sent = Vec::new();
//! let header = Header { csid: 6, timestamp: 40, kind: AUDIO, stream_id: 1 };
//! chunk::write(&mut sent, &header, &[0xAF, 1, 0x21], 4096);
//!
//! let mut reader = ChunkReader::new(Limits::default());
//! let mut pending = Vec::new();
//! for received in sent.chunks(5) {
//!     pending.extend_from_slice(received);
//!     let mut input = &pending[..];
//!     while let Some(message) = reader.read(&mut input)? {
//!         assert_eq!((message.kind, message.timestamp), (AUDIO, 40));
//!         assert_eq!(message.payload, [0xAF, 1, 0x21]);
//!     }
//!     let left = input.len();
//!     pending.drain(..pending.len() - left);
//! }
//! # assert!(pending.is_empty());
//! # Ok::<(), chunk::ChunkError>(())
//! ```

#![forbid(unsafe_code)]
#![warn(unreachable_pub)]
#![warn(missing_docs)]
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

pub mod amf0;
pub mod chunk;
pub mod codec;
pub mod command;
pub mod control;
pub mod flv;
pub mod handshake;
pub mod message;
pub mod renumber;
pub mod timeline;
pub mod url;

mod kinds;
mod wire;
