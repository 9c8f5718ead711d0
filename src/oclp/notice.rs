//! One line of the configuration, applied to one client, stream or relay.

use std::future::{pending, Future};
use std::rc::Rc;

use http::StatusCode;
use tokio::sync::oneshot;

use super::client::{self, Head};
use super::order::{Subject, Turn, LONGEST_WAIT_MS};
use super::request::{about_stream, Act};
use super::request_error::RequestError;
use crate::conf::oclp::Callback;
use crate::nginx::log;
use crate::nginx::task;
use crate::stream_request::StreamRequest;

/// A line, and the client it is applied to. For a stream or a relay that is the one that caused it.
#[derive(Clone)]
pub struct Notice {
    pub callback: Rc<Callback>,
    pub request: Rc<StreamRequest>,
}

/// What the server answered to a start, as far as it makes a difference.
#[derive(Debug)]
pub enum Answer {
    /// 200.
    Ok,
    /// 201 to 299.
    OtherSuccess,
    /// 300 to 399.
    Redirect(Redirect),
    /// 400 to 599.
    Failure,
    /// No answer, or none that HTTP knows.
    None,
    /// Nobody could be asked: a failure of our own.
    NotAsked,
}

/// Where a 3xx points to, as the server wrote it. A header without a value counts as none.
#[derive(Debug)]
pub struct Redirect {
    pub location: Option<Vec<u8>>,
    /// The `Domain` header.
    pub domain: Option<Vec<u8>>,
}

impl Notice {
    pub fn new(callback: &Rc<Callback>, request: &Rc<StreamRequest>) -> Self {
        Notice { callback: callback.clone(), request: request.clone() }
    }

    /// What this is about.
    pub fn subject(&self) -> Subject {
        Subject::new(&self.callback, &self.request.key)
    }

    /// Waits for the turn to tell the server of this subject; `None` if the order makes no difference.
    pub async fn turn(&self) -> Option<Turn> {
        match self.callback.call.in_turn() {
            true => Some(Turn::wait(self.subject()).await),
            false => None,
        }
    }

    /// Tells the server of the start, when it is its turn, and gives its answer. The turn is over
    /// when it is known what that does. `None`: `left` was ready before the server was asked, so it
    /// does not know.
    pub async fn start(&self, left: impl Future<Output = ()>) -> Option<(Answer, Option<Turn>)> {
        let turn = self.turn().await;
        let result = self.send(Act::Start, left).await;
        if let Err(RequestError::Left) = result {
            return None;
        }
        Some((Answer::of(result), turn))
    }

    /// Tells of a start in a turn that is taken already.
    pub async fn start_in_turn(&self) -> Answer {
        Answer::of(self.send(Act::Start, pending()).await)
    }

    /// Tells the server; what it answers makes no difference.
    pub async fn tell(&self, act: Act) {
        // logged
        let _ = self.send(act, pending()).await;
    }

    /// Tells the server of the end. Who comes next waits for the answer no longer than [`LONGEST_WAIT_MS`];
    /// the request itself goes on.
    pub async fn tell_end(&self) {
        let notice = self.clone();
        let (told, is_told) = oneshot::channel();
        task::tell(async move {
            notice.tell(Act::Done).await;
            // the receiver may have given up waiting
            let _ = told.send(());
        });
        task::timeout(LONGEST_WAIT_MS, is_told).await;
    }

    async fn send(&self, act: Act, left: impl Future<Output = ()>) -> Result<Head, RequestError> {
        let Notice { callback, request } = self;
        let target = about_stream(callback, act, &**request);
        let resolver = &request.app.resolver;
        let result = client::get(callback, resolver, &target, left).await;
        self.log(act, &result);
        result
    }

    fn log(&self, act: Act, result: &Result<Head, RequestError>) {
        let Notice { callback, request } = self;
        // as nginx begins the lines of a connection's log
        let what = format_args!(
            "*{} rtmp: oclp_{} {} of \"{}\", server: {}, client: {}",
            request.caller.connection,
            callback.call.name(),
            act.name(),
            request.key,
            callback.url.authority,
            String::from_utf8_lossy(&request.caller.remote_addr),
        )
        .to_string();
        let log = log::cycle();
        match result {
            Ok(answer) if answer.status == StatusCode::OK => {
                log::info!(log, "{what}: 200");
            }
            Ok(answer) => log::notice!(log, "{what}: {}", answer.status.as_u16()),
            Err(RequestError::Left) => log::info!(log, "{what}: {}", RequestError::Left),
            Err(error) => log::error!(log, "{what}: {error}"),
        }
    }
}

impl Answer {
    fn of(result: Result<Head, RequestError>) -> Self {
        let mut head = match result {
            Ok(head) => head,
            Err(RequestError::Silence(_)) => return Answer::None,
            // a client that has left is handled before
            Err(RequestError::Own(_) | RequestError::Left) => return Answer::NotAsked,
        };
        let mut header = |name: &str| {
            let value = head.headers.remove(name).map(|value| value.as_bytes().to_vec());
            value.filter(|value| !value.is_empty())
        };
        match head.status.as_u16() {
            200 => Answer::Ok,
            201..=299 => Answer::OtherSuccess,
            300..=399 => Answer::Redirect(Redirect {
                location: header("location"),
                domain: header("domain"),
            }),
            400..=599 => Answer::Failure,
            _ => Answer::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::super::request_error::{Own, Silence};
    use super::*;

    fn head(status: u16, headers: &[(&'static str, &'static str)]) -> Head {
        let mut response = http::Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        response.body(()).expect("an answer").into_parts().0
    }

    #[test]
    fn each_status_is_what_the_table_says() {
        let of = |status| Answer::of(Ok(head(status, &[])));
        assert!(matches!(of(200), Answer::Ok));
        for status in [201, 204, 299] {
            assert!(matches!(of(status), Answer::OtherSuccess), "{status}");
        }
        for status in [300, 302, 399] {
            assert!(matches!(of(status), Answer::Redirect(_)), "{status}");
        }
        for status in [400, 404, 500, 599] {
            assert!(matches!(of(status), Answer::Failure), "{status}");
        }
        assert!(matches!(of(700), Answer::None));
    }

    #[test]
    fn a_redirect_has_its_headers() {
        let headers = [("location", "rtmp://o/live/a"), ("domain", "d")];
        let Answer::Redirect(to) = Answer::of(Ok(head(302, &headers))) else { panic!("redirect") };
        assert_eq!(to.location.as_deref(), Some(b"rtmp://o/live/a".as_slice()));
        assert_eq!(to.domain.as_deref(), Some(b"d".as_slice()));
    }

    #[test]
    fn a_header_without_a_value_counts_as_none() {
        let headers = [("location", ""), ("domain", "")];
        let Answer::Redirect(to) = Answer::of(Ok(head(302, &headers))) else { panic!("redirect") };
        assert_eq!((to.location, to.domain), (None, None));
    }

    #[test]
    fn a_failure_of_our_own_is_not_the_servers_silence() {
        let own = [
            Own::Busy,
            Own::Connect(io::Error::from(io::ErrorKind::OutOfMemory)),
            Own::TooLong(100_000),
        ];
        for own in own {
            assert!(matches!(Answer::of(Err(own.into())), Answer::NotAsked));
        }
        let silence = [Silence::TimedOut, Silence::Status(StatusCode::CONTINUE)];
        for silence in silence {
            assert!(matches!(Answer::of(Err(silence.into())), Answer::None));
        }
    }
}
