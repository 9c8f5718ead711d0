//! Relays: streams from and to other servers. To the live engine a pull is a publisher of the lowest
//! priority, and a push is a subscriber that is no player.

mod attempt;
mod audience;
mod clients;
mod configured;
mod connect;
mod decision;
mod delays;
mod failure;
mod feed;
mod flow;
mod flv_client;
mod keep_up;
pub mod loops;
mod meta;
mod pace;
mod players;
pub mod pull;
pub mod push;
mod report;
mod rtmp_client;
mod scheduled;
pub mod target;

pub use audience::Seat;

/// A worker starts.
pub fn init() {
    pull::init();
    push::init();
}

/// A worker ends.
pub fn exit() {
    pull::exit();
}
