//! The `rtmp`, `server` and `application` blocks: parsed, inherited, checked, and handed to
//! sessions as plain structs.
//!
//! A directive is declared once, in the table of the feature it belongs to, with its name, its
//! contexts, its default and its setter. A feature is a file with a `settings!` struct and a table;
//! it is added in three places of this file: [`TABLES`], [`Scope`] and the struct that sessions read.

use std::collections::HashMap;
use std::ops::Deref;
use std::rc::Rc;

/// Declares the settings of a feature: the struct that sessions read, and the one that a block
/// fills with what is said in it.
///
/// A setting whose directive has a default always has a value in the end; any other is `Option`
/// or a list, and empty if nothing is said.
macro_rules! settings {
    (
        $(#[$conf_meta:meta])*
        pub struct $conf:ident, $scope:ident {
            $($(#[$meta:meta])* pub $name:ident: $type:ty,)+
        }
    ) => {
        $(#[$conf_meta])*
        #[derive(Debug, Clone)]
        pub struct $conf {
            $($(#[$meta])* pub $name: $type,)+
        }

        #[doc = concat!("What a block says of [`", stringify!($conf), "`].")]
        #[derive(Debug, Clone, Default)]
        pub struct $scope {
            $($(#[$meta])* pub $name: Option<$type>,)+
        }

        impl $scope {
            /// Takes from the enclosing block what this one leaves unsaid.
            pub fn inherit(&mut self, outer: &Self) {
                $(if self.$name.is_none() {
                    self.$name.clone_from(&outer.$name);
                })+
            }

            /// The settings as they hold in the end.
            pub fn resolve(&self) -> $conf {
                $conf { $($name: self.$name.clone().unwrap_or_default(),)+ }
            }
        }
    };
}

pub mod access;
pub mod blocks;
pub mod cluster;
pub mod directive;
pub mod flv_live;
pub mod limit;
pub mod listen;
pub mod live;
pub mod log;
pub mod oclp;
pub mod parse;
pub mod publish;
pub mod relay;
pub mod resolver;
pub mod server_id;
pub mod server_name;
pub mod session;
pub mod value;

pub use self::live::{LiveConf, MergeWindow};
pub use access::{AccessRule, Kind};
pub use limit::LimitConf;
pub use listen::Listen;
pub use log::LogTarget;
pub use oclp::OclpConf;
pub use publish::{Conflict, PublishConf};
pub use relay::RelayConf;
pub use resolver::ResolverConf;
pub use session::SessionConf;
pub use value::Msec;

use crate::nginx::cycle::{self, Cycle};

/// Every directive inside the `rtmp` block.
pub const TABLES: &[&[directive::Directive]] = &[
    blocks::DIRECTIVES,
    listen::DIRECTIVES,
    server_name::DIRECTIVES,
    session::DIRECTIVES,
    self::live::DIRECTIVES,
    publish::DIRECTIVES,
    access::DIRECTIVES,
    limit::DIRECTIVES,
    log::DIRECTIVES,
    resolver::DIRECTIVES,
    relay::DIRECTIVES,
    oclp::DIRECTIVES,
    cluster::DIRECTIVES,
];

/// What one block says, feature by feature.
#[derive(Default)]
pub struct Scope {
    /// One client's connection.
    pub session: session::SessionScope,
    /// Streams and their players.
    pub live: live::LiveScope,
    /// Several publishers of one stream.
    pub publish: publish::PublishScope,
    /// Who may publish and play.
    pub access: access::AccessScope,
    /// Where relays may go.
    pub relay_networks: access::AccessScope,
    /// How many may.
    pub limit: limit::LimitScope,
    /// The access log.
    pub log: log::LogScope,
    /// Name servers.
    pub resolver: resolver::ResolverScope,
    /// Relays from and to other servers.
    pub relay: relay::RelayScope,
    /// What an HTTP server is told and asked.
    pub oclp: oclp::OclpScope,
    /// Several workers as one server.
    pub cluster: cluster::ClusterScope,
}

impl Scope {
    /// Takes from the enclosing block what this one leaves unsaid.
    pub fn inherit(&mut self, outer: &Scope) {
        self.session.inherit(&outer.session);
        self.live.inherit(&outer.live);
        self.publish.inherit(&outer.publish);
        self.access.inherit(&outer.access);
        self.relay_networks.inherit(&outer.relay_networks);
        self.limit.inherit(&outer.limit);
        self.log.inherit(&outer.log);
        self.resolver.inherit(&outer.resolver);
        self.relay.inherit(&outer.relay);
        self.oclp.inherit(&outer.oclp);
        self.cluster.inherit(&outer.cluster);
    }
}

/// The `rtmp` block.
pub struct MainConf {
    /// The servers, in the order of the file.
    pub servers: Vec<Rc<ServerConf>>,
    /// What the next configuration is to know of them: see [`server_id`].
    pub known: Vec<u8>,
    /// The addresses they listen on.
    pub listens: Vec<Rc<Listen>>,
    /// Size of the shared zone in which workers find each other's streams, in bytes.
    pub zone_size: usize,
    /// Whether players find streams that other workers hold.
    pub auto_pull: bool,
    /// With what the path begins of the directory that has the workers' own sockets, through which
    /// they pull from each other.
    pub auto_pull_port: String,
    /// Name servers for what belongs to no server.
    pub resolver: ResolverConf,
    /// Whom to tell that a worker has started.
    pub oclp_proc: Option<Rc<oclp::Callback>>,
}

impl MainConf {
    /// That of `cycle`; `None` without an `rtmp` block.
    pub fn of(cycle: Cycle) -> Option<Rc<MainConf>> {
        cycle.conf_as()
    }
}

/// The configuration that this process runs by; `None` without an `rtmp` block.
pub fn main_conf() -> Option<Rc<MainConf>> {
    cycle::running_conf_as()
}

/// A `server` block. Its session settings are read as its own fields.
pub struct ServerConf {
    /// What names the server in shared memory, over reloads too: see [`server_id`].
    pub id: String,
    /// How its clients' connections are treated.
    pub session: SessionConf,
    applications: HashMap<Vec<u8>, Rc<AppConf>>,
    /// The most segments that an application's name has.
    depth: usize,
}

/// The application that serves every name that no other one has.
const ANY: &[u8] = b"*";

/// The path of a stream, taken apart.
pub struct Place<'a> {
    /// The block that serves it.
    pub conf: Rc<AppConf>,
    /// The application's name, which is not the block's if that is `*`.
    pub app: &'a [u8],
    /// May hold slashes; never empty.
    pub name: &'a [u8],
}

impl ServerConf {
    /// Splits the path of a stream, `app/name`: behind the longest application that it begins
    /// with, else, if there is an application `*`, behind its first segment. So a stream has one
    /// identity, however a client divides its path between application and name.
    pub fn split<'a>(&self, path: &'a [u8]) -> Option<Place<'a>> {
        let place = |conf: &Rc<AppConf>, at: usize| {
            let (app, name) = path.split_at_checked(at)?;
            let name = name.get(1..)?;
            // the default instance of an application, which some servers let clients name
            let name = name.strip_prefix(b"_definst_/").unwrap_or(name);
            (!name.is_empty()).then(|| Place { conf: conf.clone(), app, name })
        };
        let named = |at| place(self.applications.get(path.get(..at)?)?, at);
        let longest = self.ends(path).filter_map(named).last();
        longest.or_else(|| {
            let first = self.ends(path).next().filter(|first| *first > 0)?;
            place(self.applications.get(ANY)?, first)
        })
    }

    /// The application that a client comes to which connects to `path`, as far as that is known
    /// before it names a stream. `None`: no name would lead to one.
    pub fn entrance(&self, path: &[u8]) -> Option<Rc<AppConf>> {
        let named = |at| self.applications.get(path.get(..at)?);
        let longest = self.ends(path).chain([path.len()]).filter_map(named).last();
        let below = || {
            let is_below = |name: &[u8]| {
                name.strip_prefix(path)
                    .is_some_and(|rest| !path.is_empty() && rest.starts_with(b"/"))
            };
            let below = self.applications.iter().filter(|(name, _)| is_below(name));
            below.min_by_key(|(name, _)| *name).map(|(_, conf)| conf)
        };
        longest.or_else(|| self.applications.get(ANY)).or_else(below).cloned()
    }

    /// Where segments of `path` end at which an application's name may end.
    fn ends<'a>(&self, path: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        slashes.map(|(at, _)| at).take(self.depth)
    }

    /// All applications, in no order.
    pub fn applications(&self) -> impl Iterator<Item = &Rc<AppConf>> {
        self.applications.values()
    }
}

impl Deref for ServerConf {
    type Target = SessionConf;

    fn deref(&self) -> &SessionConf {
        &self.session
    }
}

/// An `application` block.
pub struct AppConf {
    /// As it is written; `*` serves every name that no other block has.
    pub name: Vec<u8>,
    /// [`ServerConf::id`] of its server.
    pub server_id: String,
    /// Streams and their players.
    pub live: LiveConf,
    /// Several publishers of one stream.
    pub publish: PublishConf,
    /// Who may publish and play: the first rule that matches decides, none allows.
    pub access: Vec<AccessRule>,
    /// Where relays may go that others have named: as `access`, for clients of both kinds.
    pub relay_networks: Vec<AccessRule>,
    /// How many clients are served, and how much each may ask for.
    pub limit: LimitConf,
    /// Where a line goes when a client's session ends.
    pub access_log: Vec<LogTarget>,
    /// Name servers.
    pub resolver: ResolverConf,
    /// Relays from and to other servers.
    pub relay: RelayConf,
    /// What an HTTP server is told and asked.
    pub oclp: OclpConf,
}
