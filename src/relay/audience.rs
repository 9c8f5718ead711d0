//! The players of a stream in this worker, and the pull that they share.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::{Rc, Weak};

use live::{Key, Stream};

use super::media_flow::MediaFlow;
use super::pace::Pace;
use super::players::{Player, Players};
use super::standing::standing;
use crate::conf::Msec;
use crate::directory;
use crate::nginx::async_conn::AsyncConn;
use crate::nginx::clock;
use crate::nginx::task::{Signal, Task};
use crate::stream_request::StreamRequest;
use crate::weak_map::WeakMap;

thread_local! {
    static AUDIENCES: WeakMap<Key, Audience> = WeakMap::default();
}

/// The audience of that stream, if there is one.
pub fn find(key: &Key) -> Option<Rc<Audience>> {
    AUDIENCES.with(|all| all.find(key))
}

/// There is no such stream, as a scheduler says.
pub fn end_players(stream: &Stream, why: &'static str) {
    if let Some(audience) = find(stream.key()) {
        audience.players.end();
    }
    stream.end_players(why);
}

/// The players of a stream in this worker.
pub struct Audience {
    pub stream: Rc<Stream>,
    pub players: Players,
    /// What stands among the players for a static pull, and its number there.
    standing: OnceCell<(u64, Rc<StreamRequest>)>,
    /// It pulls without a player.
    kept: Cell<bool>,
    pull: RefCell<Option<Task>>,
    /// Raised when a player has come.
    pub news: Signal,
    /// The identity of the player in whose name the origin is asked now.
    speaking: Cell<Option<u64>>,
    /// Raised when the last of those has left.
    pub gone: Signal,
    /// The player that there is to be no pull for.
    gave_up: Cell<Option<u64>>,
    /// The pull's connection.
    conn: RefCell<Weak<AsyncConn>>,
    /// What comes over it.
    flow: RefCell<Weak<MediaFlow>>,
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
        if let Some(request) = standing(stream.key()) {
            let id = audience.players.enter(&request);
            audience.standing.get_or_init(|| (id, request));
        }
        let key = stream.key().clone();
        AUDIENCES.with(|all| all.insert(key, &audience));
        audience
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

    /// Pulls from now on, also without a player. Gives the number of what stands for one.
    pub fn keep(&self) -> u64 {
        self.kept.set(true);
        self.standing.get().map_or(u64::MAX, |(id, _)| *id)
    }

    /// Whether there is a pull.
    pub fn is_pulling(&self) -> bool {
        self.pull.borrow().is_some()
    }

    /// The pull that the players share.
    pub fn set_pull(&self, pull: Task) {
        self.pull.replace(Some(pull));
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

    /// A pull that is not established must ask in the name of a player who is still here. Without any
    /// player it has `linger` milliseconds more.
    pub fn look_for_speaker(&self, linger: Msec) {
        let Some(identity) = self.speaking.get().filter(|_| !self.is_feeding()) else { return };
        let lingers = || linger > 0 && !directory::is_wanted_elsewhere(self.stream.key());
        if self.players.of(identity).is_empty() && !(self.is_empty() && lingers()) {
            self.gone.set();
        }
    }

    /// Whether the origin could be asked in the name of another player.
    pub fn has_alternative(&self) -> bool {
        self.speaking.get().is_some_and(|identity| self.players.others(identity))
    }

    /// There is to be no pull for `player`, until it has left or there is news.
    pub fn gave_up(&self, player: &Player) {
        self.gave_up.set(Some(player.id()));
    }

    /// Whether that was the player for which there was to be no pull: then there may be one again.
    pub fn resumes_without(&self, id: u64) -> bool {
        if self.gave_up.get() != Some(id) {
            return false;
        }
        self.gave_up.set(None);
        self.players.reopen();
        true
    }

    /// The pull has a connection.
    pub fn opened(&self, conn: &Rc<AsyncConn>) {
        self.conn.replace(Rc::downgrade(conn));
        self.note_idle();
    }

    /// This is what comes over it.
    pub fn watch(&self, flow: &Rc<MediaFlow>) {
        self.flow.replace(Rc::downgrade(flow));
    }

    /// Whether this worker's pull is a source.
    pub fn is_feeding(&self) -> bool {
        self.flow.borrow().upgrade().is_some_and(|flow| flow.has_begun())
    }

    /// A worker that leaves does not wait for a pull that nobody plays.
    pub fn note_idle(&self) {
        if let Some(conn) = self.conn.borrow().upgrade() {
            conn.set_idle(self.is_empty());
        }
    }
}

impl Drop for Audience {
    fn drop(&mut self) {
        self.forgive();
        AUDIENCES.with(|all| all.forget(self.stream.key()));
    }
}
