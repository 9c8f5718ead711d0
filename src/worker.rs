//! What a worker process starts with, and leaves behind.

use nginx_sys::ngx_cycle_t;

use crate::conf;
use crate::directory;
use crate::nginx::listening;
use crate::nginx::log;
use crate::nginx::process;
use crate::nginx::resolver;
use crate::nginx::stop;
use crate::nginx::task;
use crate::nginx::zone;
use crate::oclp;
use crate::relay;
use crate::session;

/// A configuration has been read, and nothing holds by it yet: what it asks for is tried.
///
/// # Safety
///
/// `cycle` is being set up, and its configuration has been parsed.
pub unsafe fn prepare(cycle: *mut ngx_cycle_t) -> Result<(), ()> {
    // SAFETY: the caller's promise.
    unsafe {
        let Some(main) = conf::ngx::main_conf_of(cycle) else { return Ok(()) };
        directory::master::prepare(cycle, &main)
            .map_err(|line| log::emergency!(log::Log::new((*cycle).log), "{line}"))
    }
}

/// The master, or a single process, has read a configuration that will run.
///
/// # Safety
///
/// `cycle` has that configuration.
pub unsafe fn configured(cycle: *mut ngx_cycle_t) {
    // SAFETY: the caller's promise.
    unsafe {
        if let Some(main) = conf::ngx::main_conf_of(cycle).filter(|_| process::is_starting()) {
            directory::master::commit(cycle, &main);
        }
    }
}

/// A worker starts.
pub fn init(cycle: *mut ngx_cycle_t) -> Result<(), ()> {
    let Some(main) = conf::main_conf().filter(|_| process::serves()) else { return Ok(()) };
    if process::is_worker() {
        zone::close_descriptor();
    }
    resolver::init(cycle);
    listening::pause_when_full(session::ngx_rtmp_accept);
    if main.auto_pull {
        directory::watch();
        directory::start();
    }
    oclp::init(&main);
    relay::init();
    task::start();
    Ok(())
}

/// How long a worker that stops at once may take to tell of all that ends with it, in milliseconds.
/// nginx's master kills it after a second and a half.
const LAST_WORDS_MS: u64 = 700;

/// A worker ends.
///
/// # Safety
///
/// `cycle` is its own, and its event loop has made its last turn.
pub unsafe fn exit(cycle: *mut ngx_cycle_t) {
    if process::serves() && conf::main_conf().is_some() {
        // SAFETY: the caller's promise.
        unsafe { stop::close_accepted(cycle) };
        relay::exit();
        // SAFETY: as above.
        unsafe { stop::turn_while(cycle, LAST_WORDS_MS, task::telling) };
    }
    // what still runs is dropped now, since nginx frees the memory of it
    oclp::exit();
    directory::inner::exit();
    task::exit();
    directory::stop();
}
