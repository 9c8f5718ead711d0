//! Any bytes as an aggregate: its parts, which make up the whole, or one error behind them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rtmp_protocol::message::{aggregate, AGGREGATE};

fuzz_target!(|bytes: &[u8]| {
    let mut results: Vec<_> = aggregate(0xFFFF_FFF0, bytes).collect();
    let broken = results.pop_if(|last| last.is_err()).is_some();
    // nothing comes behind an error
    let parts: Vec<_> = results.into_iter().map(Result::unwrap).collect();
    assert!(parts.first().is_none_or(|part| part.timestamp == 0xFFFF_FFF0));
    assert!(parts.iter().all(|part| part.kind != AGGREGATE));
    // the last one may lack its back pointer
    let used = parts.iter().map(|part| part.payload.len() + 15).sum::<usize>();
    let (least, most) = if broken { (0, bytes.len()) } else { (bytes.len(), bytes.len() + 4) };
    assert!((least..=most).contains(&used));
});
