//! The end of a session, and of what it was asked for: refusals, the last status, the line in the log.

use std::fmt;
use std::io;
use std::rc::Rc;

use super::state::{Flow, MessageStream, Reason, Session, Stage};
use crate::access_log;
use crate::nginx::clock;
use crate::nginx::log;
use crate::stream_request::MAX_NAME;

/// Ends the session if what it does meanwhile panics.
pub(super) struct EndOnPanic<'a>(pub &'a Session);

impl Drop for EndOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.finalize(Reason::Internal);
        }
    }
}

/// Whether the peer has closed the connection without reading all of it.
fn is_reset(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

impl Session {
    /// Refuses what was asked on a message stream, or ends it, with a status there. The others go on;
    /// a client that has no other is closed behind the status.
    pub(super) fn refuse(
        self: &Rc<Self>,
        stream: &MessageStream,
        code: &str,
        why: &'static str,
    ) -> Flow {
        self.asked.borrow_mut().name.clone_from(&stream.name.borrow());
        if self.streams.borrow().len() > 1 {
            self.leave(stream);
            self.rest();
            return self.deny(stream.id, code, why);
        }
        let status = self.status(stream.id, "error", code, why);
        self.send(&status);
        self.close(Reason::Refused(why));
        Flow::Stop
    }

    /// Refuses a command, and what the client does goes on.
    pub(super) fn deny(&self, id: u32, code: &str, why: &'static str) -> Flow {
        self.send(&self.status(id, "error", code, why));
        self.log_end(&Reason::Refused(why));
        Flow::Next
    }

    /// Ends the session when what is unsent has been taken, and the client has closed its side.
    pub(super) fn close(self: &Rc<Self>, reason: Reason) {
        self.log_end(&reason);
        self.decision.take();
        for stream in self.streams.take().take() {
            self.leave(&stream);
        }
        // a message may be under way in `input`, which then sees that it is to stop
        if let Ok(mut stage) = self.stage.try_borrow_mut() {
            *stage = Stage::Closing;
        }
        self.times.close_by(clock::now());
        self.arm_timer();
        self.half_close_when_sent();
    }

    pub(super) fn half_close_when_sent(&self) {
        if self.times.closing() && self.unsent.borrow().is_empty() {
            self.conn.shutdown_write();
        }
    }

    /// Ends the session: at once, in any state, any number of times.
    pub fn finalize(&self, reason: Reason) {
        if self.ended.replace(true) {
            return;
        }
        let publishes = self.streams.borrow().iter().any(|stream| stream.publishes());
        let reason = match reason {
            // whoever closes with something of ours unread resets the connection
            Reason::Io(error) if !publishes && is_reset(&error) => Reason::ClientClosed,
            reason => reason,
        };
        if !self.times.closing() {
            self.log_end(&reason);
        }
        // what was begun is cancelled by dropping it
        self.event.cancel();
        self.decision.take();
        self.ending.take();
        for stream in self.streams.take().take() {
            stream.telling.take();
            let role = stream.role.take();
            role.ends(&self.reason.borrow());
            drop(role);
        }
        let named =
            self.stream_request.borrow().as_ref().map(|stream_request| stream_request.app.clone());
        if let Some(app) = named.as_ref().or(self.client().map(|client| &client.app)) {
            access_log::write(app, self);
        }
        // the handler held the session; the connection closes with the last hold on it
        self.conn.clear_handler();
    }

    /// A refusal is as urgent as nginx's own "access forbidden by rule".
    pub(super) fn log_end(&self, reason: &Reason) {
        let left = !self.reason.borrow().is_empty() && matches!(reason, Reason::ClientClosed);
        if !left {
            self.reason.replace(reason.to_string());
        }
        if let Some(request) = &*self.stream_request.borrow() {
            // one whose decision is not made yet is told of as well
            let _ = request.reason.set(self.reason.borrow().as_str().into());
        }
        let line = self.line(reason);
        match reason {
            Reason::Refused(_) => log::error!(self.conn.log(), "{line}"),
            _ => log::info!(self.conn.log(), "{line}"),
        }
    }

    /// A line of the log: what has become of that which the client asked for last.
    pub(super) fn line(&self, what: &dyn fmt::Display) -> String {
        let text = |bytes: &[u8]| {
            String::from_utf8_lossy(bytes.get(..MAX_NAME).unwrap_or(bytes)).into_owned()
        };
        let asked = self.asked.borrow();
        format!(
            "rtmp: {} {what}, app: \"{}\", name: \"{}\", client: {}, server: {}",
            self.command.get(),
            text(&asked.app),
            text(&asked.name),
            text(&self.peer.borrow().addr),
            self.listen.addr,
        )
    }
}
