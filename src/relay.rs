//! Relays: streams from and to other servers. To the live engine a pull is a publisher of the lowest
//! priority, and a push is a subscriber that is no player.

mod clients;
mod flv;
pub mod loops;
pub mod pull;
pub mod push;
pub mod reconnect;
mod rtmp;
pub mod target;

use std::rc::Rc;

use crate::conf::ngx::Address;
use crate::conf::relay::RelayLine;
use crate::nginx::peer::{self, AsyncConn};
use crate::nginx::resolver;
use crate::nginx::task;
use crate::visit::Visit;
use reconnect::{Candidate, Decision, Failure, Targets};
use target::Target;

/// How long an address may be silent while there is another one to be tried. The last one has all
/// the time of the attempt.
const NEXT_ADDRESS_MS: u64 = 500;

/// A worker starts.
pub fn init() {
    pull::init();
    push::init();
}

/// A worker ends.
pub fn exit() {
    pull::exit();
}

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

/// Resolves the host of `target` and connects to the first of its addresses that answers.
async fn connect(visit: &Visit, target: &Target) -> Result<AsyncConn, Failure> {
    let conf = &visit.app.resolver;
    let host = String::from_utf8_lossy(&target.host);
    let addresses = resolver::resolve(&target.host, target.port, conf.resolver, conf.timeout).await;
    let addresses =
        addresses.map_err(|error| Failure::new(format!("\"{host}\" is not resolved: {error}")))?;
    let mut failure = Failure::new(format!("\"{host}\" has no address"));
    let mut addresses = addresses.into_iter().peekable();
    while let Some(address) = addresses.next() {
        if loops::is_self(target, address, visit) {
            return Err(Failure::new(format!("{address} is this very stream here")));
        }
        let to = Address::Ip(address);
        let connecting = peer::connect(&to);
        let connected = match addresses.peek() {
            Some(_) => task::timeout(NEXT_ADDRESS_MS, connecting).await,
            None => Some(connecting.await),
        };
        match connected {
            Some(Ok(conn)) => return Ok(conn),
            Some(Err(error)) => {
                failure = Failure::new(format!("connect to {address} failed: {error}"));
            }
            // what is said of the next one is of more use
            None => (),
        }
    }
    Err(failure)
}
