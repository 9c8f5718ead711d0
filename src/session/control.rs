//! Protocol control: acknowledgements and user control messages.

use rtmp_protocol::message::{self, UserControl};

use super::state::Session;

impl Session {
    /// Acknowledges what came, when the client's window is over: at most once a read, whatever the
    /// window is.
    pub(super) fn acknowledge(&self) {
        let (window, received) = (u64::from(self.acks.window.get()), self.bytes_in.get());
        if window == 0 || received - self.acks.acknowledged.get() < window {
            return;
        }
        self.acks.acknowledged.set(received);
        let mut out = Vec::new();
        // the sequence number wraps (RTMP, 5.4.3)
        message::ack(&mut out, received as u32);
        self.send(&out);
    }

    /// One that is cut short says nothing.
    pub(super) fn window_ack_size(&self, payload: &[u8]) {
        if let Some(window) = message::control_value(payload) {
            self.acks.window.set(window);
        }
    }

    pub(super) fn user_control(&self, payload: &[u8]) {
        let Some(control) = UserControl::parse(payload) else { return };
        if control.event == message::PING_REQUEST {
            let mut out = Vec::new();
            message::user_control(&mut out, message::PING_RESPONSE, control.a, None);
            self.send(&out);
        }
        // a pong has shown by its arrival that the client is there; buffer lengths change nothing,
        // since a live player gets what there is
    }
}
