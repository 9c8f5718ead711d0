//! Time and state of the worker, as the event loop knows them.

use nginx_sys::ngx_current_msec;

/// Milliseconds of a monotonic clock, cached once per loop turn.
pub fn now() -> u64 {
    // SAFETY: a plain word that only this thread's event loop writes.
    unsafe { ngx_current_msec as u64 }
}

/// A timer that fires later than this after its time, in milliseconds, shows that the worker stood
/// still: nginx moves a timer by up to 300 ms, and turns of the loop are much shorter.
const LATE_MS: u64 = 1000;
/// How long others have then to be looked at before their time is over, in milliseconds: what came
/// meanwhile is read in the first turns of the loop.
pub const GRACE_MS: u64 = 2000;

/// Whether the worker stood still when the time `at` came, so that nothing could be done in time.
pub fn stood_still(at: u64) -> bool {
    now() > at.saturating_add(LATE_MS)
}

/// Whether this worker is told to finish its sessions and leave.
pub fn exiting() -> bool {
    // SAFETY: plain words that only this process's signal handling and event loop write.
    unsafe {
        nginx_sys::ngx_exiting != 0 || nginx_sys::ngx_quit != 0 || nginx_sys::ngx_terminate != 0
    }
}
