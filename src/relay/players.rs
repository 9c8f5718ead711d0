//! The players of a stream, and which of them an origin is asked for.
//!
//! A pull says what one of its players said: its query, its domain, the relays that it came
//! through. So one with a wrong query must not stand for the others: who was not asked for yet
//! comes first, and players who said the same get the same answer.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use live::{End, Sink};

use super::identity::identity;
use super::pace::Pace;
use crate::stream_request::StreamRequest;

/// The players of a stream in this worker, in the order in which they came.
#[derive(Default)]
pub struct Players {
    all: RefCell<BTreeMap<u64, Rc<Player>>>,
    next: Cell<u64>,
    /// Counts the choices.
    turn: Cell<u64>,
}

/// A player, or what stands for one in a static pull.
pub struct Player {
    id: u64,
    pub request: Rc<StreamRequest>,
    identity: OnceCell<u64>,
    sink: RefCell<Option<Weak<dyn Sink>>>,
    decided: Cell<Option<Decided>>,
}

/// What was decided for a player: no origin is asked in its name again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Decided {
    /// There is to be no pull; it waits for a publisher.
    NoPull,
    /// It is told that there is no stream for it.
    Ended,
}

/// In whose name an origin is asked next.
pub enum Choice {
    /// Nobody's.
    Nobody,
    /// Not before this moment.
    At(u64),
    Now(Rc<Player>),
}

impl Player {
    /// Its number.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What an origin is told in this player's name comes down to this number: whoever has the same
    /// gets the same answer.
    pub fn identity(&self) -> u64 {
        *self.identity.get_or_init(|| identity(&self.request))
    }

    /// Tells the player that there is no stream for it.
    pub fn refuse(&self, why: &'static str) {
        self.decided.set(Some(Decided::Ended));
        let sink = self.sink.borrow().as_ref().and_then(Weak::upgrade);
        if let Some(sink) = sink {
            sink.end(End::NotFound(why));
        }
    }

    /// There is to be no pull for it; it waits.
    pub fn give_up(&self) {
        self.decided.set(Some(Decided::NoPull));
    }

    fn is_open(&self) -> bool {
        self.decided.get().is_none()
    }
}

impl Players {
    /// A player has come; the number is for [`Players::leave`].
    pub fn enter(&self, request: &Rc<StreamRequest>) -> u64 {
        let id = self.next.get();
        self.next.set(id + 1);
        let player = Rc::new(Player {
            id,
            request: request.clone(),
            identity: OnceCell::new(),
            sink: RefCell::default(),
            decided: Cell::default(),
        });
        self.all.borrow_mut().insert(id, player);
        id
    }

    /// The one to be told what becomes of player `id`.
    pub fn attend(&self, id: u64, sink: Weak<dyn Sink>) {
        if let Some(player) = self.all.borrow().get(&id) {
            player.sink.replace(Some(sink));
        }
    }

    /// A player has left.
    pub fn leave(&self, id: u64) {
        let left = self.all.borrow_mut().remove(&id);
        drop(left);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.borrow().len()
    }

    /// The one that has been here longest.
    pub fn first(&self) -> Option<Rc<StreamRequest>> {
        self.all.borrow().values().next().map(|player| player.request.clone())
    }

    /// Whether an origin may be asked in the name of any player.
    pub fn any_open(&self) -> bool {
        self.all.borrow().values().any(|player| player.is_open())
    }

    /// Those of this identity.
    pub fn of(&self, identity: u64) -> Vec<Rc<Player>> {
        self.open().into_iter().filter(|player| player.identity() == identity).collect()
    }

    /// Whether there are players of another identity.
    pub fn others(&self, identity: u64) -> bool {
        self.open().iter().any(|player| player.identity() != identity)
    }

    /// Those that nothing was decided for.
    pub fn open(&self) -> Vec<Rc<Player>> {
        self.all.borrow().values().filter(|player| player.is_open()).cloned().collect()
    }

    /// All of them are told that there is no such stream.
    pub fn end(&self) {
        for player in self.all.borrow().values() {
            player.decided.set(Some(Decided::Ended));
        }
    }

    /// That there is to be no pull does not hold any more.
    pub fn reopen(&self) {
        for player in self.all.borrow().values() {
            if player.decided.get() == Some(Decided::NoPull) {
                player.decided.set(None);
            }
        }
    }

    /// Chooses in whose name an origin is asked next: of those for whom it may be asked first, the
    /// one for whom it worked, or one for whom it was not asked yet, who is no relay, and whose address was refused least.
    pub fn choose(&self, pace: &Pace, now: u64) -> Choice {
        let turn = self.turn.get();
        let rank = |player: &Rc<Player>| {
            let (identity, request) = (player.identity(), &player.request);
            // in their order, so that each has a turn; but now and then the last, who waits for a
            // crowd of others
            let among_alike = if turn % 4 == 3 { u64::MAX - player.id } else { player.id };
            (
                pace.ready_at(identity).max(now),
                !pace.has_worked(identity),
                pace.asked_at(identity),
                request.caller.hops,
                pace.refusals(request.caller.ip),
                among_alike,
            )
        };
        let best = self.open().into_iter().map(|player| (rank(&player), player));
        match best.min_by_key(|(rank, _)| *rank) {
            None => Choice::Nobody,
            Some(((ready_at, ..), _)) if ready_at > now => Choice::At(ready_at),
            Some((_, player)) => {
                self.turn.set(turn.wrapping_add(1));
                Choice::Now(player)
            }
        }
    }
}
