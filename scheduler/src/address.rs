//! `host:port` of a node: its identity here, and where other nodes pull from.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use serde::{de, Deserialize, Deserializer};

use crate::key::BadValue;

/// Port of RTMP.
pub const RTMP_PORT: u16 = 1935;
/// Port of HTTP.
pub const HTTP_PORT: u16 = 80;
/// Longest DNS name (RFC 1035, 2.3.4).
const MAX_HOST: usize = 253;

const FORM: &str = "host:port, or :port for the address that the request comes from";

/// A checked `host:port`, lower case; an IPv6 host is in brackets.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeAddr(String);

impl NodeAddr {
    /// Reads `host:port`, `host` (with `default_port`), `[v6]:port` or `:port`, which takes `peer` for the host.
    ///
    /// `what` names the parameter in errors.
    pub fn parse(
        what: &'static str,
        text: &str,
        default_port: u16,
        peer: Option<IpAddr>,
    ) -> Result<Self, BadValue> {
        let bad = BadValue::Form(what, FORM);
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => match rest.split_once(']') {
                Some((host, "")) => (host, None),
                Some((host, port)) => (host, Some(port.strip_prefix(':').ok_or(bad)?)),
                None => return Err(bad),
            },
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let host = match (host, peer) {
            ("", Some(peer)) if text.starts_with(':') => bracketed(peer),
            _ if text.starts_with('[') => match host.parse::<Ipv6Addr>() {
                Ok(v6) => bracketed(IpAddr::V6(v6)),
                Err(_) => return Err(BadValue::Form(what, FORM)),
            },
            _ if is_host_name(host) => host.to_ascii_lowercase(),
            _ => return Err(BadValue::Form(what, FORM)),
        };
        let port = match port {
            None => default_port,
            // "+80" would parse too
            Some(digits) if digits.starts_with(|c: char| c.is_ascii_digit()) => digits
                .parse::<u16>()
                .ok()
                .filter(|&port| port != 0)
                .ok_or(BadValue::Form(what, FORM))?,
            Some(_) => return Err(BadValue::Form(what, FORM)),
        };
        Ok(Self(format!("{host}:{port}")))
    }

    /// An address that a store gave back.
    pub fn stored(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// `host:port`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An IPv4 address that came in over an IPv6 socket is an IPv4 address.
fn bracketed(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    }
}

fn is_host_name(host: &str) -> bool {
    !host.is_empty()
        && host.len() <= MAX_HOST
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
}

impl fmt::Display for NodeAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodeAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// In the policy file; a host is needed there.
impl<'de> Deserialize<'de> for NodeAddr {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::parse("node", &text, RTMP_PORT, None).map_err(|_| {
            de::Error::custom(format!(
                "\"{text}\" is not a node; write host:port, for example \"10.0.0.1:1935\""
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<String> {
        let peer = Some("10.9.8.7".parse().unwrap());
        NodeAddr::parse("node", text, RTMP_PORT, peer).ok().map(|a| a.0)
    }

    #[test]
    fn forms() {
        for (text, address) in [
            ("10.0.0.1:1936", "10.0.0.1:1936"),
            ("10.0.0.1", "10.0.0.1:1935"),
            ("Node-1.Example:80", "node-1.example:80"),
            ("[::1]:1935", "[::1]:1935"),
            ("[2001:DB8::1]", "[2001:db8::1]:1935"),
            (":1940", "10.9.8.7:1940"),
        ] {
            assert_eq!(parse(text).as_deref(), Some(address), "{text}");
        }
    }

    #[test]
    fn bad_forms() {
        let long = "a".repeat(254);
        for text in [
            "", ":", ":0", "a:", "a:0", "a:65536", "a:+1", "a:1:2", "::1", "[::1", "[]:1", "[x]:1",
            "[::1]1", "a b:1", "a/b:1", "a@b:1", "a\r\n:1", "a%20b:1", &long,
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert!(NodeAddr::parse("node", ":1935", RTMP_PORT, None).is_err());
    }

    #[test]
    fn a_mapped_peer_is_ipv4() {
        let peer = Some("::ffff:10.0.0.1".parse().unwrap());
        let address = NodeAddr::parse("node", ":1935", RTMP_PORT, peer).unwrap();
        assert_eq!(address.as_str(), "10.0.0.1:1935");
    }
}
