//! The clients that a relay is for: it goes on as long as one of them is there.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::stream_request::StreamRequest;

/// Clients in the order in which they came.
#[derive(Default)]
pub struct Clients {
    all: RefCell<BTreeMap<u64, Rc<StreamRequest>>>,
    next: Cell<u64>,
}

impl Clients {
    /// A client has come; the number is for [`Clients::leave`].
    pub fn enter(&self, request: &Rc<StreamRequest>) -> u64 {
        let id = self.next.get();
        self.next.set(id + 1);
        self.all.borrow_mut().insert(id, request.clone());
        id
    }

    /// A client has left.
    pub fn leave(&self, id: u64) {
        let left = self.all.borrow_mut().remove(&id);
        drop(left);
    }

    /// The one that has been here longest.
    pub fn first(&self) -> Option<Rc<StreamRequest>> {
        self.all.borrow().values().next().cloned()
    }
}
