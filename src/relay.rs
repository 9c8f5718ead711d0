//! Relays: streams from and to other servers. For the engine, a pull is a publisher of the lowest
//! priority, and a push is a subscriber that is not counted as a player.

mod attempt;
mod audience;
mod clients;
mod configured;
mod connect;
mod decision;
mod delays;
mod failure;
mod feed;
mod flv_client;
mod identity;
mod inlet;
mod keep_up;
mod lingering;
pub mod loops;
mod media_flow;
mod meta;
mod outlet;
mod pace;
mod players;
mod pull;
pub mod pulls;
mod push;
pub mod pushes;
mod report;
mod rtmp_client;
mod rtmp_opening;
mod rtmp_status;
mod scheduled;
mod seat;
mod standing;
mod target;

pub use pushes::PushShare;
pub use seat::Seat;

/// A worker starts.
pub fn init() {
    pulls::init();
    pushes::init();
}

/// A worker ends.
pub fn exit() {
    pulls::exit();
}
