//! What this module promises, held against what was measured.

use super::case::WINDOWS;
use super::results::{self, Get, Results};
use serde::Serialize;

const OURS: &str = "ngx-rtmp";
const ARUT: &str = "libnginx-mod-rtmp";

/// A promise, and what became of it.
#[derive(Debug, Serialize)]
pub struct Outcome {
    text: String,
    limit: f64,
    at_least: bool,
    /// Not there if the comparison did not include it.
    measured: Option<f64>,
}

impl Outcome {
    pub fn holds(&self) -> Option<bool> {
        self.measured
            .map(|value| if self.at_least { value >= self.limit } else { value <= self.limit })
    }

    pub fn line(&self) -> String {
        let Self { text, limit, .. } = self;
        let sign = if self.at_least { "≥" } else { "≤" };
        let measured = self.measured.map_or("–".into(), |value| format!("{value:.2}"));
        let holds = match self.holds() {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "–",
        };
        format!("| {text} | {measured} | {sign} {limit} | {holds} |\n")
    }
}

pub fn outcomes(results: &Results) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    let mut at_most = |text: &str, limit: f64, measured: Option<f64>| {
        outcomes.push(Outcome { text: text.into(), limit, at_least: false, measured });
    };
    let ratio = |of: (&str, &str), to: (&str, &str)| results.ratio(of, to, results::cost);
    let value =
        |case: &str, contender: &str, get: Get| Some(results.figure(case, contender, get)?.median);

    for case in ["fanout-1000", "fanout-2000", "fanout-250-4m"] {
        for (_, window) in WINDOWS {
            let ours = format!("{OURS}, {window}");
            let floor = format!("floor, {window}");
            let text = format!("{case}, {window}: CPU/GB by the floor's");
            at_most(&text, 1.10, ratio((case, &ours), (case, &floor)));
        }
        let text = format!("{case}, defaults: CPU/GB by libnginx-mod-rtmp's");
        at_most(&text, 0.5, ratio((case, OURS), (case, ARUT)));
        let text = format!("{case}, defaults: p99 latency in ms");
        at_most(&text, 60.0, value(case, OURS, results::p99));
    }
    at_most(
        "fanout-100, defaults: p50 latency by libnginx-mod-rtmp's",
        1.0,
        results.ratio(("fanout-100", OURS), ("fanout-100", ARUT), results::p50),
    );
    at_most(
        "streams-500: CPU/GB by libnginx-mod-rtmp's",
        0.8,
        ratio(("streams-500", "ngx-rtmp, cache off"), ("streams-500", ARUT)),
    );
    let per_stream = |contender| value("streams-500", contender, results::kib_per_stream);
    at_most("streams-500, cache off: KiB per stream", 100.0, per_stream("ngx-rtmp, cache off"));
    at_most("streams-500, cache 3 s: KiB per stream", 350.0, per_stream("ngx-rtmp, cache 3 s"));
    for case in ["relay-push", "relay-pull"] {
        let hop = |contender| value(case, contender, results::hop_p50);
        let by_its = hop(OURS).zip(hop(ARUT)).map(|(ours, its)| ours / its);
        let text = format!("{case}: p50 that a hop adds by libnginx-mod-rtmp's");
        at_most(&text, 1.0, by_its);
    }
    at_most(
        "pull-on-demand: first key frame, p99 in ms",
        20.0,
        value("pull-on-demand", OURS, results::key_p99),
    );
    at_most(
        "churn: CPU per visit by libnginx-mod-rtmp's",
        0.9,
        ratio(("churn", OURS), ("churn", ARUT)),
    );
    at_most(
        "join-idle: first key frame, p50 in ms",
        0.5,
        value("join-idle", OURS, results::key_p50),
    );
    at_most(
        "join-1000: first key frame, p99 in ms",
        2.0,
        value("join-1000", OURS, results::key_p99),
    );
    let per_player = |case, contender| value(case, contender, results::kib_per_player);
    at_most("fanout-1000: KiB per RTMP player", 4.0, per_player("fanout-1000", OURS));
    let over_nginx = per_player("flv-1000", "ngx-rtmp, HTTP-FLV")
        .zip(per_player("held-1000", OURS))
        .map(|(player, request)| player - request);
    at_most("flv-1000: KiB per HTTP-FLV player over nginx's own request", 8.0, over_nginx);
    for (flv, rtmp, window) in [
        ("ngx-rtmp, HTTP-FLV", "ngx-rtmp, RTMP", "defaults"),
        ("ngx-rtmp, HTTP-FLV, 50 ms", "ngx-rtmp, RTMP, 50 ms", "50 ms"),
    ] {
        let text = format!("flv-1000, {window}: CPU/GB by that of RTMP");
        at_most(&text, 1.15, ratio(("flv-1000", flv), ("flv-1000", rtmp)));
    }
    for window in ["0 ms", "50 ms"] {
        let ours = format!("{OURS}, {window}");
        let text = format!("{window}: CPU/GB at 2000 players by that at 500");
        at_most(&text, 1.10, ratio(("fanout-2000", &ours), ("fanout-500", &ours)));
    }
    at_most(
        "workers-2: CPU/GB by that of one worker",
        1.10,
        ratio(
            ("workers-2", "ngx-rtmp, 50 ms, 2 workers"),
            ("workers-2", "ngx-rtmp, 50 ms, 1 worker"),
        ),
    );
    let asked = "ngx-rtmp, oclp_play";
    let plays = |contender| value("plays-oclp", contender, results::visit_p99);
    let added = plays(asked).zip(plays(OURS)).map(|(asked, plain)| asked - plain);
    at_most("plays-oclp: p99 that callbacks add to a join, in ms", 10.0, added);
    let most = |get| Some(results.figure("plays-oclp", asked, get)?.max);
    at_most("plays-oclp: failed plays in any run", 0.0, most(results::faults));
    at_most(
        "plays-oclp: connections to the callback server at a time",
        64.0,
        most(results::callback_connections),
    );
    for (case, contender, limit) in [("churn", OURS, 9000.0), ("plays-oclp", asked, 1990.0)] {
        outcomes.push(Outcome {
            text: format!("{case}: visits per second"),
            limit,
            at_least: true,
            measured: value(case, contender, results::visits_per_s),
        });
    }
    outcomes
}

#[cfg(test)]
mod tests {
    use super::super::case::cases;
    use super::*;

    #[test]
    fn nothing_measured_is_neither_held_nor_broken() {
        let outcomes = outcomes(&Results::default());
        assert!(outcomes.len() > 30);
        assert!(outcomes.iter().all(|outcome| outcome.holds().is_none()));
    }

    #[test]
    fn limits_work_both_ways() {
        let outcome = |limit, at_least, measured| Outcome {
            text: String::new(),
            limit,
            at_least,
            measured: Some(measured),
        };
        assert_eq!(outcome(1.1, false, 1.1).holds(), Some(true));
        assert_eq!(outcome(1.1, false, 1.2).holds(), Some(false));
        assert_eq!(outcome(9000.0, true, 8999.0).holds(), Some(false));
        assert!(outcome(9000.0, true, 9001.0).line().contains("| ≥ 9000 | yes |"));
    }

    /// A promise about a row that no case has would never be measured.
    #[test]
    fn every_promise_names_rows_that_exist() {
        let cases = cases();
        let has = |case: &str, name: &str| {
            let case = cases.iter().find(|known| known.id == case).unwrap();
            assert!(case.contenders.iter().any(|contender| contender.name() == name), "{name}");
        };
        for case in ["fanout-1000", "fanout-2000", "fanout-250-4m"] {
            for (_, window) in WINDOWS {
                has(case, &format!("ngx-rtmp, {window}"));
                has(case, &format!("floor, {window}"));
            }
            has(case, OURS);
            has(case, ARUT);
        }
        for (case, name) in [
            ("fanout-100", OURS),
            ("fanout-500", "ngx-rtmp, 0 ms"),
            ("fanout-500", "ngx-rtmp, 50 ms"),
            ("streams-500", "ngx-rtmp, cache off"),
            ("streams-500", "ngx-rtmp, cache 3 s"),
            ("streams-500", ARUT),
            ("relay-push", OURS),
            ("relay-push", ARUT),
            ("relay-pull", OURS),
            ("relay-pull", ARUT),
            ("pull-on-demand", OURS),
            ("churn", OURS),
            ("churn", ARUT),
            ("plays-oclp", OURS),
            ("plays-oclp", "ngx-rtmp, oclp_play"),
            ("join-idle", OURS),
            ("join-1000", OURS),
            ("held-1000", OURS),
            ("flv-1000", "ngx-rtmp, HTTP-FLV"),
            ("flv-1000", "ngx-rtmp, RTMP"),
            ("flv-1000", "ngx-rtmp, HTTP-FLV, 50 ms"),
            ("flv-1000", "ngx-rtmp, RTMP, 50 ms"),
            ("workers-2", "ngx-rtmp, 50 ms, 1 worker"),
            ("workers-2", "ngx-rtmp, 50 ms, 2 workers"),
        ] {
            has(case, name);
        }
    }
}
