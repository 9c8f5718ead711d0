//! The requests, byte for byte.

use std::borrow::Cow;

use percent_encoding::{percent_encode, AsciiSet, NON_ALPHANUMERIC};

use crate::conf::oclp::{Call, Callback};
use crate::variables::{Piece, Var, Vars, QUERY};

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A client that says this, whatever is asked.
    struct Says<'a>(&'a [u8]);

    impl Vars for Says<'_> {
        fn get(&self, _var: &Var) -> Cow<'_, [u8]> {
            self.0.into()
        }
    }

    fn target(call: Call, words: &[&str], says: &[u8]) -> String {
        about_stream(&Callback::of_words(call, words), Act::Start, &Says(says))
    }

    /// The values of the parameter `name`.
    fn values<'a>(target: &'a str, name: &str) -> Vec<&'a str> {
        let query = target.split_once('?').expect("a query").1;
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).collect()
    }

    #[test]
    fn the_parameters_stand_in_their_order() {
        assert_eq!(
            target(Call::Play, &["http://s/on_play", "groupid=g"], b"x"),
            "/on_play?call=play&act=start&domain=x&app=x&name=x&groupid=g"
        );
    }

    #[test]
    fn each_stage_is_named() {
        let callback = Callback::of_words(Call::Stream, &["http://s/a"]);
        for (act, name) in [(Act::Start, "start"), (Act::Update, "update"), (Act::Done, "done")] {
            let target = about_stream(&callback, act, &Says(b"x"));
            assert_eq!(values(&target, "act"), [name]);
        }
    }

    #[test]
    fn a_url_may_have_a_query_of_its_own() {
        for (url, begin) in [
            ("http://s", "/?call=pull&"),
            ("http://s/a", "/a?call=pull&"),
            ("http://s/a?", "/a?call=pull&"),
            ("http://s/a?b=c", "/a?b=c&call=pull&"),
        ] {
            let target = target(Call::Pull, &[url], b"x");
            assert!(target.starts_with(begin), "{target}");
        }
    }

    #[test]
    fn ordinary_names_look_as_they_are() {
        let target = target(Call::Play, &["http://s/a"], b"a/b:c@d!$'()*,;-._~");
        assert_eq!(values(&target, "name"), ["a/b:c@d!$'()*,;-._~"]);
    }

    #[test]
    fn a_worker_says_its_number() {
        let callback =
            Callback::of_words(Call::Proc, &["http://s/a", "groupid=g h", "args=x=$app"]);
        assert_eq!(about_worker(&callback, 3), "/a?call=init_process&worker_id=3&groupid=g%20h&x=");
    }

    #[test]
    fn args_keep_their_own_text_and_queries() {
        let words = ["http://s/a", "args=k=v&n=$name&q=$args&p=$parg_t&g=$groupid", "groupid=g"];
        let target = target(Call::Play, &words, b"t=1&u=2");
        assert_eq!(values(&target, "n"), ["t%3D1%26u%3D2"]);
        assert!(target.ends_with("&k=v&n=t%3D1%26u%3D2&q=t=1&u=2&p=1&g=g"), "{target}");
    }

    #[test]
    fn args_that_are_empty_add_nothing() {
        let target = target(Call::Play, &["http://s/a", "args=$args"], b"");
        assert!(target.ends_with("&name="), "{target}");
    }

    #[test]
    fn only_those_that_are_many_at_a_time_wait_for_nobody() {
        for call in [Call::Publish, Call::Stream, Call::Pull, Call::Push, Call::Meta] {
            assert!(call.in_turn(), "{call:?}");
        }
        assert!(!Call::Play.in_turn() && !Call::Proc.in_turn());
    }

    proptest! {
        #[test]
        fn no_name_forges_a_parameter(name in prop::collection::vec(any::<u8>(), 0..60)) {
            let target = target(Call::Play, &["http://s/a", "args=x=$name"], &name);
            for parameter in ["call", "act", "domain", "app", "name", "x"] {
                prop_assert_eq!(values(&target, parameter).len(), 1, "{}", target);
            }
            let value = values(&target, "name").concat();
            let decoded: Vec<u8> = percent_encoding::percent_decode_str(&value).collect();
            prop_assert_eq!(decoded, name);
        }

        #[test]
        fn any_target_is_one_that_http_takes(args in prop::collection::vec(any::<u8>(), 0..60)) {
            let target = target(Call::Play, &["http://s/a", "args=$args"], &args);
            prop_assert!(target.bytes().all(|byte| byte.is_ascii_graphic()));
            prop_assert!(!target.contains('#'));
            prop_assert!(http::Uri::try_from(target.as_str()).is_ok(), "{}", target);
        }
    }
}
