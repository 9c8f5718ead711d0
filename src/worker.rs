//! What a worker process starts with, and leaves behind.

use nginx_sys::ngx_cycle_t;

use crate::conf;
use crate::nginx::resolver;

/// A worker starts.
pub fn init(cycle: *mut ngx_cycle_t) -> Result<(), ()> {
    if conf::main_conf().is_none() {
        return Ok(());
    }
    resolver::init(cycle);
    Ok(())
}

/// A worker ends.
pub fn exit(_cycle: *mut ngx_cycle_t) {}
