//! Counters for `/metrics`. No label takes its value from the network.

use std::sync::atomic::AtomicI64;
use std::time::Duration;

use prometheus_client::encoding::{text::encode, EncodeLabelSet};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::event::{Act, Call};
use crate::store::Census;

/// Seconds; nodes give up after 3.
const BUCKETS: [f64; 11] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 3.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    call: &'static str,
    act: &'static str,
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabel {
    call: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

/// All metrics of one scheduler.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<CallLabel, Histogram>,
    streams: Gauge,
    nodes: Gauge,
    learning: Gauge,
    store_up: Gauge,
    expired: Counter,
    relearned: Counter,
    store_errors: Counter,
    reloads: Family<ResultLabel, Counter>,
    connections: Gauge<i64, AtomicI64>,
}

impl Metrics {
    /// `store` names the kind of store.
    pub fn new(store: &'static str) -> Self {
        let mut registry = Registry::with_prefix("oclp_scheduler");
        let metrics = Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            streams: Gauge::default(),
            nodes: Gauge::default(),
            learning: Gauge::default(),
            store_up: Gauge::default(),
            expired: Counter::default(),
            relearned: Counter::default(),
            store_errors: Counter::default(),
            reloads: Family::default(),
            connections: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register(
            "build",
            "Version and kind of store",
            Info::new(vec![("version", env!("CARGO_PKG_VERSION")), ("store", store)]),
        );
        registry.register(
            "requests",
            "Requests of nodes by answer; code is none where no answer was given",
            metrics.requests.clone(),
        );
        registry.register_with_unit(
            "request_duration",
            "Time from a request to its answer, held pulls included",
            Unit::Seconds,
            metrics.durations.clone(),
        );
        registry.register("streams", "Streams recorded", metrics.streams.clone());
        registry.register("nodes", "Nodes known", metrics.nodes.clone());
        registry.register(
            "learning",
            "1 while unknown streams get no answer, as something may have been forgotten",
            metrics.learning.clone(),
        );
        registry.register("store_up", "1 if the store can be reached", metrics.store_up.clone());
        registry.register(
            "leases_expired",
            "Holdings that ended without done",
            metrics.expired.clone(),
        );
        registry.register(
            "streams_relearned",
            "Streams first heard of by an update",
            metrics.relearned.clone(),
        );
        registry.register(
            "store_errors",
            "Operations that the store failed",
            metrics.store_errors.clone(),
        );
        registry.register("policy_reloads", "Reloads of the policy file", metrics.reloads.clone());
        registry.register("connections", "Open connections", metrics.connections.clone());
        Self { registry, ..metrics }
    }

    /// Counts an answered event; `None` is one that could not be read.
    pub fn answered(&self, event: Option<(Call, Act)>, code: &'static str, took: Duration) {
        let (call, act) = match event {
            Some((call, act)) => (call.as_str(), act.as_str()),
            None => ("bad", "bad"),
        };
        self.requests.get_or_create(&RequestLabels { call, act, code }).inc();
        self.durations.get_or_create(&CallLabel { call }).observe(took.as_secs_f64());
    }

    pub fn expired(&self, holdings: usize) {
        self.expired.inc_by(holdings as u64);
    }

    pub fn relearned(&self) {
        self.relearned.inc();
    }

    pub fn store_failed(&self) {
        self.store_errors.inc();
    }

    pub fn reloaded(&self, ok: bool) {
        let result = if ok { "ok" } else { "refused" };
        self.reloads.get_or_create(&ResultLabel { result }).inc();
    }

    /// One more open connection, for as long as the guard lives.
    pub fn connection(&self) -> ConnectionGuard {
        self.connections.inc();
        ConnectionGuard(self.connections.clone())
    }

    /// The exposition in OpenMetrics text; `None` if the store cannot be reached now.
    pub fn encode(&self, census: Option<Census>) -> String {
        self.store_up.set(census.is_some().into());
        if let Some(census) = census {
            self.streams.set(i64::try_from(census.streams).unwrap_or(i64::MAX));
            self.nodes.set(i64::try_from(census.nodes).unwrap_or(i64::MAX));
            self.learning.set(census.learning.into());
        }
        let mut text = String::new();
        // writing to a String does not fail
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// See [`Metrics::connection`].
#[derive(Debug)]
pub struct ConnectionGuard(Gauge<i64, AtomicI64>);

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}
