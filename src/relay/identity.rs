//! In whose name an origin is asked, as a number.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use super::configured::Configured;
use super::scheduled::Scheduled;
use crate::stream_request::StreamRequest;

thread_local! {
    /// The key of the hash is secret, so that no player can make another one's number.
    static HASHER: RandomState = RandomState::new();
}

/// What an origin, or a scheduler, is told in the name of `request`, as a number.
pub fn identity(request: &StreamRequest) -> u64 {
    HASHER.with(|hasher| {
        let mut hasher = hasher.build_hasher();
        if let Some(callback) = &request.app.oclp.pull {
            Scheduled(callback.clone()).told(request).hash(&mut hasher);
        } else if let Some(line) = &request.app.relay.pull {
            let targets = Configured { line: line.clone(), pull: true }.targets(request);
            targets.iter().for_each(|target| target.told().hash(&mut hasher));
        }
        hasher.finish()
    })
}
