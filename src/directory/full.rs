//! The line of the log that says that the zone is full.

use super::key::decode;
use crate::nginx::log;
use crate::nginx::seldom::Seldom;

/// A full zone is reported once in so long.
const REPORT_MS: u64 = 60_000;

thread_local! {
    static REPORTED: Seldom = const { Seldom::every(REPORT_MS) };
}

/// Says that the zone is full.
pub(super) fn full(key: &[u8]) {
    if !REPORTED.with(Seldom::is_due) {
        return;
    }
    let name = decode(key).map(|key| key.to_string()).unwrap_or_default();
    log::error!(
        log::cycle(),
        "rtmp: \"rtmp_zone\" is full, other workers do not see \"{name}\" and maybe others; \
         make it larger"
    );
}
