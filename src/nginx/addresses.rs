//! A host with several addresses: which are tried, in which order, and when (RFC 8305).

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::future::{poll_fn, Future};
use std::mem;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::nginx::address::Address;
use crate::nginx::async_conn::{self, AsyncConn, ConnectError};
use crate::nginx::clock;
use crate::nginx::task::sleep;

/// How long an address may be silent before the next one is tried beside it, in milliseconds
/// (RFC 8305, section 5).
const STAGGER_MS: u64 = 250;
/// How long an address that failed is tried after the others, in milliseconds.
const AVOID_MS: u64 = 30_000;
/// Failed addresses that a worker remembers: thousands of hosts do not fail at a time.
const MAX_REMEMBERED: usize = 1024;

thread_local! {
    /// When addresses failed last.
    static FAILED: RefCell<HashMap<SocketAddr, u64>> = RefCell::default();
}

/// Why none of the addresses was reached.
#[derive(Debug)]
pub enum Error {
    /// There is none.
    NoAddress,
    /// What became of the last one. A failure of our own counts over all others, since somebody
    /// could not be asked.
    Failed(SocketAddr, ConnectError),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoAddress => f.write_str("the host has no address"),
            Error::Failed(address, error) => write!(f, "connect to {address} failed: {error}"),
        }
    }
}

impl std::error::Error for Error {}

/// Connects to the first of `addresses` that answers. One that is silent for [`STAGGER_MS`] gets
/// company, those that failed lately come last. Dropped, all attempts end.
///
/// The caller bounds the time.
pub async fn connect(mut addresses: Vec<SocketAddr>) -> Result<(SocketAddr, AsyncConn), Error> {
    // who failed last is the last one
    addresses.sort_by_key(|address| failed_at(address).unwrap_or(0));
    let mut attempts = Attempts {
        rest: addresses.into_iter(),
        running: Vec::new(),
        next: None,
        error: Error::NoAddress,
    };
    poll_fn(|cx| attempts.poll(cx)).await
}

/// Notes that an address is no good now, though it may take connections.
pub fn failed(address: SocketAddr) {
    FAILED.with_borrow_mut(|failed| {
        let now = clock::now();
        if failed.len() >= MAX_REMEMBERED {
            failed.retain(|_, at| now.saturating_sub(*at) < AVOID_MS);
        }
        if failed.len() < MAX_REMEMBERED {
            failed.insert(address, now);
        }
    });
}

/// When the address failed, if that still counts.
fn failed_at(address: &SocketAddr) -> Option<u64> {
    let at = FAILED.with_borrow(|failed| failed.get(address).copied())?;
    (clock::now().saturating_sub(at) < AVOID_MS).then_some(at)
}

type Connecting = Pin<Box<dyn Future<Output = Result<AsyncConn, ConnectError>>>>;

/// One address that is being tried. Dropped while it is silent, it has failed.
struct Attempt {
    address: SocketAddr,
    since: u64,
    connecting: Option<Connecting>,
}

impl Attempt {
    fn new(address: SocketAddr) -> Self {
        let connecting: Connecting =
            Box::pin(async move { async_conn::connect(&Address::Ip(address)).await });
        Attempt { address, since: clock::now(), connecting: Some(connecting) }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<AsyncConn, ConnectError>> {
        let Some(connecting) = &mut self.connecting else { return Poll::Pending };
        let result = std::task::ready!(connecting.as_mut().poll(cx));
        self.connecting = None;
        Poll::Ready(result)
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let silent = clock::now().saturating_sub(self.since) >= STAGGER_MS;
        if self.connecting.is_some() && silent {
            failed(self.address);
        }
    }
}

struct Attempts {
    rest: std::vec::IntoIter<SocketAddr>,
    running: Vec<Attempt>,
    /// Until the next one is due beside those that are silent.
    next: Option<Pin<Box<dyn Future<Output = ()>>>>,
    error: Error,
}

impl Attempts {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(SocketAddr, AsyncConn), Error>> {
        loop {
            let mut due = self.running.is_empty();
            for mut attempt in mem::take(&mut self.running) {
                match attempt.poll(cx) {
                    Poll::Pending => self.running.push(attempt),
                    Poll::Ready(Ok(conn)) => {
                        FAILED.with_borrow_mut(|failed| failed.remove(&attempt.address));
                        return Poll::Ready(Ok((attempt.address, conn)));
                    }
                    Poll::Ready(Err(error)) => {
                        self.note(attempt.address, error);
                        due = true;
                    }
                }
            }
            if let Some(next) = &mut self.next {
                due |= next.as_mut().poll(cx).is_ready();
            }
            if !due {
                return Poll::Pending;
            }
            let Some(address) = self.rest.next() else {
                self.next = None;
                return match self.running.is_empty() {
                    true => Poll::Ready(Err(mem::replace(&mut self.error, Error::NoAddress))),
                    false => Poll::Pending,
                };
            };
            self.running.push(Attempt::new(address));
            self.next = Some(Box::pin(sleep(STAGGER_MS)));
        }
    }

    fn note(&mut self, address: SocketAddr, error: ConnectError) {
        if let ConnectError::Peer(_) = error {
            failed(address);
        }
        if !matches!(self.error, Error::Failed(_, ConnectError::Own(_))) {
            self.error = Error::Failed(address, error);
        }
    }
}
