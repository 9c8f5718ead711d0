//! Relays whose targets a line of the configuration names.

use std::rc::Rc;

use super::decision::{Candidate, Decision, Targets};
use super::failure::{Cause, Failure, Refused};
use super::target::Target;
use crate::conf::relay::RelayLine;
use crate::stream_request::attempts::{self, Attempt};
use crate::stream_request::StreamRequest;

/// The targets of a line of the configuration, always the same ones.
pub struct Configured {
    pub line: Rc<RelayLine>,
    pub pull: bool,
}

impl Configured {
    /// Its targets for the stream of `request`; those that its values leave valid.
    pub fn targets(&self, request: &StreamRequest) -> Vec<Target> {
        let urls = self.line.urls.iter();
        urls.filter_map(|url| Target::of_line(&self.line, url, request, self.pull)).collect()
    }
}

impl Targets for Configured {
    fn name(&self) -> String {
        // a line is where it is as long as there are relays of it
        format!("{:p}", self.line)
    }

    async fn next(&mut self, request: &Rc<StreamRequest>) -> Decision {
        if self.pull {
            if let Err(spent) = attempts::spend(request, Attempt::Pull) {
                return Decision::Failed(Cause::Spent(spent).into());
            }
        }
        let targets = self.targets(request).into_iter();
        let candidates: Vec<_> =
            targets.map(|target| Candidate { target, lease: Box::new(()) }).collect();
        match candidates.is_empty() {
            true => Decision::Failed(Failure::refused(Refused::NotFound, Cause::NoValidUrl)),
            false => Decision::Try(candidates),
        }
    }
}
