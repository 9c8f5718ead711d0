//! What a worker process starts with, and leaves behind.

use nginx_sys::ngx_cycle_t;

use crate::conf;
use crate::directory;
use crate::nginx::log;
use crate::nginx::process;
use crate::nginx::resolver;
use crate::nginx::task;
use crate::oclp;
use crate::relay;

/// A worker starts.
pub fn init(cycle: *mut ngx_cycle_t) -> Result<(), ()> {
    let Some(main) = conf::main_conf().filter(|_| process::serves()) else { return Ok(()) };
    resolver::init(cycle);
    if main.auto_pull {
        directory::watch();
        let started = directory::start(&main.auto_pull_port);
        if let Err(error) = started {
            let prefix = &main.auto_pull_port;
            log::error!(
                log::cycle(),
                "rtmp: no socket at \"rtmp_auto_pull_port\" {prefix}: {error}; \
                 other workers can't play the streams of this one"
            );
        }
    }
    oclp::init(&main);
    relay::init();
    task::start();
    Ok(())
}

/// A worker ends.
pub fn exit(_cycle: *mut ngx_cycle_t) {
    // what still runs is dropped now, since nginx frees the memory of it
    oclp::exit();
    relay::exit();
    directory::inner::exit();
    task::exit();
    directory::stop();
}
