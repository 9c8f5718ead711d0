//! How clients name streams, in RTMP's commands and in the paths of HTTP.

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

impl<'a> Name<'a> {
    /// Splits `text` at the first `?`, and refuses what [`Name::new`] refuses.
    pub fn parse(text: &'a [u8]) -> Result<Self, &'static str> {
        let mut parts = text.splitn(2, |&byte| byte == b'?');
        Name::new(parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
    }

    /// A name is an identity, so one that is too long, or holds control bytes that no url could
    /// carry, is refused, not shortened.
    pub fn new(name: &'a [u8], args: &'a [u8]) -> Result<Self, &'static str> {
        if name.len() > MAX_NAME || args.len() > MAX_ARGS {
            return Err("the name is too long");
        }
        if name.iter().chain(args).any(u8::is_ascii_control) {
            return Err("the name holds control bytes");
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
