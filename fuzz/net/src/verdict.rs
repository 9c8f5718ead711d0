//! What is left when the attacks are over.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use crate::inner;
use crate::node::Node;
use crate::witness::Witness;

/// Memory that workers may grow by in a run, in KiB: allocators keep what was used once, in pieces.
const MEMORY: u64 = 64 << 10;
/// Descriptors that two workers and the watched stream need.
const FILES: u64 = 120;
/// All timeouts of the configuration have passed then, several times.
const QUIET: Duration = Duration::from_secs(60);

/// See the module.
pub struct Verdict {
    findings: Vec<String>,
    figures: Vec<String>,
}

impl Verdict {
    pub fn of(nodes: &mut [Node], witness: &Witness, max_gap: Option<u64>) -> Self {
        let mut verdict = Self { findings: Vec::new(), figures: Vec::new() };
        for node in nodes.iter_mut() {
            if !node.is_alive() {
                verdict.find("the master has ended".to_owned());
            }
            verdict.connections(node);
            verdict.log(node);
            verdict.memory(node);
        }
        let (fed, fooled) = inner::fed();
        verdict.figure(format!("{fed} pulls over workers' sockets were answered"));
        if fooled > 0 {
            verdict.find(format!("{fooled} of them without a right proof"));
        }
        let gap = witness.gap().as_millis();
        verdict
            .figure(format!("watched stream: {} frames, longest gap {gap} ms", witness.frames()));
        if max_gap.is_some_and(|max| gap > u128::from(max)) {
            verdict.find(format!("a gap of {gap} ms"));
        }
        if witness.lost() > 0 {
            verdict.find(format!("its clients were lost {} times", witness.lost()));
        }
        for node in nodes.iter() {
            let reports = node.reports();
            if !reports.is_empty() {
                verdict.find(reports);
            }
        }
        if !verdict.is_clean() {
            for node in nodes.iter_mut() {
                node.keep();
                let directory = node.directory().display();
                verdict.figure(format!("configuration and logs are in {directory}"));
            }
        }
        verdict
    }

    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    fn find(&mut self, what: String) {
        self.findings.push(what);
    }

    fn figure(&mut self, what: String) {
        self.figures.push(what);
    }

    /// Whether all that was opened is closed again.
    fn connections(&mut self, node: &Node) {
        let began = Instant::now();
        while node.open_files() > FILES && began.elapsed() < QUIET {
            thread::sleep(Duration::from_millis(200));
        }
        let open = node.open_files();
        self.figure(format!(
            "{open} descriptors when all is quiet, after {} s",
            began.elapsed().as_secs()
        ));
        if open > FILES {
            self.find(format!("{open} descriptors stay open"));
        }
    }

    /// Alerts, panics, and workers that died of something else than us.
    fn log(&mut self, node: &Node) {
        let log = node.log();
        let killed = log.lines().filter(|line| line.contains("exited on signal 9")).count();
        if killed > node.killed {
            self.find(format!("{killed} workers were killed, {} of them by us", node.killed));
        }
        let ours = ["exited on signal 9", "unlink() ", "*0 open socket"];
        for line in log.lines() {
            let bad =
                line.contains("[alert]") || line.contains("[emerg]") || line.contains("panicked");
            if bad && !ours.iter().any(|part| line.contains(part)) && self.findings.len() < 20 {
                self.find(line.to_owned());
            }
        }
        self.figure(format!(
            "{} lines logged, {} workers killed",
            log.lines().count(),
            node.killed
        ));
    }

    fn memory(&mut self, node: &Node) {
        let (Some(first), Some(last)) = (node.memory.first(), node.memory.last()) else {
            return;
        };
        let least = |part: &[u64]| part.iter().copied().min().unwrap_or(0);
        let half = node.memory.len() / 2;
        let (before, after) = (least(&node.memory[..half]), least(&node.memory[half..]));
        self.figure(format!(
            "memory of the workers: {} to {} MiB, least of the first half {}, of the second {}; descriptors {:?} to {:?}",
            first >> 10,
            last >> 10,
            before >> 10,
            after >> 10,
            node.files.first(),
            node.files.last()
        ));
        if half > 4 && after > before + MEMORY {
            self.find(format!("memory grows from {} to {} MiB", before >> 10, after >> 10));
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for figure in &self.figures {
            writeln!(f, "{figure}")?;
        }
        for finding in &self.findings {
            writeln!(f, "FINDING: {finding}")?;
        }
        writeln!(f, "{}", if self.is_clean() { "nothing found" } else { "findings: see above" })
    }
}
