//! How much one application, one address and one connection may have and cause.
//!
//! Many viewers may share an address, so what they have is not limited unless the configuration says
//! so. What is limited by default is what a viewer has no use for: to wait for hundreds of streams
//! that do not exist, and to begin anew all the time on one connection, which with HTTP/2 is a
//! hundred requests in one packet. Each of those makes us ask a server and try an origin.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::{Rc, Weak};

use live::{Change, Key, Stream};
use super::{Refusal, StreamRequest};
use crate::conf::Kind;
use crate::directory::{self, ClientHold, Counted};
use crate::nginx::clock;
use crate::nginx::log;
use crate::registry;

/// In how long a connection that has spent all its attempts has all of them again, in milliseconds.
const MINUTE: u64 = 60_000;
/// Between two lines of the log that say who was refused, in milliseconds.
const REPORT_MS: u64 = 1000;
/// The connections that are kept in mind are looked through when there are so many more.
const SWEEP: usize = 1024;

thread_local! {
    /// Who waits for a stream that nobody publishes.
    static WAITING: RefCell<HashMap<Key, Vec<Weak<Waiting>>>> = {
        registry::observe(published);
        RefCell::default()
    };
    /// By the number of a connection, and for each kind, when it has all its attempts again, in the
    /// loop's milliseconds.
    static SPENT: RefCell<HashMap<(usize, Attempt), u64>> = RefCell::default();
    static SWEEP_AT: Cell<usize> = const { Cell::new(SWEEP) };
    static REPORTED: Cell<Option<u64>> = const { Cell::new(None) };
}

/// What a connection may do so often.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Attempt {
    /// To begin to publish or to play.
    Begin,
    /// To have a stream pulled.
    Pull,
}

/// A client's places among those who are counted. Dropped, they are free.
#[derive(Default)]
pub struct Places {
    _application: Option<ClientHold>,
    _address: [Option<ClientHold>; 2],
    _name: Option<Rc<Waiting>>,
}

/// A name that an address waits for. It counts until somebody publishes the stream.
struct Waiting {
    key: Key,
    who: Vec<u8>,
    counted: RefCell<[Option<ClientHold>; 2]>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        WAITING.with_borrow_mut(|all| {
            if let Some(waiting) = all.get_mut(&self.key) {
                waiting.retain(|other| other.strong_count() > 0);
                if waiting.is_empty() {
                    all.remove(&self.key);
                }
            }
        });
    }
}

/// A stream that is there is no burden: who waited for it may wait for others.
fn published(stream: &Rc<Stream>, change: Change) {
    if !matches!(change, Change::Published { .. }) {
        return;
    }
    let waited = WAITING.with_borrow_mut(|all| all.remove(stream.key())).unwrap_or_default();
    for waiting in waited.iter().filter_map(Weak::upgrade) {
        drop(waiting.counted.take());
    }
}

/// What an address is counted by. Who has one address of IPv6 has all of its /64.
fn who(ip: IpAddr) -> Vec<u8> {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().get(..8).unwrap_or_default().to_vec(),
    }
}

/// Takes the places that a client needs, over all workers.
pub fn enter(request: &StreamRequest, kind: Kind) -> Result<Places, Refusal> {
    attempt(request, Attempt::Begin).map_err(|why| refuse(request, why))?;
    let (app, server) = (&request.app, request.app.server_id.as_str());
    let Some(who) = request.ip.map(who) else {
        return Ok(Places { _application: application(request)?, ..Places::default() });
    };
    let limits = &app.limit.address;
    let (own, counted) = match kind {
        Kind::Publish => (limits.publish, Counted::Publishers),
        Kind::Play => (limits.play, Counted::Players),
    };
    let place = |max: Option<u32>, what| match max {
        None => Ok(None),
        Some(max) => match directory::enter_of_address(server, &app.name, what, &who, max) {
            Some(place) => Ok(Some(place)),
            None => Err(refuse(request, "the address has as many clients as it may")),
        },
    };
    Ok(Places {
        _address: [place(own, counted)?, place(limits.both, Counted::Clients)?],
        _name: match kind {
            Kind::Publish => None,
            Kind::Play => name(request, who)?,
        },
        _application: application(request)?,
    })
}

fn application(request: &StreamRequest) -> Result<Option<ClientHold>, Refusal> {
    let Some(max) = request.app.limit.max_connections else { return Ok(None) };
    match directory::enter_limited(&request.app.server_id, &request.app.name, max) {
        Some(place) => Ok(Some(place)),
        None => Err(Refusal::Forbidden("the application has as many clients as it may")),
    }
}

/// Counts the name, if it is one that nobody publishes: once, however many of the address wait.
fn name(request: &StreamRequest, who: Vec<u8>) -> Result<Option<Rc<Waiting>>, Refusal> {
    let key = &request.key;
    let Some(max) = request.app.limit.names else { return Ok(None) };
    let here = registry::find(key).is_some_and(|stream| stream.on_air());
    if here || directory::source(key).is_some() {
        return Ok(None);
    }
    let known = WAITING.with_borrow(|all| {
        let mut waiting = all.get(key)?.iter().filter_map(Weak::upgrade);
        waiting.find(|waiting| waiting.who == who)
    });
    if known.is_some() {
        return Ok(known);
    }
    let counted = directory::enter_name(key, &who, max)
        .ok_or_else(|| refuse(request, "the address waits for as many streams as it may"))?;
    let (key, counted) = (key.clone(), RefCell::new(counted));
    let waiting = Rc::new(Waiting { key: key.clone(), who, counted });
    WAITING.with_borrow_mut(|all| all.entry(key).or_default().push(Rc::downgrade(&waiting)));
    Ok(Some(waiting))
}

/// Spends one of the attempts of the client's connection.
pub fn attempt(request: &StreamRequest, attempt: Attempt) -> Result<(), &'static str> {
    // a static pull has no connection
    let Some(max) = request.app.limit.attempts.filter(|_| request.connection != 0) else {
        return Ok(());
    };
    let (now, each) = (clock::now(), (MINUTE / u64::from(max)).max(1));
    SPENT.with_borrow_mut(|all| {
        if all.len() >= SWEEP_AT.get() {
            all.retain(|_, full_at| *full_at > now);
            SWEEP_AT.set(all.len() + SWEEP);
        }
        let full_at = all.entry((request.connection, attempt)).or_insert(now);
        let next = (*full_at).max(now) + each;
        if next > now + MINUTE {
            return Err("the connection has spent its attempts");
        }
        *full_at = next;
        Ok(())
    })
}

/// Says so in the log, for one of many.
fn refuse(request: &StreamRequest, why: &'static str) -> Refusal {
    let now = clock::now();
    let quiet = REPORTED.get().is_some_and(|before| now.saturating_sub(before) < REPORT_MS);
    if !quiet {
        REPORTED.set(Some(now));
        log::error!(
            log::cycle(),
            "rtmp: *{} limited: {why}, client: {}, stream: \"{}\"",
            request.connection,
            String::from_utf8_lossy(&request.remote_addr),
            request.key
        );
    }
    Refusal::TooMany(why)
}
