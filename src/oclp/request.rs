//! The requests, byte for byte.

use std::borrow::Cow;

use percent_encoding::{percent_encode, AsciiSet, CONTROLS, NON_ALPHANUMERIC};

use crate::conf::oclp::{Call, Callback};
use crate::variables::{Piece, Var, Vars};

/// The stage of an event, as `act=` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Start,
    Update,
    Done,
}

impl Act {
    /// As requests name it.
    pub fn name(self) -> &'static str {
        match self {
            Act::Start => "start",
            Act::Update => "update",
            Act::Done => "done",
        }
    }
}

/// What is written as `%XX` in a value: every byte but RFC 3986's unreserved ones and those which
/// mean nothing inside of a value, so that ordinary names look as they are.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/')
    .remove(b':')
    .remove(b'@')
    .remove(b'!')
    .remove(b'$')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b',')
    .remove(b';');

/// What is written as `%XX` in a text that is a query already: what would end the query, or the
/// line of the request.
const QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>');

/// The target of a request about a stream:
/// `path?call=X&act=Y&domain=D&app=A&name=N[&groupid=G][&args]`.
pub fn about_stream(callback: &Callback, act: Act, vars: &dyn Vars) -> String {
    let mut target = begin(callback);
    target.push_str("&act=");
    target.push_str(act.name());
    for (parameter, var) in [("&domain=", Var::Domain), ("&app=", Var::App), ("&name=", Var::Name)]
    {
        target.push_str(parameter);
        target.extend(percent_encode(&vars.get(&var), VALUE));
    }
    append_groupid(&mut target, callback);
    append_args(&mut target, callback, vars);
    target
}

/// The target of the request at a worker's start:
/// `path?call=init_process&worker_id=K[&groupid=G][&args]`.
pub fn about_worker(callback: &Callback, worker: usize) -> String {
    let mut target = begin(callback);
    target.push_str(&format!("&worker_id={worker}"));
    append_groupid(&mut target, callback);
    append_args(&mut target, callback, &());
    target
}

/// The url, and the event.
fn begin(callback: &Callback) -> String {
    let mut target = callback.url.target.clone();
    match target.split_once('?') {
        None => target.push('?'),
        Some((_, "")) => (),
        Some(_) => target.push('&'),
    }
    target.push_str("call=");
    target.push_str(callback.call.name());
    target
}

fn append_groupid(target: &mut String, callback: &Callback) {
    if let Some(groupid) = &callback.groupid {
        target.push_str("&groupid=");
        target.extend(percent_encode(groupid, VALUE));
    }
}

/// `args=`: its own text and what is a query already stay as they are, other values are encoded,
/// so that none of them can forge a parameter.
fn append_args(target: &mut String, callback: &Callback, vars: &dyn Vars) {
    let Some(args) = &callback.args else { return };
    let vars: &dyn Vars = &OfLine { callback, vars };
    let args = args.eval_in(vars, |out, piece, text| {
        let set = match piece {
            Piece::Text | Piece::Query => QUERY,
            Piece::Value => VALUE,
        };
        percent_encode(text, set).for_each(|part| out.extend_from_slice(part.as_bytes()));
    });
    if !args.is_empty() {
        target.push('&');
        // nothing but ASCII is left
        target.push_str(&String::from_utf8_lossy(&args));
    }
}

/// A client, as the callback's line sees it.
struct OfLine<'a> {
    callback: &'a Callback,
    vars: &'a dyn Vars,
}

impl Vars for OfLine<'_> {
    fn get(&self, var: &Var) -> Cow<'_, [u8]> {
        match var {
            Var::GroupId => self.callback.groupid.as_deref().unwrap_or_default().into(),
            var => self.vars.get(var),
        }
    }
}

impl Call {
    /// Whether the server must not hear of a new one before it has heard of the end of the last
    /// one of the same stream. Players are many at a time, so their order means nothing.
    pub fn in_turn(self) -> bool {
        !matches!(self, Call::Play | Call::Proc)
    }
}
