//! The blocks: `rtmp`, `server` and `application`.

use nginx_sys::NGX_MAIN_CONF;

use super::directive::{block, Directive, A, M, NO_WORDS, ONE, S};

/// The block that holds all others.
pub const RTMP: Directive = block(c"rtmp", NGX_MAIN_CONF, NO_WORDS, M, |_, _| Ok(()), |_| ());

/// The blocks inside of it.
pub const DIRECTIVES: &[Directive] = &[
    block(
        c"server",
        M,
        NO_WORDS,
        S,
        |parse, _| {
            parse.open_server();
            Ok(())
        },
        |parse| parse.close_block(),
    ),
    block(
        c"application",
        S,
        ONE,
        A,
        |parse, args| parse.open_application(args.first()),
        |parse| parse.close_block(),
    ),
];
