//! Callbacks: an HTTP server is told of clients and streams, and decides about them.
//!
//! What a status does to which event is one `match` for each event, in the order of the table in
//! `docs/callbacks.md`.

mod client;
mod ending;
mod notice;
mod proc;
mod request;
mod stream;
mod told;

use std::rc::Rc;

use tokio::sync::oneshot;

use crate::conf::oclp::{Callback, Fail};
use crate::conf::MainConf;
use crate::nginx::task;
use crate::visit::{Refusal, Visit};
use notice::{Answer, Notice};
use stream::Staying;
use told::Told;

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
    told: Option<Told>,
    staying: Option<Rc<Staying>>,
}

/// Asks whether the client may publish.
pub async fn publish(visit: &Rc<Visit>) -> Result<Admitted, Refusal> {
    admit(&visit.app.oclp.publish, visit).await
}

/// Asks whether the client may play.
pub async fn play(visit: &Rc<Visit>) -> Result<Admitted, Refusal> {
    admit(&visit.app.oclp.play, visit).await
}

impl Admitted {
    /// The client is in the stream.
    pub fn enter_stream(&mut self, visit: &Rc<Visit>) {
        self.staying = stream::enter(visit);
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if let Some(told) = &mut self.told {
            told.before(self.staying.take());
        }
    }
}

async fn admit(line: &Option<Rc<Callback>>, visit: &Rc<Visit>) -> Result<Admitted, Refusal> {
    let Some(callback) = line else { return Ok(Admitted::default()) };
    let notice = Notice::new(callback, visit);
    let (mut decide, decision) = oneshot::channel();
    // not a part of the session: a client that leaves when the request is on its way may be let in
    // all the same, and then the server has to hear that it has left
    task::spawn(async move {
        let Some(answer) = notice.start(decide.closed()).await else { return };
        let fail = notice.visit.app.oclp.fail;
        let told = admission(answer, fail).map(|updates| Told::new(notice, updates));
        // whoever has left drops what it would get
        let _ = decide.send(told);
    })
    .detach();
    match decision.await {
        Ok(told) => Ok(Admitted { told: Some(told?), staying: None }),
        // the task is gone without an answer only after a panic
        Err(_) => Err(Refusal::Forbidden("the decision failed")),
    }
}

/// play and publish: what an answer does. Let in, the client's updates are sent or not.
fn admission(answer: Answer, fail: Fail) -> Result<bool, Refusal> {
    let refused = Err(Refusal::Forbidden("refused by the callback"));
    match answer {
        Answer::Ok => Ok(true),
        Answer::OtherSuccess(_) => refused,
        Answer::Redirect(_) => refused,
        Answer::Failure(_) => refused,
        Answer::None => match fail {
            Fail::Open => Ok(false),
            Fail::Closed => Err(Refusal::Forbidden("the callback was not answered")),
        },
    }
}
