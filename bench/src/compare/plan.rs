//! What is compared, how often, and where.

use super::case::{Case, Pace};
use super::server::Programs;
use std::path::PathBuf;

#[derive(Debug)]
pub struct Plan {
    pub programs: Programs,
    pub cases: Vec<Case>,
    pub repetitions: u32,
    pub pace: Pace,
    pub server_core: usize,
    pub load_core: usize,
    /// The first of four ports.
    pub port: u16,
    pub media_dir: PathBuf,
    /// For results, configurations and logs.
    pub dir: PathBuf,
    /// A run in which others took more of the server's core is made again, in per cent.
    pub max_foreign_pct: f64,
    /// Adds to what an earlier comparison left in `dir`.
    pub append: bool,
    pub progress: bool,
}
