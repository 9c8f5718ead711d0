//! The line of the log that says that the zone is full.

use std::cell::Cell;

use super::key::decode;
use crate::nginx::clock;
use crate::nginx::log;

/// A full zone is reported once in so long.
const REPORT_MS: u64 = 60_000;

thread_local! {
    static REPORTED: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Says that the zone is full.
pub(super) fn full(key: &[u8]) {
    let now = clock::now();
    let quiet = REPORTED.get().is_some_and(|before| now.saturating_sub(before) < REPORT_MS);
    if quiet {
        return;
    }
    REPORTED.set(Some(now));
    let name = decode(key).map(|key| key.to_string()).unwrap_or_default();
    log::error!(
        log::cycle(),
        "rtmp: \"rtmp_zone\" is full, other workers do not see \"{name}\" and maybe others; \
         make it larger"
    );
}
