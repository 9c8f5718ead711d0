//! `access_log` and `log_format`.

use std::collections::HashMap;
use std::rc::Rc;

use super::directive::{any, Directive, MSA, ONE_OR_TWO, TWO_OR_MORE};
use super::parse::Parse;
use super::scope::Settings;
use super::value::{self, Args, ConfError};
use crate::nginx::file::LogFile;
use crate::variables::Template;

/// The directives.
pub const DIRECTIVES: &[Directive] = &[
    any(c"access_log", MSA, None, ONE_OR_TWO, access_log),
    any(c"log_format", MSA, None, TWO_OR_MORE, log_format),
];

/// The format of an `access_log` that names none: that of the older modules, but for the client's
/// arguments, which may hold a secret.
const COMBINED: &[u8] = b"$remote_addr [$time_local] $command \"$app\" \"$name\" \"-\" - \
    $bytes_received $bytes_sent \"$page_url\" \"$flashver\" ($session_readable_time)";

/// A file to which sessions are logged, and in which format.
#[derive(Clone)]
pub struct LogTarget {
    /// The file.
    pub file: LogFile,
    /// The line.
    pub format: Rc<LogFormat>,
}

/// A `log_format`.
pub struct LogFormat {
    /// The line, without its end.
    pub line: Template,
    /// How values are written.
    pub escape: Escape,
}

/// The named log formats.
#[derive(Default)]
pub struct LogFormats(HashMap<Vec<u8>, Rc<LogFormat>>);

impl Settings for LogFormats {}

/// How a value is written into a line, so that no client can forge one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escape {
    /// Quotes, backslashes, control characters and those above 126 as `\xXX`; `-` for none.
    Default,
    /// As in a JSON string.
    Json,
    /// As it is.
    None,
}

/// What a block says of logging.
#[derive(Default)]
pub struct LogScope {
    // Some, but empty: `access_log off`
    targets: Option<Vec<LogTarget>>,
}

impl Settings for LogScope {
    /// The enclosing block's logs hold where none is named.
    fn inherit(&mut self, outer: &Self) {
        if self.targets.is_none() {
            self.targets.clone_from(&outer.targets);
        }
    }
}

impl LogScope {
    /// The logs as they are written.
    pub fn resolve(&self) -> Vec<LogTarget> {
        self.targets.clone().unwrap_or_default()
    }
}

/// `access_log path [format]` or `access_log off`
fn access_log(parse: &mut Parse, args: &Args<'_>) -> Result<(), ConfError> {
    let name = match (args.first(), args.rest()) {
        (b"off", []) => {
            return match parse.scope().of::<LogScope>().targets {
                Some(_) => Err(ConfError::Duplicate),
                None => {
                    parse.scope().of::<LogScope>().targets = Some(Vec::new());
                    Ok(())
                }
            };
        }
        (b"off", [word, ..]) => return Err(ConfError::invalid(word, "left out after \"off\"")),
        (_, [name]) => *name,
        _ => b"combined",
    };
    let format = match (parse.shared::<LogFormats>().0.get(name), name) {
        (Some(format), _) => format.clone(),
        (None, b"combined") => Rc::new(LogFormat::new(COMBINED, Escape::Default)?),
        (None, name) => {
            return Err(ConfError::other(format!("unknown log format \"{}\"", value::text(name))))
        }
    };
    let path = args.first();
    if path.starts_with(b"syslog:") || path.contains(&b'$') {
        return Err(ConfError::invalid(path, "\"off\" or the path of a file, without variables"));
    }
    let file = parse.cf.open_log(path)?;
    let targets = &mut parse.scope().of::<LogScope>().targets;
    if targets.as_ref().is_some_and(Vec::is_empty) {
        return Err(ConfError::Duplicate);
    }
    targets.get_or_insert_default().push(LogTarget { file, format });
    Ok(())
}

/// `log_format name [escape=default|json|none] string ...`
fn log_format(parse: &mut Parse, args: &Args<'_>) -> Result<(), ConfError> {
    let name = args.first();
    let (escape, strings) = match args.rest() {
        [first, strings @ ..] => match first.strip_prefix(b"escape=") {
            Some(word) => (escape(word)?, strings),
            None => (Escape::Default, args.rest()),
        },
        [] => return Err(ConfError::Logged),
    };
    if strings.is_empty() {
        return Err(ConfError::other("\"log_format\" needs a text"));
    }
    let format = Rc::new(LogFormat::new(&strings.concat(), escape)?);
    match parse.shared::<LogFormats>().0.insert(name.to_vec(), format) {
        None => Ok(()),
        Some(_) => {
            let name = value::text(name);
            Err(ConfError::other(format!("duplicate \"log_format\" name \"{name}\"")))
        }
    }
}

fn escape(word: &[u8]) -> Result<Escape, ConfError> {
    let names = [("default", Escape::Default), ("json", Escape::Json), ("none", Escape::None)];
    value::choice(word, &names)
}

impl LogFormat {
    fn new(line: &[u8], escape: Escape) -> Result<Self, ConfError> {
        Ok(LogFormat { line: Template::compile(line)?, escape })
    }
}
