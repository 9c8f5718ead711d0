//! Where nginx calls the module: its directives, the start and end of processes, new connections. Here the
//! layers are wired together.
#![allow(unsafe_code)] // nginx calls these functions

use std::any::Any;
use std::cell::RefCell;
use std::ffi::{c_char, c_void};
use std::ptr::{self, NonNull};
use std::rc::Rc;

use nginx_sys::{
    ngx_command_t, ngx_conf_t, ngx_connection_t, ngx_cycle_t, ngx_int_t, ngx_str_t, ngx_uint_t,
    NGX_CONF_BLOCK, NGX_ERROR, NGX_OK,
};

use crate::conf::blocks;
use crate::conf::directive::{Directive, Set};
use crate::conf::finish::finish;
use crate::conf::parse::Parse;
use crate::conf::tables::{self, TABLES};
use crate::conf::value::{Args, ConfError};
use crate::conf::Listen;
use crate::directory;
use crate::flv_live;
use crate::nginx::connection::Connection;
use crate::nginx::cycle::Cycle;
use crate::nginx::guard::guard;
use crate::nginx::log;
use crate::nginx::parser::{conf_result, Cf, Context};
use crate::nginx::process;
use crate::nginx::zone;
use crate::relay;
use crate::session;
use crate::worker;

/// The type of nginx modules whose directives stand in the `rtmp` block: "RTMP".
pub const RTMP_MODULE_TYPE: usize = 0x504d_5452;

#[allow(clippy::indexing_slicing)] // the compiler runs it
const COUNT: usize = {
    let (mut n, mut table) = (0, 0);
    while table < TABLES.len() {
        n += TABLES[table].len();
        table += 1;
    }
    n
};

/// An array of all commands.
pub type Commands = [ngx_command_t; COUNT + 1];

/// The directives of [`TABLES`] in the form that nginx reads, with the empty one that ends it.
#[allow(clippy::indexing_slicing)] // the compiler runs it
pub const fn commands() -> Commands {
    let mut commands = [ngx_command_t::empty(); COUNT + 1];
    let (mut n, mut table) = (0, 0);
    while table < TABLES.len() {
        let mut i = 0;
        while i < TABLES[table].len() {
            commands[n] = command(&TABLES[table][i], ngx_rtmp_directive);
            n += 1;
            i += 1;
        }
        table += 1;
    }
    commands
}

/// The top directive, `rtmp`.
pub const fn top_commands() -> [ngx_command_t; 2] {
    [command(&blocks::RTMP, ngx_rtmp_block), ngx_command_t::empty()]
}

type Handler =
    unsafe extern "C" fn(*mut ngx_conf_t, *mut ngx_command_t, *mut c_void) -> *mut c_char;

const fn command(directive: &'static Directive, set: Handler) -> ngx_command_t {
    ngx_command_t {
        name: ngx_str_t {
            len: directive.name.count_bytes(),
            data: directive.name.as_ptr().cast_mut().cast(),
        },
        type_: (directive.contexts | directive.arity) as ngx_uint_t,
        set: Some(set),
        conf: 0,
        offset: 0,
        post: ptr::from_ref(directive).cast_mut().cast(),
    }
}

/// `rtmp { … }`: parses the block and leaves the configuration in the cycle.
unsafe extern "C" fn ngx_rtmp_block(
    cf: *mut ngx_conf_t,
    cmd: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    conf_result(guard("the rtmp block", || {
        // SAFETY: nginx calls with its parser, and with the slot of a core module in the cycle's
        // table of configurations, which holds null or what a former call of this has put there.
        let (cf, directive, slot) =
            unsafe { (Cf::new(cf), directive_of(cmd), &mut *conf.cast::<*mut Rc<dyn Any>>()) };
        let Set::Block { inside, .. } = directive.set else { return Err(()) };
        if !slot.is_null() {
            return ConfError::Duplicate.refuse(&cf, directive.name());
        }
        if process::is_starting() {
            zone::attach();
        }
        let parse = tables::begin(cf).or_else(|err| err.refuse(&cf, directive.name()))?;
        let context = Context::new(RefCell::new(parse));
        cf.parse_block_of(RTMP_MODULE_TYPE, &context, inside)?;
        relay::loops::init();
        let main = finish(context.into_inner().into_inner(), ngx_rtmp_accept);
        let main = main.or_else(|err| err.refuse(&cf, directive.name()))?;
        let main: Rc<dyn Any> = Rc::new(main);
        *slot = cf.keep(main).ok_or(())?;
        Ok(())
    }))
}

/// Every directive inside the `rtmp` block.
unsafe extern "C" fn ngx_rtmp_directive(
    cf: *mut ngx_conf_t,
    cmd: *mut ngx_command_t,
    _conf: *mut c_void,
) -> *mut c_char {
    conf_result(guard("a directive", || {
        // SAFETY: nginx calls this inside of the rtmp block only, where the context is ours and
        // outlives the block.
        let (cf, directive, parse) = unsafe {
            let cf = Cf::new(cf);
            (cf, directive_of(cmd), cf.context::<RefCell<Parse>>())
        };
        let words = cf.words();
        let args = Args::new(directive.name(), words.get(1..).unwrap_or_default().to_vec());
        directive
            .apply(&mut parse.borrow_mut(), &args)
            .or_else(|err| err.refuse(&cf, directive.name()))?;
        if let Set::Block { close, inside, .. } = directive.set {
            cf.parse_block(inside)?;
            close(&mut parse.borrow_mut());
        }
        Ok(())
    }))
}

/// # Safety
///
/// `cmd` is one of [`commands`] or [`top_commands`].
unsafe fn directive_of(cmd: *mut ngx_command_t) -> &'static Directive {
    // SAFETY: `command` puts a static there.
    unsafe { &*(*cmd).post.cast::<Directive>() }
}

/// All of the configuration has been read.
pub unsafe extern "C" fn ngx_rtmp_init_conf(
    cycle: *mut ngx_cycle_t,
    _: *mut c_void,
) -> *mut c_char {
    conf_result(guard("the end of the configuration", || {
        // SAFETY: nginx calls with the cycle that it is setting up, whose configuration has been
        // parsed.
        let cycle = unsafe { Cycle::new(cycle) };
        flv_live::module::bind_locations(cycle)?;
        worker::prepare(cycle).map_err(|error| log::emergency!(cycle.log(), "{error}"))
    }))
}

/// A configuration is about to run.
pub unsafe extern "C" fn ngx_rtmp_init_module(cycle: *mut ngx_cycle_t) -> ngx_int_t {
    // SAFETY: nginx calls with that cycle.
    guard("the start of a configuration", || worker::configured(unsafe { Cycle::new(cycle) }));
    NGX_OK as ngx_int_t
}

/// A process starts.
pub unsafe extern "C" fn ngx_rtmp_init_process(cycle: *mut ngx_cycle_t) -> ngx_int_t {
    // SAFETY: nginx calls with the cycle of the process.
    let start = || worker::init(unsafe { Cycle::new(cycle) }, ngx_rtmp_accept);
    match guard("the start of a worker", start) {
        Some(()) => NGX_OK as ngx_int_t,
        None => NGX_ERROR as ngx_int_t,
    }
}

/// A process has left its event loop.
pub unsafe extern "C" fn ngx_rtmp_exit_process(cycle: *mut ngx_cycle_t) {
    // SAFETY: nginx calls with the cycle of the process.
    guard("the end of a worker", || worker::exit(unsafe { Cycle::new(cycle) }));
}

/// The master ends, after its workers.
pub unsafe extern "C" fn ngx_rtmp_exit_master(_cycle: *mut ngx_cycle_t) {
    guard("the end of nginx", directory::master::end);
}

/// nginx has accepted a connection on an `rtmp` server's address.
unsafe extern "C" fn ngx_rtmp_accept(c: *mut ngx_connection_t) {
    guard("accept", || {
        let Some(c) = NonNull::new(c) else { return };
        // SAFETY: nginx hands over a new connection that it does not look at any more.
        let conn = unsafe { Connection::new(c) };
        if let Some(listen) = Listen::of(&conn) {
            session::start(conn, listen);
        }
    });
}

// the arity of a block carries nginx's own mark, so that it looks for the brace
const _: () = assert!(blocks::RTMP.arity & NGX_CONF_BLOCK != 0);
