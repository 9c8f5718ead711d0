//! What browsers send, and may send on behalf of a page that is not ours.
//!
//! A browser that a node's network is reachable from would else publish for any page that it shows: an `<img>` is a GET.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::OnceLock;

use axum::http::{header, HeaderMap, HeaderName};

/// Fetch metadata, which browsers send to origins that they trust, `localhost` among them (W3C Fetch Metadata).
const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// Whether a browser sends this. Not every header is there in every one, but each browser sends some of them, and no
/// page can take them away; nodes send none.
pub fn is_browser(headers: &HeaderMap) -> bool {
    let told = [
        header::ORIGIN,
        header::REFERER,
        header::COOKIE,
        header::ACCEPT_LANGUAGE,
        SITE,
        MODE,
        DEST,
    ];
    let agent = headers.get(header::USER_AGENT).map(|agent| agent.as_bytes());
    told.iter().any(|name| headers.contains_key(name))
        || agent.is_some_and(|agent| agent.starts_with(b"Mozilla/"))
}

/// Whether a page of another site has caused this.
pub fn is_cross_site(headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if text(SITE).is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return true;
    }
    let Some(origin) = text(header::ORIGIN) else { return headers.contains_key(header::ORIGIN) };
    let host = origin.split_once("://").map(|(_, host)| host);
    host.is_none() || host != text(header::HOST)
}

/// Whether the request names us. A name that is not ours may have been made to point here, so that a page of that name
/// can read what we answer (DNS rebinding); an address can't.
pub fn is_own_host(headers: &HeaderMap, names: &[String]) -> bool {
    let Some(host) = headers.get(header::HOST) else { return true };
    let Ok(host) = host.to_str() else { return false };
    if let Some(v6) = host.strip_prefix('[') {
        let inside = v6.split_once(']').map(|(inside, _)| inside);
        return inside.is_some_and(|inside| inside.parse::<Ipv6Addr>().is_ok());
    }
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || name.eq_ignore_ascii_case(machine())
        || names.iter().any(|own| own.eq_ignore_ascii_case(name))
}

/// The name of this machine; empty if there is none to be had.
fn machine() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        name.trim().to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::try_from(*name).unwrap(),
                    header::HeaderValue::try_from(*value).unwrap(),
                )
            })
            .collect()
    }

    #[test]
    fn nodes_and_tools_are_no_browsers() {
        for agent in ["ngx-rtmp/0.1.0", "curl/8.5.0", "Prometheus/2.42.0", ""] {
            assert!(!is_browser(&headers(&[("user-agent", agent), ("accept", "*/*")])), "{agent}");
        }
        for line in [
            ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) Chrome/156.0"),
            ("accept-language", "en"),
            ("referer", "http://evil.example/"),
            ("origin", "null"),
            ("sec-fetch-site", "none"),
        ] {
            assert!(is_browser(&headers(&[line])), "{line:?}");
        }
    }

    #[test]
    fn pages_of_other_sites() {
        for (lines, cross) in [
            (&[("host", "a:1")][..], false),
            (&[("host", "a:1"), ("origin", "http://a:1")], false),
            (&[("host", "a:1"), ("sec-fetch-site", "same-origin")], false),
            (&[("host", "a:1"), ("sec-fetch-site", "none")], false),
            (&[("host", "a:1"), ("origin", "http://a:2")], true),
            (&[("host", "a:1"), ("origin", "http://evil.example")], true),
            (&[("host", "a:1"), ("origin", "null")], true),
            (&[("host", "a:1"), ("origin", "\u{e9}")], true),
            (&[("host", "a:1"), ("sec-fetch-site", "same-site")], true),
            (&[("host", "a:1"), ("sec-fetch-site", "cross-site")], true),
        ] {
            assert_eq!(is_cross_site(&headers(lines)), cross, "{lines:?}");
        }
    }

    #[test]
    fn hosts_that_are_ours() {
        let names = ["sched.example".to_owned()];
        for (host, own) in [
            ("127.0.0.1:6200", true),
            ("10.0.0.5", true),
            ("[::1]:6200", true),
            ("localhost:6200", true),
            ("LocalHost", true),
            ("Sched.Example:6200", true),
            (machine(), true),
            ("evil.example", false),
            ("sched.example.evil.example", false),
            ("[sched.example]", false),
            ("x", false),
            ("127.0.0.1.evil.example:6200", false),
            ("", false),
        ] {
            assert_eq!(is_own_host(&headers(&[("host", host)]), &names), own, "{host}");
        }
        assert!(is_own_host(&headers(&[]), &names));
    }
}
