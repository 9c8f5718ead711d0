//! Names of hosts become addresses by nginx's resolver, never by a call that blocks the loop.
//!
//! Where the configuration has no `resolver`, the machine's own settings hold: /etc/hosts, then the
//! name servers and search list of /etc/resolv.conf. They are read again when they have changed.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::ptr::NonNull;
use std::rc::Rc;

use nginx_sys::{
    ngx_conf_t, ngx_cycle_t, ngx_resolve_name, ngx_resolve_name_done, ngx_resolve_start,
    ngx_resolver_create, ngx_resolver_ctx_t, ngx_resolver_strerror, ngx_resolver_t, ngx_str_t,
    NGX_OK,
};

use crate::nginx::address::{address_of, Address};
use crate::nginx::clock;
use crate::nginx::cycle::Cycle;
use crate::nginx::guard::guard;
use crate::nginx::log;
use crate::nginx::sys::NGX_NO_RESOLVER;
use crate::nginx::task::Signal;

/// What is read of /etc/hosts and /etc/resolv.conf at most: a thousand times the usual.
const MAX_FILE: u64 = 1024 * 1024;
/// The C library looks at so many name servers and search domains too.
const MAX_SERVERS: usize = 3;
const MAX_SEARCH: usize = 6;
/// The longest name of DNS (RFC 1035, section 2.3.4).
const MAX_HOST: usize = 255;

/// Why a name has no address.
#[derive(Debug)]
pub enum Error {
    /// There is nobody to ask.
    NoNameServer,
    /// It is empty, too long, or holds bytes that no name has.
    NotAName,
    /// The name servers' answer, or that there was none, in nginx's words.
    Answer(String),
    /// This side could not ask.
    Own(&'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoNameServer => f.write_str("no name server is configured"),
            Error::NotAName => f.write_str("not a host name"),
            Error::Answer(text) => f.write_str(text),
            Error::Own(why) => f.write_str(why),
        }
    }
}

const HOSTS: &str = "/etc/hosts";
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// How often the files are looked at, at most, in milliseconds: a relay that is tried again soon
/// finds what has changed.
const LOOK_MS: u64 = 1000;

/// The machine's own settings.
struct System {
    /// What tells whether the files have changed, and when that was looked for.
    stamps: [Option<Stamp>; 2],
    looked: u64,
    servers: Vec<IpAddr>,
    hosts: HashMap<Vec<u8>, Vec<IpAddr>>,
    resolver: Option<NonNull<ngx_resolver_t>>,
    search: Vec<Vec<u8>>,
    /// A name with fewer dots is looked for in the search list first.
    ndots: usize,
}

thread_local! {
    static SYSTEM: RefCell<Option<System>> = const { RefCell::new(None) };
}

/// Inode, size and time of the last change of a file.
type Stamp = (u64, u64, i64, i64);

fn stamps() -> [Option<Stamp>; 2] {
    [HOSTS, RESOLV_CONF].map(|path| {
        let file = fs::metadata(path).ok()?;
        Some((file.ino(), file.size(), file.mtime(), file.mtime_nsec()))
    })
}

/// Reads the machine's settings, at the start of a worker.
pub fn init(cycle: Cycle) {
    // SAFETY: the cycle is live.
    SYSTEM.set(Some(unsafe { System::read(cycle.as_ptr(), None) }));
}

/// Reads the settings again if the files have changed.
fn refresh() {
    SYSTEM.with_borrow_mut(|system| {
        let Some(known) = system else { return };
        let now = clock::now();
        if now.saturating_sub(known.looked) < LOOK_MS {
            return;
        }
        known.looked = now;
        if stamps() != known.stamps {
            // SAFETY: a worker's cycle, as long as it has settings.
            *system = Some(unsafe { System::read(nginx_sys::ngx_cycle, system.take()) });
        }
    });
}

/// The addresses of `host`, with `port`, in the order to try them. An address is its own name.
///
/// `resolver` is the configuration's, if it has one; `timeout` is in milliseconds. Dropped, the
/// question is withdrawn.
pub async fn resolve(
    host: &[u8],
    port: u16,
    resolver: Option<NonNull<ngx_resolver_t>>,
    timeout: u64,
) -> Result<Vec<SocketAddr>, Error> {
    let with_port =
        |ips: Vec<IpAddr>| ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
    let text = std::str::from_utf8(host).map_err(|_| Error::NotAName)?;
    let literal = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if let Ok(ip) = literal.parse() {
        return Ok(with_port(vec![ip]));
    }
    if host.is_empty() || host.len() > MAX_HOST || !host.iter().all(u8::is_ascii_graphic) {
        return Err(Error::NotAName);
    }
    if let Some(resolver) = resolver {
        return ask(host, resolver, timeout).await.map(with_port);
    }
    refresh();
    let host = host.to_ascii_lowercase();
    let known = SYSTEM.with_borrow(|system| system.as_ref()?.hosts.get(&host).cloned());
    if let Some(ips) = known {
        return Ok(with_port(ips));
    }
    let (server, names) = SYSTEM
        .with_borrow(|system| system.as_ref().and_then(|s| Some((s.resolver?, s.names(&host)))))
        .ok_or(Error::NoNameServer)?;
    let mut result = Err(Error::NotAName);
    for name in names {
        result = ask(&name, server, timeout).await.map(with_port);
        if result.is_ok() {
            break;
        }
    }
    result
}

impl System {
    /// Reads the files. The name servers of `before` are asked on if they are the same; nginx keeps
    /// those that are not asked any more until the worker ends, since some may still answer.
    ///
    /// # Safety
    ///
    /// See [`create`].
    unsafe fn read(cycle: *mut ngx_cycle_t, before: Option<System>) -> Self {
        // before the files, so that a change meanwhile is seen the next time
        let stamps = stamps();
        let hosts = read(HOSTS).map(|text| parse_hosts(&text)).unwrap_or_default();
        let settings = read(RESOLV_CONF).map(|text| ResolvConf::parse(&text));
        let ResolvConf { servers, search, ndots } = settings.unwrap_or_default();
        let resolver = match before.filter(|before| before.servers == servers) {
            Some(before) => before.resolver,
            // SAFETY: the caller's promise.
            None => unsafe { create(cycle, &servers) },
        };
        System { stamps, looked: clock::now(), servers, hosts, resolver, search, ndots }
    }

    /// The full names that `host` may stand for, in the order to try them.
    fn names(&self, host: &[u8]) -> Vec<Vec<u8>> {
        if host.ends_with(b".") || self.search.is_empty() {
            return vec![host.to_vec()];
        }
        let searched = self.search.iter().map(|domain| [host, b".", domain].concat());
        let dots = host.iter().filter(|byte| **byte == b'.').count();
        if dots >= self.ndots {
            std::iter::once(host.to_vec()).chain(searched).collect()
        } else {
            searched.chain(std::iter::once(host.to_vec())).collect()
        }
    }
}

/// A question to nginx's resolver; dropped, it is withdrawn.
struct Query {
    ctx: Cell<Option<NonNull<ngx_resolver_ctx_t>>>,
    result: RefCell<Option<Result<Vec<IpAddr>, Error>>>,
    answered: Signal,
}

async fn ask(
    name: &[u8],
    resolver: NonNull<ngx_resolver_t>,
    timeout: u64,
) -> Result<Vec<IpAddr>, Error> {
    let query = Rc::new(Query {
        ctx: Cell::new(None),
        result: RefCell::new(None),
        answered: Signal::new(),
    });
    // held across the wait, so that dropping the future withdraws the question
    let _withdraw = Withdraw(query.clone());
    // SAFETY: the resolver lives as long as the configuration of this worker. nginx reads the name
    // within ngx_resolve_name only, but for a debug line, until the context is done with; `name`
    // lives until `_withdraw` is dropped. The context's data is the query, which `_withdraw` keeps.
    unsafe {
        let ctx = ngx_resolve_start(resolver.as_ptr(), std::ptr::null_mut());
        if ctx as isize == NGX_NO_RESOLVER {
            return Err(Error::NoNameServer);
        }
        let Some(ctx) = NonNull::new(ctx) else {
            return Err(Error::Own("out of memory"));
        };
        query.ctx.set(Some(ctx));
        let c = ctx.as_ptr();
        (*c).name = ngx_str_t { len: name.len(), data: name.as_ptr().cast_mut() };
        (*c).handler = Some(answered);
        (*c).data = Rc::as_ptr(&query).cast_mut().cast();
        (*c).timeout = timeout as _;
        if ngx_resolve_name(c) != NGX_OK as isize {
            // nginx has freed it
            query.ctx.set(None);
            return Err(Error::Own("the question could not be sent"));
        }
    }
    query.answered.wait().await;
    query.result.take().unwrap_or(Err(Error::NoNameServer))
}

struct Withdraw(Rc<Query>);

impl Drop for Withdraw {
    fn drop(&mut self) {
        self.0.done();
    }
}

impl Query {
    fn done(&self) {
        if let Some(ctx) = self.ctx.take() {
            // SAFETY: the context is live: whoever ends it takes it out of the cell first.
            unsafe { ngx_resolve_name_done(ctx.as_ptr()) };
        }
    }
}

unsafe extern "C" fn answered(ctx: *mut ngx_resolver_ctx_t) {
    guard("an answer of the resolver", || {
        // SAFETY: nginx calls this once, for a context that is not done with, whose data is the
        // query that `Withdraw` keeps alive until it is.
        let query: &Query = unsafe { &*(*ctx).data.cast::<Query>() };
        // SAFETY: the addresses are live until the context is done with.
        let result = unsafe { result_of(ctx) };
        query.result.replace(Some(result));
        query.done();
        query.answered.set();
    });
}

/// # Safety
///
/// `ctx` holds an answer.
unsafe fn result_of(ctx: *mut ngx_resolver_ctx_t) -> Result<Vec<IpAddr>, Error> {
    // SAFETY: the caller's promise; nginx's texts are static.
    unsafe {
        if (*ctx).state != 0 {
            let text = std::ffi::CStr::from_ptr(ngx_resolver_strerror((*ctx).state).cast());
            return Err(Error::Answer(text.to_string_lossy().into_owned()));
        }
        let addrs = std::slice::from_raw_parts((*ctx).addrs, (*ctx).naddrs);
        Ok(addrs
            .iter()
            .filter_map(|addr| match address_of(addr.sockaddr, addr.socklen)? {
                Address::Ip(addr) => Some(addr.ip()),
                Address::Unix(_) => None,
            })
            .collect())
    }
}

/// A resolver outside of a configuration, that asks `servers`.
///
/// # Safety
///
/// `cycle` is the running one; the resolver lives as long as it.
unsafe fn create(cycle: *mut ngx_cycle_t, servers: &[IpAddr]) -> Option<NonNull<ngx_resolver_t>> {
    if servers.is_empty() {
        return None;
    }
    // the port is nginx's default, 53; it takes an IPv6 address in brackets only
    let texts: Vec<Vec<u8>> = servers
        .iter()
        .map(|ip| match ip {
            IpAddr::V4(ip) => format!("{ip}\0").into_bytes(),
            IpAddr::V6(ip) => format!("[{ip}]\0").into_bytes(),
        })
        .collect();
    let mut names: Vec<ngx_str_t> = texts
        .iter()
        .map(|text| ngx_str_t { len: text.len() - 1, data: text.as_ptr().cast_mut() })
        .collect();
    // SAFETY: nginx's function reads the pool, the cycle and the log of the parser, no more, and
    // copies the names.
    unsafe {
        let mut cf: ngx_conf_t = mem::zeroed();
        cf.pool = (*cycle).pool;
        cf.cycle = cycle;
        cf.log = log::cycle().as_ptr();
        NonNull::new(ngx_resolver_create(&mut cf, names.as_mut_ptr(), names.len()))
            .filter(|resolver| resolver.as_ptr() as isize != NGX_NO_RESOLVER)
    }
}

fn read(path: &str) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    match File::open(path).and_then(|file| file.take(MAX_FILE).read_to_end(&mut text)) {
        Ok(_) => Some(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            log::warning!(log::cycle(), "rtmp: {path} could not be read: {error}");
            None
        }
    }
}

/// The words of each line, without comments.
fn lines(text: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    text.split(|byte| *byte == b'\n').map(|line| {
        let line = line.split(|byte| matches!(byte, b'#' | b';')).next().unwrap_or_default();
        line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect()
    })
}

fn ip(word: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// hosts(5).
fn parse_hosts(text: &[u8]) -> HashMap<Vec<u8>, Vec<IpAddr>> {
    let mut hosts: HashMap<_, Vec<_>> = HashMap::new();
    for words in lines(text) {
        let Some((first, names)) = words.split_first() else { continue };
        let Some(ip) = ip(first) else { continue };
        for name in names {
            let ips = hosts.entry(name.to_ascii_lowercase()).or_default();
            if !ips.contains(&ip) {
                ips.push(ip);
            }
        }
    }
    hosts
}

/// What resolv.conf(5) says that matters here.
struct ResolvConf {
    servers: Vec<IpAddr>,
    search: Vec<Vec<u8>>,
    ndots: usize,
}

impl Default for ResolvConf {
    fn default() -> Self {
        ResolvConf { servers: Vec::new(), search: Vec::new(), ndots: 1 }
    }
}

impl ResolvConf {
    fn parse(text: &[u8]) -> Self {
        let mut conf = ResolvConf::default();
        for words in lines(text) {
            match words.as_slice() {
                // an address with a zone is none that nginx's resolver takes
                [b"nameserver", server, ..] => conf.servers.extend(ip(server)),
                [b"search" | b"domain", domains @ ..] => {
                    conf.search = domains
                        .iter()
                        .take(MAX_SEARCH)
                        .map(|domain| domain.to_ascii_lowercase())
                        .filter(|domain| domain.as_slice() != b".")
                        .collect();
                }
                [b"options", options @ ..] => {
                    let ndots = options.iter().find_map(|option| option.strip_prefix(b"ndots:"));
                    let ndots = ndots.and_then(|n| std::str::from_utf8(n).ok()?.parse().ok());
                    conf.ndots = ndots.unwrap_or(conf.ndots);
                }
                _ => {}
            }
        }
        conf.servers.truncate(MAX_SERVERS);
        conf
    }
}
