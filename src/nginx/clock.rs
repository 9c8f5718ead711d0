//! Time and state of the worker, as the event loop knows them.

use nginx_sys::ngx_current_msec;

/// Milliseconds of a monotonic clock, cached once per loop turn.
pub fn now() -> u64 {
    // SAFETY: a plain word that only this thread's event loop writes.
    unsafe { ngx_current_msec as u64 }
}

/// Whether this worker is told to finish its sessions and leave.
pub fn exiting() -> bool {
    // SAFETY: plain words that only this process's signal handling and event loop write.
    unsafe {
        nginx_sys::ngx_exiting != 0 || nginx_sys::ngx_quit != 0 || nginx_sys::ngx_terminate != 0
    }
}
