//! What the engine asks of the event loop that it runs on.

use std::fmt::Arguments;

/// The event loop of a worker.
pub trait Host {
    /// A call of `run` that the engine may ask for; none is due at first. `run` is given the time, in
    /// milliseconds of a clock that never goes back.
    fn call(&self, run: Box<dyn Fn(u64)>) -> Box<dyn Call>;
    /// Writes a line to the log: something is not as it should be.
    fn warn(&self, line: Arguments<'_>);
}

/// A call that can be asked for, once at a time. Dropped, it is not made any more.
pub trait Call {
    /// Makes it after the events of this turn of the loop.
    fn post(&self);
    /// Makes it in the next turn, after new input was looked at.
    fn post_next(&self);
    /// Whether either was asked for, and the call is not made yet.
    fn is_posted(&self) -> bool;
    /// Makes it in `ms` milliseconds; a later call moves the time.
    fn set_timer(&self, ms: u64);
    /// Makes it at no time.
    fn cancel(&self);
}
