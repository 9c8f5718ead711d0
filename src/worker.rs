//! What a worker process starts with, and leaves behind.

use shared_table::Class;

use crate::conf::finish::SERVERS;
use crate::conf::{self, MainConf};
use crate::directory;
use crate::nginx::cycle::Cycle;
use crate::nginx::listening::{self, AcceptHandler};
use crate::nginx::log;
use crate::nginx::process;
use crate::nginx::resolver;
use crate::nginx::stop;
use crate::nginx::task;
use crate::nginx::zone;
use crate::oclp;
use crate::relay;

/// A configuration has been read, and nothing holds by it yet: what it asks for is tried.
pub fn prepare(cycle: Cycle) -> Result<(), directory::master::Error> {
    let Some(main) = MainConf::of(cycle) else { return Ok(()) };
    directory::master::prepare(cycle, shared(&main))
}

/// The master, or a single process, has read a configuration that will run.
pub fn configured(cycle: Cycle) {
    if let Some(main) = MainConf::of(cycle).filter(|_| process::is_starting()) {
        relay::loops::init();
        directory::master::commit(cycle, shared(&main));
        remember_servers(&main);
    }
}

fn shared(main: &MainConf) -> directory::master::Shared<'_> {
    directory::master::Shared {
        zone_size: main.zone_size,
        sockets: main.auto_pull.then_some(main.auto_pull_port.as_str()),
    }
}

/// The next configuration is to know the servers of this one.
fn remember_servers(main: &MainConf) {
    let told = zone::update(SERVERS, |value| {
        value.clone_from(&main.known);
        ((), Class::Reserved)
    });
    if told.is_err() {
        log::warning!(
            log::cycle(),
            "rtmp: \"rtmp_zone\" is full: a reload that changes servers may hide streams"
        );
    }
}

/// A worker starts. `accept` gets the connections to the addresses of the configuration.
pub fn init(cycle: Cycle, accept: AcceptHandler) {
    let Some(main) = conf::main_conf().filter(|_| process::serves()) else { return };
    if process::is_worker() {
        zone::close_descriptor();
    }
    resolver::init(cycle);
    listening::pause_when_full(accept);
    if main.auto_pull {
        directory::watch(relay::pulls::resume, relay::pulls::end_players);
        directory::start();
    }
    oclp::init(&main);
    relay::init();
    task::start();
}

/// How long a worker that stops at once may take to tell of all that ends with it, in milliseconds.
/// nginx's master kills it after a second and a half.
const LAST_WORDS_MS: u64 = 700;

/// A worker, whose `cycle` it is, ends: its event loop has made its last turn.
pub fn exit(cycle: Cycle) {
    if process::serves() && conf::main_conf().is_some() {
        stop::close_accepted(cycle);
        relay::exit();
        stop::turn_while(cycle, LAST_WORDS_MS, task::telling);
    }
    // what still runs is dropped now, since nginx frees the memory of it
    oclp::exit();
    directory::exit();
    task::exit();
    directory::stop();
}
