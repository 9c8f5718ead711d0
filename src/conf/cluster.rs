//! Several workers as one server.

use super::directive::{flag, setting, size, Directive, M, ONE};
use super::scope::{settings, Scope};
use super::value::{self, Args, ConfError};

settings! {
    /// Several workers as one server.
    pub struct ClusterConf, ClusterScope {
        /// Size of the shared zone in which workers find each other's streams, in bytes.
        pub zone_size: usize,
        /// Whether players find streams that other workers hold.
        pub auto_pull: bool,
        /// With what the path begins of the directory that has the workers' own sockets, through which
        /// they pull from each other.
        pub auto_pull_port: String,
    }
}

/// A slab pool of less than eight pages holds next to nothing; nginx's own zones ask for as much.
const ZONE_SIZES: std::ops::RangeInclusive<usize> = 32 << 10..=1 << 30;
/// `sun_path` holds 108 bytes: the prefix, what follows it in the name of the directory, the name of
/// a socket there and a final zero must fit.
const PREFIX_MAX: usize = 75;

/// The directives.
pub const DIRECTIVES: &[Directive] = &[
    size(c"rtmp_zone", M, "8m", |s| &mut s.of::<ClusterScope>().zone_size, ZONE_SIZES),
    flag(c"rtmp_auto_pull", M, "on", |s| &mut s.of::<ClusterScope>().auto_pull),
    setting(c"rtmp_auto_pull_port", M, Some("unix:/tmp/ngx_rtmp"), ONE, auto_pull_port),
];

fn auto_pull_port(scope: &mut Scope, args: &Args<'_>) -> Result<(), ConfError> {
    let word = args.first();
    let path = word.strip_prefix(b"unix:").and_then(|path| std::str::from_utf8(path).ok());
    match path {
        Some(path) if path.starts_with('/') && path.len() <= PREFIX_MAX => {
            value::once(&mut scope.of::<ClusterScope>().auto_pull_port, path.to_owned())
        }
        _ => Err(ConfError::invalid(
            word,
            format!("\"unix:\" and an absolute path of at most {PREFIX_MAX} bytes"),
        )),
    }
}
