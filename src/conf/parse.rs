//! The `rtmp` block while it is parsed, and what becomes of it.
//!
//! Each block fills a [`Scope`] with what is said in it. At the end every scope takes from the
//! enclosing one what it leaves unsaid, down from the declared defaults, and is resolved.

use std::collections::HashMap;
use std::rc::Rc;

use super::listen::{Addresses, Listen};
use super::log::LogFormat;
use super::server_id::{self, Known};
use super::server_name::ServerName;
use super::value::{self, Args, ConfError};
use super::{AppConf, MainConf, Scope, ServerConf, TABLES};
use crate::nginx::listening::AcceptHandler;
use crate::nginx::parser::Cf;
use crate::nginx::zone;

/// Where the zone has what the servers of the running configuration are known by.
pub const SERVERS: &[u8] = b"servers";

/// What has been read of the `rtmp` block so far.
pub struct Parse {
    /// nginx's parser.
    pub cf: Cf,
    /// The addresses that servers listen on.
    pub addresses: Addresses,
    /// The named log formats.
    pub log_formats: HashMap<Vec<u8>, Rc<LogFormat>>,
    /// The servers, in the order of the file.
    pub servers: Vec<ServerBlock>,
    level: Level,
    defaults: Scope,
    main: Scope,
}

/// A `server` block.
#[derive(Default)]
pub struct ServerBlock {
    /// Its names.
    pub names: Vec<ServerName>,
    scope: Scope,
    applications: Vec<(Vec<u8>, Scope)>,
}

/// Which scope a directive is for.
enum Level {
    Defaults,
    Main,
    Server,
    Application,
}

impl Parse {
    /// At the opening brace of `rtmp`.
    pub fn new(cf: Cf) -> Result<Self, ConfError> {
        let mut parse = Parse {
            cf,
            addresses: Addresses::default(),
            log_formats: HashMap::new(),
            servers: Vec::new(),
            level: Level::Defaults,
            defaults: Scope::default(),
            main: Scope::default(),
        };
        for directive in TABLES.iter().copied().flatten() {
            if let Some(default) = directive.default {
                let words = default.split(' ').map(str::as_bytes).collect();
                directive.apply(&mut parse, &Args::new(directive.name(), words))?;
            }
        }
        parse.level = Level::Main;
        Ok(parse)
    }

    /// The settings of the block being parsed.
    pub fn scope(&mut self) -> &mut Scope {
        match self.level {
            Level::Defaults => &mut self.defaults,
            Level::Main => &mut self.main,
            Level::Server | Level::Application => match self.servers.last_mut() {
                None => &mut self.main,
                Some(server) => match (&self.level, server.applications.last_mut()) {
                    (Level::Application, Some((_, scope))) => scope,
                    _ => &mut server.scope,
                },
            },
        }
    }

    /// The server block being parsed, and its number.
    pub fn server(&mut self) -> Result<(usize, &mut ServerBlock), ConfError> {
        let number = self.servers.len().wrapping_sub(1);
        match self.servers.last_mut() {
            Some(server) => Ok((number, server)),
            None => Err(ConfError::other("it must stand in a \"server\" block")),
        }
    }

    /// The name of the application block being parsed.
    pub fn application(&self) -> Option<&[u8]> {
        match self.level {
            Level::Application => Some(&self.servers.last()?.applications.last()?.0),
            _ => None,
        }
    }

    /// At the opening brace of `server`.
    pub fn open_server(&mut self) {
        self.servers.push(ServerBlock::default());
        self.level = Level::Server;
    }

    /// At the opening brace of `application`.
    pub fn open_application(&mut self, name: &[u8]) -> Result<(), ConfError> {
        let (_, server) = self.server()?;
        if server.applications.iter().any(|(other, _)| other == name) {
            let name = value::text(name);
            return Err(ConfError::other(format!("duplicate application \"{name}\"")));
        }
        server.applications.push((name.to_vec(), Scope::default()));
        self.level = Level::Application;
        Ok(())
    }

    /// At the closing brace of `server` or `application`.
    pub fn close_block(&mut self) {
        self.level = match self.level {
            Level::Application => Level::Server,
            _ => Level::Main,
        };
    }

    /// What the servers are known by, also to the configuration that runs now.
    fn server_ids(&self) -> Vec<Known> {
        let running = server_id::decode(&zone::get(SERVERS));
        let known = |(number, server): (usize, &ServerBlock)| Known {
            id: String::new(),
            addresses: self.addresses.all_of(number).map(str::to_owned).collect(),
            names: server.names.iter().map(ToString::to_string).collect(),
        };
        let mut servers: Vec<Known> = self.servers.iter().enumerate().map(known).collect();
        for gone in server_id::assign(&mut servers, &running) {
            self.cf.warn(&format!(
                "no server goes on with the streams of \"{}\", which runs now",
                gone.text()
            ));
        }
        servers
    }

    /// At the closing brace of `rtmp`: inherits, resolves, listens.
    /// `accept` gets the connections.
    pub fn finish(mut self, accept: AcceptHandler) -> Result<MainConf, ConfError> {
        for number in 0..self.servers.len() {
            self.addresses.add_default(&self.cf, number)?;
        }
        self.main.inherit(&self.defaults);
        let known = self.server_ids();
        let mut servers = Vec::with_capacity(self.servers.len());
        for (server, known) in self.servers.iter_mut().zip(&known) {
            servers.push(Rc::new(resolve_server(known.id.clone(), server, &self.main)));
        }
        let names: Vec<_> = self.servers.iter().map(|server| server.names.as_slice()).collect();
        let listens: Vec<Rc<Listen>> = self.addresses.listens(&self.cf, &servers, &names)?;
        self.addresses.open(&self.cf, &listens, accept)?;
        let cluster = self.main.cluster.resolve();
        Ok(MainConf {
            servers,
            known: server_id::encode(&known),
            listens,
            zone_size: cluster.zone_size,
            auto_pull: cluster.auto_pull,
            auto_pull_port: cluster.auto_pull_port,
            resolver: self.main.resolver.resolve(),
            oclp_proc: self.main.oclp.resolve().proc,
        })
    }
}

fn resolve_server(id: String, server: &mut ServerBlock, main: &Scope) -> ServerConf {
    server.scope.inherit(main);
    let mut applications = HashMap::new();
    for (name, scope) in &mut server.applications {
        scope.inherit(&server.scope);
        let app = AppConf {
            name: name.clone(),
            server_id: id.clone(),
            live: scope.live.resolve(),
            publish: scope.publish.resolve(),
            access: scope.access.resolve(),
            relay_networks: scope.relay_networks.resolve(),
            limit: scope.limit.resolve(),
            access_log: scope.log.resolve(),
            resolver: scope.resolver.resolve(),
            relay: scope.relay.resolve(),
            oclp: scope.oclp.resolve(),
        };
        applications.insert(name.clone(), Rc::new(app));
    }
    let segments = |name: &Vec<u8>| name.split(|byte| *byte == b'/').count();
    let depth = applications.keys().map(segments).max().unwrap_or_default();
    ServerConf { id, session: server.scope.session.resolve(), applications, depth }
}
