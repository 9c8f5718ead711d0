//! The table of modules handed to nginx.
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::too_many_lines
    )
)]
#![deny(unsafe_code)] // allowed in src/nginx, and where nginx calls the module
#![allow(non_upper_case_globals)] // nginx's names where nginx sees them

use std::ffi::c_char;
use std::ptr;

use nginx_sys::{
    ngx_command_t, ngx_core_module_t, ngx_http_module_t, ngx_module_t, ngx_str_t, ngx_uint_t,
    NGX_CORE_MODULE, NGX_HTTP_MODULE,
};

mod access_log;
mod admission;
mod conf;
mod directory;
mod flv_live;
mod module;
mod nginx;
mod oclp;
mod registry;
mod relay;
mod session;
mod stream_request;
mod variables;
mod weak_map;
mod worker;

/// Exports the modules under the three names that nginx looks up in a dynamic module.
macro_rules! export_modules {
    ($($module:ident),+ $(,)?) => {
        const MODULES: usize = [$(stringify!($module)),+].len();
        #[no_mangle]
        #[allow(unsafe_code)]
        static mut ngx_modules: [*const ngx_module_t; MODULES + 1] =
            [$(&raw const $module,)+ ptr::null()];
        #[no_mangle]
        #[allow(unsafe_code)]
        static mut ngx_module_names: [*const c_char; MODULES + 1] =
            [$(concat!(stringify!($module), "\0").as_ptr().cast(),)+ ptr::null()];
        #[no_mangle]
        #[allow(unsafe_code)]
        static mut ngx_module_order: [*const c_char; 1] = [ptr::null()];
    };
}

export_modules!(ngx_rtmp_module, ngx_rtmp_core_module, ngx_rtmp_http_module);

/// The directive `rtmp`, and the configuration that its block becomes.
#[no_mangle]
#[allow(unsafe_code)]
static mut ngx_rtmp_module: ngx_module_t = ngx_module_t {
    ctx: (&raw const TOP).cast_mut().cast(),
    commands: (&raw const TOP_COMMANDS).cast_mut().cast(),
    type_: NGX_CORE_MODULE as ngx_uint_t,
    ..ngx_module_t::default()
};

static mut TOP: ngx_core_module_t = ngx_core_module_t {
    name: name(c"rtmp"),
    create_conf: None,
    init_conf: Some(module::ngx_rtmp_init_conf),
};
static mut TOP_COMMANDS: [ngx_command_t; 2] = module::top_commands();

/// The directives inside of that block, and the life of a worker.
static mut ngx_rtmp_core_module: ngx_module_t = ngx_module_t {
    commands: (&raw const COMMANDS).cast_mut().cast(),
    type_: module::RTMP_MODULE_TYPE,
    init_module: Some(module::ngx_rtmp_init_module),
    init_process: Some(module::ngx_rtmp_init_process),
    exit_process: Some(module::ngx_rtmp_exit_process),
    exit_master: Some(module::ngx_rtmp_exit_master),
    ..ngx_module_t::default()
};

static mut COMMANDS: module::Commands = module::commands();

/// What serves HTTP clients.
#[no_mangle]
#[allow(unsafe_code)]
static mut ngx_rtmp_http_module: ngx_module_t = ngx_module_t {
    ctx: (&raw const HTTP).cast_mut().cast(),
    commands: (&raw const HTTP_COMMANDS).cast_mut().cast(),
    type_: NGX_HTTP_MODULE as ngx_uint_t,
    ..ngx_module_t::default()
};

static mut HTTP: ngx_http_module_t = ngx_http_module_t {
    preconfiguration: None,
    postconfiguration: None,
    create_main_conf: Some(flv_live::module::ngx_rtmp_http_create_main_conf),
    init_main_conf: None,
    create_srv_conf: None,
    merge_srv_conf: None,
    create_loc_conf: Some(flv_live::module::ngx_rtmp_http_create_loc_conf),
    merge_loc_conf: Some(flv_live::module::ngx_rtmp_http_merge_loc_conf),
};
static mut HTTP_COMMANDS: [ngx_command_t; flv_live::module::COMMANDS] =
    flv_live::module::commands();

const fn name(name: &'static std::ffi::CStr) -> ngx_str_t {
    ngx_str_t { len: name.count_bytes(), data: name.as_ptr().cast_mut().cast() }
}
