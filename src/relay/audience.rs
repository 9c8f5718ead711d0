//! Those who play a stream in this worker, and the pull that they share.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};

use live::{Key, Sink, Stream};

use super::flow::Flow;
use super::pace::Pace;
use super::players::{Player, Players};
use super::pull;
use crate::conf::Msec;
use crate::directory;
use crate::nginx::async_conn::AsyncConn;
use crate::nginx::clock;
use crate::nginx::task::{self, sleep, Signal, Task};
use crate::stream_request::StreamRequest;

thread_local! {
    static AUDIENCES: RefCell<HashMap<Key, Weak<Audience>>> = RefCell::default();
    /// Those that go on without a player of this worker.
    static BEREFT: RefCell<HashMap<Key, Bereft>> = RefCell::default();
}

/// An audience that has lost its players, and may get others.
struct Bereft {
    _audience: Rc<Audience>,
    /// How long it goes on when no other worker plays from it either.
    linger: Msec,
    end: Option<Task>,
}

/// A worker ends.
pub fn exit() {
    drop(BEREFT.take());
}

/// The audience of that stream, if there is one.
pub fn find(key: &Key) -> Option<Rc<Audience>> {
    AUDIENCES.with_borrow(|all| all.get(key).and_then(Weak::upgrade))
}

/// Those who play a stream in this worker.
pub struct Audience {
    stream: Rc<Stream>,
    pub players: Players,
    /// What stands among the players for a static pull, and its number there.
    standing: OnceCell<(u64, Rc<StreamRequest>)>,
    /// It pulls without a player.
    kept: Cell<bool>,
    pull: RefCell<Option<Task>>,
    /// Raised when a player has come.
    pub news: Signal,
    /// In whose name the origin is asked now.
    speaking: Cell<Option<u64>>,
    /// Raised when the last of those has left.
    pub gone: Signal,
    /// The player that there is to be no pull for.
    gave_up: Cell<Option<u64>>,
    /// The pull's connection.
    conn: RefCell<Weak<AsyncConn>>,
    /// What comes over it.
    flow: RefCell<Weak<Flow>>,
}

/// A player's place; dropped, it has left.
pub struct Seat {
    audience: Rc<Audience>,
    id: u64,
}

impl Audience {
    /// The audience of `stream`: the one that is there, or a new one.
    pub fn of(stream: &Rc<Stream>) -> Rc<Self> {
        if let Some(audience) = find(stream.key()) {
            return audience;
        }
        let audience = Rc::new(Audience {
            stream: stream.clone(),
            players: Players::default(),
            standing: OnceCell::new(),
            kept: Cell::new(false),
            pull: RefCell::default(),
            news: Signal::new(),
            speaking: Cell::default(),
            gone: Signal::new(),
            gave_up: Cell::default(),
            conn: RefCell::default(),
            flow: RefCell::default(),
        });
        if let Some(request) = pull::standing(stream.key()) {
            let id = audience.players.enter(&request);
            audience.standing.get_or_init(|| (id, request));
        }
        let key = stream.key().clone();
        AUDIENCES.with_borrow_mut(|all| all.insert(key, Rc::downgrade(&audience)));
        audience
    }

    /// A player comes.
    pub fn take_seat(self: &Rc<Self>, request: &Rc<StreamRequest>) -> Seat {
        let id = self.players.enter(request);
        self.start_if_needed();
        self.look_for_speaker(0);
        self.note_idle();
        Seat { audience: self.clone(), id }
    }

    /// Pulls from now on, also without a player.
    pub fn keep(self: &Rc<Self>) -> Seat {
        self.kept.set(true);
        self.start_if_needed();
        let id = self.standing.get().map_or(u64::MAX, |(id, _)| *id);
        Seat { audience: self.clone(), id }
    }

    /// In whose name a static pull is pushed on.
    pub fn standing(&self) -> Option<Rc<StreamRequest>> {
        self.standing.get().map(|(_, request)| request.clone())
    }

    /// Whether this is no player but what stands for one.
    pub fn stands_for(&self, player: &Player) -> bool {
        self.standing.get().is_some_and(|(id, _)| *id == player.id())
    }

    /// Whether it has no players.
    pub fn is_empty(&self) -> bool {
        self.players.len() <= usize::from(self.standing.get().is_some())
    }

    /// Whether it is to be pulled for.
    pub fn is_wanted(&self) -> bool {
        !self.is_empty() || self.kept.get() && !clock::exiting()
    }

    /// Starts the pull if there is somebody to ask for and no source, or tells it of a new player.
    pub fn start_if_needed(self: &Rc<Self>) {
        if self.stream.on_air() || !self.is_wanted() || !self.players.any_open() {
            return;
        }
        if self.pull.borrow().is_some() {
            return self.news.set();
        }
        let Some(request) = self.players.first().filter(|request| pull::possible(request)) else {
            return;
        };
        let pulling = pull::keep_on(Rc::downgrade(self), self.stream.clone(), request);
        let this = Rc::downgrade(self);
        let task = task::spawn(async move {
            pulling.await;
            // nothing is waited for any more, so this task may go
            if let Some(audience) = this.upgrade() {
                audience.end_pull();
            }
        });
        self.pull.replace(Some(task));
    }

    /// Ends the pull.
    pub fn end_pull(&self) {
        self.forgive();
        self.speaking.set(None);
        drop(self.pull.take());
    }

    /// A pull that works until it is not needed any more leaves no delay to the next one.
    fn forgive(&self) {
        if self.is_feeding() {
            Pace::of(self.stream.key()).start_anew();
        }
    }

    /// The origin is asked in the name of `player` now.
    pub fn speak_for(&self, player: &Player) {
        self.speaking.set(Some(player.identity()));
        self.gone.clear();
    }

    /// A pull that is not established speaks for somebody who is here. Where there is nobody at all,
    /// it has `linger` milliseconds more.
    fn look_for_speaker(&self, linger: Msec) {
        let Some(identity) = self.speaking.get().filter(|_| !self.is_feeding()) else { return };
        let lingers = || linger > 0 && !directory::is_wanted_elsewhere(self.stream.key());
        if self.players.of(identity).is_empty() && !(self.is_empty() && lingers()) {
            self.gone.set();
        }
    }

    /// Whether there is somebody else in whose name the origin could be asked.
    pub fn has_alternative(&self) -> bool {
        self.speaking.get().is_some_and(|identity| self.players.others(identity))
    }

    /// There is to be no pull for `player`, until it has left or there is news.
    pub fn gave_up(&self, player: &Player) {
        self.gave_up.set(Some(player.id()));
    }

    /// The pull has a connection.
    pub fn opened(&self, conn: &Rc<AsyncConn>) {
        self.conn.replace(Rc::downgrade(conn));
        self.note_idle();
    }

    /// This is what comes over it.
    pub fn watch(&self, flow: &Rc<Flow>) {
        self.flow.replace(Rc::downgrade(flow));
    }

    /// Whether this worker's pull is a source.
    pub fn is_feeding(&self) -> bool {
        self.flow.borrow().upgrade().is_some_and(|flow| flow.has_begun())
    }

    /// Goes on without a player of this worker: while others play from it, and for `linger` then.
    fn outlive(self: Rc<Self>, linger: Msec) {
        let (key, played) = (self.stream.key().clone(), self.stream.players() > 0);
        let audience = self.clone();
        let bereft = Bereft { _audience: self, linger, end: None };
        let before = BEREFT.with_borrow_mut(|all| all.insert(key, bereft));
        drop(before);
        audience.note_players(played);
    }

    /// An audience that goes on without players ends when nobody has come in time.
    pub fn note_players(&self, some: bool) {
        let key = self.stream.key();
        let end = |linger| {
            let key = key.clone();
            task::spawn(async move {
                sleep(linger).await;
                // nothing is waited for any more, so this task may go
                let bereft = BEREFT.with_borrow_mut(|all| all.remove(&key));
                drop(bereft);
            })
        };
        let gone = BEREFT.with_borrow_mut(|all| {
            let bereft = all.get_mut(key)?;
            if !some && (bereft.linger == 0 || clock::exiting()) {
                return all.remove(key);
            }
            bereft.end = (!some).then(|| end(bereft.linger));
            None
        });
        drop(gone);
    }

    /// A worker that leaves does not wait for a pull that nobody plays.
    fn note_idle(&self) {
        if let Some(conn) = self.conn.borrow().upgrade() {
            conn.set_idle(self.is_empty());
        }
    }
}

impl Drop for Audience {
    fn drop(&mut self) {
        self.forgive();
        AUDIENCES.with_borrow_mut(|all| {
            if all.get(self.stream.key()).is_some_and(|other| other.strong_count() == 0) {
                all.remove(self.stream.key());
            }
        });
    }
}

impl Seat {
    /// `sink` is to be told what becomes of the player.
    pub fn attend(&self, sink: Weak<dyn Sink>) {
        self.audience.players.attend(self.id, sink);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let audience = &self.audience;
        let request = audience.players.first();
        audience.players.leave(self.id);
        let linger = request.map_or(0, |request| request.app.relay.pull_linger);
        audience.look_for_speaker(linger);
        audience.note_idle();
        if audience.gave_up.get() == Some(self.id) {
            audience.gave_up.set(None);
            audience.players.reopen();
            audience.start_if_needed();
        }
        if !audience.is_empty() || audience.pull.borrow().is_none() {
            return;
        }
        if clock::exiting() {
            // also a static pull: the next generation of workers has its own
            audience.end_pull();
            return;
        }
        audience.clone().outlive(linger);
    }
}
