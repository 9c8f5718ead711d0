//! The answer to a request, through nginx's own filters.

use std::ffi::CStr;
use std::io;
use std::rc::Rc;

use live::{Block, Socket};
use nginx_sys::{
    ngx_add_timer, ngx_chain_t, ngx_del_timer, ngx_handle_write_event, ngx_http_core_loc_conf_t,
    ngx_http_core_module, ngx_http_output_filter, ngx_http_request_t, ngx_http_run_posted_requests,
    ngx_http_send_header, ngx_http_send_special, ngx_http_write_filter, ngx_int_t, ngx_io,
    ngx_list_push, ngx_str_t, ngx_table_elt_t, ngx_tcp_nodelay, ngx_uint_t, NGX_ERROR,
    NGX_HTTP_FLUSH, NGX_HTTP_MODULE, NGX_HTTP_VERSION_11, NGX_OK,
};

use super::request::{Filters, Request};
use crate::nginx::clock;
use crate::nginx::connection::is_tls;
use crate::nginx::event::Event;

/// Modules of nginx's that keep something for a request and leave its body as it is, or make chunks
/// of it.
const HARMLESS: [&CStr; 6] = [
    c"ngx_http_auth_request_module",
    c"ngx_http_chunked_filter_module",
    c"ngx_http_copy_filter_module",
    c"ngx_http_header_count_module",
    c"ngx_http_realip_module",
    c"ngx_rtmp_http_module",
];

thread_local! {
    /// For each HTTP module, by its index, whether it is one of the [`HARMLESS`].
    static IS_HARMLESS: Vec<bool> = {
        let mut known = Vec::new();
        // SAFETY: the cycle's modules are a list that ends with null, each with a name.
        unsafe {
            let mut module = (*nginx_sys::ngx_cycle).modules;
            while let Some(m) = (*module).as_ref() {
                if m.type_ == NGX_HTTP_MODULE as ngx_uint_t {
                    known.resize(known.len().max(m.ctx_index + 1), false);
                    if let Some(known) = known.get_mut(m.ctx_index) {
                        *known = HARMLESS.contains(&CStr::from_ptr(m.name));
                    }
                }
                module = module.add(1);
            }
        }
        known
    };
}

/// The head of an answer.
pub struct Head<'a> {
    pub status: u32,
    /// The status with its reason, where nginx knows none.
    pub line: &'static str,
    pub content_type: &'static str,
    pub fields: &'a [(&'static str, &'a [u8])],
}

impl Request {
    /// Puts a field into the head of the answer, whatever its status will be. False: out of memory.
    pub fn add_field(&self, name: &'static str, value: &[u8]) -> bool {
        let Some(r) = self.ptr() else { return false };
        // SAFETY: the request is live, its list of fields too, and the value is copied to its pool.
        unsafe {
            let Some(value) = ngx_str_t::from_bytes((*r).pool, value) else { return false };
            let field = ngx_list_push(&raw mut (*r).headers_out.headers).cast::<ngx_table_elt_t>();
            if field.is_null() {
                return false;
            }
            let mut elt: ngx_table_elt_t = std::mem::zeroed();
            elt.hash = 1;
            elt.key = text(name);
            elt.value = value;
            field.write(elt);
        }
        true
    }

    /// Sends the head of the answer. False if that is all, because the client asked for the head
    /// only, or because the request has ended. Not to be called from inside of the engine: nginx may
    /// call back.
    pub fn send_head(&self, head: &Head<'_>) -> io::Result<bool> {
        let r = self.live()?;
        if !head.fields.iter().all(|&(name, value)| self.add_field(name, value)) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        // SAFETY: the request is live; what the head points to is static.
        unsafe {
            let out = &raw mut (*r).headers_out;
            (*out).status = head.status as ngx_uint_t;
            if !head.line.is_empty() {
                (*out).status_line = text(head.line);
            }
            (*out).content_type = text(head.content_type);
            (*out).content_type_len = head.content_type.len();
            // the answer has no end that a client could wait for
            (*r).set_keepalive(0);
            if (*core_conf(r)).tcp_nodelay != 0 {
                // a socket that refuses it works all the same
                ngx_tcp_nodelay((*r).connection);
            }
            let rc = ngx_http_send_header(r);
            if rc == NGX_ERROR as ngx_int_t || rc > NGX_OK as ngx_int_t {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            if (*r).header_only() != 0 {
                return Ok(false);
            }
        }
        self.flush_head()
    }

    /// The head goes out now, not with the first bytes of the body.
    fn flush_head(&self) -> io::Result<bool> {
        let r = self.live()?;
        // SAFETY: the request is live until the requests that a filter has added are run, which may
        // end it; the memory of its connection stays.
        unsafe {
            let c = (*r).connection;
            if ngx_http_send_special(r, NGX_HTTP_FLUSH as ngx_uint_t) == NGX_ERROR as ngx_int_t {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            match self.is_busy() {
                true => self.await_writable(r)?,
                // what comes next is the body alone
                false => self.0.filters.set(Filters::Watched),
            }
            ngx_http_run_posted_requests(c);
        }
        Ok(self.ptr().is_some())
    }

    /// Queues bytes for the next flush.
    pub fn push(&self, bytes: Box<[u8]>) {
        self.0.output.borrow_mut().push(bytes);
    }

    /// Queues bytes for the next flush: without a copy, if they lie in `block`.
    pub fn push_shared(&self, bytes: &[u8], block: Option<&Rc<Block>>) {
        self.0.output.borrow_mut().push_shared(bytes, block);
    }

    /// Hands what is queued to nginx. True if the client has taken it all; else
    /// [`Responder::writable`] will be called, or the request ends when the client takes nothing
    /// for `send_timeout`.
    pub fn flush(&self) -> io::Result<bool> {
        let r = self.live()?;
        let (before, queued) = (self.sent(), self.0.output.borrow().queued());
        // SAFETY: the request is live, and nginx's own filters take such a chain.
        let all = self.flush_by(|chain| unsafe { ngx_http_output_filter(r, chain) })?;
        if all && queued > 0 {
            self.watch_filters(queued, self.sent() - before);
        }
        Ok(all)
    }

    /// The same for what is a part of the body as the client sees it, after a write to
    /// [`Request::socket`] that fell short.
    pub fn flush_framed(&self) -> io::Result<bool> {
        let r = self.live()?;
        // SAFETY: as above; this is the last of the filters, which writes.
        self.flush_by(|chain| unsafe { ngx_http_write_filter(r, chain) })
    }

    fn flush_by(&self, filter: impl Fn(*mut ngx_chain_t) -> ngx_int_t) -> io::Result<bool> {
        let r = self.live()?;
        let chain = self.0.output.borrow_mut().chain();
        // SAFETY: the request is live, as nothing here runs what could end it; the chain's buffers
        // stay where they are until the request's pool is gone, and what they point to until they
        // are empty.
        unsafe {
            // a subrequest whose answer comes first holds back ours without saying so
            if !chain.is_null() || is_buffered(r) || !(*r).postponed.is_null() {
                let rc = filter(chain);
                self.0.output.borrow_mut().release();
                if !(*(*r).main).posted_requests.is_null() {
                    self.run_subrequests_soon();
                }
                if rc == NGX_ERROR as ngx_int_t {
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
            } else {
                // HTTP/2 sends by itself what it was given
                self.0.output.borrow_mut().release();
            }
            let wev = (*(*r).connection).write;
            if !self.is_busy() {
                if (*wev).timer_set() != 0 && (*wev).delayed() == 0 {
                    ngx_del_timer(wev);
                }
                return Ok(true);
            }
            self.await_writable(r)?;
            Ok(false)
        }
    }

    /// nginx runs what a filter asked for behind its own events only; this may be in one of ours.
    #[cold]
    fn run_subrequests_soon(&self) {
        let this = Rc::downgrade(&self.0);
        let run = move || {
            let Some(r) = this.upgrade().and_then(|inner| inner.r.get()) else { return };
            // SAFETY: the request is live while the pointer is there, and so is its connection.
            unsafe { ngx_http_run_posted_requests((*r.as_ptr()).connection) };
        };
        self.0.subrequests.get_or_init(|| Event::new(run)).post();
    }

    /// Looks at what became of `queued` bytes, which are some: `sent` bytes.
    fn watch_filters(&self, queued: usize, sent: u64) {
        let framed = match self.get(|r| r.chunked()) {
            0 => queued,
            // the size in hexadecimal digits, and two ends of lines
            _ => queued + queued.ilog(16) as usize + 1 + b"\r\n\r\n".len(),
        };
        self.0.filters.set(match self.0.filters.get() {
            Filters::Unknown => Filters::Watched,
            Filters::Watched | Filters::Plain if sent == framed as u64 => Filters::Plain,
            _ => Filters::Changing,
        });
    }

    fn sent(&self) -> u64 {
        self.get_connection(|c| c.sent as u64)
    }

    /// The client's socket, if nginx would do nothing with the bytes of the body but write them, in
    /// chunks (`true`) or without. None as long as anything waits to be written.
    pub fn socket(&self) -> Option<(Socket, bool)> {
        let r = self.ptr().filter(|_| self.0.filters.get() == Filters::Plain && !self.is_busy())?;
        // SAFETY: the request is live, and so is its connection; `ctx` has a slot for each module.
        unsafe {
            let c = (*r).connection;
            let plain = !is_tls(&*c)
                && (*r).http_version <= NGX_HTTP_VERSION_11 as usize
                && (*r).limit_rate == 0
                && (*r).out.is_null()
                && (*r).postponed.is_null()
                && (*c).send_chain.map(|f| f as usize) == ngx_io.send_chain.map(|f| f as usize)
                && IS_HARMLESS.with(|known| {
                    // whoever has something to do with the body keeps its state here
                    let mut modules = known.iter().enumerate();
                    modules.all(|(at, harmless)| *harmless || (*(*r).ctx.add(at)).is_null())
                });
            plain.then(|| (Socket::new((*c).fd), (*r).chunked() != 0))
        }
    }

    /// Counts bytes that were written to [`Request::socket`].
    pub fn count_sent(&self, bytes: u64) {
        if let Some(r) = self.ptr() {
            // SAFETY: the request is live, and so is its connection.
            unsafe { (*(*r).connection).sent += bytes as nginx_sys::off_t };
        }
    }

    /// Whether the client has not taken all that was flushed.
    pub fn is_busy(&self) -> bool {
        // SAFETY: the request is live while the pointer is there.
        self.0.output.borrow().is_handed() || self.ptr().is_some_and(|r| unsafe { is_buffered(r) })
    }

    /// # Safety
    ///
    /// `r` is live.
    pub(super) unsafe fn await_writable(&self, r: *mut ngx_http_request_t) -> io::Result<()> {
        // SAFETY: the caller's promise; this is what nginx's own writer does.
        unsafe {
            let (conf, wev) = (core_conf(r), (*(*r).connection).write);
            // a delayed event (limit_rate) has its timer already
            if (*wev).delayed() == 0 {
                ngx_add_timer(wev, (*conf).send_timeout);
                self.0.send_by.set(clock::now().saturating_add((*conf).send_timeout as u64));
            }
            if ngx_handle_write_event(wev, (*conf).send_lowat) != NGX_OK as ngx_int_t {
                return Err(io::ErrorKind::Other.into());
            }
        }
        Ok(())
    }
}

fn text(text: &'static str) -> ngx_str_t {
    ngx_str_t { len: text.len(), data: text.as_ptr().cast_mut() }
}

/// # Safety
///
/// `r` is live.
unsafe fn core_conf(r: *mut ngx_http_request_t) -> *mut ngx_http_core_loc_conf_t {
    // SAFETY: each request has the configuration of the core module.
    unsafe { (*(*r).loc_conf.add(ngx_http_core_module.ctx_index)).cast() }
}

/// # Safety
///
/// `r` is live.
unsafe fn is_buffered(r: *mut ngx_http_request_t) -> bool {
    // SAFETY: the caller's promise.
    unsafe { (*r).buffered() != 0 || (*(*r).connection).buffered() != 0 }
}
