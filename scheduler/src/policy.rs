//! What the operator decides, from the policy file: who may publish and play, where pulls and pushes go.
//!
//! Nothing here knows the store or HTTP. A reload makes a new `Policy`; requests under way keep theirs.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;
use serde::{de, Deserialize, Deserializer};
use subtle::ConstantTimeEq;
use wildmatch::WildMatch;

use crate::address::{NodeAddr, HTTP_PORT, RTMP_PORT};
use crate::event::Event;
use crate::key::{canonical, is_address, StreamKey, MAX_APP};

/// A pull is held at most so long: nodes wait 3 s for an answer by default, and the connect must fit in too.
const MAX_WAIT: Duration = Duration::from_millis(2500);
/// Below this a lease would end between two updates of a healthy node.
const MIN_LEASE: Duration = Duration::from_secs(1);
/// A typing mistake, not a lease.
const MAX_LEASE: Duration = Duration::from_secs(24 * 3600);
/// Weights are small whole numbers.
const MAX_WEIGHT: u32 = 1000;
/// A policy file is written by hand.
const MAX_FILE: u64 = 1024 * 1024;

/// Why a policy is not taken.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The file cannot be read.
    #[error("{0}: {1}")]
    Read(String, std::io::Error),
    /// The file is no policy: key, value and what is allowed.
    #[error("{0}: {1}")]
    Form(String, String),
}

/// The policy file. Every key may be left out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// How long a stream is remembered after its last publish start or update.
    #[serde(deserialize_with = "time")]
    pub lease: Duration,
    /// How long "unknown" means "not yet heard of" after knowledge was lost; longer than the nodes' `update=`.
    #[serde(deserialize_with = "time")]
    pub learn: Duration,
    /// Treat every start as a restart that has lost knowledge.
    pub learn_at_start: bool,
    /// How long a pull of a stream that has just ended is held, in case its publisher comes back.
    #[serde(deserialize_with = "time")]
    pub wait: Duration,
    /// Which node has a stream that two nodes publish.
    pub conflict: Conflict,
    /// What a worker's start does to the streams of its predecessor.
    pub init_process: OnInitProcess,
    /// Whether the client's domain is part of a stream's key.
    pub domains: Domains,
    /// Refuse publish and init_process from nodes that no `[[node]]` lists.
    pub only_listed_nodes: bool,
    pub access: Access,
    pub publish: Admission,
    pub play: Admission,
    pub pull: Pull,
    pub push: Vec<Push>,
    pub node: Vec<Node>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            // two and a half updates of 60 s: one may get lost
            lease: Duration::from_secs(150),
            // one update of 60 s, and its time on the way
            learn: Duration::from_secs(70),
            learn_at_start: false,
            wait: Duration::from_secs(2),
            conflict: Conflict::default(),
            init_process: OnInitProcess::default(),
            domains: Domains::default(),
            only_listed_nodes: false,
            access: Access::default(),
            publish: Admission::default(),
            play: Admission::default(),
            pull: Pull::default(),
            push: Vec::new(),
            node: Vec::new(),
        }
    }
}

/// `conflict = …`
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Conflict {
    /// The one that started last; the other takes over when it ends.
    #[default]
    Newest,
    /// The one that started first; a second node is refused.
    First,
    /// All of them, by weight.
    Share,
}

/// `init_process = …`
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub enum OnInitProcess {
    /// They are gone.
    #[default]
    #[serde(rename = "forget")]
    Forget,
    /// They are gone unless an update comes within `learn`: after a reload the old worker still has them.
    #[serde(rename = "await-update")]
    AwaitUpdate,
}

/// `domains = …`
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Domains {
    /// Names are kept apart; addresses are one domain, for they only say which machine was asked.
    #[default]
    Names,
    /// One name space, as a node with one `server` block has it.
    Ignore,
}

/// `[access]`: networks that may call; none listed means all.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Access {
    /// `/oclp/`.
    nodes: Vec<IpNet>,
    /// `/`, `/api/`, `/metrics`.
    operators: Vec<IpNet>,
    /// Proxies whose X-Real-IP is believed; none listed means none.
    proxies: Vec<IpNet>,
    /// Names that the pages for people and monitors are asked for by, besides addresses, `localhost` and the machine's.
    pub hosts: Vec<String>,
}

impl Access {
    /// Whether `/oclp/` is open to this peer.
    pub fn node(&self, peer: IpAddr) -> bool {
        self.nodes.is_empty() || within(&self.nodes, peer)
    }

    /// Whether the pages for people and monitors are.
    pub fn operator(&self, peer: IpAddr) -> bool {
        self.operators.is_empty() || within(&self.operators, peer)
    }

    /// Where a request comes from: `peer`, or what a trusted proxy says.
    pub fn origin(&self, peer: IpAddr, real_ip: Option<&str>) -> IpAddr {
        match real_ip.and_then(|ip| ip.parse().ok()) {
            Some(real) if within(&self.proxies, peer) => real,
            _ => peer,
        }
    }
}

fn within(networks: &[IpNet], peer: IpAddr) -> bool {
    let peer = peer.to_canonical();
    networks.iter().any(|network| network.contains(&peer))
}

/// `[publish]`, `[play]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admission {
    /// Only these streams, if any are listed.
    allow: Vec<Pattern>,
    /// Not these.
    deny: Vec<Pattern>,
    /// If any are listed, `token=` must be one of them.
    tokens: Vec<String>,
}

impl Admission {
    /// The reason for a refusal, if it is one.
    pub fn refusal(&self, key: &StreamKey, token: &[u8]) -> Option<&'static str> {
        let path = key.path();
        let listed = |patterns: &[Pattern]| patterns.iter().any(|p| p.0.matches(&path));
        if listed(&self.deny) {
            return Some("on the deny list");
        }
        if !self.allow.is_empty() && !listed(&self.allow) {
            return Some("not on the allow list");
        }
        // no early end: the time must not tell which token was nearly right
        let known =
            self.tokens.iter().fold(0, |known, t| known | t.as_bytes().ct_eq(token).unwrap_u8());
        if !self.tokens.is_empty() && known == 0 {
            return Some("token missing or unknown");
        }
        None
    }
}

/// `domain/app/name` with `*` for any run of characters and `?` for one.
#[derive(Debug)]
struct Pattern(WildMatch);

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        if text.contains('*') || text.matches('/').count() >= 2 {
            return Ok(Self(WildMatch::new(&text)));
        }
        Err(de::Error::custom(format!(
            "\"{text}\" matches no stream; write domain/app/name, for example \"*/live/*\""
        )))
    }
}

/// `[pull]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pull {
    /// The protocol between nodes.
    pub over: Over,
    /// Where to pull what no node has: `rtmp://` or `http://host[:port]`.
    pub origin: Option<Origin>,
    /// A pull asked in this application looks for the stream in that one.
    apps: BTreeMap<String, String>,
}

impl Pull {
    /// The application in which a stream asked for in `app` is published, if it is another one.
    pub fn app(&self, app: &str) -> Option<&str> {
        self.apps.get(app).map(String::as_str)
    }
}

/// `pull.over = …`
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Over {
    #[default]
    Rtmp,
    /// HTTP-FLV where the node told its `http=`, else RTMP.
    Http,
}

/// Scheme and address of a server outside the cluster.
#[derive(Debug, PartialEq, Eq)]
pub struct Origin {
    /// `rtmp` or `http`.
    pub scheme: &'static str,
    pub address: NodeAddr,
}

impl<'de> Deserialize<'de> for Origin {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let parsed = match text.split_once("://") {
            Some(("rtmp", address)) => NodeAddr::parse("origin", address, RTMP_PORT, None)
                .map(|address| Self { scheme: "rtmp", address })
                .ok(),
            Some(("http", address)) => NodeAddr::parse("origin", address, HTTP_PORT, None)
                .map(|address| Self { scheme: "http", address })
                .ok(),
            _ => None,
        };
        parsed.ok_or_else(|| {
            de::Error::custom(format!(
                "\"{text}\" is no origin; write rtmp://host[:port] or http://host[:port], without a path"
            ))
        })
    }
}

/// `[[push]]`: the first whose group and streams fit is used.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Push {
    /// `groupid=` of the node's oclp_push or oclp_meta line; left out: lines without one.
    #[serde(default)]
    group: String,
    /// Which streams; left out: all.
    #[serde(default)]
    streams: Vec<Pattern>,
    /// One of them is chosen at each attempt, by weight.
    hubs: Vec<Hub>,
}

/// `rtmp://host[:port][/app[/name]][?args]`.
#[derive(Debug, PartialEq, Eq)]
pub struct Hub {
    /// As written; goes into `Location`.
    pub url: String,
    /// Its host and port.
    pub address: NodeAddr,
}

impl<'de> Deserialize<'de> for Hub {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let url = String::deserialize(from)?;
        let clean = url.bytes().all(|b| b.is_ascii_graphic());
        let address = url
            .strip_prefix("rtmp://")
            .filter(|_| clean)
            .and_then(|rest| rest.split(['/', '?']).next())
            .and_then(|address| NodeAddr::parse("hub", address, RTMP_PORT, None).ok());
        match address {
            Some(address) => Ok(Self { url, address }),
            None => Err(de::Error::custom(format!(
                "\"{url}\" is no hub; write rtmp://host[:port]/app, or /app/name to rename the stream"
            ))),
        }
    }
}

/// `[[node]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    node: NodeAddr,
    /// Its share where there is a choice; 0 = only if there is no other.
    #[serde(default = "one", deserialize_with = "weight")]
    weight: u32,
}

fn one() -> u32 {
    1
}

fn weight<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let number = i64::deserialize(from)?;
    u32::try_from(number).ok().filter(|&w| w <= MAX_WEIGHT).ok_or_else(|| {
        de::Error::custom(format!("weight = {number}: a whole number from 0 to {MAX_WEIGHT}"))
    })
}

fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    humantime::parse_duration(&text).map_err(|_| {
        de::Error::custom(format!(
            "\"{text}\" is no time; write for example \"150s\" or \"2m 30s\""
        ))
    })
}

impl Policy {
    /// Reads and checks a policy file.
    pub fn read(path: &Path) -> Result<Self, PolicyError> {
        let shown = path.display().to_string();
        let size = std::fs::metadata(path).map_err(|e| PolicyError::Read(shown.clone(), e))?.len();
        if size > MAX_FILE {
            return Err(PolicyError::Form(shown, format!("longer than {MAX_FILE} bytes")));
        }
        let text =
            std::fs::read_to_string(path).map_err(|e| PolicyError::Read(shown.clone(), e))?;
        Self::parse(&text).map_err(|e| PolicyError::Form(shown, e))
    }

    /// Checks a policy's text; the error names key, value and what is allowed.
    pub fn parse(text: &str) -> Result<Self, String> {
        let policy: Self = toml::from_str(text).map_err(|e| e.to_string())?;
        policy.check()?;
        Ok(policy)
    }

    /// What no single value can tell.
    fn check(&self) -> Result<(), String> {
        let shown = humantime::format_duration;
        check_lease(self.lease)?;
        if self.learn > MAX_LEASE {
            return Err(format!(
                "learn = \"{}\": at most {}; 0s switches it off",
                shown(self.learn),
                shown(MAX_LEASE)
            ));
        }
        if self.wait > MAX_WAIT {
            return Err(format!(
                "wait = \"{}\": at most {}, for nodes wait 3 s for the answer (timeout=)",
                shown(self.wait),
                shown(MAX_WAIT)
            ));
        }
        for (section, admission) in [("publish", &self.publish), ("play", &self.play)] {
            if admission.tokens.iter().any(String::is_empty) {
                return Err(format!("{section}.tokens: \"\": a token has at least one byte"));
            }
        }
        for (i, push) in self.push.iter().enumerate() {
            if push.hubs.is_empty() {
                return Err(format!("push[{i}].hubs = []: at least one rtmp:// url"));
            }
            if !matches!(canonical("group", &push.group, 128), Ok(same) if same == push.group) {
                return Err(format!(
                    "push[{i}].group = \"{}\": letters, digits and -._~, as in groupid=",
                    push.group
                ));
            }
        }
        for (app, other) in &self.pull.apps {
            for name in [app, other] {
                if name.is_empty()
                    || !matches!(canonical("app", name, MAX_APP), Ok(same) if same == *name)
                {
                    return Err(format!(
                        "pull.apps: \"{app}\" = \"{other}\": names of applications"
                    ));
                }
            }
        }
        let mut seen = HashSet::new();
        match self.node.iter().find(|n| !seen.insert(&n.node)) {
            Some(twice) => Err(format!("node = \"{}\": listed twice", twice.node)),
            None => Ok(()),
        }
    }

    /// The key under which this event's stream is recorded.
    pub fn key(&self, event: &Event) -> StreamKey {
        let domain = match self.domains {
            Domains::Ignore => "",
            Domains::Names if is_address(&event.domain) => "",
            Domains::Names => &event.domain,
        };
        StreamKey::new(domain, &event.app, &event.name)
    }

    /// Whether this node may say that it has streams.
    pub fn knows(&self, node: &NodeAddr) -> bool {
        !self.only_listed_nodes || self.node.iter().any(|listed| listed.node == *node)
    }

    /// A node's weight.
    pub fn weight(&self, node: &NodeAddr) -> u32 {
        self.node.iter().find(|listed| listed.node == *node).map_or(1, |listed| listed.weight)
    }

    /// The same, of a node as a store shows it.
    pub fn weight_of(&self, node: &str) -> u32 {
        self.weight(&NodeAddr::stored(node))
    }

    /// The hub that this stream is pushed to, never the asking node itself.
    ///
    /// Chosen anew at each attempt: a node whose hub has died gets another one when it asks again.
    pub fn hub(&self, key: &StreamKey, group: &str, asking: Option<&NodeAddr>) -> Option<&Hub> {
        let path = key.path();
        let push = self.push.iter().find(|push| {
            push.group == group
                && (push.streams.is_empty() || push.streams.iter().any(|p| p.0.matches(&path)))
        })?;
        let others =
            push.hubs.iter().filter(|hub| Some(&hub.address) != asking).collect::<Vec<_>>();
        by_weight(&others, |hub| self.weight(&hub.address)).copied()
    }
}

/// Checks a lease, from the file or the command line.
pub fn check_lease(lease: Duration) -> Result<(), String> {
    if (MIN_LEASE..=MAX_LEASE).contains(&lease) {
        return Ok(());
    }
    let shown = humantime::format_duration;
    Err(format!("lease = \"{}\": from {} to {}", shown(lease), shown(MIN_LEASE), shown(MAX_LEASE)))
}

/// One of `items`, each as likely as its weight; those of weight 0 only if there is no other.
pub fn by_weight<T>(items: &[T], weight: impl Fn(&T) -> u32) -> Option<&T> {
    let total = items.iter().map(|item| u64::from(weight(item))).sum::<u64>();
    if total == 0 {
        return fastrand::choice(items);
    }
    let mut left = fastrand::u64(..total);
    items.iter().find(|item| match left.checked_sub(u64::from(weight(item))) {
        Some(rest) => {
            left = rest;
            false
        }
        None => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(path: &str) -> StreamKey {
        let mut parts = path.splitn(3, '/');
        let mut part = || parts.next().unwrap();
        StreamKey::new(part(), part(), part())
    }

    fn node(text: &str) -> NodeAddr {
        NodeAddr::parse("node", text, RTMP_PORT, None).unwrap()
    }

    #[test]
    fn an_empty_file_is_the_default() {
        let policy = Policy::parse("").unwrap();
        assert_eq!(policy.lease, Duration::from_secs(150));
        assert_eq!(policy.conflict, Conflict::Newest);
        assert_eq!(policy.publish.refusal(&key("d/live/s"), b""), None);
    }

    #[test]
    fn errors_name_key_value_and_what_is_allowed() {
        for (text, parts) in [
            ("leese = \"1s\"", &["leese", "lease", "conflict"][..]),
            ("lease = \"long\"", &["lease", "\"long\"", "150s"]),
            ("lease = \"0s\"", &["lease", "0s", "from 1s to 1day"]),
            ("lease = 150", &["lease", "150", "string"]),
            ("wait = \"10s\"", &["wait", "10s", "at most 2s 500ms"]),
            ("learn = \"2days\"", &["learn", "2days", "at most 1day"]),
            ("conflict = \"last\"", &["conflict", "last", "newest", "first", "share"]),
            ("init_process = \"x\"", &["init_process", "forget", "await-update"]),
            ("domains = \"all\"", &["domains", "names", "ignore"]),
            ("[publish]\ndeny = [\"live\"]", &["deny", "\"live\"", "*/live/*"]),
            ("[publish]\nallows = []", &["allows", "allow", "deny", "tokens"]),
            ("[play]\ntokens = \"x\"", &["tokens", "sequence"]),
            ("[play]\ntokens = [\"\"]", &["play.tokens", "\"\"", "at least one byte"]),
            ("[access]\nnodes = [\"10.0.0.0/33\"]", &["nodes", "10.0.0.0/33"]),
            ("[pull]\nover = \"ftp\"", &["over", "ftp", "rtmp", "http"]),
            ("[pull]\norigin = \"rtmp://a/b\"", &["origin", "rtmp://a/b", "without a path"]),
            ("[pull.apps]\nedge = \"a b\"", &["pull.apps", "edge", "a b"]),
            ("[[push]]\nhubs = []", &["push[0].hubs", "[]", "rtmp://"]),
            (
                "[[push]]\nhubs = [\"http://a/b\"]",
                &["hubs", "http://a/b", "rtmp://host[:port]/app"],
            ),
            ("[[push]]\nhubs = [\"rtmp://a/b c\"]", &["hubs", "rtmp://a/b c"]),
            ("[[push]]\ngroup = \"a b\"\nhubs = [\"rtmp://a/b\"]", &["push[0].group", "a b"]),
            ("[[push]]\ngroup = \"a\"", &["hubs"]),
            ("[[node]]\nnode = \"a b\"", &["node", "\"a b\"", "10.0.0.1:1935"]),
            ("[[node]]\nnode = \"a\"\nweight = -1", &["weight", "-1", "0 to 1000"]),
            ("[[node]]\nnode = \"a\"\n[[node]]\nnode = \"a:1935\"", &["a:1935", "twice"]),
        ] {
            let error = Policy::parse(text).expect_err(text);
            for part in parts {
                assert!(error.contains(part), "{text}\n{error}\nlacks {part}");
            }
        }
    }

    #[test]
    fn deny_beats_allow_and_tokens_count() {
        let policy = Policy::parse(
            "[publish]\nallow = [\"*/live/*\"]\ndeny = [\"*/live/bad*\"]\ntokens = [\"t1\", \"t2\"]",
        )
        .unwrap();
        let refusal = |path, token: &str| policy.publish.refusal(&key(path), token.as_bytes());
        assert_eq!(refusal("d/live/s", "t2"), None);
        assert_eq!(refusal("/live/s", "t1"), None);
        assert_eq!(refusal("d/live/s", ""), Some("token missing or unknown"));
        assert_eq!(refusal("d/live/s", "t"), Some("token missing or unknown"));
        assert_eq!(refusal("d/live/bad1", "t1"), Some("on the deny list"));
        assert_eq!(refusal("d/vod/s", "t1"), Some("not on the allow list"));
        assert_eq!(policy.play.refusal(&key("d/vod/s"), b""), None);
    }

    #[test]
    fn lists_see_names_decoded() {
        let policy = Policy::parse("[play]\ndeny = [\"*/live/直播\"]").unwrap();
        assert!(policy.play.refusal(&key("d/live/%E7%9B%B4%E6%92%AD"), b"").is_some());
    }

    #[test]
    fn a_hub_fits_group_and_stream_and_is_not_the_asker() {
        let policy = Policy::parse(
            r#"
            [[push]]
            streams = ["*/live/*"]
            hubs = ["rtmp://h1/core", "rtmp://h2:1936/core/renamed"]
            [[push]]
            group = "archive"
            hubs = ["rtmp://h3/dvr"]
            "#,
        )
        .unwrap();
        let url = |path, group, asking: Option<&NodeAddr>| {
            policy.hub(&key(path), group, asking).map(|hub| hub.url.as_str())
        };
        assert_eq!(url("d/live/s", "", Some(&node("h1"))), Some("rtmp://h2:1936/core/renamed"));
        assert_eq!(url("d/live/s", "archive", None), Some("rtmp://h3/dvr"));
        assert_eq!(url("d/live/s", "archive", Some(&node("h3"))), None);
        assert_eq!(url("d/vod/s", "", None), None);
        assert_eq!(url("d/live/s", "other", None), None);
    }

    #[test]
    fn weights_share_and_zero_is_the_last_resort() {
        let items = [("a", 3), ("b", 1), ("c", 0)];
        let mut count = BTreeMap::new();
        for _ in 0..4000 {
            *count.entry(by_weight(&items, |i| i.1).unwrap().0).or_insert(0) += 1;
        }
        assert!(!count.contains_key("c"));
        assert!((2700..3300).contains(&count["a"]), "{count:?}");
        assert_eq!(by_weight(&items[2..], |i| i.1).unwrap().0, "c");
        assert_eq!(by_weight(&items[..0], |i| i.1), None);
    }

    #[test]
    fn domains() {
        let event = |domain: &str| {
            Event::read(
                "play",
                &format!("call=play&act=start&app=live&name=s&domain={domain}"),
                "::1".parse().unwrap(),
            )
            .unwrap()
        };
        let names = Policy::default();
        assert_eq!(names.key(&event("a.com")).domain(), "a.com");
        assert_eq!(names.key(&event("10.0.0.1")), names.key(&event("[::1]")));
        let ignore = Policy::parse("domains = \"ignore\"").unwrap();
        assert_eq!(ignore.key(&event("a.com")), ignore.key(&event("10.0.0.1")));
    }

    #[test]
    fn access_lists() {
        let policy = Policy::parse("[access]\nnodes = [\"10.0.0.0/8\", \"::1/128\"]").unwrap();
        let node = |peer: &str| policy.access.node(peer.parse().unwrap());
        assert!(node("10.1.2.3") && node("::1") && node("::ffff:10.0.0.1"));
        assert!(!node("192.168.0.1"));
        assert!(policy.access.operator("192.168.0.1".parse().unwrap()));
    }

    #[test]
    fn only_proxies_speak_for_others() {
        let policy = Policy::parse("[access]\nproxies = [\"10.0.0.1/32\"]").unwrap();
        let origin =
            |peer: &str, real_ip| policy.access.origin(peer.parse().unwrap(), real_ip).to_string();
        assert_eq!(origin("10.0.0.1", Some("10.9.9.9")), "10.9.9.9");
        assert_eq!(origin("10.0.0.1", Some("nonsense")), "10.0.0.1");
        assert_eq!(origin("10.0.0.1", None), "10.0.0.1");
        assert_eq!(origin("10.0.0.2", Some("10.9.9.9")), "10.0.0.2");
    }

    #[test]
    fn only_listed_nodes() {
        let policy = Policy::parse("only_listed_nodes = true\n[[node]]\nnode = \"a\"").unwrap();
        assert!(policy.knows(&node("a:1935")));
        assert!(!policy.knows(&node("b")));
    }
}
