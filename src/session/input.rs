//! What comes from a client: read as far as the session goes, and taken apart into messages.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use rtmp_protocol::chunk::{ChunkReader, Limits, MAX_HEADER};
use rtmp_protocol::message;

use super::state::{Flow, MessageStream, Peer, Reason, Role, Session, Stage};
use crate::admission::AdmittedPublisher;
use crate::nginx::clock;
use crate::nginx::connection::Handler;
use crate::nginx::proxy_protocol::{self, Proxied};
use crate::nginx::share::{self, READS_A_TURN, READ_BUFFER};

/// A publisher that sends more than this at a time, in bytes, is read whenever something has come:
/// what waits must not fill the socket.
const DEFER_BYTES: u16 = 32 * 1024;
/// Of a stream with no more players than this, messages are not announced while it gathers. With
/// more, one write to each of them weighs more than to be told of the messages, and a window that
/// begins with the first of them has fewer writes than one that begins with the flush before.
const POLLED_PLAYERS: usize = 4;
/// The longest message of a client that does not publish, in bytes: commands are short, so that
/// many unknown clients can't make us hold much.
const MAX_COMMAND: usize = 64 * 1024;

thread_local! {
    /// All sessions of a worker share the buffer, since each message is used up before the next session
    /// is looked at. Each session holds it, since looking up what is the thread's own costs several cache misses.
    static BUFFER: Rc<RefCell<Vec<u8>>> =
        Rc::new(RefCell::new(vec![0; MAX_HEADER + READ_BUFFER]));
}

/// What a session reads into.
pub(super) fn buffer() -> Rc<RefCell<Vec<u8>>> {
    BUFFER.with(Rc::clone)
}

/// Where a read behind `kept` bytes goes.
fn room_behind(buffer: &mut [u8], kept: usize) -> &mut [u8] {
    buffer.get_mut(kept..kept + READ_BUFFER).unwrap_or_default()
}

/// How many messages one of this type counts for.
fn cost(kind: u8) -> u32 {
    match kind {
        message::COMMAND | message::COMMAND_AMF3 | message::USER_CONTROL => share::ANSWERED,
        _ => 1,
    }
}

impl Session {
    /// Reads and handles what is there, as far as the session goes.
    pub(super) fn read(self: &Rc<Self>) {
        self.share.renew();
        self.read_on();
    }

    /// The same with what is left of the client's share in this turn.
    pub(super) fn read_on(self: &Rc<Self>) {
        // never nested: a handler of one session does not read another
        let Ok(mut shared) = self.buffer.try_borrow_mut() else { return };
        let buffer = &mut *shared;
        let before = self.control.get().bytes();
        for _ in 0..READS_A_TURN {
            if self.ended.get() || self.waits() || self.share.is_used_up() {
                break;
            }
            let kept = self.take_unread(buffer);
            let received = match self.backlog.take() {
                true => Err(io::ErrorKind::WouldBlock.into()),
                false => self.conn.recv(room_behind(buffer, kept)),
            };
            let n = match received {
                Ok(0) => {
                    self.finalize(Reason::ClientClosed);
                    break;
                }
                Ok(n) => n,
                // what waited is handled now even if nothing new came
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => {
                    self.finalize(Reason::Io(error));
                    break;
                }
            };
            self.received(n as u64);
            let sent = self.conn.sent();
            let mut input = buffer.get(..kept + n).unwrap_or_default();
            if let Err(reason) = self.input(&mut input) {
                self.finalize(reason);
                break;
            }
            // an answer carries the acknowledgement; without one, the client waits for it
            if n > 0 && sent == self.conn.sent() && self.streams.borrow().in_use() == 0 {
                self.conn.quick_ack();
            }
            if !input.is_empty() {
                self.unread.replace(input.to_vec());
            }
            if !self.conn.is_ready() && !self.backlog.get() {
                break;
            }
        }
        drop(shared);
        self.flush();
        self.await_more();
        let moderate = self.control.get().bytes() - before <= DEFER_BYTES.into();
        self.may_defer.set(
            moderate
                && self.unread.borrow().is_empty()
                && self.is_between_messages()
                && self.gathers(),
        );
    }

    /// Sees to it that the rest is read, and what comes.
    fn await_more(&self) {
        if self.ended.get() {
            return;
        }
        if (self.conn.is_ready() || self.backlog.get()) && !self.waits() {
            self.event.post_next();
        }
        if !self.conn.is_ready() {
            if let Err(error) = self.conn.await_readable() {
                self.finalize(Reason::Io(error));
            }
        }
    }

    /// Moves what waits of the input to the front of the buffer, with room for a read behind it.
    pub(super) fn take_unread(&self, buffer: &mut Vec<u8>) -> usize {
        let mut unread = self.unread.borrow_mut();
        let kept = unread.len();
        if kept > 0 {
            if buffer.len() < kept + READ_BUFFER {
                buffer.resize(kept + READ_BUFFER, 0);
            }
            if let Some(front) = buffer.get_mut(..kept) {
                front.copy_from_slice(&unread);
            }
            *unread = Vec::new();
        }
        kept
    }

    /// Sends the players what was just read, unless it is gathered.
    pub(super) fn flush(&self) {
        for at in 0.. {
            let stream = match self.streams.borrow().iter().nth(at) {
                Some(stream) => match &*stream.role.borrow() {
                    Role::Publisher(publishing) => publishing.publication.stream().clone(),
                    _ => continue,
                },
                None => return,
            };
            stream.flush_posted(clock::now());
        }
    }

    /// Asks the publisher, if there is one on the connection, and no other.
    pub(super) fn publisher<T>(&self, ask: impl Fn(&AdmittedPublisher) -> T) -> Option<T> {
        let streams = self.streams.borrow();
        let role = streams.only(MessageStream::publishes)?.role.borrow();
        match &*role {
            Role::Publisher(publishing) => Some(ask(publishing)),
            _ => None,
        }
    }

    pub(super) fn is_between_messages(&self) -> bool {
        matches!(&*self.stage.borrow(), Stage::Chunks(reader) if reader.is_between_messages())
    }

    /// Whether what it publishes waits for more before it is sent to players.
    pub(super) fn gathers(&self) -> bool {
        self.publisher(|publishing| publishing.publication.gathers(clock::now())).unwrap_or(false)
    }

    /// Puts off reading what a publisher has sent, if players would not get it before the next
    /// flush: the kernel then hands over several messages at once, and acknowledges them together.
    /// The rest of a message that has begun is not put off, since its sender may be waiting for an
    /// acknowledgement to send it (Nagle's algorithm).
    pub(super) fn defer(&self) -> bool {
        self.may_defer.get()
            && !self.conn.peer_gone()
            && self
                .publisher(|publishing| publishing.publication.defer(clock::now()))
                .unwrap_or(false)
    }

    /// Reads what was put off, just before a flush. Where several messages came since the last one
    /// for few players, those that come until the next are not announced to us at all: that costs as
    /// much as reading.
    pub(super) fn collect(self: &Rc<Self>) {
        let polled = self.polled.get();
        if polled {
            self.conn.expect_input();
        }
        self.read();
        let counts = self.publisher(|AdmittedPublisher { publication, .. }| {
            (publication.taken(), publication.stream().players())
        });
        let (taken, players) = counts.unwrap_or((0, 0));
        let enough = if polled { 1 } else { 2 };
        self.set_polled(taken >= enough && players <= POLLED_PLAYERS && self.defer());
    }

    /// Says whether input is announced, if it is not much.
    pub(super) fn set_polled(&self, polled: bool) {
        if self.polled.get() != polled {
            let announced = self.conn.announce_from(if polled { DEFER_BYTES } else { 1 });
            self.polled.set(polled && announced);
        }
    }

    /// Whether input has to wait: for a decision, or because it is not wanted any more.
    pub(super) fn waits(&self) -> bool {
        self.decision.borrow().is_some() || self.ending.borrow().is_some()
    }

    pub(super) fn received(&self, n: u64) {
        if n > 0 {
            self.heard(clock::now());
        }
        self.control(|control, out| {
            control.received(n);
            control.acknowledge(out);
        });
    }

    /// Handles input until it is used up, or the rest has to wait.
    pub(super) fn input(self: &Rc<Self>, input: &mut &[u8]) -> Result<(), Reason> {
        let stage = &mut *self.stage.borrow_mut();
        if let Stage::Proxy = stage {
            match proxy_protocol::take(&self.conn, input) {
                Ok(None) => return Ok(()),
                Ok(Some(proxied)) => self.proxied(proxied),
                Err(()) => return Err(Reason::Protocol("no PROXY protocol header".into())),
            }
            *stage = Stage::handshake();
        }
        if let Stage::Handshake(handshake) = stage {
            let mut out = Vec::new();
            let progress = handshake
                .input(input, &mut out)
                .map_err(|error| Reason::Protocol(format!("handshake: {error}")))?;
            *input = input.get(progress.consumed..).unwrap_or_default();
            self.send(&out);
            if !progress.done {
                return Ok(());
            }
            *stage = Stage::Chunks(ChunkReader::new(self.limits(MAX_COMMAND)));
        }
        let Stage::Chunks(reader) = stage else {
            *input = &[];
            return Ok(());
        };
        while !self.share.is_used_up() {
            let message =
                reader.read(input).map_err(|error| Reason::Protocol(error.to_string()))?;
            let Some(message) = message else {
                self.share.take_chunks(reader.take_chunks());
                return Ok(());
            };
            self.share.take(cost(message.kind));
            match self.message(&message)? {
                Flow::Next if self.ended.get() => return Ok(()),
                Flow::Next => (),
                Flow::Pause => {
                    self.backlog.set(true);
                    return Ok(());
                }
                Flow::Stop => {
                    *stage = Stage::Closing;
                    *input = &[];
                    return Ok(());
                }
            }
        }
        self.backlog.set(!input.is_empty());
        Ok(())
    }

    pub(super) fn proxied(&self, proxied: Proxied) {
        // without an address the balancer speaks for itself: a health check
        if !proxied.addr.is_empty() {
            self.peer.replace(Peer {
                addr: proxied.addr.into(),
                ip: proxied.ip,
                port: proxied.port,
            });
        }
    }

    pub(super) fn limits(&self, max_message: usize) -> Limits {
        let server = self.server.borrow();
        Limits { max_streams: server.max_streams, max_message: max_message.min(server.max_message) }
    }

    /// A publisher may send messages as large as the server takes.
    pub(super) fn allow_media(&self) {
        if let Stage::Chunks(reader) = &mut *self.stage.borrow_mut() {
            reader.set_limits(self.limits(usize::MAX));
        }
    }
}

impl Handler for Session {
    fn readable(self: Rc<Self>) {
        if self.conn.wants_close() {
            return self.finalize(Reason::Shutdown);
        }
        if self.waits() {
            if self.conn.peer_gone() {
                self.finalize(Reason::ClientClosed);
            }
            return;
        }
        // what is too much for one turn is read once in each
        if self.event.is_posted() {
            return;
        }
        // announced nevertheless, it is too much to wait, or the end
        if self.polled.get() || !self.defer() {
            self.read();
        }
    }

    fn writable(self: Rc<Self>) {
        if self.ended.get() {
            return;
        }
        self.send_more();
    }

    fn panicked(self: Rc<Self>) {
        self.finalize(Reason::Internal);
    }
}
