//! What becomes of the `rtmp` block at its closing brace: every scope takes from the enclosing one what
//! it leaves unsaid, down from the declared defaults, and is resolved.

use std::collections::HashMap;
use std::mem;
use std::rc::Rc;

use super::access::AccessScope;
use super::cluster::ClusterScope;
use super::limit::LimitScope;
use super::listen::Addresses;
use super::live::LiveScope;
use super::log::LogScope;
use super::main::MainConf;
use super::oclp::OclpScope;
use super::parse::{Parse, ServerBlock};
use super::publish::PublishScope;
use super::relay::RelayScope;
use super::resolver::ResolverScope;
use super::scope::Scope;
use super::server::{AppConf, ServerConf};
use super::server_id::{self, Known};
use super::server_name::ServerNames;
use super::session::SessionScope;
use super::value::ConfError;
use crate::nginx::listening::AcceptHandler;
use crate::nginx::zone;

/// Where the zone has what the servers of the running configuration are known by.
pub const SERVERS: &[u8] = b"servers";

/// Inherits, resolves, listens. `accept` gets the connections.
pub fn finish(mut parse: Parse, accept: AcceptHandler) -> Result<MainConf, ConfError> {
    let cf = parse.cf;
    let mut addresses = mem::take(parse.shared::<Addresses>());
    for number in 0..parse.servers.len() {
        addresses.add_default(&cf, number)?;
    }
    let Parse { mut servers, mut main, defaults, .. } = parse;
    main.inherit(&defaults);
    let names = servers.iter_mut().map(|server| mem::take(&mut server.own::<ServerNames>().0));
    let names: Vec<_> = names.collect();
    let mut known: Vec<Known> = names
        .iter()
        .enumerate()
        .map(|(number, names)| Known {
            id: String::new(),
            addresses: addresses.all_of(number).map(str::to_owned).collect(),
            names: names.iter().map(ToString::to_string).collect(),
        })
        .collect();
    let running = server_id::decode(&zone::get(SERVERS));
    for gone in server_id::assign(&mut known, &running) {
        cf.warn(&format!(
            "no server goes on with the streams of \"{}\", which runs now",
            gone.text()
        ));
    }
    let resolved = servers.iter_mut().zip(&known);
    let servers: Vec<_> =
        resolved.map(|(server, known)| Rc::new(resolve(&known.id, server, &main))).collect();
    let names: Vec<_> = names.iter().map(Vec::as_slice).collect();
    let listens = addresses.listens(&cf, &servers, &names)?;
    addresses.open(&cf, &listens, accept)?;
    let cluster = main.of::<ClusterScope>().resolve();
    Ok(MainConf {
        servers,
        known: server_id::encode(&known),
        listens,
        zone_size: cluster.zone_size,
        auto_pull: cluster.auto_pull,
        auto_pull_port: cluster.auto_pull_port,
        resolver: main.of::<ResolverScope>().resolve(),
        oclp_proc: main.of::<OclpScope>().resolve().proc,
    })
}

fn resolve(id: &str, server: &mut ServerBlock, main: &Scope) -> ServerConf {
    server.scope.inherit(main);
    let mut applications = HashMap::new();
    for (name, scope) in &mut server.applications {
        scope.inherit(&server.scope);
        let app = AppConf {
            name: name.clone(),
            server_id: id.to_owned(),
            live: scope.of::<LiveScope>().resolve(),
            publish: scope.of::<PublishScope>().resolve(),
            access: scope.of::<AccessScope>().rules(),
            relay_networks: scope.of::<AccessScope>().networks(),
            limit: scope.of::<LimitScope>().resolve(),
            access_log: scope.of::<LogScope>().resolve(),
            resolver: scope.of::<ResolverScope>().resolve(),
            relay: scope.of::<RelayScope>().resolve(),
            oclp: scope.of::<OclpScope>().resolve(),
        };
        applications.insert(name.clone(), Rc::new(app));
    }
    ServerConf::new(id.to_owned(), server.scope.of::<SessionScope>().resolve(), applications)
}
