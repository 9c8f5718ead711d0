//! Sockets that a worker opens for itself beside those of the configuration, and how it accepts
//! while it has no descriptor or connection left.
//!
//! nginx does not know the former when it closes its listening sockets, so a worker that is told to
//! leave still answers on them for as long as its sessions last.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::LinkedList;
use std::io;
use std::mem;
use std::os::fd::{IntoRawFd, RawFd};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::ptr::{self, NonNull};
use std::rc::Rc;

use nginx_sys::{
    ngx_add_timer, ngx_close_connection, ngx_connection_t, ngx_cycle, ngx_event_accept,
    ngx_event_actions, ngx_event_t, ngx_get_connection, ngx_handle_read_event, ngx_listening_t,
    ngx_log_t, NGX_LOG_EMERG, NGX_OK,
};

use crate::nginx::clock;
use crate::nginx::connection::Connection;
use crate::nginx::connection::POOL_SIZE;
use crate::nginx::guard::guard;
use crate::nginx::log;
use crate::nginx::sys::{NGX_DISABLE_EVENT, NGX_READ_EVENT};

/// A worker that can't take another connection accepts again after so long: as long as nginx waits
/// by itself, by default, when it has no descriptor left.
const PAUSE_MS: u64 = 500;
/// It says so once in so long.
const REPORT_MS: u64 = 1000;

/// What connections point to, also when their listening socket is closed.
struct Kept {
    address: libc::sockaddr_un,
    listening: ngx_listening_t,
    /// What [`Connection::servers`] gives: what is called with a connection.
    handler: Rc<dyn Any>,
}

thread_local! {
    static REPORTED: Cell<Option<u64>> = const { Cell::new(None) };
    static KEPT: RefCell<LinkedList<Kept>> = const { RefCell::new(LinkedList::new()) };
}

/// What nginx calls with a connection that it has accepted.
pub type AcceptHandler = unsafe extern "C" fn(*mut ngx_connection_t);

/// A socket on which this worker accepts. Dropped, it is closed.
pub struct Acceptor(*mut ngx_connection_t);

/// A socket that is watched for input. Dropped, it is not any more.
pub struct Watched(*mut ngx_connection_t);

impl Drop for Acceptor {
    fn drop(&mut self) {
        // SAFETY: the connection is ours, and nobody has closed it.
        unsafe { ngx_close_connection(self.0) };
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe { ngx_close_connection(self.0) };
    }
}

/// Calls `handler` for each connection to `listener`.
pub fn accept(listener: UnixListener, handler: fn(Connection)) -> io::Result<Acceptor> {
    listener.set_nonblocking(true)?;
    let c = connection(listener.into_raw_fd(), on_connection)?;
    let acceptor = Acceptor(c);
    // SAFETY: zeroes are a listening socket without options; the address is only copied around.
    // Both live as long as the process, as connections point to them.
    unsafe {
        let Kept { address, listening, handler } = kept(Rc::new(handler));
        address.sun_family = libc::AF_UNIX as _;
        listening.fd = (*c).fd;
        listening.sockaddr = ptr::from_mut(address).cast();
        listening.socklen = mem::size_of::<libc::sockaddr_un>() as _;
        listening.type_ = libc::SOCK_STREAM;
        listening.handler = Some(on_accepted);
        listening.servers = ptr::from_mut(handler).cast();
        listening.pool_size = POOL_SIZE;
        listening.log = *log::cycle().as_ptr();
        listening.logp = log::cycle().as_ptr();
        listening.connection = c;
        (*c).listening = listening;
        // nginx takes an event of this kind for its own when it looks for what was left open
        (*(*c).read).set_accept(1);
        match listen_again((*c).read) {
            true => Ok(acceptor),
            false => Err(io::ErrorKind::Other.into()),
        }
    }
}

/// What lives as long as the worker runs, with an address and a listening socket of nothing.
fn kept(handler: Rc<dyn Any>) -> &'static mut Kept {
    KEPT.with_borrow_mut(|all| {
        // SAFETY: zeroes are an address and a listening socket of nothing. An element of a list stays
        // in its place, and it is freed when nginx has left its event loop for good.
        unsafe {
            all.push_back(Kept { address: mem::zeroed(), listening: mem::zeroed(), handler });
            let at: *mut Kept = all.back_mut().map_or(ptr::null_mut(), ptr::from_mut);
            &mut *at
        }
    })
}

/// nginx has accepted a connection on a socket of [`accept`].
unsafe extern "C" fn on_accepted(c: *mut ngx_connection_t) {
    guard("accept", || {
        let Some(c) = NonNull::new(c) else { return };
        // SAFETY: nginx hands over a new connection that it does not look at any more.
        let conn = unsafe { Connection::new(c) };
        let handler = conn.servers().and_then(|handler| handler.downcast::<fn(Connection)>().ok());
        if let Some(handler) = handler {
            handler(conn);
        }
    });
}

/// Has this worker pause, with one line a second, where nginx would go on closing connections that it
/// has no room for: on the listening sockets of the configuration that have this `handler`.
pub fn pause_when_full(handler: AcceptHandler) {
    let ours = |listening: &ngx_listening_t| {
        listening.handler.is_some_and(|other| ptr::fn_addr_eq(other, handler))
    };
    // SAFETY: called at the start of a worker, whose cycle has its listening sockets, each with a
    // connection if this worker accepts on it.
    unsafe {
        for listening in (*ngx_cycle).listening.as_slice::<ngx_listening_t>() {
            let c = listening.connection;
            if !c.is_null() && ours(listening) && (*(*c).read).accept() != 0 {
                (*(*c).read).handler = Some(on_connection);
            }
        }
    }
}

/// Whether nginx has a connection for another socket, or one that it closes for that.
pub fn is_connection_free() -> bool {
    // SAFETY: plain words of the cycle, which lives while any code of the module runs.
    unsafe { (*ngx_cycle).free_connection_n > 0 || (*ngx_cycle).reusable_connections_n > 0 }
}

/// There is somebody to accept, or a pause is over.
unsafe extern "C" fn on_connection(ev: *mut ngx_event_t) {
    // SAFETY: nginx calls with the event of a listening connection.
    unsafe {
        let own = is_own(ev);
        // an event of nginx's whose timer outlived the sockets of a worker that leaves
        if !own && clock::exiting() {
            return;
        }
        if (*ev).timedout() != 0 {
            (*ev).set_timedout(0);
            // nginx itself stops all of its listening sockets where it finds no descriptor
            nginx_sys::ngx_enable_accept_events(ngx_cycle);
            listen_again(ev);
        }
        let now = clock::now();
        let quiet = REPORTED.get().is_some_and(|before| now.saturating_sub(before) < REPORT_MS);
        if !is_connection_free() {
            if !quiet {
                REPORTED.set(Some(now));
                log::error!(
                    log::cycle(),
                    "rtmp: no connection is free in this worker, clients wait; \
                     \"worker_connections\" is too small"
                );
            }
            return pause(ev);
        }
        // nginx says that it has no descriptor each time that it tries
        let loud = (*ev).log;
        let mut silent: ngx_log_t = *loud;
        silent.log_level = NGX_LOG_EMERG as usize;
        if quiet {
            (*ev).log = &mut silent;
        }
        ngx_event_accept(ev);
        (*ev).log = loud;
        if (*ev).timer_set() != 0 {
            if !quiet {
                REPORTED.set(Some(now));
            }
            pause(ev);
        }
    }
}

/// Whether nginx does not know the socket of this event.
///
/// # Safety
///
/// `ev` is the event of a listening connection.
unsafe fn is_own(ev: *mut ngx_event_t) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let c: *mut ngx_connection_t = (*ev).data.cast();
        let listenings = (*ngx_cycle).listening.as_slice::<ngx_listening_t>();
        !listenings.as_ptr_range().contains(&(*c).listening.cast_const())
    }
}

/// Stops accepting until a timer ends that.
///
/// # Safety
///
/// `ev` is the event of a listening connection.
unsafe fn pause(ev: *mut ngx_event_t) {
    // SAFETY: the caller's promise, and of the event's module only what is set is called.
    unsafe {
        if let Some(del) = ngx_event_actions.del.filter(|_| (*ev).active() != 0) {
            del(ev, NGX_READ_EVENT as _, NGX_DISABLE_EVENT as _);
        }
        // nobody is kept from leaving by it
        (*ev).set_cancelable(1);
        ngx_add_timer(ev, PAUSE_MS as _);
    }
}

/// # Safety
///
/// `ev` is the event of a listening connection.
unsafe fn listen_again(ev: *mut ngx_event_t) -> bool {
    // SAFETY: the caller's promise. Level-triggered as nginx's own: it accepts one connection an
    // event.
    unsafe {
        (*ev).active() != 0
            || ngx_event_actions
                .add
                .is_some_and(|add| add(ev, NGX_READ_EVENT as _, 0) == NGX_OK as isize)
    }
}

/// Calls `callback` whenever there is something to read from `socket`.
pub fn readable(socket: &UnixDatagram, callback: fn()) -> io::Result<Watched> {
    socket.set_nonblocking(true)?;
    let c = connection(socket.try_clone()?.into_raw_fd(), on_readable)?;
    let watched = Watched(c);
    // SAFETY: the connection is new and ours, and its data may be anything.
    unsafe {
        (*c).data = callback as *mut std::ffi::c_void;
        // as above: not to be taken for a connection that was left open
        (*(*c).read).set_channel(1);
    }
    watch(c)?;
    Ok(watched)
}

unsafe extern "C" fn on_readable(ev: *mut ngx_event_t) {
    // SAFETY: `data` is the function that `readable` put there.
    let callback: fn() = unsafe {
        let c: *mut ngx_connection_t = (*ev).data.cast();
        mem::transmute((*c).data)
    };
    guard("a datagram's handler", callback);
}

fn connection(
    fd: RawFd,
    handler: unsafe extern "C" fn(*mut ngx_event_t),
) -> io::Result<*mut ngx_connection_t> {
    // SAFETY: called in a worker, whose cycle has its connections.
    unsafe {
        let c = ngx_get_connection(fd, (*ngx_cycle).log);
        if c.is_null() {
            libc::close(fd);
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        (*c).log = (*ngx_cycle).log;
        (*(*c).read).log = (*ngx_cycle).log;
        (*(*c).write).log = (*ngx_cycle).log;
        (*(*c).read).handler = Some(handler);
        Ok(c)
    }
}

fn watch(c: *mut ngx_connection_t) -> io::Result<()> {
    // SAFETY: the connection is live and has a read handler.
    let rc = unsafe { ngx_handle_read_event((*c).read, 0) };
    if rc == NGX_OK as isize {
        Ok(())
    } else {
        Err(io::ErrorKind::Other.into())
    }
}
