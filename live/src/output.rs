//! Where bytes lie and where they go: the only unsafe code of the engine.

#![allow(unsafe_code)]

mod block;
mod socket;

pub use block::Block;
pub use socket::Socket;
