//! Connections to servers: hyper over nginx's connections, kept for the next request.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;

use super::request_error::{Own, RequestError, Silence};
use crate::conf::oclp::Callback;
use crate::conf::ResolverConf;
use crate::nginx::addresses;
use crate::nginx::async_conn::{self, AsyncConn, Io};
use crate::nginx::event::Event;
use crate::nginx::resolver;
use crate::nginx::task::{self, Task};

/// How long a connection is kept without a request, in milliseconds: shorter than servers keep it
/// by default (from 2 s), so that hardly one is closed just when it is used.
const KEEPALIVE_MS: u64 = 1500;
/// The header of an answer, in bytes: twice what proxies take, and the least that hyper can hold.
const MAX_HEADER: usize = 8 * 1024;

thread_local! {
    /// The servers of the configuration, by host and port.
    static SERVERS: RefCell<HashMap<String, Rc<Server>>> = RefCell::default();
}

/// Closes the connections that are kept, at the end of a worker.
pub fn exit() {
    SERVERS.take();
}

/// One server and the connections to it that wait for a request.
#[derive(Default)]
pub struct Server {
    idle: RefCell<Vec<Idle>>,
}

/// A connection between two requests.
struct Idle {
    connection: Open,
    _expiry: Event,
}

/// A connection that is made.
pub struct Open {
    pub sender: http1::SendRequest<Empty<Bytes>>,
    conn: Weak<AsyncConn>,
    pub address: SocketAddr,
    /// hyper's side of it, which ends with the connection.
    _driver: Task,
}

impl Server {
    /// The server of `callback`.
    pub fn of(callback: &Callback) -> Rc<Self> {
        let authority = callback.url.authority.as_str().to_owned();
        SERVERS.with_borrow_mut(|servers| servers.entry(authority).or_default().clone())
    }

    /// How many connections are kept.
    pub fn kept(&self) -> usize {
        self.idle.borrow().len()
    }

    /// The connection that was used last, so that those beyond the need expire.
    pub fn take_idle(&self) -> Option<Open> {
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
    pub fn forget(&self, address: SocketAddr) {
        let idle = self.idle.take();
        let (gone, kept): (Vec<_>, Vec<_>) =
            idle.into_iter().partition(|idle| idle.connection.address == address);
        self.idle.replace(kept);
        drop(gone);
    }

    /// Keeps a connection for the next request.
    pub fn keep(self: Rc<Self>, connection: Open) {
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
        expiry.set_timer(KEEPALIVE_MS);
        idle.push(Idle { connection, _expiry: expiry });
    }
}

impl Open {
    /// Opens a connection.
    pub async fn new(callback: &Callback, resolver: &ResolverConf) -> Result<Self, RequestError> {
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
