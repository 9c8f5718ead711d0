//! The sources of streams, over all workers: which worker has one, and who wants to hear of it.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use live::Key;
use shared_table::Class;

use super::full::full;
use super::key::{decode, encode};
use super::member::{Members, Taken};
use super::notification::{self, Notification};
use super::table;
use super::workers::{self, me};
use crate::nginx::process;
use crate::weak_map::WeakMap;

/// Another worker that has a source of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remote {
    pub pid: i32,
    /// The priority of its source.
    pub priority: i32,
}

thread_local! {
    /// The priorities of this worker's sources.
    static OWN: RefCell<HashMap<Key, Vec<i32>>> = RefCell::default();
    static INTERESTS: WeakMap<Key, Interest> = WeakMap::default();
}

/// A source that the other workers know of. Dropped, they know that it is gone.
#[derive(Debug)]
pub struct SourceHold {
    key: Key,
    priority: i32,
}

/// Makes a publisher of this worker known. Refused if another worker has one of its priority.
/// A full zone leaves the stream to this worker alone, with a line in the log.
pub fn publish(key: &Key, priority: i32) -> Result<SourceHold, Taken> {
    claim(key, priority, |other| other == priority)
}

/// The same, in the place of a publisher of that priority in another worker, which hears of it.
pub fn publish_over(key: &Key, priority: i32) -> SourceHold {
    let replaced = change(key, |members| members.replace(me(), priority));
    notification::tell(&replaced.unwrap_or_default(), key, Notification::Source);
    SourceHold::new(key, priority)
}

/// Makes a pull by this worker known, if no other worker has any source of the stream: a stream is
/// pulled once, whatever the number of workers.
pub fn claim_pull(key: &Key, priority: i32) -> Result<SourceHold, Taken> {
    claim(key, priority, |_| true)
}

fn claim(key: &Key, priority: i32, rules_out: impl Fn(i32) -> bool) -> Result<SourceHold, Taken> {
    let claimed = change(key, |members| members.claim(me(), priority, rules_out));
    claimed.unwrap_or(Ok(()))?;
    Ok(SourceHold::new(key, priority))
}

impl SourceHold {
    fn new(key: &Key, priority: i32) -> Self {
        OWN.with_borrow_mut(|own| own.entry(key.clone()).or_default().push(priority));
        SourceHold { key: key.clone(), priority }
    }
}

impl Drop for SourceHold {
    fn drop(&mut self) {
        let rest = OWN.with_borrow_mut(|own| {
            let priorities = own.get_mut(&self.key)?;
            if let Some(at) = priorities.iter().position(|&priority| priority == self.priority) {
                priorities.swap_remove(at);
            }
            let rest = priorities.iter().copied().max();
            if rest.is_none() {
                own.remove(&self.key);
            }
            rest
        });
        change(&self.key, |members| members.set_source(me(), rest));
    }
}

/// Whether this worker has a publisher or a pull of the stream.
pub(super) fn has_source(key: &Key) -> bool {
    OWN.with_borrow(|own| own.contains_key(key))
}

/// The priority of a source that this worker still has, while another worker has taken its place.
pub(super) fn replaced(key: &Key) -> Option<i32> {
    let best = OWN.with_borrow(|own| own.get(key)?.iter().copied().max())?;
    let replaced =
        table::update(&encode(key), Class::Open, |members| members.is_replaced(me(), best));
    replaced.unwrap_or(false).then_some(best)
}

/// The best source of the stream in another worker.
pub fn source(key: &Key) -> Option<Remote> {
    let best = table::update(&encode(key), Class::Open, |members| members.best_of_others(me()));
    let (pid, priority) = best.ok().flatten()?;
    Some(Remote { pid, priority })
}

/// Whether another worker waits for a source of the stream.
pub fn is_wanted_elsewhere(key: &Key) -> bool {
    !interested(key).is_empty()
}

/// Has the other workers end their players of the stream.
pub fn end_players(key: &Key) {
    notification::tell(&interested(key), key, Notification::NotFound);
}

/// The other workers that want to hear of the stream's sources.
fn interested(key: &Key) -> Vec<i32> {
    table::update(&encode(key), Class::Open, |members| members.interested(me())).unwrap_or_default()
}

/// While it is held, this worker is told of other workers' sources of the stream.
#[derive(Debug)]
pub struct Interest {
    key: Key,
}

/// Takes an interest in the stream's sources in other workers, for as long as a player does.
pub fn interest(key: &Key) -> Rc<Interest> {
    if let Some(interest) = INTERESTS.with(|all| all.find(key)) {
        return interest;
    }
    let noted =
        table::update(&encode(key), Class::Open, |members| members.change_interest(me(), true));
    if noted.is_err() {
        full(&encode(key));
    }
    let interest = Rc::new(Interest { key: key.clone() });
    INTERESTS.with(|all| all.insert(key.clone(), &interest));
    interest
}

impl Drop for Interest {
    fn drop(&mut self) {
        INTERESTS.with(|all| all.forget(&self.key));
        let _ = table::update(&encode(&self.key), Class::Open, |members| {
            members.change_interest(me(), false);
        });
    }
}

/// Forgets a worker that has died, and tells the workers that pulled from it.
pub(super) fn forget(pid: i32) {
    purge(|other| other == pid);
}

/// Forgets every worker that is no more.
pub(super) fn forget_dead() {
    let known: BTreeSet<i32> = workers::all().into_iter().chain(table::workers()).collect();
    let dead: Vec<i32> = known.into_iter().filter(|&pid| !process::alive(pid)).collect();
    for &pid in &dead {
        workers::remove(pid);
    }
    purge(|pid| dead.contains(&pid));
}

fn purge(gone: impl Fn(i32) -> bool) {
    for key in table::purge(gone) {
        let Some(key) = decode(&key) else { continue };
        notification::tell(&interested(&key), &key, Notification::Source);
        notification::tell_own(&key, Notification::Source);
    }
}

/// Changes what this worker says of a stream, and notifies the interested workers if its source has
/// changed. `None` if the zone is full.
fn change<R>(key: &Key, f: impl FnOnce(&mut Members) -> R) -> Option<R> {
    let encoded = encode(key);
    let changed = table::update(&encoded, Class::Open, |members| {
        let before = members.own_source(me());
        let result = f(members);
        let same = members.own_source(me()) == before;
        (result, if same { Vec::new() } else { members.interested(me()) })
    });
    match changed {
        Ok((result, told)) => {
            notification::tell(&told, key, Notification::Source);
            Some(result)
        }
        Err(shared_table::Full) => {
            full(&encoded);
            None
        }
    }
}
