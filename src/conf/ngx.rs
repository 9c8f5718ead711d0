//! Where nginx's configuration parser and this module meet: the one command handler, and safe
//! forms of the functions of nginx that parsing needs.

use std::cell::RefCell;
use std::ffi::{c_char, c_void, CStr};
use std::mem;
use std::ptr::{self, NonNull};
use std::rc::Rc;

use nginx_sys::{
    ngx_accept_log_error, ngx_command_t, ngx_conf_log_error, ngx_conf_open_file, ngx_conf_parse,
    ngx_conf_t, ngx_create_listening, ngx_cycle,
    ngx_cycle_t, ngx_parse_size, ngx_parse_time, ngx_parse_url, ngx_resolver_create,
    ngx_resolver_t, ngx_str_t, ngx_uint_t, ngx_url_t, sockaddr, NGX_CONF_BLOCK,
    NGX_LOG_EMERG, NGX_LOG_WARN, NGX_OK,
};

use super::directive::{Directive, Set};
use super::listen::{Keepalive, ListenOptions, Port};
use super::parse::Parse;
use super::value::{Args, ConfError, Msec};
use super::{MainConf, RTMP_MODULE_TYPE, TABLES};
use crate::nginx::address::SockAddr;
use crate::nginx::file::LogFile;
use crate::nginx::guard::guard;
use crate::nginx::process;
use crate::nginx::sys::{NGX_CONF_ERROR, NGX_NO_RESOLVER};
use crate::nginx::zone;

/// What nginx sees as the configuration context inside the `rtmp` block. Its parser reads a
/// pointer at the offset that a command names, which is zero for all of ours: `no_conf`.
#[repr(C)]
struct Context {
    no_conf: *mut c_void,
    parse: RefCell<Parse>,
}

const COUNT: usize = {
    let (mut n, mut table) = (0, 0);
    while table < TABLES.len() {
        n += TABLES[table].len();
        table += 1;
    }
    n
};

/// An array of all commands.
pub type Commands = [ngx_command_t; COUNT + 1];

/// The directives of [`TABLES`] in the form that nginx reads, with the empty one that ends it.
pub const fn commands() -> Commands {
    let mut commands = [ngx_command_t::empty(); COUNT + 1];
    let (mut n, mut table) = (0, 0);
    while table < TABLES.len() {
        let mut i = 0;
        while i < TABLES[table].len() {
            commands[n] = command(&TABLES[table][i], ngx_rtmp_directive);
            n += 1;
            i += 1;
        }
        table += 1;
    }
    commands
}

/// The top directive, `rtmp`.
pub const fn top_commands() -> [ngx_command_t; 2] {
    [command(&super::blocks::RTMP, ngx_rtmp_block), ngx_command_t::empty()]
}

type Handler =
    unsafe extern "C" fn(*mut ngx_conf_t, *mut ngx_command_t, *mut c_void) -> *mut c_char;

const fn command(directive: &'static Directive, set: Handler) -> ngx_command_t {
    ngx_command_t {
        name: ngx_str_t {
            len: directive.name.count_bytes(),
            data: directive.name.as_ptr().cast_mut().cast(),
        },
        type_: (directive.contexts | directive.arity) as ngx_uint_t,
        set: Some(set),
        conf: 0,
        offset: 0,
        post: ptr::from_ref(directive).cast_mut().cast(),
    }
}

/// `rtmp { … }`: parses the block and leaves the configuration in the cycle.
unsafe extern "C" fn ngx_rtmp_block(
    cf: *mut ngx_conf_t,
    cmd: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    conf_result(guard("the rtmp block", || {
        // SAFETY: nginx calls with its parser, and with the slot of a core module in the cycle's
        // table of configurations, which holds null or what a former call of this has put there.
        let (cf, directive, slot) =
            unsafe { (Cf::new(cf), directive_of(cmd), &mut *conf.cast::<*mut Rc<MainConf>>()) };
        let Set::Block { inside, .. } = directive.set else { return Err(()) };
        if !slot.is_null() {
            return cf.refuse(directive.name(), &ConfError::Duplicate);
        }
        if process::is_starting() {
            zone::attach();
        }
        let parse = Parse::new(cf).or_else(|err| cf.refuse(directive.name(), &err))?;
        let context = Context { no_conf: ptr::null_mut(), parse: RefCell::new(parse) };
        cf.parse_block(Some(&context), inside)?;
        let main =
            context.parse.into_inner().finish().or_else(|err| cf.refuse(directive.name(), &err))?;
        *slot = cf.keep(Rc::new(main)).ok_or(())?;
        Ok(())
    }))
}

/// Every directive inside the `rtmp` block.
unsafe extern "C" fn ngx_rtmp_directive(
    cf: *mut ngx_conf_t,
    cmd: *mut ngx_command_t,
    _conf: *mut c_void,
) -> *mut c_char {
    conf_result(guard("a directive", || {
        // SAFETY: nginx calls this inside of the rtmp block only, where the context is ours and
        // outlives the block.
        let (cf, directive, context) =
            unsafe { (Cf::new(cf), directive_of(cmd), &*(*cf).ctx.cast::<Context>()) };
        let words = cf.words();
        let args = Args::new(directive.name(), words.get(1..).unwrap_or_default().to_vec());
        directive
            .apply(&mut context.parse.borrow_mut(), &args)
            .or_else(|err| cf.refuse(directive.name(), &err))?;
        if let Set::Block { close, inside, .. } = directive.set {
            cf.parse_block(None, inside)?;
            close(&mut context.parse.borrow_mut());
        }
        Ok(())
    }))
}

/// # Safety
///
/// `cmd` is one of [`commands`] or [`top_commands`].
unsafe fn directive_of(cmd: *mut ngx_command_t) -> &'static Directive {
    // SAFETY: `command` puts a static there.
    unsafe { &*(*cmd).post.cast::<Directive>() }
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
    pub(super) unsafe fn new(cf: *mut ngx_conf_t) -> Self {
        // SAFETY: nginx hands a command handler its own parser.
        Cf(unsafe { NonNull::new_unchecked(cf) })
    }

    fn as_ref(&self) -> &ngx_conf_t {
        // SAFETY: see `new`.
        unsafe { self.0.as_ref() }
    }

    /// The directive being read: its name and its words. They live in a pool of nginx's.
    pub(super) fn words(&self) -> Vec<&'static [u8]> {
        // SAFETY: `args` is an array of strings, whose bytes are in the pool of the configuration
        // and stay there; what is kept of them is copied.
        unsafe {
            let words = (*self.as_ref().args).as_slice::<ngx_str_t>();
            words.iter().map(|word| std::slice::from_raw_parts(word.data, word.len)).collect()
        }
    }

    /// Parses up to the closing brace, with the directives of the context `inside` allowed.
    fn parse_block(&self, context: Option<&Context>, inside: u32) -> Result<(), ()> {
        let cf = self.0.as_ptr();
        // SAFETY: as a block directive of nginx's own does it: the parser is copied, lent to the
        // block and restored. `context` outlives the block.
        unsafe {
            let saved = *cf;
            if let Some(context) = context {
                (*cf).ctx = ptr::from_ref(context).cast_mut().cast();
                (*cf).module_type = RTMP_MODULE_TYPE;
            }
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

    /// Says, with the place in the file, why the directive `name` is refused.
    pub(super) fn refuse<T>(&self, name: &str, err: &ConfError) -> Result<T, ()> {
        if let Some(line) = err.line(name) {
            self.log(NGX_LOG_EMERG, &line);
        }
        Err(())
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
    pub(super) fn keep<T>(&self, value: T) -> Option<*mut T> {
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
    pub fn open_log(&self, path: &[u8]) -> Result<LogFile, ConfError> {
        let mut name = self.pooled(path)?;
        // SAFETY: nginx opens the file with the new configuration, and the list that holds it
        // lives as long as that.
        unsafe {
            let file = ngx_conf_open_file(self.as_ref().cycle, &mut name);
            NonNull::new(file).map(|file| LogFile::new(file)).ok_or(ConfError::Logged)
        }
    }

    /// A copy of `bytes` in the pool of the configuration, with a zero byte after it.
    fn pooled(&self, bytes: &[u8]) -> Result<ngx_str_t, ConfError> {
        let mut copy = Vec::with_capacity(bytes.len() + 1);
        copy.extend_from_slice(bytes);
        copy.push(0);
        // SAFETY: the pool is the parser's.
        let mut pooled =
            unsafe { ngx_str_t::from_bytes(self.as_ref().pool, &copy) }.ok_or(ConfError::Logged)?;
        pooled.len = bytes.len();
        Ok(pooled)
    }

    /// The addresses that a `listen` names. `default_port` stands in for a missing port.
    pub fn listen_addresses(
        &self,
        text: &[u8],
        default_port: u16,
    ) -> Result<Vec<SockAddr>, ConfError> {
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
                return Err(ConfError::other(format!(
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

    /// Has nginx listen on `address` and hand its connections to the session.
    ///
    /// `port` must live as long as the cycle.
    pub fn listen(
        &self,
        address: &SockAddr,
        options: &ListenOptions,
        port: *const Port,
    ) -> Result<(), ConfError> {
        let (mut raw, len) = address.raw();
        // SAFETY: nginx copies the address. The listening is nginx's own, set up as its http
        // module does.
        unsafe {
            let ls = ngx_create_listening(
                self.0.as_ptr(),
                ptr::from_mut(&mut raw).cast::<sockaddr>(),
                len,
            );
            let Some(ls) = ls.as_mut() else { return Err(ConfError::Logged) };
            ls.set_addr_ntop(1);
            ls.handler = Some(crate::session::ngx_rtmp_accept);
            ls.servers = port.cast_mut().cast();
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
    pub fn regex(&self, pattern: &[u8]) -> Result<Regex, ConfError> {
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
                return Err(ConfError::Other(reason));
            }
        }
        NonNull::new(rc.regex).map(Regex).ok_or(ConfError::Logged)
    }

    /// nginx was built without PCRE.
    #[cfg(not(ngx_feature = "pcre"))]
    pub fn regex(&self, _pattern: &[u8]) -> Result<Regex, ConfError> {
        Err(ConfError::other("using a regular expression requires nginx with the PCRE library"))
    }

    /// A resolver that asks the name servers `servers`, with nginx's parameters (`valid=`, …).
    pub fn resolver(&self, servers: &[&[u8]]) -> Result<NonNull<ngx_resolver_t>, ConfError> {
        let mut names: Vec<_> = servers.iter().map(|s| self.pooled(s)).collect::<Result<_, _>>()?;
        // SAFETY: nginx copies the names; the resolver is destroyed with the configuration's pool.
        let resolver = unsafe {
            ngx_resolver_create(self.0.as_ptr(), names.as_mut_ptr(), names.len() as ngx_uint_t)
        };
        match NonNull::new(resolver) {
            Some(resolver) if resolver.as_ptr() as isize != NGX_NO_RESOLVER => Ok(resolver),
            _ => Err(ConfError::Logged),
        }
    }
}

/// nginx takes a pool of this size for each connection: its address, its text and a log fit, and a
/// thousand players cost half a megabyte.
const CONNECTION_POOL_SIZE: usize = 512;

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
pub fn parse_time(value: &[u8]) -> Option<Msec> {
    let mut line = ngx_str_t { len: value.len(), data: value.as_ptr().cast_mut() };
    // SAFETY: the line is only read, within its length.
    Msec::try_from(unsafe { ngx_parse_time(&mut line, 0) }).ok()
}

/// A size in nginx's syntax, in bytes.
pub fn parse_size(value: &[u8]) -> Option<usize> {
    let mut line = ngx_str_t { len: value.len(), data: value.as_ptr().cast_mut() };
    // SAFETY: the line is only read, within its length.
    usize::try_from(unsafe { ngx_parse_size(&mut line) }).ok()
}

/// The configuration of `cycle`; `None` without an `rtmp` block.
///
/// # Safety
///
/// `cycle` is a live cycle whose configuration has been parsed.
pub unsafe fn main_conf_of(cycle: *mut ngx_cycle_t) -> Option<Rc<MainConf>> {
    // SAFETY: the slot holds null or what ngx_rtmp_block put there, and nginx numbers the module
    // when it is loaded. The cycle with which nginx starts has no configuration.
    unsafe {
        if (*cycle).conf_ctx.is_null() {
            return None;
        }
        let slot = (*cycle).conf_ctx.add(crate::ngx_rtmp_module.index);
        (*slot).cast::<Rc<MainConf>>().as_ref().cloned()
    }
}

/// The configuration of the running cycle; `None` without an `rtmp` block.
pub fn main_conf() -> Option<Rc<MainConf>> {
    // SAFETY: nginx sets ngx_cycle before a worker or a session starts.
    unsafe { main_conf_of(ngx_cycle) }
}

// the arity of a block carries nginx's own mark, so that it looks for the brace
const _: () = assert!(super::blocks::RTMP.arity & NGX_CONF_BLOCK != 0);
