//! Pushes: what is published here is played by us, to other servers.
//!
//! The publishers of a stream share its pushes: a change of the source on air is not seen by the
//! other servers, and with the last publisher the pushes end.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::pending;
use std::io;
use std::rc::{Rc, Weak};

use live::{
    Change, Data, Direct, End, Form, Framing, Key, Kind, Sink, Stream, Subscriber, Subscription,
};
use rtmp_protocol::message;

use super::attempt::Relay;
use super::clients::Clients;
use super::configured::Configured;
use super::decision::Targets;
use super::failure::Failure;
use super::flow::Flow;
use super::keep_up::{keep_up, Lasting, Stop};
use super::meta::Meta;
use super::rtmp_client::{self, Role, RtmpClient};
use super::scheduled::Scheduled;
use super::target::Target;
use crate::conf::Msec;
use crate::nginx::async_conn::AsyncConn;
use crate::nginx::clock;
use crate::nginx::task::{self, patience, race, Signal, Task};
use crate::registry;
use crate::stream_request::StreamRequest;

thread_local! {
    static PUSHES: RefCell<HashMap<Key, Weak<Pushes>>> = RefCell::default();
}

/// The pushes of one stream.
pub struct Pushes {
    stream: Rc<Stream>,
    publishers: Clients,
    tasks: RefCell<Vec<Task>>,
    /// Those of the lines `oclp_meta`, since the first sequence header.
    metas: RefCell<Vec<Meta>>,
    /// A sequence header has begun them.
    met: Cell<bool>,
}

/// A publisher's share in the pushes of its stream; dropped, it has left.
pub struct Share {
    pushes: Rc<Pushes>,
    id: u64,
}

/// A worker starts.
pub fn init() {
    registry::observe(|stream, change| {
        if let Change::Header { kind, new: true } = change {
            if let Some(pushes) = find(stream.key()) {
                pushes.header_came(kind);
            }
        }
    });
}

/// A publisher was let in: the lines of its application begin, unless they run already.
pub fn start(request: &Rc<StreamRequest>, stream: &Rc<Stream>) -> Option<Share> {
    if let Some(pushes) = find(&request.key) {
        return Some(pushes.share(request));
    }
    let (lines, oclp) = (&request.app.relay.push, &request.app.oclp);
    if lines.is_empty() && oclp.push.is_empty() && oclp.meta.is_empty() {
        return None;
    }
    let pushes = Rc::new(Pushes {
        stream: stream.clone(),
        publishers: Clients::default(),
        tasks: RefCell::default(),
        metas: RefCell::default(),
        met: Cell::new(false),
    });
    PUSHES.with_borrow_mut(|all| all.insert(request.key.clone(), Rc::downgrade(&pushes)));
    let share = pushes.share(request);
    let mut tasks = pushes.tasks.borrow_mut();
    for line in lines {
        tasks.push(pushes.run(Configured { line: line.clone(), pull: false }));
    }
    for callback in &oclp.push {
        tasks.push(pushes.run(Scheduled(callback.clone())));
    }
    drop(tasks);
    Some(share)
}

fn find(key: &Key) -> Option<Rc<Pushes>> {
    PUSHES.with_borrow(|all| all.get(key).and_then(Weak::upgrade))
}

impl Pushes {
    fn share(self: &Rc<Self>, request: &Rc<StreamRequest>) -> Share {
        Share { pushes: self.clone(), id: self.publishers.enter(request) }
    }

    /// Has the lines `oclp_meta` ask that wait for a sequence header of this kind.
    fn header_came(self: &Rc<Self>, kind: Kind) {
        let Some(request) = self.publishers.first() else { return };
        let oclp = &request.app.oclp;
        // with oclp_push, oclp_meta is not used
        if !oclp.push.is_empty() || !oclp.meta_type.is(kind) {
            return;
        }
        if self.met.replace(true) && oclp.meta_once {
            return;
        }
        let mut metas = self.metas.borrow_mut();
        if metas.is_empty() {
            let lines = oclp.meta.iter().cloned().map(Scheduled);
            metas.extend(lines.map(|line| Meta::new(self.push(), line)));
        }
        metas.iter().for_each(Meta::header_came);
    }

    fn push(self: &Rc<Self>) -> Push {
        Push { pushes: Rc::downgrade(self), stream: self.stream.clone() }
    }

    /// Runs one push, to where `targets` says, as long as there is a publisher.
    fn run(self: &Rc<Self>, mut targets: impl Targets + 'static) -> Task {
        let push = self.push();
        task::spawn(async move {
            if let Stop::EndClients(why) = keep_up(&push, &mut targets).await {
                push.refuse_sources(why);
            }
        })
    }
}

impl Drop for Pushes {
    fn drop(&mut self) {
        PUSHES.with_borrow_mut(|all| {
            if all.get(self.stream.key()).is_some_and(|other| other.strong_count() == 0) {
                all.remove(self.stream.key());
            }
        });
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.pushes.publishers.leave(self.id);
    }
}

/// One push of a stream.
pub(super) struct Push {
    pushes: Weak<Pushes>,
    stream: Rc<Stream>,
}

impl Push {
    /// Ends the publishers.
    pub(super) fn refuse_sources(&self, why: &'static str) {
        self.stream.refuse_sources(why);
    }
}

impl Lasting for Push {
    fn client(&self) -> Option<Rc<StreamRequest>> {
        self.pushes.upgrade()?.publishers.first()
    }

    fn delays(&self, request: &StreamRequest) -> (Msec, Msec) {
        let conf = &request.app.relay;
        (conf.failed_reconnect, conf.push_reconnect.unwrap_or(conf.relay_reconnect))
    }
}

impl Relay for Push {
    type Session = Session;

    fn describe(&self) -> String {
        format!("push of \"{}\" to", self.stream.key())
    }

    async fn open(&self, request: &Rc<StreamRequest>, target: &Target) -> Result<Session, Failure> {
        let peer = RtmpClient::open(request, target, Role::Publish).await?;
        let peer = peer.established(|_| Ok(())).await?;
        Ok(Session::new(peer, &self.stream, request, target))
    }

    fn flow(&self, _session: &Session) -> Option<Rc<Flow>> {
        None
    }

    async fn waited(&self, _limit: Msec, _spares: bool) {
        pending().await
    }

    async fn run(&self, session: Session) -> Failure {
        session.run().await
    }
}

/// An established push. Dropped, the other server is told that the stream ends.
pub(super) struct Session {
    peer: RefCell<Option<RtmpClient>>,
    conn: Rc<AsyncConn>,
    out: Rc<Out>,
    subscription: RefCell<Option<Subscription>>,
    /// Unpublishes, when sent behind the stream.
    farewell: Vec<u8>,
    /// How long the other server may take nothing; 0: for ever.
    timeout: Msec,
}

/// The subscriber.
struct Out {
    conn: Rc<AsyncConn>,
    /// Since when the other server takes nothing.
    blocked: Cell<Option<u64>>,
    ended: RefCell<Option<End>>,
    over: Signal,
}

impl Sink for Out {
    fn write(&self, data: Data<'_>) -> io::Result<usize> {
        let wanted: usize = data.parts.iter().map(|part| part.len()).sum();
        let taken = self.conn.get_ref().writev(data.parts);
        match &taken {
            Ok(n) if *n == wanted => self.blocked.set(None),
            Ok(_) => self.blocked.set(Some(clock::now())),
            Err(_) if self.blocked.get().is_none() => self.blocked.set(Some(clock::now())),
            Err(_) => (),
        }
        taken
    }

    fn direct(&self) -> Option<Direct> {
        let socket = self.conn.get_ref().socket()?;
        Some(Direct { socket, framing: Framing::Plain, relay: true })
    }

    fn sent(&self, bytes: u64) {
        self.conn.get_ref().count_sent(bytes);
    }

    fn end(&self, why: End) {
        self.ended.replace(Some(why));
        self.over.set();
    }

    fn source(&self, _on_air: bool) {}
}

impl Session {
    fn new(
        peer: RtmpClient,
        stream: &Rc<Stream>,
        request: &StreamRequest,
        target: &Target,
    ) -> Self {
        let conn = peer.conn();
        let out = Rc::new(Out {
            conn: conn.clone(),
            blocked: Cell::new(None),
            ended: RefCell::default(),
            over: Signal::new(),
        });
        let form = Form::Rtmp {
            chunk_size: request.server.chunk_size,
            stream_id: peer.stream_id(),
            to_publish: true,
        };
        let subscriber =
            Subscriber { form, sink: out.clone(), player: false, prologue: Vec::new() };
        let subscription = stream.subscribe(subscriber, clock::now());
        Session {
            farewell: peer.farewell(target),
            peer: RefCell::new(Some(peer)),
            conn,
            out,
            subscription: RefCell::new(Some(subscription)),
            timeout: request.server.timeout,
        }
    }

    async fn run(&self) -> Failure {
        let Some(mut peer) = self.peer.take() else { return Failure::new("closed") };
        race(race(self.ended(), self.flow()), race(self.stalled(), self.answers(&mut peer))).await
    }

    /// The engine has ended the subscription.
    async fn ended(&self) -> Failure {
        self.out.over.wait().await;
        Failure::new(self.out.ended.take().map_or("ended".to_owned(), |end| end.why()))
    }

    /// Goes on writing whenever the connection takes bytes again.
    async fn flow(&self) -> Failure {
        loop {
            self.conn.writable().await;
            if let Some(subscription) = &*self.subscription.borrow() {
                subscription.writable(clock::now());
            }
        }
    }

    /// The server takes nothing for too long.
    async fn stalled(&self) -> Failure {
        if self.timeout == 0 {
            return pending().await;
        }
        loop {
            let taken = self.out.blocked.get().unwrap_or_else(clock::now);
            let waited = clock::now().saturating_sub(taken);
            if waited >= self.timeout {
                return Failure::new("timed out: the server does not read");
            }
            patience(self.timeout - waited).await;
        }
    }

    /// Reads what the server says; answers go between the messages of the stream.
    async fn answers(&self, peer: &mut RtmpClient) -> Failure {
        let reply = |bytes: &[u8]| match &*self.subscription.borrow() {
            Some(subscription) => subscription.send(bytes, rtmp_client::MAX_UNSENT, clock::now()),
            None => true,
        };
        peer.messages(reply, |message| match message.kind {
            message::COMMAND | message::COMMAND_AMF3 => rtmp_client::refusal(message),
            _ => Ok(None::<()>),
        })
        .await
        .err()
        .unwrap_or_else(|| Failure::new("ended"))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Some(subscription) = self.subscription.take() else { return };
        // what the publisher sent last may not have been flushed yet
        if self.out.blocked.get().is_none() {
            subscription.writable(clock::now());
        }
        let mut rest = subscription.finish();
        if self.out.ended.borrow().is_none() {
            rest.extend_from_slice(&self.farewell);
            rtmp_client::close(self.conn.clone(), rest);
        }
    }
}
