//! What a worker says of a key, and how that is written into the zone.

use shared_table::{Class, Full};

use crate::nginx::zone;

/// What a worker says of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) pid: i32,
    /// Clients from outside that it serves.
    pub(super) clients: u32,
    /// The priority of its source; [`NO_SOURCE`] = it has none.
    pub(super) source: i32,
    /// Whether the worker is told when sources come and go.
    pub(super) interested: u32,
    /// Whether those who ask for it are told that the key goes on; 0 or 1.
    pub(super) updates: u32,
}

/// [`Member::source`] of a worker that has none.
pub(super) const NO_SOURCE: i32 = i32::MIN;

/// Bytes of a member in the zone.
const SIZE: usize = 20;

impl Member {
    /// A worker that has nothing to do with the key yet.
    pub(super) fn new(pid: i32) -> Self {
        Member { pid, clients: 0, source: NO_SOURCE, interested: 0, updates: 0 }
    }

    fn is_idle(&self) -> bool {
        self.clients == 0 && self.source == NO_SOURCE && self.interested == 0
    }

    fn encode(&self) -> [u8; SIZE] {
        let words = [
            self.pid.to_le_bytes(),
            self.clients.to_le_bytes(),
            self.source.to_le_bytes(),
            self.interested.to_le_bytes(),
            self.updates.to_le_bytes(),
        ];
        let mut bytes = [0; SIZE];
        for (to, word) in bytes.chunks_exact_mut(4).zip(words) {
            to.copy_from_slice(&word);
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut words = bytes.chunks_exact(4).filter_map(|word| <[u8; 4]>::try_from(word).ok());
        let mut word = || words.next();
        Some(Member {
            pid: i32::from_le_bytes(word()?),
            clients: u32::from_le_bytes(word()?),
            source: i32::from_le_bytes(word()?),
            interested: u32::from_le_bytes(word()?),
            updates: u32::from_le_bytes(word()?),
        })
    }
}

fn decode(value: &[u8]) -> Vec<Member> {
    value.chunks_exact(SIZE).filter_map(Member::decode).collect()
}

/// The members that are not idle, and what room they may take: a source is never kept out by what
/// players ask for.
fn encode(value: &mut Vec<u8>, members: &[Member]) -> Class {
    value.clear();
    for member in members.iter().filter(|member| !member.is_idle()) {
        value.extend_from_slice(&member.encode());
    }
    match members.iter().any(|member| member.source != NO_SOURCE) {
        true => Class::Reserved,
        false => Class::Open,
    }
}

/// Changes the members of `key` in one step. What no player can name may be of `class` reserved
/// even without a source.
pub(super) fn update<R>(
    key: &[u8],
    class: Class,
    f: impl FnOnce(&mut Vec<Member>) -> R,
) -> Result<R, Full> {
    zone::update(key, |value| {
        let mut members = decode(value);
        let result = f(&mut members);
        let own = encode(value, &members);
        (result, if class == Class::Reserved { class } else { own })
    })
}

/// Takes the workers that `gone` picks out of every list, and gives the keys they had a source of.
pub(super) fn purge(gone: impl Fn(i32) -> bool) -> Vec<Vec<u8>> {
    let mut lost = Vec::new();
    zone::update_all(|key, value| {
        if !is_list(key) {
            return Class::Reserved;
        }
        let mut members = decode(value);
        if members.iter().any(|member| member.source != NO_SOURCE && gone(member.pid)) {
            lost.push(key.to_vec());
        }
        members.retain(|member| !gone(member.pid));
        encode(value, &members)
    });
    lost
}

/// The ids of all workers in a list.
pub(super) fn workers() -> Vec<i32> {
    let mut pids = Vec::new();
    zone::update_all(|key, value| {
        if !is_list(key) {
            return Class::Reserved;
        }
        let members = decode(value);
        pids.extend(members.iter().map(|member| member.pid));
        encode(value, &members)
    });
    pids
}

/// A key of members begins with the length of a server's name, which is never that long: other
/// values have keys that begin with a letter.
fn is_list(key: &[u8]) -> bool {
    key.first() == Some(&0)
}
