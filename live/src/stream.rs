//! One stream: who publishes and plays it, and when what came is sent.

pub(crate) mod publication;
pub(crate) mod subscription;

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use crate::change::{Announced, Change};
use crate::cost::Held;
use crate::host::{Call, Host};
use crate::key::Key;
use crate::pace::Sockets;
use crate::settings::Settings;
use crate::sink::{End, Ended};
use crate::sources::Publishing;
use crate::state::State;

/// The worker's registry, as its streams see it.
pub(crate) trait Home {
    /// The event loop.
    fn host(&self) -> &dyn Host;
    /// The sum of the sockets that the worker's streams read from and write to.
    fn sockets(&self) -> &Rc<Cell<usize>>;
    /// Has the observers told of `change` after the events of this loop turn.
    fn tell(&self, stream: &Rc<Stream>, change: Change);
    /// Nobody holds the stream of this key any more.
    fn forget(&self, key: &Key);
}

/// A stream: an append-only log of packets with cursors on it.
pub struct Stream {
    key: Key,
    settings: Settings,
    home: Rc<dyn Home>,
    state: RefCell<State>,
    flush: Box<dyn Call>,
    /// A flush is due: the call is posted or its timer runs.
    flush_due: Cell<bool>,
    /// A flush when players have waited for long enough for the tracks that the source announces.
    probe: Box<dyn Call>,
    sockets: Sockets,
    /// It was said whether and where the stream is to be had, as long as nobody publishes it.
    decided: Cell<bool>,
    /// Subscribers that left while the engine was at work on them.
    left: RefCell<Vec<u64>>,
    announced: Announced,
    /// What was appended since the last flush, in what it costs.
    unflushed: Cell<u64>,
}

impl Stream {
    pub(crate) fn new(key: Key, settings: Settings, home: Rc<dyn Home>, now: u64) -> Rc<Self> {
        Rc::new_cyclic(|this: &Weak<Stream>| {
            let flush = || {
                let this = this.clone();
                home.host().call(Box::new(move |now| {
                    if let Some(stream) = this.upgrade() {
                        stream.flush(now);
                    }
                }))
            };
            Stream {
                key,
                flush: flush(),
                flush_due: Cell::new(false),
                probe: flush(),
                sockets: Sockets::new(home.sockets()),
                decided: Cell::new(false),
                left: RefCell::default(),
                announced: Announced::default(),
                unflushed: Cell::new(0),
                state: RefCell::new(State::new(&settings, now)),
                home,
                settings,
            }
        })
    }

    /// The stream's name.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Whether a source is on air.
    pub fn on_air(&self) -> bool {
        self.state.borrow().sources.any_on_air()
    }

    /// The priority of the source on air.
    pub fn priority(&self) -> Option<i32> {
        self.state.borrow().sources.on_air().map(Publishing::priority)
    }

    /// What the stream holds, in what it costs.
    pub fn held(&self) -> Held {
        self.state.borrow().held()
    }

    /// How many players there are.
    pub fn players(&self) -> usize {
        self.state.borrow().cursors.players()
    }

    /// Whether frames of audio and of video came from the source on air, or from the last one that
    /// was.
    pub fn tracks(&self) -> (bool, bool) {
        self.state.borrow().sources.tracks.have_frames()
    }

    /// When the first of those frames came, in milliseconds.
    pub fn first_frame(&self) -> Option<u64> {
        self.state.borrow().sources.tracks.first_frame()
    }

    /// Notes that players need not wait any longer to hear whether the stream is to be had.
    pub fn set_decided(self: &Rc<Self>) {
        if !self.decided.replace(true) {
            self.tell(Change::Decided);
        }
    }

    /// Whether that was said since there was a source last.
    pub fn is_decided(&self) -> bool {
        self.decided.get()
    }

    /// Asks every player to leave: there is no source, and none is to come.
    pub fn end_players(&self, why: &'static str) {
        let players: Vec<_> = {
            let state = self.state.borrow();
            let players = state.cursors.iter().filter(|cursor| cursor.player);
            players.map(|cursor| cursor.sink.clone()).collect()
        };
        for sink in players {
            sink.end(End::NotFound(why));
        }
    }

    /// Has the observers told of `change`, unless they are to be told of one like it.
    fn tell(self: &Rc<Self>, change: Change) {
        if self.announced.begin(change) {
            self.home.tell(self, change);
        }
    }

    /// The observers are told of `change` now.
    pub(crate) fn told(&self, change: Change) {
        self.announced.end(change);
    }

    // ---- when to flush ----

    fn flush_soon(&self, now: u64) {
        if self.flush_due.replace(true) {
            return;
        }
        match self.window(now) {
            0 => self.flush.post(),
            ms => self.flush.set_timer(ms),
        }
    }

    /// Sends what has been gathered in this turn: it is too much to wait longer.
    #[cold]
    fn flush_now(&self) {
        if !self.flush.is_posted() {
            self.flush.cancel();
            self.flush_due.set(true);
            self.flush.post();
        }
    }

    /// Goes on in the next turn of the loop.
    #[cold]
    fn flush_next(&self) {
        if !self.flush.is_posted() {
            self.flush.cancel();
            self.flush_due.set(true);
            self.flush.post_next();
        }
    }

    /// Sends what is to go out in this turn of the loop: now, not behind its other events.
    pub fn flush_posted(self: &Rc<Self>, now: u64) {
        if self.flush.is_posted() {
            self.flush.cancel();
            self.flush(now);
        }
    }

    /// How long to gather before one write per player. What has been gathered elsewhere waits only
    /// for as long as the last flush is too recent.
    fn window(&self, now: u64) -> u64 {
        let window = self.settings.merge_window.unwrap_or_else(|| self.sockets.window());
        if window == 0 {
            return 0;
        }
        let state = self.state.borrow();
        if !state.sources.on_air().is_some_and(Publishing::is_gathered) {
            return window;
        }
        window.saturating_sub(now.saturating_sub(state.flushed))
    }

    /// The source on air or the subscribers have changed. Off air, nothing is read or written.
    fn count_sockets(&self) {
        let state = self.state.borrow();
        let on_air = state.sources.any_on_air();
        self.sockets.set(if on_air { 1 + state.cursors.len() } else { 0 });
    }

    /// One walk over all subscribers: each gets what is new in one write.
    fn flush(self: &Rc<Self>, now: u64) {
        if self.state.borrow().sources.are_deferred() {
            self.collect();
        }
        self.flush_due.set(false);
        self.unflushed.set(0);
        let ended = self.state.borrow_mut().flush(&self.settings, now);
        if let Some(left) = self.state.borrow().sources.probing(now) {
            self.probe.set_timer(left);
        }
        if self.state.borrow().sources.are_deferred() {
            self.flush_soon(now);
        }
        self.after(ended);
    }

    /// Has the sources that have put off reading do it.
    #[inline(never)]
    fn collect(&self) {
        let deferred = self.state.borrow_mut().sources.take_deferred();
        for source in deferred {
            source.collect();
        }
    }

    /// Does what may call back into the engine, now that the state is not borrowed.
    fn after(self: &Rc<Self>, ended: Ended) {
        if std::mem::take(&mut self.state.borrow_mut().more) {
            self.flush_next();
        }
        if ended.is_empty() && self.left.borrow().is_empty() {
            return;
        }
        self.dismiss(ended);
    }

    #[cold]
    fn dismiss(self: &Rc<Self>, ended: Ended) {
        let left = self.left.take();
        for id in left {
            self.unsubscribe(id);
        }
        for (sink, mut why) in ended {
            if let End::Unread { stream, .. } = &mut why {
                *stream = self.held();
            }
            sink.end(why);
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.home.forget(&self.key);
    }
}
