//! Any publishers, players and settings: each player gets what it can play, in the order of time, and
//! what is held stays bounded.

#![no_main]

#[path = "../../live/tests/sim/mod.rs"]
mod sim;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| sim::chaos::run(bytes));
