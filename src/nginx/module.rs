//! The modules that nginx was given, as C code finds them in a header: lib.rs defines them.

use nginx_sys::ngx_module_t;

extern "C" {
    static mut ngx_rtmp_module: ngx_module_t;
    static mut ngx_rtmp_http_module: ngx_module_t;
}

/// Where a cycle has the configuration of the `rtmp` block.
pub fn index() -> usize {
    // SAFETY: a plain word that nginx sets when it loads the module.
    unsafe { ngx_rtmp_module.index }
}

/// Where the `http` block, its locations and its requests have what is ours.
pub fn http_index() -> usize {
    // SAFETY: as above.
    unsafe { ngx_rtmp_http_module.ctx_index }
}

/// What serves HTTP clients.
pub fn http() -> *mut ngx_module_t {
    &raw mut ngx_rtmp_http_module
}
