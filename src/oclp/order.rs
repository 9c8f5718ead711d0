//! Orders what the server is told of one stream, over all workers: a start waits until the server has
//! answered the start or the end before it, so that it never hears the end of the old stream after the
//! start of the new one.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use live::Key;
use tokio::sync::Notify;

use crate::conf::oclp::Callback;
use crate::directory::{self, ClientHold};
use crate::nginx::task::{self, sleep};

/// How often to look whether another worker is done telling, in milliseconds: there is no
/// notification of that.
const LOOK_MS: u64 = 5;
/// The longest wait for the answer to the event before, in milliseconds: a server on another continent
/// answers within this, and a client that publishes again hardly notices.
pub const LONGEST_WAIT_MS: u64 = 250;

thread_local! {
    /// What this worker tells of at the moment.
    static OWN: RefCell<HashMap<Subject, Rc<State>>> = RefCell::default();
}

#[derive(Default)]
struct State {
    count: Cell<usize>,
    less: Notify,
}

/// What is told of: a stream, by a line of the configuration, also of another generation. No line
/// waits for another one.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Subject {
    pub key: Key,
    /// [`Callback::id`].
    pub line: u64,
}

impl Subject {
    pub fn new(callback: &Callback, key: &Key) -> Self {
        Subject { key: key.clone(), line: callback.id }
    }
}

/// Something that the server is being told of; dropped, it knows.
pub struct Turn {
    subject: Subject,
    state: Rc<State>,
    hold: Option<ClientHold>,
}

impl Turn {
    /// What happens now is told of without waiting for others: an end.
    pub fn now(subject: Subject) -> Self {
        let hold = directory::telling(&subject.key, subject.line);
        Turn::with(subject, hold)
    }

    /// Waits until the server knows of what is before this, but no longer than [`LONGEST_WAIT_MS`].
    pub async fn wait(subject: Subject) -> Self {
        let alone = async {
            loop {
                if let Some(own) = OWN.with_borrow(|own| own.get(&subject).cloned()) {
                    own.less.notified().await;
                } else if let Some(hold) = directory::telling_alone(&subject.key, subject.line) {
                    return hold;
                } else {
                    sleep(LOOK_MS).await;
                }
            }
        };
        match task::timeout(LONGEST_WAIT_MS, alone).await {
            Some(hold) => Turn::with(subject, hold),
            None => Turn::now(subject),
        }
    }

    fn with(subject: Subject, hold: ClientHold) -> Self {
        let state = OWN.with_borrow_mut(|own| own.entry(subject.clone()).or_default().clone());
        state.count.set(state.count.get() + 1);
        Turn { subject, state, hold: Some(hold) }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // who is woken looks there, too
        drop(self.hold.take());
        let left = self.state.count.get() - 1;
        self.state.count.set(left);
        if left == 0 {
            OWN.with_borrow_mut(|own| own.remove(&self.subject));
        }
        self.state.less.notify_waiters();
    }
}
