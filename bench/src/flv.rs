//! Which messages are coded AVC and AAC.

pub use rtmp_protocol::message::{AUDIO, DATA, VIDEO};

/// Sound format and AAC packet type.
pub const AAC_HEADER: usize = 2;
/// Frame type and codec, AVC packet type, composition time.
pub const AVC_HEADER: usize = 5;

const AAC: u8 = 10;
const AVC: u8 = 7;
const SEQUENCE_HEADER: u8 = 0;
const CODED: u8 = 1;
const KEY_FRAME: u8 = 1;

/// Does it hold coded AVC or AAC? `head` may be its first bytes only.
pub fn is_coded(kind: u8, head: &[u8]) -> bool {
    packet_type(kind, head) == Some(CODED)
}

pub fn is_sequence_header(kind: u8, head: &[u8]) -> bool {
    packet_type(kind, head) == Some(SEQUENCE_HEADER)
}

pub fn is_key_frame(kind: u8, head: &[u8]) -> bool {
    kind == VIDEO && head.first().is_some_and(|byte| byte >> 4 == KEY_FRAME)
}

fn packet_type(kind: u8, head: &[u8]) -> Option<u8> {
    let (first, second) = (*head.first()?, *head.get(1)?);
    match kind {
        AUDIO if first >> 4 == AAC => Some(second),
        VIDEO if first & 0x0f == AVC => Some(second),
        _ => None,
    }
}
