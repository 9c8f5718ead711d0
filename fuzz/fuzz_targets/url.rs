//! Any bytes as an url of a stream, and as a redirect: what comes out can be spoken on.

#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use rtmp_protocol::url::{Redirect, Scheme, StreamUrl};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    http: bool,
    url: &'a [u8],
    location: &'a [u8],
}

fuzz_target!(|input: Input| {
    let scheme = if input.http { Scheme::Http } else { Scheme::Rtmp };
    if let Ok(url) = StreamUrl::split(scheme, input.url) {
        assert!(!url.host.is_empty() && url.port > 0);
        for part in [&url.app, &url.name, &url.args].into_iter().flatten() {
            assert!(!part.iter().any(u8::is_ascii_control));
        }
        // host and port, written down, are the same again
        let again = StreamUrl::split(scheme, url.authority().as_bytes()).expect("an authority");
        assert_eq!((again.host, again.port), (url.host, url.port));
    }
    if let Ok(to) = Redirect::resolve("h:8080", "/live/x.flv?k=v", input.location) {
        assert!(to.target.starts_with('/'));
        assert!(to.target.bytes().chain(to.authority.bytes()).all(|byte| byte.is_ascii_graphic()));
        assert_eq!(to.elsewhere.is_none(), to.authority == "h:8080");
    }
});
