//! An HTTP request of nginx's that is answered over a long time, through nginx's own filters.

mod output;

use std::cell::{Cell, OnceCell, RefCell};
use std::ffi::{c_void, CStr};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ptr::{self, NonNull};
use std::rc::Rc;

use live::{Block, Socket};
use nginx_sys::{
    ngx_add_timer, ngx_chain_t, ngx_connection_t, ngx_del_timer, ngx_handle_read_event,
    ngx_handle_write_event, ngx_http_cleanup_add, ngx_http_core_loc_conf_t, ngx_http_core_module,
    ngx_http_discard_request_body, ngx_http_finalize_request, ngx_http_output_filter,
    ngx_http_request_t, ngx_http_run_posted_requests, ngx_http_send_header, ngx_http_send_special,
    ngx_http_test_reading, ngx_http_write_filter, ngx_int_t, ngx_io, ngx_list_push,
    ngx_pool_cleanup_add, ngx_str_t, ngx_table_elt_t, ngx_tcp_nodelay, ngx_uint_t, NGX_AGAIN,
    NGX_ERROR, NGX_HTTP_FLUSH, NGX_HTTP_LAST, NGX_HTTP_MODULE, NGX_HTTP_OPTIONS,
    NGX_HTTP_REQUEST_TIME_OUT, NGX_HTTP_VERSION_11, NGX_OK,
};

use crate::nginx::address::{address_of, local_address, Address};
use crate::nginx::clock;
use crate::nginx::connection::is_tls;
use crate::nginx::event::Event;
use crate::nginx::guard::guard;
use crate::nginx::log::Log;
use crate::nginx::module;
use output::Output;

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
                    known[m.ctx_index] = HARMLESS.contains(&CStr::from_ptr(m.name));
                }
                module = module.add(1);
            }
        }
        known
    };
}

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
pub struct Request(Rc<Inner>);

struct Inner {
    r: Cell<Option<NonNull<ngx_http_request_t>>>,
    output: RefCell<Output>,
    filters: Cell<Filters>,
    subrequests: OnceCell<Event>,
}

/// What nginx's filters were seen to make of the body.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Filters {
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
struct Context {
    request: Request,
    responder: Rc<dyn Responder>,
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
    /// # Safety
    ///
    /// nginx has called a content handler with `r`, and the value is not used after that handler
    /// has returned unless [`Request::hold`] was called and returned true.
    pub unsafe fn new(r: NonNull<ngx_http_request_t>) -> Self {
        Request(Rc::new(Inner {
            r: Cell::new(Some(r)),
            output: RefCell::default(),
            filters: Cell::new(Filters::Unknown),
            subrequests: OnceCell::new(),
        }))
    }

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

    fn ptr(&self) -> Option<*mut ngx_http_request_t> {
        self.0.r.get().map(NonNull::as_ptr)
    }

    fn live(&self) -> io::Result<*mut ngx_http_request_t> {
        self.ptr().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Reads something of the request; the default if it is gone.
    fn get<T: Default>(&self, f: impl FnOnce(&ngx_http_request_t) -> T) -> T {
        // SAFETY: the request is live while the pointer is there, and `f` does not call nginx.
        self.ptr().map(|r| f(unsafe { &*r })).unwrap_or_default()
    }

    /// Reads something of the request's connection.
    fn get_connection<T: Default>(&self, f: impl FnOnce(&ngx_connection_t) -> T) -> T {
        // SAFETY: a live request has a connection.
        self.get(|r| f(unsafe { &*r.connection }))
    }

    /// Whether it is a client's, not a part of another answer.
    pub fn is_main(&self) -> bool {
        self.get(|r| ptr::eq(r.main, r))
    }

    /// The method: one of `NGX_HTTP_GET` and its siblings.
    pub fn method(&self) -> usize {
        self.get(|r| r.method)
    }

    /// Whether the client asks what it may do.
    pub fn is_options(&self) -> bool {
        self.method() == NGX_HTTP_OPTIONS as usize
    }

    /// Whether it is HTTP/1.1, where a connection can be upgraded.
    pub fn is_http_11(&self) -> bool {
        self.get(|r| r.http_version == nginx_sys::NGX_HTTP_VERSION_11 as usize)
    }

    /// The path, decoded and normalised.
    pub fn path(&self) -> Vec<u8> {
        self.get(|r| r.uri.as_bytes().to_vec())
    }

    /// The path and the query as the client wrote them.
    pub fn unparsed(&self) -> Vec<u8> {
        self.get(|r| r.unparsed_uri.as_bytes().to_vec())
    }

    /// The query, as it came.
    pub fn args(&self) -> Vec<u8> {
        self.get(|r| r.args.as_bytes().to_vec())
    }

    /// The host that the client names, without the port, in lower case.
    pub fn host(&self) -> Vec<u8> {
        self.get(|r| r.headers_in.server.as_bytes().to_vec())
    }

    /// Whether the connection is encrypted.
    pub fn is_tls(&self) -> bool {
        self.get(|r| r.schema.as_bytes() == b"https") || self.get_connection(is_tls)
    }

    /// The first field of the name `name`, which is in lower case.
    pub fn field(&self, name: &str) -> Option<Vec<u8>> {
        self.find_field(name, |value| Some(value.to_vec()))
    }

    /// Whether `token` is in the lists that fields of the name `name` hold.
    pub fn has_token(&self, name: &str, token: &[u8]) -> bool {
        let holds = |value: &[u8]| {
            let mut tokens = value.split(|&byte| byte == b',');
            tokens.any(|own| own.trim_ascii().eq_ignore_ascii_case(token)).then_some(())
        };
        self.find_field(name, holds).is_some()
    }

    /// What `f` finds in the first field of that name in which it finds something.
    fn find_field<T>(&self, name: &str, f: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
        self.get(|r| {
            let mut part = &raw const r.headers_in.headers.part;
            // SAFETY: nginx's list of the request's fields: parts of `nelts` elements each.
            while let Some(now) = unsafe { part.as_ref() } {
                let elts = now.elts.cast::<ngx_table_elt_t>();
                for i in 0..now.nelts {
                    // SAFETY: as above.
                    let field = unsafe { &*elts.add(i) };
                    if field.key.as_bytes().eq_ignore_ascii_case(name.as_bytes()) {
                        if let Some(found) = f(field.value.as_bytes()) {
                            return Some(found);
                        }
                    }
                }
                part = now.next;
            }
            None
        })
    }

    /// The client's IP address, as far as nginx believes it; `None` for a unix socket.
    pub fn ip(&self) -> Option<IpAddr> {
        // SAFETY: the connection is live and its address has this length.
        self.get_connection(|c| unsafe { address_of(c.sockaddr, c.socklen) })?.ip()
    }

    /// The client's port; 0 for a unix socket.
    pub fn port(&self) -> u16 {
        // SAFETY: the connection is live and its address has this length.
        let peer = self.get_connection(|c| unsafe { address_of(c.sockaddr, c.socklen) });
        match peer {
            Some(Address::Ip(addr)) => addr.port(),
            _ => 0,
        }
    }

    /// Our own end; `None` for a unix socket.
    pub fn local(&self) -> Option<SocketAddr> {
        let c = self.get(|r| NonNull::new(r.connection))?;
        // SAFETY: a live request has a live connection.
        match unsafe { local_address(c) } {
            Some(Address::Ip(addr)) => Some(addr),
            _ => None,
        }
    }

    /// nginx's number of the connection, as `*N` in its log.
    pub fn number(&self) -> usize {
        self.get_connection(|c| c.number as usize)
    }

    /// The client's address as text.
    pub fn addr_text(&self) -> Vec<u8> {
        self.get_connection(|c| c.addr_text.as_bytes().to_vec())
    }

    /// The connection's log, which knows the request.
    pub fn log(&self) -> Option<Log<'_>> {
        // SAFETY: the log lives as long as the connection, and that as long as the request.
        self.get_connection(|c| Some(unsafe { Log::new(c.log) }))
    }

    /// Whether the client is known to be gone while nobody was reading.
    pub fn client_gone(&self) -> bool {
        self.get_connection(|c| {
            // SAFETY: a live connection has a read event.
            let rev = unsafe { &*c.read };
            rev.pending_eof() != 0 || rev.error() != 0 || c.error() != 0
        })
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
    unsafe fn await_writable(&self, r: *mut ngx_http_request_t) -> io::Result<()> {
        // SAFETY: the caller's promise; this is what nginx's own writer does.
        unsafe {
            let (conf, wev) = (core_conf(r), (*(*r).connection).write);
            // a delayed event (limit_rate) has its timer already
            if (*wev).delayed() == 0 {
                ngx_add_timer(wev, (*conf).send_timeout);
            }
            if ngx_handle_write_event(wev, (*conf).send_lowat) != NGX_OK as ngx_int_t {
                return Err(io::ErrorKind::Other.into());
            }
        }
        Ok(())
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

    /// Parts the request from its responder.
    fn let_go(&self) -> Option<*mut ngx_http_request_t> {
        let r = self.0.r.take()?.as_ptr();
        // SAFETY: the request is live.
        let responder = unsafe { context(r).map(|context| context.responder.clone()) };
        if let Some(responder) = responder {
            responder.gone();
        }
        Some(r)
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

/// # Safety
///
/// `r` is live.
unsafe fn context<'a>(r: *mut ngx_http_request_t) -> Option<&'a Context> {
    // SAFETY: the slot holds null or what `hold` has put there, and lives as long as the pool.
    unsafe { (*(*r).ctx.add(module::http_index())).cast::<Context>().as_ref() }
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
            if (*wev).timedout() != 0 && clock::stood_still((*wev).timer.key as u64) {
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
        if context.request.0.r.take().is_some() {
            responder.gone();
        }
    });
}
