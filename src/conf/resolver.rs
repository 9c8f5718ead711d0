//! Name servers.

use std::ptr::NonNull;

use nginx_sys::ngx_resolver_t;

use super::directive::{any, time, Directive, MS, SOME};
use super::scope::settings;
use super::value::{self, Msec};

settings! {
    /// Name servers.
    pub struct ResolverConf, ResolverScope {
        /// nginx's resolver, which lives as long as the configuration; `None` if there is none.
        pub resolver: Option<NonNull<ngx_resolver_t>>,
        /// How long an answer may take.
        pub timeout: Msec,
    }
}

/// The directives.
pub const DIRECTIVES: &[Directive] = &[
    any(c"resolver", MS, None, SOME, |parse, args| {
        let resolver = parse.cf.resolver(args.values())?;
        value::once(&mut parse.scope().of::<ResolverScope>().resolver, Some(resolver))
    }),
    time(c"resolver_timeout", MS, "30s", |s| &mut s.of::<ResolverScope>().timeout),
];
