//! The `rtmp` block while it is parsed, and what becomes of it.
//!
//! Each block fills a [`Scope`] with what is said in it. At the end every scope takes from the
//! enclosing one what it leaves unsaid, down from the declared defaults, and is resolved.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::listen::{Addresses, Listen};
use super::log::LogFormat;
use super::ngx::Cf;
use super::server_name::ServerName;
use super::value::{self, Args, ConfError};
use super::{AppConf, MainConf, Scope, ServerConf, TABLES};

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

    /// At the closing brace of `rtmp`: inherits, resolves, listens.
    pub fn finish(mut self) -> Result<MainConf, ConfError> {
        crate::relay::loops::init();
        for number in 0..self.servers.len() {
            self.addresses.add_default(&self.cf, number)?;
        }
        self.main.inherit(&self.defaults);
        let mut ids = HashSet::new();
        let mut servers = Vec::with_capacity(self.servers.len());
        for (number, server) in self.servers.iter_mut().enumerate() {
            let id = unique(server_id(number, server, &self.addresses), &mut ids);
            servers.push(Rc::new(resolve_server(id, server, &self.main)));
        }
        let names: Vec<_> = self.servers.iter().map(|server| server.names.as_slice()).collect();
        let listens: Vec<Rc<Listen>> = self.addresses.listens(&self.cf, &servers, &names)?;
        let ports = self.addresses.open(&self.cf, &listens)?;
        let cluster = self.main.cluster.resolve();
        Ok(MainConf {
            servers,
            listens,
            zone_size: cluster.zone_size,
            auto_pull: cluster.auto_pull,
            auto_pull_port: cluster.auto_pull_port,
            resolver: self.main.resolver.resolve(),
            oclp_proc: self.main.oclp.resolve().proc,
            _ports: ports,
        })
    }
}

/// What a server is known by in shared memory: it does not change when others are added before it.
fn server_id(number: usize, server: &ServerBlock, addresses: &Addresses) -> String {
    let listen = addresses.first_of(number).unwrap_or_default();
    match server.names.first() {
        Some(name) => format!("{listen} {name}"),
        None => listen.to_owned(),
    }
}

/// Servers that share their first address and name are told apart by their order.
fn unique(id: String, ids: &mut HashSet<String>) -> String {
    let mut unique = id.clone();
    let mut n = 2;
    while !ids.insert(unique.clone()) {
        unique = format!("{id} #{n}");
        n += 1;
    }
    unique
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
            access: scope.access.resolve(),
            max_connections: scope.limit.resolve().max_connections,
            access_log: scope.log.resolve(),
            resolver: scope.resolver.resolve(),
            relay: scope.relay.resolve(),
            oclp: scope.oclp.resolve(),
        };
        applications.insert(name.clone(), Rc::new(app));
    }
    ServerConf { id, session: server.scope.session.resolve(), applications }
}
