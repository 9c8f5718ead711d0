//! Names as nodes send them, and the key that a stream has in the scheduler.
//!
//! A name may hold any byte. Inside the scheduler it is kept percent-encoded in one canonical form, so that it is
//! printable wherever it goes (log, JSON, Redis, `Location`) and two spellings of one name are one key.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use percent_encoding::{percent_decode_str, percent_encode, AsciiSet, NON_ALPHANUMERIC};

/// A DNS name has at most 253 bytes; nginx passes a Host header of any length.
pub const MAX_DOMAIN: usize = 255;
/// Longer than any application or stream name in use; an encoded key still fits the 16 KiB of a request head.
pub const MAX_APP: usize = 512;
/// See [`MAX_APP`].
pub const MAX_NAME: usize = 1024;
/// `worker=`, `client=`, `groupid=`: short identifiers made by a node's configuration.
pub const MAX_IDENTIFIER: usize = 128;

/// The bytes that nodes send encoded: all but the unreserved ones of RFC 3986 and `/:@!$'()*,;`.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/')
    .remove(b':')
    .remove(b'@')
    .remove(b'!')
    .remove(b'$')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b',')
    .remove(b';');

/// Why a value of a request is refused.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadValue {
    /// A parameter that this call cannot do without.
    #[error("{0}= is missing")]
    Missing(&'static str),
    /// Longer than the limit, in decoded bytes.
    #[error("{0}= is longer than {1} bytes")]
    TooLong(&'static str, usize),
    /// A byte below 0x20 or 0x7f.
    #[error("{0}= holds a control byte")]
    Control(&'static str),
    /// Anything else, with what would be right.
    #[error("{0}= must be {1}")]
    Form(&'static str, &'static str),
}

/// Brings one value of a query to its canonical percent-encoded form.
///
/// `what` names the parameter in errors, `max` limits its decoded bytes. `+` stands for itself, as in a path.
pub fn canonical(what: &'static str, raw: &str, max: usize) -> Result<String, BadValue> {
    let bytes = percent_decode_str(raw).collect::<Vec<u8>>();
    if bytes.len() > max {
        return Err(BadValue::TooLong(what, max));
    }
    if bytes.iter().any(u8::is_ascii_control) {
        return Err(BadValue::Control(what));
    }
    Ok(percent_encode(&bytes, ENCODED).to_string())
}

/// A canonical value for people: decoded, with U+FFFD where it is not UTF-8.
pub fn readable(canonical: &str) -> String {
    percent_decode_str(canonical).decode_utf8_lossy().into_owned()
}

/// (domain, app, name) of a stream, each canonical; ordered by domain, then app, then name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamKey {
    /// The three with a space between: no canonical value holds one. Shared, as a record has it in several places.
    joined: Arc<str>,
}

impl StreamKey {
    /// Joins three canonical values.
    pub fn new(domain: &str, app: &str, name: &str) -> Self {
        Self { joined: format!("{domain} {app} {name}").into() }
    }

    /// The key as [`StreamKey::as_str`] gave it out; `None` if it is no such thing.
    pub fn parse(joined: &str) -> Option<Self> {
        (joined.split(' ').count() == 3).then(|| Self { joined: joined.into() })
    }

    /// One printable line, the same for equal keys.
    pub fn as_str(&self) -> &str {
        &self.joined
    }

    /// Canonical domain, may be empty.
    pub fn domain(&self) -> &str {
        self.joined.split(' ').next().unwrap_or_default()
    }

    /// Canonical application.
    pub fn app(&self) -> &str {
        self.joined.split(' ').nth(1).unwrap_or_default()
    }

    /// Canonical stream name.
    pub fn name(&self) -> &str {
        self.joined.split(' ').nth(2).unwrap_or_default()
    }

    /// The same stream name in another application.
    pub fn in_app(&self, app: &str) -> Self {
        Self::new(self.domain(), app, self.name())
    }

    /// `domain/app/name` as allow and deny lists see it.
    pub fn path(&self) -> String {
        readable(&self.joined.replace(' ', "/"))
    }
}

impl fmt::Display for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.domain(), self.app(), self.name())
    }
}

impl fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether a canonical domain is an address: then it says which machine was asked, not whose stream it is.
pub fn is_address(domain: &str) -> bool {
    let bare = domain.trim_start_matches("%5B").trim_end_matches("%5D");
    domain.is_empty() || domain == "localhost" || bare.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_stay_as_they_are() {
        for name in ["s1", "a-b_c.d~e", "a/b:c@d!e$f'g(h)i*j,k;l"] {
            assert_eq!(canonical("name", name, MAX_NAME).unwrap(), name);
        }
    }

    #[test]
    fn two_spellings_are_one_name() {
        assert_eq!(canonical("name", "%73%31", 9).unwrap(), "s1");
        assert_eq!(canonical("name", "%e7%9b%b4", 9).unwrap(), "%E7%9B%B4");
        assert_eq!(canonical("name", "直", 9).unwrap(), "%E7%9B%B4");
        assert_eq!(canonical("name", "a+b", 9).unwrap(), "a%2Bb");
        assert_eq!(canonical("name", "a%2Bb", 9).unwrap(), "a%2Bb");
        assert_eq!(readable("%E7%9B%B4 %FF"), "直 \u{fffd}");
    }

    #[test]
    fn every_byte_survives_or_is_refused() {
        for byte in 0..=255u8 {
            let raw = format!("%{byte:02x}");
            match canonical("name", &raw, 1) {
                Ok(text) => assert_eq!(percent_decode_str(&text).collect::<Vec<_>>(), [byte]),
                Err(e) => assert!(byte.is_ascii_control(), "{e}"),
            }
        }
    }

    #[test]
    fn long_values_are_refused_not_cut() {
        assert_eq!(canonical("name", "%61bc", 2), Err(BadValue::TooLong("name", 2)));
        assert!(canonical("name", "%61b", 2).is_ok());
    }

    #[test]
    fn a_half_escape_is_text() {
        assert_eq!(canonical("name", "50%", 9).unwrap(), "50%25");
        assert_eq!(canonical("name", "%zz", 9).unwrap(), "%25zz");
    }

    #[test]
    fn a_key_gives_back_its_parts() {
        let key = StreamKey::new("", "live", "a/b");
        assert_eq!((key.domain(), key.app(), key.name()), ("", "live", "a/b"));
        assert_eq!(StreamKey::parse(key.as_str()), Some(key.clone()));
        assert_eq!(StreamKey::parse("live a"), None);
        assert_eq!(key.path(), "/live/a/b");
        assert_eq!(key.in_app("core").app(), "core");
    }

    #[test]
    fn addresses_are_no_names() {
        for domain in ["", "localhost", "10.0.0.1", "::1", "%5B::1%5D"] {
            assert!(is_address(domain), "{domain}");
        }
        assert!(!is_address("live.example.com"));
    }
}
