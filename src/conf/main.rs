//! The `rtmp` block, as the module runs by it.

use std::rc::Rc;

use super::listen::Listen;
use super::oclp::Callback;
use super::resolver::ResolverConf;
use super::server::ServerConf;
use crate::nginx::cycle::{self, Cycle};

/// The `rtmp` block.
pub struct MainConf {
    /// The servers, in the order of the file.
    pub servers: Vec<Rc<ServerConf>>,
    /// What the next configuration is to know of them: see [`server_id`](super::server_id).
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
    pub oclp_proc: Option<Rc<Callback>>,
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
