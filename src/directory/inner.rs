//! Pulls between the workers of one machine, also of different generations: a worker whose players
//! want a stream takes it from the one that has its source, once, as long as they want it.
//!
//! The puller says a number; the other one answers with its own number and a proof over both that it
//! shares the zone. Then the puller asks: its proof, and the stream's key behind its length. What comes
//! is the stream as FLV, until the source or the puller leaves. Nothing is decided here: the
//! source's worker has let it in, and the players' worker them.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::io;
use std::ptr::NonNull;
use std::rc::{Rc, Weak};

use live::{
    Data, Direct, End, Form, Framing, Key, Kind, Media, Publication, Sink, Source, Stream,
    Subscriber, Subscription,
};
use nginx_sys::ngx_connection_t;
use rtmp_protocol::chunk::MAX_MESSAGE;
use rtmp_protocol::flv::{self, FlvReader};
use rtmp_protocol::message;

use super::proof::{self, Purpose};
use super::socket::path;
use super::{decode, encode, Interest, Remote};
use crate::nginx::address::Address;
use crate::nginx::async_conn::{self, AsyncConn};
use crate::nginx::clock;
use crate::nginx::connection::{Connection, Handler};
use crate::nginx::event::Event;
use crate::nginx::guard::guard;
use crate::nginx::log;
use crate::nginx::share::{Share, READS_A_TURN};
use crate::nginx::task::{self, next_turn, Task};
use crate::registry;
use crate::relay;

/// What a puller says: its number, its proof, and a key of three names that clients are held to with
/// its length.
const MAX_REQUEST: usize = 2 * proof::SIZE + 4096;
/// A connection that has not asked for a stream by then is nobody's.
const REQUEST_MS: u64 = 5000;
/// The timer that tells nginx that a connection is in use.
const KEEP_MS: u64 = 60_000;
/// How long another worker may take to answer: it is on this machine, but may be busy.
const CONNECT_MS: u64 = 1000;
/// Read at once: a merged write of a fast stream.
const READ_BUFFER: usize = 64 * 1024;
/// Pulls that could not begin are tried again after so long: the word of a change may have come
/// before the change. Each time that it fails takes twice as long, up to the second.
const RETRY_MS: u64 = 20;
const MAX_RETRY_MS: u64 = 1000;

/// A script tag that only workers say to each other: the stream's players are to leave.
const NOT_FOUND: &[u8] = b"\x02\x00\x0fngxRtmpNotFound";

// ---- the worker that has the source ----

/// A worker that takes a stream from this one.
struct Feed {
    conn: Connection,
    this: Weak<Feed>,
    request: RefCell<Vec<u8>>,
    /// What this worker has answered to the puller's number.
    answered: Cell<Option<[u8; proof::SIZE]>>,
    subscription: RefCell<Option<Subscription>>,
    /// The players are to be told that there is no such stream.
    not_found: Cell<bool>,
    keep: OnceCell<Event>,
    ending: RefCell<Option<Task>>,
}

/// nginx has accepted a connection of another worker.
pub extern "C" fn ngx_rtmp_accept_inner(c: *mut ngx_connection_t) {
    guard("an inner pull", || {
        let Some(c) = NonNull::new(c) else { return };
        // SAFETY: nginx hands over a new connection that it does not look at any more.
        let conn = unsafe { Connection::new(c) };
        let feed = Rc::new_cyclic(|this: &Weak<Feed>| Feed {
            conn,
            this: this.clone(),
            request: RefCell::default(),
            answered: Cell::new(None),
            subscription: RefCell::default(),
            not_found: Cell::new(false),
            keep: OnceCell::new(),
            ending: RefCell::default(),
        });
        let keep = feed.keep.get_or_init(|| {
            let this = feed.this.clone();
            Event::new(move || {
                if let Some(feed) = this.upgrade() {
                    feed.keep();
                }
            })
        });
        keep.set_timer(REQUEST_MS);
        feed.conn.set_handler(feed.clone());
        feed.readable();
    });
}

impl Feed {
    fn keep(&self) {
        if self.subscription.borrow().is_none() && self.ending.borrow().is_none() {
            return self.finalize();
        }
        if let Some(keep) = self.keep.get() {
            keep.set_timer(KEEP_MS);
        }
    }

    /// Reads the request, and then only the puller's end.
    fn read(self: &Rc<Self>) -> io::Result<()> {
        let mut buffer = [0; MAX_REQUEST];
        loop {
            match self.conn.recv(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => self.request.borrow_mut().extend_from_slice(&buffer[..n]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return self.conn.await_readable();
                }
                Err(error) => return Err(error),
            }
            if self.request.borrow().len() > MAX_REQUEST {
                return Err(io::ErrorKind::InvalidData.into());
            }
            self.prove()?;
            self.subscribe()?;
        }
    }

    /// Answers the puller's number.
    fn prove(&self) -> io::Result<()> {
        let request = self.request.borrow();
        let Some((theirs, _)) = request.split_first_chunk::<{ proof::SIZE }>() else {
            return Ok(());
        };
        if self.answered.get().is_some() {
            return Ok(());
        }
        let own = proof::nonce().ok_or(io::ErrorKind::Other)?;
        let proof = proof::of(Purpose::Source, &[theirs, &own]).ok_or(io::ErrorKind::Other)?;
        self.answered.set(Some(own));
        // a socket that was just accepted takes as little at once
        match self.conn.send(&[own, proof].concat())? {
            n if n == 2 * proof::SIZE => Ok(()),
            _ => Err(io::ErrorKind::WriteZero.into()),
        }
    }

    /// Subscribes once the request is complete.
    fn subscribe(self: &Rc<Self>) -> io::Result<()> {
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
            let own = self.answered.get().ok_or(io::ErrorKind::InvalidData)?;
            if !proof::holds(Purpose::Pull, &[theirs, &own, key], proof) {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            decode(key).ok_or(io::ErrorKind::InvalidData)?
        };
        // what this worker takes from others itself, also from the puller, is not passed on
        if !super::has_source(&key) {
            return Err(io::ErrorKind::NotFound.into());
        }
        // without a source yet: this worker's pull goes on for the players of all workers
        let stream = registry::find(&key).ok_or(io::ErrorKind::NotFound)?;
        let (sink, prologue) = (self.clone(), flv::header(true, true).to_vec());
        let subscriber = Subscriber { form: Form::Flv, sink, player: true, prologue };
        self.subscription.replace(Some(stream.subscribe(subscriber, clock::now())));
        Ok(())
    }

    /// Ends the feed after what is running now.
    fn end_soon(&self) {
        let Some(feed) = self.this.upgrade() else { return };
        let end = task::spawn(async move {
            feed.send_rest();
            feed.finalize();
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

impl Handler for Feed {
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

impl Sink for Feed {
    fn write(&self, data: Data<'_>) -> io::Result<usize> {
        self.conn.writev(data.parts)
    }

    fn direct(&self) -> Option<Direct> {
        let socket = self.conn.socket()?;
        Some(Direct { socket, framing: Framing::Plain, relay: true })
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

// ---- the worker that has the players ----

thread_local! {
    static PULLS: RefCell<HashMap<Key, Pull>> = RefCell::new(HashMap::new());
    static INTERESTS: RefCell<HashMap<Key, Weak<Interest>>> = RefCell::new(HashMap::new());
}

/// A pull from another worker. Dropped, it ends.
struct Pull {
    from: Remote,
    _task: Task,
}

/// Takes an interest in the stream's sources in other workers, for as long as a player does.
pub fn interest(key: &Key) -> Rc<Interest> {
    if let Some(interest) =
        INTERESTS.with_borrow(|interests| interests.get(key).and_then(Weak::upgrade))
    {
        return interest;
    }
    let interest = Rc::new(super::interest(key));
    INTERESTS.with_borrow_mut(|interests| {
        interests.retain(|_, interest| interest.strong_count() > 0);
        interests.insert(key.clone(), Rc::downgrade(&interest));
    });
    interest
}

/// Whether another worker has a source of the stream that is better than those here. It is pulled
/// from there if this worker has players of it.
pub fn look(stream: &Rc<Stream>) -> bool {
    let key = stream.key();
    let remote = super::source(key);
    let pulling = PULLS.with_borrow(|pulls| pulls.get(key).map(|pull| pull.from));
    let better = |from: Remote| stream.priority() > Some(from.priority);
    // two workers that went on playing from each other would keep each other for ever
    if pulling == remote && remote.is_some_and(|from| !better(from)) {
        return true;
    }
    // what is pulled from somewhere else is not the best source any more
    PULLS.with_borrow_mut(|pulls| pulls.remove(key));
    let Some(from) = remote else { return false };
    if stream.priority().is_some_and(|priority| priority >= from.priority) {
        return false;
    }
    if stream.players() > 0 {
        let task = task::spawn(pull(Rc::downgrade(stream), key.clone(), from));
        PULLS.with_borrow_mut(|pulls| pulls.insert(key.clone(), Pull { from, _task: task }));
    }
    true
}

/// The last player has left.
pub fn forsake(key: &Key) {
    FAILED.with_borrow_mut(|failed| failed.remove(key));
    leave(key);
}

fn leave(key: &Key) {
    PULLS.with_borrow_mut(|pulls| pulls.remove(key));
}

/// A worker ends.
pub fn exit() {
    drop(PULLS.take());
}

/// One pull: from connect to the end of the source, and then a look at where it is now.
async fn pull(stream: Weak<Stream>, key: Key, from: Remote) {
    let fed = feed_from(&stream, &key, from).await;
    // nothing is waited for any more, so this task may go
    leave(&key);
    let Err(error) = fed else {
        FAILED.with_borrow_mut(|failed| failed.remove(&key));
        AGAIN.with_borrow_mut(|again| again.push((0, stream)));
        return LOOK_AGAIN.with(Event::post);
    };
    let failures = FAILED.with_borrow_mut(|failed| {
        let failures = failed.entry(key.clone()).or_default();
        *failures = failures.saturating_add(1);
        *failures
    });
    if failures == 1 {
        log::info!(
            log::cycle(),
            "rtmp: pull of \"{key}\" from worker {} failed: {error}",
            from.pid
        );
    }
    if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) {
        super::forget_dead();
    }
    let delay = (RETRY_MS << (failures - 1).min(8)).min(MAX_RETRY_MS);
    AGAIN.with_borrow_mut(|again| again.push((clock::now() + delay, stream)));
    look_again_in_time();
}

thread_local! {
    /// Streams that are to be looked for again, and when.
    static AGAIN: RefCell<Vec<(u64, Weak<Stream>)>> = const { RefCell::new(Vec::new()) };
    static LOOK_AGAIN: Event = Event::new(look_again);
    /// How often in a row the pull of a stream has failed.
    static FAILED: RefCell<HashMap<Key, u32>> = RefCell::new(HashMap::new());
}

fn look_again() {
    let now = clock::now();
    let due: Vec<_> = AGAIN.with_borrow_mut(|again| {
        let (due, later) = again.drain(..).partition(|(at, _)| *at <= now);
        *again = later;
        due
    });
    for stream in due.iter().filter_map(|(_, stream)| stream.upgrade()) {
        if stream.players() > 0 && !look(&stream) {
            // that worker pulled it for all: now it is up to this one
            relay::pulls::resume(&stream);
        }
    }
    look_again_in_time();
}

fn look_again_in_time() {
    let next = AGAIN.with_borrow(|again| again.iter().map(|(at, _)| *at).min());
    if let Some(at) = next {
        LOOK_AGAIN.with(|event| event.set_timer(at.saturating_sub(clock::now())));
    }
}

/// Connects to another worker and asks it for the stream, once it is known to be one.
async fn ask(key: &Key, from: Remote) -> io::Result<AsyncConn> {
    let path = path(from.pid).ok_or(io::ErrorKind::NotFound)?;
    let address = Address::Unix(path.into_os_string().into_encoded_bytes());
    let conn = async_conn::connect(&address).await?;
    let own = proof::nonce().ok_or(io::ErrorKind::Other)?;
    conn.write_all(&own).await?;
    let mut answer = [0; 2 * proof::SIZE];
    let mut len = 0;
    while let Some(rest) = answer.get_mut(len..).filter(|rest| !rest.is_empty()) {
        match conn.read(rest).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => len += n,
        }
    }
    let (theirs, proof) = answer.split_at(proof::SIZE);
    if !proof::holds(Purpose::Source, &[&own, theirs], proof) {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "the socket is not that of a worker of this nginx",
        ));
    }
    let key = encode(key);
    let proof = proof::of(Purpose::Pull, &[&own, theirs, &key]).ok_or(io::ErrorKind::Other)?;
    let len = (key.len() as u32).to_be_bytes();
    conn.write_all(&[proof.as_slice(), &len, &key].concat()).await?;
    Ok(conn)
}

async fn feed_from(stream: &Weak<Stream>, key: &Key, from: Remote) -> io::Result<()> {
    let conn = task::timeout(CONNECT_MS, ask(key, from)).await.ok_or(io::ErrorKind::TimedOut)??;

    let mut feed = Feeding { stream: stream.clone(), from, publication: None };
    let mut reader = FlvReader::new(MAX_MESSAGE);
    let mut buffer = vec![0; flv::MAX_LEFTOVER + READ_BUFFER];
    let mut kept = 0;
    let mut fed = false;
    let (share, mut reads) = (Share::default(), 0);
    loop {
        if reads == READS_A_TURN || share.is_used_up() {
            next_turn().await;
            share.renew();
            reads = 0;
        }
        reads += 1;
        let n = conn.read(&mut buffer[kept..]).await?;
        if n == 0 && fed {
            return Ok(());
        }
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if !fed {
            fed = true;
            FAILED.with_borrow_mut(|failed| failed.remove(key));
        }
        let mut input = &buffer[..kept + n];
        while let Some(tag) = reader.read(&mut input).map_err(io::Error::other)? {
            feed.tag(&tag)?;
            share.take(1);
        }
        let (end, left) = (kept + n, input.len());
        buffer.copy_within(end - left..end, 0);
        kept = left;
    }
}

/// A stream as it comes in from another worker.
struct Feeding {
    stream: Weak<Stream>,
    from: Remote,
    /// Since the first tag: a source that is waited for is none yet.
    publication: Option<Publication>,
}

impl Feeding {
    fn tag(&mut self, tag: &flv::Tag<'_>) -> io::Result<()> {
        let Some(kind) = Kind::of_message_type(tag.kind) else { return Ok(()) };
        if kind == Kind::Data && tag.payload == NOT_FOUND {
            if let Some(stream) = self.stream.upgrade() {
                stream.end_players("there is no such stream, as another worker was told");
            }
            return Ok(());
        }
        let publication = match &self.publication {
            Some(publication) => publication,
            None => {
                let stream = self.stream.upgrade().ok_or(io::ErrorKind::NotFound)?;
                let publication = stream
                    .publish(self.from.priority, Rc::new(InnerSource), clock::now())
                    .map_err(|_| io::ErrorKind::AlreadyExists)?;
                self.publication.insert(publication)
            }
        };
        let media = Media { kind, timestamp: tag.timestamp, payload: tag.payload };
        publication.append(media, clock::now());
        Ok(())
    }
}

/// The source that a pull from another worker is in its stream.
struct InnerSource;

impl Source for InnerSource {
    /// A better one took over: the look at the change that brought it ends this pull.
    fn on_air(&self, _on_air: bool) {}

    fn refuse(&self, _why: &'static str) {}

    fn gathered(&self) -> bool {
        true
    }
}
