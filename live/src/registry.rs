//! The streams of this worker, and who hears of their changes.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::{Rc, Weak};

use crate::change::Change;
use crate::host::{Call, Host};
use crate::key::Key;
use crate::settings::Settings;
use crate::stream::{Home, Stream};

type Observer = Rc<dyn Fn(&Rc<Stream>, Change)>;

/// The streams of one worker.
pub struct Registry(Rc<Worker>);

/// What the streams of a worker share.
struct Worker {
    host: Box<dyn Host>,
    /// The sockets that its streams read from and write to.
    sockets: Rc<Cell<usize>>,
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
                    worker.tell_all();
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
        let stream = Stream::new(key.clone(), settings.clone(), self.0.clone(), now);
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

impl Drop for Registry {
    fn drop(&mut self) {
        // a change that nobody was told of holds its stream, and that the worker
        drop(self.0.changes.take());
    }
}

impl Worker {
    fn tell_all(&self) {
        loop {
            let Some((stream, change)) = self.changes.borrow_mut().pop_front() else { return };
            stream.told(change);
            let observers = self.observers.borrow().clone();
            for observer in observers {
                observer(&stream, change);
            }
        }
    }
}

impl Home for Worker {
    fn host(&self) -> &dyn Host {
        &*self.host
    }

    fn sockets(&self) -> &Rc<Cell<usize>> {
        &self.sockets
    }

    fn tell(&self, stream: &Rc<Stream>, change: Change) {
        self.changes.borrow_mut().push_back((stream.clone(), change));
        self.tell.post();
    }

    fn forget(&self, key: &Key) {
        let mut streams = self.streams.borrow_mut();
        if streams.get(key).is_some_and(|stream| stream.strong_count() == 0) {
            streams.remove(key);
        }
    }
}
