//! The blocks while they are parsed: each fills a [`Scope`] with what is said in it.

use super::scope::{Scope, Settings};
use super::value::{self, ConfError};
use crate::nginx::parser::Cf;

/// What has been read of the `rtmp` block so far.
pub struct Parse {
    /// nginx's parser.
    pub cf: Cf,
    /// The servers, in the order of the file.
    pub servers: Vec<ServerBlock>,
    /// What the `rtmp` block itself says.
    pub main: Scope,
    /// What holds if nothing is said.
    pub defaults: Scope,
    shared: Scope,
    level: Level,
}

/// A `server` block.
#[derive(Default)]
pub struct ServerBlock {
    /// What it says.
    pub scope: Scope,
    /// Its applications with what they say, in the order of the file.
    pub applications: Vec<(Vec<u8>, Scope)>,
    own: Scope,
}

impl ServerBlock {
    /// What belongs to the server alone, and is no setting.
    pub fn own<T: Settings>(&mut self) -> &mut T {
        self.own.of()
    }
}

/// Which scope a directive is for.
enum Level {
    Defaults,
    Main,
    Server,
    Application,
}

impl Parse {
    /// Before the opening brace of `rtmp`: what is said now are the defaults.
    pub fn new(cf: Cf) -> Self {
        Parse {
            cf,
            servers: Vec::new(),
            main: Scope::default(),
            defaults: Scope::default(),
            shared: Scope::default(),
            level: Level::Defaults,
        }
    }

    /// At the opening brace of `rtmp`.
    pub fn open_main(&mut self) {
        self.level = Level::Main;
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

    /// What is of no block, but of all.
    pub fn shared<T: Settings>(&mut self) -> &mut T {
        self.shared.of()
    }

    /// The server block being parsed.
    pub fn server(&mut self) -> Result<&mut ServerBlock, ConfError> {
        let server = self.servers.last_mut();
        server.ok_or_else(|| ConfError::other("it must stand in a \"server\" block"))
    }

    /// The number of the server block being parsed.
    pub fn server_number(&mut self) -> Result<usize, ConfError> {
        self.server()?;
        Ok(self.servers.len() - 1)
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
        let server = self.server()?;
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
}
