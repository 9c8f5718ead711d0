//! What an HTTP server is told of clients and streams, and asked about them: the lines `oclp_*`.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroU16;
use std::rc::Rc;

use http::uri::{Authority, Uri};
use live::Kind;

use super::directive::{any, flag, setting, Directive, A, M, MSA, ONE, S, SOME};
use super::parse::Parse;
use super::scope::{settings, Scope};
use super::value::{self, Args, ConfError, Msec};
use crate::variables::Template;

settings! {
    /// What an HTTP server is told of clients and streams, and asked about them. The lines hold for
    /// the application they stand in, or for the worker, and are not inherited.
    pub struct OclpConf, OclpScope {
        /// When a worker starts.
        pub proc: Option<Rc<Callback>>,
        /// When a client wants to play.
        pub play: Option<Rc<Callback>>,
        /// When a client wants to publish.
        pub publish: Option<Rc<Callback>>,
        /// When a stream has its first client.
        pub stream: Option<Rc<Callback>>,
        /// When a stream is played that nobody publishes here.
        pub pull: Option<Rc<Callback>>,
        /// When a stream is published.
        pub push: Vec<Rc<Callback>>,
        /// When the sequence headers of a published stream are known.
        pub meta: Vec<Rc<Callback>>,
        /// Whether `meta` fires only at the first of them.
        pub meta_once: bool,
        /// The sequence headers at which `meta` fires.
        pub meta_type: MetaType,
        /// What no answer means to a client that waits for one.
        pub fail: Fail,
    }
}

/// One line: an event, and where to go with it.
#[derive(Debug)]
pub struct Callback {
    /// The event.
    pub call: Call,
    /// What tells this line from the others of its application: a hash of its words, and of how many
    /// lines with the same words stand before it. A line that a reload leaves as it is keeps its id.
    pub id: u64,
    /// A hash of its words.
    words: u64,
    /// Whom to ask.
    pub url: Url,
    /// Goes behind the parameters of the event.
    pub args: Option<Template>,
    /// Tells the lines of a push apart.
    pub groupid: Option<Vec<u8>>,
    /// Whether it is told again while it goes on.
    pub updates: bool,
    /// Whether its end is told.
    pub done: bool,
    /// How long an answer may take, from the name of the host to the end of the header.
    pub timeout: Msec,
    /// The time from an answer to the next update.
    pub update: Msec,
}

/// Events, as `call=` names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    Proc,
    Play,
    Publish,
    Stream,
    Pull,
    Push,
    Meta,
}

impl Call {
    /// As requests name it.
    pub fn name(self) -> &'static str {
        match self {
            Call::Proc => "init_process",
            Call::Play => "play",
            Call::Publish => "publish",
            Call::Stream => "stream",
            Call::Pull => "pull",
            Call::Push => "push",
            Call::Meta => "meta",
        }
    }
}

/// An `http://` url, split once.
#[derive(Debug, Clone)]
pub struct Url {
    /// Host and port as they are written: the `Host` header.
    pub authority: Authority,
    /// The path, and the query if there is one, as they are written.
    pub target: String,
}

impl Url {
    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or(HTTP_PORT)
    }
}

/// The sequence headers at which `oclp_meta` fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MetaType {
    #[default]
    Video,
    Audio,
    Both,
}

impl MetaType {
    /// Whether it fires at headers of this kind.
    pub fn is(self, kind: Kind) -> bool {
        match self {
            MetaType::Video => kind == Kind::Video,
            MetaType::Audio => kind == Kind::Audio,
            MetaType::Both => true,
        }
    }
}

/// What no answer means to a client that waits for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fail {
    /// It is let in.
    #[default]
    Open,
    /// It is refused.
    Closed,
}

/// The port of an url that names none (RFC 9110 4.2.1).
const HTTP_PORT: u16 = 80;
/// Lines that may push a stream from one application (the document).
const MAX_PUSHES: usize = 8;
/// How long an answer may take (the document).
const TIMEOUT: Msec = 3_000;
/// The time between updates (the document).
const UPDATE: Msec = 60_000;

/// The directives.
pub const DIRECTIVES: &[Directive] = &[
    setting(c"oclp_proc", M, None, SOME, |s, args| {
        one(&mut s.of::<OclpScope>().proc, Call::Proc, args)
    }),
    setting(c"oclp_play", A, None, SOME, |s, args| {
        one(&mut s.of::<OclpScope>().play, Call::Play, args)
    }),
    setting(c"oclp_publish", A, None, SOME, |s, args| {
        one(&mut s.of::<OclpScope>().publish, Call::Publish, args)
    }),
    setting(c"oclp_stream", A, None, SOME, |s, args| {
        one(&mut s.of::<OclpScope>().stream, Call::Stream, args)
    }),
    setting(c"oclp_pull", A, None, SOME, |s, args| {
        one(&mut s.of::<OclpScope>().pull, Call::Pull, args)
    }),
    any(c"oclp_push", A, None, SOME, |parse, args| {
        several(parse, |scope| &mut scope.of::<OclpScope>().push, Call::Push, args)
    }),
    any(c"oclp_meta", A, None, SOME, |parse, args| {
        several(parse, |scope| &mut scope.of::<OclpScope>().meta, Call::Meta, args)
    }),
    flag(c"oclp_meta_once", MSA, "on", |s| &mut s.of::<OclpScope>().meta_once),
    setting(c"oclp_meta_type", MSA, Some("video"), ONE, |scope, args| {
        let types =
            [("video", MetaType::Video), ("audio", MetaType::Audio), ("both", MetaType::Both)];
        value::once(&mut scope.of::<OclpScope>().meta_type, value::choice(args.first(), &types)?)
    }),
    setting(c"oclp_fail", MSA, Some("open"), ONE, |scope, args| {
        let fails = [("open", Fail::Open), ("closed", Fail::Closed)];
        value::once(&mut scope.of::<OclpScope>().fail, value::choice(args.first(), &fails)?)
    }),
    any(c"oclp_connect", S, None, SOME, |parse, _| {
        parse.cf.warn(
            "\"oclp_connect\" has no effect, as in the module it comes from: \
             use \"oclp_publish\" and \"oclp_play\"",
        );
        Ok(())
    }),
    setting(c"oclp_record", A, None, SOME, |_, _| {
        Err(ConfError::other(
            "\"oclp_record\" is not supported, since nothing is recorded here: \
             let a recorder play the stream, or use \"oclp_stream\" to be told of it",
        ))
    }),
];

fn one(
    slot: &mut Option<Option<Rc<Callback>>>,
    call: Call,
    args: &Args<'_>,
) -> Result<(), ConfError> {
    value::once(slot, Some(Rc::new(Callback::read(call, args)?)))
}

fn several(
    parse: &mut Parse,
    slot: fn(&mut Scope) -> &mut Option<Vec<Rc<Callback>>>,
    call: Call,
    args: &Args<'_>,
) -> Result<(), ConfError> {
    let lines = slot(parse.scope()).get_or_insert_default();
    if lines.len() == MAX_PUSHES {
        let name = args.name;
        return Err(ConfError::other(format!(
            "too many \"{name}\" directives, an application may have {MAX_PUSHES}"
        )));
    }
    let mut line = Callback::read(call, args)?;
    let twins = lines.iter().filter(|other| other.words == line.words).count();
    line.id = id_of(line.words, twins);
    lines.push(Rc::new(line));
    let first = lines.len() == 1;
    let oclp = parse.scope().of::<OclpScope>();
    if first && oclp.push.is_some() && oclp.meta.is_some() {
        parse.cf.warn("\"oclp_meta\" is ignored in an application that has \"oclp_push\"");
    }
    Ok(())
}

impl Callback {
    /// Reads the words of a line; they may stand in any order.
    fn read(call: Call, words: &Args<'_>) -> Result<Self, ConfError> {
        let (mut url, mut args, mut groupid) = (None, None, None);
        let (mut stages, mut timeout, mut update) = (None, None, None);
        for &word in words.values() {
            match value::parameter(word) {
                (b"args", Some(text)) => once(&mut args, word, Template::compile(text)?)?,
                (b"timeout", Some(time)) => {
                    once(&mut timeout, word, positive(time, TIMEOUT)?)?;
                }
                (b"update", Some(time)) => once(&mut update, word, positive(time, UPDATE)?)?,
                (b"groupid", Some(id)) => once(&mut groupid, word, id.to_vec())?,
                (b"stage", Some(list)) => once(&mut stages, word, Stages::read(list)?)?,
                // of an older version of the module; attempts are repeated by the rules of relays
                (b"retries", Some(_)) => (),
                _ => once(&mut url, word, read_url(word)?)?,
            }
        }
        let Some(url) = url else {
            let name = words.name;
            return Err(ConfError::other(format!("\"{name}\" directive needs an http:// url")));
        };
        let stages = stages.unwrap_or_default();
        if call == Call::Proc && (stages.update || stages.done) {
            return Err(ConfError::other("a worker's start has no other stage than \"start\""));
        }
        let words = hash(&(call, words.values()));
        Ok(Callback {
            call,
            id: id_of(words, 0),
            words,
            url,
            args,
            groupid,
            updates: stages.update,
            done: stages.done,
            timeout: timeout.unwrap_or(TIMEOUT),
            update: update.unwrap_or(UPDATE),
        })
    }
}

#[cfg(test)]
impl Callback {
    /// The line that has these words behind its name.
    pub fn of_words(call: Call, words: &[&str]) -> Self {
        let words = words.iter().map(|word| word.as_bytes()).collect();
        Callback::read(call, &Args::new("oclp", words)).expect("a line")
    }
}

fn id_of(words: u64, twins: usize) -> u64 {
    hash(&(words, twins))
}

/// The same in every process: its keys are fixed.
fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Sets a parameter that may stand once in a line.
fn once<T>(slot: &mut Option<T>, word: &[u8], value: T) -> Result<(), ConfError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(ConfError::other(format!("duplicate parameter \"{}\"", value::text(word)))),
    }
}

/// A time; zero stands for the default.
fn positive(word: &[u8], default: Msec) -> Result<Msec, ConfError> {
    Ok(match value::time(word)? {
        0 => default,
        time => time,
    })
}

/// `stage=`: `start` is always in it.
#[derive(Default)]
struct Stages {
    update: bool,
    done: bool,
}

impl Stages {
    fn read(list: &[u8]) -> Result<Self, ConfError> {
        let mut stages = Stages::default();
        for stage in list.split(|byte| *byte == b',') {
            match stage {
                b"start" => (),
                b"update" => stages.update = true,
                b"done" => stages.done = true,
                _ => {
                    return Err(ConfError::other(format!(
                        "unknown stage \"{}\", it must be \"start\", \"update\" or \"done\"",
                        value::text(stage)
                    )))
                }
            }
        }
        Ok(stages)
    }
}

fn read_url(word: &[u8]) -> Result<Url, ConfError> {
    let invalid = || ConfError::invalid(word, "an http:// url, or a parameter it takes");
    let uri = Uri::try_from(word).map_err(|_| invalid())?;
    let (Some("http"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(invalid());
    };
    // what is neither host nor port, such as a user, has no meaning here
    let port = authority.as_str().strip_prefix(authority.host()).ok_or_else(invalid)?;
    let port_is_number = || port.strip_prefix(':').is_some_and(|n| n.parse::<NonZeroU16>().is_ok());
    if authority.host().is_empty() || !(port.is_empty() || port_is_number()) {
        return Err(invalid());
    }
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    Ok(Url { authority: authority.clone(), target })
}
