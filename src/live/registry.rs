//! The streams of this worker, and who hears of their changes.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::{Rc, Weak};

use crate::live::media::Kind;
use crate::live::stream::{Settings, Stream};
use crate::nginx::event::Event;

/// What names a stream: server, application, name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub server: Rc<str>,
    pub app: Rc<[u8]>,
    pub name: Rc<[u8]>,
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (app, name) = (String::from_utf8_lossy(&self.app), String::from_utf8_lossy(&self.name));
        write!(f, "{app}/{name}")
    }
}

/// Something that happened to a stream. It is told after the events of the loop turn, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A source went on air. `own` = not a relay's.
    Published { own: bool },
    /// The last source has gone.
    Unpublished,
    /// The first player came, or the last one left; relays that push are not players.
    Audience { some: bool },
    /// A sequence header came. `new` = there was none like it.
    Header { kind: Kind, new: bool },
    /// The first frame of audio or of video of the source on air came.
    Track,
    /// It is decided whether and where the stream is pulled.
    Decided,
}

type Observer = Rc<dyn Fn(&Rc<Stream>, Change)>;

thread_local! {
    static STREAMS: RefCell<HashMap<Key, Weak<Stream>>> = RefCell::new(HashMap::new());
    static OBSERVERS: RefCell<Vec<Observer>> = const { RefCell::new(Vec::new()) };
    static CHANGES: RefCell<VecDeque<(Rc<Stream>, Change)>> = const { RefCell::new(VecDeque::new()) };
    static TELL: Event = Event::new(tell_observers);
}

/// The stream of that key: the one that is there, or a new one.
pub fn stream(key: &Key, settings: &Settings) -> Rc<Stream> {
    if let Some(stream) = find(key) {
        return stream;
    }
    let stream = Stream::new(key.clone(), settings.clone());
    STREAMS.with_borrow_mut(|streams| streams.insert(key.clone(), Rc::downgrade(&stream)));
    stream
}

/// The stream of that key, if anybody publishes or plays it in this worker.
pub fn find(key: &Key) -> Option<Rc<Stream>> {
    STREAMS.with_borrow(|streams| streams.get(key).and_then(Weak::upgrade))
}

/// Calls `observer` for each change of any stream, as long as the worker lives.
pub fn observe(observer: impl Fn(&Rc<Stream>, Change) + 'static) {
    OBSERVERS.with_borrow_mut(|observers| observers.push(Rc::new(observer)));
}

/// Tells the observers of `change` after the events of this loop turn.
pub(super) fn changed(stream: &Rc<Stream>, change: Change) {
    if !stream.announces(change) {
        return;
    }
    CHANGES.with_borrow_mut(|changes| changes.push_back((stream.clone(), change)));
    TELL.with(Event::post);
}

fn tell_observers() {
    while let Some((stream, change)) = CHANGES.with_borrow_mut(VecDeque::pop_front) {
        stream.announced(change);
        let observers = OBSERVERS.with_borrow(Vec::clone);
        for observer in observers {
            observer(&stream, change);
        }
    }
}

/// Forgets a stream that nobody holds any more.
pub(super) fn forget(key: &Key) {
    STREAMS.with_borrow_mut(|streams| {
        if streams.get(key).is_some_and(|stream| stream.strong_count() == 0) {
            streams.remove(key);
        }
    });
}
