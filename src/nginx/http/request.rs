//! A request as long as nginx has it, who answers it, and its end.

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::ptr::NonNull;
use std::rc::Rc;

use nginx_sys::{
    ngx_connection_t, ngx_http_finalize_request, ngx_http_request_t, ngx_http_run_posted_requests,
    ngx_http_send_special, ngx_int_t, ngx_uint_t, NGX_HTTP_LAST,
};

use super::output::Output;
use crate::nginx::event::Event;
use crate::nginx::module;

/// What answers a request. Each call holds its own `Rc`.
pub trait Responder {
    /// All that was handed over is on its way, and the client takes more.
    fn writable(self: Rc<Self>);
    /// There is input behind the request, its end or an error; see [`Request::await_input`].
    fn readable(self: Rc<Self>);
    /// The request ends, whoever ends it. Nothing can be sent any more.
    fn gone(&self);
}

/// A request, as long as nginx has it: afterwards every call does nothing, or fails.
#[derive(Clone)]
pub struct Request(pub(super) Rc<Inner>);

pub(super) struct Inner {
    pub(super) r: Cell<Option<NonNull<ngx_http_request_t>>>,
    pub(super) output: RefCell<Output>,
    pub(super) filters: Cell<Filters>,
    ended: Cell<Ended>,
    pub(super) subrequests: OnceCell<Event>,
    /// When the client has to have taken something: nginx clears what a timer was set to.
    pub(super) send_by: Cell<u64>,
}

/// What there is to be told of a request that has ended.
#[derive(Clone, Copy, Default)]
pub struct Ended {
    /// Bytes of the request, and of the answer as far as it has gone out.
    pub received: u64,
    pub sent: u64,
    /// The client has taken nothing for `send_timeout`.
    pub timed_out: bool,
    /// nginx has closed the connection: the worker leaves.
    pub shut_down: bool,
}

/// What nginx's filters were seen to make of the body.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Filters {
    /// The head of the answer is not out yet.
    Unknown,
    /// The head is out; the next bytes will tell.
    Watched,
    /// Chunks at the most.
    Plain,
    /// Something else.
    Changing,
}

/// What nginx keeps of ours for a request, in the request's pool.
pub(super) struct Context {
    pub(super) request: Request,
    pub(super) responder: Rc<dyn Responder>,
}

impl Request {
    /// # Safety
    ///
    /// nginx has called a content handler with `r`, and the value is not used after that handler
    /// has returned unless [`Request::hold`] was called and returned true.
    pub unsafe fn new(r: NonNull<ngx_http_request_t>) -> Self {
        Request(Rc::new(Inner {
            r: Cell::new(Some(r)),
            output: RefCell::default(),
            filters: Cell::new(Filters::Unknown),
            ended: Cell::default(),
            subrequests: OnceCell::new(),
            send_by: Cell::default(),
        }))
    }

    pub(super) fn ptr(&self) -> Option<*mut ngx_http_request_t> {
        self.0.r.get().map(NonNull::as_ptr)
    }

    pub(super) fn live(&self) -> io::Result<*mut ngx_http_request_t> {
        self.ptr().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Reads something of the request; the default if it is gone.
    pub(super) fn get<T: Default>(&self, f: impl FnOnce(&ngx_http_request_t) -> T) -> T {
        // SAFETY: the request is live while the pointer is there, and `f` does not call nginx.
        self.ptr().map(|r| f(unsafe { &*r })).unwrap_or_default()
    }

    /// Reads something of the request's connection.
    pub(super) fn get_connection<T: Default>(&self, f: impl FnOnce(&ngx_connection_t) -> T) -> T {
        // SAFETY: a live request has a connection.
        self.get(|r| f(unsafe { &*r.connection }))
    }

    /// Ends the answer where it is: what was flushed still goes out.
    pub fn finish(&self) {
        let Some(r) = self.let_go() else { return };
        // SAFETY: the request is live until it is finalized; the connection's memory stays.
        unsafe {
            let c = (*r).connection;
            let rc = ngx_http_send_special(r, NGX_HTTP_LAST as ngx_uint_t);
            ngx_http_finalize_request(r, rc);
            ngx_http_run_posted_requests(c);
        }
    }

    /// Ends the request: with a status of 300 and more, whose page is sent if no head was, or with
    /// `NGX_ERROR`, which closes the connection.
    pub fn finalize(&self, rc: ngx_int_t) {
        let Some(r) = self.let_go() else { return };
        // SAFETY: as above.
        unsafe {
            let c = (*r).connection;
            ngx_http_finalize_request(r, rc);
            ngx_http_run_posted_requests(c);
        }
    }

    /// What there was to be told of the request when it ended.
    pub fn ended(&self) -> Ended {
        self.0.ended.get()
    }

    /// The request ends: nothing can be asked of it any more.
    pub(super) fn end(&self) -> Option<*mut ngx_http_request_t> {
        self.0.ended.set(self.get(|r| {
            // SAFETY: a live request has a connection.
            let c = unsafe { &*r.connection };
            Ended {
                received: r.request_length as u64,
                sent: c.sent as u64,
                timed_out: c.timedout() != 0,
                shut_down: c.close() != 0,
            }
        }));
        self.0.r.take().map(NonNull::as_ptr)
    }

    /// Parts the request from its responder.
    fn let_go(&self) -> Option<*mut ngx_http_request_t> {
        let r = self.end()?;
        // SAFETY: the request is live.
        let responder = unsafe { context(r).map(|context| context.responder.clone()) };
        if let Some(responder) = responder {
            responder.gone();
        }
        Some(r)
    }
}

/// # Safety
///
/// `r` is live.
pub(super) unsafe fn context<'a>(r: *mut ngx_http_request_t) -> Option<&'a Context> {
    // SAFETY: the slot holds null or what `hold` has put there, and lives as long as the pool.
    unsafe { (*(*r).ctx.add(module::http_index())).cast::<Context>().as_ref() }
}
