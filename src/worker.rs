//! What a worker process starts with, and leaves behind.

use nginx_sys::ngx_cycle_t;

/// A worker starts.
pub fn init(_cycle: *mut ngx_cycle_t) -> Result<(), ()> {
    Ok(())
}

/// A worker ends.
pub fn exit(_cycle: *mut ngx_cycle_t) {}
