//! A cycle: a configuration, and what nginx runs by it.

use std::any::Any;
use std::ptr::NonNull;
use std::rc::Rc;

use nginx_sys::{ngx_cycle, ngx_cycle_t};

use crate::nginx::log::Log;
use crate::nginx::module;

/// A cycle that lives. The value is not kept beyond the call that nginx made with the cycle.
#[derive(Clone, Copy)]
pub struct Cycle(NonNull<ngx_cycle_t>);

impl Cycle {
    /// # Safety
    ///
    /// nginx calls the module with `cycle`, and no copy of the value is used after that call.
    pub unsafe fn new(cycle: *mut ngx_cycle_t) -> Self {
        // SAFETY: nginx never calls with null.
        Cycle(unsafe { NonNull::new_unchecked(cycle) })
    }

    /// The one that this process runs by, if there is one yet.
    fn running() -> Option<Self> {
        // SAFETY: nginx sets ngx_cycle before anything of the module is called.
        NonNull::new(unsafe { ngx_cycle }).map(Cycle)
    }

    /// The cycle itself.
    pub fn as_ptr(self) -> *mut ngx_cycle_t {
        self.0.as_ptr()
    }

    /// Its log.
    pub fn log(&self) -> Log<'_> {
        // SAFETY: a cycle has a log, which lives as long as it.
        unsafe { Log::new((*self.as_ptr()).log) }
    }

    /// What the `rtmp` block became; `None` without one.
    fn conf(self) -> Option<Rc<dyn Any>> {
        // SAFETY: the slot holds null or what the handler of the block has put there, see
        // [`crate::nginx::parser::Slot`], and nginx numbers the module when it is loaded. The cycle
        // with which nginx starts has no configuration.
        unsafe {
            let confs = (*self.as_ptr()).conf_ctx;
            if confs.is_null() {
                return None;
            }
            (*confs.add(module::index())).cast::<Rc<dyn Any>>().as_ref().cloned()
        }
    }

    /// What the `rtmp` block became, if that is a `T`; `None` without one.
    pub fn conf_as<T: 'static>(self) -> Option<Rc<T>> {
        self.conf()?.downcast().ok()
    }
}

/// As [`Cycle::conf_as`], of the cycle that this process runs by.
pub fn running_conf_as<T: 'static>() -> Option<Rc<T>> {
    Cycle::running()?.conf_as()
}
