//! What is decided about the next attempt of a relay: where it goes, if it goes anywhere.

use std::rc::Rc;

use super::failure::Failure;
use super::target::Target;
use crate::stream_request::StreamRequest;

/// Who says where a relay goes: the configuration, or a scheduler.
pub trait Targets {
    /// Whose line it is, for the log.
    fn name(&self) -> String;
    /// Decides about the next attempt for the stream of `request`.
    async fn next(&mut self, request: &Rc<StreamRequest>) -> Decision;
}

/// Where an attempt goes.
pub enum Decision {
    /// There: each in turn, at once, until one works.
    Try(Vec<Candidate>),
    /// Nowhere: there is to be no relay.
    GiveUp,
    /// Nowhere, and the clients that the relay is for are to end.
    EndClients(&'static str),
    /// Nobody knows; the question is asked again later.
    Failed(Failure),
}

/// A target, and what is held as long as a relay to it is tried or established.
pub struct Candidate {
    pub target: Target,
    pub lease: Box<dyn Lease>,
}

/// Held by the one relay session that a decision led to; dropped when that has ended, established
/// or not.
pub trait Lease {
    /// The relay works now.
    fn established(&mut self) {}

    /// No relay is made of the decision.
    fn unused(self: Box<Self>) {}
}

impl Lease for () {}
