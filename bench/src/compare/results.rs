//! What the runs gave: the quietest of each repetition, and figures over the repetitions.

use crate::report::{GroupReport, Report, RunReport};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One run, as a line of runs.jsonl.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    pub case: String,
    pub contender: String,
    pub repetition: u32,
    pub attempt: u32,
    pub report: Option<Report>,
    /// Why there is no report.
    pub error: Option<String>,
}

impl Record {
    /// What others took of the server's core, in per cent.
    pub fn foreign_pct(&self) -> f64 {
        let server = match &self.report {
            Some(Report::Run(run)) => run.server.as_ref(),
            Some(Report::Churn(churn)) => churn.server.as_ref(),
            Some(Report::Hold(_)) | None => None,
        };
        server.and_then(|server| server.foreign_pct).unwrap_or(0.0)
    }
}

/// The records of one comparison.
#[derive(Debug, Default)]
pub struct Results {
    /// The quietest run of each case, contender and repetition.
    pub best: BTreeMap<(String, String), BTreeMap<u32, Report>>,
    /// How many repetitions gave nothing.
    pub failed: BTreeMap<(String, String), Vec<String>>,
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
    pub fn reports(&self, case: &str, contender: &str) -> impl Iterator<Item = (u32, &Report)> {
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
pub fn direct_p50(report: &Report) -> Option<f64> {
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

pub fn visit_p50(report: &Report) -> Option<f64> {
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

pub fn foreign_pct(report: &Report) -> Option<f64> {
    match report {
        Report::Run(run) => run.server.as_ref()?.foreign_pct,
        Report::Churn(churn) => churn.server.as_ref()?.foreign_pct,
        Report::Hold(_) => None,
    }
}

pub fn load_pct(report: &Report) -> Option<f64> {
    match report {
        Report::Run(run) => Some(run.load_cpu_pct),
        Report::Churn(churn) => Some(churn.load_cpu_pct),
        Report::Hold(_) => None,
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::report::{ChurnReport, ServerReport};

    pub fn record(
        contender: &str,
        repetition: u32,
        attempt: u32,
        cost: f64,
        foreign: f64,
    ) -> Record {
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
}
