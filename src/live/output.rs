//! Where bytes lie and where they go: the only unsafe code of the engine.

mod block;
mod socket;

pub use block::Block;
pub use socket::Socket;
