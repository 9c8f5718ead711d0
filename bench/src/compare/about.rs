//! Where and with what a comparison was made.

use super::plan::Plan;
use super::server::Kind;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Told at the head of its tables.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct About {
    pub machine: Vec<String>,
    /// Servers that were not there, and why.
    pub left_out: Vec<String>,
}

impl About {
    pub fn of(plan: &Plan) -> Self {
        let mut kinds: Vec<Kind> = plan
            .cases
            .iter()
            .flat_map(|case| &case.contenders)
            .map(|contender| contender.kind)
            .collect();
        kinds.sort();
        kinds.dedup();
        let mut machine = vec![format!(
            "{}: {}, Linux {}, TCP {}, servers on core {}, load on core {}",
            said("date", &["-u", "+%F"]),
            cpu(),
            read("/proc/sys/kernel/osrelease"),
            read("/proc/sys/net/ipv4/tcp_congestion_control"),
            plan.server_core,
            plan.load_core,
        )];
        let mut left_out = Vec::new();
        for kind in kinds {
            match plan.programs.missing(kind) {
                Some(why) => left_out.push(format!("{}: {why}", kind.name())),
                None => machine.extend(version(kind, plan)),
            }
        }
        machine.push(format!(
            "{} repetitions, window {} s; medians, in brackets the least and the greatest",
            plan.repetitions, plan.pace.window
        ));
        Self { machine, left_out }
    }
}

fn version(kind: Kind, plan: &Plan) -> Option<String> {
    let programs = &plan.programs;
    let version = match kind {
        Kind::NgxRtmp => {
            let nginx = programs.nginx.as_ref()?.display().to_string();
            format!("{} in {}", env!("CARGO_PKG_VERSION"), said(&nginx, &["-v"]))
        }
        Kind::LibnginxModRtmp => said("dpkg-query", &["-W", "-f", "${Version}", kind.name()]),
        Kind::NodeMediaServer => {
            let dir = programs.node_media_server.as_ref()?;
            let package = fs::read(dir.join("node_modules/node-media-server/package.json")).ok()?;
            let package: serde_json::Value = serde_json::from_slice(&package).ok()?;
            let version = package.get("version")?.as_str()?;
            format!("{version} in node {}", said("node", &["--version"]))
        }
        Kind::Xiu => said(&programs.xiu.as_ref()?.display().to_string(), &["--version"]),
        Kind::Floor => return None,
    };
    Some(format!("{} {version}", kind.name()))
}

/// What a program prints, on either stream.
fn said(program: &str, arguments: &[&str]) -> String {
    let Ok(output) = Command::new(program).args(arguments).output() else { return "?".into() };
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    String::from_utf8_lossy(&text).trim().to_string()
}

fn cpu() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let values = |name: &str| -> Vec<String> {
        cpuinfo
            .lines()
            .filter_map(|line| line.split_once(':'))
            .filter(|(key, _)| key.trim() == name)
            .map(|(_, value)| value.trim().to_string())
            .collect()
    };
    let cores = values("processor").len();
    let model = values("model name").into_iter().next().unwrap_or_else(|| "CPU".into());
    format!("{cores} × {model}")
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(path)).unwrap_or_else(|_| "?".into()).trim().to_string()
}
