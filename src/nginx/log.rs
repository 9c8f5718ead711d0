//! nginx's error log: `log::info!(log, "...")` and its siblings, one for each level in use.

use std::marker::PhantomData;

use nginx_sys::{ngx_cycle, ngx_log_t};

/// A log of nginx's, while what it belongs to lives.
#[derive(Clone, Copy)]
pub struct Log<'a> {
    log: *mut ngx_log_t,
    owner: PhantomData<&'a ()>,
}

impl Log<'_> {
    /// # Safety
    ///
    /// `log` is a log that lives as long as the result.
    pub unsafe fn new(log: *mut ngx_log_t) -> Self {
        Log { log, owner: PhantomData }
    }

    /// For what nginx keeps with a log of its own.
    pub fn as_ptr(self) -> *mut ngx_log_t {
        self.log
    }
}

/// The log of the running cycle.
pub fn cycle() -> Log<'static> {
    // SAFETY: nginx sets ngx_cycle before it calls any code of a module, and a process has no other
    // one as long as our code runs in it.
    unsafe { Log::new((*ngx_cycle).log) }
}

/// Writes a line: nginx does not start.
macro_rules! emergency {
    ($log:expr, $($arg:tt)+) => {
        $crate::nginx::log::write(::nginx_sys::NGX_LOG_EMERG as usize, $log, format_args!($($arg)+))
    };
}
/// Writes a line: a worker is in danger, or has a bug.
macro_rules! alert {
    ($log:expr, $($arg:tt)+) => {
        $crate::nginx::log::write(::nginx_sys::NGX_LOG_ALERT as usize, $log, format_args!($($arg)+))
    };
}
/// Writes a line: something was lost.
macro_rules! error {
    ($log:expr, $($arg:tt)+) => {
        $crate::nginx::log::write(::nginx_sys::NGX_LOG_ERR as usize, $log, format_args!($($arg)+))
    };
}
/// Writes a line: something is not as it should be.
macro_rules! warning {
    ($log:expr, $($arg:tt)+) => {
        $crate::nginx::log::write(::nginx_sys::NGX_LOG_WARN as usize, $log, format_args!($($arg)+))
    };
}
/// Writes a line: normal but rare.
macro_rules! notice {
    ($log:expr, $($arg:tt)+) => {
        $crate::nginx::log::write(::nginx_sys::NGX_LOG_NOTICE as usize, $log, format_args!($($arg)+))
    };
}
/// Writes a line: what clients do and how they fail.
macro_rules! info {
    ($log:expr, $($arg:tt)+) => {
        $crate::nginx::log::write(::nginx_sys::NGX_LOG_INFO as usize, $log, format_args!($($arg)+))
    };
}
/// Writes a line: what would be too much for any other level.
macro_rules! debug {
    ($log:expr, $($arg:tt)+) => {
        $crate::nginx::log::write(::nginx_sys::NGX_LOG_DEBUG as usize, $log, format_args!($($arg)+))
    };
}
#[allow(unused_imports)]
pub(crate) use {alert, debug, emergency, error, info, notice, warning};

/// Writes one line at `level` if the log takes that level.
pub fn write(level: usize, log: Log<'_>, line: std::fmt::Arguments<'_>) {
    let log = log.as_ptr();
    // SAFETY: the log lives, see `Log`.
    if unsafe { (*log).log_level } < level {
        return;
    }
    let text = line.to_string();
    // a line of the error log is one line, whatever a peer put into a name
    let text: String = text.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    // SAFETY: as above; the text is passed with its length.
    unsafe { ngx::log::log_error(level, log, 0, text.as_bytes()) };
}
