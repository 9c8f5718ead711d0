//! What the scheduler remembers: which nodes hold which stream, each for the length of a lease.
//!
//! Two implementations: [`memory`] for one scheduler, [`redis`] for several that share it. Both forget a holding when
//! its lease ends, both know when they may have forgotten more than they should ("learning").

pub mod memory;
pub mod redis;

use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;

use crate::address::NodeAddr;
use crate::key::StreamKey;

/// Publishers of one stream on different nodes: main, spare, and a few that are about to end.
pub const MAX_HOLDINGS: usize = 8;
/// More machines than one cluster has; a bound on what hostile `node=` can make us remember.
pub const MAX_NODES: usize = 4096;
/// What a stream may cost in memory, in bytes, on the average of `--max-streams` of them: five times what one with
/// ordinary names does. Long names leave room for fewer.
pub const STREAM_BYTES: usize = 4096;
/// A node that has nothing and says nothing is forgotten after this.
pub const NODE_MEMORY: Duration = Duration::from_secs(3600);
/// A node that pulls a stream does not have it, so what is recorded of it is out of date. Not so if its publish came
/// while its pull was on the way: both are answered within the nodes' 3 s.
pub const PULL_ON_THE_WAY: Duration = Duration::from_secs(5);

/// The store cannot be asked now.
#[derive(Debug, thiserror::Error)]
#[error("store unavailable: {0}")]
pub struct Unavailable(pub String);

/// What a node says that it has.
#[derive(Clone, Debug)]
pub struct Claim {
    pub key: StreamKey,
    pub node: NodeAddr,
    pub http: Option<NodeAddr>,
    /// Canonical, may be empty.
    pub worker: String,
    /// Canonical, may be empty.
    pub client: String,
}

/// What the policy and the command line have to say about remembering.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    pub lease: Duration,
    /// See [`Absent::Learning`]; zero switches it off.
    pub learn: Duration,
    /// How long the end of a stream is remembered.
    pub remember_end: Duration,
    pub max_streams: usize,
    /// A second node is refused.
    pub first_wins: bool,
}

impl Terms {
    /// The most that a record in memory may cost, in bytes.
    pub fn max_bytes(&self) -> usize {
        self.max_streams.saturating_mul(STREAM_BYTES)
    }
}

/// What became of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// Recorded, or its lease renewed.
    Recorded,
    /// Recorded from an update, though no start was known: something had been forgotten.
    Relearned,
    /// Another node has the stream and the first wins.
    Taken(NodeAddr),
    /// `max_streams`, [`Terms::max_bytes`] or [`MAX_NODES`] reached.
    Full,
}

/// A node that has the stream asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub node: NodeAddr,
    pub http: Option<NodeAddr>,
    /// Order of publish starts: greater is newer.
    pub order: u64,
}

/// Why nobody has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// It ended so long ago.
    Ended(Duration),
    /// The asking node alone has it: it began while the pull was on the way, or is about to end.
    Here,
    /// Not heard of, and something may have been forgotten.
    Learning,
    /// Not heard of.
    Unknown,
}

/// Who has a stream: at least one other node than the asking one, or nobody.
pub type Found = Result<Vec<Candidate>, Absent>;

/// One holding, for people.
#[derive(Clone, Debug, Serialize)]
pub struct HoldingView {
    pub node: String,
    pub http: Option<String>,
    pub worker: String,
    pub client: String,
    /// Milliseconds since its publish start.
    pub age_ms: u64,
    /// Milliseconds since its last start or update.
    pub heard_ms: u64,
    /// Milliseconds until it is forgotten.
    pub lease_ms: u64,
}

/// One stream, for people.
#[derive(Clone, Debug)]
pub struct StreamView {
    pub key: StreamKey,
    pub holdings: Vec<HoldingView>,
}

/// One node, for people.
#[derive(Clone, Debug, Serialize)]
pub struct NodeView {
    pub node: String,
    pub http: Option<String>,
    /// Holdings on it.
    pub streams: usize,
    /// Milliseconds since it was last heard.
    pub heard_ms: u64,
}

/// Sizes, for monitors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    pub streams: usize,
    pub nodes: usize,
    pub learning: bool,
}

/// The record. Every method may be called at any time from any task, is done or not done as a whole, and says so.
#[async_trait]
pub trait Store: Send + Sync {
    /// A publish start (`fresh`) or update: records the claim, renews its lease.
    async fn hold(&self, claim: &Claim, fresh: bool, terms: &Terms) -> Result<Held, Unavailable>;

    /// A publish done: true if the record was this claim's. One of another worker or client is left alone.
    async fn release(&self, claim: &Claim, terms: &Terms) -> Result<bool, Unavailable>;

    /// Who but `asking` has the stream. What is recorded of `asking` itself is out of date, and dropped.
    async fn find(
        &self,
        key: &StreamKey,
        asking: Option<&NodeAddr>,
        terms: &Terms,
    ) -> Result<Found, Unavailable>;

    /// A worker process has started: what it held is forgotten, or (`keep`) unless renewed within that time.
    /// Gives the number of holdings.
    async fn start_worker(
        &self,
        node: &NodeAddr,
        worker: &str,
        keep: Option<Duration>,
        terms: &Terms,
    ) -> Result<usize, Unavailable>;

    /// A sign of life of a node; keeps it on the list.
    async fn heard(&self, node: &NodeAddr, http: Option<&NodeAddr>) -> Result<(), Unavailable>;

    /// At most `limit` streams after this key (`""`: from the first), in order of key.
    async fn streams(&self, after: &str, limit: usize) -> Result<Vec<StreamView>, Unavailable>;

    /// All nodes, in order of address.
    async fn nodes(&self) -> Result<Vec<NodeView>, Unavailable>;

    /// Sizes.
    async fn census(&self) -> Result<Census, Unavailable>;

    /// Housekeeping, called every second: drops what has expired (gives the number of holdings), reconnects.
    async fn tick(&self, terms: &Terms) -> Result<usize, Unavailable>;
}
