//! An established push: a stream on its way to another server.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::io;
use std::rc::Rc;

use live::{Data, Direct, End, Form, Sink, Stream, Subscriber, Subscription};
use rtmp_protocol::message;

use super::failure::{Cause, Failure};
use super::rtmp_client::{self, RtmpClient};
use super::rtmp_status;
use super::target::Target;
use crate::conf::Msec;
use crate::nginx::async_conn::AsyncConn;
use crate::nginx::clock;
use crate::nginx::task::{patience, race, Signal};
use crate::stream_request::StreamRequest;

/// An established push. Dropped, the other server is told that the stream ends.
pub struct Outlet {
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
        self.conn.get_ref().direct_relay()
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

impl Outlet {
    pub fn new(
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
        Outlet {
            farewell: peer.farewell(target),
            peer: RefCell::new(Some(peer)),
            conn,
            out,
            subscription: RefCell::new(Some(subscription)),
            timeout: request.server.timeout,
        }
    }

    /// Until it breaks.
    pub async fn run(&self) -> Failure {
        let Some(mut peer) = self.peer.take() else { return Cause::Internal.into() };
        race(race(self.ended(), self.flow()), race(self.stalled(), self.answers(&mut peer))).await
    }

    /// The engine has ended the subscription.
    async fn ended(&self) -> Failure {
        self.out.over.wait().await;
        self.out.ended.take().map_or(Cause::Internal, Cause::Subscription).into()
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
                return Cause::DoesNotRead.into();
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
            message::COMMAND | message::COMMAND_AMF3 => rtmp_status::refusal(message),
            _ => Ok(None::<()>),
        })
        .await
        .err()
        .unwrap_or_else(|| Cause::Internal.into())
    }
}

impl Drop for Outlet {
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
