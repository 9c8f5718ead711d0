//! Relays: streams from and to other servers. To the live engine a pull is a publisher of the lowest
//! priority, and a push is a subscriber that is no player.

pub mod loops;
pub mod reconnect;
pub mod target;

use std::rc::Rc;

use crate::conf::relay::RelayLine;
use crate::visit::Visit;
use reconnect::{Candidate, Decision, Targets};
use target::Target;

/// The targets of a line of the configuration, always the same ones.
pub struct Line {
    line: Rc<RelayLine>,
    pull: bool,
}

impl Targets for Line {
    async fn next(&mut self, visit: &Rc<Visit>) -> Decision {
        let targets = self.line.urls.iter().filter_map(|url| {
            let target = Target::of_line(&self.line, url, visit, self.pull)?;
            Some(Candidate { target, lease: Box::new(()) })
        });
        let targets: Vec<_> = targets.collect();
        match targets.is_empty() {
            true => Decision::Failed("no url is valid with the values of its variables".into()),
            false => Decision::Try(targets),
        }
    }
}
