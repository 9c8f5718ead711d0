//! How a socket is to listen: the parameters of `listen` that nginx sets on it.

/// The parameters that concern the socket.
#[derive(Clone, Default)]
pub struct ListenOptions {
    /// Length of the queue of connections not yet accepted.
    pub backlog: Option<u32>,
    /// Size of the receive buffer, in bytes.
    pub rcvbuf: Option<usize>,
    /// Size of the send buffer, in bytes.
    pub sndbuf: Option<usize>,
    /// Whether an IPv6 wildcard takes IPv6 connections only; nginx's default is yes.
    pub ipv6only: Option<bool>,
    /// One socket for each worker.
    pub reuseport: bool,
    /// TCP keepalive.
    pub so_keepalive: Option<Keepalive>,
    /// A socket of its own, even beside a wildcard.
    pub bind: bool,
}

/// TCP keepalive on the connections of a socket.
#[derive(Clone, Copy)]
pub enum Keepalive {
    /// Off, whatever the system's default.
    Off,
    /// On; zero leaves a value to the system.
    On {
        /// Seconds until the first probe.
        idle: u32,
        /// Seconds between probes.
        interval: u32,
        /// Probes until the connection is given up.
        count: u32,
    },
}
