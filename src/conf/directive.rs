//! The form in which a directive is declared: once, with its name, contexts, default and setter.

use std::ffi::CStr;
use std::ops::RangeInclusive;

use nginx_sys::{
    NGX_CONF_1MORE, NGX_CONF_2MORE, NGX_CONF_BLOCK, NGX_CONF_NOARGS, NGX_CONF_TAKE1,
    NGX_CONF_TAKE12,
};

use super::parse::Parse;
use super::scope::Scope;
use super::value::{self, Args, ConfError, Msec};

/// Contexts: the `rtmp` block,
pub const M: u32 = 0x0200_0000;
/// a `server` block in it,
pub const S: u32 = 0x0400_0000;
/// an `application` block in that.
pub const A: u32 = 0x0800_0000;
/// In each of the two outer blocks, the inner one winning.
pub const MS: u32 = M | S;
/// In each block, the innermost winning.
pub const MSA: u32 = M | S | A;

/// How many words follow the name.
pub const NO_WORDS: u32 = NGX_CONF_NOARGS;
/// One.
pub const ONE: u32 = NGX_CONF_TAKE1;
/// One or two.
pub const ONE_OR_TWO: u32 = NGX_CONF_TAKE12;
/// One or more.
pub const SOME: u32 = NGX_CONF_1MORE;
/// Two or more.
pub const TWO_OR_MORE: u32 = NGX_CONF_2MORE;

/// One directive.
pub struct Directive {
    /// As it is written.
    pub name: &'static CStr,
    /// The blocks it may stand in.
    pub contexts: u32,
    /// How many words it takes.
    pub arity: u32,
    /// What holds when it is not written, in the words that would say so.
    pub default: Option<&'static str>,
    /// What it does.
    pub set: Set,
}

/// What a directive does.
pub enum Set {
    /// `on` or `off`.
    Flag(fn(&mut Scope) -> &mut Option<bool>),
    /// A time.
    Time(fn(&mut Scope) -> &mut Option<Msec>),
    /// A size within the range, in bytes.
    Size(fn(&mut Scope) -> &mut Option<usize>, RangeInclusive<usize>),
    /// A number within the range.
    Number(fn(&mut Scope) -> &mut Option<u32>, RangeInclusive<u32>),
    /// A setting of another form.
    Setting(fn(&mut Scope, &Args<'_>) -> Result<(), ConfError>),
    /// Something that concerns more than the settings of the block it stands in.
    Any(fn(&mut Parse, &Args<'_>) -> Result<(), ConfError>),
    /// Nothing: the older modules have it, and their configurations should load. The word is checked.
    Accepted(fn(&[u8]) -> Result<(), ConfError>),
    /// A block: what to do at its opening and at its closing brace, and the context inside.
    Block {
        /// At `{`.
        open: fn(&mut Parse, &Args<'_>) -> Result<(), ConfError>,
        /// At `}`.
        close: fn(&mut Parse),
        /// The context of the directives inside.
        inside: u32,
    },
}

impl Directive {
    /// The name as text.
    pub fn name(&self) -> &'static str {
        self.name.to_str().unwrap_or("?")
    }

    /// Applies the words of one appearance to the block being parsed.
    pub fn apply(&self, parse: &mut Parse, args: &Args<'_>) -> Result<(), ConfError> {
        match &self.set {
            Set::Flag(slot) => value::once(slot(parse.scope()), value::flag(args.first())?),
            Set::Time(slot) => value::once(slot(parse.scope()), value::time(args.first())?),
            Set::Size(slot, range) => {
                value::once(slot(parse.scope()), value::size(args.first(), range)?)
            }
            Set::Number(slot, range) => {
                value::once(slot(parse.scope()), value::number(args.first(), range)?)
            }
            Set::Setting(set) => set(parse.scope(), args),
            Set::Accepted(check) => check(args.first()),
            Set::Any(set) | Set::Block { open: set, .. } => set(parse, args),
        }
    }
}

/// Declares a directive that takes `on` or `off`.
pub const fn flag(
    name: &'static CStr,
    contexts: u32,
    default: &'static str,
    slot: fn(&mut Scope) -> &mut Option<bool>,
) -> Directive {
    Directive { name, contexts, arity: ONE, default: Some(default), set: Set::Flag(slot) }
}

/// Declares a directive that takes a time.
pub const fn time(
    name: &'static CStr,
    contexts: u32,
    default: &'static str,
    slot: fn(&mut Scope) -> &mut Option<Msec>,
) -> Directive {
    Directive { name, contexts, arity: ONE, default: Some(default), set: Set::Time(slot) }
}

/// Declares a directive that takes a size within `range`, in bytes.
pub const fn size(
    name: &'static CStr,
    contexts: u32,
    default: &'static str,
    slot: fn(&mut Scope) -> &mut Option<usize>,
    range: RangeInclusive<usize>,
) -> Directive {
    Directive { name, contexts, arity: ONE, default: Some(default), set: Set::Size(slot, range) }
}

/// Declares a directive that takes a number within `range`.
pub const fn number(
    name: &'static CStr,
    contexts: u32,
    default: &'static str,
    slot: fn(&mut Scope) -> &mut Option<u32>,
    range: RangeInclusive<u32>,
) -> Directive {
    Directive { name, contexts, arity: ONE, default: Some(default), set: Set::Number(slot, range) }
}

/// Declares a directive whose words need a function of their own.
pub const fn setting(
    name: &'static CStr,
    contexts: u32,
    default: Option<&'static str>,
    arity: u32,
    set: fn(&mut Scope, &Args<'_>) -> Result<(), ConfError>,
) -> Directive {
    Directive { name, contexts, arity, default, set: Set::Setting(set) }
}

/// Declares a directive that has no effect here.
pub const fn accepted(
    name: &'static CStr,
    contexts: u32,
    default: &'static str,
    check: fn(&[u8]) -> Result<(), ConfError>,
) -> Directive {
    Directive { name, contexts, arity: ONE, default: Some(default), set: Set::Accepted(check) }
}

/// Declares a directive that concerns more than the settings of its block.
pub const fn any(
    name: &'static CStr,
    contexts: u32,
    default: Option<&'static str>,
    arity: u32,
    set: fn(&mut Parse, &Args<'_>) -> Result<(), ConfError>,
) -> Directive {
    Directive { name, contexts, arity, default, set: Set::Any(set) }
}

/// Declares a block.
pub const fn block(
    name: &'static CStr,
    contexts: u32,
    arity: u32,
    inside: u32,
    open: fn(&mut Parse, &Args<'_>) -> Result<(), ConfError>,
    close: fn(&mut Parse),
) -> Directive {
    let set = Set::Block { open, close, inside };
    Directive { name, contexts, arity: arity | NGX_CONF_BLOCK, default: None, set }
}
