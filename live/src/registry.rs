//! The streams of this worker, and who hears of their changes.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::{Rc, Weak};

use crate::host::{Call, Host};
use crate::media::Kind;
use crate::settings::Settings;
use crate::stream::Stream;

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

/// The streams of one worker.
pub struct Registry(Rc<Worker>);

/// What the streams of a worker share.
pub(super) struct Worker {
    pub host: Box<dyn Host>,
    /// The sockets that its streams read from and write to.
    pub sockets: Rc<Cell<usize>>,
    streams: RefCell<HashMap<Key, Weak<Stream>>>,
    observers: RefCell<Vec<Observer>>,
    changes: RefCell<VecDeque<(Rc<Stream>, Change)>>,
    tell: Box<dyn Call>,
}

impl Registry {
    /// None so far, in a worker whose event loop is `host`.
    pub fn new(host: impl Host + 'static) -> Self {
        Registry(Rc::new_cyclic(|worker: &Weak<Worker>| {
            let worker = worker.clone();
            let tell = host.call(Box::new(move |_| {
                if let Some(worker) = worker.upgrade() {
                    worker.tell();
                }
            }));
            Worker {
                host: Box::new(host),
                sockets: Rc::default(),
                streams: RefCell::default(),
                observers: RefCell::default(),
                changes: RefCell::default(),
                tell,
            }
        }))
    }

    /// The stream of that key: the one that is there, or a new one at time `now` (ms).
    pub fn stream(&self, key: &Key, settings: &Settings, now: u64) -> Rc<Stream> {
        if let Some(stream) = self.find(key) {
            return stream;
        }
        let stream = Stream::new(key.clone(), settings.clone(), &self.0, now);
        self.0.streams.borrow_mut().insert(key.clone(), Rc::downgrade(&stream));
        stream
    }

    /// The stream of that key, if anybody publishes or plays it in this worker.
    pub fn find(&self, key: &Key) -> Option<Rc<Stream>> {
        self.0.streams.borrow().get(key).and_then(Weak::upgrade)
    }

    /// Calls `observer` for each change of any stream, as long as the worker lives.
    pub fn observe(&self, observer: impl Fn(&Rc<Stream>, Change) + 'static) {
        self.0.observers.borrow_mut().push(Rc::new(observer));
    }
}

impl Worker {
    /// Tells the observers of `change` after the events of this loop turn.
    pub fn changed(&self, stream: &Rc<Stream>, change: Change) {
        if !stream.announces(change) {
            return;
        }
        self.changes.borrow_mut().push_back((stream.clone(), change));
        self.tell.post();
    }

    fn tell(&self) {
        loop {
            let Some((stream, change)) = self.changes.borrow_mut().pop_front() else { return };
            stream.announced(change);
            let observers = self.observers.borrow().clone();
            for observer in observers {
                observer(&stream, change);
            }
        }
    }

    /// Forgets a stream that nobody holds any more.
    pub fn forget(&self, key: &Key) {
        let mut streams = self.streams.borrow_mut();
        if streams.get(key).is_some_and(|stream| stream.strong_count() == 0) {
            streams.remove(key);
        }
    }
}
