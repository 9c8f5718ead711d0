//! Callbacks: an HTTP server is told of clients and streams, and decides about them.
//!
//! What a status does to which event is one `match` for each event, in the order of the table in
//! `docs/callbacks.md`.

mod client;
mod connections;
mod notice;
mod ongoing;
mod order;
mod proc;
mod request;
mod request_error;
mod stream;

use std::rc::Rc;

use tokio::sync::oneshot;

use crate::conf::oclp::{Callback, Fail};
use crate::conf::MainConf;
use crate::nginx::log;
use crate::nginx::task;
use crate::stream_request::{Refusal, StreamRequest};

pub use notice::{Answer, Notice, Redirect};
pub use ongoing::Ongoing;
pub use request::{about_stream, Act};
use stream::Staying;

/// A worker starts.
pub fn init(conf: &Rc<MainConf>) {
    proc::start(conf);
}

/// A worker ends.
pub fn exit() {
    client::exit();
}

/// A client that was let in. Dropped, it has left: the server is told, and then, if it was the
/// last one, of the end of the stream.
#[derive(Default)]
pub struct Admitted {
    ongoing: Option<Box<Ongoing>>,
    staying: Option<Rc<Staying>>,
}

/// Asks whether the client may publish.
pub async fn publish(request: &Rc<StreamRequest>) -> Result<Admitted, Refusal> {
    admit(&request.app.oclp.publish, request).await
}

/// Asks whether the client may play.
pub async fn play(request: &Rc<StreamRequest>) -> Result<Admitted, Refusal> {
    admit(&request.app.oclp.play, request).await
}

impl Admitted {
    /// Says why the client leaves, before this is dropped.
    pub fn ends(&self, why: &str) {
        if let Some(ongoing) = &self.ongoing {
            ongoing.ends(why);
        }
    }

    /// The client is in the stream.
    pub fn enter_stream(&mut self, request: &Rc<StreamRequest>) {
        self.staying = stream::enter(request);
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if let Some(ongoing) = &mut self.ongoing {
            ongoing.hold_until_done(self.staying.take());
        }
    }
}

async fn admit(
    line: &Option<Rc<Callback>>,
    request: &Rc<StreamRequest>,
) -> Result<Admitted, Refusal> {
    let Some(callback) = line else { return Ok(Admitted::default()) };
    let fail = request.app.oclp.fail;
    let decided = ask(Notice::new(callback, request), move |notice, answer| {
        let updates = admission(&answer, fail)?;
        if let Answer::None = answer {
            let (call, request) = (notice.callback.call.name(), &notice.request);
            log::error!(
                log::cycle(),
                "rtmp: {call} of \"{}\" is let in unchecked, as \"oclp_fail\" says, client: {}",
                request.key,
                String::from_utf8_lossy(&request.caller.remote_addr),
            );
        }
        let mut ongoing = Ongoing::new(notice);
        if updates {
            ongoing.update();
        }
        Ok(ongoing)
    });
    let ongoing = decided.await.unwrap_or(Err(Refusal::Forbidden("the decision failed")))?;
    Ok(Admitted { ongoing: Some(Box::new(ongoing)), staying: None })
}

/// play and publish: what an answer does. Let in, the client's updates are sent or not.
fn admission(answer: &Answer, fail: Fail) -> Result<bool, Refusal> {
    let refused = Err(Refusal::Forbidden("refused by the callback"));
    match answer {
        Answer::Ok => Ok(true),
        Answer::OtherSuccess => refused,
        Answer::Redirect(_) => refused,
        Answer::Failure => refused,
        Answer::None => match fail {
            Fail::Open => Ok(false),
            Fail::Closed => Err(Refusal::Forbidden("the callback was not answered")),
        },
        // the server might have refused it
        Answer::NotAsked => Err(Refusal::Forbidden("the callback could not be sent")),
    }
}

/// Tells of a start and decides by the answer. `None` only if a panic was caught on the way.
///
/// The request is not a part of who asks: a client that leaves when the request is on its way may
/// have been let in all the same, and then the server has to hear that it has left. So the
/// decision is made, and dropped.
pub async fn ask<T: 'static>(
    notice: Notice,
    decide: impl FnOnce(Notice, Answer) -> T + 'static,
) -> Option<T> {
    let (mut asker, decision) = oneshot::channel();
    task::tell(async move {
        let asked = notice.start(asker.closed()).await;
        if let Some((answer, turn)) = asked {
            // whoever has left drops what it would get, and tells of that before another start
            let _ = asker.send(decide(notice, answer));
            drop(turn);
        }
    });
    decision.await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redirect() -> Answer {
        Answer::Redirect(Redirect { location: None, domain: None })
    }

    #[test]
    fn only_200_lets_a_client_in_and_has_updates_sent() {
        for fail in [Fail::Open, Fail::Closed] {
            assert_eq!(admission(&Answer::Ok, fail), Ok(true));
            for answer in [Answer::OtherSuccess, redirect(), Answer::Failure] {
                assert!(admission(&answer, fail).is_err(), "{answer:?}");
            }
        }
    }

    #[test]
    fn a_silent_server_is_what_oclp_fail_says() {
        assert_eq!(admission(&Answer::None, Fail::Open), Ok(false));
        assert!(admission(&Answer::None, Fail::Closed).is_err());
    }

    #[test]
    fn who_could_not_be_asked_lets_nobody_in() {
        for fail in [Fail::Open, Fail::Closed] {
            assert!(admission(&Answer::NotAsked, fail).is_err());
        }
    }
}
