//! HTTP/1.1 requests on the event loop: hyper over nginx's connections, kept for the next request.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{pin, Pin};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http::header::{ACCEPT, HOST, USER_AGENT};
use http::request::Request;
use http::StatusCode;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::conf::oclp::{Call, Callback};
use crate::conf::ResolverConf;
use crate::nginx::addresses;
use crate::nginx::async_conn::{self, AsyncConn, ConnectError, Io};
use crate::nginx::clock;
use crate::nginx::event::Event;
use crate::nginx::process;
use crate::nginx::resolver;
use crate::nginx::task::{self, Task};

/// Requests under way in a worker. The others wait in order: a server that hangs must not take all
/// of the worker's connections.
const MAX_IN_FLIGHT: usize = 1024;
/// The same for each line of a push, since they wait for no other line: eight lines have as many as
/// all others.
const MAX_PUSHES_IN_FLIGHT: usize = MAX_IN_FLIGHT / 8;
/// Connections of a line, as long as its server answers at once; the requests beyond wait in order.
const CONNECTIONS: usize = 64;
/// A request that is not answered within so many steps, of so many milliseconds, lets another one go
/// beside it. In steps, each of which takes a turn of the event loop: a worker that is itself held up
/// must not take that for the server's delay.
const PATIENCE: (u32, u64) = (5, 10);
/// How long a connection is kept without a request, in milliseconds: shorter than servers keep it
/// by default (from 2 s), so that hardly one is closed just when it is used.
const KEEPALIVE: u64 = 1500;
/// The header of an answer, in bytes: twice what proxies take, and the least that hyper can hold.
const MAX_HEADER: usize = 8 * 1024;
/// The longest target of a request, in bytes: more than a client can cause where `args=` names none
/// but its query.
const MAX_TARGET: usize = 32 * 1024;
/// A target that every server takes, in bytes.
const LONG_TARGET: usize = 4 * 1024;
/// The body of an answer says nothing; a longer one costs the connection. In bytes.
const MAX_BODY: usize = 64 * 1024;
/// How long the body may take behind the header, in milliseconds.
const BODY_TIMEOUT: u64 = 1000;

/// Why there is no answer, by who has failed.
#[derive(Debug)]
pub enum Error {
    /// Nobody wants it any more, and nothing was sent.
    Left,
    /// This side: the server was not asked, or not in time.
    Own(Own),
    /// The server, or the way to it.
    Silence(Silence),
}

/// Why this side could not ask.
#[derive(Debug)]
pub enum Own {
    /// All of `timeout=` went by behind other requests of this worker.
    Busy,
    /// No connection, descriptor, port or memory.
    Connect(io::Error),
    /// The request would be longer than servers take, in bytes.
    TooLong(usize),
    /// The request makes no valid url.
    Request(http::Error),
}

/// Why somebody who could be asked has not answered.
#[derive(Debug)]
pub enum Silence {
    /// It took longer than `timeout=`.
    TimedOut,
    /// The host has no address.
    Resolve(resolver::Error),
    /// None of its addresses takes a connection.
    Connect(addresses::Error),
    /// The connection broke, or what came is no answer of HTTP's.
    Http(hyper::Error),
    /// No final status of HTTP's (RFC 9110, 15).
    Status(StatusCode),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Left => f.write_str("the client has left"),
            Error::Own(own) => write!(f, "not asked: {own}"),
            Error::Silence(silence) => write!(f, "no answer: {silence}"),
        }
    }
}

impl fmt::Display for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Own::Busy => f.write_str("too many requests of this worker are under way"),
            Own::Connect(error) => write!(f, "{error}"),
            Own::TooLong(bytes) => write!(f, "a request of {bytes} bytes is too long"),
            Own::Request(error) => write!(f, "not a request: {error}"),
        }
    }
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Silence::TimedOut => f.write_str("timed out"),
            Silence::Resolve(error) => write!(f, "the host is not resolved: {error}"),
            Silence::Connect(error) => error.fmt(f),
            // hyper names the cause of what went wrong only as a source
            Silence::Http(error) => match std::error::Error::source(error) {
                Some(cause) => write!(f, "{error}: {cause}"),
                None => write!(f, "{error}"),
            },
            Silence::Status(status) => write!(f, "status {}", status.as_u16()),
        }
    }
}

impl std::error::Error for Error {}

impl From<Own> for Error {
    fn from(own: Own) -> Self {
        Error::Own(own)
    }
}

impl From<Silence> for Error {
    fn from(silence: Silence) -> Self {
        Error::Silence(silence)
    }
}

impl From<resolver::Error> for Error {
    fn from(error: resolver::Error) -> Self {
        match error {
            resolver::Error::Own(why) => Own::Connect(io::Error::other(why)).into(),
            error => Silence::Resolve(error).into(),
        }
    }
}

impl From<addresses::Error> for Error {
    fn from(error: addresses::Error) -> Self {
        match error {
            addresses::Error::Failed(_, ConnectError::Own(error)) => Own::Connect(error).into(),
            error => Silence::Connect(error).into(),
        }
    }
}

/// The header of an answer. The body is nobody's.
pub type Answer = http::response::Parts;

/// Sends `GET target` to the server of `callback` and waits for the header of the answer, no
/// longer than its `timeout=` from the moment that the request is the first in the queue.
///
/// While `left` is pending there is somebody to answer to. When it is ready before the request is
/// on its way, nothing is sent; later it changes nothing, since the server may already have acted.
pub async fn get(
    callback: &Callback,
    resolver: &ResolverConf,
    target: &str,
    left: impl Future<Output = ()>,
) -> Result<Answer, Error> {
    if target.len() > MAX_TARGET {
        return Err(Own::TooLong(target.len()).into());
    }
    let mut left = pin!(left);
    let mut kept = true;
    loop {
        let waited = task::timeout(callback.timeout, Place::wait(callback));
        let queued = async { waited.await.ok_or(Own::Busy.into()) };
        let place = unless(left.as_mut(), queued).await?;
        // whom the request went to, and whether the connection had carried one before
        let asked = Cell::new(None);
        let exchange = async {
            let lease = Lease::new(place, callback, resolver, kept);
            let lease = unless(left.as_mut(), lease).await?;
            asked.set(Some((lease.open.address, lease.reused)));
            lease.exchange(callback, target).await
        };
        let result = task::timeout_running(callback.timeout, exchange).await;
        match (result.unwrap_or(Err(Silence::TimedOut.into())), asked.get()) {
            // the server has closed a kept connection, most likely before it was used again
            // (RFC 9112, 9.3.1)
            (Err(Error::Silence(Silence::Http(error))), Some((_, true))) if unanswered(&error) => {
                kept = false;
            }
            // servers that find a request too long may say so by closing the connection
            (Err(Error::Silence(Silence::Http(error))), _)
                if unanswered(&error) && target.len() > LONG_TARGET =>
            {
                return Err(Own::TooLong(target.len()).into());
            }
            (Err(Error::Silence(silence)), Some((address, _))) => {
                addresses::failed(address);
                Lane::of(callback).server.forget(address);
                return Err(silence.into());
            }
            // the resolver may have run out of them meanwhile
            (Err(Error::Silence(silence)), None) => {
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
    future: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| match left.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(Err(Error::Left)),
        Poll::Pending => future.as_mut().poll(cx),
    })
    .await
}

thread_local! {
    static IN_FLIGHT: Arc<Semaphore> = Arc::new(Semaphore::new(MAX_IN_FLIGHT));
    /// The servers of the configuration, by host and port.
    static SERVERS: RefCell<HashMap<String, Rc<Server>>> = RefCell::default();
    /// The lines of the configuration, by where it holds them: a worker has one for all its life.
    static LANES: RefCell<HashMap<*const Callback, Rc<Lane>>> = RefCell::default();
}

/// Closes the connections that are kept, at the end of a worker.
pub fn exit() {
    LANES.take();
    SERVERS.take();
}

/// One server and the connections to it that wait for a request.
#[derive(Default)]
struct Server {
    idle: RefCell<Vec<Idle>>,
}

/// What the requests of one line wait for, in order.
struct Lane {
    server: Rc<Server>,
    places: Arc<Semaphore>,
    in_flight: Arc<Semaphore>,
}

/// A connection between two requests.
struct Idle {
    connection: Open,
    _expiry: Event,
}

/// A connection that is made.
struct Open {
    sender: http1::SendRequest<Empty<Bytes>>,
    conn: Weak<AsyncConn>,
    address: SocketAddr,
    /// hyper's side of it, which ends with the connection.
    _driver: Task,
}

/// The right to make one request.
struct Place {
    lane: Rc<Lane>,
    _in_flight: Option<OwnedSemaphorePermit>,
    /// One of [`CONNECTIONS`]; none once the answer has taken too long.
    place: Option<OwnedSemaphorePermit>,
}

impl Place {
    async fn wait(callback: &Callback) -> Self {
        // none of the semaphores is ever closed
        let lane = Lane::of(callback);
        let place = lane.places.clone().acquire_owned().await.ok();
        // only then, so that those who wait for one line do not count against the others
        let in_flight = lane.in_flight.clone().acquire_owned().await.ok();
        Place { lane, _in_flight: in_flight, place }
    }
}

/// A connection for one request. Dropped, it is closed before its place is free.
struct Lease {
    open: Open,
    /// It has carried a request before.
    reused: bool,
    place: Place,
}

impl Lease {
    /// A connection that was `kept`, or a new one.
    async fn new(
        mut place: Place,
        callback: &Callback,
        resolver: &ResolverConf,
        kept: bool,
    ) -> Result<Self, Error> {
        let idle = if kept { place.lane.server.take_idle() } else { None };
        let reused = idle.is_some();
        let open = match idle {
            Some(open) => open,
            None => patiently(&mut place.place, Open::new(callback, resolver)).await?,
        };
        Ok(Lease { open, reused, place })
    }

    async fn exchange(mut self, callback: &Callback, target: &str) -> Result<Answer, Error> {
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
        let usable = task::timeout(BODY_TIMEOUT, rest).await == Some(true);
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
    let (steps, step) = PATIENCE;
    for _ in 0..steps {
        if let Some(value) = task::timeout(step, future.as_mut()).await {
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
            let authority = callback.url.authority.as_str().to_owned();
            let server =
                SERVERS.with_borrow_mut(|servers| servers.entry(authority).or_default().clone());
            let in_flight = match callback.call {
                Call::Push | Call::Meta => Arc::new(Semaphore::new(MAX_PUSHES_IN_FLIGHT)),
                _ => IN_FLIGHT.with(Arc::clone),
            };
            Rc::new(Lane { server, places: Arc::new(Semaphore::new(CONNECTIONS)), in_flight })
        };
        LANES.with_borrow_mut(|lanes| lanes.entry(callback).or_insert_with(lane).clone())
    }

    /// Whether one more connection may idle: a request that gets a place takes one that idles, if
    /// there is any, so there is one for each place that is taken.
    fn has_room(&self) -> bool {
        self.server.idle.borrow().len() < self.places.available_permits()
    }
}

impl Server {
    /// The connection that was used last, so that those beyond the need expire.
    fn take_idle(&self) -> Option<Open> {
        loop {
            // not in the condition of the loop, which would hold the borrow while one is closed
            let idle = self.idle.borrow_mut().pop()?;
            let Idle { connection, .. } = idle;
            if connection.sender.is_ready() {
                connection.set_idle(false);
                return Some(connection);
            }
        }
    }

    /// Closes what is kept to an address that is no good now.
    fn forget(&self, address: SocketAddr) {
        let idle = self.idle.take();
        let (gone, kept): (Vec<_>, Vec<_>) =
            idle.into_iter().partition(|idle| idle.connection.address == address);
        self.idle.replace(kept);
        drop(gone);
    }

    fn keep(self: Rc<Self>, connection: Open) {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|idle| !idle.connection.sender.is_closed());
        connection.set_idle(true);
        let (server, conn) = (Rc::downgrade(&self), connection.conn.clone());
        let expiry = Event::cancelable(move || {
            let Some(server) = server.upgrade() else { return };
            let mut idle = server.idle.borrow_mut();
            let at = idle.iter().position(|idle| idle.connection.conn.ptr_eq(&conn));
            let expired = at.map(|at| idle.remove(at));
            // the event that runs is in it
            drop(idle);
            drop(expired);
        });
        expiry.set_timer(KEEPALIVE);
        idle.push(Idle { connection, _expiry: expiry });
    }
}

impl Open {
    async fn new(callback: &Callback, resolver: &ResolverConf) -> Result<Self, Error> {
        // a question of the resolver takes a connection, too, and would wait in vain without
        async_conn::room().map_err(Own::Connect)?;
        let host = callback.url.authority.host().as_bytes();
        let addresses =
            resolver::resolve(host, callback.url.port(), resolver.resolver, resolver.timeout)
                .await?;
        let (address, conn) = addresses::connect(addresses).await?;
        let conn = Rc::new(conn);
        let weak = Rc::downgrade(&conn);
        let (sender, driver) = http1::Builder::new()
            .max_buf_size(MAX_HEADER)
            .max_header_size(MAX_HEADER)
            // as every other client writes them, for servers written by hand
            .title_case_headers(true)
            .handshake(Io(conn))
            .await
            .map_err(Silence::Http)?;
        let driver = task::spawn(async move {
            // what went wrong is told to the request
            let _ = driver.await;
        });
        let open = Open { sender, conn: weak, address, _driver: driver };
        open.set_idle(false);
        Ok(open)
    }

    fn set_idle(&self, idle: bool) {
        if let Some(conn) = self.conn.upgrade() {
            conn.set_idle(idle);
            // the timeout of the request is short enough
            conn.set_lasting(!idle);
        }
    }
}
