//! The way to the server that a relay goes to: its addresses, and a connection to one of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use live::Key;

use super::failure::{Cause, Failure};
use super::target::{Scheme, Target};
use crate::conf::{self, Listen, Place, ServerConf};
use crate::nginx::address::Address;
use crate::nginx::addresses;
use crate::nginx::async_conn::AsyncConn;
use crate::nginx::resolver;
use crate::stream_request::{find_by_domain, join, StreamRequest};

/// Resolves the host of `target` and connects to one of its addresses.
pub async fn connect(request: &StreamRequest, target: &Target) -> Result<AsyncConn, Failure> {
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
        Cause::Resolve(host.into_owned(), error)
    })?;
    if target.by_others {
        permit(request, target, &mut addresses)?;
    }
    let found = addresses.len();
    addresses.retain(|address| !is_self(target, *address, request));
    if found > 0 && addresses.is_empty() {
        let host = String::from_utf8_lossy(&target.host);
        return Err(Cause::ThisStream(host.into_owned()).into());
    }
    let connected = addresses::connect(addresses).await;
    let (address, conn) = connected.map_err(Cause::Connect)?;
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
        Some(first) if addresses.is_empty() => {
            let host = String::from_utf8_lossy(&target.host).into_owned();
            Err(Cause::NotAllowed(host, first).into())
        }
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

/// Whether `target` at `address` is this very stream: one of our own listening addresses, and the
/// key that the relay is for.
fn is_self(target: &Target, address: SocketAddr, request: &StreamRequest) -> bool {
    if target.scheme != Scheme::Rtmp {
        return false;
    }
    let app = target.app.split(|byte| *byte == b'?').next().unwrap_or_default();
    let path = join(app, &target.name);
    let Some(main) = conf::main_conf() else { return false };
    let host = target.domain.split(|byte| *byte == b':').next().unwrap_or_default();
    let ip = address.ip().to_canonical();
    main.listens.iter().any(|listen| match &listen.address {
        Address::Ip(own) => {
            let takes = match own.ip() {
                wildcard if wildcard.is_unspecified() => {
                    wildcard.is_ipv4() == ip.is_ipv4() && is_local(ip)
                }
                own => own.to_canonical() == ip,
            };
            own.port() == address.port() && takes && leads_to(listen, host, &path, &request.key)
        }
        Address::Unix(_) => false,
    })
}

fn leads_to(listen: &Listen, host: &[u8], path: &[u8], key: &Key) -> bool {
    let (server, _, found) = find_by_domain(listen, host, path, ServerConf::split);
    let same = |place: Place<'_>| *place.app == *key.app && *place.name == *key.name;
    server.id.as_str() == &*key.server && found.is_some_and(same)
}

/// Whether the address is one of this machine's: only those can be bound.
fn is_local(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}
