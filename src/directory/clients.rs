//! Clients from outside, counted over all workers: of a stream, of an application, of an address.

use live::Key;
use shared_table::{Class, Full};

use super::full::full;
use super::key::encode;
use super::sources::{has_source, source};
use super::table;
use super::workers::me;

/// What is counted for a stream and a line of the configuration: those who tell of it, and its
/// clients. These and [`Counted`] stand behind a key in one place, so no two may be the same.
const TELLING: u8 = 1;
const CLIENTS: u8 = 2;

/// What is counted for an address.
#[derive(Clone, Copy)]
pub enum Counted {
    Publishers = 3,
    Players = 4,
    Clients = 5,
    Names = 6,
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

/// Counts a client from outside, of a stream that the line whose id is `line` tells of.
pub fn enter(key: &Key, line: u64) -> ClientHold {
    let (key, class) = (line_key(key, CLIENTS, line), class_of(key));
    match table::update(&key, class, |members| members.enter_told(me())) {
        Ok(first) => ClientHold::new(key, class, true, first),
        Err(Full) => {
            full(&key);
            ClientHold::new(key, class, false, true)
        }
    }
}

/// Counts a client of an application that takes at most `max`; none if it is one too many.
pub fn enter_limited(server: &str, app: &[u8], max: u32) -> Option<ClientHold> {
    enter_one_of(application_key(server, app), Class::Reserved, max)
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
    let key = [application_key(server, app).as_slice(), &[what as u8], who].concat();
    // there is no limit to the number of addresses
    enter_one_of(key, Class::Open, max)
}

/// A stream that an address waits for, and the address's count of such streams, if this counts it.
#[derive(Debug, Default)]
pub struct NameHold {
    _name: Option<ClientHold>,
    _count: Option<ClientHold>,
}

/// Counts a stream that the address `who` waits for: it may wait for `max` of them on this machine.
/// Of several workers in which it waits for the same, one counts it. None if it is one too many.
pub fn enter_name(stream: &Key, who: &[u8], max: u32) -> Option<NameHold> {
    let key = [encode(stream).as_slice(), &[Counted::Names as u8], who].concat();
    let name = enter_one_of(key, Class::Open, u32::MAX);
    let counts = name.as_ref().is_some_and(|name| name.first);
    let count = match counts {
        true => Some(enter_of_address("", b"", Counted::Names, who, max)?),
        false => None,
    };
    Some(NameHold { _name: name, _count: count })
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

/// Players can name any stream, so only a stream that has a source gets reserved room.
fn class_of(key: &Key) -> Class {
    match has_source(key) || source(key).is_some() {
        true => Class::Reserved,
        false => Class::Open,
    }
}

fn line_key(key: &Key, what: u8, line: u64) -> Vec<u8> {
    // no stream's key has a fourth part
    [encode(key).as_slice(), &[what], &line.to_be_bytes()].concat()
}

fn application_key(server: &str, app: &[u8]) -> Vec<u8> {
    // no stream has an empty name, so this is a key of its own
    encode(&Key { server: server.into(), app: app.into(), name: [].as_slice().into() })
}

/// Counts one more of `key`, if there are fewer than `max` on this machine.
fn enter_one_of(key: Vec<u8>, class: Class, max: u32) -> Option<ClientHold> {
    match table::update(&key, class, |members| members.enter(me(), max)) {
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
            // the zone is full: no other worker's clients are known
            return if last { Ok(()) } else { Err(self) };
        }
        let left = table::update(&self.key, self.class, |members| members.leave_if(me(), last));
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
            let _ = table::update(&self.key, self.class, |members| members.set_updates(updates));
        }
    }

    /// Whether there are to be updates and, of the workers that have clients of the key, this is the
    /// one to send them.
    pub fn sends_updates(&self) -> bool {
        if !self.counted {
            return self.updates;
        }
        let sends = table::update(&self.key, self.class, |members| members.sends_updates(me()));
        sends.unwrap_or(self.updates)
    }
}

impl Drop for ClientHold {
    fn drop(&mut self) {
        if self.counted {
            let _ = table::update(&self.key, self.class, |members| members.leave(me()));
        }
    }
}
