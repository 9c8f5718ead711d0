//! Variables of RTMP sessions, and texts that hold them: log formats, callback arguments, relay
//! parameters.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::{AsciiSet, CONTROLS};

use crate::nginx::process;

/// A variable that a session knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Var {
    /// The application that the client named in `connect`.
    App,
    /// The stream's name, without its arguments.
    Name,
    /// The arguments that follow the name in `publish` or `play`, without the question mark.
    Args,
    /// The host of the client's tcUrl, or its Host header.
    Domain,
    /// The client's address.
    RemoteAddr,
    /// The client's port.
    RemotePort,
    /// The address that the client connected to.
    ServerAddr,
    /// The port that the client connected to.
    ServerPort,
    /// The program that the client says it is.
    FlashVer,
    /// The player that the client says it is loaded from.
    SwfUrl,
    /// The url that the client connected with.
    TcUrl,
    /// The page that the client says it is in.
    PageUrl,
    /// `PUBLISH`, `PLAY` or `NONE`.
    Command,
    /// Bytes sent to the client.
    BytesSent,
    /// Bytes received from the client.
    BytesReceived,
    /// How long the session has lasted: [`seconds`].
    SessionTime,
    /// How long the session has lasted: [`readable`].
    SessionReadableTime,
    /// nginx's number of the connection.
    Connection,
    /// Why the session ended.
    FinalizeReason,
    /// The group of a relay.
    GroupId,
    /// `rtmp` or `http`.
    Scheme,
}

/// A variable that does not depend on a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ProcessVar {
    Hostname,
    Msec,
    NginxVersion,
    NgxWorker,
    Pid,
    TimeIso8601,
    TimeLocal,
}

/// The names that can stand after a dollar sign. Some have a second one, from the older modules.
const NAMES: &[(&str, Var)] = &[
    ("app", Var::App),
    ("args", Var::Args),
    ("bytes_received", Var::BytesReceived),
    ("bytes_sent", Var::BytesSent),
    ("command", Var::Command),
    ("connection", Var::Connection),
    ("domain", Var::Domain),
    ("finalize_reason", Var::FinalizeReason),
    ("flashver", Var::FlashVer),
    ("groupid", Var::GroupId),
    ("name", Var::Name),
    ("page_url", Var::PageUrl),
    ("pageurl", Var::PageUrl),
    ("pargs", Var::Args),
    ("remote_addr", Var::RemoteAddr),
    ("remote_port", Var::RemotePort),
    ("scheme", Var::Scheme),
    ("server_addr", Var::ServerAddr),
    ("server_port", Var::ServerPort),
    ("session_readable_time", Var::SessionReadableTime),
    ("session_time", Var::SessionTime),
    ("swf_url", Var::SwfUrl),
    ("swfurl", Var::SwfUrl),
    ("tc_url", Var::TcUrl),
    ("tcurl", Var::TcUrl),
];

const PROCESS_NAMES: &[(&str, ProcessVar)] = &[
    ("hostname", ProcessVar::Hostname),
    ("msec", ProcessVar::Msec),
    ("nginx_version", ProcessVar::NginxVersion),
    ("ngx_worker", ProcessVar::NgxWorker),
    ("pid", ProcessVar::Pid),
    ("time_iso8601", ProcessVar::TimeIso8601),
    ("time_local", ProcessVar::TimeLocal),
];

/// One argument out of [`Var::Args`].
const ARGUMENT_PREFIX: &str = "parg_";

/// A session, or what stands for one, as far as variables tell of it.
pub trait Vars {
    /// The value of `var`; empty if there is none.
    fn get(&self, var: &Var) -> Cow<'_, [u8]>;
}

/// Why a text is none with variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadVariable {
    /// There is no variable of this name.
    Unknown(String),
    /// The text has a variable without a name, or without its closing bracket.
    Unclosed(String),
}

impl fmt::Display for BadVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadVariable::Unknown(name) => write!(f, "unknown \"{name}\" variable"),
            BadVariable::Unclosed(text) => write!(
                f,
                "a variable in \"{text}\" has no name or no closing bracket, \
                 it must be \"${{name}}\""
            ),
        }
    }
}

impl std::error::Error for BadVariable {}

/// No session: every session variable is empty.
impl Vars for () {
    fn get(&self, _var: &Var) -> Cow<'_, [u8]> {
        b"".into()
    }
}

/// What is written as `%XX` in a text that is a query already: what would end the query, or the line of
/// the request.
pub const QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>');

/// What a part of a [`Template`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// The template's own text.
    Text,
    /// The value of a variable.
    Value,
    /// The same, which stood in a query and is encoded as such.
    Query,
}

/// A text with variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(Vec<u8>),
    Session(Var),
    Argument(Vec<u8>),
    Process(ProcessVar),
}

impl Template {
    /// Reads `text`, in which `$name` and `${name}` are variables. One that does not exist is an
    /// error; a dollar sign that no name follows stands for itself.
    pub fn compile(text: &[u8]) -> Result<Template, BadVariable> {
        let mut parts = Vec::new();
        let mut pieces = text.split(|byte| *byte == b'$');
        push_text(&mut parts, pieces.next().unwrap_or_default());
        for piece in pieces {
            let text_after = match split_name(piece) {
                Follows::Name(name, rest) => {
                    parts.push(variable(name)?);
                    rest
                }
                Follows::Text => {
                    push_text(&mut parts, b"$");
                    piece
                }
                Follows::Unclosed => {
                    return Err(BadVariable::Unclosed(String::from_utf8_lossy(text).into()));
                }
            };
            push_text(&mut parts, text_after);
        }
        Ok(Template(parts))
    }

    /// The text with the values of its variables.
    pub fn eval(&self, vars: &dyn Vars) -> Vec<u8> {
        self.eval_with(vars, |out, value| out.extend_from_slice(value))
    }

    /// The same, with each value written by `put`.
    pub fn eval_with(&self, vars: &dyn Vars, put: impl Fn(&mut Vec<u8>, &[u8])) -> Vec<u8> {
        self.eval_in(vars, |out, piece, text| match piece {
            Piece::Text => out.extend_from_slice(text),
            Piece::Value | Piece::Query => put(out, text),
        })
    }

    /// The same, with everything written by `put`, which is told what it is.
    pub fn eval_in(&self, vars: &dyn Vars, put: impl Fn(&mut Vec<u8>, Piece, &[u8])) -> Vec<u8> {
        let mut out = Vec::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => put(&mut out, Piece::Text, text),
                Part::Session(Var::Args) => put(&mut out, Piece::Query, &vars.get(&Var::Args)),
                Part::Session(var) => put(&mut out, Piece::Value, &vars.get(var)),
                Part::Argument(name) => {
                    put(&mut out, Piece::Query, argument(&vars.get(&Var::Args), name));
                }
                Part::Process(var) => put(&mut out, Piece::Value, &process_value(*var)),
            }
        }
        out
    }

    /// The text in front of the first variable.
    pub fn leading_text(&self) -> &[u8] {
        match self.0.first() {
            Some(Part::Text(text)) => text,
            _ => b"",
        }
    }

    /// The text itself, if no variable is in it.
    pub fn constant(&self) -> Option<&[u8]> {
        match self.0.as_slice() {
            [] => Some(b""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }
}

fn push_text(parts: &mut Vec<Part>, text: &[u8]) {
    match parts.last_mut() {
        Some(Part::Text(before)) => before.extend_from_slice(text),
        _ if text.is_empty() => (),
        _ => parts.push(Part::Text(text.to_vec())),
    }
}

/// What follows a dollar sign.
enum Follows<'a> {
    /// The name of a variable, and the text after it.
    Name(&'a [u8], &'a [u8]),
    /// No name, so the dollar sign is text, too.
    Text,
    /// A bracket that nothing closes, or nothing is in.
    Unclosed,
}

fn split_name(piece: &[u8]) -> Follows<'_> {
    if let Some(braced) = piece.strip_prefix(b"{") {
        let mut halves = braced.splitn(2, |byte| *byte == b'}');
        return match (halves.next(), halves.next()) {
            (Some(name), Some(rest)) if !name.is_empty() => Follows::Name(name, rest),
            _ => Follows::Unclosed,
        };
    }
    if !piece.first().is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_') {
        return Follows::Text;
    }
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let end = piece.iter().position(|byte| !is_name(byte)).unwrap_or(piece.len());
    let (name, rest) = piece.split_at(end);
    Follows::Name(name, rest)
}

fn variable(name: &[u8]) -> Result<Part, BadVariable> {
    fn find<T: Copy>(names: &[(&str, T)], name: &[u8]) -> Option<T> {
        names.iter().find(|(known, _)| known.as_bytes() == name).map(|(_, var)| *var)
    }
    let argument = name.strip_prefix(ARGUMENT_PREFIX.as_bytes()).filter(|name| !name.is_empty());
    if let Some(argument) = argument {
        return Ok(Part::Argument(argument.to_vec()));
    }
    find(NAMES, name)
        .map(Part::Session)
        .or_else(|| find(PROCESS_NAMES, name).map(Part::Process))
        .ok_or_else(|| BadVariable::Unknown(String::from_utf8_lossy(name).into()))
}

/// The value of the first argument `name` in a query such as `a=1&b=2`, as it stands there.
pub fn argument<'a>(args: &'a [u8], name: &[u8]) -> &'a [u8] {
    let value = |pair: &'a [u8]| pair.strip_prefix(name)?.strip_prefix(b"=");
    args.split(|byte| *byte == b'&').find_map(value).unwrap_or_default()
}

fn process_value(var: ProcessVar) -> Cow<'static, [u8]> {
    match var {
        ProcessVar::Hostname => process::hostname().into(),
        ProcessVar::Msec => {
            let (seconds, ms) = process::time_of_day();
            format!("{seconds}.{ms:03}").into_bytes().into()
        }
        ProcessVar::NginxVersion => process::nginx_version().to_bytes().into(),
        ProcessVar::NgxWorker => process::worker().to_string().into_bytes().into(),
        ProcessVar::Pid => std::process::id().to_string().into_bytes().into(),
        ProcessVar::TimeIso8601 => process::time_iso8601().into(),
        ProcessVar::TimeLocal => process::time_local().into(),
    }
}

/// `ms` in seconds, as [`Var::SessionTime`] tells them: `12.345`.
pub fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

/// `ms` for a human reader, as [`Var::SessionReadableTime`] tells them: `1d 2h 3m 4s`.
pub fn readable(ms: u64) -> String {
    let s = ms / 1000;
    let units = [(s / 86400, 'd'), (s / 3600 % 24, 'h'), (s / 60 % 60, 'm')];
    let mut text = String::new();
    for (n, unit) in units {
        if n > 0 || !text.is_empty() {
            text.push_str(&format!("{n}{unit} "));
        }
    }
    text + &format!("{}s", s % 60)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A client whose every value is the name of the variable.
    struct Named;

    impl Vars for Named {
        fn get(&self, var: &Var) -> Cow<'_, [u8]> {
            match var {
                Var::Args => b"a=1&key=x%2F&a=2".into(),
                var => format!("<{var:?}>").into_bytes().into(),
            }
        }
    }

    fn eval(text: &str) -> String {
        String::from_utf8(Template::compile(text.as_bytes()).unwrap().eval(&Named)).unwrap()
    }

    #[test]
    fn variables_stand_in_brackets_or_up_to_what_is_no_name() {
        assert_eq!(eval("a-$app/$name.flv"), "a-<App>/<Name>.flv");
        assert_eq!(eval("${app}_$domain"), "<App>_<Domain>");
        assert_eq!(eval("$app$name"), "<App><Name>");
    }

    #[test]
    fn a_dollar_sign_that_no_name_follows_is_text() {
        assert_eq!(eval("5$, $1, $$ and $"), "5$, $1, $$ and $");
    }

    #[test]
    fn a_variable_that_is_none_is_named() {
        let error = |text: &str| Template::compile(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(error("$app_"), "unknown \"app_\" variable");
        assert!(error("${app").starts_with("a variable in \"${app\" has no name"));
        assert!(error("a${}").contains("no closing bracket"));
        assert_eq!(error("$parg_"), "unknown \"parg_\" variable");
    }

    #[test]
    fn one_argument_is_that_of_the_first_of_its_name() {
        assert_eq!(eval("$parg_a,$parg_key,$parg_ke,$args"), "1,x%2F,,a=1&key=x%2F&a=2");
        assert_eq!(argument(b"ab=1&b=2", b"b"), b"2");
        assert_eq!(argument(b"", b""), b"");
    }

    #[test]
    fn a_value_is_told_from_text_and_a_query_from_both() {
        let template = Template::compile(b"t$app?$args").unwrap();
        let pieces = template.eval_in(&Named, |out, piece, text| {
            out.extend_from_slice(format!("{piece:?}:").as_bytes());
            out.extend_from_slice(text);
            out.push(b' ');
        });
        assert_eq!(pieces, b"Text:t Value:<App> Text:? Query:a=1&key=x%2F&a=2 ");
    }

    #[test]
    fn a_text_without_variables_is_constant() {
        let constant =
            |text: &[u8]| Template::compile(text).unwrap().constant().map(<[u8]>::to_vec);
        assert_eq!(constant(b"a$"), Some(b"a$".to_vec()));
        assert_eq!(constant(b""), Some(vec![]));
        assert_eq!(constant(b"a$app"), None);
        assert_eq!(Template::compile(b"host/$app").unwrap().leading_text(), b"host/");
    }

    #[test]
    fn times_are_readable() {
        assert_eq!([0, 999, 61_000, 3_600_000].map(readable), ["0s", "0s", "1m 1s", "1h 0m 0s"]);
        assert_eq!(readable(90_061_000), "1d 1h 1m 1s");
        assert_eq!([0, 12_345, 1_000].map(seconds), ["0.000", "12.345", "1.000"]);
    }

    proptest! {
        #[test]
        fn a_text_without_a_dollar_sign_stays_as_it_is(text in "[^$]{0,40}") {
            prop_assert_eq!(eval(&text), text);
        }

        #[test]
        fn any_text_is_one_or_is_refused(text in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = Template::compile(&text);
        }
    }
}
