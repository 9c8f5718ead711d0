//! One RTMP client, from accept to close.

mod command;
mod control;
mod output;
mod play;
mod publish;
mod streams;
mod timer;
mod vars;

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::rc::{Rc, Weak};

use live::Key;
use rtmp_protocol::chunk::{ChunkReader, Limits, MAX_HEADER};
use rtmp_protocol::command::Connect;
use rtmp_protocol::handshake::ServerHandshake;
use rtmp_protocol::message;

use crate::admission::AdmittedPublisher;
use crate::conf::{AppConf, Listen, Place, ServerConf};
use crate::nginx::clock;
use crate::nginx::connection::{Connection, Handler};
use crate::nginx::event::{Event, Fired};
use crate::nginx::log;
use crate::nginx::proxy_protocol::{self, Proxied};
use crate::nginx::random;
use crate::nginx::share::{self, Share, READS_A_TURN};
use crate::nginx::task::Task;
use crate::registry;
use crate::stream_request::{join, StreamRequest, MAX_NAME};
use streams::{MessageStream, MessageStreams, Role};

/// What is read at once. All sessions of a worker share the buffer, since each message is used up
/// before the next session is looked at.
const READ_BUFFER: usize = 64 * 1024;
/// A publisher that sends more than this at a time, in bytes, is read whenever something has come:
/// what waits must not fill the socket.
const DEFER_BYTES: u16 = 32 * 1024;
/// Of a stream with no more players than this, messages are not announced while it gathers. With
/// more, one write to each of them weighs more than to be told of the messages, and a window that
/// begins with the first of them has fewer writes than one that begins with the flush before.
const QUIET_PLAYERS: usize = 4;
/// The longest message of a client that does not publish, in bytes: commands are short, so that
/// many unknown clients can't make us hold much.
const MAX_COMMAND: usize = 64 * 1024;

thread_local! {
    /// Each session holds it, since looking up what is the thread's own costs several cache misses.
    static BUFFER: Rc<RefCell<Vec<u8>>> =
        Rc::new(RefCell::new(vec![0; MAX_HEADER + READ_BUFFER]));
}

/// How many messages one of this type counts for.
fn cost(kind: u8) -> u32 {
    match kind {
        message::COMMAND | message::COMMAND_AMF3 | message::USER_CONTROL => share::ANSWERED,
        _ => 1,
    }
}

/// Ends the session if what it does meanwhile panics.
struct EndOnPanic<'a>(&'a Session);

impl Drop for EndOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.finalize(Reason::Internal);
        }
    }
}

/// Why a session ends. Shown in the log, with the client's address.
#[derive(Debug)]
pub enum Reason {
    /// The client closed the connection.
    ClientClosed,
    /// Reading or writing failed.
    Io(io::Error),
    /// The client sent what the protocol or a limit forbids.
    Protocol(String),
    /// Nothing came or nothing was taken for too long.
    TimedOut(&'static str),
    /// The client was told why in a status.
    Refused(&'static str),
    /// The worker leaves, or has too few connections.
    Shutdown,
    /// A panic was caught.
    Internal,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::ClientClosed => f.write_str("closed by the client"),
            Reason::Io(error) => write!(f, "connection failed: {error}"),
            Reason::Protocol(what) => f.write_str(what),
            Reason::TimedOut(what) => write!(f, "timed out: {what}"),
            Reason::Refused(what) => write!(f, "refused: {what}"),
            Reason::Shutdown => f.write_str("closed at shutdown"),
            Reason::Internal => f.write_str("internal error"),
        }
    }
}

/// What a handled message means for those behind it.
pub(crate) enum Flow {
    /// Go on.
    Next,
    /// Wait until the decision that was begun is made.
    Pause,
    /// The session is over.
    Stop,
}

/// How far a session has come.
enum Stage {
    /// A balancer tells who the client is.
    Proxy,
    Handshake(ServerHandshake),
    Chunks(ChunkReader),
    /// The last answer is on its way; what the client still sends is not looked at.
    Closing,
}

impl Stage {
    fn handshake() -> Self {
        Stage::Handshake(ServerHandshake::new(random::seed()))
    }
}

/// Where the client is, by its connection or by what a balancer says.
struct Peer {
    addr: Vec<u8>,
    /// `None` for a unix socket.
    ip: Option<IpAddr>,
    port: u16,
}

/// What the client is to us, since `connect`.
pub struct Client {
    pub connect: Connect,
    pub server: Rc<ServerConf>,
    /// As far as it is known before the client names a stream.
    pub app: Rc<AppConf>,
    /// The host of tcUrl.
    pub domain: Vec<u8>,
    /// What the client has connected to, without its query: the beginning of the paths of streams.
    pub app_name: Vec<u8>,
}

/// What the client asked for last, in its own words, without queries, which may hold secrets.
#[derive(Default)]
struct Asked {
    app: Vec<u8>,
    name: Vec<u8>,
}

/// Whether the peer has closed the connection without reading all of it.
fn is_reset(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

/// A client's session. It lives as long as its connection's handler, and ends with [`finalize`].
///
/// [`finalize`]: Session::finalize
pub struct Session {
    conn: Connection,
    this: Weak<Session>,
    listen: Rc<Listen>,
    /// The server by address, then by name.
    server: RefCell<Rc<ServerConf>>,
    stage: RefCell<Stage>,
    peer: RefCell<Peer>,
    client: OnceCell<Client>,
    streams: RefCell<MessageStreams>,
    /// How many of them play.
    players: Cell<usize>,
    /// What the client does, or did last: NONE, PLAY or PUBLISH.
    command: Cell<&'static str>,
    /// Why the session ended.
    reason: RefCell<String>,
    asked: RefCell<Asked>,
    /// What the client publishes or plays, or did last.
    stream_request: RefCell<Option<Rc<StreamRequest>>>,
    /// What the client is allowed is being decided; its input waits.
    decision: RefCell<Option<Task>>,
    /// The session is about to end.
    ending: RefCell<Option<Task>>,
    /// What is read into, the worker's.
    buffer: Rc<RefCell<Vec<u8>>>,
    /// Input that waits: the beginning of a chunk header, all behind a pending decision, or what is
    /// too much for this turn.
    unread: RefCell<Vec<u8>>,
    /// What waits is more than a beginning: it is handled before anything is read.
    backlog: Cell<bool>,
    share: Share,
    /// What was read last ended with a message, was not much, and waits for more, so the next may
    /// wait as well.
    unhurried: Cell<bool>,
    /// Input is looked for at each flush, and not announced.
    quiet: Cell<bool>,
    /// Output outside of a subscription that the client has not taken yet.
    unsent: RefCell<Vec<u8>>,
    /// The player whose bytes the client has taken in part: they come first.
    cut_short: Cell<Option<u32>>,
    /// A player has written since the client was seen to take bytes again.
    resumed: Cell<bool>,
    ended: Cell<bool>,
    /// Its timer is armed for the nearest deadline; posted, it goes on with input that waits.
    event: Event,
    times: timer::Times,
    budget: command::Budget,
    bytes_in: Cell<u64>,
    acks: control::Acks,
}

/// Serves the client of a connection that was accepted for `listen`.
pub fn start(conn: Connection, listen: Rc<Listen>) {
    Session::start(conn, listen);
}

impl Session {
    fn start(conn: Connection, listen: Rc<Listen>) {
        let server = listen.default_server.clone();
        if server.tcp_nodelay {
            conn.set_nodelay();
        }
        conn.number_log();
        let proxied = listen.proxy_protocol;
        let peer = Peer { addr: conn.addr_text(), ip: conn.ip(), port: conn.port() };
        if proxied && !server.trusts(peer.ip) {
            log::error!(
                conn.log(),
                "rtmp: a PROXY protocol header is not taken from here, client: {}, server: {}",
                String::from_utf8_lossy(&peer.addr),
                listen.addr,
            );
            return;
        }
        let session = Rc::new_cyclic(|this: &Weak<Session>| {
            let own = this.clone();
            let event = Event::told(move |fired| {
                let Some(session) = own.upgrade() else { return };
                let _end = EndOnPanic(&session);
                match fired {
                    Fired::Timer => session.tick(),
                    Fired::Posted => session.read(),
                }
            });
            Session {
                conn,
                this: this.clone(),
                listen,
                stage: RefCell::new(match proxied {
                    true => Stage::Proxy,
                    false => Stage::handshake(),
                }),
                peer: RefCell::new(peer),
                client: OnceCell::new(),
                streams: RefCell::default(),
                players: Cell::new(0),
                command: Cell::new("NONE"),
                reason: RefCell::default(),
                asked: RefCell::default(),
                stream_request: RefCell::default(),
                decision: RefCell::default(),
                ending: RefCell::default(),
                buffer: BUFFER.with(Rc::clone),
                unread: RefCell::default(),
                backlog: Cell::new(false),
                share: Share::default(),
                unhurried: Cell::new(false),
                quiet: Cell::new(false),
                unsent: RefCell::default(),
                cut_short: Cell::new(None),
                resumed: Cell::new(false),
                ended: Cell::new(false),
                event,
                times: timer::Times::new(clock::now()),
                budget: command::Budget::new(clock::now()),
                bytes_in: Cell::new(0),
                acks: control::Acks::default(),
                server: RefCell::new(server),
            }
        });
        session.conn.set_handler(session.clone());
        session.arm_timer();
        // a client may say all it has to say before we look, and leave while that is decided about
        if let Err(error) = session.conn.await_readable() {
            return session.finalize(Reason::Io(error));
        }
        session.read();
    }

    fn rc(&self) -> Option<Rc<Session>> {
        self.this.upgrade()
    }

    /// What the client said in `connect`.
    pub fn client(&self) -> Option<&Client> {
        self.client.get()
    }

    /// Reads and handles what is there, as far as the session goes.
    fn read(self: &Rc<Self>) {
        self.share.renew();
        self.read_on();
    }

    /// The same with what is left of the client's share in this turn.
    fn read_on(self: &Rc<Self>) {
        // never nested: a handler of one session does not read another
        let Ok(mut shared) = self.buffer.try_borrow_mut() else { return };
        let buffer = &mut *shared;
        let before = self.bytes_in.get();
        for _ in 0..READS_A_TURN {
            if self.ended.get() || self.waits() || self.share.is_used_up() {
                break;
            }
            let kept = self.take_unread(buffer);
            let received = match self.backlog.take() {
                true => Err(io::ErrorKind::WouldBlock.into()),
                false => self.conn.recv(&mut buffer[kept..kept + READ_BUFFER]),
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
            let mut input = &buffer[..kept + n];
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
        if !self.ended.get() {
            if (self.conn.is_ready() || self.backlog.get()) && !self.waits() {
                self.event.post_next();
            }
            if !self.conn.is_ready() {
                if let Err(error) = self.conn.await_readable() {
                    self.finalize(Reason::Io(error));
                }
            }
        }
        let moderate = self.bytes_in.get() - before <= DEFER_BYTES.into();
        self.unhurried.set(
            moderate
                && self.unread.borrow().is_empty()
                && self.is_between_messages()
                && self.gathers(),
        );
    }

    /// Moves what waits of the input to the front of the buffer, with room for a read behind it.
    fn take_unread(&self, buffer: &mut Vec<u8>) -> usize {
        let mut unread = self.unread.borrow_mut();
        let kept = unread.len();
        if kept > 0 {
            if buffer.len() < kept + READ_BUFFER {
                buffer.resize(kept + READ_BUFFER, 0);
            }
            buffer[..kept].copy_from_slice(&unread);
            *unread = Vec::new();
        }
        kept
    }

    /// Sends the players what was just read, unless it is gathered.
    fn flush(&self) {
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
    fn publisher<T>(&self, ask: impl Fn(&AdmittedPublisher) -> T) -> Option<T> {
        let streams = self.streams.borrow();
        let role = streams.only(MessageStream::publishes)?.role.borrow();
        match &*role {
            Role::Publisher(publishing) => Some(ask(publishing)),
            _ => None,
        }
    }

    fn is_between_messages(&self) -> bool {
        matches!(&*self.stage.borrow(), Stage::Chunks(reader) if reader.is_between_messages())
    }

    /// Whether what it publishes waits for more before it is sent to players.
    fn gathers(&self) -> bool {
        self.publisher(|publishing| publishing.publication.gathers(clock::now())).unwrap_or(false)
    }

    /// Puts off reading what a publisher has sent, if players would not get it before the next
    /// flush: the kernel then hands over several messages at once, and acknowledges them together.
    /// The rest of a message that has begun is not put off, since its sender may be waiting for an
    /// acknowledgement to send it (Nagle's algorithm).
    fn defer(&self) -> bool {
        self.unhurried.get()
            && !self.conn.peer_gone()
            && self
                .publisher(|publishing| publishing.publication.defer(clock::now()))
                .unwrap_or(false)
    }

    /// Reads what was put off, just before a flush. Where several messages came since the last one
    /// for few players, those that come until the next are not announced to us at all: that costs as
    /// much as reading.
    fn collect(self: &Rc<Self>) {
        let quiet = self.quiet.get();
        if quiet {
            self.conn.expect_input();
        }
        self.read();
        let counts = self.publisher(|AdmittedPublisher { publication, .. }| {
            (publication.taken(), publication.stream().players())
        });
        let (taken, players) = counts.unwrap_or((0, 0));
        let enough = if quiet { 1 } else { 2 };
        self.set_quiet(taken >= enough && players <= QUIET_PLAYERS && self.defer());
    }

    /// Says whether input is announced, if it is not much.
    fn set_quiet(&self, quiet: bool) {
        if self.quiet.get() != quiet {
            let announced = self.conn.announce_from(if quiet { DEFER_BYTES } else { 1 });
            self.quiet.set(quiet && announced);
        }
    }

    /// Whether input has to wait: for a decision, or because it is not wanted any more.
    fn waits(&self) -> bool {
        self.decision.borrow().is_some() || self.ending.borrow().is_some()
    }

    fn received(&self, n: u64) {
        self.bytes_in.set(self.bytes_in.get() + n);
        if n > 0 {
            self.heard(clock::now());
        }
        self.acknowledge();
    }

    /// Handles input until it is used up, or the rest has to wait.
    fn input(self: &Rc<Self>, input: &mut &[u8]) -> Result<(), Reason> {
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

    fn proxied(&self, proxied: Proxied) {
        // without an address the balancer speaks for itself: a health check
        if !proxied.addr.is_empty() {
            self.peer.replace(Peer { addr: proxied.addr, ip: proxied.ip, port: proxied.port });
        }
    }

    fn limits(&self, max_message: usize) -> Limits {
        let server = self.server.borrow();
        Limits { max_streams: server.max_streams, max_message: max_message.min(server.max_message) }
    }

    /// A publisher may send messages as large as the server takes.
    fn allow_media(&self) {
        if let Stage::Chunks(reader) = &mut *self.stage.borrow_mut() {
            reader.set_limits(self.limits(usize::MAX));
        }
    }

    /// Refuses what was asked on a message stream, or ends it, with a status there. The others go on;
    /// a client that has no other is closed behind the status.
    fn refuse(self: &Rc<Self>, stream: &MessageStream, code: &str, why: &'static str) -> Flow {
        self.asked.borrow_mut().name.clone_from(&stream.name.borrow());
        if self.streams.borrow().len() > 1 {
            self.leave(stream);
            self.rest();
            return self.deny(stream.id, code, why);
        }
        let status = self.status(stream.id, "error", code, why);
        self.send(&status);
        self.close(Reason::Refused(why));
        Flow::Stop
    }

    /// Refuses a command, and what the client does goes on.
    fn deny(&self, id: u32, code: &str, why: &'static str) -> Flow {
        self.send(&self.status(id, "error", code, why));
        self.log_end(&Reason::Refused(why));
        Flow::Next
    }

    /// Takes note of the stream that the client asks for.
    fn stream_request(
        &self,
        stream: &MessageStream,
        name: &[u8],
        args: Vec<u8>,
    ) -> Result<Rc<StreamRequest>, &'static str> {
        let client = self.client().ok_or("not connected")?;
        self.times.asked();
        let connect = &client.connect;
        let path = join(&client.app_name, name);
        let Some(Place { conf, app, name }) = client.server.split(&path) else {
            return Err("no such application");
        };
        if app.len() > MAX_NAME || name.len() > MAX_NAME {
            return Err("the name is too long");
        }
        stream.app.replace(Some(conf.clone()));
        let server = client.server.id.as_str().into();
        let key = Key { server, app: app.into(), name: name.into() };
        // the stream's own, which all of its players share
        let key = registry::find(&key).map_or(key, |stream| stream.key().clone());
        let stream_request = Rc::new(StreamRequest {
            server: client.server.clone(),
            app: conf,
            key,
            domain: client.domain.clone(),
            args,
            remote_addr: self.peer.borrow().addr.clone(),
            ip: self.peer.borrow().ip,
            remote_port: self.peer.borrow().port,
            local: self.conn.local(),
            connection: self.conn.number(),
            tc_url: connect.tc_url.clone(),
            page_url: connect.page_url.clone(),
            swf_url: connect.swf_url.clone(),
            flash_ver: connect.flash_ver.clone(),
            scheme: "rtmp",
            hops: connect.hops,
            via: connect.via.clone(),
        });
        self.stream_request.replace(Some(stream_request.clone()));
        Ok(stream_request)
    }

    /// Ends the session when what is unsent has been taken, and the client has closed its side.
    fn close(self: &Rc<Self>, reason: Reason) {
        self.log_end(&reason);
        self.decision.take();
        for stream in self.streams.take().take() {
            self.leave(&stream);
        }
        // a message may be under way in `input`, which then sees that it is to stop
        if let Ok(mut stage) = self.stage.try_borrow_mut() {
            *stage = Stage::Closing;
        }
        self.times.close_by(clock::now());
        self.arm_timer();
        self.half_close_when_sent();
    }

    fn half_close_when_sent(&self) {
        if self.times.closing() && self.unsent.borrow().is_empty() {
            self.conn.shutdown_write();
        }
    }

    /// Ends the session: at once, in any state, any number of times.
    pub fn finalize(&self, reason: Reason) {
        if self.ended.replace(true) {
            return;
        }
        let publishes = self.streams.borrow().iter().any(|stream| stream.publishes());
        let reason = match reason {
            // whoever closes with something of ours unread resets the connection
            Reason::Io(error) if !publishes && is_reset(&error) => Reason::ClientClosed,
            reason => reason,
        };
        if !self.times.closing() {
            self.log_end(&reason);
        }
        // what was begun is cancelled by dropping it
        self.event.cancel();
        self.decision.take();
        self.ending.take();
        for stream in self.streams.take().take() {
            stream.telling.take();
            drop(stream.role.take());
        }
        let named =
            self.stream_request.borrow().as_ref().map(|stream_request| stream_request.app.clone());
        if let Some(app) = named.as_ref().or(self.client().map(|client| &client.app)) {
            crate::access_log::write(app, self);
        }
        // the handler held the session; the connection closes with the last hold on it
        self.conn.clear_handler();
    }

    /// A refusal is as urgent as nginx's own "access forbidden by rule".
    fn log_end(&self, reason: &Reason) {
        let left = !self.reason.borrow().is_empty() && matches!(reason, Reason::ClientClosed);
        if !left {
            self.reason.replace(reason.to_string());
        }
        let line = self.line(reason);
        match reason {
            Reason::Refused(_) => log::error!(self.conn.log(), "{line}"),
            _ => log::info!(self.conn.log(), "{line}"),
        }
    }

    /// A line of the log: what has become of that which the client asked for last.
    fn line(&self, what: &dyn fmt::Display) -> String {
        let text = |bytes: &[u8]| {
            String::from_utf8_lossy(bytes.get(..MAX_NAME).unwrap_or(bytes)).into_owned()
        };
        let asked = self.asked.borrow();
        format!(
            "rtmp: {} {what}, app: \"{}\", name: \"{}\", client: {}, server: {}",
            self.command.get(),
            text(&asked.app),
            text(&asked.name),
            text(&self.peer.borrow().addr),
            self.listen.addr,
        )
    }

    fn chunk_size(&self) -> usize {
        self.server.borrow().chunk_size
    }

    /// An onStatus on a message stream.
    fn status(&self, id: u32, level: &str, code: &str, description: &str) -> Vec<u8> {
        let mut out = Vec::new();
        let values = rtmp_protocol::command::on_status(level, code, description);
        message::command(&mut out, message::CSID_STATUS, id, self.chunk_size(), &values);
        out
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
        if self.quiet.get() || !self.defer() {
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
