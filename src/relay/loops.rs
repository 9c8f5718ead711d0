//! Relays that lead back to where they came from.
//!
//! Each relay says how many there were before it, and which: a list of marks, one for each stream
//! and machine that it came through. Only the machine that made a mark knows it again.

use std::fmt;
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
    append(&request.caller.via, &mark(&request.key))
}

fn append(via: &[u8], mark: &str) -> Vec<u8> {
    match via.is_empty() {
        true => mark.as_bytes().to_vec(),
        false => [via, b",", mark.as_bytes()].concat(),
    }
}

/// Whether a relay for the stream of `request` would be one too many.
pub fn is_spent(request: &StreamRequest) -> bool {
    has_no_room(request.caller.hops, &request.caller.via)
}

fn has_no_room(hops: u32, via: &[u8]) -> bool {
    hops >= MAX_HOPS || via.len() + 1 + MARK > MAX_VIA
}

/// Why a relay is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It has come through too many others.
    TooMany,
    /// What it shows is no list of marks.
    NoMarks,
    /// It has come through here.
    Loop,
}

impl Fault {
    /// What is wrong with a client that came through `hops` relays and shows `via`, where `own` is this
    /// machine's mark for the stream.
    fn of(hops: u32, via: &[u8], own: &str) -> Option<Self> {
        if hops > MAX_HOPS || via.len() > MAX_VIA {
            return Some(Fault::TooMany);
        }
        if !via.iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b',') {
            return Some(Fault::NoMarks);
        }
        let came_through = via.split(|byte| *byte == b',').any(|mark| mark == own.as_bytes());
        came_through.then_some(Fault::Loop)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::TooMany => write!(f, "it has come through more than {MAX_HOPS} others"),
            Fault::NoMarks => f.write_str("the marks of relays that it shows are none"),
            Fault::Loop => f.write_str("it has come through here before: a loop"),
        }
    }
}

impl std::error::Error for Fault {}

/// Lets a client in unless it is a relay that has come through too many others, or through here.
pub fn admit(request: &StreamRequest) -> Result<(), Refusal> {
    let Some(fault) = Fault::of(request.caller.hops, &request.caller.via, &mark(&request.key))
    else {
        return Ok(());
    };
    log::error!(
        log::cycle(),
        "*{} rtmp: a relay of \"{}\" is refused, {fault}, client: {}",
        request.caller.connection,
        request.key,
        String::from_utf8_lossy(&request.caller.remote_addr)
    );
    Err(Refusal::NotFound(match fault {
        Fault::TooMany => "too many relays",
        Fault::NoMarks => "no marks of relays",
        Fault::Loop => "relays make a loop",
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key { server: "s".into(), app: b"live".as_slice().into(), name: name.as_bytes().into() }
    }

    #[test]
    fn a_mark_is_the_streams_and_always_the_same() {
        assert_eq!(mark(&key("a")), mark(&key("a")));
        assert_ne!(mark(&key("a")), mark(&key("b")));
        assert_eq!(mark(&key("a")).len(), MARK);
    }

    #[test]
    fn marks_are_listed_with_commas() {
        assert_eq!(append(b"", "0123"), b"0123");
        assert_eq!(append(b"0123", "4567"), b"0123,4567");
    }

    #[test]
    fn a_client_that_is_no_relay_is_let_in() {
        assert_eq!(Fault::of(0, b"", &mark(&key("a"))), None);
    }

    #[test]
    fn one_who_came_through_here_makes_a_loop() {
        let own = mark(&key("a"));
        let via = append(&append(b"0123456789abcdef", &own), "fedcba9876543210");
        assert_eq!(Fault::of(3, &via, &own), Some(Fault::Loop));
        // for another stream it may have
        assert_eq!(Fault::of(3, &via, &mark(&key("b"))), None);
    }

    #[test]
    fn a_part_of_a_mark_is_none() {
        let own = mark(&key("a"));
        assert_eq!(Fault::of(1, &own.as_bytes()[1..], &own), None);
    }

    #[test]
    fn as_many_relays_as_there_may_be_are_let_in_and_make_no_more() {
        let via = (0..MAX_HOPS).fold(Vec::new(), |via, _| append(&via, "0123456789abcdef"));
        assert_eq!(Fault::of(MAX_HOPS, &via, &mark(&key("a"))), None);
        assert!(has_no_room(MAX_HOPS, b""));
        assert!(has_no_room(1, &via));
        assert!(!has_no_room(MAX_HOPS - 1, b""));
        assert_eq!(Fault::of(MAX_HOPS + 1, b"", ""), Some(Fault::TooMany));
        assert_eq!(Fault::of(1, &[b'0'; MAX_VIA + 1], ""), Some(Fault::TooMany));
    }

    #[test]
    fn what_no_relay_writes_is_refused() {
        for via in [b"xyz".as_slice(), b"12 34", b"12\r\n34", b"\xff"] {
            assert_eq!(Fault::of(1, via, "0"), Some(Fault::NoMarks), "{via:?}");
        }
    }
}
