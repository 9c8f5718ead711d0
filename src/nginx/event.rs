//! A timer or posted event of nginx's loop that calls a closure and is disarmed when dropped.

use std::cell::UnsafeCell;
use std::mem;
use std::ptr::addr_of_mut;
use std::rc::Rc;

use nginx_sys::{
    ngx_add_timer, ngx_del_timer, ngx_delete_posted_event, ngx_event_t, ngx_msec_t, ngx_post_event,
    ngx_posted_events, ngx_posted_next_events,
};

use crate::nginx::guard::guard;
use crate::nginx::log;

/// An event that the owner arms as a timer, posts to run later in this loop turn, or both.
///
/// nginx holds pointers into what this owns, in one allocation, which stays in place. It lives on
/// while the callback runs that drops it.
pub struct Event(Rc<Inner<dyn Fn(Fired)>>);

/// What an event was armed as when its callback runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fired {
    Timer,
    Posted,
}

#[repr(C)]
struct Inner<F: ?Sized> {
    // nginx's debug log reads the fd of the connection at event.data: this is one without a socket
    ident: [usize; 4],
    event: UnsafeCell<ngx_event_t>,
    callback: F,
}

impl Event {
    /// An idle event that will call `callback`. A timer armed on it keeps a worker from leaving.
    pub fn new(callback: impl Fn() + 'static) -> Self {
        Event::told(move |_| callback())
    }

    /// The same for one that is armed both ways: `callback` is told which one it was.
    pub fn told<F: Fn(Fired) + 'static>(callback: F) -> Self {
        // SAFETY: ngx_event_t is a C struct for which all zeroes is the idle state.
        let mut event: ngx_event_t = unsafe { mem::zeroed() };
        event.handler = Some(run::<F>);
        event.log = log::cycle().as_ptr();
        let event = UnsafeCell::new(event);
        let inner = Rc::new(Inner { ident: [0, 0, 0, usize::MAX], event, callback });
        // SAFETY: `inner` was just made, and nobody else knows it.
        unsafe { (*inner.event.get()).data = Rc::as_ptr(&inner).cast_mut().cast() };
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
        self.0.event.get()
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        self.cancel();
    }
}

extern "C" fn run<F: Fn(Fired) + 'static>(ev: *mut ngx_event_t) {
    // SAFETY: `ev` is the event of a live Inner (drop disarms it), and data points to that Inner,
    // in an Rc. That is held meanwhile, since the callback may drop the event it belongs to.
    let (inner, fired) = unsafe {
        let inner: *const Inner<F> = (*ev).data.cast();
        let fired = if (*ev).timedout() != 0 { Fired::Timer } else { Fired::Posted };
        (*ev).set_timedout(0);
        Rc::increment_strong_count(inner);
        (Rc::from_raw(inner), fired)
    };
    guard("an event", move || (inner.callback)(fired));
}
