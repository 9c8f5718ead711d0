//! Medians over the repetitions, as tables and JSON.

use super::about::About;
use super::case::{cases, Case, Contender, Work};
use super::promise::{self, Outcome};
use super::server::{Kind, Merge};
use super::{chart, Record};
use crate::report::{GroupReport, Report, RunReport};
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The records of one comparison.
#[derive(Debug, Default)]
pub struct Results {
    /// The quietest run of each case, contender and repetition.
    best: BTreeMap<(String, String), BTreeMap<u32, Report>>,
    /// How many repetitions gave nothing.
    failed: BTreeMap<(String, String), Vec<String>>,
}

/// A figure over the repetitions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    pub median: f64,
    pub min: f64,
    pub max: f64,
    pub n: usize,
}

/// Takes a figure out of a report.
pub type Get = fn(&Report) -> Option<f64>;

/// A column of a table.
struct Column {
    name: &'static str,
    decimals: usize,
    /// Told with its range.
    ranged: bool,
    get: Get,
}

#[derive(Debug, Serialize)]
struct Row {
    contender: String,
    repetitions: usize,
    figures: BTreeMap<&'static str, Figure>,
    /// Of CPU cost, repetition by repetition.
    to_floor: Option<f64>,
    to_libnginx_mod_rtmp: Option<f64>,
    failed: Vec<String>,
}

type Ratio = fn(&Row) -> Option<f64>;

#[derive(Debug, Serialize)]
struct Table {
    id: &'static str,
    title: &'static str,
    rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Summary {
    #[serde(flatten)]
    about: About,
    tables: Vec<Table>,
    promises: Vec<Outcome>,
}

impl Results {
    pub fn new(records: &[Record]) -> Self {
        let mut results = Self::default();
        let mut quietest: BTreeMap<(&str, &str, u32), &Record> = BTreeMap::new();
        for record in records {
            let key = (record.case.as_str(), record.contender.as_str(), record.repetition);
            let best = quietest.entry(key).or_insert(record);
            let better = best.report.is_none() || record.foreign_pct() < best.foreign_pct();
            if record.report.is_some() && better {
                *best = record;
            }
        }
        for ((case, contender, repetition), record) in quietest {
            let key = (case.to_string(), contender.to_string());
            match &record.report {
                Some(report) => {
                    results.best.entry(key).or_default().insert(repetition, report.clone());
                }
                None => {
                    let why = record.error.clone().unwrap_or_default();
                    results.failed.entry(key).or_default().push(why);
                }
            }
        }
        results
    }

    /// By repetition.
    fn reports(&self, case: &str, contender: &str) -> impl Iterator<Item = (u32, &Report)> {
        self.best
            .get(&(case.to_string(), contender.to_string()))
            .into_iter()
            .flatten()
            .map(|(repetition, report)| (*repetition, report))
    }

    pub fn figure(&self, case: &str, contender: &str, get: Get) -> Option<Figure> {
        figure(self.reports(case, contender).filter_map(|(_, report)| get(report)).collect())
    }

    /// Median over the repetitions of one contender's figure by another's in the same repetition.
    pub fn ratio(&self, of: (&str, &str), to: (&str, &str), get: Get) -> Option<f64> {
        let base: BTreeMap<u32, f64> =
            self.reports(to.0, to.1).filter_map(|(i, report)| Some((i, get(report)?))).collect();
        let ratios = self.reports(of.0, of.1).filter_map(|(i, report)| {
            let base = *base.get(&i)?;
            (base > 0.0).then_some(get(report)? / base)
        });
        figure(ratios.collect()).map(|figure| figure.median)
    }
}

fn figure(mut values: Vec<f64>) -> Option<Figure> {
    values.sort_by(f64::total_cmp);
    let (min, max) = (*values.first()?, *values.last()?);
    let middle = values.len() / 2;
    let median = if values.len() % 2 == 1 {
        values[middle]
    } else {
        (values[middle - 1] + values[middle]) / 2.0
    };
    Some(Figure { median, min, max, n: values.len() })
}

/// Writes summary.json, summary.md and, where a directory is given, the charts; gives the Markdown.
pub fn summarise(
    results: &Results,
    about: About,
    dir: &Path,
    charts: Option<&Path>,
) -> Result<String> {
    let tables: Vec<Table> = cases().iter().filter_map(|case| table(case, results)).collect();
    let promises = promise::outcomes(results);
    let summary = Summary { about, tables, promises };
    fs::write(dir.join("summary.json"), serde_json::to_string_pretty(&summary)?)?;
    let markdown = summary.markdown();
    fs::write(dir.join("summary.md"), &markdown)?;
    if let Some(charts) = charts {
        fs::create_dir_all(charts)?;
        chart::draw_all(results, charts)?;
    }
    Ok(markdown)
}

fn table(case: &Case, results: &Results) -> Option<Table> {
    let rows: Vec<Row> =
        case.contenders.iter().filter_map(|contender| row(case, contender, results)).collect();
    (!rows.is_empty()).then_some(Table { id: case.id, title: case.title, rows })
}

fn row(case: &Case, contender: &Contender, results: &Results) -> Option<Row> {
    let name = contender.name();
    let key = (case.id.to_string(), name.clone());
    let failed = results.failed.get(&key).cloned().unwrap_or_default();
    let repetitions = results.best.get(&key).map_or(0, BTreeMap::len);
    if repetitions + failed.len() == 0 {
        return None;
    }
    let figures = columns(case)
        .iter()
        .filter_map(|column| Some((column.name, results.figure(case.id, &name, column.get)?)))
        .collect();
    let to = |other: &Contender| results.ratio((case.id, &name), (case.id, &other.name()), cost);
    // where players join or a relay is watched, CPU is not the question
    let by_cost = matches!(case.work, Work::FanOut { .. } | Work::Churn { .. });
    let to = |other| by_cost.then(|| to(other)).flatten();
    let floor = case.contenders.iter().find(|other| {
        let same = other.setup.merge == contender.setup.merge;
        let both_at_once =
            contender.setup.merge == Merge::Auto && other.setup.merge == Merge::Ms(0);
        other.kind == Kind::Floor && (same || both_at_once)
    });
    let arut = case.contenders.iter().find(|other| other.kind == Kind::LibnginxModRtmp);
    Some(Row {
        repetitions,
        figures,
        to_floor: floor.and_then(to),
        to_libnginx_mod_rtmp: arut.and_then(to),
        failed,
        contender: name,
    })
}

/// What a server pays for its work: per byte, or per visit.
pub fn cost(report: &Report) -> Option<f64> {
    match report {
        Report::Run(run) => run.server.as_ref().map(|server| server.cpu_s_per_gb),
        Report::Churn(churn) => Some(churn.cpu_us_per_visit),
        Report::Hold(_) => None,
    }
}

fn of_run(report: &Report) -> Option<&RunReport> {
    match report {
        Report::Run(run) => Some(run),
        _ => None,
    }
}

/// The group that the case is about: of joins and relays, the last.
fn last_group(report: &Report) -> Option<&GroupReport> {
    of_run(report)?.groups.last()
}

pub fn p50(report: &Report) -> Option<f64> {
    Some(last_group(report)?.latency.p50)
}

/// Of the stream that is played where it is published.
fn direct_p50(report: &Report) -> Option<f64> {
    Some(of_run(report)?.groups.first()?.latency.p50)
}

/// What a relay adds.
pub fn hop_p50(report: &Report) -> Option<f64> {
    Some(p50(report)? - direct_p50(report)?)
}

pub fn p99(report: &Report) -> Option<f64> {
    Some(last_group(report)?.latency.p99)
}

pub fn key_p50(report: &Report) -> Option<f64> {
    last_group(report).filter(|group| group.key.count > 0).map(|group| group.key.p50)
}

pub fn key_p99(report: &Report) -> Option<f64> {
    last_group(report).filter(|group| group.key.count > 0).map(|group| group.key.p99)
}

pub fn cpu_pct(report: &Report) -> Option<f64> {
    match report {
        Report::Run(run) => Some(run.server.as_ref()?.cpu_pct),
        Report::Churn(churn) => Some(churn.server.as_ref()?.cpu_pct),
        Report::Hold(_) => None,
    }
}

/// Of fewer than 100 players, what a server takes once for all of them would be told as theirs.
pub fn kib_per_player(report: &Report) -> Option<f64> {
    match report {
        Report::Run(run) if run.players < 100 => None,
        Report::Run(run) => Some(run.memory.as_ref()?.per_player_kib),
        Report::Hold(hold) => Some(hold.per_connection_kib),
        Report::Churn(_) => None,
    }
}

pub fn kib_per_stream(report: &Report) -> Option<f64> {
    Some(of_run(report)?.memory.as_ref()?.per_stream_kib)
}

pub fn visits_per_s(report: &Report) -> Option<f64> {
    match report {
        Report::Churn(churn) => Some(churn.visits_per_s),
        _ => None,
    }
}

pub fn visit_p99(report: &Report) -> Option<f64> {
    match report {
        Report::Churn(churn) => Some(churn.visit.p99),
        _ => None,
    }
}

pub fn callback_connections(report: &Report) -> Option<f64> {
    match report {
        Report::Churn(churn) => churn.callback_connections.map(|count| count as f64),
        _ => None,
    }
}

fn visit_p50(report: &Report) -> Option<f64> {
    match report {
        Report::Churn(churn) => Some(churn.visit.p50),
        _ => None,
    }
}

/// Whatever did not go as it should: messages, connections, players without a picture.
pub fn faults(report: &Report) -> Option<f64> {
    let closed = |reasons: &BTreeMap<String, u64>| reasons.values().sum::<u64>();
    Some(match report {
        Report::Run(run) => {
            let tally = &run.tally;
            let messages = run.late_or_lost + tally.missing + tally.disorder + tally.time_back;
            let ended: u64 = run.groups.iter().map(|group| closed(&group.closed)).sum();
            messages + tally.corrupt + ended + (run.players - run.playing)
        }
        Report::Churn(churn) => closed(&churn.failed),
        Report::Hold(hold) => closed(&hold.closed),
    } as f64)
}

fn foreign_pct(report: &Report) -> Option<f64> {
    match report {
        Report::Run(run) => run.server.as_ref()?.foreign_pct,
        Report::Churn(churn) => churn.server.as_ref()?.foreign_pct,
        Report::Hold(_) => None,
    }
}

fn load_pct(report: &Report) -> Option<f64> {
    match report {
        Report::Run(run) => Some(run.load_cpu_pct),
        Report::Churn(churn) => Some(churn.load_cpu_pct),
        Report::Hold(_) => None,
    }
}

fn columns(case: &Case) -> Vec<Column> {
    let column = |name, decimals, get| Column { name, decimals, ranged: false, get };
    let ranged = |name, decimals, get| Column { name, decimals, ranged: true, get };
    let per_gb = || ranged("CPU s/GB", 2, cost as Get);
    let latencies = || vec![column("p50 ms", 2, p50 as Get), column("p99 ms", 1, p99)];
    let mut columns = match case.work {
        Work::FanOut { streams: 1, .. } => {
            let mut columns = vec![per_gb(), column("CPU %", 1, cpu_pct as Get)];
            columns.extend(latencies());
            columns.push(column("KiB/player", 1, kib_per_player));
            columns
        }
        Work::FanOut { .. } => {
            let mut columns = vec![per_gb(), column("CPU %", 1, cpu_pct as Get)];
            columns.extend(latencies());
            columns.push(ranged("KiB/stream", 0, kib_per_stream));
            columns
        }
        Work::Relay { .. } => {
            vec![
                column("direct p50 ms", 3, direct_p50 as Get),
                column("relayed p50 ms", 3, p50),
                ranged("hop p50 ms", 3, hop_p50),
                column("relayed p99 ms", 1, p99),
                column("CPU %", 2, cpu_pct),
            ]
        }
        Work::PullOnDemand { .. } | Work::Join { .. } => {
            vec![
                ranged("key frame p50 ms", 2, key_p50 as Get),
                ranged("key frame p99 ms", 2, key_p99),
                column("CPU %", 1, cpu_pct),
            ]
        }
        Work::Churn { .. } => vec![
            ranged("CPU µs/visit", 1, cost as Get),
            ranged("visits/s", 0, visits_per_s),
            column("visit p50 ms", 2, visit_p50),
            column("visit p99 ms", 2, visit_p99),
            column("callback connections", 0, callback_connections),
            column("CPU %", 1, cpu_pct),
        ],
        Work::Hold { .. } => vec![ranged("KiB/request", 2, kib_per_player as Get)],
    };
    columns.push(column("faults", 0, faults));
    if !matches!(case.work, Work::Hold { .. }) {
        columns.push(column("load CPU %", 1, load_pct));
        columns.push(column("others %", 1, foreign_pct));
    }
    columns
}

impl Summary {
    fn markdown(&self) -> String {
        let mut text = String::new();
        for line in &self.about.machine {
            text += &format!("- {line}\n");
        }
        for line in &self.about.left_out {
            text += &format!("- left out: {line}\n");
        }
        for table in &self.tables {
            let cases = cases();
            let Some(case) = cases.iter().find(|case| case.id == table.id) else { continue };
            table.write(&columns(case), &mut text);
        }
        let (measured, not): (Vec<_>, Vec<_>) =
            self.promises.iter().partition(|outcome| outcome.holds().is_some());
        if !measured.is_empty() {
            text += "\n### Promises\n\n| promise | measured | limit | holds |\n|---|---|---|---|\n";
        }
        for outcome in &measured {
            text += &outcome.line();
        }
        text += &format!(
            "\n{} of {} promises were measured.\n",
            measured.len(),
            measured.len() + not.len()
        );
        text
    }
}

impl Table {
    fn write(&self, columns: &[Column], text: &mut String) {
        let to_floor: Ratio = |row| row.to_floor;
        let to_arut: Ratio = |row| row.to_libnginx_mod_rtmp;
        let mut ratios = vec![("× floor", to_floor), ("× libnginx-mod-rtmp", to_arut)];
        ratios.retain(|(_, ratio)| self.rows.iter().any(|row| ratio(row).is_some()));
        let shown: Vec<&Column> = columns
            .iter()
            .filter(|column| self.rows.iter().any(|row| row.figures.contains_key(column.name)))
            .collect();
        *text += &format!("\n### {}\n\n`{}`\n\n", self.title, self.id);
        let mut header = vec!["server", "n"];
        header.extend(shown.iter().map(|column| column.name));
        header.extend(ratios.iter().map(|ratio| ratio.0));
        *text += &format!("| {} |\n|{}\n", header.join(" | "), "---|".repeat(header.len()));
        for row in &self.rows {
            let mut cells = vec![row.contender.clone(), row.repetitions.to_string()];
            for column in &shown {
                cells.push(match row.figures.get(column.name) {
                    Some(figure) => column.cell(figure),
                    None => "–".into(),
                });
            }
            for (_, ratio) in &ratios {
                cells.push(ratio(row).map_or("–".into(), |ratio| format!("{ratio:.2}")));
            }
            *text += &format!("| {} |\n", cells.join(" | "));
        }
        for row in self.rows.iter().filter(|row| !row.failed.is_empty()) {
            *text += &format!(
                "\n{}: {} runs failed: {}\n",
                row.contender,
                row.failed.len(),
                row.failed[0]
            );
        }
    }
}

impl Column {
    fn cell(&self, figure: &Figure) -> String {
        let Figure { median, min, max, n } = figure;
        let digits = self.decimals;
        if self.ranged && *n > 1 {
            format!("{median:.digits$} ({min:.digits$}–{max:.digits$})")
        } else {
            format!("{median:.digits$}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{ChurnReport, ServerReport};

    fn record(contender: &str, repetition: u32, attempt: u32, cost: f64, foreign: f64) -> Record {
        let server = ServerReport { foreign_pct: Some(foreign), ..ServerReport::default() };
        let churn =
            ChurnReport { cpu_us_per_visit: cost, server: Some(server), ..ChurnReport::default() };
        Record {
            case: "churn".into(),
            contender: contender.into(),
            repetition,
            attempt,
            report: Some(Report::Churn(churn)),
            error: None,
        }
    }

    #[test]
    fn medians_of_odd_and_even() {
        assert_eq!(figure(vec![3.0, 1.0, 2.0]).unwrap().median, 2.0);
        let even = figure(vec![4.0, 1.0, 2.0, 3.0]).unwrap();
        assert_eq!((even.median, even.min, even.max, even.n), (2.5, 1.0, 4.0, 4));
        assert!(figure(vec![]).is_none());
    }

    #[test]
    fn the_quietest_attempt_counts() {
        let records = [record("ngx-rtmp", 1, 1, 500.0, 60.0), record("ngx-rtmp", 1, 2, 90.0, 1.0)];
        let results = Results::new(&records);
        let figure = results.figure("churn", "ngx-rtmp", cost).unwrap();
        assert_eq!((figure.median, figure.n), (90.0, 1));
    }

    #[test]
    fn ratios_are_of_the_same_repetition() {
        // the machine was twice as slow in the second
        let records = [
            record("ngx-rtmp", 1, 1, 50.0, 0.0),
            record("ngx-rtmp", 2, 1, 100.0, 0.0),
            record("libnginx-mod-rtmp", 1, 1, 100.0, 0.0),
            record("libnginx-mod-rtmp", 2, 1, 200.0, 0.0),
            record("libnginx-mod-rtmp", 3, 1, 7.0, 0.0),
        ];
        let results = Results::new(&records);
        let ratio = results.ratio(("churn", "ngx-rtmp"), ("churn", "libnginx-mod-rtmp"), cost);
        assert_eq!(ratio, Some(0.5));
    }

    #[test]
    fn a_failed_run_is_told() {
        let mut failed = record("ngx-rtmp", 1, 1, 0.0, 0.0);
        (failed.report, failed.error) = (None, Some("it ended".into()));
        let results = Results::new(&[failed, record("ngx-rtmp", 2, 1, 80.0, 0.0)]);
        let cases = cases();
        let case = cases.iter().find(|case| case.id == "churn").unwrap();
        let table = table(case, &results).unwrap();
        let mut text = String::new();
        table.write(&columns(case), &mut text);
        assert!(text.contains("| ngx-rtmp | 1 | 80.0 |"), "{text}");
        assert!(text.contains("1 runs failed: it ended"), "{text}");
    }
}
