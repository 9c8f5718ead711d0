//! HTTP-FLV as a client: one GET whose answer does not end.

use std::cell::Cell;
use std::rc::Rc;

use bytes::Bytes;
use http::header::{
    HeaderName, HeaderValue, ACCEPT, CONTENT_ENCODING, HOST, LOCATION, REFERER, USER_AGENT,
};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use percent_encoding::{percent_encode, AsciiSet};
use rtmp_protocol::flv::{FlvReader, Tag};
use rtmp_protocol::url::Redirect;

use super::connect::connect;
use super::failure::{Cause, Failure, Refused};
use super::target::{readable, Target};
use crate::conf::relay::Redirects;
use crate::conf::Msec;
use crate::nginx::async_conn::{AsyncConn, Io};
use crate::nginx::clock;
use crate::nginx::share::{Share, READS_A_TURN};
use crate::nginx::task::{self, next_turn, patience, race, Task};
use crate::stream_request::{StreamRequest, HOPS_FIELD, VIA_FIELD};
use crate::variables::QUERY;

/// Redirects that are followed: an origin that moved, behind a balancer.
const MAX_REDIRECTS: u32 = 3;
/// The longest header of an answer, and what is read of the body at once, in bytes.
const MAX_BUFFER: usize = 32 * 1024;
/// How many relays the request has come through, and which.
const HOPS: HeaderName = HeaderName::from_static(HOPS_FIELD);
const VIA: HeaderName = HeaderName::from_static(VIA_FIELD);

/// What can't stand in a path as itself (RFC 3986 section 3.3).
const PATH: &AsciiSet = &QUERY
    .add(b'?')
    .add(b'%')
    .add(b'[')
    .add(b']')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// An answer that is being read.
pub struct FlvClient {
    conn: Rc<AsyncConn>,
    body: Incoming,
    reader: FlvReader,
    /// The beginning of a tag's header.
    unread: Vec<u8>,
    share: Share,
    last: Rc<Cell<u64>>,
    timeout: Msec,
    // hyper's side of the connection, which ends with this
    _driver: Task,
}

impl FlvClient {
    /// Asks for the stream. Anything but 200 and an unencoded body is a failure.
    pub async fn open(request: &StreamRequest, target: &Target) -> Result<Self, Failure> {
        let mut target = target.clone();
        let mut path = path_of(&target);
        for _ in 0..=MAX_REDIRECTS {
            let conn = Rc::new(connect(request, &target).await?);
            let (mut sender, connection) = http1::Builder::new()
                .max_buf_size(MAX_BUFFER)
                // as every other client writes them, for servers written by hand
                .title_case_headers(true)
                .handshake::<_, Empty<Bytes>>(Io(conn.clone()))
                .await
                .map_err(broken)?;
            let driver = task::spawn(async move {
                // why it ended shows in the answer
                let _ = connection.await;
            });
            let answer = sender.send_request(get_request(&target, &path)?).await.map_err(broken)?;
            let (head, body) = answer.into_parts();
            match head.status {
                StatusCode::OK => {
                    if head.headers.contains_key(CONTENT_ENCODING) {
                        return Err(Cause::Encoded.into());
                    }
                    return Ok(FlvClient {
                        conn,
                        body,
                        reader: FlvReader::new(request.server.max_message),
                        unread: Vec::new(),
                        share: Share::default(),
                        last: Rc::new(Cell::new(clock::now())),
                        timeout: request.server.timeout,
                        _driver: driver,
                    });
                }
                StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT => {
                    let followed = request.app.relay.relay_redirects;
                    path = redirect(&mut target, &path, head.headers.get(LOCATION), followed)?;
                }
                StatusCode::NOT_FOUND | StatusCode::GONE => {
                    return Err(Failure::refused(Refused::NotFound, Cause::Answered(head.status)));
                }
                StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => {
                    return Err(Failure::refused(Refused::Forbidden, Cause::Answered(head.status)));
                }
                status => {
                    return Err(Failure::refused(Refused::Unclear, Cause::Answered(status)));
                }
            }
        }
        Err(Cause::Redirects(MAX_REDIRECTS).into())
    }

    /// The connection.
    pub fn conn(&self) -> Rc<AsyncConn> {
        self.conn.clone()
    }

    /// Gives each tag to `feed`, until they end.
    pub async fn play(mut self, mut feed: impl FnMut(Tag<'_>) -> Result<(), Failure>) -> Failure {
        let silence = silence(self.timeout, self.last.clone());
        let tags = async {
            loop {
                for _ in 0..READS_A_TURN {
                    if let Err(failure) = self.read(&mut feed).await {
                        return failure;
                    }
                    if self.share.is_used_up() {
                        break;
                    }
                }
                next_turn().await;
                self.share.renew();
            }
        };
        race(silence, tags).await
    }

    async fn read(
        &mut self,
        feed: &mut impl FnMut(Tag<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let frame = match self.body.frame().await {
            Some(frame) => frame.map_err(broken)?,
            None => return Err(Failure::gone(Cause::Unpublished)),
        };
        // trailers say nothing of a stream
        let Ok(data) = frame.into_data() else { return Ok(()) };
        self.last.set(clock::now());
        let unread = std::mem::take(&mut self.unread);
        let joined =
            if unread.is_empty() { data } else { [unread.as_slice(), &data].concat().into() };
        let mut input: &[u8] = &joined;
        loop {
            let tag = self.reader.read(&mut input);
            let Some(tag) = tag.map_err(Cause::Flv)? else { break };
            self.share.take(1);
            feed(tag)?;
        }
        self.unread = input.to_vec();
        Ok(())
    }
}

/// Ends when nothing comes for `limit` ms; 0 = never.
async fn silence(limit: Msec, last: Rc<Cell<u64>>) -> Failure {
    if limit == 0 {
        return std::future::pending().await;
    }
    loop {
        match limit.checked_sub(clock::now().saturating_sub(last.get())) {
            None | Some(0) => return Cause::Silent.into(),
            Some(left) => patience(left).await,
        }
    }
}

fn path_of(target: &Target) -> String {
    let encoded = |bytes| percent_encode(bytes, PATH);
    let mut path = format!("/{}/{}", encoded(&target.app), encoded(&target.name));
    if target.is_name && target.name.ends_with(b".flv") {
        // a server takes one away
        path.push_str(".flv");
    }
    if !target.args.is_empty() {
        path.push('?');
        path.extend(percent_encode(&target.args, QUERY));
    }
    path
}

fn get_request(target: &Target, path: &str) -> Result<Request<Empty<Bytes>>, Failure> {
    let mut request = Request::get(path)
        .header(HOST, target.domain.as_slice())
        .header(ACCEPT, "*/*")
        .header(HOPS, target.hops)
        .header(VIA, target.via.as_slice());
    for (name, value) in [(REFERER, &target.page_url), (USER_AGENT, &target.flash_ver)] {
        if !value.is_empty() {
            request = request.header(name, value.as_slice());
        }
    }
    // an origin can't be asked for what no request can say
    let impossible = |error| Failure::refused(Refused::NotFound, Cause::NoRequest(error));
    request.body(Empty::new()).map_err(impossible)
}

/// Turns to where the origin sends us, and gives the path there.
fn redirect(
    target: &mut Target,
    path: &str,
    location: Option<&HeaderValue>,
    followed: Redirects,
) -> Result<String, Cause> {
    let location = location.map(HeaderValue::as_bytes).unwrap_or_default();
    let not_followed = |why| Err(Cause::NotFollowed(readable(location), why));
    if location.is_empty() {
        return Err(Cause::NoLocation);
    }
    if followed == Redirects::Off {
        return not_followed("relay_redirects is off");
    }
    let asked = String::from_utf8_lossy(&target.domain);
    let to = Redirect::resolve(&asked, path, location)
        // a `domain=` that is no host
        .or_else(|_| Redirect::resolve(&target.authority(), path, location))
        .map_err(|error| Cause::BadLocation(readable(location), error))?;
    let Some((host, port)) = to.elsewhere else { return Ok(to.target) };
    if !host.as_bytes().eq_ignore_ascii_case(&target.host) || port != target.port {
        if followed == Redirects::SameHost {
            return not_followed("another host, and relay_redirects is same_host");
        }
        target.host = host.into_bytes();
        target.port = port;
        target.by_others = true;
    }
    target.domain = to.authority.into_bytes();
    Ok(to.target)
}

fn broken(error: hyper::Error) -> Failure {
    Failure::from(Cause::Http(error)).when_asked()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::target::tests::target;

    fn follow(from: &str, to: &[u8], followed: Redirects) -> Result<(String, Target), Cause> {
        let mut target = target(from);
        let path = path_of(&target);
        let location = HeaderValue::from_bytes(to).expect("a header");
        redirect(&mut target, &path, Some(&location), followed).map(|path| (path, target))
    }

    #[test]
    fn a_path_is_encoded_and_a_query_stays_as_it_is() {
        let mut target = target("http://o/live/a?b=%20&c=1");
        assert_eq!(path_of(&target), "/live/a?b=%20&c=1");
        target.name = b"a b?c%d/e".to_vec();
        target.args = b"x y#z".to_vec();
        assert_eq!(path_of(&target), "/live/a%20b%3Fc%25d/e?x%20y%23z");
    }

    #[test]
    fn a_name_that_ends_in_flv_gets_another_one() {
        let mut target = target("http://o/live/a.flv");
        target.is_name = true;
        target.name = b"a.flv".to_vec();
        assert_eq!(path_of(&target), "/live/a.flv.flv");
        target.is_name = false;
        assert_eq!(path_of(&target), "/live/a.flv");
    }

    #[test]
    fn a_request_says_whose_relay_it_is() {
        let request = get_request(&target("http://o:81/live/a"), "/live/a").expect("a request");
        let field = |name: &str| request.headers().get(name).map(|value| value.as_bytes().to_vec());
        assert_eq!(field("host"), Some(b"o:81".to_vec()));
        assert_eq!(field(HOPS.as_str()), Some(b"1".to_vec()));
        assert_eq!(field(VIA.as_str()), Some(b"0123456789abcdef".to_vec()));
        assert_eq!((field("referer"), field("user-agent")), (None, None));
    }

    #[test]
    fn what_no_header_can_say_is_no_request() {
        let mut target = target("http://o/live/a");
        target.page_url = b"a\r\nb".to_vec();
        let failure = get_request(&target, "/live/a").expect_err("no request");
        assert_eq!(failure.refused, Some(Refused::NotFound));
        assert!(matches!(failure.cause, Cause::NoRequest(_)));
    }

    #[test]
    fn a_redirect_goes_to_another_path_or_host() {
        let (path, target) =
            follow("http://o:81/live/a", b"/other/b", Redirects::Any).expect("followed");
        assert_eq!((path.as_str(), target.port, target.by_others), ("/other/b", 81, true));
        let (path, target) =
            follow("http://o:81/live/a", b"http://p:82/c?d", Redirects::Any).expect("followed");
        assert_eq!(
            (path.as_str(), target.host.as_slice(), target.port),
            ("/c?d", b"p".as_slice(), 82)
        );
        assert_eq!(target.domain, b"p:82");
    }

    #[test]
    fn redirects_are_followed_as_far_as_the_line_says() {
        let at = "http://o:81/live/a";
        assert!(matches!(follow(at, b"/b", Redirects::Off), Err(Cause::NotFollowed(..))));
        assert!(follow(at, b"http://O:81/b", Redirects::SameHost).is_ok());
        for other in [b"http://p:81/b".as_slice(), b"http://o:82/b"] {
            assert!(matches!(follow(at, other, Redirects::SameHost), Err(Cause::NotFollowed(..))));
        }
    }

    #[test]
    fn a_redirect_to_nowhere_is_a_failure() {
        let at = "http://o:81/live/a";
        assert!(matches!(follow(at, b"", Redirects::Any), Err(Cause::NoLocation)));
        assert!(matches!(follow(at, b"ftp://o/a", Redirects::Any), Err(Cause::BadLocation(..))));
        let mut target = target(at);
        assert!(matches!(redirect(&mut target, "/", None, Redirects::Any), Err(Cause::NoLocation)));
    }
}
