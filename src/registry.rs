//! The streams of this worker, on nginx's event loop.

use std::fmt::Arguments;
use std::rc::Rc;

use live::{Call, Change, Host, Key, Registry, Settings, Stream};

use crate::nginx::clock;
use crate::nginx::event::Event;
use crate::nginx::log;

thread_local! {
    static STREAMS: Registry = Registry::new(Loop);
}

/// The stream of that key: the one that is there, or a new one.
pub fn stream(key: &Key, settings: &Settings) -> Rc<Stream> {
    STREAMS.with(|all| all.stream(key, settings, clock::now()))
}

/// The stream of that key, if anybody publishes or plays it in this worker.
pub fn find(key: &Key) -> Option<Rc<Stream>> {
    STREAMS.with(|all| all.find(key))
}

/// Calls `observer` for each change of any stream, as long as the worker lives.
pub fn observe(observer: impl Fn(&Rc<Stream>, Change) + 'static) {
    STREAMS.with(|all| all.observe(observer));
}

/// nginx's event loop.
struct Loop;

impl Host for Loop {
    fn call(&self, run: Box<dyn Fn(u64)>) -> Box<dyn Call> {
        Box::new(Event::new(move || run(clock::now())))
    }

    fn warn(&self, line: Arguments<'_>) {
        log::warning!(log::cycle(), "rtmp: {line}");
    }
}

impl Call for Event {
    fn post(&self) {
        Event::post(self);
    }

    fn post_next(&self) {
        Event::post_next(self);
    }

    fn is_posted(&self) -> bool {
        Event::is_posted(self)
    }

    fn set_timer(&self, ms: u64) {
        Event::set_timer(self, ms);
    }

    fn cancel(&self) {
        Event::cancel(self);
    }
}
