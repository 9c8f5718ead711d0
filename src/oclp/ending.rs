//! What has ended and is about to be told so: what begins anew on the same stream waits for it, so
//! that a server never hears the end of the old one after the start of the new one.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use tokio::sync::Notify;

use super::notice::Subject;

thread_local! {
    static ENDINGS: RefCell<HashMap<Subject, Rc<State>>> = RefCell::default();
}

#[derive(Default)]
struct State {
    count: Cell<usize>,
    over: Notify,
}

/// Something that has ended; dropped, the server knows.
pub struct Ending {
    subject: Subject,
    state: Rc<State>,
}

impl Ending {
    /// Something of `subject` ends now.
    pub fn new(subject: Subject) -> Self {
        let state =
            ENDINGS.with_borrow_mut(|endings| endings.entry(subject.clone()).or_default().clone());
        state.count.set(state.count.get() + 1);
        Ending { subject, state }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let left = self.state.count.get() - 1;
        self.state.count.set(left);
        if left == 0 {
            ENDINGS.with_borrow_mut(|endings| endings.remove(&self.subject));
            self.state.over.notify_waiters();
        }
    }
}

/// Waits until the server knows of everything of `subject` that has ended.
pub async fn told(subject: &Subject) {
    while let Some(state) = ENDINGS.with_borrow(|endings| endings.get(subject).cloned()) {
        state.over.notified().await;
    }
}
