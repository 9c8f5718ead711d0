//! A player's place in the audience of a stream, for as long as it plays.

use std::rc::{Rc, Weak};

use live::Sink;

use super::audience::Audience;
use super::lingering;
use super::pull::start_if_needed;
use crate::nginx::clock;
use crate::stream_request::StreamRequest;

/// A player's place; dropped, it has left.
pub struct Seat {
    audience: Rc<Audience>,
    id: u64,
}

impl Seat {
    /// A player comes.
    pub fn take(audience: &Rc<Audience>, request: &Rc<StreamRequest>) -> Self {
        let id = audience.players.enter(request);
        start_if_needed(audience);
        audience.look_for_speaker(0);
        audience.note_idle();
        Seat { audience: audience.clone(), id }
    }

    /// Pulls from now on, also without a player.
    pub fn kept(audience: &Rc<Audience>) -> Self {
        let id = audience.keep();
        start_if_needed(audience);
        Seat { audience: audience.clone(), id }
    }

    /// `sink` is to be told what becomes of the player.
    pub fn attend(&self, sink: Weak<dyn Sink>) {
        self.audience.players.attend(self.id, sink);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let audience = &self.audience;
        let request = audience.players.first();
        audience.players.leave(self.id);
        let linger = request.map_or(0, |request| request.app.relay.pull_linger);
        audience.look_for_speaker(linger);
        audience.note_idle();
        if audience.resumes_without(self.id) {
            start_if_needed(audience);
        }
        if !audience.is_empty() || !audience.is_pulling() {
            return;
        }
        if clock::exiting() {
            // also a static pull: the next generation of workers has its own
            audience.end_pull();
            return;
        }
        lingering::outlive(audience, linger);
    }
}
