//! `flv_live`: the locations of the `http` block in which streams are played, and which addresses
//! of the `rtmp` block they belong to.
//!
//! The blocks may stand in any order, so a location is bound to its address after both are read.

use std::cell::{OnceCell, RefCell};
use std::ffi::{c_char, c_void, CStr};
use std::net::{IpAddr, SocketAddr};
use std::ptr;
use std::rc::Rc;

use nginx_sys::{
    ngx_command_t, ngx_conf_t, ngx_http_conf_ctx_t, ngx_http_core_loc_conf_t, ngx_http_core_module,
    ngx_http_module, ngx_http_request_t, ngx_str_t, ngx_uint_t, NGX_CONF_1MORE, NGX_CONF_TAKE12,
    NGX_HTTP_LOC_CONF, NGX_HTTP_LOC_CONF_OFFSET, NGX_HTTP_MAIN_CONF, NGX_HTTP_SRV_CONF,
};

use super::listen::Listen;
use super::main::MainConf;
use super::value::{self, Args, ConfError};
use crate::flv_live::cors::Cors;
use crate::nginx::address::Address;
use crate::nginx::cycle::Cycle;
use crate::nginx::guard::guard;
use crate::nginx::log;
use crate::nginx::module;
use crate::nginx::parser::{conf_result, Cf};

/// A `location` block of the `http` block.
const L: u32 = NGX_HTTP_LOC_CONF;

/// The `http` block, and `server` and `location` blocks in it, the inner one winning.
const HSL: u32 = NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF;

/// How many there are, with the empty one that ends the list.
pub const COMMANDS: usize = 3;

/// The directives that stand in the `http` block.
pub const fn commands() -> [ngx_command_t; COMMANDS] {
    [
        setting(c"flv_live", L, None, NGX_CONF_TAKE12, ngx_rtmp_flv_live),
        setting(c"flv_cors", HSL, Some("off"), NGX_CONF_1MORE, ngx_rtmp_flv_cors),
        ngx_command_t::empty(),
    ]
}

type Handler =
    unsafe extern "C" fn(*mut ngx_conf_t, *mut ngx_command_t, *mut c_void) -> *mut c_char;

/// Declares a directive of a location, in the words of the `rtmp` block's tables.
const fn setting(
    name: &'static CStr,
    contexts: u32,
    _default: Option<&'static str>,
    arity: u32,
    set: Handler,
) -> ngx_command_t {
    ngx_command_t {
        name: ngx_str_t { len: name.count_bytes(), data: name.as_ptr().cast_mut().cast() },
        type_: (contexts | arity) as ngx_uint_t,
        set: Some(set),
        conf: NGX_HTTP_LOC_CONF_OFFSET,
        offset: 0,
        post: ptr::null_mut(),
    }
}

/// A location in which streams are played.
pub struct FlvLive {
    /// The application, if the location's paths do not tell it.
    pub app: Option<Vec<u8>>,
    listener: Listener,
    text: String,
    place: String,
    listen: OnceCell<Rc<Listen>>,
}

/// The address of the `rtmp` block, as it is written.
enum Listener {
    Port(u16),
    Address(Address),
}

impl FlvLive {
    /// The address whose servers the location serves.
    pub fn listen(&self) -> Option<&Rc<Listen>> {
        self.listen.get()
    }

    fn bind(&self, listens: &[Rc<Listen>]) -> Result<(), String> {
        let exact = |listen: &&Rc<Listen>| self.listener.is(&listen.address);
        let within = |listen: &&Rc<Listen>| self.listener.is_within(&listen.address);
        let mut found: Vec<_> = listens.iter().filter(exact).collect();
        if found.is_empty() {
            found = listens.iter().filter(within).collect();
        }
        let FlvLive { text, place, .. } = self;
        let Some((listen, others)) = found.split_first() else {
            return Err(format!(
                "no server of the \"rtmp\" block listens on \"{text}\" of the \"flv_live\" \
                 directive in {place}"
            ));
        };
        if let Some(other) = others.iter().find(|other| !listen.has_servers_of(other)) {
            let (one, other) = (&listen.addr, &other.addr);
            return Err(format!(
                "\"{one}\" and \"{other}\" of the \"rtmp\" block have other servers, so \"{text}\" \
                 of the \"flv_live\" directive in {place} must say which: \"flv_live {one}\" or \
                 \"flv_live {other}\""
            ));
        }
        // each location is bound once
        let _ = self.listen.set((*listen).clone());
        Ok(())
    }
}

impl Listener {
    fn parse(word: &[u8]) -> Option<Listener> {
        if let Some(path) = word.strip_prefix(b"unix:") {
            return (!path.is_empty()).then(|| Listener::Address(Address::Unix(path.to_vec())));
        }
        let word = std::str::from_utf8(word).ok()?;
        let port = |text: &str| text.parse().ok().filter(|&port: &u16| port > 0);
        match word.strip_prefix("*:") {
            Some(any) => port(any).map(Listener::Port),
            None => port(word).map(Listener::Port).or_else(|| {
                let address: SocketAddr = word.parse().ok()?;
                Some(Listener::Address(Address::Ip(address)))
            }),
        }
    }

    /// Whether it names just this address.
    fn is(&self, address: &Address) -> bool {
        match (self, address) {
            (Listener::Port(port), Address::Ip(at)) => {
                at.port() == *port && at.ip().is_unspecified()
            }
            (Listener::Port(_), Address::Unix(_)) => false,
            (Listener::Address(own), at) => own == at,
        }
    }

    /// Whether it names one of several addresses of the port, or one that this wildcard takes.
    fn is_within(&self, address: &Address) -> bool {
        let Address::Ip(at) = address else { return false };
        match self {
            Listener::Port(port) => at.port() == *port,
            Listener::Address(Address::Ip(own)) => {
                at.port() == own.port()
                    && at.ip().is_unspecified()
                    && same_family(at.ip(), own.ip())
            }
            Listener::Address(Address::Unix(_)) => false,
        }
    }
}

fn same_family(one: IpAddr, other: IpAddr) -> bool {
    one.is_ipv4() == other.is_ipv4()
}

/// What the `http` block holds of ours: the locations, to be bound at the end.
#[derive(Default)]
struct HttpMain {
    locations: RefCell<Vec<Rc<FlvLive>>>,
}

/// What a location holds of ours.
#[derive(Default)]
pub struct Location {
    flv_live: OnceCell<Rc<FlvLive>>,
    cors: OnceCell<Rc<Cors>>,
}

impl Location {
    /// What is played in it.
    pub fn flv_live(&self) -> Option<&FlvLive> {
        self.flv_live.get().map(Rc::as_ref)
    }

    /// Which pages of other sites may read it.
    pub fn cors(&self) -> &Cors {
        self.cors.get().map_or(&Cors::Off, Rc::as_ref)
    }
}

/// nginx begins the `http` block.
pub unsafe extern "C" fn ngx_rtmp_http_create_main_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: nginx hands over its parser.
    unsafe { create::<HttpMain>(cf) }
}

/// nginx begins a location.
pub unsafe extern "C" fn ngx_rtmp_http_create_loc_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: nginx hands over its parser.
    unsafe { create::<Location>(cf) }
}

/// # Safety
///
/// `cf` is nginx's parser.
unsafe fn create<T: Default>(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: the caller's promise.
    let kept = guard("the http block", || unsafe { Cf::new(cf) }.keep(T::default()));
    kept.flatten().map_or(ptr::null_mut(), |kept| kept.cast())
}

/// A location ends: what it does not say, the block around it does. `if` and `limit_except` inside of it, which nginx keeps as nameless locations,
/// play what it plays.
pub unsafe extern "C" fn ngx_rtmp_http_merge_loc_conf(
    cf: *mut ngx_conf_t,
    prev: *mut c_void,
    conf: *mut c_void,
) -> *mut c_char {
    conf_result(guard("the end of a location", || {
        // SAFETY: nginx calls with what create_loc_conf made, and its own parser in the location.
        let (prev, conf, core) =
            unsafe { (&*prev.cast::<Location>(), &*conf.cast::<Location>(), core_loc_conf(cf)) };
        if let Some(cors) = prev.cors.get().filter(|_| conf.cors.get().is_none()) {
            let _ = conf.cors.set(cors.clone());
        }
        // SAFETY: the core module's configuration of a location that is being merged.
        unsafe {
            if (*core).noname() == 0 || conf.flv_live.get().is_some() {
                return Ok(());
            }
            if let Some(flv_live) = prev.flv_live.get() {
                let _ = conf.flv_live.set(flv_live.clone());
                if (*core).handler.is_none() {
                    (*core).handler = Some(crate::flv_live::ngx_rtmp_flv_live_handler);
                }
            }
        }
        Ok(())
    }))
}

/// `flv_live [address:]port [app=name];`
unsafe extern "C" fn ngx_rtmp_flv_live(
    cf: *mut ngx_conf_t,
    cmd: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    conf_result(guard("a directive", || {
        // SAFETY: nginx calls with its parser, one of `commands`, and what create_loc_conf made.
        let (parser, name, location) = unsafe {
            (Cf::new(cf), (*cmd).name.to_str().unwrap_or("?"), &*conf.cast::<Location>())
        };
        let words = parser.words();
        let args = Args::new("flv_live", words.get(1..).unwrap_or_default().to_vec());
        // SAFETY: nginx is reading a file, or has been given a line to read.
        let place = unsafe { place(cf) };
        let flv_live = parse(&args, place).or_else(|err| err.refuse(&parser, name))?;
        if location.flv_live.set(flv_live.clone()).is_err() {
            return ConfError::Duplicate.refuse(&parser, name);
        }
        // SAFETY: the http block being read has a main configuration of ours, and the location one
        // of the core module's.
        unsafe {
            let context: *mut ngx_http_conf_ctx_t = (*cf).ctx.cast();
            let main = *(*context).main_conf.add(module::http_index());
            (*main.cast::<HttpMain>()).locations.borrow_mut().push(flv_live);
            (*core_loc_conf(cf)).handler = Some(crate::flv_live::ngx_rtmp_flv_live_handler);
        }
        Ok(())
    }))
}

/// `flv_cors off|*|origin...;`
unsafe extern "C" fn ngx_rtmp_flv_cors(
    cf: *mut ngx_conf_t,
    cmd: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    conf_result(guard("a directive", || {
        // SAFETY: nginx calls with its parser, one of `commands`, and what create_loc_conf made.
        let (parser, name, location) = unsafe {
            (Cf::new(cf), (*cmd).name.to_str().unwrap_or("?"), &*conf.cast::<Location>())
        };
        let words = parser.words();
        let cors = cors(words.get(1..).unwrap_or_default());
        let cors = cors.or_else(|err| err.refuse(&parser, name))?;
        match location.cors.set(Rc::new(cors)) {
            Ok(()) => Ok(()),
            Err(_) => ConfError::Duplicate.refuse(&parser, name),
        }
    }))
}

fn cors(words: &[&[u8]]) -> Result<Cors, ConfError> {
    match words {
        [b"off"] => return Ok(Cors::Off),
        [b"*"] => return Ok(Cors::Any),
        _ => (),
    }
    let origins = words.iter().map(|word| match Cors::is_origin(word) {
        true => Ok(word.to_ascii_lowercase()),
        false => Err(ConfError::invalid(
            word,
            "origins such as \"https://example.com\" or \"http://example.com:8080\", or \"*\" or \
             \"off\" alone",
        )),
    });
    Ok(Cors::Of(origins.collect::<Result<_, _>>()?))
}

fn parse(args: &Args<'_>, place: String) -> Result<Rc<FlvLive>, ConfError> {
    let listener = Listener::parse(args.first()).ok_or_else(|| {
        ConfError::invalid(
            args.first(),
            "a port, an IP address with a port, or \"unix:path\", as in a \"listen\" of the \
             \"rtmp\" block",
        )
    })?;
    let app = match args.rest() {
        [] => None,
        [word, ..] => match word.strip_prefix(b"app=") {
            Some(app) if !app.is_empty() => Some(app.to_vec()),
            _ => return Err(ConfError::invalid(word, "\"app=\" with the name of an application")),
        },
    };
    let text = value::text(args.first());
    Ok(Rc::new(FlvLive { app, listener, text, place, listen: OnceCell::new() }))
}

/// # Safety
///
/// `cf` is nginx's parser, inside of a location.
unsafe fn core_loc_conf(cf: *mut ngx_conf_t) -> *mut ngx_http_core_loc_conf_t {
    // SAFETY: there the context is that of the http block.
    unsafe {
        let context: *mut ngx_http_conf_ctx_t = (*cf).ctx.cast();
        (*(*context).loc_conf.add(ngx_http_core_module.ctx_index)).cast()
    }
}

/// Where in the configuration nginx is reading: `file:line`.
///
/// # Safety
///
/// `cf` is nginx's parser.
unsafe fn place(cf: *mut ngx_conf_t) -> String {
    // SAFETY: the caller's promise.
    unsafe {
        let file = (*cf).conf_file;
        if file.is_null() || (*file).file.fd < 0 {
            return "the command line".into();
        }
        format!("{}:{}", String::from_utf8_lossy((*file).file.name.as_bytes()), (*file).line)
    }
}

/// All of the configuration has been read: binds the locations to the addresses.
pub fn bind_locations(cycle: Cycle) -> Result<(), ()> {
    // SAFETY: modules have their numbers, and the http block of a cycle what create_main_conf made.
    let locations = unsafe {
        let http = *(*cycle.as_ptr()).conf_ctx.add(ngx_http_module.index);
        let Some(http) = http.cast::<ngx_http_conf_ctx_t>().as_ref() else { return Ok(()) };
        let ours = *http.main_conf.add(module::http_index());
        let Some(ours) = ours.cast::<HttpMain>().as_ref() else { return Ok(()) };
        ours.locations.borrow().clone()
    };
    let main = MainConf::of(cycle);
    let listens = main.as_ref().map(|main| main.listens.as_slice()).unwrap_or_default();
    for location in locations {
        location.bind(listens).map_err(|line| log::emergency!(cycle.log(), "{line}"))?;
    }
    Ok(())
}

/// What is said in the location that a request was found to be for.
///
/// # Safety
///
/// `r` is a live request, and the result is not used after it has gone on to another location.
pub unsafe fn of_request<'a>(r: *mut ngx_http_request_t) -> Option<&'a Location> {
    // SAFETY: nginx gives each request the configurations of its location.
    unsafe {
        let conf = *(*r).loc_conf.add(module::http_index());
        conf.cast::<Location>().as_ref()
    }
}
