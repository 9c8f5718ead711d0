//! Urls of streams, as configurations and scheduling servers write them, and where an HTTP server
//! redirects to (RFC 3986).
//!
//! ```
//! use rtmp_protocol::url::StreamUrl;
//!
//! let url = StreamUrl::parse(b"rtmp://core.example.com/live/cam%201?token=x%2F")?;
//! assert_eq!((url.host.as_str(), url.port), ("core.example.com", 1935));
//! assert_eq!(url.app.as_deref(), Some(&b"live"[..]));
//! assert_eq!(url.name.as_deref(), Some(&b"cam 1"[..]));
//! assert_eq!(url.args.as_deref(), Some(&b"token=x%2F"[..]));
//! # Ok::<(), rtmp_protocol::url::UrlError>(())
//! ```

use percent_encoding::{percent_decode, percent_encode, AsciiSet, CONTROLS};
use thiserror::Error;
use url::{ParseError, Url};

/// What a server is spoken to in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// RTMP, in both directions.
    Rtmp,
    /// HTTP-FLV, which is only pulled.
    Http,
}

impl Scheme {
    /// The scheme of an url, and what follows `://`.
    pub fn of(url: &[u8]) -> Option<(Self, &[u8])> {
        [Scheme::Rtmp, Scheme::Http].into_iter().find_map(|scheme| {
            let (start, rest) = url.split_at_checked(scheme.name().len())?;
            let rest = rest.strip_prefix(b"://")?;
            start.eq_ignore_ascii_case(scheme.name().as_bytes()).then_some((scheme, rest))
        })
    }

    /// The port of an url that names none.
    pub fn port(self) -> u16 {
        match self {
            Scheme::Rtmp => 1935,
            Scheme::Http => 80,
        }
    }

    /// In lower case.
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Rtmp => "rtmp",
            Scheme::Http => "http",
        }
    }
}

/// Why a text is no url of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum UrlError {
    #[error("neither \"rtmp://\" nor \"http://\" begins it")]
    Scheme,
    #[error("it has no valid host")]
    Host,
    #[error("its port is none")]
    Port,
    #[error("it has a user")]
    User,
    #[error("it holds control bytes")]
    Control,
}

impl From<ParseError> for UrlError {
    fn from(error: ParseError) -> Self {
        match error {
            ParseError::InvalidPort => UrlError::Port,
            _ => UrlError::Host,
        }
    }
}

/// An url taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamUrl {
    /// How its server is spoken to.
    pub scheme: Scheme,
    /// A name or an address, without the brackets of IPv6.
    pub host: String,
    /// Never 0.
    pub port: u16,
    /// The application, decoded. That of an RTMP url may have a query of its own behind it.
    pub app: Option<Vec<u8>>,
    /// The stream's name, decoded; it may hold slashes.
    pub name: Option<Vec<u8>>,
    /// The query behind the name as it stands in the url, without the question mark.
    pub args: Option<Vec<u8>>,
}

impl StreamUrl {
    /// A complete url, `rtmp://` or `http://`.
    pub fn parse(url: &[u8]) -> Result<Self, UrlError> {
        let (scheme, rest) = Scheme::of(url).ok_or(UrlError::Scheme)?;
        StreamUrl::split(scheme, rest)
    }

    /// Takes apart what follows `://`. The first segment of the path is the application, the rest
    /// the name; slashes before the application don't count. An RTMP application ends at a slash
    /// only, as it does for encoders: `/live2?backup=1/key` is `key` in `live2?backup=1`.
    ///
    /// Application and name are percent-decoded once. What is no escape stays as it is, `+` and
    /// bytes that no url should hold included. A fragment is left out.
    pub fn split(scheme: Scheme, rest: &[u8]) -> Result<Self, UrlError> {
        if rest.iter().any(u8::is_ascii_control) {
            return Err(UrlError::Control);
        }
        let rest = rest.split(|byte| *byte == b'#').next().unwrap_or_default();
        let end = rest.iter().position(|byte| b"/?".contains(byte)).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at_checked(end).ok_or(UrlError::Host)?;
        let (host, port) = host_and_port(scheme, authority)?;
        let slashes = rest.iter().take_while(|byte| **byte == b'/').count();
        let rest = rest.get(slashes..).unwrap_or_default();
        let app_has_query = scheme == Scheme::Rtmp && !rest.starts_with(b"?");
        let (app, name, args) = match cut(rest, b'/') {
            (app, Some(name)) if app_has_query => {
                let (name, args) = cut(name, b'?');
                (app, Some(name), args)
            }
            _ => {
                let (path, args) = cut(rest, b'?');
                let (app, name) = cut(path, b'/');
                (app, name, args)
            }
        };
        let (app, app_query) = cut(app, b'?');
        let mut app = decoded(app)?;
        if let Some(query) = app_query {
            app.push(b'?');
            app.extend_from_slice(query);
        }
        let name = decoded(name.unwrap_or_default())?;
        let some = |text: Vec<u8>| Some(text).filter(|text| !text.is_empty());
        let args = args.map(<[u8]>::to_vec);
        Ok(StreamUrl { scheme, host, port, app: some(app), name: some(name), args })
    }

    /// Host and port as they stand in an url; the port only if it is not the scheme's own.
    pub fn authority(&self) -> String {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        let mut out = format!("{open}{}{close}", self.host);
        if self.port != self.scheme.port() {
            out.push_str(&format!(":{}", self.port));
        }
        out
    }
}

/// What stands before and behind the first `at`.
fn cut(text: &[u8], at: u8) -> (&[u8], Option<&[u8]>) {
    let mut parts = text.splitn(2, |byte| *byte == at);
    (parts.next().unwrap_or_default(), parts.next())
}

fn decoded(text: &[u8]) -> Result<Vec<u8>, UrlError> {
    let text: Vec<u8> = percent_decode(text).collect();
    match text.iter().any(u8::is_ascii_control) {
        true => Err(UrlError::Control),
        false => Ok(text),
    }
}

fn host_and_port(scheme: Scheme, authority: &[u8]) -> Result<(String, u16), UrlError> {
    if authority.contains(&b'@') {
        return Err(UrlError::User);
    }
    let authority = std::str::from_utf8(authority).map_err(|_| UrlError::Host)?;
    // a scheme that the parser does not know leaves the host as it is
    let url = Url::parse(&format!("rtmp://{authority}/"))?;
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(UrlError::Host)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match url.port().unwrap_or(scheme.port()) {
        0 => Err(UrlError::Port),
        port => Ok((host.to_owned(), port)),
    }
}

/// What an HTTP url can't hold, and a `Location` holds nevertheless.
const UNSAFE: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>');

/// Where an HTTP server redirects to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// Another host, or another port, than that of the request: name or address, without the
    /// brackets of IPv6, and port.
    pub elsewhere: Option<(String, u16)>,
    /// Host and port as they stand in the url; the port only if it is not 80.
    pub authority: String,
    /// Path and query, as a request names them.
    pub target: String,
}

impl Redirect {
    /// Resolves `location` against the url of the request (RFC 3986 section 5): `authority` is its
    /// `Host`, and `target` its path and query.
    pub fn resolve(authority: &str, target: &str, location: &[u8]) -> Result<Self, UrlError> {
        if location.iter().any(u8::is_ascii_control) {
            return Err(UrlError::Control);
        }
        let base = Url::parse(&format!("http://{authority}{target}"))?;
        let url = base.join(&percent_encode(location, UNSAFE).to_string())?;
        if url.scheme() != "http" {
            return Err(UrlError::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlError::User);
        }
        let host = url.host_str().ok_or(UrlError::Host)?;
        let port = url.port().unwrap_or(Scheme::Http.port());
        if port == 0 {
            return Err(UrlError::Port);
        }
        let same = url.host_str() == base.host_str() && url.port() == base.port();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        Ok(Redirect {
            elsewhere: (!same).then(|| (bare.to_owned(), port)),
            authority: url.port().map_or(host.to_owned(), |port| format!("{host}:{port}")),
            target: format!("{}{query}", url.path()),
        })
    }
}
