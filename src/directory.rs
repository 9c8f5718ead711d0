//! Which worker holds which stream: what makes N workers, of all generations, one server.
//!
//! A worker notes in shared memory which streams it has a source of and whose clients it serves;
//! when a source comes or goes it tells the workers that are interested, by a datagram to each.

pub mod inner;
pub mod master;
mod member;
mod place;
mod proof;
mod socket;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use live::{Change, Key, Stream};
use shared_table::{Class, Full};

use crate::nginx::clock;
use crate::nginx::log;
use crate::nginx::process;
use crate::registry;
use crate::relay;
use member::{Member, NO_SOURCE};

pub use socket::{start, stop};

/// A full zone is reported once in so long.
const REPORT_MS: u64 = 60_000;

/// Takes part in what the streams of this worker and those of others need of each other.
pub fn watch() {
    registry::observe(|stream, change| match change {
        Change::Audience { some: true } | Change::Published { .. } | Change::Unpublished => {
            find_source(stream);
        }
        Change::Audience { some: false } => inner::forsake(stream.key()),
        Change::Header { .. } | Change::Track | Change::Decided => (),
    });
    observe(|key, word| {
        let Some(stream) = registry::find(key) else { return };
        match word {
            Word::Source => {
                if let Some(priority) = replaced(key) {
                    stream.refuse_source(priority, REPLACED);
                }
                find_source(&stream);
                relay::pulls::resume(&stream);
            }
            Word::NotFound => {
                let why = "there is no such stream, as another worker was told";
                relay::pulls::end_players(&stream, why);
            }
        }
    });
}

/// Looks for the best source of a stream that has players here.
pub fn find_source(stream: &Rc<Stream>) {
    if stream.players() > 0 {
        inner::look(stream);
    }
}

/// Another worker that has a source of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remote {
    pub pid: i32,
    /// The priority of its source.
    pub priority: i32,
}

/// Another worker has a source that rules this one out.
#[derive(Debug)]
pub struct Taken;

/// What a publisher is told whose place another one has taken.
pub const REPLACED: &str = "another publisher has taken its place";

/// What workers tell each other of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// A source of it came or went.
    Source,
    /// There is none, and its players are to leave.
    NotFound,
}

type Observer = Rc<dyn Fn(&Key, Word)>;

thread_local! {
    /// The priorities of this worker's sources.
    static OWN: RefCell<HashMap<Key, Vec<i32>>> = RefCell::new(HashMap::new());
    static FULL_REPORTED: Cell<Option<u64>> = const { Cell::new(None) };
    static OBSERVER: RefCell<Option<Observer>> = const { RefCell::new(None) };
}

/// Calls `observer` with each word of another worker about a stream that this worker is interested
/// in.
pub fn observe(observer: impl Fn(&Key, Word) + 'static) {
    OBSERVER.replace(Some(Rc::new(observer)));
}

fn tell_observer(key: &Key, word: Word) {
    if let Some(observer) = OBSERVER.with_borrow(Clone::clone) {
        observer(key, word);
    }
}

/// What stands behind the key in a word that there is no such stream.
const NOT_FOUND: &[u8] = b"n";

/// Another worker has sent word.
fn heard(bytes: &[u8]) {
    let Some(key) = decode(bytes) else { return };
    let word = if bytes.ends_with(&not_found(&key)) { Word::NotFound } else { Word::Source };
    tell_observer(&key, word);
}

fn not_found(key: &Key) -> Vec<u8> {
    [encode(key).as_slice(), NOT_FOUND].concat()
}

/// Has the other workers end their players of the stream.
pub fn end_players(key: &Key) {
    let told = member::update(&encode(key), Class::Open, |members| interested(members));
    for pid in told.unwrap_or_default() {
        socket::notify(pid, &not_found(key));
    }
}

/// A source that the other workers know of. Dropped, they know that it is gone.
#[derive(Debug)]
pub struct SourceHold {
    key: Key,
    priority: i32,
}

/// A client from outside, counted over all workers. Dropped, it has left.
#[derive(Debug)]
pub struct ClientHold {
    key: Vec<u8>,
    class: Class,
    counted: bool,
    /// Whether it was the first of its key on this machine.
    pub first: bool,
    /// Whether it wants updates, where that can't be noted for all workers.
    updates: bool,
}

impl ClientHold {
    fn new(key: Vec<u8>, class: Class, counted: bool, first: bool) -> Self {
        ClientHold { key, class, counted, first, updates: false }
    }
}

/// While it is held, this worker is told of other workers' sources of the stream.
#[derive(Debug)]
pub struct Interest {
    key: Key,
}

/// Makes a publisher of this worker known. Refused if another worker has one of its priority.
/// A full zone leaves the stream to this worker alone, with a line in the log.
pub fn publish(key: &Key, priority: i32) -> Result<SourceHold, Taken> {
    claim(key, priority, |other| other == priority)
}

/// The same, in the place of a publisher of that priority in another worker, which hears of it.
pub fn publish_over(key: &Key, priority: i32) -> SourceHold {
    let replaced = change(key, |members| {
        let mut replaced = Vec::new();
        for other in members.iter_mut().filter(|m| m.pid != me() && m.source == priority) {
            other.source = NO_SOURCE;
            replaced.push(other.pid);
        }
        let own = own(members);
        own.source = own.source.max(priority);
        replaced
    });
    OWN.with_borrow_mut(|own| own.entry(key.clone()).or_default().push(priority));
    tell(key, &replaced.unwrap_or_default());
    SourceHold { key: key.clone(), priority }
}

/// The priority of a source that this worker still has, while another worker has taken its place.
fn replaced(key: &Key) -> Option<i32> {
    let best = OWN.with_borrow(|own| own.get(key)?.iter().copied().max())?;
    let replaced = member::update(&encode(key), Class::Open, |members| {
        let has = |member: &Member| member.source == best;
        let (own, others): (Vec<&Member>, _) = members.iter().partition(|m| m.pid == me());
        !own.into_iter().any(has) && others.into_iter().any(has)
    });
    replaced.unwrap_or(false).then_some(best)
}

/// Makes a pull by this worker known, if no other worker has any source of the stream: a stream is
/// pulled once, whatever the number of workers.
pub fn claim_pull(key: &Key, priority: i32) -> Result<SourceHold, Taken> {
    claim(key, priority, |_| true)
}

fn claim(key: &Key, priority: i32, rules_out: impl Fn(i32) -> bool) -> Result<SourceHold, Taken> {
    let claimed = change(key, |members| {
        let other = |m: &Member| m.pid != me() && m.source != NO_SOURCE && rules_out(m.source);
        if members.iter().any(other) {
            return Err(Taken);
        }
        let own = own(members);
        own.source = own.source.max(priority);
        Ok(())
    });
    claimed.unwrap_or(Ok(()))?;
    OWN.with_borrow_mut(|own| own.entry(key.clone()).or_default().push(priority));
    Ok(SourceHold { key: key.clone(), priority })
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
        change(&self.key, |members| own(members).source = rest.unwrap_or(NO_SOURCE));
    }
}

/// Whether this worker has a publisher or a pull of the stream.
fn has_source(key: &Key) -> bool {
    OWN.with_borrow(|own| own.contains_key(key))
}

/// The best source of the stream in another worker.
pub fn source(key: &Key) -> Option<Remote> {
    let best = |members: &mut Vec<Member>| {
        members
            .iter()
            .filter(|member| member.pid != me() && member.source != NO_SOURCE)
            .max_by_key(|member| member.source)
            .map(|member| Remote { pid: member.pid, priority: member.source })
    };
    member::update(&encode(key), Class::Open, best).ok().flatten()
}

/// Whether another worker waits for a source of the stream.
pub fn is_wanted_elsewhere(key: &Key) -> bool {
    let wanted = |members: &mut Vec<Member>| !interested(members).is_empty();
    member::update(&encode(key), Class::Open, wanted).unwrap_or(false)
}

/// Counts a client from outside, of a stream that the line whose id is `line` tells of.
pub fn enter(key: &Key, line: u64) -> ClientHold {
    let (key, class) = (line_key(key, CLIENTS, line), class_of(key));
    let entered = member::update(&key, class, |members| {
        let present = members.iter().find(|member| member.clients > 0);
        let (first, updates) = present.map_or((true, 0), |member| (false, member.updates));
        let own = own(members);
        own.clients += 1;
        own.updates = updates;
        first
    });
    match entered {
        Ok(first) => ClientHold::new(key, class, true, first),
        Err(Full) => {
            full(&key);
            ClientHold::new(key, class, false, true)
        }
    }
}

/// Counts a client of an application that takes at most `max`; none if it is one too many.
pub fn enter_limited(server: &str, app: &[u8], max: u32) -> Option<ClientHold> {
    // no stream has an empty name, so this is a key of its own
    let key = encode(&Key { server: server.into(), app: app.into(), name: [].as_slice().into() });
    enter_one_of(key, Class::Reserved, max)
}

/// What is counted for an address.
#[derive(Clone, Copy)]
pub enum Counted {
    Publishers = 3,
    Players = 4,
    Clients = 5,
    Names = 6,
}

/// Counts one more of `what` for the address `who` in an application, which may have `max` of them on
/// this machine; none if it is one too many.
pub fn enter_of_address(
    server: &str,
    app: &[u8],
    what: Counted,
    who: &[u8],
    max: u32,
) -> Option<ClientHold> {
    let key = Key { server: server.into(), app: app.into(), name: [].as_slice().into() };
    let key = [encode(&key).as_slice(), &[what as u8], who].concat();
    // addresses are as many as anybody likes
    enter_one_of(key, Class::Open, max)
}

/// Counts a stream that the address `who` waits for: it may wait for `max` of them on this machine.
/// Of several workers in which it waits for the same, one counts it.
pub fn enter_name(stream: &Key, who: &[u8], max: u32) -> Option<[Option<ClientHold>; 2]> {
    let key = [encode(stream).as_slice(), &[Counted::Names as u8], who].concat();
    let name = enter_one_of(key, Class::Open, u32::MAX);
    let counts = name.as_ref().is_some_and(|name| name.first);
    match counts {
        true => {
            let count = enter_of_address("", b"", Counted::Names, who, max)?;
            Some([name, Some(count)])
        }
        false => Some([name, None]),
    }
}

/// Notes that a server is being told of a stream, by the line of the configuration whose id is
/// `line`, and counts that as if it were a client.
pub fn telling(key: &Key, line: u64) -> ClientHold {
    let (key, class) = (line_key(key, TELLING, line), class_of(key));
    enter_one_of(key, class, u32::MAX).unwrap_or(ClientHold::new(Vec::new(), class, false, false))
}

/// The same, unless a worker tells of it already.
pub fn telling_alone(key: &Key, line: u64) -> Option<ClientHold> {
    enter_one_of(line_key(key, TELLING, line), class_of(key), 1)
}

/// Players may name streams as they like; a stream that has a source is none of those.
fn class_of(key: &Key) -> Class {
    match has_source(key) || source(key).is_some() {
        true => Class::Reserved,
        false => Class::Open,
    }
}

/// What is counted for a stream and a line: those who tell of it, and its clients.
const TELLING: u8 = 1;
const CLIENTS: u8 = 2;

fn line_key(key: &Key, what: u8, line: u64) -> Vec<u8> {
    // no stream's key has a fourth part
    [encode(key).as_slice(), &[what], &line.to_be_bytes()].concat()
}

/// Counts one more of `key`, if there are fewer than `max` on this machine.
fn enter_one_of(key: Vec<u8>, class: Class, max: u32) -> Option<ClientHold> {
    let entered = member::update(&key, class, |members| {
        let clients: u32 = members.iter().map(|member| member.clients).sum();
        if clients >= max {
            return None;
        }
        own(members).clients += 1;
        Some(clients == 0)
    });
    match entered {
        Ok(Some(first)) => Some(ClientHold::new(key, class, true, first)),
        Ok(None) => None,
        Err(Full) => {
            full(&key);
            Some(ClientHold::new(key, class, false, false))
        }
    }
}

impl ClientHold {
    /// Ends the hold if it is the last of its key on this machine, or else gives it back.
    pub fn leave_if_last(self) -> Result<(), Self> {
        self.leave_if(true)
    }

    /// Ends the hold if it is not the last of its key on this machine, or else gives it back.
    pub fn leave_unless_last(self) -> Result<(), Self> {
        self.leave_if(false)
    }

    fn leave_if(mut self, last: bool) -> Result<(), Self> {
        if !self.counted {
            // nobody else is known of
            return if last { Ok(()) } else { Err(self) };
        }
        let left = member::update(&self.key, self.class, |members| {
            let clients: u32 = members.iter().map(|member| member.clients).sum();
            let leaves = (clients <= 1) == last;
            if leaves {
                let own = own(members);
                own.clients = own.clients.saturating_sub(1);
            }
            leaves
        });
        // what can't be counted is taken for the last
        let (leaves, counts) = left.map_or((last, false), |leaves| (leaves, !leaves));
        self.counted = counts;
        if leaves {
            Ok(())
        } else {
            Err(self)
        }
    }

    /// Whether there are to be updates as long as there are clients, whatever workers they come to.
    pub fn set_updates(&mut self, updates: bool) {
        self.updates = updates;
        if self.counted {
            let _ = member::update(&self.key, self.class, |members| {
                for member in members.iter_mut() {
                    member.updates = updates.into();
                }
            });
        }
    }

    /// Whether there are to be updates and, of the workers that have clients of the key, this is the
    /// one to send them.
    pub fn sends_updates(&self) -> bool {
        let sends = |members: &mut Vec<Member>| {
            let first = members.iter().find(|member| member.clients > 0);
            first.is_some_and(|first| first.pid == me() && first.updates != 0)
        };
        match self.counted {
            true => member::update(&self.key, self.class, sends).unwrap_or(self.updates),
            false => self.updates,
        }
    }
}

impl Drop for ClientHold {
    fn drop(&mut self) {
        if self.counted {
            let _ = member::update(&self.key, self.class, |members| {
                let own = own(members);
                own.clients = own.clients.saturating_sub(1);
            });
        }
    }
}

/// Takes an interest in the stream: see [`observe`].
pub fn interest(key: &Key) -> Interest {
    let noted = member::update(&encode(key), Class::Open, |members| own(members).interested += 1);
    if noted.is_err() {
        full(&encode(key));
    }
    Interest { key: key.clone() }
}

impl Drop for Interest {
    fn drop(&mut self) {
        let _ = member::update(&encode(&self.key), Class::Open, |members| {
            let own = own(members);
            own.interested = own.interested.saturating_sub(1);
        });
    }
}

/// Forgets a worker that has died, and tells those who played from it.
pub fn forget(pid: i32) {
    purge(|other| other == pid);
}

/// Forgets every worker that is no more.
pub fn forget_dead() {
    let known: BTreeSet<i32> = socket::workers().into_iter().chain(member::workers()).collect();
    let dead: Vec<i32> = known.into_iter().filter(|&pid| !process::alive(pid)).collect();
    for &pid in &dead {
        socket::remove(pid);
    }
    purge(|pid| dead.contains(&pid));
}

fn purge(gone: impl Fn(i32) -> bool) {
    for key in member::purge(gone) {
        let Some(key) = decode(&key) else { continue };
        let told = member::update(&encode(&key), Class::Open, |members| interested(members))
            .unwrap_or_default();
        tell(&key, &told);
        tell_observer(&key, Word::Source);
    }
}

/// Changes what this worker says of a stream, and tells those who want to know if its source has
/// changed. `None` if the zone is full.
fn change<R>(key: &Key, f: impl FnOnce(&mut Vec<Member>) -> R) -> Option<R> {
    let encoded = encode(key);
    let changed = member::update(&encoded, Class::Open, |members| {
        let before = own(members).source;
        let result = f(members);
        let told = if own(members).source == before { Vec::new() } else { interested(members) };
        (result, told)
    });
    match changed {
        Ok((result, told)) => {
            tell(key, &told);
            Some(result)
        }
        Err(Full) => {
            full(&encoded);
            None
        }
    }
}

fn full(key: &[u8]) {
    let now = clock::now();
    let quiet = FULL_REPORTED.get().is_some_and(|before| now.saturating_sub(before) < REPORT_MS);
    if quiet {
        return;
    }
    FULL_REPORTED.set(Some(now));
    let name = decode(key).map(|key| key.to_string()).unwrap_or_default();
    log::error!(
        log::cycle(),
        "rtmp: \"rtmp_zone\" is full, other workers do not see \"{name}\" and maybe others; \
         make it larger"
    );
}

fn interested(members: &[Member]) -> Vec<i32> {
    members.iter().filter(|m| m.interested > 0 && m.pid != me()).map(|m| m.pid).collect()
}

fn tell(key: &Key, workers: &[i32]) {
    for &pid in workers {
        socket::notify(pid, &encode(key));
    }
}

fn me() -> i32 {
    std::process::id() as i32
}

fn own(members: &mut Vec<Member>) -> &mut Member {
    let at = members.iter().position(|member| member.pid == me()).unwrap_or_else(|| {
        members.push(Member::new(me()));
        members.len() - 1
    });
    &mut members[at]
}

/// The key as bytes: server, application and name, each after its length.
fn encode(key: &Key) -> Vec<u8> {
    let mut out = Vec::new();
    for part in [key.server.as_bytes(), &key.app, &key.name] {
        out.extend_from_slice(&(part.len() as u32).to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

fn decode(mut bytes: &[u8]) -> Option<Key> {
    let mut part = || {
        let (len, rest) = bytes.split_first_chunk::<4>()?;
        let (part, rest) = rest.split_at_checked(u32::from_be_bytes(*len) as usize)?;
        bytes = rest;
        Some(part)
    };
    let (server, app, name) = (part()?, part()?, part()?);
    Some(Key {
        server: std::str::from_utf8(server).ok()?.into(),
        app: app.into(),
        name: name.into(),
    })
}
