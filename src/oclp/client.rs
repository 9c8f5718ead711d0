//! HTTP/1.1 requests on the event loop: how many go at once, and over which connection each.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::pin::{pin, Pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http::header::{ACCEPT, HOST, USER_AGENT};
use http::request::Request;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connections::{self, Open, Server};
use super::request_error::{Own, RequestError, Silence};
use crate::conf::oclp::{Call, Callback};
use crate::conf::ResolverConf;
use crate::nginx::addresses;
use crate::nginx::async_conn;
use crate::nginx::clock;
use crate::nginx::process;
use crate::nginx::task;

/// Requests under way in a worker. The others wait in order: a server that hangs must not take all
/// of the worker's connections.
const MAX_IN_FLIGHT: usize = 1024;
/// The same for each line of a push, since they wait for no other line: eight lines have as many as
/// all others.
const MAX_PUSHES_IN_FLIGHT: usize = MAX_IN_FLIGHT / 8;
/// Connections of a line, as long as its server answers at once; the requests beyond wait in order.
const CONNECTIONS: usize = 64;
/// After so many steps without an answer, a request lets another one go beside it. Each step takes a
/// turn of the event loop: a worker that is itself held up must not take that for the server's delay.
const SLOW_STEPS: u32 = 5;
/// How long a step is.
const STEP_MS: u64 = 10;
/// The longest target of a request, in bytes: more than a client can cause where `args=` names none
/// but its query.
const MAX_TARGET: usize = 32 * 1024;
/// A target that every server takes, in bytes.
const LONG_TARGET: usize = 4 * 1024;
/// The body of an answer says nothing; a longer one costs the connection. In bytes.
const MAX_BODY: usize = 64 * 1024;
/// How long the body may take behind the header, in milliseconds.
const BODY_TIMEOUT_MS: u64 = 1000;

/// The header of an answer; the body is dropped.
pub type Head = http::response::Parts;

/// Sends `GET target` to the server of `callback` and waits for the header of the answer, no
/// longer than its `timeout=` from the moment that the request is the first in the queue.
///
/// While `left` is pending, the client waits for the answer. When it is ready before the request is
/// on its way, nothing is sent; later it changes nothing, since the server may already have acted.
pub async fn get(
    callback: &Callback,
    resolver: &ResolverConf,
    target: &str,
    left: impl Future<Output = ()>,
) -> Result<Head, RequestError> {
    if target.len() > MAX_TARGET {
        return Err(Own::TooLong(target.len()).into());
    }
    let mut left = pin!(left);
    let mut kept = true;
    loop {
        let waited = task::timeout(callback.timeout, Slot::wait(callback));
        let queued = async { waited.await.ok_or(Own::Busy.into()) };
        let place = unless(left.as_mut(), queued).await?;
        // whom the request went to, and whether the connection had carried one before
        let asked = Cell::new(None);
        let exchange = async {
            let exchange = Exchange::new(place, callback, resolver, kept);
            let exchange = unless(left.as_mut(), exchange).await?;
            asked.set(Some((exchange.open.address, exchange.reused)));
            exchange.exchange(callback, target).await
        };
        let result = task::timeout_running(callback.timeout, exchange).await;
        match (result.unwrap_or(Err(Silence::TimedOut.into())), asked.get()) {
            // the server has closed a kept connection, most likely before it was used again
            // (RFC 9112, 9.3.1)
            (Err(RequestError::Silence(Silence::Http(error))), Some((_, true)))
                if unanswered(&error) =>
            {
                kept = false;
            }
            // servers that find a request too long may say so by closing the connection
            (Err(RequestError::Silence(Silence::Http(error))), _)
                if unanswered(&error) && target.len() > LONG_TARGET =>
            {
                return Err(Own::TooLong(target.len()).into());
            }
            (Err(RequestError::Silence(silence)), Some((address, _))) => {
                addresses::failed(address);
                Lane::of(callback).server.forget(address);
                return Err(silence.into());
            }
            // the resolver may have run out of them meanwhile
            (Err(RequestError::Silence(silence)), None) => {
                async_conn::room().map_err(Own::Connect)?;
                return Err(silence.into());
            }
            (result, _) => return result,
        }
    }
}

/// Whether the connection ended without a byte of an answer.
fn unanswered(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref());
    let broken = cause.is_some_and(|cause: &io::Error| {
        matches!(cause.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
    });
    broken || error.is_canceled() || error.is_closed() || error.is_incomplete_message()
}

/// Waits for `future` unless `left` is ready first.
async fn unless<T>(
    mut left: Pin<&mut impl Future<Output = ()>>,
    future: impl Future<Output = Result<T, RequestError>>,
) -> Result<T, RequestError> {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| match left.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(Err(RequestError::Left)),
        Poll::Pending => future.as_mut().poll(cx),
    })
    .await
}

thread_local! {
    static IN_FLIGHT: Arc<Semaphore> = Arc::new(Semaphore::new(MAX_IN_FLIGHT));
    /// The lines of the configuration, by where it holds them: a worker has one for all its life.
    static LANES: RefCell<HashMap<*const Callback, Rc<Lane>>> = RefCell::default();
}

/// Closes the connections that are kept, at the end of a worker.
pub fn exit() {
    LANES.take();
    connections::exit();
}

/// What the requests of one line wait for, in order.
struct Lane {
    server: Rc<Server>,
    slots: Arc<Semaphore>,
    in_flight: Arc<Semaphore>,
}

/// The right to make one request.
struct Slot {
    lane: Rc<Lane>,
    _in_flight: Option<OwnedSemaphorePermit>,
    /// One of [`CONNECTIONS`]; none once the answer has taken too long.
    place: Option<OwnedSemaphorePermit>,
}

impl Slot {
    async fn wait(callback: &Callback) -> Self {
        // none of the semaphores is ever closed
        let lane = Lane::of(callback);
        let place = lane.slots.clone().acquire_owned().await.ok();
        // only then, so that those who wait for one line do not count against the others
        let in_flight = lane.in_flight.clone().acquire_owned().await.ok();
        Slot { lane, _in_flight: in_flight, place }
    }
}

/// A connection for one request. Dropped, it is closed before its place is free.
struct Exchange {
    open: Open,
    /// It has carried a request before.
    reused: bool,
    place: Slot,
}

impl Exchange {
    /// A connection that was `kept`, or a new one.
    async fn new(
        mut place: Slot,
        callback: &Callback,
        resolver: &ResolverConf,
        kept: bool,
    ) -> Result<Self, RequestError> {
        let idle = if kept { place.lane.server.take_idle() } else { None };
        let reused = idle.is_some();
        let open = match idle {
            Some(open) => open,
            None => patiently(&mut place.place, Open::new(callback, resolver)).await?,
        };
        Ok(Exchange { open, reused, place })
    }

    async fn exchange(mut self, callback: &Callback, target: &str) -> Result<Head, RequestError> {
        let nginx = [b"nginx/", process::nginx_version().to_bytes()].concat();
        let request = Request::get(target)
            .header(HOST, callback.url.authority.as_str())
            .header(USER_AGENT, nginx)
            .header(ACCEPT, "*/*")
            .body(Empty::new())
            .map_err(Own::Request)?;
        let answer = self.open.sender.send_request(request);
        let answer = patiently(&mut self.place.place, answer).await.map_err(Silence::Http)?;
        let (head, body) = answer.into_parts();
        if !(200..600).contains(&head.status.as_u16()) {
            return Err(Silence::Status(head.status).into());
        }
        task::spawn(self.finish(body)).detach();
        Ok(head)
    }

    /// Keeps the connection for the next request, once the body is out of the way.
    async fn finish(mut self, body: Incoming) {
        let rest = async { drain(body).await && self.open.sender.ready().await.is_ok() };
        let usable = task::timeout(BODY_TIMEOUT_MS, rest).await == Some(true);
        // without a place of its own it may be one too many
        let lane = &self.place.lane;
        let fits = self.place.place.is_some() || lane.has_room();
        if usable && fits && !clock::exiting() {
            lane.server.clone().keep(self.open);
        }
    }
}

/// Waits for the server, and gives up the place if that takes long.
async fn patiently<T>(
    place: &mut Option<OwnedSemaphorePermit>,
    future: impl Future<Output = T>,
) -> T {
    let mut future = pin!(future);
    for _ in 0..SLOW_STEPS {
        if let Some(value) = task::timeout(STEP_MS, future.as_mut()).await {
            return value;
        }
    }
    place.take();
    future.await
}

/// Reads a body to its end; false if that is too far, or was not reached.
async fn drain(mut body: Incoming) -> bool {
    let mut left = MAX_BODY;
    while !body.is_end_stream() {
        match body.frame().await {
            None => break,
            Some(Err(_)) => return false,
            Some(Ok(frame)) => {
                let len = frame.data_ref().map_or(0, Bytes::len);
                match left.checked_sub(len) {
                    None => return false,
                    Some(rest) => left = rest,
                }
            }
        }
    }
    true
}

impl Lane {
    fn of(callback: &Callback) -> Rc<Self> {
        let lane = || {
            let server = Server::of(callback);
            let in_flight = match callback.call {
                Call::Push | Call::Meta => Arc::new(Semaphore::new(MAX_PUSHES_IN_FLIGHT)),
                _ => IN_FLIGHT.with(Arc::clone),
            };
            Rc::new(Lane { server, slots: Arc::new(Semaphore::new(CONNECTIONS)), in_flight })
        };
        LANES.with_borrow_mut(|lanes| lanes.entry(callback).or_insert_with(lane).clone())
    }

    /// Whether one more connection may idle: a request that gets a place takes one that idles, if
    /// there is any, so there is one for each place that is taken.
    fn has_room(&self) -> bool {
        self.server.kept() < self.slots.available_permits()
    }
}
