//! Any bytes as an aggregate: all of its parts, which make up the whole, or one error.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rtmp_protocol::message::{aggregate, AGGREGATE};

fuzz_target!(|bytes: &[u8]| {
    let results: Vec<_> = aggregate(0xFFFF_FFF0, bytes).collect();
    if results.iter().any(Result::is_err) {
        assert_eq!(results.len(), 1);
        return;
    }
    let parts: Vec<_> = results.into_iter().map(Result::unwrap).collect();
    assert!(parts.first().is_none_or(|part| part.timestamp == 0xFFFF_FFF0));
    assert!(parts.iter().all(|part| part.kind != AGGREGATE));
    assert_eq!(parts.iter().map(|part| part.payload.len() + 15).sum::<usize>(), bytes.len());
});
