//! How clients name streams, in RTMP's commands and in the paths of HTTP.

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

/// Domain and application by the host and the application that a client says: one trailing `/` or
/// `/_definst_` does not count, and behind an IPv4 host the first of several levels is the domain
/// (`rtmp://1.2.3.4/www.x.com/live`).
pub fn domain_and_app<'a>(host: &'a [u8], app: &'a [u8]) -> (&'a [u8], &'a [u8]) {
    let app = app.strip_suffix(b"/_definst_").or_else(|| app.strip_suffix(b"/")).unwrap_or(app);
    if is_ipv4(host) {
        if let Some(at) = app.iter().position(|&byte| byte == b'/') {
            let (domain, rest) = app.split_at(at);
            return (domain, rest.get(1..).unwrap_or_default());
        }
    }
    (host, app)
}

fn is_ipv4(host: &[u8]) -> bool {
    std::str::from_utf8(host).is_ok_and(|host| host.parse::<std::net::Ipv4Addr>().is_ok())
}
