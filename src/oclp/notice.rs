//! One line of the configuration, applied to one client, stream or relay.

use std::future::{pending, Future};
use std::rc::Rc;

use http::StatusCode;

use super::client::{self, Error};
use super::ending;
use super::request::{about_stream, Act};
use crate::conf::oclp::Callback;
use crate::live::Key;
use crate::nginx::clock;
use crate::nginx::log;
use crate::nginx::task;
use crate::visit::Visit;

/// What a notice is about: the line, by its address, and the stream.
pub type Subject = (*const Callback, Key);

/// A line, and the client it is applied to. For a stream or a relay that is the one that caused it.
#[derive(Clone)]
pub struct Notice {
    pub callback: Rc<Callback>,
    pub visit: Rc<Visit>,
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
}

/// Where a 3xx points to, as the server wrote it.
#[derive(Debug)]
pub struct Redirect {
    pub location: Option<Vec<u8>>,
    /// The `Domain` header.
    pub domain: Option<Vec<u8>>,
}

impl Notice {
    pub fn new(callback: &Rc<Callback>, visit: &Rc<Visit>) -> Self {
        Notice { callback: callback.clone(), visit: visit.clone() }
    }

    /// What this is about.
    pub fn subject(&self) -> Subject {
        (Rc::as_ptr(&self.callback), self.visit.key.clone())
    }

    /// Tells the server of the start, and gives its answer. `None`: `left` was ready before the
    /// server was asked, so it does not know.
    pub async fn start(&self, left: impl Future<Output = ()>) -> Option<Answer> {
        let result = self.send(Act::Start, left).await;
        if let Err(Error::Left) = result {
            return None;
        }
        Some(Answer::of(result))
    }

    /// Tells the server; what it answers makes no difference.
    pub async fn tell(&self, act: Act) {
        // logged
        let _ = self.send(act, pending()).await;
    }

    async fn send(
        &self,
        act: Act,
        left: impl Future<Output = ()>,
    ) -> Result<client::Answer, Error> {
        let Notice { callback, visit } = self;
        let began = clock::now();
        let mut limit = callback.timeout;
        if act == Act::Start && callback.call.in_turn() {
            // the wait is a part of the time that the start may take
            let subject = self.subject();
            if task::timeout(limit, ending::told(&subject)).await.is_none() {
                self.log(act, &Err(Error::TimedOut));
                return Err(Error::TimedOut);
            }
            limit = limit.saturating_sub(clock::now() - began).max(1);
        }
        let target = about_stream(callback, act, &**visit);
        let resolver = &visit.app.resolver;
        let result = client::get(callback, limit, resolver, &target, left).await;
        self.log(act, &result);
        result
    }

    fn log(&self, act: Act, result: &Result<client::Answer, Error>) {
        let Notice { callback, visit } = self;
        let what = format_args!(
            "oclp_{} {} of \"{}\", server: {}, client: {}",
            callback.call.name(),
            act.name(),
            visit.key,
            callback.url.authority,
            String::from_utf8_lossy(&visit.remote_addr),
        )
        .to_string();
        let log = log::cycle();
        match result {
            Ok(answer) if answer.status == StatusCode::OK => {
                log::info!(log, "rtmp: {what}: 200");
            }
            Ok(answer) => log::notice!(log, "rtmp: {what}: {}", answer.status.as_u16()),
            Err(Error::Left) => log::info!(log, "rtmp: {what}: {}", Error::Left),
            Err(error) => log::error!(log, "rtmp: {what}: no answer: {error}"),
        }
    }
}

impl Answer {
    fn of(result: Result<client::Answer, Error>) -> Self {
        let Ok(mut head) = result else { return Answer::None };
        let mut header = |name: &str| head.headers.remove(name).map(|v| v.as_bytes().to_vec());
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
