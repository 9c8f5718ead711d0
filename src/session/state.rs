//! What a session is: how far it has come, who its client is, and its message streams (RTMP 1.0 section
//! 7.2.2), each of which publishes or plays under an id of its own. What it does is in the files beside.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::rc::{Rc, Weak};

use live::{Filter, Subscription};
use rtmp_protocol::chunk::ChunkReader;
use rtmp_protocol::control::Control;
use rtmp_protocol::handshake::ServerHandshake;
use rtmp_protocol::message;
use rtmp_protocol::renumber::Renumber;

use super::budget::Budget;
use super::times::Times;
use crate::admission::{AdmittedPlayer, AdmittedPublisher};
use crate::conf::{AppConf, Listen, ServerConf};
use crate::nginx::connection::Connection;
use crate::nginx::event::Event;
use crate::nginx::random;
use crate::nginx::share::Share;
use crate::nginx::task::Task;
use crate::stream_request::{Caller, StreamRequest, STREAM_ID};

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
pub enum Flow {
    /// Go on.
    Next,
    /// Wait until the decision that was begun is made.
    Pause,
    /// The session is over.
    Stop,
}

/// How far a session has come.
pub enum Stage {
    /// A balancer tells who the client is.
    Proxy,
    Handshake(ServerHandshake),
    Chunks(ChunkReader),
    /// The last answer is on its way; what the client still sends is not looked at.
    Closing,
}

impl Stage {
    pub fn handshake() -> Self {
        Stage::Handshake(ServerHandshake::new(random::seed()))
    }
}

/// Where the client is, by its connection or by what a balancer says.
pub struct Peer {
    pub addr: Rc<[u8]>,
    /// `None` for a unix socket.
    pub ip: Option<IpAddr>,
    pub port: u16,
}

/// What the client is to us, since `connect`.
pub struct Client {
    pub caller: Rc<Caller>,
    pub server: Rc<ServerConf>,
    /// As far as it is known before the client names a stream.
    pub app: Rc<AppConf>,
    /// What the client has connected to, without its query: the beginning of the paths of streams.
    pub app_name: Box<[u8]>,
}

/// What the client asked for last, in its own words, without queries, which may hold secrets.
#[derive(Default)]
pub struct Asked {
    pub app: Vec<u8>,
    pub name: Vec<u8>,
}

/// A client's session. It lives as long as its connection's handler, and ends with [`finalize`].
///
/// [`finalize`]: Session::finalize
pub struct Session {
    pub(super) conn: Connection,
    pub(super) this: Weak<Session>,
    pub(super) listen: Rc<Listen>,
    /// The server by address, then by name.
    pub(super) server: RefCell<Rc<ServerConf>>,
    pub(super) stage: RefCell<Stage>,
    pub(super) peer: RefCell<Peer>,
    pub(super) client: OnceCell<Client>,
    pub(super) streams: RefCell<MessageStreams>,
    /// How many of them play.
    pub(super) players: Cell<usize>,
    /// What the client does, or did last: NONE, PLAY or PUBLISH.
    pub(super) command: Cell<&'static str>,
    /// Why the session ended.
    pub(super) reason: RefCell<String>,
    pub(super) asked: RefCell<Asked>,
    /// What the client publishes or plays, or did last.
    pub(super) stream_request: RefCell<Option<Rc<StreamRequest>>>,
    /// What the client is allowed is being decided; its input waits.
    pub(super) decision: RefCell<Option<Task>>,
    /// The session is about to end.
    pub(super) ending: RefCell<Option<Task>>,
    /// What is read into, the worker's.
    pub(super) buffer: Rc<RefCell<Vec<u8>>>,
    /// Input that waits: the beginning of a chunk header, all behind a pending decision, or what is
    /// too much for this turn.
    pub(super) unread: RefCell<Vec<u8>>,
    /// What waits is more than a beginning: it is handled before anything is read.
    pub(super) backlog: Cell<bool>,
    pub(super) share: Share,
    /// What was read last ended with a message, was not much, and waits for more, so the next may
    /// wait as well.
    pub(super) may_defer: Cell<bool>,
    /// Input is looked for at each flush, and not announced.
    pub(super) polled: Cell<bool>,
    /// Output outside of a subscription that the client has not taken yet.
    pub(super) unsent: RefCell<Vec<u8>>,
    /// The player whose bytes the client has taken in part: they come first.
    pub(super) cut_short: Cell<Option<u32>>,
    /// A player has written since the client was seen to take bytes again.
    pub(super) resumed: Cell<bool>,
    pub(super) ended: Cell<bool>,
    /// Its timer is armed for the nearest deadline; posted, it goes on with input that waits.
    pub(super) event: Event,
    pub(super) times: Times,
    pub(super) budget: Budget,
    pub(super) control: Cell<Control>,
}

impl Session {
    pub(super) fn rc(&self) -> Option<Rc<Session>> {
        self.this.upgrade()
    }

    /// What the client said in `connect`.
    pub fn client(&self) -> Option<&Client> {
        self.client.get()
    }

    pub(super) fn chunk_size(&self) -> usize {
        self.server.borrow().chunk_size
    }

    /// An onStatus on a message stream.
    pub(super) fn status(&self, id: u32, level: &str, code: &str, description: &str) -> Vec<u8> {
        let mut out = Vec::new();
        let values = rtmp_protocol::command::on_status(level, code, description);
        message::command(&mut out, message::CSID_STATUS, id, self.chunk_size(), &values);
        out
    }
}

/// Message streams that a connection may have at a time: a client that publishes or plays as many
/// names as fit on one is content, and one that only creates them holds little.
const MAX_MESSAGE_STREAMS: usize = 64;
/// The id of the connection itself. Some clients speak of their only stream by it.
const CONNECTION: u32 = 0;

/// What the client does with a stream.
#[derive(Default)]
pub enum Role {
    #[default]
    None,
    Publisher(AdmittedPublisher),
    Player(Viewer),
}

/// A player's place in a stream: it stops receiving before it has left.
pub struct Viewer {
    pub subscription: Subscription,
    pub stream_request: Rc<StreamRequest>,
    pub playing: AdmittedPlayer,
}

impl Role {
    /// Says why it ends, before it is dropped.
    pub fn ends(&self, why: &str) {
        match self {
            Role::None => (),
            Role::Publisher(publishing) => publishing.ends(why),
            Role::Player(viewer) => viewer.playing.ends(why),
        }
    }
}

/// One message stream.
pub struct MessageStream {
    session: Weak<Session>,
    pub id: u32,
    /// By what the client speaks of it, if not by its id.
    alias: Cell<Option<u32>>,
    /// What it publishes or plays, in the client's words.
    pub name: RefCell<Vec<u8>>,
    pub role: RefCell<Role>,
    /// The application of what it publishes or plays, or did last.
    pub app: RefCell<Option<Rc<AppConf>>>,
    /// What the player wants of a stream.
    pub filter: Cell<Filter>,
    /// The client is being told that its source came or went, or that it is to leave.
    pub telling: RefCell<Option<Task>>,
    /// When a publisher started or sent media last, in the loop's milliseconds.
    pub media: Cell<Option<u64>>,
    /// Since when a player waits for a source.
    pub no_source_since: Cell<Option<u64>>,
    /// What is sent to a player has the id of the first message stream, which all players share;
    /// on another one it is changed on its way.
    pub renumber: RefCell<Option<Box<Renumber>>>,
}

impl MessageStream {
    fn new(session: &Rc<Session>, id: u32) -> Rc<Self> {
        let chunk_size = session.chunk_size();
        Rc::new(MessageStream {
            session: Rc::downgrade(session),
            id,
            alias: Cell::new(None),
            name: RefCell::default(),
            role: RefCell::default(),
            app: RefCell::default(),
            filter: Cell::new(Filter::ALL),
            telling: RefCell::default(),
            media: Cell::new(None),
            no_source_since: Cell::new(None),
            renumber: RefCell::new(
                (id != STREAM_ID).then(|| Box::new(Renumber::new(id, chunk_size))),
            ),
        })
    }

    /// The session, as long as it lasts.
    pub fn session(&self) -> Option<Rc<Session>> {
        self.session.upgrade()
    }

    pub fn is_idle(&self) -> bool {
        matches!(*self.role.borrow(), Role::None)
    }

    pub fn publishes(&self) -> bool {
        matches!(*self.role.borrow(), Role::Publisher(_))
    }

    pub fn plays(&self) -> bool {
        matches!(*self.role.borrow(), Role::Player(_))
    }

    fn is(&self, id: u32) -> bool {
        self.id == id || self.alias.get() == Some(id)
    }
}

/// Those of a connection.
#[derive(Default)]
pub struct MessageStreams(Vec<Rc<MessageStream>>);

impl MessageStreams {
    pub fn iter(&self) -> std::slice::Iter<'_, Rc<MessageStream>> {
        self.0.iter()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Those that publish or play.
    pub fn in_use(&self) -> usize {
        self.iter().filter(|stream| !stream.is_idle()).count()
    }

    /// The one of that id.
    pub fn get(&self, id: u32) -> Option<&Rc<MessageStream>> {
        self.iter().find(|stream| stream.is(id))
    }

    /// The one that media or a command of that id is for: of the connection's own, the only one that
    /// fits.
    pub fn addressed(
        &self,
        id: u32,
        fits: impl Fn(&MessageStream) -> bool,
    ) -> Option<&Rc<MessageStream>> {
        match self.get(id) {
            Some(stream) => fits(stream).then_some(stream),
            None if id == CONNECTION => self.only(fits),
            None => None,
        }
    }

    /// The one that fits, if no other does.
    pub fn only(&self, fits: impl Fn(&MessageStream) -> bool) -> Option<&Rc<MessageStream>> {
        let mut fitting = self.iter().filter(|stream| fits(stream));
        match (fitting.next(), fitting.next()) {
            (Some(stream), None) => Some(stream),
            _ => None,
        }
    }

    /// A new one with the lowest id that is free: 1, 2, 3 … None if the connection has too many.
    pub fn create(&mut self, session: &Rc<Session>) -> Option<Rc<MessageStream>> {
        if self.len() >= MAX_MESSAGE_STREAMS {
            return None;
        }
        let id = (STREAM_ID..).find(|id| self.iter().all(|stream| !stream.is(*id)))?;
        let stream = MessageStream::new(session, id);
        // most clients need one
        self.0.reserve_exact(1);
        self.0.push(stream.clone());
        Some(stream)
    }

    /// The one that a client means that publishes or plays on an id which it did not create: its
    /// first one that is idle.
    pub fn adopt(&mut self, session: &Rc<Session>, id: u32) -> Option<Rc<MessageStream>> {
        if let Some(stream) = self.get(id) {
            return Some(stream.clone());
        }
        let idle = self.iter().filter(|stream| stream.is_idle()).min_by_key(|stream| stream.id);
        let stream = idle.cloned().or_else(|| self.create(session))?;
        stream.alias.set(Some(id));
        Some(stream)
    }

    /// Takes the one of that id out.
    pub fn remove(&mut self, id: u32) -> Option<Rc<MessageStream>> {
        let at = self.iter().position(|stream| stream.is(id))?;
        Some(self.0.remove(at))
    }

    /// All, to be ended with the session.
    pub fn take(&mut self) -> Vec<Rc<MessageStream>> {
        std::mem::take(&mut self.0)
    }
}
