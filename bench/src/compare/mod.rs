//! Compares servers side by side: every repetition goes through all of them, so that what disturbs the machine
//! disturbs all alike.

mod about;
mod case;
mod chart;
mod plan;
mod promise;
mod results;
mod server;
mod summary;

pub use case::{cases, Case, Pace};
pub use plan::Plan;
pub use server::Programs;

use crate::cores;
use crate::net;
use crate::report::Report;
use about::About;
use anyhow::{ensure, Context, Result};
use case::Contender;
use results::{Record, Results};
use server::{CallbackServer, Ports, Relay, Server, Setup, Start};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Longer than any run takes: joining may take 15 s a group.
const RUN_TIMEOUT: Duration = Duration::from_secs(120);
/// A run that others disturbed is made again so many times.
const MAX_ATTEMPTS: u32 = 3;

const RUNS: &str = "runs.jsonl";
const ABOUT: &str = "about.json";

/// Runs everything; each run is appended to runs.jsonl at once, so that nothing is lost if this is stopped.
pub fn compare(plan: &Plan) -> Result<()> {
    fs::create_dir_all(&plan.dir).with_context(|| format!("{}", plan.dir.display()))?;
    let runs = plan.dir.join(RUNS);
    let before = if plan.append { read_runs(&runs)? } else { Vec::new() };
    let earlier = before.iter().map(|record| record.repetition).max().unwrap_or(0);
    let mut file = if plan.append {
        OpenOptions::new().create(true).append(true).open(&runs)?
    } else {
        File::create(&runs)?
    };
    fs::write(plan.dir.join(ABOUT), serde_json::to_string(&About::of(plan))?)?;
    let begin = net::now();
    let total: usize = plan.cases.iter().map(|case| plan.present(case).len()).sum::<usize>()
        * plan.repetitions as usize;
    let mut done = 0;
    for repetition in 1..=plan.repetitions {
        for case in &plan.cases {
            let mut contenders = plan.present(case);
            // each repetition begins with another, so that no row always runs after the same one
            let first = repetition as usize % contenders.len().max(1);
            contenders.rotate_left(first);
            for contender in contenders {
                for attempt in 1..=MAX_ATTEMPTS {
                    plan.tell(&format!(
                        "repetition {repetition} of {}, {}: {}{}{}",
                        plan.repetitions,
                        case.id,
                        contender.name(),
                        if attempt > 1 { " once more" } else { "" },
                        time_left(begin, done, total),
                    ));
                    let (report, error) = match plan.run(case, &contender) {
                        Ok(report) => (Some(report), None),
                        Err(error) => (None, Some(format!("{error:#}"))),
                    };
                    if let Some(error) = &error {
                        plan.tell(&format!("  failed: {error}"));
                    }
                    let (case, contender) = (case.id.to_string(), contender.name());
                    let repetition = earlier + repetition;
                    let record = Record { case, contender, repetition, attempt, report, error };
                    writeln!(file, "{}", serde_json::to_string(&record)?)?;
                    if record.foreign_pct() <= plan.max_foreign_pct {
                        break;
                    }
                }
                done += 1;
            }
        }
    }
    Ok(())
}

/// Writes tables and, where a directory is given, charts from the runs in `dir`; gives the tables.
pub fn conclude(dir: &Path, charts: Option<&Path>) -> Result<String> {
    let results = Results::new(&read_runs(&dir.join(RUNS))?);
    let about: About = serde_json::from_slice(&fs::read(dir.join(ABOUT))?)?;
    summary::summarise(&results, about, dir, charts)
}

fn read_runs(path: &Path) -> Result<Vec<Record>> {
    let text = fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

fn time_left(begin: u64, done: usize, total: usize) -> String {
    if done == 0 {
        return format!(" ({total} runs)");
    }
    let per_run = (net::now() - begin) / done as u64;
    let minutes = per_run * (total - done) as u64 / net::SECOND / 60;
    format!(" ({done} of {total} runs, {minutes} min left)")
}

impl Plan {
    /// The contenders of a case whose servers are here.
    fn present(&self, case: &Case) -> Vec<Contender> {
        let here = |contender: &&Contender| self.programs.missing(contender.kind).is_none();
        case.contenders.iter().filter(here).cloned().collect()
    }

    fn tell(&self, line: &str) {
        if self.progress {
            eprintln!("{line}");
        }
    }

    /// Starts the server or the two servers of a relay, makes one run, and ends them.
    fn run(&self, case: &Case, contender: &Contender) -> Result<Report> {
        let near = Ports { rtmp: self.port, http: self.port + 1 };
        let far = Ports { rtmp: self.port + 2, http: self.port + 3 };
        let server_cores = match contender.setup.workers {
            0 | 1 => vec![self.server_core],
            _ => vec![self.server_core, self.load_core],
        };
        let start = |setup: Setup, ports: Ports, peer: Option<Ports>| {
            Server::start(&Start {
                programs: &self.programs,
                kind: contender.kind,
                setup,
                ports,
                peer,
                media: case.media,
                media_dir: &self.media_dir,
                dir: &self.dir.join(format!("server-{}", ports.rtmp)),
                cores: &server_cores,
            })
        };
        let mut servers = Vec::new();
        let mut peer = None;
        if case.has_relay() {
            servers.push(start(Setup { relay: Relay::None, ..contender.setup }, far, None)?);
            peer = Some(far);
        }
        let mut callbacks = None;
        if contender.setup.callbacks {
            // beside the load: its cost is not the module's
            let nginx = self.programs.nginx.as_ref().context("nginx is not installed")?;
            let dir = self.dir.join("callbacks");
            callbacks = Some(CallbackServer::start(nginx, far.http, &dir, &[self.load_core])?);
            peer = Some(far);
        }
        servers.push(start(contender.setup, near, peer)?);

        let list = |numbers: Vec<String>| numbers.join(",");
        let pids = list(servers.iter().map(|server| server.pid().to_string()).collect());
        let cores = list(server_cores.iter().map(ToString::to_string).collect());
        let media_dir = self.media_dir.display().to_string();
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "TERM", "--"])
            .arg(std::env::current_exe()?)
            .args(case.arguments(contender, near, far, self.pace))
            .args(["--server-pid", &pids, "--server-cpu", &cores])
            .args(["--cpu", &self.load_core.to_string(), "--media-dir", &media_dir, "--json", "-"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = cores::spawn_on(&[self.load_core], &mut command)?;
        let stdout = child.stdout.as_ref().context("a pipe was asked for")?;
        // it writes once, at its end
        let pipe: OwnedFd = rustix::io::dup(stdout)?;
        if !server::wait_readable(&pipe, RUN_TIMEOUT) {
            child.kill()?;
        }
        drop(pipe);
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {}", output.status, server::last_lines(&said));
        let mut report = serde_json::from_slice(&output.stdout)?;
        if let (Report::Churn(churn), Some(callbacks)) = (&mut report, callbacks) {
            churn.callback_connections = Some(callbacks.most_connections()?);
        }
        Ok(report)
    }
}
