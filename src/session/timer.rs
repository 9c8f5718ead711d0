//! When a session has waited long enough: one timer, armed for the nearest of all deadlines.

use std::rc::Rc;

use rtmp_protocol::message;

use super::state::{MessageStream, Reason, Role, Session, Viewer};
use crate::conf::AppConf;
use crate::nginx::clock;
use crate::nginx::connection::{Handler, KEEP_MS};

/// A deadline that does not come.
const NEVER: u64 = u64::MAX;
/// What a loop turn may be late: a deadline that is this near has come.
const SLACK_MS: u64 = 1;

impl Session {
    /// Bytes came from the client.
    pub(super) fn heard(&self, now: u64) {
        if self.times.heard(now) {
            self.arm_timer();
        }
    }

    /// The client took bytes.
    pub(super) fn taken(&self, now: u64) {
        if self.times.taken(now) {
            self.arm_timer();
        }
    }

    /// Arms the timer for the nearest deadline.
    pub(super) fn arm_timer(&self) {
        if self.ended.get() {
            return;
        }
        let now = clock::now();
        let nearest = self.deadlines().into_iter().map(|(at, _)| at).min().unwrap_or(NEVER);
        let nearest = nearest.max(self.times.not_before.get());
        self.event.set_timer(nearest.saturating_sub(now).min(KEEP_MS));
    }

    /// The client has left a stream, or was refused: if it has no other, it waits for a command.
    pub(super) fn rest(&self) {
        if self.streams.borrow().in_use() == 0 {
            self.times.resting(clock::now());
        }
        self.arm_timer();
    }

    fn deadlines(&self) -> Vec<(u64, Due)> {
        let times = &self.times;
        let server = self.server.borrow();
        let after = |from: Option<u64>, ms: u64| match from {
            Some(from) if ms > 0 => from.saturating_add(ms),
            _ => NEVER,
        };
        if let Some(at) = times.close_by.get() {
            return vec![(at, Due::Close)];
        }
        let (client, pinged) = (self.client(), times.pinged.get());
        let accepted = client.is_none().then_some(times.accepted);
        // nothing but the handshake may be sent before it is over
        let pings = client.is_some() && pinged.is_none();
        let active = pings.then_some(times.active.get());
        let first_command = server.first_command_timeout.unwrap_or(server.handshake_timeout);
        let mut deadlines = vec![
            (after(accepted, server.handshake_timeout), Due::Handshake),
            (after(times.connected.get(), first_command), Due::FirstCommand),
            (after(times.resting.get(), server.timeout), Due::NextCommand),
            (after(times.blocked.get(), server.timeout), Due::Write),
            (after(pinged, server.ping_timeout), Due::Pong),
            (after(active, server.ping), Due::Ping),
        ];
        for stream in self.streams.borrow().iter() {
            let app = stream.app.borrow();
            let Some(AppConf { live, .. }) = app.as_deref() else { continue };
            let (silence, idle) = (live.drop_idle_publisher.unwrap_or(0), live.idle_timeout);
            deadlines.push((after(stream.media.get(), silence), Due::Silent(stream.clone())));
            deadlines
                .push((after(stream.no_source_since.get(), idle), Due::NoSource(stream.clone())));
        }
        deadlines
    }

    /// What is due.
    fn due(&self, now: u64) -> Vec<(u64, Due)> {
        let mut due = self.deadlines();
        due.retain(|(at, _)| (*at).max(self.times.not_before.get()) <= now + SLACK_MS);
        due
    }

    /// Reads and writes what can be.
    fn look(self: &Rc<Self>) {
        if !self.waits() {
            self.conn.expect_input();
            self.read();
        }
        if self.times.is_blocked() {
            self.clone().writable();
        }
    }

    /// The timer fired: does what is due.
    pub(super) fn tick(self: &Rc<Self>) {
        let now = clock::now();
        for stream in self.streams.borrow().iter() {
            if let Role::Player(Viewer { subscription, .. }) = &*stream.role.borrow() {
                subscription.written().into_iter().for_each(|at| self.taken(at));
            }
        }
        // one that is being decided about may be about to get a stream
        let idle = self.streams.borrow().in_use() == 0 && self.decision.borrow().is_none();
        if clock::exiting() && idle {
            return self.finalize(Reason::Shutdown);
        }
        if self.due(now).iter().any(|(_, due)| due.ends()) {
            // what has come counts, also if its event has not, or if it is read with the next flush
            self.look();
            if self.ended.get() {
                return;
            }
        }
        let due = self.due(now);
        if due.iter().any(|(at, _)| clock::stood_still(*at)) {
            self.times.not_before.set(now + clock::GRACE_MS);
            return self.arm_timer();
        }
        for (_, due) in due {
            match due {
                Due::Handshake => return self.finalize(Reason::TimedOut("handshake and connect")),
                Due::Write => return self.finalize(Reason::TimedOut("the client does not read")),
                Due::Pong => return self.finalize(Reason::TimedOut("no answer to a ping")),
                Due::Close => return self.finalize(Reason::ClientClosed),
                Due::FirstCommand => {
                    return self.finalize(Reason::TimedOut("neither publish nor play"));
                }
                Due::NextCommand => {
                    return self.finalize(Reason::TimedOut("nothing published or played any more"));
                }
                Due::Silent(stream) => {
                    let why = "the publisher sends nothing";
                    if self.streams.borrow().len() < 2 {
                        return self.finalize(Reason::TimedOut(why));
                    }
                    self.refuse(&stream, "NetStream.Publish.Idle", why);
                }
                Due::NoSource(stream) => self.no_source(&stream, "nobody publishes the stream"),
                Due::Ping => {
                    self.times.pinged.set(Some(now));
                    let mut out = Vec::new();
                    message::user_control(&mut out, message::PING_REQUEST, now as u32, None);
                    self.send(&out);
                }
            }
            if self.ended.get() {
                return;
            }
        }
        self.arm_timer();
    }
}

impl Due {
    /// Whether it ends the session, or a stream of it.
    fn ends(&self) -> bool {
        !matches!(self, Due::Ping)
    }
}

/// What is due at a deadline.
enum Due {
    Handshake,
    FirstCommand,
    NextCommand,
    Write,
    Ping,
    Pong,
    Silent(Rc<MessageStream>),
    NoSource(Rc<MessageStream>),
    Close,
}
