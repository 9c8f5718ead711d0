//! How streams are relayed from and to other servers.

use super::directive::{flag, setting, time, Directive, MSA, ONE};
use super::value::{self, Args, ConfError, Msec};

settings! {
    /// How streams are relayed from and to other servers.
    pub struct RelayConf, RelayScope {
        /// The buffer length that an origin is told.
        pub relay_buffer: Msec,
        /// The delay after the first failure of a relay.
        pub failed_reconnect: Msec,
        /// The longest delay between two attempts, and the longest that one may take.
        pub relay_reconnect: Msec,
        /// The same for pushes only.
        pub push_reconnect: Option<Msec>,
        /// The same for pulls only.
        pub pull_reconnect: Option<Msec>,
        /// As in arut's module, where it ties a relay to the session that caused it. A relay here
        /// always ends with the stream, so both values mean the same.
        pub session_relay: bool,
    }
}

/// The directives.
pub const DIRECTIVES: &[Directive] = &[
    time(c"relay_buffer", MSA, "5s", |s| &mut s.relay.relay_buffer),
    setting(c"failed_reconnect", MSA, Some("50ms"), ONE, |scope, args| {
        value::once(&mut scope.relay.failed_reconnect, delay(args)?)
    }),
    setting(c"relay_reconnect", MSA, Some("3s"), ONE, |scope, args| {
        value::once(&mut scope.relay.relay_reconnect, delay(args)?)
    }),
    setting(c"push_reconnect", MSA, None, ONE, |scope, args| {
        value::once(&mut scope.relay.push_reconnect, Some(delay(args)?))
    }),
    setting(c"pull_reconnect", MSA, None, ONE, |scope, args| {
        value::once(&mut scope.relay.pull_reconnect, Some(delay(args)?))
    }),
    flag(c"session_relay", MSA, "off", |s| &mut s.relay.session_relay),
];

/// A time that is not zero: without a delay a target that refuses would be asked without end.
fn delay(args: &Args<'_>) -> Result<Msec, ConfError> {
    match value::time(args.first())? {
        0 => Err(ConfError::invalid(args.first(), "a time longer than 0")),
        delay => Ok(delay),
    }
}
