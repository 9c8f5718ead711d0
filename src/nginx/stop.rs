//! The last turns of a worker's event loop. nginx makes none once it is told to stop at once, and
//! what is to be sent then would not be.

use nginx_sys::{ngx_close_listening_sockets, ngx_connection_t, ngx_process_events_and_timers};

use crate::nginx::cycle::Cycle;
use crate::nginx::event::Event;
use crate::nginx::process;

/// How long a turn waits at most for something to happen, in milliseconds.
const TURN_MS: u64 = 10;

/// Accepts nobody any more, and has everybody who was accepted leave, as nginx does when
/// `worker_shutdown_timeout` is over.
///
/// `cycle` is the worker's, which is ending; no code of a connection is running.
pub fn close_accepted(cycle: Cycle) {
    let cycle = cycle.as_ptr();
    // SAFETY: the cycle is live, and between its turns any handler may be called. It may close any connection, so each is looked at when it
    // is its turn.
    unsafe {
        // a worker that was told to leave has done so, and a single process does it later
        if process::is_worker() && nginx_sys::ngx_exiting == 0 {
            ngx_close_listening_sockets(cycle);
        }
        // a single process that has read its configuration again has none
        if (*cycle).connections.is_null() {
            return;
        }
        for i in 0..(*cycle).connection_n {
            let c: *mut ngx_connection_t = (*cycle).connections.add(i);
            let open = (*c).fd != -1 && !(*c).read.is_null() && !(*c).listening.is_null();
            if !open || (*(*c).read).accept() != 0 || (*(*c).read).channel() != 0 {
                continue;
            }
            let Some(handler) = (*(*c).read).handler else { continue };
            (*c).set_close(1);
            (*c).set_error(1);
            handler((*c).read);
        }
    }
}

/// Has the loop turn as long as there is something `left`, and no longer than `ms` milliseconds.
///
/// As for [`close_accepted`], no code of a connection is running.
pub fn turn_while(cycle: Cycle, ms: u64, left: impl Fn() -> bool) {
    let wake = Event::new(|| ());
    let began = std::time::Instant::now();
    while left() && began.elapsed().as_millis() < u128::from(ms) {
        wake.set_timer(TURN_MS);
        // SAFETY: the cycle is live.
        unsafe { ngx_process_events_and_timers(cycle.as_ptr()) };
    }
}
