//! Where nginx's configuration parser and this module meet: the two command handlers.

use std::cell::RefCell;
use std::ffi::{c_char, c_void};
use std::ptr;
use std::rc::Rc;

use nginx_sys::{
    ngx_command_t, ngx_conf_t, ngx_cycle, ngx_cycle_t, ngx_str_t, ngx_uint_t, NGX_CONF_BLOCK,
};

use super::directive::{Directive, Set};
use super::parse::Parse;
use super::value::{Args, ConfError};
use super::{MainConf, RTMP_MODULE_TYPE, TABLES};
use crate::nginx::guard::guard;
use crate::nginx::module;
use crate::nginx::parser::{conf_result, Cf, Context};
use crate::nginx::process;
use crate::nginx::zone;

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
    [command(&super::blocks::RTMP, ngx_rtmp_block), ngx_command_t::empty()]
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
            unsafe { (Cf::new(cf), directive_of(cmd), &mut *conf.cast::<*mut Rc<MainConf>>()) };
        let Set::Block { inside, .. } = directive.set else { return Err(()) };
        if !slot.is_null() {
            return ConfError::Duplicate.refuse(&cf, directive.name());
        }
        if process::is_starting() {
            zone::attach();
        }
        let parse = Parse::new(cf).or_else(|err| err.refuse(&cf, directive.name()))?;
        let context = Context::new(RefCell::new(parse));
        cf.parse_block_of(RTMP_MODULE_TYPE, &context, inside)?;
        let main = context.into_inner().into_inner().finish();
        let main = main.or_else(|err| err.refuse(&cf, directive.name()))?;
        *slot = cf.keep(Rc::new(main)).ok_or(())?;
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

/// The configuration of `cycle`; `None` without an `rtmp` block.
///
/// # Safety
///
/// `cycle` is a live cycle whose configuration has been parsed.
pub unsafe fn main_conf_of(cycle: *mut ngx_cycle_t) -> Option<Rc<MainConf>> {
    // SAFETY: the slot holds null or what ngx_rtmp_block put there, and nginx numbers the module
    // when it is loaded. The cycle with which nginx starts has no configuration.
    unsafe {
        if (*cycle).conf_ctx.is_null() {
            return None;
        }
        let slot = (*cycle).conf_ctx.add(module::index());
        (*slot).cast::<Rc<MainConf>>().as_ref().cloned()
    }
}

/// The configuration of the running cycle; `None` without an `rtmp` block.
pub fn main_conf() -> Option<Rc<MainConf>> {
    // SAFETY: nginx sets ngx_cycle before a worker or a session starts.
    unsafe { main_conf_of(ngx_cycle) }
}

// the arity of a block carries nginx's own mark, so that it looks for the brace
const _: () = assert!(super::blocks::RTMP.arity & NGX_CONF_BLOCK != 0);
