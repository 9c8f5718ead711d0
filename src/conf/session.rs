//! How a client's connection is treated.

use std::net::IpAddr;

use super::access::Net;
use super::directive::{accepted, flag, number, setting, size, time, Directive, MS, ONE, SOME};
use super::scope::{settings, Scope};
use super::value::{self, Args, ConfError, Msec};

settings! {
    /// How a client's connection is treated.
    pub struct SessionConf, SessionScope {
        /// How long a write may wait for the client; 0: for ever.
        pub timeout: Msec,
        /// Time without a byte from the client after which it is pinged; 0: never.
        pub ping: Msec,
        /// How long the answer to a ping may take.
        pub ping_timeout: Msec,
        /// How long the handshake and the first `connect` may take together.
        pub handshake_timeout: Msec,
        /// How long a client may then take to ask for a stream; `None`: as long as for those.
        pub first_command_timeout: Option<Msec>,
        /// How many streams a client may publish at a time on one connection.
        pub max_publishes: u32,
        /// How many chunk streams a client may use.
        pub max_streams: u32,
        /// The acknowledgement window that we announce, in bytes.
        pub ack_window: u32,
        /// The chunk size in which we send, in bytes.
        pub chunk_size: usize,
        /// A longer message ends the session, in bytes.
        pub max_message: usize,
        /// TCP keepalive, which accepted sockets have from the listening one.
        pub so_keepalive: bool,
        /// TCP_NODELAY.
        pub tcp_nodelay: bool,
        /// Whose PROXY protocol headers count; empty: everybody's.
        pub proxy_protocol_from: Vec<Net>,
    }
}

impl SessionConf {
    /// Whether a balancer at that address may tell who its clients are.
    pub fn trusts(&self, ip: Option<IpAddr>) -> bool {
        let from = &self.proxy_protocol_from;
        from.is_empty() || from.iter().any(|net| net.contains(ip))
    }
}

/// From what clients use for control, commands, audio, video and data to the number of ids that
/// there are, 2 to 65599 (RTMP 5.3.1.1), rounded up.
const CHUNK_STREAMS: std::ops::RangeInclusive<u32> = 8..=65_600;
/// A connection has no more than 64 message streams.
const PUBLISHES: std::ops::RangeInclusive<u32> = 1..=64;
/// The range of a chunk size: below the protocol's initial 128 headers would outweigh the data,
/// above 2^24-1 it exceeds any message (RTMP 5.4.1).
const CHUNK_SIZES: std::ops::RangeInclusive<usize> = 128..=0xff_ffff;
/// From a size that holds any command to the largest a message header can tell, rounded up.
const MESSAGE_SIZES: std::ops::RangeInclusive<usize> = 4096..=16 << 20;
/// Four bytes on the wire, half of which leave room for what is in flight.
const ACK_WINDOWS: std::ops::RangeInclusive<u32> = 1..=i32::MAX as u32;

/// The directives.
pub const DIRECTIVES: &[Directive] = &[
    time(c"timeout", MS, "1m", |s| &mut s.of::<SessionScope>().timeout),
    time(c"ping", MS, "1m", |s| &mut s.of::<SessionScope>().ping),
    time(c"ping_timeout", MS, "30s", |s| &mut s.of::<SessionScope>().ping_timeout),
    time(c"handshake_timeout", MS, "10s", |s| &mut s.of::<SessionScope>().handshake_timeout),
    setting(c"first_command_timeout", MS, None, ONE, |scope, args| {
        let limit = value::time(args.first())?;
        value::once(&mut scope.of::<SessionScope>().first_command_timeout, Some(limit))
    }),
    number(c"max_publishes", MS, "8", |s| &mut s.of::<SessionScope>().max_publishes, PUBLISHES),
    number(c"max_streams", MS, "32", |s| &mut s.of::<SessionScope>().max_streams, CHUNK_STREAMS),
    number(c"ack_window", MS, "5000000", |s| &mut s.of::<SessionScope>().ack_window, ACK_WINDOWS),
    size(c"chunk_size", MS, "4096", |s| &mut s.of::<SessionScope>().chunk_size, CHUNK_SIZES),
    size(c"max_message", MS, "16m", |s| &mut s.of::<SessionScope>().max_message, MESSAGE_SIZES),
    flag(c"so_keepalive", MS, "off", |s| &mut s.of::<SessionScope>().so_keepalive),
    flag(c"tcp_nodelay", MS, "on", |s| &mut s.of::<SessionScope>().tcp_nodelay),
    setting(c"proxy_protocol_from", MS, None, SOME, proxy_protocol_from),
    // nothing of a live stream depends on how much a player buffers
    accepted(c"buflen", MS, "1s", |word| value::time(word).map(drop)),
];

/// `proxy_protocol_from address|CIDR|unix:|all …`, any number of times.
fn proxy_protocol_from(scope: &mut Scope, args: &Args<'_>) -> Result<(), ConfError> {
    let nets = scope.of::<SessionScope>().proxy_protocol_from.get_or_insert_default();
    for word in args.values() {
        nets.push(Net::parse(word).ok_or_else(|| ConfError::invalid(word, Net::MUST_BE))?);
    }
    Ok(())
}
