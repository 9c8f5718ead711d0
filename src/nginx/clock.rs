//! Time as the event loop knows it, and as the processor does.

use std::time::Duration;

use nginx_sys::ngx_current_msec;

/// Milliseconds of a monotonic clock, cached once per loop turn.
pub fn now() -> u64 {
    // SAFETY: a plain word that only this thread's event loop writes.
    unsafe { ngx_current_msec as u64 }
}

/// Time that this thread has had on the processor.
pub fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock exists for every thread, and the pointer is valid.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// Whether this worker is told to finish its sessions and leave.
pub fn exiting() -> bool {
    // SAFETY: plain words that only this process's signal handling and event loop write.
    unsafe {
        nginx_sys::ngx_exiting != 0 || nginx_sys::ngx_quit != 0 || nginx_sys::ngx_terminate != 0
    }
}
