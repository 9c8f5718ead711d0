//! How clients name streams, in RTMP's commands and in the paths of HTTP.

use std::fmt;
use std::rc::Rc;

use crate::conf::{Listen, ServerConf};

/// The longest application, stream name or host, in bytes: a path component of a file system.
pub const MAX_NAME: usize = 255;
/// The longest query behind a name, in bytes: signed tokens fit.
const MAX_ARGS: usize = 4096;

/// A name that a client gives, with the query behind it.
pub struct Name<'a> {
    pub name: &'a [u8],
    pub args: &'a [u8],
}

/// Why a name is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadName {
    /// It is longer than [`MAX_NAME`], or its query than a signed token.
    TooLong,
    /// It holds bytes that no url could carry.
    ControlBytes,
}

impl BadName {
    /// For the client and for the log.
    pub fn why(self) -> &'static str {
        match self {
            BadName::TooLong => "the name is too long",
            BadName::ControlBytes => "the name holds control bytes",
        }
    }
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.why())
    }
}

impl std::error::Error for BadName {}

impl<'a> Name<'a> {
    /// Splits `text` at the first `?`, and refuses what [`Name::new`] refuses.
    pub fn parse(text: &'a [u8]) -> Result<Self, BadName> {
        let mut parts = text.splitn(2, |&byte| byte == b'?');
        Name::new(parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
    }

    /// A name is an identity, so one that is too long, or holds control bytes that no url could
    /// carry, is refused, not shortened.
    pub fn new(name: &'a [u8], args: &'a [u8]) -> Result<Self, BadName> {
        if name.len() > MAX_NAME || args.len() > MAX_ARGS {
            return Err(BadName::TooLong);
        }
        if name.iter().chain(args).any(u8::is_ascii_control) {
            return Err(BadName::ControlBytes);
        }
        Ok(Name { name, args })
    }
}

/// What `find` finds of `path` at the server that `host` leads to, with that server and the domain
/// in lower case. Where it finds nothing and the host is an IPv4 address, the first segment of the
/// path is the domain (`rtmp://1.2.3.4/www.x.com/live`), if more follow.
pub fn find_by_domain<'a, T>(
    listen: &Listen,
    host: &[u8],
    path: &'a [u8],
    find: impl Fn(&ServerConf, &'a [u8]) -> Option<T>,
) -> (Rc<ServerConf>, Vec<u8>, Option<T>) {
    let domain = host.to_ascii_lowercase();
    let server = listen.server_for(&domain);
    let found = find(&server, path);
    if found.is_none() && is_ipv4(host) {
        let mut segments = path.splitn(2, |&byte| byte == b'/');
        if let (Some(first), Some(rest)) = (segments.next(), segments.next()) {
            let domain = first.to_ascii_lowercase();
            let server = listen.server_for(&domain);
            let found = find(&server, rest);
            return (server, domain, found);
        }
    }
    (server, domain, found)
}

/// The path of a stream: of what a client connects to, and what it asks for there.
pub fn join(app: &[u8], name: &[u8]) -> Vec<u8> {
    let app = app.strip_suffix(b"/").unwrap_or(app);
    match app.is_empty() {
        true => name.to_vec(),
        false => [app, b"/", name].concat(),
    }
}

fn is_ipv4(host: &[u8]) -> bool {
    std::str::from_utf8(host).is_ok_and(|host| host.parse::<std::net::Ipv4Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_ends_at_the_first_question_mark() {
        let name = Name::parse(b"a?b=c?d").ok().map(|Name { name, args }| (name, args));
        assert_eq!(name, Some((b"a".as_slice(), b"b=c?d".as_slice())));
        assert!(Name::parse(b"").is_ok_and(|name| name.name.is_empty() && name.args.is_empty()));
    }

    #[test]
    fn what_is_too_long_is_refused_and_not_shortened() {
        assert!(Name::new(&[b'a'; MAX_NAME], &[b'b'; MAX_ARGS]).is_ok());
        assert_eq!(Name::new(&[b'a'; MAX_NAME + 1], b"").err(), Some(BadName::TooLong));
        assert_eq!(Name::new(b"a", &[b'b'; MAX_ARGS + 1]).err(), Some(BadName::TooLong));
    }

    #[test]
    fn no_line_of_a_request_can_be_forged() {
        for name in [b"a\r\nb".as_slice(), b"a\0", b"a?b\x7f"] {
            assert_eq!(Name::parse(name).err(), Some(BadName::ControlBytes));
        }
    }

    #[test]
    fn a_path_is_one_however_it_is_divided() {
        assert_eq!(join(b"live", b"a"), b"live/a");
        assert_eq!(join(b"live/", b"a"), b"live/a");
        assert_eq!(join(b"", b"live/a"), b"live/a");
    }

    #[test]
    fn an_address_is_told_from_a_name() {
        assert!(is_ipv4(b"1.2.3.4"));
        for host in [b"a.example".as_slice(), b"1.2.3", b"::1", b"1.2.3.4:80", b"\xff"] {
            assert!(!is_ipv4(host));
        }
    }
}
