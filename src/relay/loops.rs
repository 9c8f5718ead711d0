//! Relays that lead back to where they came from.
//!
//! Each relay says how many there were before it, and which: a list of marks, one for each stream
//! and machine that it came through. Only the machine that made a mark knows it again.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::OnceLock;

use live::Key;

use crate::nginx::log;
use crate::nginx::random;
use crate::stream_request::{Refusal, StreamRequest};

/// Relays that a stream may come through. A cluster has two or three levels.
pub const MAX_HOPS: u32 = 8;
/// Characters of a mark.
const MARK: usize = 16;
/// The longest list of marks, with commas between them.
const MAX_VIA: usize = MAX_HOPS as usize * (MARK + 1);

static INSTANCE: OnceLock<[u8; 32]> = OnceLock::new();

/// Chooses what this nginx knows its marks by. Called in the master before it forks, so that all
/// workers of all generations know each other's.
pub fn init() {
    INSTANCE.get_or_init(random::seed);
}

fn mark(key: &Key) -> String {
    let mut hasher = DefaultHasher::new();
    INSTANCE.get_or_init(random::seed).hash(&mut hasher);
    key.hash(&mut hasher);
    format!("{:0MARK$x}", hasher.finish())
}

/// What a relay for the stream of `request` tells of those before it, and of itself.
pub fn via(request: &StreamRequest) -> Vec<u8> {
    let mark = mark(&request.key);
    match request.via.is_empty() {
        true => mark.into_bytes(),
        false => [request.via.as_slice(), b",", mark.as_bytes()].concat(),
    }
}

/// Whether a relay for the stream of `request` would be one too many.
pub fn is_spent(request: &StreamRequest) -> bool {
    request.hops >= MAX_HOPS || request.via.len() + 1 + MARK > MAX_VIA
}

/// Lets a client in unless it is a relay that has come through too many others, or through here.
pub fn admit(request: &StreamRequest) -> Result<(), Refusal> {
    let from = || String::from_utf8_lossy(&request.remote_addr);
    if request.hops > MAX_HOPS || request.via.len() > MAX_VIA {
        log::error!(
            log::cycle(),
            "rtmp: a relay of \"{}\" is refused, it has come through more than {MAX_HOPS} others, \
             client: {}",
            request.key,
            from()
        );
        return Err(Refusal::NotFound("too many relays"));
    }
    if !request.via.iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b',') {
        log::error!(
            log::cycle(),
            "rtmp: a relay of \"{}\" is refused, the marks of relays that it shows are none, \
             client: {}",
            request.key,
            from()
        );
        return Err(Refusal::NotFound("no marks of relays"));
    }
    let own = mark(&request.key);
    if request.via.split(|byte| *byte == b',').any(|mark| mark == own.as_bytes()) {
        log::error!(
            log::cycle(),
            "rtmp: a relay of \"{}\" is refused, it has come through here before: a loop, client: {}",
            request.key,
            from()
        );
        return Err(Refusal::NotFound("relays make a loop"));
    }
    Ok(())
}
