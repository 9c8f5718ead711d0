//! Where a relay goes: an url and parameters, made into what the other server is asked for.

use std::cell::Cell;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;

use percent_encoding::percent_decode;

use super::loops;
use crate::conf::relay::{RelayLine, RelayUrl};
use crate::nginx::addresses;
use crate::variables::Template;
use crate::visit::Visit;

/// What another server is spoken to in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// RTMP, in both directions.
    Rtmp,
    /// HTTP-FLV, which is only pulled.
    Http,
}

impl Scheme {
    /// The scheme of an url, and what follows it.
    pub fn of(url: &[u8]) -> Option<(Self, &[u8])> {
        [(Scheme::Rtmp, &b"rtmp://"[..]), (Scheme::Http, b"http://")].into_iter().find_map(
            |(scheme, prefix)| {
                let (start, rest) = url.split_at_checked(prefix.len())?;
                start.eq_ignore_ascii_case(prefix).then_some((scheme, rest))
            },
        )
    }

    fn port(self) -> u16 {
        match self {
            Scheme::Rtmp => 1935,
            Scheme::Http => 80,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Scheme::Rtmp => "rtmp",
            Scheme::Http => "http",
        }
    }
}

/// An url taken apart: the first segment of its path is an application, the rest a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    pub scheme: Scheme,
    /// A name or an address, without the brackets of IPv6.
    pub host: Vec<u8>,
    pub port: u16,
    pub app: Option<Vec<u8>>,
    /// May hold slashes.
    pub name: Option<Vec<u8>>,
    /// The query, without the question mark.
    pub args: Option<Vec<u8>>,
}

impl Url {
    /// A complete url, `rtmp://` or `http://`; `None` if it is none.
    pub fn parse(url: &[u8]) -> Option<Self> {
        let (scheme, rest) = Scheme::of(url)?;
        Url::split(scheme, rest)
    }

    /// Takes apart what follows `://`. `None` without a host, with a port that is none, with a user
    /// in front of the host, or with control bytes or spaces anywhere.
    pub fn split(scheme: Scheme, rest: &[u8]) -> Option<Self> {
        if rest.iter().any(|byte| byte.is_ascii_control() || *byte == b' ') {
            return None;
        }
        let rest = rest.split(|byte| *byte == b'#').next()?;
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at_checked(end)?;
        let (host, port) = host_and_port(authority, scheme.port())?;
        let mut halves = rest.splitn(2, |byte| *byte == b'?');
        let path = halves.next().unwrap_or_default();
        let args = halves.next().map(<[u8]>::to_vec);
        let path = path.strip_prefix(b"/").unwrap_or(path);
        let mut segments = path.splitn(2, |byte| *byte == b'/');
        let mut segment = || {
            let segment = segments.next().filter(|segment| !segment.is_empty())?;
            Some(match scheme {
                Scheme::Rtmp => segment.to_vec(),
                Scheme::Http => percent_decode(segment).collect(),
            })
        };
        Some(Url { scheme, host: host.to_vec(), port, app: segment(), name: segment(), args })
    }

    /// Host and port as they stand in an url; the port only if it is not the scheme's own.
    pub fn authority(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.host.len() + 8);
        match self.host.contains(&b':') {
            true => [b"[", self.host.as_slice(), b"]"].iter().for_each(|part| out.extend(*part)),
            false => out.extend_from_slice(&self.host),
        }
        if self.port != self.scheme.port() {
            out.extend_from_slice(format!(":{}", self.port).as_bytes());
        }
        out
    }
}

fn host_and_port(authority: &[u8], default: u16) -> Option<(&[u8], u16)> {
    let (host, port) = match authority.strip_prefix(b"[") {
        Some(v6) => {
            let end = v6.iter().position(|byte| *byte == b']')?;
            let (host, rest) = v6.split_at_checked(end)?;
            (host, rest.strip_prefix(b"]")?)
        }
        None => {
            let colon = authority.iter().position(|byte| *byte == b':');
            authority.split_at_checked(colon.unwrap_or(authority.len()))?
        }
    };
    if host.is_empty() || host.contains(&b'@') || port.contains(&b'@') {
        return None;
    }
    let port = match port.strip_prefix(b":") {
        Some(digits) if digits.iter().all(u8::is_ascii_digit) => {
            std::str::from_utf8(digits).ok()?.parse().ok().filter(|port| *port > 0)?
        }
        None if port.is_empty() => default,
        _ => return None,
    };
    Some((host, port))
}

/// What a relay connects to, and what it asks for there.
#[derive(Debug, Clone)]
pub struct Target {
    pub scheme: Scheme,
    /// A name or an address.
    pub host: Vec<u8>,
    pub port: u16,
    pub app: Vec<u8>,
    pub name: Vec<u8>,
    /// Goes behind the name, if it is not empty.
    pub args: Vec<u8>,
    /// The host, and maybe the port, in tcUrl or `Host`.
    pub domain: Vec<u8>,
    pub tc_url: Vec<u8>,
    pub page_url: Vec<u8>,
    pub swf_url: Vec<u8>,
    pub flash_ver: Vec<u8>,
    /// Relays that the stream will have come through, this one included.
    pub hops: u32,
    /// Which relays they are: see [`loops`].
    pub via: Vec<u8>,
    /// The address of the host that was connected to last.
    pub tried: Rc<Cell<Option<SocketAddr>>>,
}

impl Target {
    /// The target of a line of the configuration, for the stream of `visit`. A pull carries the
    /// player's own query on if the line says nothing of one; a push does not, since a publisher's
    /// query is its secret.
    ///
    /// `None` if the url is none once its variables have values.
    pub fn of_line(line: &RelayLine, url: &RelayUrl, visit: &Visit, pull: bool) -> Option<Self> {
        let url = Url::split(url.scheme, &url.rest.eval(visit))?;
        let eval = |template: &Option<Template>| template.as_ref().map(|text| text.eval(visit));
        let own_args = || if pull { visit.args.clone() } else { Vec::new() };
        let domain = eval(&line.domain).unwrap_or_else(|| url.authority());
        let app = eval(&line.app).or(url.app);
        let name = eval(&line.name).or(url.name).or_else(|| line.keep.clone());
        let args = eval(&line.args).or(url.args).unwrap_or_else(own_args);
        let mut target = Target::new(url.scheme, url.host, url.port, domain, app, name, visit);
        target.args = args;
        let own = [
            (&mut target.tc_url, &line.tc_url),
            (&mut target.page_url, &line.page_url),
            (&mut target.swf_url, &line.swf_url),
            (&mut target.flash_ver, &line.flash_ver),
        ];
        for (text, line) in own {
            if let Some(value) = eval(line) {
                *text = value;
            }
        }
        Some(target)
    }

    /// The target that a scheduler names, for the stream of `visit`: what the url leaves out is the
    /// client's own, its query and its domain included, so that keys are the same in a cluster.
    pub fn of_location(url: Url, domain: Option<&[u8]>, visit: &Visit) -> Self {
        let domain = match domain {
            Some(domain) => domain.to_vec(),
            None if visit.domain.is_empty() => url.authority(),
            None => visit.domain.clone(),
        };
        let args = url.args.unwrap_or_else(|| visit.args.clone());
        let Url { scheme, host, port, app, name, .. } = url;
        Target { args, ..Target::new(scheme, host, port, domain, app, name, visit) }
    }

    fn new(
        scheme: Scheme,
        host: Vec<u8>,
        port: u16,
        domain: Vec<u8>,
        app: Option<Vec<u8>>,
        name: Option<Vec<u8>>,
        visit: &Visit,
    ) -> Self {
        let app = app.unwrap_or_else(|| visit.key.app.to_vec());
        let name = name.unwrap_or_else(|| visit.key.name.to_vec());
        let tc_url = [b"rtmp://", domain.as_slice(), b"/", &app].concat();
        Target {
            scheme,
            host,
            port,
            app,
            name,
            args: Vec::new(),
            domain,
            tc_url,
            // what a client says of itself is not said in its name, unless the line asks for it
            page_url: Vec::new(),
            swf_url: Vec::new(),
            flash_ver: Vec::new(),
            hops: visit.hops.saturating_add(1),
            via: loops::via(visit),
            tried: Rc::default(),
        }
    }

    /// An attempt has failed: the next one begins at another address of the host, if it has several.
    pub fn failed(&self) {
        if let Some(address) = self.tried.take() {
            addresses::failed(address);
        }
    }

    /// Whether it asks the same server for the same as `other`.
    pub fn leads_to(&self, other: &Target) -> bool {
        let of = |target: &Target| {
            let Target { scheme, host, port, app, name, args, tc_url, .. } = target.clone();
            (scheme, host.to_ascii_lowercase(), port, app, name, args, tc_url)
        };
        of(self) == of(other)
    }

    /// The name with its query, as `publish` and `play` take it.
    pub fn name_and_args(&self) -> Vec<u8> {
        match self.args.is_empty() {
            true => self.name.clone(),
            false => [self.name.as_slice(), b"?", &self.args].concat(),
        }
    }
}

/// For the log, without the query, which may hold a secret.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes| String::from_utf8_lossy(bytes);
        let (open, close) = if self.host.contains(&b':') { ("[", "]") } else { ("", "") };
        write!(
            f,
            "{}://{open}{}{close}:{}/{}/{}",
            self.scheme.name(),
            text(&self.host),
            self.port,
            text(&self.app),
            text(&self.name)
        )
    }
}
