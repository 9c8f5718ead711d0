//! Audiences that go on without a player of this worker: `pull_linger`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use live::Key;

use super::audience::Audience;
use crate::conf::Msec;
use crate::nginx::clock;
use crate::nginx::task::{self, sleep, Task};

/// How often a pull that lingers sees whether the worker is to leave, in milliseconds.
const LOOK_MS: u64 = 500;

thread_local! {
    static LINGERING: RefCell<HashMap<Key, Lingering>> = RefCell::default();
}

/// An audience that has lost its players, and may get others.
struct Lingering {
    _audience: Rc<Audience>,
    /// How long it goes on when no other worker plays from it either.
    linger: Msec,
    end: Option<Task>,
}

/// A worker ends.
pub fn exit() {
    drop(LINGERING.take());
}

/// Goes on without a player of this worker: while others play from it, and for `linger` then.
pub fn outlive(audience: &Rc<Audience>, linger: Msec) {
    let (key, played) = (audience.stream.key().clone(), audience.stream.players() > 0);
    let lingering = Lingering { _audience: audience.clone(), linger, end: None };
    let before = LINGERING.with_borrow_mut(|all| all.insert(key, lingering));
    drop(before);
    note_players(audience, played);
}

/// An audience that goes on without players ends when nobody has come in time.
pub fn note_players(audience: &Audience, some: bool) {
    let key = audience.stream.key();
    let end = |linger| {
        let key = key.clone();
        task::spawn(async move {
            let over = clock::now().saturating_add(linger);
            // a worker that is told to leave waits for nobody who is not there
            while clock::now() < over && !clock::exiting() {
                sleep(over.saturating_sub(clock::now()).min(LOOK_MS)).await;
            }
            // nothing is waited for any more, so this task may go
            let lingering = LINGERING.with_borrow_mut(|all| all.remove(&key));
            drop(lingering);
        })
    };
    let gone = LINGERING.with_borrow_mut(|all| {
        let lingering = all.get_mut(key)?;
        if !some && (lingering.linger == 0 || clock::exiting()) {
            return all.remove(key);
        }
        lingering.end = (!some).then(|| end(lingering.linger));
        None
    });
    drop(gone);
}
