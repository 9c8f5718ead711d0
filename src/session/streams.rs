//! A client's message streams (RTMP 1.0 section 7.2.2): what it publishes and plays, each under an
//! id of its own.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use live::{Filter, Subscription};
use rtmp_protocol::renumber::Renumber;

use super::Session;
use crate::admission::{AdmittedPlayer, AdmittedPublisher};
use crate::conf::AppConf;
use crate::nginx::task::Task;
use crate::stream_request::{StreamRequest, STREAM_ID};

/// Message streams that a connection may have at a time: a client that publishes or plays as many
/// names as fit on one is content, and one that only creates them holds little.
const MAX: usize = 64;
/// The id of the connection itself. Some clients speak of their only stream by it.
const CONNECTION: u32 = 0;

/// What the client does with a stream.
#[derive(Default)]
pub(super) enum Role {
    #[default]
    None,
    Publisher(AdmittedPublisher),
    Player(Viewer),
}

/// A player's place in a stream: it stops receiving before it has left.
pub(super) struct Viewer {
    pub subscription: Subscription,
    pub stream_request: Rc<StreamRequest>,
    pub _playing: AdmittedPlayer,
}

/// One message stream.
pub(super) struct MessageStream {
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
    pub unfed: Cell<Option<u64>>,
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
            unfed: Cell::new(None),
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
pub(super) struct MessageStreams(Vec<Rc<MessageStream>>);

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
        if self.len() >= MAX {
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
