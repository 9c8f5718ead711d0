//! What protocol control asks of a side, in either role: acknowledgements of what came, and answers
//! to pings (RTMP 1.0 sections 5.4.3, 5.4.4 and 7.1.7).
//!
//! ```
//! use rtmp_protocol::control::Control;
//! use rtmp_protocol::message;
//!
//! let mut control = Control::default();
//! let mut out = Vec::new();
//! control.message(message::WINDOW_ACK_SIZE, &1000u32.to_be_bytes(), &mut out);
//! control.received(999);
//! control.acknowledge(&mut out);
//! assert!(out.is_empty());
//! control.received(1);
//! control.acknowledge(&mut out);
//! assert_eq!(out.split_off(12), 1000u32.to_be_bytes());
//! ```

use crate::message::{self, UserControl, PING_REQUEST, USER_CONTROL, WINDOW_ACK_SIZE};

/// The bytes that came from a peer, and what it wants to be told of them. The caller sends what is
/// appended to `out`: whole messages of one chunk each.
#[derive(Debug, Clone, Copy, Default)]
pub struct Control {
    received: u64,
    acknowledged: u64,
    /// The peer wants an acknowledgement after so many bytes; 0 is never.
    window: u32,
}

impl Control {
    /// So many bytes came.
    pub fn received(&mut self, bytes: u64) {
        self.received = self.received.saturating_add(bytes);
    }

    /// Bytes that came in all.
    pub fn bytes(&self) -> u64 {
        self.received
    }

    /// Takes a message of the peer's, of any kind. One that is cut short says nothing. A pong shows
    /// by its arrival that the peer is there.
    #[inline]
    pub fn message(&mut self, kind: u8, payload: &[u8], out: &mut Vec<u8>) {
        if matches!(kind, WINDOW_ACK_SIZE | USER_CONTROL) {
            self.control(kind, payload, out);
        }
    }

    #[cold]
    fn control(&mut self, kind: u8, payload: &[u8], out: &mut Vec<u8>) {
        if kind == WINDOW_ACK_SIZE {
            self.window = message::control_value(payload).unwrap_or(self.window);
            return;
        }
        let ping = UserControl::parse(payload).filter(|control| control.event == PING_REQUEST);
        if let Some(ping) = ping {
            message::user_control(out, message::PING_RESPONSE, ping.a, None);
        }
    }

    /// Acknowledges what came, when the peer's window is over. Called once a read, it says so no
    /// more often, however small the window is.
    #[inline]
    pub fn acknowledge(&mut self, out: &mut Vec<u8>) {
        let unsaid = self.received.saturating_sub(self.acknowledged);
        if self.window > 0 && unsaid >= u64::from(self.window) {
            self.acknowledged = self.received;
            // the sequence number wraps (RTMP 1.0 section 5.4.3)
            message::ack(out, self.received as u32);
        }
    }
}
