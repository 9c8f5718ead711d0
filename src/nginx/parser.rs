//! nginx's configuration parser, in safe forms of what a directive needs of it.

use std::any::Any;
use std::ffi::{c_char, c_void, CStr};
use std::mem;
use std::ptr::{self, NonNull};
use std::rc::Rc;

use nginx_sys::{
    ngx_accept_log_error, ngx_conf_log_error, ngx_conf_open_file, ngx_conf_parse, ngx_conf_t,
    ngx_create_listening, ngx_parse_size, ngx_parse_time, ngx_parse_url, ngx_resolver_create,
    ngx_resolver_t, ngx_str_t, ngx_uint_t, ngx_url_t, sockaddr, NGX_LOG_EMERG, NGX_LOG_WARN,
    NGX_OK,
};

use crate::nginx::address::SockAddr;
use crate::nginx::file::LogFile;
use crate::nginx::listen_options::{Keepalive, ListenOptions};
use crate::nginx::listening::AcceptHandler;
use crate::nginx::sys::{NGX_CONF_ERROR, NGX_NO_RESOLVER};

/// nginx takes a pool of this size for each connection: its address, its text and a log fit, and a
/// thousand players cost a quarter of a megabyte. With TLS it takes a second one.
const CONNECTION_POOL_SIZE: usize = 256;

/// Why something cannot be had of the parser.
#[derive(Debug)]
pub enum Error {
    /// The reason, in full.
    Because(String),
    /// nginx has already said what is wrong.
    Logged,
}

impl Error {
    fn other(reason: impl Into<String>) -> Self {
        Error::Because(reason.into())
    }
}

/// What nginx sees as the configuration context inside of a block. Its parser reads a pointer at the
/// offset that a command names, which is zero for all of ours: `no_conf`.
#[repr(C)]
pub struct Context<T> {
    no_conf: *mut c_void,
    inner: T,
}

impl<T> Context<T> {
    /// A context of which nginx knows nothing.
    pub fn new(inner: T) -> Self {
        Context { no_conf: ptr::null_mut(), inner }
    }

    /// What it was made of.
    pub fn into_inner(self) -> T {
        self.inner
    }
}

/// `None` stands for a panic, which guard has logged.
pub fn conf_result(result: Option<Result<(), ()>>) -> *mut c_char {
    match result {
        Some(Ok(())) => ptr::null_mut(),
        Some(Err(())) | None => NGX_CONF_ERROR as *mut c_char,
    }
}

/// nginx's configuration parser, while it parses the `rtmp` block.
#[derive(Clone, Copy)]
pub struct Cf(NonNull<ngx_conf_t>);

impl Cf {
    /// # Safety
    ///
    /// `cf` is nginx's parser, and neither this value nor a copy is used after the directive.
    pub unsafe fn new(cf: *mut ngx_conf_t) -> Self {
        // SAFETY: nginx hands a command handler its own parser.
        Cf(unsafe { NonNull::new_unchecked(cf) })
    }

    fn as_ref(&self) -> &ngx_conf_t {
        // SAFETY: see `new`.
        unsafe { self.0.as_ref() }
    }

    /// The directive being read: its name and its words. They live in a pool of nginx's.
    pub fn words(&self) -> Vec<&'static [u8]> {
        // SAFETY: `args` is an array of strings, whose bytes are in the pool of the configuration
        // and stay there; what is kept of them is copied.
        unsafe {
            let words = (*self.as_ref().args).as_slice::<ngx_str_t>();
            words.iter().map(|word| std::slice::from_raw_parts(word.data, word.len)).collect()
        }
    }

    /// Parses up to the closing brace, with the directives of the context `inside` allowed.
    pub fn parse_block(&self, inside: u32) -> Result<(), ()> {
        let cf = self.0.as_ptr();
        // SAFETY: as a block directive of nginx's own does it: the parser is copied, lent to the
        // block and restored.
        unsafe {
            let saved = *cf;
            (*cf).cmd_type = inside as ngx_uint_t;
            let rv = ngx_conf_parse(cf, ptr::null_mut());
            *cf = saved;
            if rv.is_null() {
                Ok(())
            } else {
                Err(())
            }
        }
    }

    /// As [`Cf::parse_block`], for directives of modules of the type `module_type` only, which find `context`.
    pub fn parse_block_of<T>(
        &self,
        module_type: usize,
        context: &Context<T>,
        inside: u32,
    ) -> Result<(), ()> {
        let cf = self.0.as_ptr();
        // SAFETY: as above, and `context` outlives the block.
        unsafe {
            let (outer, outer_type) = ((*cf).ctx, (*cf).module_type);
            (*cf).ctx = ptr::from_ref(context).cast_mut().cast();
            (*cf).module_type = module_type;
            let result = self.parse_block(inside);
            (*cf).ctx = outer;
            (*cf).module_type = outer_type;
            result
        }
    }

    /// What the block being parsed was given.
    ///
    /// # Safety
    ///
    /// It was given a `Context<T>` of this `T`, and is still being parsed as long as the result is used.
    pub unsafe fn context<'a, T>(&self) -> &'a T {
        // SAFETY: the caller's promise.
        unsafe { &(*self.as_ref().ctx.cast::<Context<T>>()).inner }
    }

    /// Says, with the place in the file, why a directive is refused.
    pub fn emergency(&self, line: &str) {
        self.log(NGX_LOG_EMERG, line);
    }

    /// Warns, with the place in the file.
    pub fn warn(&self, line: &str) {
        self.log(NGX_LOG_WARN, line);
    }

    fn log(&self, level: u32, line: &str) {
        // SAFETY: the format takes a length and a pointer.
        unsafe {
            ngx_conf_log_error(
                level as ngx_uint_t,
                self.0.as_ptr(),
                0,
                c"%*s".as_ptr().cast_mut().cast(),
                line.len(),
                line.as_ptr(),
            );
        }
    }

    /// Moves `value` into the cycle's pool, to be dropped with it. `None`: out of memory.
    pub fn keep<T>(&self, value: T) -> Option<*mut T> {
        // SAFETY: the parser has a pool, which is the cycle's.
        let pool = unsafe { ngx::core::Pool::from_ngx_pool(self.as_ref().pool) };
        let kept = pool.allocate(value);
        (!kept.is_null()).then_some(kept)
    }

    /// This machine's name, as nginx found it at its start.
    pub fn hostname(&self) -> Vec<u8> {
        // SAFETY: the cycle being built lives as long as its configuration is parsed.
        unsafe { (*self.as_ref().cycle).hostname.as_bytes().to_vec() }
    }

    /// A file to append to; a relative path is taken from nginx's prefix.
    pub fn open_log(&self, path: &[u8]) -> Result<LogFile, Error> {
        let mut name = self.pooled(path)?;
        // SAFETY: nginx opens the file with the new configuration, and the list that holds it
        // lives as long as that.
        unsafe {
            let file = ngx_conf_open_file(self.as_ref().cycle, &mut name);
            NonNull::new(file).map(|file| LogFile::new(file)).ok_or(Error::Logged)
        }
    }

    /// A copy of `bytes` in the pool of the configuration, with a zero byte after it.
    fn pooled(&self, bytes: &[u8]) -> Result<ngx_str_t, Error> {
        let mut copy = Vec::with_capacity(bytes.len() + 1);
        copy.extend_from_slice(bytes);
        copy.push(0);
        // SAFETY: the pool is the parser's.
        let mut pooled =
            unsafe { ngx_str_t::from_bytes(self.as_ref().pool, &copy) }.ok_or(Error::Logged)?;
        pooled.len = bytes.len();
        Ok(pooled)
    }

    /// The addresses that a `listen` names. `default_port` stands in for a missing port.
    pub fn listen_addresses(&self, text: &[u8], default_port: u16) -> Result<Vec<SockAddr>, Error> {
        // SAFETY: a C struct whose zeroes mean "not given".
        let mut url: ngx_url_t = unsafe { mem::zeroed() };
        url.url = self.pooled(text)?;
        url.default_port = default_port;
        url.set_listen(1);
        // SAFETY: the url is set up as nginx's own modules do; what it finds lives in the pool.
        unsafe {
            if ngx_parse_url(self.as_ref().pool, &mut url) != NGX_OK as isize {
                let reason = match url.err.is_null() {
                    true => "no address found".into(),
                    false => CStr::from_ptr(url.err).to_string_lossy(),
                };
                let text = String::from_utf8_lossy(text);
                return Err(Error::other(format!(
                    "{reason} in \"{text}\" of the \"listen\" directive"
                )));
            }
            let found = std::slice::from_raw_parts(url.addrs, url.naddrs);
            Ok(found
                .iter()
                .filter_map(|addr| {
                    let text = String::from_utf8_lossy(addr.name.as_bytes()).into_owned();
                    SockAddr::new(addr.sockaddr, addr.socklen, text)
                })
                .collect())
        }
    }

    /// Has nginx listen on `address` and hand its connections to `handler`, which finds `servers` by
    /// [`Connection::servers`](crate::nginx::connection::Connection::servers).
    pub fn listen(
        &self,
        address: &SockAddr,
        options: &ListenOptions,
        handler: AcceptHandler,
        servers: Rc<dyn Any>,
    ) -> Result<(), Error> {
        // as long as the cycle, as connections point to it
        let servers = self.keep(servers).ok_or(Error::Logged)?;
        let (mut raw, len) = address.raw();
        // SAFETY: nginx copies the address. The listening is nginx's own, set up as its http
        // module does.
        unsafe {
            let ls = ngx_create_listening(
                self.0.as_ptr(),
                ptr::from_mut(&mut raw).cast::<sockaddr>(),
                len,
            );
            let Some(ls) = ls.as_mut() else { return Err(Error::Logged) };
            ls.set_addr_ntop(1);
            ls.handler = Some(handler);
            ls.servers = servers.cast();
            ls.pool_size = CONNECTION_POOL_SIZE;
            ls.logp = &mut (*self.as_ref().cycle).new_log;
            ls.log.data = ptr::from_mut(&mut ls.addr_text).cast();
            ls.log.handler = Some(ngx_accept_log_error);
            if let Some(backlog) = options.backlog {
                ls.backlog = backlog as i32;
            }
            if let Some(rcvbuf) = options.rcvbuf {
                ls.rcvbuf = rcvbuf as i32;
            }
            if let Some(sndbuf) = options.sndbuf {
                ls.sndbuf = sndbuf as i32;
            }
            ls.set_ipv6only(options.ipv6only.unwrap_or(true).into());
            ls.set_reuseport(options.reuseport.into());
            match options.so_keepalive {
                None => {}
                Some(Keepalive::Off) => ls.set_keepalive(2),
                Some(Keepalive::On { idle, interval, count }) => {
                    ls.set_keepalive(1);
                    ls.keepidle = idle as i32;
                    ls.keepintvl = interval as i32;
                    ls.keepcnt = count as i32;
                }
            }
        }
        Ok(())
    }

    /// Compiles a regular expression for names in lower case.
    #[cfg(ngx_feature = "pcre")]
    pub fn regex(&self, pattern: &[u8]) -> Result<Regex, Error> {
        use nginx_sys::{ngx_regex_compile, ngx_regex_compile_t, NGX_REGEX_CASELESS};

        /// As much as nginx's own messages about a pattern take.
        const MAX_CONF_ERRSTR: usize = 1024;
        let mut errstr = [0; MAX_CONF_ERRSTR];
        // SAFETY: a C struct whose zeroes mean "not given".
        let mut rc: ngx_regex_compile_t = unsafe { mem::zeroed() };
        rc.pattern = self.pooled(pattern)?;
        rc.pool = self.as_ref().pool;
        // names are compared in lower case
        if pattern.iter().any(u8::is_ascii_uppercase) {
            rc.options = NGX_REGEX_CASELESS as ngx_uint_t;
        }
        rc.err = ngx_str_t { len: errstr.len(), data: errstr.as_mut_ptr() };
        // SAFETY: the struct is set up as nginx's own modules do; the regex lives in the pool.
        unsafe {
            if ngx_regex_compile(&mut rc) != NGX_OK as isize {
                let reason = String::from_utf8_lossy(rc.err.as_bytes()).into_owned();
                return Err(Error::Because(reason));
            }
        }
        NonNull::new(rc.regex).map(Regex).ok_or(Error::Logged)
    }

    /// nginx was built without PCRE.
    #[cfg(not(ngx_feature = "pcre"))]
    pub fn regex(&self, _pattern: &[u8]) -> Result<Regex, Error> {
        Err(Error::other("using a regular expression requires nginx with the PCRE library"))
    }

    /// A resolver that asks the name servers `servers`, with nginx's parameters (`valid=`, …).
    pub fn resolver(&self, servers: &[&[u8]]) -> Result<NonNull<ngx_resolver_t>, Error> {
        let mut names: Vec<_> = servers.iter().map(|s| self.pooled(s)).collect::<Result<_, _>>()?;
        // SAFETY: nginx copies the names; the resolver is destroyed with the configuration's pool.
        let resolver = unsafe {
            ngx_resolver_create(self.0.as_ptr(), names.as_mut_ptr(), names.len() as ngx_uint_t)
        };
        match NonNull::new(resolver) {
            Some(resolver) if resolver.as_ptr() as isize != NGX_NO_RESOLVER => Ok(resolver),
            _ => Err(Error::Logged),
        }
    }
}

/// A compiled regular expression. It lives in the pool of the configuration that holds it.
pub struct Regex(
    #[cfg(ngx_feature = "pcre")] NonNull<nginx_sys::ngx_regex_t>,
    #[cfg(not(ngx_feature = "pcre"))] std::convert::Infallible,
);

impl Regex {
    /// Whether `text` matches.
    #[cfg(ngx_feature = "pcre")]
    pub fn is_match(&self, text: &[u8]) -> bool {
        let mut text = ngx_str_t { len: text.len(), data: text.as_ptr().cast_mut() };
        // SAFETY: the regex lives as long as the configuration; the text is only read.
        unsafe { nginx_sys::ngx_regex_exec(self.0.as_ptr(), &mut text, ptr::null_mut(), 0) >= 0 }
    }

    /// There is none without PCRE.
    #[cfg(not(ngx_feature = "pcre"))]
    pub fn is_match(&self, _text: &[u8]) -> bool {
        match self.0 {}
    }
}

/// A time in nginx's syntax, in milliseconds.
pub fn parse_time(value: &[u8]) -> Option<u64> {
    let mut line = ngx_str_t { len: value.len(), data: value.as_ptr().cast_mut() };
    // SAFETY: the line is only read, within its length.
    u64::try_from(unsafe { ngx_parse_time(&mut line, 0) }).ok()
}

/// A size in nginx's syntax, in bytes.
pub fn parse_size(value: &[u8]) -> Option<usize> {
    let mut line = ngx_str_t { len: value.len(), data: value.as_ptr().cast_mut() };
    // SAFETY: the line is only read, within its length.
    usize::try_from(unsafe { ngx_parse_size(&mut line) }).ok()
}
