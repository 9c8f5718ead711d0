//! Every directive inside the `rtmp` block, and what holds before a word of it is read.

use super::directive::Directive;
use super::parse::Parse;
use super::value::{Args, ConfError};
use super::{
    access, blocks, cluster, limit, listen, live, log, oclp, publish, relay, resolver, server_name,
    session,
};
use crate::nginx::parser::Cf;

/// Every directive inside the `rtmp` block.
pub const TABLES: &[&[Directive]] = &[
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

/// The block at its opening brace, with the declared defaults.
pub fn begin(cf: Cf) -> Result<Parse, ConfError> {
    let mut parse = Parse::new(cf);
    for directive in TABLES.iter().copied().flatten() {
        if let Some(default) = directive.default {
            let words = default.split(' ').map(str::as_bytes).collect();
            directive.apply(&mut parse, &Args::new(directive.name(), words))?;
        }
    }
    parse.open_main();
    Ok(parse)
}
