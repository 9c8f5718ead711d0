//! Sockets that a worker opens for itself, beside those of the configuration.
//!
//! nginx does not know them when it closes its listening sockets, so a worker that is told to leave
//! still answers on them for as long as its sessions last.

use std::io;
use std::mem;
use std::os::fd::{IntoRawFd, RawFd};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::ptr;

use nginx_sys::{
    ngx_connection_handler_pt, ngx_connection_t, ngx_cycle, ngx_event_accept, ngx_event_actions,
    ngx_event_t, ngx_get_connection, ngx_handle_read_event, ngx_listening_t, NGX_ERROR, NGX_OK,
};

use crate::nginx::guard::guard;
use crate::nginx::log;
use crate::nginx::sys::NGX_READ_EVENT;

/// The pool of an accepted connection: its address and a log fit.
const POOL_SIZE: usize = 512;

/// Calls `handler` for each connection to `listener`, until the process ends.
pub fn accept(listener: UnixListener, handler: ngx_connection_handler_pt) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let c = connection(listener.into_raw_fd(), ngx_event_accept)?;
    // SAFETY: zeroes are a listening socket without options; the address is only copied around.
    // Both live as long as the process, as connections point to them.
    unsafe {
        let address: &'static mut libc::sockaddr_un = Box::leak(Box::new(mem::zeroed()));
        address.sun_family = libc::AF_UNIX as _;
        let listening: &'static mut ngx_listening_t = Box::leak(Box::new(mem::zeroed()));
        listening.fd = (*c).fd;
        listening.sockaddr = ptr::from_mut(address).cast();
        listening.socklen = mem::size_of::<libc::sockaddr_un>() as _;
        listening.type_ = libc::SOCK_STREAM;
        listening.handler = handler;
        listening.pool_size = POOL_SIZE;
        listening.log = *log::cycle();
        listening.logp = log::cycle();
        listening.connection = c;
        (*c).listening = listening;
        // nginx takes an event of this kind for its own when it looks for what was left open
        (*(*c).read).set_accept(1);
        // level-triggered as nginx's own: it accepts one connection an event
        let rc = match ngx_event_actions.add {
            Some(add) => add((*c).read, NGX_READ_EVENT as _, 0),
            None => NGX_ERROR as _,
        };
        if rc == NGX_OK as isize {
            Ok(())
        } else {
            Err(io::ErrorKind::Other.into())
        }
    }
}

/// Calls `callback` whenever there is something to read from `socket`, until the process ends.
pub fn readable(socket: &UnixDatagram, callback: fn()) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    let c = connection(socket.try_clone()?.into_raw_fd(), on_readable)?;
    // SAFETY: the connection is new and ours, and its data may be anything.
    unsafe {
        (*c).data = callback as *mut std::ffi::c_void;
        // as above: not to be taken for a connection that was left open
        (*(*c).read).set_channel(1);
    }
    watch(c)
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
