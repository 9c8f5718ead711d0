//! `oclp_stream`: the first client of a stream on this machine begins it, and the last one to leave
//! ends it, whatever the workers they are connected to. A line that a reload changes is another one:
//! what the old one has told the start of, it tells the end of.

use std::future::pending;
use std::rc::Rc;

use tokio::sync::oneshot;

use super::notice::{Answer, Notice};
use super::order::Subject;
use super::request::Act;
use crate::directory::{self, ClientHold};
use crate::nginx::task;
use crate::stream_request::StreamRequest;
use crate::weak_map::WeakMap;

thread_local! {
    static STAYING: WeakMap<Subject, Staying> = WeakMap::default();
}

/// This worker has clients of a stream: each of them holds this. Dropped, the last has left.
pub struct Staying {
    subject: Subject,
    // dropped with this, which ends the wait at its other end
    _left: oneshot::Sender<()>,
}

impl Drop for Staying {
    fn drop(&mut self) {
        STAYING.with(|all| all.forget(&self.subject));
    }
}

/// A client of the stream was let in.
pub fn enter(request: &Rc<StreamRequest>) -> Option<Rc<Staying>> {
    let callback = request.app.oclp.stream.as_ref()?;
    let notice = Notice::new(callback, request);
    let subject = notice.subject();
    STAYING.with(|all| {
        if let Some(staying) = all.find(&subject) {
            return Some(staying);
        }
        let (left, has_left) = oneshot::channel();
        let staying = Rc::new(Staying { subject: subject.clone(), _left: left });
        let hold = directory::enter(&subject.key, subject.line);
        all.insert(subject, &staying);
        task::tell(stay(notice, hold, has_left));
        Some(staying)
    })
}

/// From the first client of this worker to its last.
async fn stay(notice: Notice, mut hold: ClientHold, mut left: oneshot::Receiver<()>) {
    // if it was not the first, it was told of by another worker, or by this one before
    if hold.first {
        // what is answered counts for all workers
        let answer = notice.start(pending()).await;
        hold.set_updates(matches!(answer, Some((Answer::Ok, _))));
    }
    if notice.callback.updates {
        while task::timeout(notice.callback.update, &mut left).await.is_none() {
            // while another worker tells of an end, it is not known what comes behind it
            let turn = if hold.sends_updates() { notice.turn().await } else { None };
            if turn.is_some() && hold.sends_updates() {
                notice.tell(Act::Update).await;
            }
        }
    } else {
        // an error is what a sender that is dropped makes
        let _ = left.await;
    }
    leave(notice, hold).await;
}

/// The last one tells the end while it still counts: whoever comes meanwhile, in any worker, finds
/// the stream told of and tells nothing, so it is for the last one to tell the new start.
async fn leave(notice: Notice, mut hold: ClientHold) {
    let mut turn = None;
    while let Err(last) = hold.leave_unless_last() {
        if turn.is_none() {
            turn = notice.turn().await;
            // a client may have come meanwhile
            hold = last;
            continue;
        }
        if notice.callback.done {
            notice.tell_end().await;
        }
        match last.leave_if_last() {
            Ok(()) => return,
            Err(back) => hold = back,
        }
        hold.set_updates(matches!(notice.start_in_turn().await, Answer::Ok));
    }
}
