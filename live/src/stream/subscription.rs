//! A subscriber's hold on its stream.

use std::rc::Rc;

use super::Stream;
use crate::change::Change;
use crate::cursor::Filter;
use crate::sink::{End, Ended};
use crate::state::{State, Subscriber};

/// A subscriber's hold on its stream; dropped, it takes nothing any more.
pub struct Subscription {
    stream: Rc<Stream>,
    id: u64,
}

impl Stream {
    /// Joins the stream as a subscriber at time `now` (ms) and sends what there is at once.
    pub fn subscribe(self: &Rc<Self>, subscriber: Subscriber, now: u64) -> Subscription {
        let (form, sink) = (subscriber.form, subscriber.sink.clone());
        let (id, players, served) = {
            let state = &mut *self.state.borrow_mut();
            let id = state.join(subscriber, &self.settings, now);
            (id, state.cursors.players(), state.packets.outlets.wire(form).is_some())
        };
        if !served {
            sink.end(End::TooManyForms);
        }
        self.count_sockets();
        if players == 1 {
            self.tell(Change::Audience { some: true });
        }
        let subscription = Subscription { stream: self.clone(), id };
        subscription.writable(now);
        subscription
    }

    /// Takes a subscriber out, and gives what completes the message that it is receiving.
    pub(super) fn unsubscribe(self: &Rc<Self>, id: u64) -> Option<Vec<u8>> {
        let Ok(mut state) = self.state.try_borrow_mut() else {
            self.left.borrow_mut().push(id);
            return None;
        };
        let was = state.cursors.players();
        let rest = state.leave(id, &self.settings)?;
        let last = was > 0 && state.cursors.players() == 0;
        state.trim(&self.settings);
        drop(state);
        self.count_sockets();
        if last {
            self.tell(Change::Audience { some: false });
        }
        Some(rest)
    }

    /// Does `change` to the state, and then sends the subscriber what there is for it.
    fn deliver_after(self: &Rc<Self>, id: u64, now: u64, change: impl FnOnce(&mut State)) {
        let ended: Ended = {
            let state = &mut *self.state.borrow_mut();
            change(state);
            state.deliver_one(id, &self.settings, now)
        };
        self.after(ended);
    }
}

impl Subscription {
    /// The peer takes bytes again, at time `now` (ms).
    pub fn writable(&self, now: u64) {
        self.stream.deliver_after(self.id, now, |state| {
            if let Some((cursor, _)) = state.cursor(self.id) {
                cursor.blocked = false;
            }
        });
    }

    /// Sends `bytes` at the next message boundary. False if more than `max` of such bytes wait for
    /// the peer now.
    pub fn send(&self, bytes: &[u8], max: usize, now: u64) -> bool {
        self.stream.deliver_after(self.id, now, |state| {
            if let Some((cursor, wire)) = state.cursor(self.id) {
                cursor.finish_packet(wire);
                cursor.head().push(bytes);
            }
        });
        let state = self.stream.state.borrow();
        let head = state.cursors.get(self.id).and_then(|cursor| cursor.head.as_ref());
        head.map_or(0, |head| head.own_len()) <= max
    }

    /// Time of the last direct write in milliseconds; `None` if the sink writes.
    pub fn written(&self) -> Option<u64> {
        let state = self.stream.state.borrow();
        state.cursors.get(self.id)?.direct.map(|_| state.flushed)
    }

    /// Stops or goes on; a player that goes on starts at a key frame.
    pub fn pause(&self, pause: bool, now: u64) {
        self.stream.deliver_after(self.id, now, |state| state.pause(self.id, pause));
    }

    /// Changes what the player wants.
    pub fn set_filter(&self, filter: Filter, now: u64) {
        self.stream.deliver_after(self.id, now, |state| state.set_filter(self.id, filter));
    }

    /// Ends the subscription and gives the bytes that complete what the peer has begun to receive.
    pub fn finish(self) -> Vec<u8> {
        self.stream.unsubscribe(self.id).unwrap_or_default()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.stream.unsubscribe(self.id);
    }
}
