//! A request that is answered over a long time: how nginx tells of its events, its input and its end.

use std::ffi::c_void;
use std::io;
use std::ptr;
use std::rc::Rc;

use nginx_sys::{
    ngx_add_timer, ngx_handle_read_event, ngx_http_cleanup_add, ngx_http_discard_request_body,
    ngx_http_request_t, ngx_http_test_reading, ngx_int_t, ngx_pool_cleanup_add, NGX_AGAIN,
    NGX_ERROR, NGX_HTTP_REQUEST_TIME_OUT, NGX_OK,
};

use super::request::{context, Context, Request, Responder};
use crate::nginx::clock;
use crate::nginx::guard::guard;
use crate::nginx::module;

impl Request {
    /// Lets `responder` answer the request: now nothing happens to it without `responder` being
    /// told, and the content handler returns `NGX_DONE`. False: out of memory.
    pub fn hold(&self, responder: Rc<dyn Responder>) -> bool {
        let Some(r) = self.ptr() else { return false };
        // SAFETY: the request is live, see `new`. The context goes with the request's pool, before
        // what was in the pool already and after what the answer will put there.
        unsafe {
            let kept = ngx_pool_cleanup_add((*r).pool, size_of::<Context>());
            let cleanup = ngx_http_cleanup_add(r, 0);
            if kept.is_null() || cleanup.is_null() {
                return false;
            }
            let context = (*kept).data.cast::<Context>();
            context.write(Context { request: self.clone(), responder });
            (*kept).handler = Some(drop_context);
            (*cleanup).handler = Some(on_cleanup);
            (*cleanup).data = context.cast();
            *(*r).ctx.add(module::http_index()) = context.cast();
            (*r).read_event_handler = Some(ngx_http_test_reading);
            (*r).write_event_handler = Some(on_write);
            let main = (*r).main;
            (*main).set_count((*main).count() + 1);
        }
        true
    }

    /// Has nginx read and forget the body of the request. An error is what to answer.
    pub fn discard_body(&self) -> Result<(), ngx_int_t> {
        let r = self.ptr().ok_or(NGX_ERROR as ngx_int_t)?;
        // SAFETY: the request is live.
        match unsafe { ngx_http_discard_request_body(r) } {
            rc if rc == NGX_OK as ngx_int_t => Ok(()),
            rc => Err(rc),
        }
    }

    /// From now on calls [`Responder::readable`]; until now the client's input was only watched
    /// for its end.
    pub fn await_input(&self) {
        if let Some(r) = self.ptr() {
            // SAFETY: the request is live.
            unsafe { (*r).read_event_handler = Some(on_read) };
        }
    }

    /// Reads what the client sent behind its request: `Ok(0)` is its end, `WouldBlock` nothing yet.
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        let r = self.live()?;
        // SAFETY: the request is live. nginx may have read ahead into the header's buffer.
        unsafe {
            let ahead = (*r).header_in;
            let n = ((*ahead).last as usize).saturating_sub((*ahead).pos as usize).min(buf.len());
            if n > 0 {
                ptr::copy_nonoverlapping((*ahead).pos, buf.as_mut_ptr(), n);
                (*ahead).pos = (*ahead).pos.add(n);
                return Ok(n);
            }
            let c = (*r).connection;
            let Some(recv) = (*c).recv else { return Err(io::ErrorKind::NotConnected.into()) };
            match recv(c, buf.as_mut_ptr(), buf.len()) {
                n if n >= 0 => Ok(n as usize),
                n if n == NGX_AGAIN as isize => {
                    match ngx_handle_read_event((*c).read, 0) == NGX_OK as ngx_int_t {
                        true => Err(io::ErrorKind::WouldBlock.into()),
                        false => Err(io::ErrorKind::Other.into()),
                    }
                }
                _ => Err(io::ErrorKind::ConnectionReset.into()),
            }
        }
    }
}

/// Runs `f` for the request `r`, which ends if it panics.
///
/// # Safety
///
/// `r` is live.
unsafe fn respond(r: *mut ngx_http_request_t, f: impl FnOnce(&Request, Rc<dyn Responder>)) {
    // what is dropped here runs inside of the guard as well
    guard("the end of a request", || {
        // SAFETY: the caller's promise.
        let Some(context) = (unsafe { context(r) }) else { return };
        let (request, responder) = (context.request.clone(), context.responder.clone());
        if guard("a request", || f(&request, responder)).is_none() {
            request.finalize(NGX_ERROR as ngx_int_t);
        }
    });
}

unsafe extern "C" fn on_write(r: *mut ngx_http_request_t) {
    let write = |request: &Request, responder: Rc<dyn Responder>| {
        // SAFETY: nginx calls the handlers of a live request.
        unsafe {
            let wev = (*(*r).connection).write;
            if (*wev).timedout() != 0 && clock::stood_still(request.0.send_by.get()) {
                // that the client has read meanwhile may be an event of the turns to come
                (*wev).set_timedout(0);
                ngx_add_timer(wev, clock::GRACE_MS as nginx_sys::ngx_msec_t);
            }
            if (*wev).timedout() != 0 {
                (*(*r).connection).set_timedout(1);
                return request.finalize(NGX_HTTP_REQUEST_TIME_OUT as ngx_int_t);
            }
            if !request.is_busy() {
                return;
            }
            if (*wev).delayed() != 0 {
                if request.await_writable(r).is_err() {
                    request.finalize(NGX_ERROR as ngx_int_t);
                }
                return;
            }
        }
        match request.flush() {
            Ok(true) => responder.writable(),
            Ok(false) => (),
            Err(_) => request.finalize(NGX_ERROR as ngx_int_t),
        }
    };
    // SAFETY: as above.
    unsafe { respond(r, write) };
}

unsafe extern "C" fn on_read(r: *mut ngx_http_request_t) {
    // SAFETY: nginx calls the handlers of a live request.
    unsafe { respond(r, |_, responder| responder.readable()) };
}

/// The request's pool goes.
unsafe extern "C" fn drop_context(data: *mut c_void) {
    // SAFETY: `hold` has put a context there, and this is called once.
    guard("the end of a request", || unsafe { data.cast::<Context>().drop_in_place() });
}

/// nginx ends the request.
unsafe extern "C" fn on_cleanup(data: *mut c_void) {
    guard("the end of a request", || {
        // SAFETY: `hold` has put the context there, which lives as long as the request's pool.
        let context = unsafe { &*data.cast::<Context>() };
        let responder = context.responder.clone();
        if context.request.end().is_some() {
            responder.gone();
        }
    });
}
