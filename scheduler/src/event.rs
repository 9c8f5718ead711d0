//! One request of a node: which event, of which stream, on which node.

use std::net::IpAddr;

use percent_encoding::percent_decode_str;

use crate::address::{NodeAddr, HTTP_PORT, RTMP_PORT};
use crate::key::{canonical, BadValue, MAX_APP, MAX_DOMAIN, MAX_IDENTIFIER, MAX_NAME};

/// A token is compared as it is; one that needs more bytes is no token of ours.
pub const MAX_TOKEN: usize = 1024;

/// What happened on the node (`call=`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// A worker process has started (`oclp_proc`).
    InitProcess,
    /// A player from outside.
    Play,
    /// A publisher from outside.
    Publish,
    /// A stream has its first client on the node.
    Stream,
    /// The node wants to pull.
    Pull,
    /// The node may push, asked at publish.
    Push,
    /// The node may push, asked at the first sequence header.
    Meta,
}

impl Call {
    /// Every call, in the order of the documentation.
    pub const ALL: [Self; 7] = [
        Self::InitProcess,
        Self::Play,
        Self::Publish,
        Self::Stream,
        Self::Pull,
        Self::Push,
        Self::Meta,
    ];

    /// The word in `call=`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InitProcess => "init_process",
            Self::Play => "play",
            Self::Publish => "publish",
            Self::Stream => "stream",
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Meta => "meta",
        }
    }

    /// The last segment of the url's path, for a request without `call=`.
    fn of_path(segment: &str) -> Option<Self> {
        match segment {
            "proc" => Some(Self::InitProcess),
            other => Self::of_word(other),
        }
    }

    fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|call| call.as_str() == word)
    }
}

/// The stage of an event (`act=`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// It begins; the node awaits the decision.
    Start,
    /// It goes on.
    Update,
    /// It has ended.
    Done,
}

impl Act {
    /// The word in `act=`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Update => "update",
            Self::Done => "done",
        }
    }
}

/// A request, checked. All text is canonical ([`canonical`]) but the token.
#[derive(Debug)]
pub struct Event {
    pub call: Call,
    pub act: Act,
    pub domain: String,
    pub app: String,
    pub name: String,
    /// The asking node.
    pub node: Option<NodeAddr>,
    /// Its HTTP-FLV address.
    pub http: Option<NodeAddr>,
    /// `worker_id=` of init_process, `worker=` of the others; empty if not given.
    pub worker: String,
    /// Tells two publishers of one stream on one node apart; empty if not given.
    pub client: String,
    /// `groupid=`; empty if not given.
    pub group: String,
    /// `token=`, decoded bytes; empty if not given.
    pub token: Vec<u8>,
}

impl Event {
    /// Reads the last segment of the path and the query; `peer` is where the request comes from.
    ///
    /// Where a parameter is there twice, the first counts: what a client can smuggle into `args=` comes after what
    /// the node wrote. `call=` counts more than the path, as a configuration may send meta to `/oclp/v1/push`.
    pub fn read(segment: &str, query: &str, peer: IpAddr) -> Result<Self, BadValue> {
        let first = |wanted: &str| {
            query.split('&').find_map(|pair| match pair.split_once('=') {
                Some((key, value)) if key == wanted => Some(value),
                _ => None,
            })
        };
        let text = |what, max| canonical(what, first(what).unwrap_or_default(), max);
        let address = |what, port| match first(what) {
            None => Ok(None),
            Some(raw) => {
                let decoded = percent_decode_str(raw).decode_utf8_lossy();
                NodeAddr::parse(what, &decoded, port, Some(peer)).map(Some)
            }
        };

        let call = match first("call") {
            Some(word) => Call::of_word(word),
            None => Call::of_path(segment),
        }
        .ok_or(BadValue::Form("call", "init_process, play, publish, stream, pull, push or meta"))?;
        let act = match first("act") {
            None if call == Call::InitProcess => Act::Start,
            Some("start") => Act::Start,
            Some("update") => Act::Update,
            Some("done") => Act::Done,
            _ => return Err(BadValue::Form("act", "start, update or done")),
        };
        let event = Self {
            call,
            act,
            domain: text("domain", MAX_DOMAIN)?.to_ascii_lowercase_outside_escapes(),
            app: text("app", MAX_APP)?,
            name: text("name", MAX_NAME)?,
            node: address("node", RTMP_PORT)?,
            http: address("http", HTTP_PORT)?,
            worker: match call {
                Call::InitProcess => text("worker_id", MAX_IDENTIFIER)?,
                _ => text("worker", MAX_IDENTIFIER)?,
            },
            client: text("client", MAX_IDENTIFIER)?,
            group: text("groupid", MAX_IDENTIFIER)?,
            token: percent_decode_str(first("token").unwrap_or_default()).collect(),
        };
        if event.token.len() > MAX_TOKEN {
            return Err(BadValue::TooLong("token", MAX_TOKEN));
        }
        match call {
            Call::InitProcess if event.worker.is_empty() => {
                return Err(BadValue::Missing("worker_id"))
            }
            Call::InitProcess => {}
            _ if event.app.is_empty() => return Err(BadValue::Missing("app")),
            _ if event.name.is_empty() => return Err(BadValue::Missing("name")),
            _ => {}
        }
        // without it there is nothing to record
        if matches!(call, Call::InitProcess | Call::Publish) && event.node.is_none() {
            return Err(BadValue::Missing("node"));
        }
        Ok(event)
    }
}

/// Host names compare without case; the digits of an escape stay canonical.
trait LowerOutsideEscapes {
    fn to_ascii_lowercase_outside_escapes(self) -> String;
}

impl LowerOutsideEscapes for String {
    fn to_ascii_lowercase_outside_escapes(self) -> String {
        let mut escape_left = 0;
        self.chars()
            .map(|c| {
                if c == '%' {
                    escape_left = 3;
                }
                let inside = escape_left > 0;
                escape_left -= i32::from(inside);
                if inside {
                    c
                } else {
                    c.to_ascii_lowercase()
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(segment: &str, query: &str) -> Result<Event, BadValue> {
        Event::read(segment, query, "10.0.0.9".parse().unwrap())
    }

    #[test]
    fn a_request_of_the_documentation() {
        let event = read(
            "pull",
            "call=pull&act=start&domain=Test.com&app=edge&name=s1&node=:1935&http=:8080&worker=1",
        )
        .unwrap();
        assert_eq!((event.call, event.act), (Call::Pull, Act::Start));
        assert_eq!(
            (event.domain.as_str(), event.app.as_str(), event.name.as_str()),
            ("test.com", "edge", "s1")
        );
        assert_eq!(event.node.unwrap().as_str(), "10.0.0.9:1935");
        assert_eq!(event.http.unwrap().as_str(), "10.0.0.9:8080");
        assert_eq!(event.worker, "1");
    }

    #[test]
    fn call_counts_more_than_the_path() {
        let meta = read("push", "call=meta&act=start&app=a&name=n").unwrap();
        assert_eq!(meta.call, Call::Meta);
        assert_eq!(read("push", "act=start&app=a&name=n").unwrap().call, Call::Push);
        assert_eq!(
            read("x", "act=start&app=a&name=n").unwrap_err().to_string(),
            "call= must be init_process, play, publish, stream, pull, push or meta"
        );
    }

    #[test]
    fn init_process_has_neither_act_nor_stream() {
        let event = read("proc", "node=10.0.0.1:1935&call=init_process&worker_id=3").unwrap();
        assert_eq!(
            (event.call, event.act, event.worker.as_str()),
            (Call::InitProcess, Act::Start, "3")
        );
        assert_eq!(
            read("proc", "node=a&call=init_process").unwrap_err(),
            BadValue::Missing("worker_id")
        );
        assert_eq!(
            read("proc", "call=init_process&worker_id=3").unwrap_err(),
            BadValue::Missing("node")
        );
    }

    #[test]
    fn the_first_of_two_counts() {
        let event =
            read("play", "call=play&act=start&app=a&name=n&node=a:1&node=evil:1&name=m").unwrap();
        assert_eq!(event.node.unwrap().as_str(), "a:1");
        assert_eq!(event.name, "n");
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (query, error) in [
            ("call=publish&act=start&app=a&name=n", "node= is missing"),
            ("call=publish&act=start&app=a&node=a", "name= is missing"),
            ("call=publish&act=start&name=n&node=a", "app= is missing"),
            ("call=publish&act=go&app=a&name=n&node=a", "act= must be start, update or done"),
            ("call=publish&app=a&name=n&node=a", "act= must be start, update or done"),
            ("call=play&act=start&app=a&name=n%0d%0aX", "name= holds a control byte"),
            ("call=play&act=start&app=a&name=n&domain=a%00b", "domain= holds a control byte"),
        ] {
            assert_eq!(read("play", query).unwrap_err().to_string(), error, "{query}");
        }
        let long = format!("call=play&act=start&app=a&name={}", "n".repeat(MAX_NAME + 1));
        assert_eq!(read("play", &long).unwrap_err(), BadValue::TooLong("name", MAX_NAME));
    }

    #[test]
    fn escapes_in_a_domain_stay_canonical() {
        let event = read("play", "call=play&act=start&app=a&name=n&domain=A%e7B").unwrap();
        assert_eq!(event.domain, "a%E7b");
    }
}
