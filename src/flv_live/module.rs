//! `flv_live` and `flv_cors` as nginx calls them: the directives of the `http` block, and the content handler.
//!
//! The blocks may stand in any order, so a location is bound to an address of the `rtmp` block after both are
//! read.
#![allow(unsafe_code)] // nginx calls these functions

use std::cell::RefCell;
use std::ffi::{c_char, c_void, CStr};
use std::ptr::{self, NonNull};
use std::rc::Rc;

use nginx_sys::{
    ngx_command_t, ngx_conf_t, ngx_http_conf_ctx_t, ngx_http_core_loc_conf_t, ngx_http_core_module,
    ngx_http_module, ngx_http_request_t, ngx_int_t, ngx_str_t, ngx_uint_t, NGX_CONF_1MORE,
    NGX_CONF_TAKE12, NGX_DONE, NGX_HTTP_INTERNAL_SERVER_ERROR, NGX_HTTP_LOC_CONF,
    NGX_HTTP_LOC_CONF_OFFSET, NGX_HTTP_MAIN_CONF, NGX_HTTP_SRV_CONF,
};

use super::location::{FlvLive, Location};
use super::serve;
use crate::conf::value::{Args, ConfError};
use crate::conf::MainConf;
use crate::nginx::cycle::Cycle;
use crate::nginx::guard::guard;
use crate::nginx::http::Request;
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

/// What the `http` block holds of ours: the locations, to be bound at the end.
#[derive(Default)]
struct HttpMain {
    locations: RefCell<Vec<Rc<FlvLive>>>,
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
        conf.inherit_cors(prev);
        // SAFETY: the core module's configuration of a location that is being merged.
        unsafe {
            if (*core).noname() != 0 && conf.inherit_flv_live(prev) && (*core).handler.is_none() {
                (*core).handler = Some(ngx_rtmp_flv_live_handler);
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
    let set = |location: &Location, args: &Args<'_>| {
        // SAFETY: nginx is reading a file, or has been given a line to read.
        let place = unsafe { place(cf) };
        let flv_live = Rc::new(FlvLive::parse(args, place)?);
        location.set_flv_live(flv_live.clone())?;
        // SAFETY: the http block being read has a main configuration of ours, and the location one
        // of the core module's.
        unsafe {
            let context: *mut ngx_http_conf_ctx_t = (*cf).ctx.cast();
            let main = *(*context).main_conf.add(module::http_index());
            (*main.cast::<HttpMain>()).locations.borrow_mut().push(flv_live);
            (*core_loc_conf(cf)).handler = Some(ngx_rtmp_flv_live_handler);
        }
        Ok(())
    };
    // SAFETY: nginx calls with its parser, one of `commands`, and what create_loc_conf made.
    unsafe { directive(cf, cmd, conf, set) }
}

/// `flv_cors off|*|origin...;`
unsafe extern "C" fn ngx_rtmp_flv_cors(
    cf: *mut ngx_conf_t,
    cmd: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: as above.
    unsafe { directive(cf, cmd, conf, Location::set_cors) }
}

/// Has `set` apply a directive's words to the location that it stands in.
///
/// # Safety
///
/// `cf` is nginx's parser, `cmd` one of [`commands`], and `conf` what create_loc_conf made.
unsafe fn directive(
    cf: *mut ngx_conf_t,
    cmd: *mut ngx_command_t,
    conf: *mut c_void,
    set: impl FnOnce(&Location, &Args<'_>) -> Result<(), ConfError>,
) -> *mut c_char {
    conf_result(guard("a directive", || {
        // SAFETY: the caller's promise. The names of commands are static.
        let (parser, name, location) = unsafe {
            (Cf::new(cf), (*cmd).name.to_str().unwrap_or("?"), &*conf.cast::<Location>())
        };
        let words = parser.words();
        let args = Args::new(name, words.get(1..).unwrap_or_default().to_vec());
        set(location, &args).or_else(|err| err.refuse(&parser, name))
    }))
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

/// The content handler of a location with `flv_live`.
unsafe extern "C" fn ngx_rtmp_flv_live_handler(r: *mut ngx_http_request_t) -> ngx_int_t {
    let answer = guard("an HTTP-FLV request", || {
        let r = NonNull::new(r)?;
        // SAFETY: nginx calls with a live request, and `serve` holds it if it keeps it.
        let (request, location) = unsafe { (Request::new(r), of_request(r.as_ptr())?) };
        Some(match serve(request, location) {
            Ok(()) => NGX_DONE as ngx_int_t,
            Err(status) => status,
        })
    });
    answer.flatten().unwrap_or(NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t)
}

/// What is said in the location that a request was found to be for.
///
/// # Safety
///
/// `r` is a live request, and the result is not used after it has gone on to another location.
unsafe fn of_request<'a>(r: *mut ngx_http_request_t) -> Option<&'a Location> {
    // SAFETY: nginx gives each request the configurations of its location.
    unsafe {
        let conf = *(*r).loc_conf.add(module::http_index());
        conf.cast::<Location>().as_ref()
    }
}
