//! Relays: streams from and to other servers. To the live engine a pull is a publisher of the lowest
//! priority, and a push is a subscriber that is no player.

mod audience;
mod clients;
mod feed;
mod flv_client;
pub mod keep_up;
pub mod loops;
mod meta;
mod pace;
mod players;
pub mod pull;
pub mod push;
mod report;
mod rtmp_client;
pub mod target;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;

use crate::conf::relay::RelayLine;
use crate::nginx::addresses;
use crate::nginx::async_conn::AsyncConn;
use crate::nginx::resolver;
use crate::stream_request::attempts::{self, Attempt};
use crate::stream_request::StreamRequest;
pub use audience::Seat;
use keep_up::{Candidate, Decision, Failure, Refused, Targets};
use target::Target;

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

impl Line {
    /// Its targets for the stream of `request`; those that its values leave valid.
    fn targets(&self, request: &StreamRequest) -> Vec<Target> {
        let urls = self.line.urls.iter();
        urls.filter_map(|url| Target::of_line(&self.line, url, request, self.pull)).collect()
    }
}

impl Targets for Line {
    fn name(&self) -> String {
        // a line is where it is as long as there are relays of it
        format!("{:p}", self.line)
    }

    async fn next(&mut self, request: &Rc<StreamRequest>) -> Decision {
        if self.pull {
            if let Err(spent) = attempts::spend(request, Attempt::Pull) {
                return Decision::Failed(Failure::new(spent.why()));
            }
        }
        let targets = self.targets(request).into_iter();
        let candidates: Vec<_> =
            targets.map(|target| Candidate { target, lease: Box::new(()) }).collect();
        match candidates.is_empty() {
            true => {
                let why = "no url is valid with the values of its variables";
                Decision::Failed(Failure::refused(Refused::NotFound, why))
            }
            false => Decision::Try(candidates),
        }
    }
}

/// Resolves the host of `target` and connects to one of its addresses.
async fn connect(request: &StreamRequest, target: &Target) -> Result<AsyncConn, Failure> {
    let connected = try_to_connect(request, target).await;
    match target.by_others {
        // the host may be the client's own
        true => connected.map_err(Failure::when_asked),
        false => connected,
    }
}

async fn try_to_connect(request: &StreamRequest, target: &Target) -> Result<AsyncConn, Failure> {
    let conf = &request.app.resolver;
    let addresses = resolver::resolve(&target.host, target.port, conf.resolver, conf.timeout).await;
    let mut addresses = addresses.map_err(|error| {
        let host = String::from_utf8_lossy(&target.host);
        Failure::new(format!("\"{host}\" is not resolved: {error}"))
    })?;
    if target.by_others {
        permit(request, target, &mut addresses)?;
    }
    let found = addresses.len();
    addresses.retain(|address| !loops::is_self(target, *address, request));
    if found > 0 && addresses.is_empty() {
        let host = String::from_utf8_lossy(&target.host);
        return Err(Failure::new(format!("{host} is this very stream here")));
    }
    let connected = addresses::connect(addresses).await;
    let (address, conn) = connected.map_err(|error| Failure::new(error.to_string()))?;
    target.tried.set(Some(address));
    Ok(conn)
}

/// Keeps those addresses that a relay may go to whose host others than the configuration have named.
fn permit(
    request: &StreamRequest,
    target: &Target,
    addresses: &mut Vec<SocketAddr>,
) -> Result<(), Failure> {
    let first = addresses.first().map(meant);
    addresses.retain(|address| request.app.may_relay_to(meant(address)));
    match first {
        Some(first) if addresses.is_empty() => Err(Failure::new(format!(
            "\"{}\" is at {first}, where relay_allow and relay_deny let no relay go",
            String::from_utf8_lossy(&target.host),
        ))),
        _ => Ok(()),
    }
}

/// Where a connection to `address` ends: at this machine, if it is 0.0.0.0 or `::`.
fn meant(address: &SocketAddr) -> IpAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}
