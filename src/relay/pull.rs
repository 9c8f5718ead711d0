//! Pulls: what is played here and not published here is published by us, from another server.
//!
//! The players of a stream share its pull: it starts when there is one of them and no source, and
//! ends when the last has left, or when somebody publishes the stream here.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};

use rtmp_protocol::command;
use rtmp_protocol::message;

use super::clients::Clients;
use super::push;
use super::reconnect::{keep_up, Failure, Refused, Relay, Stop, Targets};
use super::rtmp::Role;
use super::target::{Scheme, Target};
use super::{flv, rtmp, Line};
use crate::conf::{self, AppConf, Msec, ServerConf};
use crate::directory::{self, Interest};
use crate::live::{self, Change, Key, Kind, Media, Publication, Source, Stream};
use crate::nginx::clock;
use crate::nginx::peer::AsyncConn;
use crate::nginx::process;
use crate::nginx::task::{self, sleep, Task};
use crate::oclp::Scheduled;
use crate::visit::Visit;

/// Below every publisher, so that one who comes wins.
const PRIORITY: i32 = -1;

thread_local! {
    static AUDIENCES: RefCell<HashMap<Key, Weak<Audience>>> = RefCell::default();
    /// The places of those who play without end: static pulls.
    static STATIC: RefCell<Vec<(Seat, Rc<Interest>)>> = const { RefCell::new(Vec::new()) };
    /// Those that go on without a player of this worker.
    static BEREFT: RefCell<HashMap<Key, Bereft>> = RefCell::default();
}

/// An audience that has lost its players, and may get others.
struct Bereft {
    _audience: Rc<Audience>,
    /// How long it goes on when no other worker plays from it either.
    linger: Msec,
    end: Option<Task>,
}

/// A worker starts.
pub fn init() {
    live::observe(changed);
    // one worker pulls for all
    if process::worker() > 0 {
        return;
    }
    let Some(main) = conf::main_conf() else { return };
    for server in &main.servers {
        for app in server.applications() {
            if app.live.live {
                keep_static(server, app);
            }
        }
    }
}

/// A worker ends: so do the static pulls, while what they hold of nginx is still there.
pub fn exit() {
    drop(STATIC.take());
    drop(BEREFT.take());
}

/// Takes a place that is never left, for a line `pull … static`.
fn keep_static(server: &Rc<ServerConf>, app: &Rc<AppConf>) {
    let Some(line) = app.relay.pull.as_ref().filter(|_| app.oclp.pull.is_none()) else { return };
    let Some(name) = &line.keep else { return };
    let visit = Rc::new(Visit {
        server: server.clone(),
        app: app.clone(),
        key: Key {
            server: server.id.as_str().into(),
            app: app.name.as_slice().into(),
            name: name.as_slice().into(),
        },
        domain: Vec::new(),
        args: Vec::new(),
        remote_addr: Vec::new(),
        ip: None,
        remote_port: 0,
        local: None,
        connection: 0,
        tc_url: Vec::new(),
        page_url: Vec::new(),
        swf_url: Vec::new(),
        flash_ver: Vec::new(),
        scheme: "rtmp",
        hops: 0,
        via: Vec::new(),
    });
    let audience = Audience::of(&visit.stream());
    audience.is_static.set(true);
    // workers of the generation before may still pull it
    let interest = directory::inner::interest(&visit.key);
    let seat = audience.take_seat(&visit);
    STATIC.with_borrow_mut(|seats| seats.push((seat, interest)));
}

/// Whether the application pulls at all.
pub fn possible(visit: &Visit) -> bool {
    visit.app.relay.pull.is_some() || visit.app.oclp.pull.is_some()
}

/// Whether a pull is to start for a stream that `visit` plays: nobody publishes it.
fn needed(stream: &Rc<Stream>, visit: &Rc<Visit>) -> bool {
    !stream.on_air() && possible(visit)
}

/// A player was let in.
pub fn join(visit: &Rc<Visit>, stream: &Rc<Stream>) -> Seat {
    Audience::of(stream).take_seat(visit)
}

/// A source in another worker came or went. If it was the worker that pulled the stream for all, it
/// is up to this one now. If it is a publisher, players go over to it; a pull that nobody plays ends.
pub fn resume(stream: &Rc<Stream>) {
    let Some(audience) = find(stream.key()) else { return };
    let other = directory::source(stream.key());
    if audience.is_empty() && other.is_some_and(|other| other.priority > PRIORITY) {
        drop(audience.pull.take());
    } else {
        audience.start_if_needed();
    }
}

fn find(key: &Key) -> Option<Rc<Audience>> {
    AUDIENCES.with_borrow(|all| all.get(key).and_then(Weak::upgrade))
}

/// Follows a stream's sources.
fn changed(stream: &Rc<Stream>, change: Change) {
    let Some(audience) = find(stream.key()) else { return };
    match change {
        // it wins, and the players are with it already
        Change::Published { own: true } => drop(audience.pull.take()),
        Change::Published { own: false } if audience.is_static.get() => {
            let pushes = audience.players.first().and_then(|visit| push::start(&visit, stream));
            audience.pushes.replace(pushes);
        }
        Change::Unpublished => {
            audience.pushes.take();
            audience.start_if_needed();
        }
        Change::Audience { some } => audience.note_players(some),
        _ => (),
    }
}

/// Those who play a stream in this worker.
struct Audience {
    stream: Rc<Stream>,
    players: Clients,
    /// One of the players never leaves, and is none.
    is_static: Cell<bool>,
    pull: RefCell<Option<Task>>,
    /// The pull's connection.
    conn: RefCell<Weak<AsyncConn>>,
    /// A static pull is pushed on.
    pushes: RefCell<Option<push::Share>>,
}

/// A player's place; dropped, it has left.
pub struct Seat {
    audience: Rc<Audience>,
    id: u64,
}

impl Audience {
    fn of(stream: &Rc<Stream>) -> Rc<Self> {
        if let Some(audience) = find(stream.key()) {
            return audience;
        }
        let audience = Rc::new(Audience {
            stream: stream.clone(),
            players: Clients::default(),
            is_static: Cell::new(false),
            pull: RefCell::default(),
            conn: RefCell::default(),
            pushes: RefCell::default(),
        });
        let key = stream.key().clone();
        AUDIENCES.with_borrow_mut(|all| all.insert(key, Rc::downgrade(&audience)));
        audience
    }

    fn take_seat(self: &Rc<Self>, visit: &Rc<Visit>) -> Seat {
        let id = self.players.enter(visit);
        self.start_if_needed();
        self.note_idle();
        Seat { audience: self.clone(), id }
    }

    fn start_if_needed(self: &Rc<Self>) {
        let Some(visit) = self.players.first() else { return };
        if self.pull.borrow().is_some() || !needed(&self.stream, &visit) {
            return;
        }
        if let Some(callback) = &visit.app.oclp.pull {
            self.start(Scheduled(callback.clone()));
        } else if let Some(line) = &visit.app.relay.pull {
            self.start(Line { line: line.clone(), pull: true });
        }
    }

    /// Pulls from where `targets` says.
    fn start(self: &Rc<Self>, mut targets: impl Targets + 'static) {
        // a stream is pulled once, whatever the number of workers
        let Ok(hold) = directory::claim_pull(self.stream.key(), PRIORITY) else {
            directory::find_source(&self.stream);
            return;
        };
        let pull = Pull { audience: Rc::downgrade(self), stream: self.stream.clone() };
        let task = task::spawn(async move {
            let _hold = hold;
            let stop = keep_up(&pull, &mut targets).await;
            let Some(audience) = pull.audience.upgrade() else { return };
            let visit = audience.players.first();
            match stop {
                // before the others hear that it is up to them
                Stop::EndClients(why) => {
                    directory::end_players(pull.stream.key());
                    pull.stream.end_players(why);
                }
                Stop::GiveUp if visit.is_some_and(|visit| !visit.app.live.idle_streams) => {
                    pull.stream.end_players("the stream is not pulled");
                }
                Stop::GiveUp | Stop::NobodyLeft => (),
            }
            drop(audience.pull.take());
        });
        self.pull.replace(Some(task));
    }

    /// Whether nobody but a static pull's place is taken.
    fn is_empty(&self) -> bool {
        self.players.len() <= usize::from(self.is_static.get())
    }

    /// Goes on without a player of this worker: while others play from it, and for `linger` then.
    fn outlive(self: Rc<Self>, linger: Msec) {
        let (key, played) = (self.stream.key().clone(), self.stream.players() > 0);
        let audience = self.clone();
        let bereft = Bereft { _audience: self, linger, end: None };
        let before = BEREFT.with_borrow_mut(|all| all.insert(key, bereft));
        drop(before);
        audience.note_players(played);
    }

    /// An audience that goes on without players ends when nobody has come in time.
    fn note_players(&self, some: bool) {
        let key = self.stream.key();
        let end = |linger| {
            let key = key.clone();
            task::spawn(async move {
                sleep(linger).await;
                // nothing is waited for any more, so this task may go
                let bereft = BEREFT.with_borrow_mut(|all| all.remove(&key));
                drop(bereft);
            })
        };
        let gone = BEREFT.with_borrow_mut(|all| {
            let bereft = all.get_mut(key)?;
            if !some && (bereft.linger == 0 || clock::exiting()) {
                return all.remove(key);
            }
            bereft.end = (!some).then(|| end(bereft.linger));
            None
        });
        drop(gone);
    }

    /// A worker that leaves does not wait for a pull that nobody plays.
    fn note_idle(&self) {
        if let Some(conn) = self.conn.borrow().upgrade() {
            conn.set_idle(self.is_empty());
        }
    }
}

impl Drop for Audience {
    fn drop(&mut self) {
        AUDIENCES.with_borrow_mut(|all| {
            if all.get(self.stream.key()).is_some_and(|other| other.strong_count() == 0) {
                all.remove(self.stream.key());
            }
        });
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let audience = &self.audience;
        let visit = audience.players.first();
        audience.players.leave(self.id);
        audience.note_idle();
        if !audience.is_empty() || audience.pull.borrow().is_none() {
            return;
        }
        if clock::exiting() {
            // also a static pull: the next generation of workers has its own
            audience.pull.take();
            return;
        }
        audience.clone().outlive(visit.map_or(0, |visit| visit.app.relay.pull_linger));
    }
}

/// The pull of a stream.
struct Pull {
    audience: Weak<Audience>,
    stream: Rc<Stream>,
}

/// An established pull.
enum Session {
    Rtmp(rtmp::Peer, Feed),
    Flv(flv::Client, Feed),
}

impl Relay for Pull {
    type Session = Session;

    fn describe(&self) -> String {
        format!("pull of \"{}\" from", self.stream.key())
    }

    fn client(&self) -> Option<Rc<Visit>> {
        let audience = self.audience.upgrade()?;
        if clock::exiting() && audience.is_empty() {
            return None;
        }
        audience.players.first()
    }

    fn delays(&self, visit: &Visit) -> (Msec, Msec) {
        let conf = &visit.app.relay;
        (conf.failed_reconnect, conf.pull_reconnect.unwrap_or(conf.relay_reconnect))
    }

    async fn open(&self, visit: &Rc<Visit>, target: &Target) -> Result<Session, Failure> {
        let mut feed = Feed::new(&self.stream);
        match target.scheme {
            Scheme::Rtmp => {
                let buffer = visit.app.relay.relay_buffer;
                let peer = rtmp::Peer::open(visit, target, Role::Play { buffer }).await?;
                self.opened(&peer.conn());
                let peer = peer.established(|message| feed.message(message)).await?;
                Ok(Session::Rtmp(peer, feed))
            }
            Scheme::Http => {
                let client = flv::Client::open(visit, target).await?;
                self.opened(&client.conn());
                let client = client.established(&mut feed).await?;
                Ok(Session::Flv(client, feed))
            }
        }
    }

    async fn run(&self, session: Session) -> Failure {
        match session {
            Session::Rtmp(peer, feed) => peer.play(feed).await,
            Session::Flv(client, mut feed) => client.play(&mut feed).await,
        }
    }

    /// Players that would not wait for a publisher do not wait for an origin that has none either.
    fn stop(&self, failure: &Failure) -> Option<Stop> {
        let audience = self.audience.upgrade()?;
        let waits = audience.is_static.get() || audience.players.first()?.app.live.idle_streams;
        match failure.refused? {
            _ if waits => None,
            Refused::NotFound => Some(Stop::EndClients("the origin does not have the stream")),
            Refused::Forbidden => Some(Stop::EndClients("the origin does not give the stream")),
        }
    }
}

impl Pull {
    fn opened(&self, conn: &Rc<AsyncConn>) {
        if let Some(audience) = self.audience.upgrade() {
            audience.conn.replace(Rc::downgrade(conn));
            audience.note_idle();
        }
    }
}

/// What a pull publishes. It is on air from the first message of the origin's on, since an origin
/// without a publisher may still let us wait. Dropped, it is not.
pub struct Feed {
    stream: Rc<Stream>,
    publication: Option<Publication>,
}

/// The engine has nothing to tell a pull: when another source takes over, its owner ends it.
struct Quiet;

impl Source for Quiet {
    fn on_air(&self, _on_air: bool) {}
    fn refuse(&self, _why: &'static str) {}
}

impl Feed {
    fn new(stream: &Rc<Stream>) -> Self {
        Feed { stream: stream.clone(), publication: None }
    }

    /// Sends what has come, unless it is gathered.
    pub fn flush(&self) {
        if let Some(publication) = &self.publication {
            publication.stream().flush_posted();
        }
    }

    /// Takes an RTMP message of an origin: media, alone or in an aggregate.
    pub fn message(&mut self, message: &rtmp::Message<'_>) -> Result<(), Failure> {
        match message.kind {
            message::AGGREGATE | message::DATA_AMF3 => self.wrapped(message),
            kind => self.media(kind, message.timestamp, message.payload),
        }
    }

    /// Takes what is inside of an aggregate, or behind the mark of AMF3.
    #[cold]
    fn wrapped(&mut self, message: &rtmp::Message<'_>) -> Result<(), Failure> {
        if message.kind == message::DATA_AMF3 {
            return match command::amf0_of(message.payload, true) {
                Ok(payload) => self.media(message::DATA, message.timestamp, payload),
                Err(_) => Ok(()),
            };
        }
        for part in message::aggregate(message.timestamp, message.payload) {
            // what came before a broken one is whole
            let Ok(part) = part else { break };
            self.media(part.kind, part.timestamp, part.payload)?;
        }
        Ok(())
    }

    /// Takes audio, video or data; what is neither is ignored.
    pub fn media(&mut self, kind: u8, timestamp: u32, payload: &[u8]) -> Result<(), Failure> {
        let Some(kind) = Kind::of_message_type(kind) else { return Ok(()) };
        if kind == Kind::Data && is_origins_own(payload) {
            return Ok(());
        }
        let publication = match &self.publication {
            Some(publication) => publication,
            None => self.publish()?,
        };
        publication.append(Media { kind, timestamp, payload });
        Ok(())
    }

    #[cold]
    fn publish(&mut self) -> Result<&Publication, Failure> {
        let publication = self.stream.publish(PRIORITY, Rc::new(Quiet));
        let publication = publication.map_err(|_| Failure::new("the stream has another pull"))?;
        Ok(self.publication.insert(publication))
    }
}

/// Data between an origin and its player, not of the stream.
fn is_origins_own(payload: &[u8]) -> bool {
    let own: [&[u8]; 3] = [b"|RtmpSampleAccess", b"onStatus", b"onPlayStatus"];
    command::data_name(payload).is_some_and(|(name, _)| own.contains(&name))
}
