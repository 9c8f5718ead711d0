//! Medians over the repetitions, as tables and JSON.

use super::about::About;
use super::case::{cases, Case, Contender, Work};
use super::chart;
use super::promise::{self, Outcome};
use super::results::*;
use super::server::{Kind, Merge};
use anyhow::Result;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

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
    use super::super::results::tests::record;
    use super::*;

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
