//! Acknowledgements that a client wants.

use std::cell::Cell;

/// What was received and acknowledged.
#[derive(Default)]
pub struct Acks {
    /// The client wants an acknowledgement after so many bytes; 0 = never.
    pub window: Cell<u32>,
    pub acknowledged: Cell<u64>,
}
