//! What a server was told of the start of: it hears of updates, and of the end exactly once.

use std::rc::Rc;

use tokio::sync::oneshot;

use super::notice::Notice;
use super::order::Turn;
use super::request::Act;
use super::stream::Staying;
use crate::nginx::task;

/// Something that a server knows to go on. Dropped, it has ended: `done` goes out, behind an
/// update that is under way, even if the worker is about to leave.
pub struct Ongoing {
    notice: Notice,
    updates: Option<oneshot::Sender<()>>,
    end: Option<oneshot::Sender<End>>,
    /// What must not end before the server knows of this end.
    then: Option<Rc<Staying>>,
}

enum End {
    /// With what is held until the server knows of it.
    Now { _turn: Option<Turn>, _then: Option<Rc<Staying>> },
    /// Nothing had begun.
    Never,
}

impl Ongoing {
    /// The start was told.
    pub fn new(notice: Notice) -> Self {
        let callback = &notice.callback;
        if !callback.updates && !callback.done {
            return Ongoing { notice, updates: None, end: None, then: None };
        }
        let (updates, begin) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        // bounded by the timeouts of two requests, once the end has come
        task::tell(go_on(notice.clone(), begin, ended));
        Ongoing { notice, updates: Some(updates), end: Some(end), then: None }
    }

    /// From now on updates are sent, if the line asks for them.
    pub fn update(&mut self) {
        if let Some(updates) = self.updates.take() {
            // the task is gone only after a panic, and then nothing is told any more
            let _ = updates.send(());
        }
    }

    /// Nothing came of the start, so there is no end to tell.
    pub fn forget(mut self) {
        if let Some(end) = self.end.take() {
            // see `update`
            let _ = end.send(End::Never);
        }
    }

    /// Says why the client leaves; the first reason counts.
    pub fn ends(&self, why: &str) {
        let _ = self.notice.request.reason.set(why.into());
    }

    /// Holds `staying` until the server knows of this end.
    pub fn hold_until_done(&mut self, staying: Option<Rc<Staying>>) {
        self.then = staying;
    }
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        let Some(end) = self.end.take() else { return };
        let in_turn = self.notice.callback.call.in_turn();
        let turn = in_turn.then(|| Turn::now(self.notice.subject()));
        // see `update`
        let _ = end.send(End::Now { _turn: turn, _then: self.then.take() });
    }
}

/// The next update goes out `update=` after the answer to the last, never beside it.
async fn go_on(notice: Notice, begin: oneshot::Receiver<()>, mut ended: oneshot::Receiver<End>) {
    // an error is the end, if no update was wanted before it
    let begun = begin.await.is_ok();
    let end = if begun && notice.callback.updates {
        loop {
            match task::timeout(notice.callback.update, &mut ended).await {
                Some(end) => break end,
                None => notice.tell(Act::Update).await,
            }
        }
    } else {
        ended.await
    };
    if notice.callback.done && !matches!(end, Ok(End::Never)) {
        notice.tell_end().await;
    }
    drop(end);
}
