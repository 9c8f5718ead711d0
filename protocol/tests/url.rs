//! Urls of streams, in every form that they are written in.

use percent_encoding::{percent_encode, NON_ALPHANUMERIC};
use proptest::prelude::*;
use rtmp_protocol::url::{Redirect, Scheme, StreamUrl, UrlError};

/// Application, name and query; a dash stands for none.
fn parts(url: &[u8]) -> String {
    let url = StreamUrl::parse(url).unwrap();
    let text = |part: Option<Vec<u8>>| match part {
        Some(part) => String::from_utf8(part).unwrap(),
        None => "-".into(),
    };
    format!("{} {} {}", text(url.app), text(url.name), text(url.args))
}

#[test]
fn the_path_is_an_application_and_a_name() {
    for (url, expected) in [
        ("rtmp://h", "- - -"),
        ("rtmp://h/", "- - -"),
        ("rtmp://h/live", "live - -"),
        ("rtmp://h/live/", "live - -"),
        ("rtmp://h/live/cam", "live cam -"),
        ("rtmp://h/live/room/cam/", "live room/cam/ -"),
        ("rtmp://h//live/cam", "live cam -"),
        ("rtmp://h/live/cam?k=v&w=a/b?c", "live cam k=v&w=a/b?c"),
        ("rtmp://h/live/?k=v", "live - k=v"),
        ("rtmp://h/live?k=v", "live - k=v"),
        ("rtmp://h/?k=a/b", "- - k=a/b"),
        ("rtmp://h?k=a/b", "- - k=a/b"),
        ("rtmp://h/live/cam?k=v#part", "live cam k=v"),
        ("http://h/live/cam.flv?k=a/b", "live cam.flv k=a/b"),
        ("http://h/live?k=a/b", "live - k=a/b"),
        ("http://h//live/room/cam", "live room/cam -"),
        ("HTTP://h/live/cam", "live cam -"),
    ] {
        assert_eq!(parts(url.as_bytes()), expected, "{url}");
    }
}

#[test]
fn an_rtmp_application_ends_at_a_slash_only() {
    for (url, expected) in [
        ("rtmp://h/live2?backup=1/key", "live2?backup=1 key -"),
        ("rtmp://h/live2?backup=1/key?k=v", "live2?backup=1 key k=v"),
        ("rtmp://h/live2?backup=1/", "live2?backup=1 - -"),
        ("rtmp://h/live%32?b=%31/key", "live2?b=%31 key -"),
    ] {
        assert_eq!(parts(url.as_bytes()), expected, "{url}");
    }
}

#[test]
fn names_are_decoded_once() {
    for (url, expected) in [
        ("rtmp://h/a%20b/YWJj%3D%3D?k=%3D", "a b YWJj== k=%3D"),
        ("http://h/a%20b/YWJj%3D%3D?k=%3D", "a b YWJj== k=%3D"),
        ("rtmp://h/live/cam 1?x=a b", "live cam 1 x=a b"),
        ("rtmp://h/live/a+b", "live a+b -"),
        ("rtmp://h/live/a%2Bb", "live a+b -"),
        ("rtmp://h/live/a%b", "live a%b -"),
        ("rtmp://h/live/a%25b", "live a%b -"),
        ("rtmp://h/live/a%2541", "live a%41 -"),
        ("rtmp://h/live/100%", "live 100% -"),
        ("rtmp://h/live/a%2fb", "live a/b -"),
        ("rtmp://h/live/中文", "live 中文 -"),
        ("rtmp://h/live/%E4%B8%AD%e6%96%87", "live 中文 -"),
    ] {
        assert_eq!(parts(url.as_bytes()), expected, "{url}");
    }
}

#[test]
fn authorities() {
    for (url, host, port, authority) in [
        ("rtmp://h", "h", 1935, "h"),
        ("rtmp://h:1935", "h", 1935, "h"),
        ("rtmp://h:80/a", "h", 80, "h:80"),
        ("rtmp://h:/a", "h", 1935, "h"),
        ("http://Host.Example/a", "Host.Example", 80, "Host.Example"),
        ("http://h:8080?x", "h", 8080, "h:8080"),
        ("rtmp://[::1]:1936/a", "::1", 1936, "[::1]:1936"),
        ("http://[2001:db8::1]", "2001:db8::1", 80, "[2001:db8::1]"),
        ("rtmp://a_b-c.d", "a_b-c.d", 1935, "a_b-c.d"),
    ] {
        let parsed = StreamUrl::parse(url.as_bytes()).unwrap();
        assert_eq!((parsed.host.as_str(), parsed.port), (host, port), "{url}");
        assert_eq!(parsed.authority(), authority, "{url}");
    }
}

#[test]
fn what_is_no_url_of_a_stream() {
    for (url, error) in [
        ("", UrlError::Scheme),
        ("/live/cam", UrlError::Scheme),
        ("//h/live/cam", UrlError::Scheme),
        ("rtmp:", UrlError::Scheme),
        ("rtmps://h/live/cam", UrlError::Scheme),
        ("file:///etc/passwd", UrlError::Scheme),
        ("rtmp://", UrlError::Host),
        ("rtmp:///live/cam", UrlError::Host),
        ("rtmp://:1935/live", UrlError::Host),
        ("rtmp://[::1/live", UrlError::Host),
        ("rtmp://[x]/live", UrlError::Host),
        ("rtmp://h h/live", UrlError::Host),
        ("rtmp://h\\x/live", UrlError::Host),
        ("rtmp://h:0/live", UrlError::Port),
        ("rtmp://h:65536/live", UrlError::Port),
        ("rtmp://h:+1/live", UrlError::Port),
        ("rtmp://h:1x/live", UrlError::Port),
        ("rtmp://user@h/live", UrlError::User),
        ("rtmp://user:word@h/live", UrlError::User),
        ("rtmp://@h/live", UrlError::User),
        ("rtmp://h/li\tve/cam", UrlError::Control),
        ("rtmp://h/live/cam?k=\r\nX: y", UrlError::Control),
        ("rtmp://h/live/a%0d%0ab", UrlError::Control),
        ("http://h/live/a%00", UrlError::Control),
        ("rtmp://h/li%7fve/a", UrlError::Control),
    ] {
        assert_eq!(StreamUrl::parse(url.as_bytes()), Err(error), "{url:?}");
    }
    assert_eq!(StreamUrl::parse(b"rtmp://\xff/live"), Err(UrlError::Host));
}

fn redirect(location: &str) -> Result<String, UrlError> {
    let to = Redirect::resolve("h:8080", "/live/a/x.flv?k=v", location.as_bytes())?;
    let away = to.elsewhere.map(|(host, port)| format!(" to {host} {port}")).unwrap_or_default();
    Ok(format!("{} {}{away}", to.authority, to.target))
}

#[test]
fn redirects_are_resolved() {
    for (location, expected) in [
        ("/p", "h:8080 /p"),
        ("p", "h:8080 /live/a/p"),
        ("y.flv?z", "h:8080 /live/a/y.flv?z"),
        ("../b/y.flv", "h:8080 /live/b/y.flv"),
        ("../../../../y.flv", "h:8080 /y.flv"),
        ("./y.flv", "h:8080 /live/a/y.flv"),
        ("?q=1", "h:8080 /live/a/x.flv?q=1"),
        ("#part", "h:8080 /live/a/x.flv?k=v"),
        ("//h:8080/p?q", "h:8080 /p?q"),
        ("//H:8080/p", "h:8080 /p"),
        ("http://h:8080/p", "h:8080 /p"),
        ("http://h:8080", "h:8080 /"),
        ("//h/p", "h /p to h 80"),
        ("//other/p", "other /p to other 80"),
        ("http://h:8081/p", "h:8081 /p to h 8081"),
        ("HTTP://[::1]:81/p", "[::1]:81 /p to ::1 81"),
        ("/cam 1/中", "h:8080 /cam%201/%E4%B8%AD"),
        ("/a%20b|c?d=e|f", "h:8080 /a%20b|c?d=e|f"),
    ] {
        assert_eq!(redirect(location).as_deref(), Ok(expected), "{location}");
    }
    for (location, error) in [
        ("https://h:8080/p", UrlError::Scheme),
        ("rtmp://h/live/p", UrlError::Scheme),
        ("file:///etc/passwd", UrlError::Scheme),
        ("http://user@h:8080/p", UrlError::User),
        ("http://:word@h:8080/p", UrlError::User),
        ("http://h:0/p", UrlError::Port),
        ("http://h:99999/p", UrlError::Port),
        ("http://", UrlError::Host),
        ("//", UrlError::Host),
        ("/p\tq", UrlError::Control),
    ] {
        assert_eq!(redirect(location), Err(error), "{location:?}");
    }
}

#[test]
fn the_port_of_http_may_be_left_out() {
    for authority in ["h", "h:80"] {
        for location in ["http://h/p", "http://h:80/p", "//h:/p"] {
            let to = Redirect::resolve(authority, "/", location.as_bytes()).unwrap();
            assert_eq!(
                (to.elsewhere, to.authority.as_str()),
                (None, "h"),
                "{authority} {location}"
            );
        }
    }
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_map(|byte| if byte.is_ascii_control() { b'/' } else { byte });
    proptest::collection::vec(byte, 1..40)
}

/// Bytes that mean something in an url, and any others.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let syntax = proptest::sample::select(b"//::..??##@@[]%%01aAhtp\\ \t".to_vec());
    proptest::collection::vec(prop_oneof![4 => syntax, 1 => any::<u8>()], 0..30)
}

proptest! {
    /// A name that somebody has encoded is that name again, by both protocols.
    #[test]
    fn an_encoded_name_comes_back(name in name(), http: bool) {
        let scheme = if http { Scheme::Http } else { Scheme::Rtmp };
        let url = format!("h/live/{}?{}", percent_encode(&name, NON_ALPHANUMERIC), "k=%2f");
        let url = StreamUrl::split(scheme, url.as_bytes()).unwrap();
        prop_assert_eq!(url.name, Some(name));
        prop_assert_eq!(url.args, Some(b"k=%2f".to_vec()));
    }

    /// So does one that stands there as it is, unless it holds what means something in an url.
    #[test]
    fn a_raw_name_comes_back(name in name(), http: bool) {
        let name: Vec<u8> = name.into_iter().filter(|byte| !b"%?#".contains(byte)).collect();
        prop_assume!(!name.is_empty());
        let scheme = if http { Scheme::Http } else { Scheme::Rtmp };
        let url = [b"h/live/", name.as_slice()].concat();
        prop_assert_eq!(StreamUrl::split(scheme, &url).unwrap().name, Some(name));
    }

    /// No text makes it panic, and no part of what it gives holds a control byte.
    #[test]
    fn any_text(text in text(), http: bool) {
        let scheme = if http { Scheme::Http } else { Scheme::Rtmp };
        if let Ok(url) = StreamUrl::split(scheme, &text) {
            prop_assert!(!url.host.is_empty() && url.port > 0);
            let again = StreamUrl::split(scheme, url.authority().as_bytes()).unwrap();
            prop_assert_eq!((again.host, again.port), (url.host, url.port));
            for part in [url.app, url.name, url.args].into_iter().flatten() {
                prop_assert!(!part.iter().any(u8::is_ascii_control));
            }
        }
    }

    /// What a redirect leads to can stand in a request.
    #[test]
    fn any_redirect(location in text()) {
        if let Ok(to) = Redirect::resolve("h", "/live/x", &location) {
            prop_assert!(to.target.starts_with('/'));
            prop_assert_eq!(to.elsewhere.is_none(), to.authority == "h");
            prop_assert!(to.target.bytes().chain(to.authority.bytes()).all(|b| b.is_ascii_graphic()));
        }
    }
}
