//! When a session has waited long enough: one timer, armed for the nearest of all deadlines.

use std::cell::Cell;
use std::rc::Rc;

use rtmp_protocol::message;

use super::{Reason, Role, Session, Viewer};
use crate::nginx::clock;

/// How long a client that got its last status may take to close: a round trip and a retransmission.
const CLOSE_MS: u64 = 5000;
/// The timer of a session without a deadline. An armed timer also keeps nginx from taking the
/// connection for abandoned when the worker is told to leave.
const IDLE_MS: u64 = 60_000;
/// A deadline that does not come.
const NEVER: u64 = u64::MAX;
/// What a loop turn may be late: a deadline that is this near has come.
const SLACK_MS: u64 = 1;

/// The moments that deadlines count from, in the loop's milliseconds.
pub(super) struct Times {
    accepted: u64,
    active: Cell<u64>,
    pinged: Cell<Option<u64>>,
    blocked: Cell<Option<u64>>,
    media: Cell<Option<u64>>,
    unfed: Cell<Option<u64>>,
    close_by: Cell<Option<u64>>,
}

impl Times {
    pub fn new(now: u64) -> Self {
        Times {
            accepted: now,
            active: Cell::new(now),
            pinged: Cell::new(None),
            blocked: Cell::new(None),
            media: Cell::new(None),
            unfed: Cell::new(None),
            close_by: Cell::new(None),
        }
    }

    /// When the client was accepted.
    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Bytes came from or went to the client.
    pub fn active(&self, now: u64) {
        self.active.set(self.active.get().max(now));
        if self.pinged.get().is_some_and(|pinged| pinged <= now) {
            self.pinged.set(None);
        }
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

    /// A publisher started, or sent media.
    pub fn media(&self, now: Option<u64>) {
        self.media.set(now);
    }

    /// A player waits for a source since then; `None` = it is fed.
    pub fn unfed(&self, since: Option<u64>) {
        self.unfed.set(since);
    }

    /// The client has left its stream.
    pub fn rest(&self) {
        self.media.set(None);
        self.unfed.set(None);
    }

    /// The last status was sent.
    pub fn close_by(&self, now: u64) {
        self.close_by.set(Some(now + CLOSE_MS));
    }

    pub fn closing(&self) -> bool {
        self.close_by.get().is_some()
    }
}

impl Session {
    /// Arms the timer for the nearest deadline.
    pub(super) fn arm_timer(&self) {
        if self.ended.get() {
            return;
        }
        let now = clock::now();
        let nearest = self.deadlines().into_iter().map(|(at, _)| at).min().unwrap_or(NEVER);
        self.timer.set_timer(nearest.saturating_sub(now).min(IDLE_MS));
    }

    fn deadlines(&self) -> [(u64, Due); 6] {
        let times = &self.times;
        let server = self.server.borrow();
        let after = |from: Option<u64>, ms: u64| match from {
            Some(from) if ms > 0 => from.saturating_add(ms),
            _ => NEVER,
        };
        if let Some(at) = times.close_by.get() {
            let mut only = [(NEVER, Due::Close); 6];
            only[0].0 = at;
            return only;
        }
        let (client, pinged) = (self.client(), times.pinged.get());
        let live = client.map(|client| &client.app.live);
        let accepted = client.is_none().then_some(times.accepted);
        let active = pinged.is_none().then_some(times.active.get());
        let silence = live.and_then(|live| live.drop_idle_publisher).unwrap_or(0);
        [
            (after(accepted, server.handshake_timeout), Due::Handshake),
            (after(times.blocked.get(), server.timeout), Due::Write),
            (after(pinged, server.ping_timeout), Due::Pong),
            (after(active, server.ping), Due::Ping),
            (after(times.media.get(), silence), Due::Silent),
            (after(times.unfed.get(), live.map_or(0, |live| live.idle_timeout)), Due::Unfed),
        ]
    }

    /// The timer fired: does what is due.
    pub(super) fn tick(self: &Rc<Self>) {
        let now = clock::now();
        if let Role::Player(Viewer { subscription, .. }) = &*self.role.borrow() {
            subscription.written().into_iter().for_each(|at| self.times.active(at));
        }
        // one that is being decided about may be about to get a stream
        let idle = matches!(*self.role.borrow(), Role::None) && self.decision.borrow().is_none();
        if clock::exiting() && idle {
            return self.finalize(Reason::Shutdown);
        }
        for (_, due) in self.deadlines().into_iter().filter(|(at, _)| *at <= now + SLACK_MS) {
            match due {
                Due::Handshake => return self.finalize(Reason::TimedOut("handshake and connect")),
                Due::Write => return self.finalize(Reason::TimedOut("the client does not read")),
                Due::Pong => return self.finalize(Reason::TimedOut("no answer to a ping")),
                Due::Close => return self.finalize(Reason::ClientClosed),
                Due::Silent => {
                    return self.finalize(Reason::TimedOut("the publisher sends nothing"));
                }
                Due::Unfed => return self.no_source("nobody publishes the stream"),
                Due::Ping => {
                    self.times.pinged.set(Some(now));
                    let mut out = Vec::new();
                    message::user_control(&mut out, message::PING_REQUEST, now as u32, None);
                    self.send(&out);
                }
            }
        }
        self.arm_timer();
    }
}

/// What is due at a deadline.
#[derive(Clone, Copy)]
enum Due {
    Handshake,
    Write,
    Ping,
    Pong,
    Silent,
    Unfed,
    Close,
}
