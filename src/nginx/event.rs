//! A timer or posted event of nginx's loop that calls a closure and is disarmed when dropped.

use std::mem;
use std::ptr::{addr_of_mut, NonNull};
use std::rc::Rc;

use nginx_sys::{
    ngx_add_timer, ngx_del_timer, ngx_delete_posted_event, ngx_event_t, ngx_msec_t, ngx_post_event,
    ngx_posted_events, ngx_posted_next_events,
};

use crate::nginx::guard::guard;
use crate::nginx::log;

/// An event that the owner arms as a timer, posts to run later in this loop turn, or both.
///
/// nginx holds pointers into it, so it is only reached through this one, and freed when dropped.
pub struct Event(NonNull<Inner>);

#[repr(C)]
struct Inner {
    // nginx's debug log reads the fd of the connection at event.data: this is one without a socket
    ident: [usize; 4],
    event: ngx_event_t,
    callback: Rc<dyn Fn()>,
}

impl Event {
    /// An idle event that will call `callback`. A timer armed on it keeps a worker from leaving.
    pub fn new(callback: impl Fn() + 'static) -> Self {
        // SAFETY: ngx_event_t is a C struct for which all zeroes is the idle state.
        let mut event: ngx_event_t = unsafe { mem::zeroed() };
        event.handler = Some(run);
        event.log = log::cycle().as_ptr();
        let callback = Rc::new(callback);
        let inner = Inner { ident: [0, 0, 0, usize::MAX], event, callback };
        let inner = NonNull::from(Box::leak(Box::new(inner)));
        // SAFETY: `inner` was just made, and nobody else knows it.
        unsafe { (*inner.as_ptr()).event.data = inner.as_ptr().cast() };
        Event(inner)
    }

    /// The same, but its timer does not hold up a worker that is told to leave.
    pub fn cancelable(callback: impl Fn() + 'static) -> Self {
        let event = Event::new(callback);
        // SAFETY: see `event`.
        unsafe { (*event.event()).set_cancelable(1) };
        event
    }

    /// Arms the timer to fire once in `ms` milliseconds; an armed one is moved.
    pub fn set_timer(&self, ms: u64) {
        // SAFETY: see `event`.
        unsafe { ngx_add_timer(self.event(), ms as ngx_msec_t) };
    }

    /// Disarms the timer.
    pub fn clear_timer(&self) {
        // SAFETY: see `event`; only an armed timer is removed.
        unsafe {
            if (*self.event()).timer_set() != 0 {
                ngx_del_timer(self.event());
            }
        }
    }

    /// Runs the callback after the events of this loop turn, once.
    pub fn post(&self) {
        // SAFETY: see `event`; the queue is nginx's own.
        unsafe { ngx_post_event(self.event(), addr_of_mut!(ngx_posted_events)) };
    }

    /// Runs the callback in the next loop turn, after new input has been looked at.
    pub fn post_next(&self) {
        // SAFETY: see `event`; the queue is nginx's own.
        unsafe { ngx_post_event(self.event(), addr_of_mut!(ngx_posted_next_events)) };
    }

    /// Whether the callback is to run in this loop turn or the next.
    pub fn is_posted(&self) -> bool {
        // SAFETY: see `event`.
        unsafe { (*self.event()).posted() != 0 }
    }

    /// Disarms the timer and takes the event out of the posted queue.
    pub fn cancel(&self) {
        self.clear_timer();
        if self.is_posted() {
            // SAFETY: see `event`; only a posted event is removed.
            unsafe { ngx_delete_posted_event(self.event()) };
        }
    }

    /// The event inside: it stays in place and allocated until `self` is dropped, and nginx only
    /// touches it from this thread.
    fn event(&self) -> *mut ngx_event_t {
        // SAFETY: the pointer is live until `self` is dropped.
        unsafe { addr_of_mut!((*self.0.as_ptr()).event) }
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        self.cancel();
        // SAFETY: leaked by `new`, and nginx does not know it any more.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

extern "C" fn run(ev: *mut ngx_event_t) {
    // SAFETY: `ev` is the event of a live Inner (drop disarms it), and data points to that Inner.
    // The callback is cloned first, since it may drop the event it belongs to.
    let callback = unsafe {
        let inner: *mut Inner = (*ev).data.cast();
        (*ev).set_timedout(0);
        (*inner).callback.clone()
    };
    guard("an event", move || callback());
}
