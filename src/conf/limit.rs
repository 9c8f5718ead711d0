//! How many clients are served.

use super::directive::{setting, Directive, MSA, ONE};
use super::value;

settings! {
    /// How many clients are served.
    pub struct LimitConf, LimitScope {
        /// At a time, by all workers; `None`: no limit.
        pub max_connections: Option<u32>,
    }
}

/// The directives.
pub const DIRECTIVES: &[Directive] =
    &[setting(c"max_connections", MSA, None, ONE, |scope, args| {
        let max = value::number(args.first(), &(0..=u32::MAX))?;
        value::once(&mut scope.limit.max_connections, Some(max))
    })];
