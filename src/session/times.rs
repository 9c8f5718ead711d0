//! The moments of a session.

use std::cell::Cell;

/// How long a client that got its last status may take to close: a round trip and a retransmission.
const CLOSE_MS: u64 = 5000;
/// The moments that deadlines count from, in the loop's milliseconds.
pub struct Times {
    pub accepted: u64,
    pub active: Cell<u64>,
    pub pinged: Cell<Option<u64>>,
    pub blocked: Cell<Option<u64>>,
    pub connected: Cell<Option<u64>>,
    pub resting: Cell<Option<u64>>,
    pub close_by: Cell<Option<u64>>,
    /// Nothing is due before: the worker stood still.
    pub not_before: Cell<u64>,
}

impl Times {
    pub fn new(now: u64) -> Self {
        Times {
            accepted: now,
            active: Cell::new(now),
            pinged: Cell::new(None),
            blocked: Cell::new(None),
            connected: Cell::new(None),
            resting: Cell::new(None),
            close_by: Cell::new(None),
            not_before: Cell::new(0),
        }
    }

    /// When the client was accepted.
    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Bytes came from the client. True if that answers a ping: another deadline is the nearest then.
    #[must_use]
    pub fn heard(&self, now: u64) -> bool {
        self.active.set(self.active.get().max(now));
        self.pinged.take().is_some()
    }

    /// The client took bytes. True if that answers a ping, which its own bytes do not.
    #[must_use]
    pub fn taken(&self, now: u64) -> bool {
        self.active.set(self.active.get().max(now));
        let answered = self.pinged.get().is_some_and(|pinged| pinged < now);
        if answered {
            self.pinged.set(None);
        }
        answered
    }

    /// The client does not take what is sent, from now on.
    pub fn blocked(&self, now: u64) {
        self.blocked.set(Some(now));
    }

    /// The client takes bytes again.
    pub fn unblocked(&self) {
        self.blocked.set(None);
    }

    pub fn is_blocked(&self) -> bool {
        self.blocked.get().is_some()
    }

    /// The client is let in, and may publish and play.
    pub fn connected(&self, now: u64) {
        self.connected.set(Some(now));
    }

    /// The client asks for a stream.
    pub fn asked(&self) {
        self.connected.set(None);
        self.resting.set(None);
    }

    /// The client has left its last stream, or was refused.
    pub fn resting(&self, now: u64) {
        self.resting.set(Some(now));
    }

    /// The last status was sent.
    pub fn close_by(&self, now: u64) {
        self.close_by.set(Some(now + CLOSE_MS));
    }

    pub fn closing(&self) -> bool {
        self.close_by.get().is_some()
    }
}
