//! The edge that no panic crosses.

use std::any::Any;
use std::panic::{catch_unwind, AssertUnwindSafe};

use crate::nginx::log;

/// Runs `f`, which nginx called, and gives `None` if it panicked.
///
/// Unwinding into C is undefined, and aborting would take a worker's thousand other sessions
/// along, so a panic ends here with one alert; the caller ends the session it was working for.
pub fn guard<R>(what: &str, f: impl FnOnce() -> R) -> Option<R> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(value) => Some(value),
        Err(panic) => {
            log::alert!(log::cycle(), "rtmp: panic in {what}: {}", message(panic.as_ref()));
            None
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&str>() {
        text
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text
    } else {
        "unknown"
    }
}
