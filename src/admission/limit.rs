//! How many clients one application and one address may have, and for how many streams that nobody
//! publishes an address may wait.
//!
//! Many viewers may share an address, so what they have is not limited unless the configuration says
//! so. A viewer has no use for waiting for hundreds of streams that do not exist; each of them makes us
//! ask a server and try an origin.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::{Rc, Weak};

use live::{Change, Key, Stream};

use crate::conf::Kind;
use crate::directory::{self, ClientHold, Counted, NameHold};
use crate::nginx::log;
use crate::nginx::seldom::Seldom;
use crate::registry;
use crate::stream_request::attempts::{self, Attempt};
use crate::stream_request::{Refusal, StreamRequest};

/// Between two lines of the log that say who was refused, in milliseconds.
const REPORT_MS: u64 = 1000;

thread_local! {
    /// The addresses that wait for a stream without a publisher.
    static WAITING: RefCell<HashMap<Key, Vec<Weak<Waiting>>>> = {
        registry::observe(published);
        RefCell::default()
    };
    static REPORTED: Seldom = const { Seldom::every(REPORT_MS) };
}

/// What a client takes of each limit. Dropped, it gives all of it back.
#[derive(Default)]
pub struct Places {
    /// Few clients have any.
    _taken: Option<Box<Taken>>,
}

#[derive(Default)]
struct Taken {
    application: Option<ClientHold>,
    address: [Option<ClientHold>; 2],
    name: Option<Rc<Waiting>>,
}

impl From<Taken> for Places {
    fn from(taken: Taken) -> Self {
        let Taken { application, address: [own, both], name } = &taken;
        let any = application.is_some() || own.is_some() || both.is_some() || name.is_some();
        Places { _taken: any.then(|| Box::new(taken)) }
    }
}

/// A name that an address waits for. It counts until somebody publishes the stream.
struct Waiting {
    key: Key,
    who: Vec<u8>,
    counted: RefCell<NameHold>,
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

/// A stream that is published is no burden: it does not count for its address any more.
fn published(stream: &Rc<Stream>, change: Change) {
    if !matches!(change, Change::Published { .. }) {
        return;
    }
    let waited = WAITING.with_borrow_mut(|all| all.remove(stream.key())).unwrap_or_default();
    for waiting in waited.iter().filter_map(Weak::upgrade) {
        drop(waiting.counted.take());
    }
}

/// What an address is counted by: one that has an address of IPv6 has all of its /64.
fn who(ip: IpAddr) -> Vec<u8> {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().get(..8).unwrap_or_default().to_vec(),
    }
}

/// Takes the places that a client needs, over all workers.
pub fn enter(request: &StreamRequest, kind: Kind) -> Result<Places, Refusal> {
    attempts::spend(request, Attempt::Begin).map_err(|spent| refuse(request, spent.why()))?;
    let (app, server) = (&request.app, request.app.server_id.as_str());
    let Some(who) = request.caller.ip.map(who) else {
        return Ok(Taken { application: application(request)?, ..Taken::default() }.into());
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
    let taken = Taken {
        address: [place(own, counted)?, place(limits.both, Counted::Clients)?],
        name: match kind {
            Kind::Publish => None,
            Kind::Play => name(request, who)?,
        },
        application: application(request)?,
    };
    Ok(taken.into())
}

fn application(request: &StreamRequest) -> Result<Option<ClientHold>, Refusal> {
    let Some(max) = request.app.limit.max_connections else { return Ok(None) };
    match directory::enter_limited(&request.app.server_id, &request.app.name, max) {
        Some(place) => Ok(Some(place)),
        None => Err(Refusal::Forbidden("the application has as many clients as it may")),
    }
}

/// Counts the name if the stream has no publisher: once for all clients of the address.
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

/// Says so in the log, for one of many.
fn refuse(request: &StreamRequest, why: &'static str) -> Refusal {
    if REPORTED.with(Seldom::is_due) {
        log::error!(
            log::cycle(),
            "rtmp: *{} limited: {why}, client: {}, stream: \"{}\"",
            request.caller.connection,
            String::from_utf8_lossy(&request.caller.remote_addr),
            request.key
        );
    }
    Refusal::TooMany(why)
}
