//! How many clients are served, and how much one address and one connection may ask for.

use super::access::Kind;
use super::directive::{setting, Directive, MSA, ONE, ONE_OR_TWO};
use super::scope::{settings, Scope};
use super::value::{self, Args, ConfError};

settings! {
    /// How many clients are served, and how much one address and one connection may ask for.
    pub struct LimitConf, LimitScope {
        /// Clients of an application at a time, by all workers; `None`: no limit.
        pub max_connections: Option<u32>,
        /// Of those, the ones of an address.
        pub address: AddressLimits,
        /// Streams that nobody publishes, and that clients of an address wait for at a time, by all
        /// workers; `None`: no limit.
        pub names: Option<u32>,
        /// How often a connection may begin to publish or to play, and as often have something
        /// pulled, in a row, and in each minute after that; `None`: no limit.
        pub attempts: Option<u32>,
    }
}

/// Clients of one address at a time, by all workers; `None`: no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressLimits {
    /// Of those that publish.
    pub publish: Option<u32>,
    /// Of those that play.
    pub play: Option<u32>,
    /// Of both together.
    pub both: Option<u32>,
    off: bool,
}

/// The directives.
pub const DIRECTIVES: &[Directive] = &[
    setting(c"max_connections", MSA, None, ONE, |scope, args| {
        let max = value::number(args.first(), &(0..=u32::MAX))?;
        value::once(&mut scope.of::<LimitScope>().max_connections, Some(max))
    }),
    setting(c"rtmp_limit_conn", MSA, Some("off"), ONE_OR_TWO, limit_conn),
    setting(c"rtmp_limit_names", MSA, Some("off"), ONE, |scope, args| {
        value::once(&mut scope.of::<LimitScope>().names, number_or_off(args.first())?)
    }),
    setting(c"rtmp_limit_attempts", MSA, Some("30"), ONE, |scope, args| {
        value::once(&mut scope.of::<LimitScope>().attempts, number_or_off(args.first())?)
    }),
];

/// `rtmp_limit_conn [publish|play] number` or `rtmp_limit_conn off`
fn limit_conn(scope: &mut Scope, args: &Args<'_>) -> Result<(), ConfError> {
    let limits = scope.of::<LimitScope>().address.get_or_insert_default();
    let (slot, number) = match (args.first(), args.rest()) {
        (b"off", []) if *limits == AddressLimits::default() => {
            limits.off = true;
            return Ok(());
        }
        (b"off", []) => return Err(ConfError::Duplicate),
        (number, []) => (&mut limits.both, number),
        (kind, [number, ..]) => {
            let kinds = [("publish", Kind::Publish), ("play", Kind::Play)];
            match value::choice(kind, &kinds)? {
                Kind::Publish => (&mut limits.publish, *number),
                Kind::Play => (&mut limits.play, *number),
            }
        }
    };
    if limits.off {
        return Err(ConfError::Duplicate);
    }
    value::once(slot, positive(number, "")?)
}

fn number_or_off(word: &[u8]) -> Result<Option<u32>, ConfError> {
    match word {
        b"off" => Ok(None),
        word => positive(word, ", or \"off\"").map(Some),
    }
}

fn positive(word: &[u8], or: &str) -> Result<u32, ConfError> {
    value::number(word, &(1..=u32::MAX))
        .map_err(|_| ConfError::invalid(word, format!("a number from 1 to {}{or}", u32::MAX)))
}
