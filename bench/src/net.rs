//! Clock, loopback sockets and epoll.

use anyhow::{bail, Context, Result};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{sockopt, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::time::{clock_gettime, ClockId, Timespec};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

pub const SECOND: u64 = 1_000_000_000;
pub const MILLISECOND: u64 = 1_000_000;

/// CLOCK_MONOTONIC in ns: the same for every process of a machine.
pub fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * SECOND + now.tv_nsec as u64
}

/// Seconds as ns.
pub fn seconds(s: f64) -> u64 {
    (s.max(0.0) * SECOND as f64) as u64
}

/// A loopback address: this tool loads nothing else.
pub fn loopback(host: &str, port: u16) -> Result<SocketAddr> {
    let ip = match host.trim_start_matches('[').trim_end_matches(']') {
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        host => host.parse().with_context(|| format!("{host:?} is not an IP address"))?,
    };
    if !ip.is_loopback() {
        bail!("{ip} is not a loopback address: load is made on this machine only");
    }
    Ok(SocketAddr::new(ip, port))
}

fn tcp_socket(address: &SocketAddr) -> rustix::io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    rustix::net::socket_with(family, SocketType::STREAM, flags, None)
}

/// Begins to connect; the socket turns writable when this has ended.
pub fn connect(address: &SocketAddr) -> rustix::io::Result<OwnedFd> {
    let socket = tcp_socket(address)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    match rustix::net::connect(&socket, address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error),
    }
}

pub fn listen(address: &SocketAddr) -> rustix::io::Result<OwnedFd> {
    let socket = tcp_socket(address)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, address)?;
    rustix::net::listen(&socket, 4096)?;
    Ok(socket)
}

/// The next connection, if one waits.
pub fn accept(listener: &OwnedFd) -> Option<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::accept_with(listener, flags).ok()?;
    sockopt::set_tcp_nodelay(&socket, true).ok()?;
    Some(socket)
}

/// How a connection attempt ended.
pub fn connect_result(socket: &OwnedFd) -> rustix::io::Result<()> {
    sockopt::socket_error(socket)?
}

/// Closes with a reset, so that neither side is left in TIME_WAIT.
pub fn close_hard(socket: OwnedFd) {
    // a socket that is already dead needs no reset
    let _ = sockopt::set_socket_linger(&socket, Some(Duration::ZERO));
}

/// What a read or write on a non-blocking socket gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Io {
    Some(usize),
    Blocked,
    Closed(&'static str),
}

pub fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> Io {
    loop {
        return match rustix::net::recv(socket, &mut *buffer, RecvFlags::empty()) {
            Ok((_, 0)) => Io::Closed("closed by the server"),
            Ok((_, n)) => Io::Some(n),
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN) => Io::Blocked,
            Err(Errno::CONNRESET) => Io::Closed("reset by the server"),
            Err(_) => Io::Closed("receive failed"),
        };
    }
}

pub fn send(socket: &OwnedFd, bytes: &[u8]) -> Io {
    loop {
        return match rustix::net::send(socket, bytes, SendFlags::NOSIGNAL) {
            Ok(n) => Io::Some(n),
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN) => Io::Blocked,
            Err(_) => Io::Closed("send failed"),
        };
    }
}

/// Something happened on a socket.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    pub token: u64,
    pub readable: bool,
    pub writable: bool,
}

/// Level-triggered epoll; a closed socket leaves it by itself.
pub struct Poll {
    epoll: OwnedFd,
    raw: Vec<epoll::Event>,
    /// Looks again and again instead of sleeping: it is the sender that wakes a receiver, and that
    /// takes it as long as to write.
    pub busy: bool,
}

/// Events taken per turn: more would let timers run late.
const EVENTS_PER_TURN: usize = 128;

impl Poll {
    pub fn new() -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).context("epoll")?;
        Ok(Self { epoll, raw: Vec::with_capacity(EVENTS_PER_TURN), busy: false })
    }

    pub fn add(&self, socket: impl AsFd, token: u64, write: bool) -> rustix::io::Result<()> {
        epoll::add(&self.epoll, socket, EventData::new_u64(token), flags(write))
    }

    pub fn watch(&self, socket: impl AsFd, token: u64, write: bool) -> rustix::io::Result<()> {
        epoll::modify(&self.epoll, socket, EventData::new_u64(token), flags(write))
    }

    /// Fills `events` with what happened until `until` (a `now()`).
    pub fn wait(&mut self, until: u64, events: &mut Vec<Event>) {
        let left = if self.busy { 0 } else { until.saturating_sub(now()) };
        let timeout = Timespec { tv_sec: (left / SECOND) as i64, tv_nsec: (left % SECOND) as i64 };
        self.raw.clear();
        events.clear();
        let spare = rustix::buffer::spare_capacity(&mut self.raw);
        // an interrupted wait has no events, which the caller's loop is used to
        if epoll::wait(&self.epoll, spare, Some(&timeout)).is_err() {
            return;
        }
        let readable = EventFlags::IN | EventFlags::HUP | EventFlags::ERR;
        events.extend(self.raw.iter().map(|event| {
            let flags = event.flags;
            Event {
                token: event.data.u64(),
                readable: flags.intersects(readable),
                writable: flags.contains(EventFlags::OUT),
            }
        }));
    }
}

fn flags(write: bool) -> EventFlags {
    if write {
        EventFlags::IN | EventFlags::OUT
    } else {
        EventFlags::IN
    }
}
