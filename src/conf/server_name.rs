//! `server_name`: which server of an address a domain belongs to.

use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;

use super::directive::{any, Directive, S, SOME};
use super::parse::Parse;
use super::scope::Settings;
use super::value::{self, Args, ConfError};
use crate::nginx::parser::{Cf, Regex};

/// The directive.
pub const DIRECTIVES: &[Directive] = &[any(c"server_name", S, None, SOME, server_name)];

/// One name of a server, in lower case.
#[derive(Clone)]
pub enum ServerName {
    /// `www.example.com`; the empty name is a client that names no domain.
    Exact(Vec<u8>),
    /// `*.example.com`, without the asterisk and dot.
    Subdomains(Vec<u8>),
    /// `.example.com`: the name and its subdomains.
    AndSubdomains(Vec<u8>),
    /// `www.*`, without the dot and asterisk.
    AnyEnding(Vec<u8>),
    /// `~pattern`, as it is written.
    Pattern(Vec<u8>, Rc<Regex>),
}

/// The names of a server, in the order of the file.
#[derive(Default)]
pub struct ServerNames(pub Vec<ServerName>);

impl Settings for ServerNames {}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerName::Exact(name) => f.write_str(&value::text(name)),
            ServerName::Subdomains(name) => write!(f, "*.{}", value::text(name)),
            ServerName::AndSubdomains(name) => write!(f, ".{}", value::text(name)),
            ServerName::AnyEnding(name) => write!(f, "{}.*", value::text(name)),
            ServerName::Pattern(pattern, _) => write!(f, "~{}", value::text(pattern)),
        }
    }
}

fn server_name(parse: &mut Parse, args: &Args<'_>) -> Result<(), ConfError> {
    for name in args.values() {
        let name = parse_name(&parse.cf, name)?;
        parse.server()?.own::<ServerNames>().0.push(name);
    }
    Ok(())
}

fn parse_name(cf: &Cf, word: &[u8]) -> Result<ServerName, ConfError> {
    let invalid = || {
        let word = value::text(word);
        ConfError::other(format!("server name \"{word}\" is invalid"))
    };
    if let Some(pattern) = word.strip_prefix(b"~") {
        if pattern.is_empty() {
            return Err(ConfError::other("empty regex in server name \"~\""));
        }
        return Ok(ServerName::Pattern(pattern.to_vec(), Rc::new(cf.regex(pattern)?)));
    }
    if word.eq_ignore_ascii_case(b"$hostname") {
        return Ok(ServerName::Exact(cf.hostname()));
    }
    if word.contains(&b'/') {
        let name = value::text(word);
        cf.warn(&format!("server name \"{name}\" has suspicious symbols"));
    }
    let name = word.to_ascii_lowercase();
    type Form = fn(Vec<u8>) -> ServerName;
    let (form, name): (Form, &[u8]) = match name.as_slice() {
        [b'*', b'.', rest @ ..] if !rest.is_empty() => (ServerName::Subdomains, rest),
        [b'.', rest @ ..] if !rest.is_empty() => (ServerName::AndSubdomains, rest),
        [rest @ .., b'.', b'*'] if !rest.is_empty() => (ServerName::AnyEnding, rest),
        name => (ServerName::Exact, name),
    };
    if name.contains(&b'*') || name.starts_with(b".") || name.windows(2).any(|two| two == b"..") {
        return Err(invalid());
    }
    Ok(form(name.to_vec()))
}

/// The names of one address, each leading to a server.
pub struct Names<T> {
    exact: HashMap<Vec<u8>, T>,
    subdomains: HashMap<Vec<u8>, T>,
    any_ending: HashMap<Vec<u8>, T>,
    patterns: Vec<(Rc<Regex>, T)>,
}

impl<T: Clone> Names<T> {
    /// No names.
    pub fn new() -> Self {
        Names {
            exact: HashMap::new(),
            subdomains: HashMap::new(),
            any_ending: HashMap::new(),
            patterns: Vec::new(),
        }
    }

    /// Lets `name` lead to `server`. `false` if it already leads to another one, which stays.
    pub fn add(&mut self, name: &ServerName, server: T) -> bool {
        match name {
            ServerName::Exact(name) => insert(&mut self.exact, name, server),
            ServerName::Subdomains(name) => insert(&mut self.subdomains, name, server),
            ServerName::AndSubdomains(name) => {
                let exact = insert(&mut self.exact, name, server.clone());
                insert(&mut self.subdomains, name, server) && exact
            }
            ServerName::AnyEnding(name) => insert(&mut self.any_ending, name, server),
            ServerName::Pattern(_, regex) => {
                self.patterns.push((regex.clone(), server));
                true
            }
        }
    }

    /// The server for a domain in lower case: the exact name, else the longest one with an
    /// asterisk in front, else the longest with one at its end, else the first pattern that
    /// matches.
    pub fn find(&self, domain: &[u8]) -> Option<T> {
        let dots = || domain.iter().enumerate().filter(|(_, byte)| **byte == b'.').map(|(i, _)| i);
        let subdomains = || dots().find_map(|dot| self.subdomains.get(domain.get(dot + 1..)?));
        let any_ending = || {
            let mut dots: Vec<_> = dots().collect();
            dots.reverse();
            dots.into_iter().find_map(|dot| self.any_ending.get(domain.get(..dot)?))
        };
        let pattern = || {
            self.patterns.iter().find(|(regex, _)| regex.is_match(domain)).map(|(_, server)| server)
        };
        let exact = self.exact.get(domain);
        exact.or_else(subdomains).or_else(any_ending).or_else(pattern).cloned()
    }
}

fn insert<T>(names: &mut HashMap<Vec<u8>, T>, name: &[u8], server: T) -> bool {
    let free = !names.contains_key(name);
    if free {
        names.insert(name.to_vec(), server);
    }
    free
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[(&'static str, ServerName)]) -> Names<&'static str> {
        let mut names = Names::new();
        for (server, name) in list {
            assert!(names.add(name, *server));
        }
        names
    }

    fn exact(name: &str) -> ServerName {
        ServerName::Exact(name.into())
    }

    fn subdomains(name: &str) -> ServerName {
        ServerName::Subdomains(name.into())
    }

    #[test]
    fn an_exact_name_goes_before_any_other() {
        let names = names(&[("any", subdomains("a.com")), ("exact", exact("x.a.com"))]);
        assert_eq!(names.find(b"x.a.com"), Some("exact"));
        assert_eq!(names.find(b"y.a.com"), Some("any"));
    }

    #[test]
    fn the_longest_name_with_an_asterisk_wins() {
        let names = names(&[("short", subdomains("com")), ("long", subdomains("a.com"))]);
        assert_eq!(names.find(b"x.y.a.com"), Some("long"));
        assert_eq!(names.find(b"a.com"), Some("short"));
        assert_eq!(names.find(b"com"), None);
    }

    #[test]
    fn an_asterisk_in_front_goes_before_one_at_the_end() {
        let end = ServerName::AnyEnding("www".into());
        let names = names(&[("end", end), ("front", subdomains("a.com"))]);
        assert_eq!(names.find(b"www.a.com"), Some("front"));
        assert_eq!(names.find(b"www.a.org"), Some("end"));
        assert_eq!(names.find(b"www"), None);
    }

    #[test]
    fn a_dot_in_front_is_the_name_and_its_subdomains() {
        let names = names(&[("both", ServerName::AndSubdomains("a.com".into()))]);
        assert_eq!(names.find(b"a.com"), Some("both"));
        assert_eq!(names.find(b"x.a.com"), Some("both"));
        assert_eq!(names.find(b"xa.com"), None);
    }

    #[test]
    fn the_first_server_of_a_name_keeps_it() {
        let mut names = names(&[("first", exact("a"))]);
        assert!(!names.add(&exact("a"), "second"));
        assert_eq!(names.find(b"a"), Some("first"));
    }

    #[test]
    fn a_name_is_shown_as_it_was_written() {
        let shown = [
            exact("a"),
            subdomains("a.b"),
            ServerName::AndSubdomains("a.b".into()),
            ServerName::AnyEnding("a".into()),
        ];
        let shown: Vec<_> = shown.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["a", "*.a.b", ".a.b", "a.*"]);
    }
}
