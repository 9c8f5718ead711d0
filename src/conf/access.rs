//! Who may publish and play, and where relays may go.

use std::net::IpAddr;

use super::directive::{setting, Directive, MSA, ONE, ONE_OR_TWO};
use super::scope::{Scope, Settings};
use super::value::{self, Args, ConfError};

/// The directives.
pub const DIRECTIVES: &[Directive] = &[
    setting(c"allow", MSA, None, ONE_OR_TWO, |scope, args| rule(scope, args, true)),
    setting(c"deny", MSA, None, ONE_OR_TWO, |scope, args| rule(scope, args, false)),
    setting(c"relay_allow", MSA, None, ONE, |scope, args| network(scope, args, true)),
    setting(c"relay_deny", MSA, None, ONE, |scope, args| network(scope, args, false)),
];

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// To send a stream.
    Publish,
    /// To receive one.
    Play,
}

/// One `allow` or `deny`.
#[derive(Debug, Clone)]
pub struct AccessRule {
    /// What it decides.
    pub allow: bool,
    /// Only for publishing or only for playing; `None`: for both.
    pub kind: Option<Kind>,
    /// For whom.
    pub net: Net,
}

/// A set of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Net {
    /// Every client.
    All,
    /// Clients of a unix socket.
    Unix,
    /// IPv4 addresses with the same first `prefix` bits.
    V4 {
        /// Whose bits.
        net: u32,
        /// How many, at most 32.
        prefix: u32,
    },
    /// IPv6 addresses with the same first `prefix` bits.
    V6 {
        /// Whose bits.
        net: u128,
        /// How many, at most 128.
        prefix: u32,
    },
}

impl Net {
    /// What [`Net::parse`] reads.
    pub const MUST_BE: &str =
        "an address, a CIDR block such as \"192.168.1.0/24\", \"unix:\" or \"all\"";

    /// Whether `ip` is in the set; `None` is a client of a unix socket.
    pub fn contains(&self, ip: Option<IpAddr>) -> bool {
        match (self, ip.map(|ip| ip.to_canonical())) {
            (Net::All, _) | (Net::Unix, None) => true,
            (Net::V4 { net, prefix }, Some(IpAddr::V4(ip))) => {
                let differ = net ^ u32::from(ip);
                differ.checked_shr(32 - prefix).unwrap_or(0) == 0
            }
            (Net::V6 { net, prefix }, Some(IpAddr::V6(ip))) => {
                let differ = net ^ u128::from(ip);
                differ.checked_shr(128 - prefix).unwrap_or(0) == 0
            }
            _ => false,
        }
    }

    /// Reads `all`, `unix:`, an address or an address and a prefix.
    pub fn parse(word: &[u8]) -> Option<Net> {
        match word {
            b"all" => return Some(Net::All),
            b"unix:" => return Some(Net::Unix),
            _ => {}
        }
        let word = std::str::from_utf8(word).ok()?;
        let (ip, prefix) = match word.split_once('/') {
            Some((ip, prefix)) => (ip, Some(prefix)),
            None => (word, None),
        };
        let ip: IpAddr = ip.parse().ok()?;
        let bits = if ip.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => value::number(prefix.as_bytes(), &(0..=bits)).ok()?,
            None => bits,
        };
        // IPv4 addresses within IPv6 are IPv4 addresses, for a rule as for a client
        Some(match (ip.to_canonical(), bits) {
            (IpAddr::V4(v4), 32) => Net::V4 { net: v4.into(), prefix },
            (IpAddr::V4(v4), _) if prefix >= 96 => Net::V4 { net: v4.into(), prefix: prefix - 96 },
            _ => Net::V6 { net: ipv6(ip), prefix },
        })
    }
}

fn ipv6(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().into(),
        IpAddr::V6(v6) => v6.into(),
    }
}

impl AccessRule {
    /// Whether it decides about a client with the address `ip` that asks for `kind`.
    fn applies(&self, kind: Kind, ip: Option<IpAddr>) -> bool {
        self.kind.is_none_or(|only| only == kind) && self.net.contains(ip)
    }
}

/// Whether a client with the address `ip` may do what it asks for: the first of the rules that
/// applies decides, none allows. `None` is a client of a unix socket.
pub fn allowed(rules: &[AccessRule], kind: Kind, ip: Option<IpAddr>) -> bool {
    rules.iter().find(|rule| rule.applies(kind, ip)).is_none_or(|rule| rule.allow)
}

/// Whether a relay may go to `ip` if others than the configuration name it, by the same order.
pub fn may_relay_to(networks: &[AccessRule], ip: IpAddr) -> bool {
    networks.iter().find(|rule| rule.net.contains(Some(ip))).is_none_or(|rule| rule.allow)
}

/// The rules of a block, in the order of the file.
#[derive(Default)]
pub struct AccessScope {
    rules: Vec<AccessRule>,
    networks: Vec<AccessRule>,
}

impl Settings for AccessScope {
    /// The block's own rules come first, then those of the enclosing one.
    fn inherit(&mut self, outer: &Self) {
        self.rules.extend_from_slice(&outer.rules);
        self.networks.extend_from_slice(&outer.networks);
    }
}

impl AccessScope {
    /// The rules for clients as they are tried.
    pub fn rules(&self) -> Vec<AccessRule> {
        self.rules.clone()
    }

    /// The rules for relays as they are tried.
    pub fn networks(&self) -> Vec<AccessRule> {
        self.networks.clone()
    }
}

/// `allow [publish|play] address|CIDR|unix:|all`, and `deny`
fn rule(scope: &mut Scope, args: &Args<'_>, allow: bool) -> Result<(), ConfError> {
    let (kind, net) = match args.values() {
        [net] => (None, *net),
        [kind, net] => {
            let kinds = [("publish", Kind::Publish), ("play", Kind::Play)];
            (Some(value::choice(kind, &kinds)?), *net)
        }
        _ => return Err(ConfError::Logged),
    };
    let net = Net::parse(net).ok_or_else(|| ConfError::invalid(net, Net::MUST_BE))?;
    scope.of::<AccessScope>().rules.push(AccessRule { allow, kind, net });
    Ok(())
}

/// `relay_allow address|CIDR|all`, and `relay_deny`
fn network(scope: &mut Scope, args: &Args<'_>, allow: bool) -> Result<(), ConfError> {
    let net = Net::parse(args.first()).filter(|net| *net != Net::Unix).ok_or_else(|| {
        ConfError::invalid(
            args.first(),
            "an address, a CIDR block such as \"192.168.1.0/24\", or \"all\"",
        )
    })?;
    scope.of::<AccessScope>().networks.push(AccessRule { allow, kind: None, net });
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn net(word: &str) -> Net {
        Net::parse(word.as_bytes()).unwrap()
    }

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    fn rule(allow: bool, kind: Option<Kind>, word: &str) -> AccessRule {
        AccessRule { allow, kind, net: net(word) }
    }

    #[test]
    fn a_net_has_the_addresses_of_its_prefix() {
        assert!(net("192.168.1.0/24").contains(ip("192.168.1.255")));
        assert!(!net("192.168.1.0/24").contains(ip("192.168.2.0")));
        assert!(net("192.168.1.77/24").contains(ip("192.168.1.1")));
        assert!(net("192.0.2.1").contains(ip("192.0.2.1")));
        assert!(!net("192.0.2.1").contains(ip("192.0.2.2")));
        assert!(net("2001:db8::/32").contains(ip("2001:db8:ffff::1")));
        assert!(!net("2001:db8::/32").contains(ip("2001:db9::")));
    }

    #[test]
    fn a_prefix_of_no_bits_has_every_address_of_its_family() {
        assert!(net("0.0.0.0/0").contains(ip("255.255.255.255")));
        assert!(!net("0.0.0.0/0").contains(ip("::1")));
        assert!(net("::/0").contains(ip("::1")));
        assert!(!net("::/0").contains(ip("192.0.2.1")));
    }

    #[test]
    fn an_ipv4_address_within_ipv6_is_one_of_ipv4() {
        assert!(net("192.0.2.0/24").contains(ip("::ffff:192.0.2.7")));
        assert_eq!(net("::ffff:192.0.2.0/120"), net("192.0.2.0/24"));
        assert!(net("::ffff:192.0.2.7").contains(ip("192.0.2.7")));
    }

    #[test]
    fn unix_sockets_have_a_net_of_their_own() {
        assert!(net("unix:").contains(None));
        assert!(net("all").contains(None));
        assert!(!net("unix:").contains(ip("127.0.0.1")));
        assert!(!net("0.0.0.0/0").contains(None));
    }

    #[test]
    fn what_is_no_net_is_refused() {
        for word in ["", "host", "1.2.3", "1.2.3.4/33", "1.2.3.4/", "1.2.3.4/-1", "::/129", "ALL"] {
            assert_eq!(Net::parse(word.as_bytes()), None, "{word}");
        }
        assert_eq!(Net::parse(b"\xff"), None);
    }

    #[test]
    fn the_first_rule_that_applies_decides_and_none_allows() {
        let rules = [
            rule(true, Some(Kind::Publish), "127.0.0.1"),
            rule(false, Some(Kind::Publish), "all"),
            rule(false, None, "192.0.2.0/24"),
        ];
        let allowed = |kind, text| allowed(&rules, kind, ip(text));
        assert!(allowed(Kind::Publish, "127.0.0.1"));
        assert!(!allowed(Kind::Publish, "127.0.0.2"));
        assert!(allowed(Kind::Play, "127.0.0.2"));
        assert!(!allowed(Kind::Play, "192.0.2.1"));
        assert!(super::allowed(&[], Kind::Play, None));
    }

    #[test]
    fn a_block_tries_its_own_rules_before_those_around_it() {
        let mut inner =
            AccessScope { rules: vec![rule(true, None, "127.0.0.1")], ..Default::default() };
        let outer = AccessScope {
            rules: vec![rule(false, None, "all")],
            networks: vec![rule(false, None, "10.0.0.0/8")],
        };
        inner.inherit(&outer);
        assert!(allowed(&inner.rules(), Kind::Play, ip("127.0.0.1")));
        assert!(!allowed(&inner.rules(), Kind::Play, ip("127.0.0.2")));
        assert!(!may_relay_to(&inner.networks(), "10.1.2.3".parse().unwrap()));
        assert!(may_relay_to(&inner.networks(), "11.1.2.3".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn a_net_of_an_address_has_it(bits: u32, prefix in 0u32..=32, other: u32) {
            let net = Net::V4 { net: bits, prefix };
            prop_assert!(net.contains(Some(std::net::Ipv4Addr::from(bits).into())));
            let same = prefix == 0 || (bits ^ other) >> (32 - prefix) == 0;
            prop_assert_eq!(net.contains(Some(std::net::Ipv4Addr::from(other).into())), same);
        }

        #[test]
        fn any_word_is_a_net_or_none(word in proptest::collection::vec(any::<u8>(), 0..30)) {
            Net::parse(&word);
        }
    }
}
