//! Where a relay goes: an url and parameters, made into what the other server is asked for.

use std::cell::Cell;
use std::fmt;
use std::hash::Hash;
use std::mem::discriminant;
use std::net::SocketAddr;
use std::rc::Rc;

use percent_encoding::{percent_encode, AsciiSet, CONTROLS};

pub use rtmp_protocol::url::{Scheme, StreamUrl};

use super::loops;
use crate::conf::relay::{RelayLine, RelayUrl};
use crate::nginx::addresses;
use crate::stream_request::StreamRequest;
use crate::variables::{Piece, Template};

/// What means something in an url. `percent_encode` adds bytes above 0x7f.
const VALUE: &AsciiSet = &CONTROLS.add(b'%').add(b'?').add(b'#');
/// So many bytes of another server's url go into the log.
const MAX_READABLE: usize = 200;

/// What a relay connects to, and what it asks for there.
#[derive(Debug, Clone)]
pub struct Target {
    pub scheme: Scheme,
    /// A name or an address.
    pub host: Vec<u8>,
    pub port: u16,
    /// Others than the configuration have named the host: a scheduler, an origin, a client.
    pub by_others: bool,
    pub app: Vec<u8>,
    pub name: Vec<u8>,
    /// It is the name of a stream, not a part of an url: in a path, one that ends in `.flv` needs
    /// another `.flv` behind it.
    pub is_name: bool,
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
    /// The target of a line of the configuration, for the stream of `request`. A pull carries the
    /// player's own query on if the line says nothing of one; a push does not, since a publisher's
    /// query is its secret.
    ///
    /// `None` if the url is none once its variables have values.
    pub fn of_line(
        line: &RelayLine,
        url: &RelayUrl,
        request: &StreamRequest,
        pull: bool,
    ) -> Option<Self> {
        let by_others = url.host_varies();
        let rest = url.rest.eval_in(request, |out, piece, text| match piece {
            // it is decoded with the url, and ends no part of it
            Piece::Value => {
                percent_encode(text, VALUE).for_each(|part| out.extend_from_slice(part.as_bytes()));
            }
            Piece::Text | Piece::Query => out.extend_from_slice(text),
        });
        let url = StreamUrl::split(url.scheme, &rest).ok()?;
        let eval = |template: &Option<Template>| template.as_ref().map(|text| text.eval(request));
        let own_args = || if pull { request.args.to_vec() } else { Vec::new() };
        let domain = eval(&line.domain).unwrap_or_else(|| url.authority().into_bytes());
        let app = eval(&line.app).or_else(|| url.app.clone());
        let name = eval(&line.name);
        let is_name = name.is_some() || url.name.is_none();
        let name = name.or_else(|| url.name.clone()).or_else(|| line.keep.clone());
        let args = eval(&line.args).or_else(|| url.args.clone()).unwrap_or_else(own_args);
        let mut target =
            Target { by_others, is_name, args, ..Target::new(url, domain, app, name, request) };
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

    /// The target that a scheduler names, for the stream of `request`: what the url leaves out is the
    /// client's own, its query and its domain included, so that keys are the same in a cluster.
    pub fn of_location(url: StreamUrl, domain: Option<&[u8]>, request: &StreamRequest) -> Self {
        let domain = match domain {
            Some(domain) => domain.to_vec(),
            None if request.caller.domain.is_empty() => url.authority().into_bytes(),
            None => request.caller.domain.to_vec(),
        };
        let (app, name) = (url.app.clone(), url.name.clone());
        let args = url.args.clone().unwrap_or_else(|| request.args.to_vec());
        // a scheduler that gives the name back means the stream
        let is_name = name.as_ref().is_none_or(|name| **name == *request.key.name);
        Target { is_name, args, ..Target::new(url, domain, app, name, request) }
    }

    fn new(
        url: StreamUrl,
        domain: Vec<u8>,
        app: Option<Vec<u8>>,
        name: Option<Vec<u8>>,
        request: &StreamRequest,
    ) -> Self {
        let app = app.unwrap_or_else(|| request.key.app.to_vec());
        let name = name.unwrap_or_else(|| request.key.name.to_vec());
        let tc_url = [b"rtmp://", domain.as_slice(), b"/", &app].concat();
        Target {
            scheme: url.scheme,
            host: url.host.into_bytes(),
            port: url.port,
            by_others: true,
            app,
            name,
            is_name: true,
            args: Vec::new(),
            domain,
            tc_url,
            // what a client says of itself is not said in its name, unless the line asks for it
            page_url: Vec::new(),
            swf_url: Vec::new(),
            flash_ver: Vec::new(),
            hops: request.caller.hops.saturating_add(1),
            via: loops::via(request),
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

    /// What the other server is told: whoever has the same told gets the same answer.
    pub fn told(&self) -> impl Hash + '_ {
        let whom = (discriminant(&self.scheme), &self.host, self.port, &self.domain, &self.tc_url);
        let what = (&self.app, &self.name, &self.args);
        let who = (&self.page_url, &self.swf_url, &self.flash_ver, self.hops, &self.via);
        (whom, what, who)
    }

    /// Host and port, as they stand in an url.
    pub fn authority(&self) -> String {
        let (open, close) = if self.host.contains(&b':') { ("[", "]") } else { ("", "") };
        format!("{open}{}{close}:{}", String::from_utf8_lossy(&self.host), self.port)
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
        write!(
            f,
            "{}://{}/{}/{}",
            self.scheme.name(),
            self.authority(),
            text(&self.app),
            text(&self.name)
        )
    }
}

/// An url that another server has written, for the log: as much of it as tells which one, without
/// the query.
pub fn readable(url: &[u8]) -> String {
    let url = url.split(|byte| *byte == b'?').next().unwrap_or_default();
    String::from_utf8_lossy(url.get(..MAX_READABLE).unwrap_or(url)).into_owned()
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A target as a scheduler would name it.
    pub fn target(url: &str) -> Target {
        let url = StreamUrl::parse(url.as_bytes()).expect("an url");
        let (app, name) = (url.app.clone(), url.name.clone());
        let domain = url.authority().into_bytes();
        Target {
            scheme: url.scheme,
            host: url.host.into_bytes(),
            port: url.port,
            by_others: true,
            app: app.unwrap_or_default(),
            name: name.unwrap_or_default(),
            is_name: true,
            args: url.args.unwrap_or_default(),
            tc_url: Vec::new(),
            domain,
            page_url: Vec::new(),
            swf_url: Vec::new(),
            flash_ver: Vec::new(),
            hops: 1,
            via: b"0123456789abcdef".to_vec(),
            tried: Rc::default(),
        }
    }

    #[test]
    fn the_log_has_no_query() {
        let target = target("rtmp://origin/live/name?token=secret");
        assert_eq!(target.to_string(), "rtmp://origin:1935/live/name");
    }

    #[test]
    fn an_ipv6_address_stands_in_brackets() {
        assert_eq!(target("rtmp://[::1]:1936/live/a").authority(), "[::1]:1936");
        assert_eq!(target("rtmp://origin/live/a").authority(), "origin:1935");
    }

    #[test]
    fn a_name_has_its_query_behind_it() {
        assert_eq!(target("rtmp://o/live/a?b=c").name_and_args(), b"a?b=c");
        assert_eq!(target("rtmp://o/live/a").name_and_args(), b"a");
    }

    #[test]
    fn where_it_leads_to_is_the_same_whatever_the_case_of_the_host() {
        let one = target("rtmp://Origin/live/a");
        assert!(one.leads_to(&target("rtmp://origin:1935/live/a")));
        for other in [
            "rtmp://origin/live/b",
            "rtmp://origin/other/a",
            "rtmp://origin/live/a?x",
            "rtmp://origin:1936/live/a",
            "http://origin:1935/live/a",
        ] {
            assert!(!one.leads_to(&target(other)), "{other}");
        }
    }

    #[test]
    fn another_servers_url_is_shortened_for_the_log() {
        assert_eq!(readable(b"rtmp://o/live/a?secret"), "rtmp://o/live/a");
        assert_eq!(readable(&[b'a'; 1000]).len(), MAX_READABLE);
        assert_eq!(readable(b""), "");
    }
}
