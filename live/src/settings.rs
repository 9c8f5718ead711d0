//! How a stream behaves.

use crate::form::Form;
use crate::metadata::Meta;

/// How a stream behaves; times in milliseconds, sizes in bytes. The directives of the same names.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The wire form in which packets are kept.
    pub form: Form,
    pub cache_time: u64,
    pub cache_size: u64,
    pub low_latency: bool,
    pub send_all: bool,
    /// `None` is `auto`.
    pub merge_window: Option<u64>,
    pub meta: Meta,
    pub wait_key: bool,
    pub wait_video: bool,
    pub out_queue_time: u64,
    pub out_queue_size: u64,
    pub out_queue_drops: Option<u32>,
    pub player_memory: u64,
}
