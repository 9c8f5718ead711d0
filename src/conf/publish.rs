//! Several publishers of one stream.

use super::directive::{flag, setting, Directive, MSA, ONE};
use super::scope::settings;
use super::value;

settings! {
    /// Several publishers of one stream.
    pub struct PublishConf, PublishScope {
        /// Whether `?pubpri=` says who of them is on air.
        pub priority: bool,
        /// What becomes of one that comes while another one of its priority is there.
        pub conflict: Conflict,
    }
}

/// What becomes of a publisher that comes while another one of its priority is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Conflict {
    /// It is refused.
    #[default]
    Reject,
    /// The other one leaves.
    Replace,
}

/// The directives.
pub const DIRECTIVES: &[Directive] = &[
    flag(c"publish_priority", MSA, "off", |s| &mut s.of::<PublishScope>().priority),
    setting(c"publish_conflict", MSA, Some("reject"), ONE, |scope, args| {
        let names = [("reject", Conflict::Reject), ("replace", Conflict::Replace)];
        value::once(&mut scope.of::<PublishScope>().conflict, value::choice(args.first(), &names)?)
    }),
];
