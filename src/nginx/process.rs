//! What nginx knows of this process and of the time of day, which it caches once per loop turn.

use std::ffi::CStr;
use std::ptr;

use nginx_sys::{
    ngx_cached_http_log_iso8601, ngx_cached_http_log_time, ngx_core_conf_t, ngx_core_module,
    ngx_cycle, ngx_str_t, ngx_timeofday, ngx_worker, NGINX_VERSION, NGX_PROCESS_SIGNALLER,
    NGX_PROCESS_SINGLE, NGX_PROCESS_WORKER,
};

use crate::nginx::cycle::Cycle;

/// This worker's number, from 0.
pub fn worker() -> usize {
    // SAFETY: a plain word, set before the worker runs.
    unsafe { ngx_worker }
}

/// Whether this process serves clients: cache managers start like workers, but do not.
pub fn serves() -> bool {
    // SAFETY: a plain word, set before the process runs.
    let process = unsafe { nginx_sys::ngx_process } as u32;
    process == NGX_PROCESS_WORKER || process == NGX_PROCESS_SINGLE
}

/// Whether this process is one of several workers of a master.
pub fn is_worker() -> bool {
    // SAFETY: a plain word, set before the process runs.
    unsafe { nginx_sys::ngx_process as u32 == NGX_PROCESS_WORKER }
}

/// Whether this process reads a configuration to run by it, and not to test it or to send a signal.
pub fn is_starting() -> bool {
    // SAFETY: plain words, set before a configuration is read.
    unsafe {
        nginx_sys::ngx_test_config == 0 && nginx_sys::ngx_process as u32 != NGX_PROCESS_SIGNALLER
    }
}

/// Whether this process only tests a configuration.
pub fn is_testing() -> bool {
    // SAFETY: a plain word, set before a configuration is read.
    unsafe { nginx_sys::ngx_test_config != 0 }
}

/// The user that this process has the rights of.
pub fn user() -> u32 {
    // SAFETY: it never fails.
    unsafe { libc::geteuid() }
}

/// The user and the group that the workers of a configuration will be of; `None` if they will be
/// of the same as this process.
pub fn worker_user(cycle: Cycle) -> Option<(u32, u32)> {
    // SAFETY: a cycle that the module is called with has the configuration of nginx's core.
    let core = unsafe {
        let core: *const ngx_core_conf_t =
            (*(*cycle.as_ptr()).conf_ctx.add(ngx_core_module.index)).cast();
        core.as_ref()?
    };
    (user() == 0).then_some((core.user, core.group))
}

/// Whether there is a process of this id.
pub fn alive(pid: i32) -> bool {
    // SAFETY: signal 0 is only a question.
    unsafe { libc::kill(pid, 0) == 0 || *libc::__errno_location() != libc::ESRCH }
}

/// The machine's name.
pub fn hostname() -> Vec<u8> {
    // SAFETY: the cycle and its strings live while any code of the module runs.
    unsafe { (*ngx_cycle).hostname.as_bytes().to_vec() }
}

/// nginx's version, such as `1.22.1`.
pub fn nginx_version() -> &'static CStr {
    NGINX_VERSION
}

/// Seconds and milliseconds since 1970.
pub fn time_of_day() -> (i64, u64) {
    let now = ngx_timeofday();
    (now.sec, now.msec as u64)
}

/// The time as access logs write it: `28/Sep/1970:12:00:00 +0600`.
pub fn time_local() -> Vec<u8> {
    // SAFETY: see `cached`.
    unsafe { cached(&raw const ngx_cached_http_log_time) }
}

/// The time as ISO 8601 writes it: `1970-09-28T12:00:00+06:00`.
pub fn time_iso8601() -> Vec<u8> {
    // SAFETY: see `cached`.
    unsafe { cached(&raw const ngx_cached_http_log_iso8601) }
}

/// # Safety
///
/// `text` is one of nginx's cached times.
unsafe fn cached(text: *const ngx_str_t) -> Vec<u8> {
    // SAFETY: nginx exchanges these strings in a signal handler of the master at most; a string
    // that was read whole stays as it is for the next 63 updates.
    unsafe { ptr::read_volatile(text).as_bytes().to_vec() }
}
