//! The measurements made with a `Load`: `run`, `churn` and `hold`.

use crate::load::{Load, Tally, Until};
use crate::net::{self, seconds};
use crate::report::{
    ChurnReport, GroupReport, HoldReport, MemoryReport, PublisherReport, RunReport, Watch,
};
use crate::usage;
use anyhow::{ensure, Result};
use clap::ValueEnum;

/// Times of a run, in s.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Publishers open within this time.
    pub publish: f64,
    /// Publishing alone, before memory is read and players join.
    pub settle: f64,
    /// How long publishers and players may take to be on air.
    pub timeout: f64,
    /// From the last player's first key frame to the window.
    pub warm_up: f64,
    pub window: f64,
    /// What was stamped in the window may arrive so long after it.
    pub drain: f64,
}

pub fn run(load: &mut Load, watch: &Watch, times: Times) -> Result<RunReport> {
    let timeout = seconds(times.timeout);
    let idle = watch.look();
    load.start_publishers(seconds(times.publish), timeout)?;
    load.progress.stage("publishing");
    load.run_for(seconds(times.settle));
    let publishing = watch.look();
    for group in 0..load.groups.len() {
        load.join(group, timeout);
    }
    load.progress.stage("warming up");
    load.run_for(seconds(times.warm_up));

    load.progress.stage("measuring");
    let (from, idle_s) = (watch.look(), load.idle_s());
    load.window = (net::now(), u64::MAX);
    load.run_for(seconds(times.window));
    load.window.1 = net::now();
    let (to, idle_s) = (watch.look(), load.idle_s() - idle_s);
    let tcp_kib = usage::tcp_memory_kib();
    load.progress.stage("draining");
    load.run_for(seconds(times.drain));

    let window_s = (load.window.1 - load.window.0) as f64 / net::SECOND as f64;
    let delivered_bytes: u64 = load.groups.iter().map(|group| group.window_bytes).sum();
    let published: u64 = load.streams.iter().map(|stream| stream.sent_in_window).sum();
    let expected = load.expected();
    let tally = load.groups.iter().fold(Tally::default(), |sum, group| sum.plus(&group.tally));
    let players = load.opened();
    let playing = load.groups.iter().map(|group| group.playing).sum();
    let late_or_lost = expected.saturating_sub(tally.received);
    let clean = late_or_lost == 0
        && tally.is_clean()
        && playing == players
        && load.publisher_closed.is_empty()
        && load.groups.iter().all(|group| group.closed.is_empty());
    let streams = load.streams.len() as u32;
    let memory = (!watch.pids.is_empty()).then(|| {
        let grown = |to: u64, from: u64, by: u64| {
            if by == 0 {
                0.0
            } else {
                (to as f64 - from as f64) / by as f64
            }
        };
        MemoryReport {
            idle_kib: idle.usage.pss_kib,
            publishing_kib: publishing.usage.pss_kib,
            playing_kib: to.usage.pss_kib,
            playing_rss_kib: to.usage.rss_kib,
            per_stream_kib: grown(publishing.usage.pss_kib, idle.usage.pss_kib, streams.into()),
            per_player_kib: grown(to.usage.pss_kib, publishing.usage.pss_kib, players),
            tcp_kib,
        }
    });
    Ok(RunReport {
        label: String::new(),
        media: load.media().name.clone(),
        media_mbit_per_s: load.media().mbit_per_s(),
        streams,
        players,
        playing,
        window_s,
        delivered_bytes,
        delivered_mb_per_s: delivered_bytes as f64 / 1e6 / window_s,
        messages_per_s: tally.received as f64 / window_s,
        published_messages_per_s: published as f64 / window_s,
        expected,
        late_or_lost,
        tally,
        clean,
        groups: load
            .groups
            .iter()
            .map(|group| GroupReport {
                url: group.play.target.to_string(),
                players: group.opened,
                playing: group.playing,
                closed: group.closed.clone(),
                latency: group.latency.quantiles(),
                join: group.join.quantiles(),
                key: group.key.quantiles(),
                key_age: group.key_age.quantiles(),
            })
            .collect(),
        publishers: PublisherReport {
            closed: load.publisher_closed.clone(),
            blocked: load.publisher_blocked,
            late: load.publisher_late.quantiles(),
        },
        server: watch.server(&from, &to, delivered_bytes),
        memory,
        load_cpu_pct: to.load_cpu_pct(&from) - 100.0 * idle_s / to.seconds_since(&from),
    })
}

/// `rate`: visits a second in all, instead of as many as the server answers.
pub fn churn(
    load: &mut Load,
    watch: &Watch,
    times: Times,
    until: Until,
    rate: Option<f64>,
) -> Result<ChurnReport> {
    let timeout = seconds(times.timeout);
    load.start_publishers(seconds(times.publish), timeout)?;
    load.run_for(seconds(times.settle));
    load.churn(until, rate);
    for group in 0..load.groups.len() {
        load.open_all(group);
    }
    load.progress.stage("warming up");
    load.run_for(seconds(times.warm_up));
    for group in &mut load.groups {
        group.forget();
    }
    load.progress.stage("measuring");
    let from = watch.look();
    load.run_for(seconds(times.window));
    let to = watch.look();

    ensure!(load.publisher_closed.is_empty(), "publishers closed: {:?}", load.publisher_closed);
    let Some(group) = load.groups.first() else { return Ok(ChurnReport::default()) };
    let window_s = to.seconds_since(&from);
    let server = watch.server(&from, &to, group.bytes);
    let cpu_us = server.as_ref().map_or(0.0, |server| server.cpu_s * 1e6);
    Ok(ChurnReport {
        label: String::new(),
        slots: u64::from(group.play.per_stream) * load.streams.len() as u64,
        until: until.to_possible_value().map_or(String::new(), |value| value.get_name().into()),
        window_s,
        visits: group.visits,
        visits_per_s: group.visits as f64 / window_s,
        visit: group.visit.quantiles(),
        join: group.join.quantiles(),
        key: group.key.quantiles(),
        failed: group.closed.clone(),
        cpu_us_per_visit: if group.visits == 0 { 0.0 } else { cpu_us / group.visits as f64 },
        server,
        start_kib: from.usage.pss_kib,
        end_kib: to.usage.pss_kib,
        callback_connections: None,
        load_cpu_pct: to.load_cpu_pct(&from),
    })
}

/// Opens requests and keeps them, whatever they are answered.
pub fn hold(load: &mut Load, watch: &Watch, window: f64) -> HoldReport {
    let idle = watch.look();
    load.hold();
    for group in 0..load.groups.len() {
        load.open_all(group);
    }
    load.progress.stage("holding");
    load.run_for(seconds(window));
    let held = watch.look();
    let connections = load.opened();
    let grown = held.usage.pss_kib as f64 - idle.usage.pss_kib as f64;
    let mut closed = crate::load::Reasons::new();
    for group in &load.groups {
        closed.extend(group.closed.clone());
    }
    HoldReport {
        label: String::new(),
        connections,
        closed,
        idle_kib: idle.usage.pss_kib,
        held_kib: held.usage.pss_kib,
        per_connection_kib: grown / connections.max(1) as f64,
    }
}
