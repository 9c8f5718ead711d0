//! The bytes that a media message becomes for a peer.

use rtmp_protocol::{chunk, flv, message};

use crate::media::{Kind, Media};

/// How a media message is put into bytes for a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// RTMP chunks: absolute timestamps, one message stream, so all peers take the same bytes.
    Rtmp { chunk_size: usize, stream_id: u32, to_publish: bool },
    /// FLV tags.
    Flv,
}

/// The name that makes a server keep metadata for later players (RTMP, section 7.1.3 data message).
const SET_DATA_FRAME: &[u8] = b"\x02\x00\x0d@setDataFrame";

impl Form {
    /// Whether it is for a server that is published to, which gets all that the source has said.
    pub fn is_to_publish(self) -> bool {
        matches!(self, Form::Rtmp { to_publish: true, .. })
    }

    /// Hands the encoding of `media` to `put`, piece by piece.
    pub fn encode(&self, media: &Media<'_>, put: impl FnMut(&[u8])) {
        match *self {
            Form::Rtmp { chunk_size, stream_id, to_publish } => {
                let header = chunk::Header {
                    csid: match media.kind {
                        Kind::Audio => message::CSID_AUDIO,
                        Kind::Video => message::CSID_VIDEO,
                        Kind::Data => message::CSID_STATUS,
                    },
                    timestamp: media.timestamp,
                    kind: media.kind.message_type(),
                    stream_id,
                };
                if to_publish && media.is_metadata() {
                    let wrapped = [SET_DATA_FRAME, media.payload].concat();
                    chunk::encode(&header, &wrapped, chunk_size, put);
                } else {
                    chunk::encode(&header, media.payload, chunk_size, put);
                }
            }
            Form::Flv => {
                flv::encode(media.kind.message_type(), media.timestamp, media.payload, put)
            }
        }
    }

    /// Takes the payload of `len` bytes out of what `media` was encoded to.
    pub fn decode(&self, media: &Media<'_>, len: usize, encoded: &[u8], out: &mut Vec<u8>) {
        match *self {
            Form::Rtmp { chunk_size, stream_id, .. } => {
                let header = chunk::Header {
                    csid: message::CSID_VIDEO,
                    timestamp: media.timestamp,
                    kind: media.kind.message_type(),
                    stream_id,
                };
                for range in chunk::payload_ranges(&header, len, chunk_size) {
                    out.extend_from_slice(encoded.get(range).unwrap_or_default());
                }
            }
            Form::Flv => {
                let from = flv::TAG_HEADER;
                out.extend_from_slice(encoded.get(from..from + len).unwrap_or_default());
            }
        }
    }
}
