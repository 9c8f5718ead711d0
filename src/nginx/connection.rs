//! A connection of nginx's, owned: dropping it closes the socket and frees its pool.

use std::any::Any;
use std::cell::Cell;
use std::ffi::c_void;
use std::io::{self, IoSlice};
use std::ptr::{self, NonNull};
use std::rc::Rc;

use live::{Direct, Framing, Socket};
use nginx_sys::{
    ngx_close_connection, ngx_connection_t, ngx_destroy_pool, ngx_event_actions, ngx_event_flags,
    ngx_event_t, ngx_handle_read_event, ngx_handle_write_event, NGX_AGAIN, NGX_OK,
    NGX_USE_CLEAR_EVENT,
};

use crate::nginx::address::{address_of, local_address, Address};
use crate::nginx::guard::guard;
use crate::nginx::log::Log;
use crate::nginx::sys::{NGX_CLEAR_EVENT, NGX_WRITE_EVENT};

/// The pool of a connection, in bytes: its log, the peer's address and its text fit, and a thousand players
/// cost half a megabyte.
pub const POOL_SIZE: usize = 512;
/// The timer of a connection without a deadline, in milliseconds. An armed timer keeps nginx from taking
/// a connection for abandoned when the worker is told to leave.
pub const KEEP_MS: u64 = 60_000;

/// What is called when a connection becomes ready. Each call holds its own `Rc`, so a handler may
/// close the connection it was called for.
pub trait Handler {
    /// There is something to read: bytes, the end, or an error. Also called when nginx wants the
    /// connection closed, see [`Connection::wants_close`].
    fn readable(self: Rc<Self>);
    /// The socket takes bytes again.
    fn writable(self: Rc<Self>);
    /// A handler panicked: end this session.
    fn panicked(self: Rc<Self>);
}

/// An accepted or opened connection.
pub struct Connection {
    c: NonNull<ngx_connection_t>,
    /// Drops the handler, whose type its functions know.
    release: Cell<Option<unsafe fn(*mut c_void)>>,
}

/// Whether a connection is encrypted.
#[cfg(any(ngx_feature = "ssl", ngx_feature = "compat"))]
pub fn is_tls(c: &ngx_connection_t) -> bool {
    !c.ssl.is_null()
}

/// An nginx that is built without TLS has none.
#[cfg(not(any(ngx_feature = "ssl", ngx_feature = "compat")))]
pub fn is_tls(_: &ngx_connection_t) -> bool {
    false
}

impl Connection {
    /// Takes over `c` and calls `handler` from now on.
    ///
    /// # Safety
    ///
    /// `c` is a live connection of this worker that nobody else closes, and its `data` is unused. If it
    /// was accepted, then on a socket of [`Cf::listen`](crate::nginx::parser::Cf::listen) or of
    /// [`listening::accept`](crate::nginx::listening::accept).
    pub unsafe fn new(c: NonNull<ngx_connection_t>) -> Self {
        // SAFETY: `c` is live; null marks that no handler is set yet. What peers do to their
        // connections is not an error of ours.
        unsafe {
            (*c.as_ptr()).data = ptr::null_mut();
            (*c.as_ptr()).set_log_error(nginx_sys::ngx_connection_log_error_e_NGX_ERROR_INFO as _);
        }
        Connection { c, release: Cell::new(None) }
    }

    /// Calls `handler` for the events of this connection from now on.
    pub fn set_handler<H: Handler + 'static>(&self, handler: Rc<H>) {
        self.clear_handler();
        let c = self.c.as_ptr();
        // SAFETY: the connection is live; the handler is let go by clear_handler only.
        unsafe {
            (*c).data = Rc::into_raw(handler).cast_mut().cast();
            (*(*c).read).handler = Some(on_read::<H>);
            (*(*c).write).handler = Some(on_write::<H>);
        }
        self.release.set(Some(release::<H>));
    }

    /// Calls no handler any more. This ends the cycle between a session and its connection.
    pub fn clear_handler(&self) {
        let Some(release) = self.release.take() else { return };
        let c = self.c.as_ptr();
        // SAFETY: the connection is live, and set_handler put data there together with its release.
        unsafe { release(std::mem::replace(&mut (*c).data, ptr::null_mut())) };
    }

    /// Reads what is there into `buf`: `Ok(0)` is the peer's end, `WouldBlock` nothing yet.
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        let c = self.c.as_ptr();
        // SAFETY: the connection is live, recv is set by nginx, and buf is valid for its length.
        let n = unsafe {
            match (*c).recv {
                Some(recv) => recv(c, buf.as_mut_ptr(), buf.len()),
                None => return Err(io::ErrorKind::NotConnected.into()),
            }
        };
        self.result(n)
    }

    /// Writes a prefix of `data`. A short count or `WouldBlock` means that `writable` will be called.
    pub fn send(&self, data: &[u8]) -> io::Result<usize> {
        self.writev(&[IoSlice::new(data)])
    }

    /// Writes a prefix of all `data` in one system call where the connection is plain.
    pub fn writev(&self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        let Some(socket) = self.socket() else { return self.send_each(data) };
        let wanted: usize = data.iter().map(|part| part.len()).sum();
        let sent = socket.writev(data);
        match &sent {
            Ok(n) => {
                self.count_sent(*n as u64);
                if *n < wanted {
                    self.await_writable()?;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.await_writable()?,
            Err(_) => (),
        }
        sent
    }

    /// The socket of a plain connection; `None` where bytes go through TLS.
    pub fn socket(&self) -> Option<Socket> {
        // SAFETY: the connection is live.
        let c = unsafe { self.c.as_ref() };
        (!is_tls(c)).then_some(Socket::new(c.fd))
    }

    /// How the engine writes to it directly where it leads to another server or worker; `None` where bytes
    /// go through TLS.
    pub fn direct_relay(&self) -> Option<Direct> {
        Some(Direct { socket: self.socket()?, framing: Framing::Plain, relay: true })
    }

    /// Counts bytes that were written to [`Connection::socket`].
    pub fn count_sent(&self, bytes: u64) {
        // SAFETY: the connection is live.
        unsafe { (*self.c.as_ptr()).sent += bytes as nginx_sys::off_t };
    }

    /// The way through TLS, part by part.
    fn send_each(&self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        let c = self.c.as_ptr();
        let mut sent = 0;
        for part in data.iter().filter(|part| !part.is_empty()) {
            // SAFETY: the connection is live, send is set by nginx, and the part is readable.
            let n = unsafe {
                match (*c).send {
                    Some(send) => send(c, part.as_ptr() as *mut u8, part.len()),
                    None => return Err(io::ErrorKind::NotConnected.into()),
                }
            };
            match self.result(n) {
                Ok(n) => {
                    sent += n;
                    if n < part.len() {
                        self.await_writable()?;
                        return Ok(sent);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.await_writable()?;
                    return if sent > 0 { Ok(sent) } else { Err(error) };
                }
                Err(error) => return Err(error),
            }
        }
        Ok(sent)
    }

    fn result(&self, n: isize) -> io::Result<usize> {
        match n {
            n if n >= 0 => Ok(n as usize),
            n if n == NGX_AGAIN as isize => Err(io::ErrorKind::WouldBlock.into()),
            _ => Err(io::ErrorKind::ConnectionReset.into()),
        }
    }

    /// Whether a read may give something, as far as nginx knows.
    pub fn is_ready(&self) -> bool {
        // SAFETY: the connection is live.
        unsafe { (*(*self.c.as_ptr()).read).ready() != 0 }
    }

    /// Asks for the next read event.
    pub fn await_readable(&self) -> io::Result<()> {
        // SAFETY: the connection is live.
        let rc = unsafe { ngx_handle_read_event((*self.c.as_ptr()).read, 0) };
        if rc == NGX_OK as isize {
            Ok(())
        } else {
            Err(io::ErrorKind::Other.into())
        }
    }

    /// Asks for the next write event, after a write that fell short.
    fn await_writable(&self) -> io::Result<()> {
        // SAFETY: the connection is live; a write that fell short means that it is not ready.
        let rc = unsafe {
            let wev = (*self.c.as_ptr()).write;
            (*wev).set_ready(0);
            ngx_handle_write_event(wev, 0)
        };
        if rc == NGX_OK as isize {
            Ok(())
        } else {
            Err(io::ErrorKind::Other.into())
        }
    }

    /// Asks for no write events before a write falls short. A connection that nginx opens is watched
    /// for both, and each input would come with an event that says that there is room to write.
    pub fn ignore_writable(&self) {
        // SAFETY: the connection is live, and of the event's module only what is set is called.
        unsafe {
            let wev = (*self.c.as_ptr()).write;
            let edges = ngx_event_flags & NGX_USE_CLEAR_EVENT as usize != 0;
            let Some(del) = ngx_event_actions.del.filter(|_| edges && (*wev).active() != 0) else {
                return;
            };
            // the flag is for the read event, which stays
            del(wev, NGX_WRITE_EVENT, NGX_CLEAR_EVENT);
        }
    }

    /// Whether the peer is known to have closed or broken the connection while nobody was reading.
    pub fn peer_gone(&self) -> bool {
        // SAFETY: the connection is live.
        unsafe {
            let rev = (*self.c.as_ptr()).read;
            (*rev).pending_eof() != 0 || (*rev).error() != 0 || (*self.c.as_ptr()).error() != 0
        }
    }

    /// Whether nginx asks for the end of this connection (shutdown timeout, too few connections).
    pub fn wants_close(&self) -> bool {
        // SAFETY: the connection is live.
        unsafe { (*self.c.as_ptr()).close() != 0 }
    }

    /// Sends what is written at once, without waiting for more (TCP_NODELAY).
    pub fn set_nodelay(&self) {
        self.set_tcp(libc::TCP_NODELAY, 1);
    }

    /// Acknowledges at once what was just read (TCP_QUICKACK). A peer that writes a command in
    /// pieces under Nagle's algorithm would wait 40 ms for it.
    pub fn quick_ack(&self) {
        self.set_tcp(libc::TCP_QUICKACK, 1);
    }

    /// Leaves it to the kernel again to acknowledge two messages at a time, or one after 40 ms: an
    /// acknowledgement within a read costs as much as a write. The kernel goes back to quick ones by
    /// itself when a peer has let those 40 ms pass, as one under Nagle's algorithm does.
    pub fn delay_acks(&self) {
        self.set_tcp(libc::TCP_QUICKACK, 0);
    }

    fn set_tcp(&self, option: libc::c_int, value: libc::c_int) {
        let c = self.c.as_ptr();
        // SAFETY: the connection is live, and the option's value outlives the call. A socket that
        // refuses it works all the same.
        unsafe {
            if i32::from((*(*c).sockaddr).sa_family) != libc::AF_UNIX {
                let len = std::mem::size_of::<libc::c_int>() as libc::socklen_t;
                let value = ptr::addr_of!(value).cast();
                libc::setsockopt((*c).fd, libc::IPPROTO_TCP, option, value, len);
            }
        }
    }

    /// Has the kernel announce input from so many bytes on (SO_RCVLOWAT; 1 = all), or when the peer
    /// has closed. What it does not announce is there for a read after [`Connection::expect_input`].
    /// Says whether it does so: it can't for a unix socket.
    pub fn announce_from(&self, bytes: u16) -> bool {
        let c = self.c.as_ptr();
        let bytes = libc::c_int::from(bytes);
        // SAFETY: the connection is live, and the option's value outlives the call.
        unsafe {
            let len = std::mem::size_of::<libc::c_int>() as libc::socklen_t;
            let value = ptr::addr_of!(bytes).cast();
            i32::from((*(*c).sockaddr).sa_family) != libc::AF_UNIX
                && libc::setsockopt((*c).fd, libc::SOL_SOCKET, libc::SO_RCVLOWAT, value, len) == 0
        }
    }

    /// Has the next read look for input that was not announced.
    pub fn expect_input(&self) {
        // SAFETY: the connection is live. "Unknown" is what nginx itself notes at a read event.
        unsafe {
            let rev = (*self.c.as_ptr()).read;
            (*rev).set_ready(1);
            (*rev).available = -1;
        }
    }

    /// Tells the peer that nothing more comes, and still reads what it sends.
    pub fn shutdown_write(&self) {
        // SAFETY: the connection is live; that the peer is gone already is seen when reading.
        unsafe { libc::shutdown((*self.c.as_ptr()).fd, libc::SHUT_WR) };
    }

    /// The peer's port; 0 for a unix socket.
    pub fn port(&self) -> u16 {
        let c = self.c.as_ptr();
        // SAFETY: the connection is live and its address has this length.
        match unsafe { address_of((*c).sockaddr, (*c).socklen) } {
            Some(Address::Ip(addr)) => addr.port(),
            _ => 0,
        }
    }

    /// What the socket on which it was accepted was given; `None` if it was given nothing.
    pub fn servers(&self) -> Option<Rc<dyn Any>> {
        // SAFETY: see `new`: a listening socket has null there, or what `Cf::listen` has put there,
        // which lives as long as the configuration, and that as long as the connection.
        unsafe {
            let listening = (*self.c.as_ptr()).listening.as_ref()?;
            listening.servers.cast::<Rc<dyn Any>>().as_ref().cloned()
        }
    }

    /// Our own end.
    pub fn local_address(&self) -> Option<Address> {
        // SAFETY: the connection is live.
        unsafe { local_address(self.c) }
    }

    /// Our own end; `None` for a unix socket.
    pub fn local(&self) -> Option<std::net::SocketAddr> {
        match self.local_address() {
            Some(Address::Ip(addr)) => Some(addr),
            _ => None,
        }
    }

    /// The peer's IP address; `None` for a unix socket.
    pub fn ip(&self) -> Option<std::net::IpAddr> {
        let c = self.c.as_ptr();
        // SAFETY: the connection is live and its address has this length.
        unsafe { address_of((*c).sockaddr, (*c).socklen) }?.ip()
    }

    /// nginx's number of this connection, as `*N` in its log.
    pub fn number(&self) -> usize {
        // SAFETY: the connection is live.
        unsafe { (*self.c.as_ptr()).number as usize }
    }

    /// Bytes written to the peer so far.
    pub fn sent(&self) -> u64 {
        // SAFETY: the connection is live.
        unsafe { (*self.c.as_ptr()).sent as u64 }
    }

    /// The connection's log.
    pub fn log(&self) -> Log<'_> {
        // SAFETY: the connection is live, and its log lives as long.
        unsafe { Log::new((*self.c.as_ptr()).log) }
    }

    /// Has the lines of its log begin with its number, as those of nginx's http do. Only for a
    /// connection that was accepted, whose log is its own.
    pub fn number_log(&self) {
        // SAFETY: the connection is live.
        unsafe { (*(*self.c.as_ptr()).log).connection = (*self.c.as_ptr()).number };
    }

    /// The peer's address as text.
    pub fn addr_text(&self) -> Vec<u8> {
        // SAFETY: the connection is live and addr_text belongs to its pool.
        unsafe { (*self.c.as_ptr()).addr_text.as_bytes().to_vec() }
    }

    /// The connection itself, for module glue. It must not be closed through this pointer.
    pub fn as_ptr(&self) -> *mut ngx_connection_t {
        self.c.as_ptr()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.clear_handler();
        let c = self.c.as_ptr();
        // SAFETY: the connection is live and ours; its pool goes after it, since the log is in it.
        unsafe {
            let pool = (*c).pool;
            ngx_close_connection(c);
            if !pool.is_null() {
                ngx_destroy_pool(pool);
            }
        }
    }
}

extern "C" fn on_read<H: Handler>(ev: *mut ngx_event_t) {
    call(ev, H::readable);
}

extern "C" fn on_write<H: Handler>(ev: *mut ngx_event_t) {
    call(ev, H::writable);
}

/// # Safety
///
/// `data` is what set_handler::<H> made of its handler, and is not used any more.
unsafe fn release<H>(data: *mut c_void) {
    // SAFETY: the caller's promise.
    drop(unsafe { Rc::from_raw(data.cast::<H>()) });
}

fn call<H: Handler>(ev: *mut ngx_event_t, f: impl FnOnce(Rc<H>)) {
    // SAFETY: nginx passes an event of a live connection, whose data is null or what set_handler put
    // there together with its functions for the same H.
    let handler = unsafe {
        let c: *mut ngx_connection_t = (*ev).data.cast();
        NonNull::new((*c).data.cast::<H>()).map(|data| {
            Rc::increment_strong_count(data.as_ptr());
            Rc::from_raw(data.as_ptr())
        })
    };
    let Some(handler) = handler else { return };
    let kept = handler.clone();
    // the last hold may go in either, so each is dropped inside
    let done = guard("a connection's handler", move || f(handler));
    guard("the end of a session", move || match done {
        Some(()) => drop(kept),
        None => kept.panicked(),
    });
}
