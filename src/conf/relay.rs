//! How streams are relayed from and to other servers.

use std::rc::Rc;

use rtmp_protocol::url::{Scheme, StreamUrl, UrlError};

use super::directive::{accepted, any, setting, time, Directive, A, MSA, ONE, SOME};
use super::parse::Parse;
use super::scope::settings;
use super::value::{self, Args, ConfError, Msec};
use crate::variables::Template;

settings! {
    /// How streams are relayed from and to other servers.
    pub struct RelayConf, RelayScope {
        /// Where every stream that is published goes.
        pub push: Vec<Rc<RelayLine>>,
        /// Where a stream comes from that is played and not published.
        pub pull: Option<Rc<RelayLine>>,
        /// How long a pull goes on without players.
        pub pull_linger: Msec,
        /// Which redirects of HTTP-FLV origins are followed.
        pub relay_redirects: Redirects,
        /// The buffer length that an origin is told.
        pub relay_buffer: Msec,
        /// The delay after the first failure of a relay.
        pub failed_reconnect: Msec,
        /// The longest delay between two attempts.
        pub relay_reconnect: Msec,
        /// The longest that an attempt may take, from the host's name to the first status.
        pub relay_timeout: Msec,
        /// The longest that a pull with a spare url goes on without media.
        pub relay_idle_timeout: Msec,
        /// `relay_reconnect` for pushes only.
        pub push_reconnect: Option<Msec>,
        /// The same for pulls only.
        pub pull_reconnect: Option<Msec>,
    }
}

/// Which redirects of HTTP-FLV origins are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Redirects {
    /// To any host.
    Any,
    /// To the host and port that was asked.
    #[default]
    SameHost,
    /// None.
    Off,
}

/// One line `push` or `pull`. What it leaves out is taken from the url, else from the client.
#[derive(Debug, Default)]
pub struct RelayLine {
    /// The server, and those to try when it fails; never empty.
    pub urls: Vec<RelayUrl>,
    /// The host that the other server is told in tcUrl or `Host`.
    pub domain: Option<Template>,
    /// The application there.
    pub app: Option<Template>,
    /// The stream's name there.
    pub name: Option<Template>,
    /// The query behind that name.
    pub args: Option<Template>,
    /// tcUrl as a whole.
    pub tc_url: Option<Template>,
    /// pageUrl, or `Referer`.
    pub page_url: Option<Template>,
    /// swfUrl.
    pub swf_url: Option<Template>,
    /// flashVer, or `User-Agent`.
    pub flash_ver: Option<Template>,
    /// Pulls the stream of this name as long as nginx runs.
    pub keep: Option<Vec<u8>>,
}

/// An url of a relay.
#[derive(Debug)]
pub struct RelayUrl {
    /// What it begins with.
    pub scheme: Scheme,
    /// What stands behind `://`.
    pub rest: Template,
}

impl RelayUrl {
    /// Whether clients have a say in which host it names.
    pub fn host_varies(&self) -> bool {
        let host = self.rest.leading_text();
        self.rest.constant().is_none() && !host.iter().any(|byte| b"/?".contains(byte))
    }
}

/// The directives.
pub const DIRECTIVES: &[Directive] = &[
    setting(c"push", A, None, SOME, |scope, args| {
        let line = RelayLine::read(args)?;
        scope.of::<RelayScope>().push.get_or_insert_default().push(Rc::new(line));
        Ok(())
    }),
    any(c"pull", A, None, SOME, |parse, args| {
        let line = RelayLine::read(args)?;
        if line.keep.is_some() && any_application(parse) {
            return Err(ConfError::other(
                "a static \"pull\" must stand in an application that has a name",
            ));
        }
        value::once(&mut parse.scope().of::<RelayScope>().pull, Some(Rc::new(line)))
    }),
    time(c"pull_linger", MSA, "0s", |s| &mut s.of::<RelayScope>().pull_linger),
    setting(c"relay_redirects", MSA, Some("same_host"), ONE, |scope, args| {
        let words =
            [("any", Redirects::Any), ("same_host", Redirects::SameHost), ("off", Redirects::Off)];
        value::once(
            &mut scope.of::<RelayScope>().relay_redirects,
            value::choice(args.first(), &words)?,
        )
    }),
    time(c"relay_buffer", MSA, "5s", |s| &mut s.of::<RelayScope>().relay_buffer),
    setting(c"failed_reconnect", MSA, Some("50ms"), ONE, |scope, args| {
        value::once(&mut scope.of::<RelayScope>().failed_reconnect, delay(args)?)
    }),
    setting(c"relay_reconnect", MSA, Some("3s"), ONE, |scope, args| {
        value::once(&mut scope.of::<RelayScope>().relay_reconnect, delay(args)?)
    }),
    setting(c"relay_timeout", MSA, Some("10s"), ONE, |scope, args| {
        value::once(&mut scope.of::<RelayScope>().relay_timeout, delay(args)?)
    }),
    time(c"relay_idle_timeout", MSA, "10s", |s| &mut s.of::<RelayScope>().relay_idle_timeout),
    setting(c"push_reconnect", MSA, None, ONE, |scope, args| {
        value::once(&mut scope.of::<RelayScope>().push_reconnect, Some(delay(args)?))
    }),
    setting(c"pull_reconnect", MSA, None, ONE, |scope, args| {
        value::once(&mut scope.of::<RelayScope>().pull_reconnect, Some(delay(args)?))
    }),
    // in arut's module it ties a relay to the session that caused it; here it ends with the stream
    accepted(c"session_relay", MSA, "off", |word| value::flag(word).map(drop)),
];

/// A time that is not zero: without a delay a target that refuses would be asked without end, and
/// without time no attempt succeeds.
fn delay(args: &Args<'_>) -> Result<Msec, ConfError> {
    match value::time(args.first())? {
        0 => Err(ConfError::invalid(args.first(), "a time longer than 0")),
        delay => Ok(delay),
    }
}

fn any_application(parse: &mut Parse) -> bool {
    parse.application().is_none_or(|name| name == b"*")
}

/// What may stand in a line, for messages.
const PUSH_WORDS: &str = "an rtmp:// url, or one of \"domain=\", \"app=\", \"name=\", \"pargs=\", \
    \"tc_url=\", \"page_url=\", \"swf_url=\", \"flash_ver=\", \"referer=\" and \"user_agent=\"";
const PULL_WORDS: &str = "an rtmp:// or http:// url, \"static\", or one of \"domain=\", \"app=\", \
    \"name=\", \"pargs=\", \"tc_url=\", \"page_url=\", \"swf_url=\", \"flash_ver=\", \"referer=\" \
    and \"user_agent=\"";

impl RelayLine {
    /// Reads the words of a line. Those of arut's module (`tcUrl=`, `playPath=`, …) are understood
    /// too; `live`, `start=` and `stop=`, which only recordings need, have no effect.
    fn read(args: &Args<'_>) -> Result<Self, ConfError> {
        let pull = args.name == "pull";
        let allowed = if pull { PULL_WORDS } else { PUSH_WORDS };
        let mut line = RelayLine::default();
        let (mut play_path, mut keep) = (None, false);
        for &word in args.values() {
            let key_value = split_parameter(word);
            let slot = match key_value {
                Some((key, value)) => match key.as_slice() {
                    b"domain" => Some((&mut line.domain, value)),
                    b"app" => Some((&mut line.app, value)),
                    b"name" => Some((&mut line.name, value)),
                    b"playpath" => Some((&mut play_path, value)),
                    b"pargs" => Some((&mut line.args, value)),
                    b"tcurl" => Some((&mut line.tc_url, value)),
                    b"pageurl" | b"referer" => Some((&mut line.page_url, value)),
                    b"swfurl" => Some((&mut line.swf_url, value)),
                    b"flashver" | b"useragent" => Some((&mut line.flash_ver, value)),
                    b"live" | b"start" | b"stop" => continue,
                    _ => return Err(ConfError::invalid(word, allowed)),
                },
                None if word == b"static" && pull => {
                    keep = true;
                    continue;
                }
                None if word == b"live" => continue,
                None => None,
            };
            match slot {
                Some((slot @ None, value)) => *slot = Some(Template::compile(value)?),
                Some((Some(_), _)) => {
                    let word = value::text(word);
                    return Err(ConfError::other(format!("duplicate parameter \"{word}\"")));
                }
                None => {
                    let url = read_url(word, pull, line.urls.is_empty(), allowed)?;
                    line.urls.push(url);
                }
            }
        }
        if line.urls.is_empty() {
            let name = args.name;
            return Err(ConfError::other(format!("\"{name}\" directive needs an url")));
        }
        if keep {
            line.keep_up(play_path)?;
        } else if play_path.is_some() {
            line.name = play_path;
        }
        Ok(line)
    }

    /// `static`: `name=` names the stream here, and there if neither the url nor `playPath=` does.
    fn keep_up(&mut self, play_path: Option<Template>) -> Result<(), ConfError> {
        let name = self.name.as_ref().and_then(Template::constant).filter(|name| !name.is_empty());
        let Some(name) = name.map(<[u8]>::to_vec) else {
            return Err(ConfError::other(
                "a static \"pull\" needs \"name=\", the name of the stream, without variables",
            ));
        };
        let named = |url: &RelayUrl| match url.rest.constant() {
            Some(rest) => StreamUrl::split(url.scheme, rest).is_ok_and(|url| url.name.is_some()),
            None => true,
        };
        self.keep = Some(name);
        if play_path.is_some() || self.urls.iter().any(named) {
            self.name = play_path;
        }
        Ok(())
    }
}

/// Splits `key=value`; the key in lower case and without underscores, so that each is one word for
/// `tc_url` and `tcUrl`. `None` for an url, whose query may hold such signs too.
fn split_parameter(word: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (key, Some(value)) = value::parameter(word) else { return None };
    if !key.iter().all(|byte| byte.is_ascii_alphabetic() || *byte == b'_') {
        return None;
    }
    let key = key.iter().filter(|byte| **byte != b'_').map(u8::to_ascii_lowercase).collect();
    Some((key, value))
}

fn read_url(word: &[u8], pull: bool, first: bool, allowed: &str) -> Result<RelayUrl, ConfError> {
    let (scheme, rest) = match Scheme::of(word) {
        Some((Scheme::Http, _)) if !pull => {
            return Err(ConfError::invalid(word, "an rtmp:// url: HTTP-FLV is only pulled"))
        }
        Some(split) => split,
        // as in arut's module
        None if first && !word.windows(3).any(|part| part == b"://") => (Scheme::Rtmp, word),
        None => return Err(ConfError::invalid(word, allowed)),
    };
    let rest = Template::compile(rest)?;
    match rest.constant() {
        Some(constant) => match StreamUrl::split(scheme, constant) {
            Ok(_) => Ok(RelayUrl { scheme, rest }),
            Err(UrlError::Control) => {
                Err(ConfError::invalid(word, format!("{allowed}, without control bytes")))
            }
            Err(_) => {
                Err(ConfError::invalid(word, format!("{allowed}, with a host and a valid port")))
            }
        },
        None => Ok(RelayUrl { scheme, rest }),
    }
}
