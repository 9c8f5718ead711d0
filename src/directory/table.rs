//! The lists of members in the zone.

use shared_table::{Class, Full};

use super::member::Members;
use crate::nginx::zone;

/// Changes the members of `key` in one step. What no player can name may be of `class` reserved
/// even without a source.
pub(super) fn update<R>(
    key: &[u8],
    class: Class,
    f: impl FnOnce(&mut Members) -> R,
) -> Result<R, Full> {
    zone::update(key, |value| {
        let mut members = Members::decode(value);
        let result = f(&mut members);
        let own = members.encode(value);
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
        let mut members = Members::decode(value);
        if members.lose_source(&gone) {
            lost.push(key.to_vec());
        }
        members.forget(&gone);
        members.encode(value)
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
        let members = Members::decode(value);
        pids.extend(members.pids());
        members.encode(value)
    });
    pids
}

/// A key of members begins with the length of a server's name, which is never that long: other
/// values have keys that begin with a letter.
fn is_list(key: &[u8]) -> bool {
    key.first() == Some(&0)
}
