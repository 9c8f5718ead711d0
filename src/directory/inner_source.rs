//! Pulls between the workers of one machine, also of different generations: a worker whose players
//! want a stream takes it from the one that has its source, once, as long as they want it. This is the
//! side of the source; the other one is [`super::inner_pull`].
//!
//! The puller says a number; this side answers with its own number and a proof over both that it
//! shares the zone. Then the puller asks: its proof, and the stream's key behind its length. What comes
//! is the stream as FLV, until the source or the puller leaves. Nothing is decided here: the
//! source's worker has let it in, and the players' worker them.

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::rc::{Rc, Weak};

use live::{Data, Direct, End, Form, Sink, Subscriber, Subscription};
use rtmp_protocol::flv;
use rtmp_protocol::message;

use super::inner_error::InnerError;
use super::key::decode;
use super::proof::{self, Purpose};
use super::sources::has_source;
use crate::nginx::clock;
use crate::nginx::connection::{Connection, Handler, KEEP_MS};
use crate::nginx::event::Event;
use crate::nginx::log;
use crate::nginx::task::{self, Task};
use crate::registry;

/// What a puller says: its number, its proof, and a key of three names that clients are held to with
/// its length.
const MAX_REQUEST: usize = 2 * proof::SIZE + 4096;
/// A connection that has not asked for a stream by then is closed.
const REQUEST_MS: u64 = 5000;

/// A script tag that only workers send each other: the stream's players are to leave.
pub(super) const NOT_FOUND: &[u8] = b"\x02\x00\x0fngxRtmpNotFound";

/// A worker that takes a stream from this one.
struct Puller {
    conn: Connection,
    this: Weak<Puller>,
    request: RefCell<Vec<u8>>,
    /// What this worker has answered to the puller's number.
    answered: Cell<Option<[u8; proof::SIZE]>>,
    subscription: RefCell<Option<Subscription>>,
    /// The players are to be told that there is no such stream.
    not_found: Cell<bool>,
    keep: OnceCell<Event>,
    ending: RefCell<Option<Task>>,
}

/// Serves another worker, whose connection was accepted.
pub fn serve(conn: Connection) {
    let puller = Rc::new_cyclic(|this: &Weak<Puller>| Puller {
        conn,
        this: this.clone(),
        request: RefCell::default(),
        answered: Cell::new(None),
        subscription: RefCell::default(),
        not_found: Cell::new(false),
        keep: OnceCell::new(),
        ending: RefCell::default(),
    });
    let keep = puller.keep.get_or_init(|| {
        let this = puller.this.clone();
        Event::new(move || {
            if let Some(puller) = this.upgrade() {
                puller.keep();
            }
        })
    });
    keep.set_timer(REQUEST_MS);
    puller.conn.set_handler(puller.clone());
    puller.readable();
}

impl Puller {
    fn keep(&self) {
        if self.subscription.borrow().is_none() && self.ending.borrow().is_none() {
            return self.finalize();
        }
        if let Some(keep) = self.keep.get() {
            keep.set_timer(KEEP_MS);
        }
    }

    /// Reads the request, and then only the puller's end.
    fn read(self: &Rc<Self>) -> Result<(), InnerError> {
        let mut buffer = [0; MAX_REQUEST];
        loop {
            match self.conn.recv(&mut buffer) {
                Ok(0) => return Err(InnerError::Closed),
                Ok(n) => {
                    let bytes = buffer.get(..n).unwrap_or_default();
                    self.request.borrow_mut().extend_from_slice(bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(self.conn.await_readable()?);
                }
                Err(error) => return Err(error.into()),
            }
            if self.request.borrow().len() > MAX_REQUEST {
                return Err(InnerError::TooLong);
            }
            self.prove()?;
            self.subscribe()?;
        }
    }

    /// Answers the puller's number.
    fn prove(&self) -> Result<(), InnerError> {
        let request = self.request.borrow();
        let Some((theirs, _)) = request.split_first_chunk::<{ proof::SIZE }>() else {
            return Ok(());
        };
        if self.answered.get().is_some() {
            return Ok(());
        }
        let own = proof::nonce().ok_or(InnerError::NoProof)?;
        let proof = proof::of(Purpose::Source, &[theirs, &own]).ok_or(InnerError::NoProof)?;
        self.answered.set(Some(own));
        // a socket that was just accepted takes as little at once
        match self.conn.send(&[own, proof].concat())? {
            n if n == 2 * proof::SIZE => Ok(()),
            _ => Err(InnerError::Silent),
        }
    }

    /// Subscribes once the request is complete.
    fn subscribe(self: &Rc<Self>) -> Result<(), InnerError> {
        let key = {
            let request = self.request.borrow();
            let Some((theirs, rest)) = request.split_first_chunk::<{ proof::SIZE }>() else {
                return Ok(());
            };
            let Some((proof, rest)) = rest.split_first_chunk::<{ proof::SIZE }>() else {
                return Ok(());
            };
            let Some((len, key)) = rest.split_first_chunk::<4>() else { return Ok(()) };
            if self.subscription.borrow().is_some() || key.len() < u32::from_be_bytes(*len) as usize
            {
                return Ok(());
            }
            let own = self.answered.get().ok_or(InnerError::NoKey)?;
            if !proof::holds(Purpose::Pull, &[theirs, &own, key], proof) {
                return Err(InnerError::Stranger);
            }
            decode(key).ok_or(InnerError::NoKey)?
        };
        // what this worker takes from others itself, also from the puller, is not passed on
        if !has_source(&key) {
            return Err(InnerError::NoSource);
        }
        // without a source yet: this worker's pull goes on for the players of all workers
        let stream = registry::find(&key).ok_or(InnerError::NoSource)?;
        let (sink, prologue) = (self.clone(), flv::header(true, true).to_vec());
        let subscriber = Subscriber { form: Form::Flv, sink, player: true, prologue };
        self.subscription.replace(Some(stream.subscribe(subscriber, clock::now())));
        Ok(())
    }

    /// Ends the connection after what is running now.
    fn end_soon(&self) {
        let Some(puller) = self.this.upgrade() else { return };
        let end = task::spawn(async move {
            puller.send_rest();
            puller.finalize();
        });
        self.ending.replace(Some(end));
    }

    /// Sends what still waits, as far as the socket takes it: it is the stream's end.
    fn send_rest(&self) {
        let Some(subscription) = self.subscription.take() else { return };
        subscription.writable(clock::now());
        let mut rest = subscription.finish();
        if self.not_found.get() {
            flv::encode(message::DATA, 0, NOT_FOUND, |bytes| rest.extend_from_slice(bytes));
        }
        if let Err(error) = self.conn.send(&rest) {
            log::info!(self.conn.log(), "rtmp: the end of a stream is lost: {error}");
        }
    }

    fn finalize(&self) {
        self.ending.take();
        drop(self.subscription.take());
        if let Some(keep) = self.keep.get() {
            keep.cancel();
        }
        self.conn.clear_handler();
    }
}

impl Handler for Puller {
    fn readable(self: Rc<Self>) {
        if self.conn.wants_close() || self.read().is_err() {
            self.finalize();
        }
    }

    fn writable(self: Rc<Self>) {
        if let Some(subscription) = &*self.subscription.borrow() {
            subscription.writable(clock::now());
        }
    }

    fn panicked(self: Rc<Self>) {
        self.finalize();
    }
}

impl Sink for Puller {
    fn write(&self, data: Data<'_>) -> io::Result<usize> {
        self.conn.writev(data.parts)
    }

    fn direct(&self) -> Option<Direct> {
        self.conn.direct_relay()
    }

    fn sent(&self, bytes: u64) {
        self.conn.count_sent(bytes);
    }

    fn end(&self, why: End) {
        self.not_found.set(matches!(why, End::NotFound(_)));
        self.end_soon();
    }

    fn source(&self, on_air: bool) {
        if !on_air {
            self.end_soon();
        }
    }
}
