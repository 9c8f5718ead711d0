//! Why an HTTP player has left, and what the access log says of it.

use std::borrow::Cow;

use super::player::Player;
use crate::access_log;
use crate::nginx::clock;
use crate::nginx::http::Ended;
use crate::variables::{self, Var, Vars};

/// A player that has left.
struct Past<'a> {
    player: &'a Player,
    request: Ended,
}

impl Player {
    /// Takes note of why the player leaves; the first reason counts.
    pub(super) fn leaves(&self, why: impl Into<Box<str>>) {
        let _ = self.stream_request.reason.set(why.into());
    }

    /// Writes the line of a player that has left, and has its reason known before callbacks are told.
    pub(super) fn log_access(&self) {
        let request = self.request.ended();
        self.leaves(match request {
            Ended { shut_down: true, .. } => "closed at shutdown",
            Ended { timed_out: true, .. } => "timed out: nothing was taken",
            _ => "closed by the client",
        });
        access_log::write(&self.stream_request.app, &Past { player: self, request });
    }
}

impl Vars for Past<'_> {
    fn get(&self, var: &Var) -> Cow<'_, [u8]> {
        let lasted = || clock::now().saturating_sub(self.player.came);
        match var {
            Var::Command => b"PLAY".into(),
            Var::BytesSent => self.request.sent.to_string().into_bytes().into(),
            Var::BytesReceived => self.request.received.to_string().into_bytes().into(),
            Var::SessionTime => variables::seconds(lasted()).into_bytes().into(),
            Var::SessionReadableTime => variables::readable(lasted()).into_bytes().into(),
            var => self.player.stream_request.get(var),
        }
    }
}
