//! One RTMP client, from accept to close.

mod budget;
mod command;
mod control;
mod end;
mod input;
mod output;
mod play;
mod publish;
mod request;
mod start;
mod state;
mod timer;
mod times;
mod vars;

pub use start::start;
