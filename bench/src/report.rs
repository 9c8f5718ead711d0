//! What a measurement found, as JSON and as a table.

use crate::latency::Quantiles;
use crate::load::{Reasons, Tally};
use crate::net;
use crate::usage::{self, Core, Usage};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

/// Decimal: what links and bills are counted in.
const GB: f64 = 1e9;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Report {
    Run(RunReport),
    Churn(ChurnReport),
    Hold(HoldReport),
}

/// Streams published and played in real time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RunReport {
    pub label: String,
    pub media: String,
    pub media_mbit_per_s: f64,
    pub streams: u32,
    pub players: u64,
    /// Players that got a key frame.
    pub playing: u64,
    pub window_s: f64,
    /// TCP payload received by all players inside the window, chunk or tag headers included.
    pub delivered_bytes: u64,
    pub delivered_mb_per_s: f64,
    pub messages_per_s: f64,
    pub published_messages_per_s: f64,
    /// Messages stamped in the window times players; those that did not arrive by the end of the run.
    pub expected: u64,
    pub late_or_lost: u64,
    pub tally: Tally,
    /// Nothing late, lost, disordered, corrupt, refused or closed.
    pub clean: bool,
    pub groups: Vec<GroupReport>,
    pub publishers: PublisherReport,
    pub server: Option<ServerReport>,
    pub memory: Option<MemoryReport>,
    /// CPU of this program, in per cent of a core.
    pub load_cpu_pct: f64,
}

/// Players of one URL; all times in ms.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct GroupReport {
    pub url: String,
    pub players: u64,
    pub playing: u64,
    pub closed: Reasons,
    /// Publisher's send to player's receive.
    pub latency: Quantiles,
    /// `play` to first message, to first key frame, and that key frame's age.
    pub join: Quantiles,
    pub key: Quantiles,
    pub key_age: Quantiles,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PublisherReport {
    pub closed: Reasons,
    /// Times that a socket took no more.
    pub blocked: u64,
    /// How late messages were sent, in ms.
    pub late: Quantiles,
}

/// CPU of the watched processes inside the window.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ServerReport {
    /// Time on a CPU, with the softirq threads of the server's cores.
    pub cpu_s: f64,
    /// In per cent of a core.
    pub cpu_pct: f64,
    pub user_pct: f64,
    pub system_pct: f64,
    pub ksoftirqd_pct: f64,
    /// For each 10^9 bytes delivered; 0 if nothing was.
    pub cpu_s_per_gb: f64,
    pub switches_per_s: f64,
    /// What others took of the server's cores, in per cent of a core: a large value spoils the run.
    pub foreign_pct: Option<f64>,
    /// What the hypervisor took of them.
    pub steal_pct: Option<f64>,
}

/// Of the watched processes, in KiB; pages shared between them counted once (PSS).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct MemoryReport {
    pub idle_kib: u64,
    pub publishing_kib: u64,
    pub playing_kib: u64,
    pub playing_rss_kib: u64,
    pub per_stream_kib: f64,
    pub per_player_kib: f64,
    /// Held by the kernel for all TCP sockets of the machine while playing.
    pub tcp_kib: u64,
}

/// Players that come and go.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ChurnReport {
    pub label: String,
    pub slots: u64,
    pub until: String,
    pub window_s: f64,
    pub visits: u64,
    pub visits_per_s: f64,
    /// Connect to goal, in ms.
    pub visit: Quantiles,
    pub join: Quantiles,
    pub key: Quantiles,
    pub failed: Reasons,
    pub cpu_us_per_visit: f64,
    pub server: Option<ServerReport>,
    /// Memory (PSS) at the window's start and end, in KiB.
    pub start_kib: u64,
    pub end_kib: u64,
    /// Most connections that a callback server had open at a time, if there was one.
    #[serde(default)]
    pub callback_connections: Option<u64>,
    pub load_cpu_pct: f64,
}

/// Connections that are only held.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct HoldReport {
    pub label: String,
    pub connections: u64,
    pub closed: Reasons,
    pub idle_kib: u64,
    pub held_kib: u64,
    pub per_connection_kib: f64,
}

/// The processes and cores under test.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    pub pids: Vec<u32>,
    pub cores: Vec<usize>,
    /// This program runs on one of them.
    pub shared: bool,
}

/// A moment of a watch.
#[derive(Clone, Debug)]
pub struct Moment {
    pub time: u64,
    pub usage: Usage,
    cores: Vec<Core>,
    own_run_s: f64,
}

impl Watch {
    pub fn look(&self) -> Moment {
        Moment {
            usage: usage::usage(&self.pids),
            cores: self.cores.iter().map(|core| usage::core(*core)).collect(),
            own_run_s: usage::own_run_s(),
            time: net::now(),
        }
    }

    /// What the server used from `from` to `to`, in which `bytes` were delivered.
    pub fn server(&self, from: &Moment, to: &Moment, bytes: u64) -> Option<ServerReport> {
        if self.pids.is_empty() {
            return None;
        }
        let seconds = to.seconds_since(from);
        let per_s = |value: f64| value / seconds;
        let sum = |of: fn(&Core) -> f64| {
            to.cores.iter().map(of).sum::<f64>() - from.cores.iter().map(of).sum::<f64>()
        };
        let ksoftirqd_s = sum(|core| core.ksoftirqd_s);
        let run_s = to.usage.run_s - from.usage.run_s;
        let cpu_s = run_s + ksoftirqd_s;
        let known = !self.cores.is_empty();
        let busy_s = seconds * self.cores.len() as f64 - sum(|core| core.idle_s);
        let steal_s = sum(|core| core.steal_s);
        let own_s = if self.shared { to.own_run_s - from.own_run_s } else { 0.0 };
        Some(ServerReport {
            cpu_s,
            cpu_pct: per_s(cpu_s) * 100.0,
            user_pct: per_s(to.usage.user_s - from.usage.user_s) * 100.0,
            system_pct: per_s(to.usage.system_s - from.usage.system_s) * 100.0,
            ksoftirqd_pct: per_s(ksoftirqd_s) * 100.0,
            cpu_s_per_gb: if bytes == 0 { 0.0 } else { cpu_s / (bytes as f64 / GB) },
            switches_per_s: per_s(to.usage.switches.saturating_sub(from.usage.switches) as f64),
            foreign_pct: known.then(|| per_s(busy_s - cpu_s - steal_s - own_s) * 100.0),
            steal_pct: known.then(|| per_s(steal_s) * 100.0),
        })
    }
}

impl Moment {
    pub fn seconds_since(&self, earlier: &Self) -> f64 {
        (self.time - earlier.time) as f64 / net::SECOND as f64
    }

    /// CPU of this program, in per cent of a core.
    pub fn load_cpu_pct(&self, earlier: &Self) -> f64 {
        (self.own_run_s - earlier.own_run_s) / self.seconds_since(earlier) * 100.0
    }
}

/// Appends a report to a file as one line, or writes it to stdout if that is `-`.
pub fn write_json(report: &Report, path: &Path) -> Result<()> {
    let mut line = serde_json::to_string(report)?;
    line.push('\n');
    if path.as_os_str() == "-" {
        std::io::stdout().write_all(line.as_bytes())?;
        return Ok(());
    }
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("{}", path.display()))?;
    Ok(file.write_all(line.as_bytes())?)
}

/// Rows of a name and a value.
#[derive(Debug, Default)]
struct Table(String);

impl Table {
    fn row(&mut self, name: &str, value: impl std::fmt::Display) {
        // writing to a String does not fail
        let _ = writeln!(self.0, "{name:<22} {value}");
    }

    fn times(&mut self, name: &str, times: &Quantiles) {
        if times.count > 0 {
            let Quantiles { p50, p90, p99, p999, max, .. } = times;
            self.row(
                name,
                format!(
                    "p50 {p50:.2}  p90 {p90:.2}  p99 {p99:.2}  p99.9 {p999:.2}  max {max:.2} ms"
                ),
            );
        }
    }

    fn reasons(&mut self, name: &str, reasons: &Reasons) {
        for (reason, count) in reasons {
            self.row(name, format!("{count} × {reason}"));
        }
    }

    fn server(&mut self, server: &Option<ServerReport>) {
        let Some(server) = server else { return };
        self.row(
            "server CPU",
            format!(
                "{:.2} % of a core (user {:.1}, system {:.1}, ksoftirqd {:.1}), {:.0} switches/s",
                server.cpu_pct,
                server.user_pct,
                server.system_pct,
                server.ksoftirqd_pct,
                server.switches_per_s
            ),
        );
        if let (Some(foreign), Some(steal)) = (server.foreign_pct, server.steal_pct) {
            self.row("taken by others", format!("{foreign:.1} % (hypervisor {steal:.1} %)"));
        }
    }
}

impl Report {
    pub fn table(&self) -> String {
        let mut table = Table::default();
        match self {
            Report::Run(run) => run.table(&mut table),
            Report::Churn(churn) => churn.table(&mut table),
            Report::Hold(hold) => hold.table(&mut table),
        }
        table.0
    }
}

impl RunReport {
    fn table(&self, table: &mut Table) {
        table.row("media", format!("{}, {:.2} Mbit/s", self.media, self.media_mbit_per_s));
        table.row(
            "streams × players",
            format!("{} × {} playing of {}", self.streams, self.playing, self.players),
        );
        table.row(
            "delivered",
            format!(
                "{:.3} GB in {:.1} s, {:.1} MB/s, {:.0} messages/s ({:.0}/s published)",
                self.delivered_bytes as f64 / GB,
                self.window_s,
                self.delivered_mb_per_s,
                self.messages_per_s,
                self.published_messages_per_s
            ),
        );
        let Tally { missing, disorder, time_back, corrupt, crc_checked, .. } = self.tally;
        table.row(
            "checks",
            format!(
                "{} of {} late or lost, {missing} missing, {disorder} out of order, {time_back} back in time, \
                 {corrupt} corrupt ({crc_checked} checked in full): {}",
                self.late_or_lost,
                self.expected,
                if self.clean { "clean" } else { "NOT CLEAN" }
            ),
        );
        for group in &self.groups {
            table.row(
                "players at",
                format!("{} ({} of {})", group.url, group.playing, group.players),
            );
            table.times("  latency", &group.latency);
            table.times("  play to media", &group.join);
            table.times("  play to key frame", &group.key);
            table.times("  age of that", &group.key_age);
            table.reasons("  closed", &group.closed);
        }
        table.reasons("publishers closed", &self.publishers.closed);
        table.times("sent late by", &self.publishers.late);
        if let Some(server) = &self.server {
            table.row("CPU per GB", format!("{:.3} s", server.cpu_s_per_gb));
        }
        table.server(&self.server);
        if let Some(memory) = &self.memory {
            table.row(
                "server memory",
                format!(
                    "{} KiB idle, {} publishing, {} playing: {:.1} KiB a stream, {:.1} KiB a player",
                    memory.idle_kib,
                    memory.publishing_kib,
                    memory.playing_kib,
                    memory.per_stream_kib,
                    memory.per_player_kib
                ),
            );
            table.row("TCP memory", format!("{} KiB (whole machine)", memory.tcp_kib));
        }
        table.row("load generator CPU", format!("{:.2} % of a core", self.load_cpu_pct));
    }
}

impl ChurnReport {
    fn table(&self, table: &mut Table) {
        table.row(
            "visits",
            format!(
                "{} in {:.1} s, {:.0}/s ({} slots, until {})",
                self.visits, self.window_s, self.visits_per_s, self.slots, self.until
            ),
        );
        table.times("connect to goal", &self.visit);
        table.times("play to media", &self.join);
        table.times("play to key frame", &self.key);
        table.reasons("failed", &self.failed);
        if self.server.is_some() {
            table.row("CPU per visit", format!("{:.1} µs", self.cpu_us_per_visit));
            table
                .row("server memory", format!("{} KiB, then {} KiB", self.start_kib, self.end_kib));
        }
        table.server(&self.server);
        table.row("load generator CPU", format!("{:.2} % of a core", self.load_cpu_pct));
    }
}

impl HoldReport {
    fn table(&self, table: &mut Table) {
        table.row("connections", self.connections);
        table.reasons("closed", &self.closed);
        table.row(
            "server memory",
            format!(
                "{} KiB idle, {} KiB held: {:.2} KiB a connection",
                self.idle_kib, self.held_kib, self.per_connection_kib
            ),
        );
    }
}
