//! What processes and cores used, read from /proc.

use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fs;
use std::path::Path;

/// /proc counts ticks of USER_HZ, which is 100 on every Linux architecture but alpha.
const USER_HZ: f64 = 100.0;

/// Sums over some processes and all their descendants.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Usage {
    pub processes: usize,
    /// Time on a CPU, exact (schedstat), in s.
    pub run_s: f64,
    /// The same split by ticks, in s.
    pub user_s: f64,
    pub system_s: f64,
    pub switches: u64,
    pub rss_kib: u64,
    /// Like RSS, with pages shared between processes counted once.
    pub pss_kib: u64,
}

/// Time of one core since boot, in s.
#[derive(Clone, Copy, Debug, Default)]
pub struct Core {
    pub idle_s: f64,
    pub steal_s: f64,
    /// Network work that the kernel did for others outside their own context.
    pub ksoftirqd_s: f64,
}

pub fn usage(roots: &[u32]) -> Usage {
    let mut pids = HashSet::new();
    for root in roots {
        descend(*root, &mut pids);
    }
    let mut sum = Usage::default();
    for pid in pids {
        let dir = format!("/proc/{pid}");
        let Some(stat) = read(&dir, "stat").and_then(|text| Stat::parse(&text)) else { continue };
        sum.processes += 1;
        sum.user_s += stat.user_s;
        sum.system_s += stat.system_s;
        for task in subdirectories(&format!("{dir}/task")) {
            sum.run_s += run_s(&task);
        }
        let status = read(&dir, "status").unwrap_or_default();
        sum.rss_kib += field(&status, "VmRSS:").unwrap_or(0);
        sum.switches += field(&status, "voluntary_ctxt_switches:").unwrap_or(0)
            + field(&status, "nonvoluntary_ctxt_switches:").unwrap_or(0);
        let rollup = read(&dir, "smaps_rollup").unwrap_or_default();
        sum.pss_kib += field(&rollup, "Pss:").unwrap_or(0);
    }
    sum
}

/// Time that this process has spent on a CPU, in s.
pub fn own_run_s() -> f64 {
    subdirectories("/proc/self/task").iter().map(|task| run_s(task)).sum()
}

/// Memory that the kernel holds for all TCP sockets of the machine, in KiB.
pub fn tcp_memory_kib() -> u64 {
    let text = read("/proc/net", "sockstat").unwrap_or_default();
    let pages: Option<u64> = text
        .lines()
        .find(|line| line.starts_with("TCP:"))
        .and_then(|line| line.split_ascii_whitespace().last()?.parse().ok());
    pages.unwrap_or(0) * 4
}

pub fn core(number: usize) -> Core {
    let stat = read("/proc", "stat").unwrap_or_default();
    let mut core = parse_core(&stat, number).unwrap_or_default();
    core.ksoftirqd_s = ksoftirqd(number).map_or(0.0, |dir| run_s(&dir));
    core
}

/// /proc directory of a core's softirq thread.
fn ksoftirqd(number: usize) -> Option<String> {
    let name = format!("ksoftirqd/{number}");
    // the kernel's threads are among the first processes
    (1..1000)
        .map(|pid| format!("/proc/{pid}"))
        .find(|dir| read(dir, "comm").is_some_and(|comm| comm.trim() == name))
}

fn descend(pid: u32, pids: &mut HashSet<u32>) {
    if !pids.insert(pid) {
        return;
    }
    for task in subdirectories(&format!("/proc/{pid}/task")) {
        let children = read(&task, "children").unwrap_or_default();
        for child in children.split_ascii_whitespace().filter_map(|child| child.parse().ok()) {
            descend(child, pids);
        }
    }
}

/// Run time of a task (or a process of one thread) from its schedstat.
fn run_s(dir: &str) -> f64 {
    let ns: Option<f64> = read(dir, "schedstat")
        .and_then(|text| text.split_ascii_whitespace().next().and_then(|ns| ns.parse().ok()));
    ns.unwrap_or(0.0) / 1e9
}

struct Stat {
    user_s: f64,
    system_s: f64,
}

impl Stat {
    /// The command, in brackets, may itself hold blanks and brackets.
    fn parse(text: &str) -> Option<Self> {
        let mut fields = text.rsplit(')').next()?.split_ascii_whitespace().skip(11);
        let mut seconds = || Some(fields.next()?.parse::<f64>().ok()? / USER_HZ);
        Some(Self { user_s: seconds()?, system_s: seconds()? })
    }
}

fn parse_core(stat: &str, number: usize) -> Option<Core> {
    let name = format!("cpu{number}");
    let line = stat.lines().find(|line| line.split(' ').next() == Some(&name))?;
    let ticks: Vec<f64> =
        line.split_ascii_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    Some(Core {
        idle_s: (ticks.get(3)? + ticks.get(4)?) / USER_HZ,
        steal_s: ticks.get(7)? / USER_HZ,
        ksoftirqd_s: 0.0,
    })
}

/// The number after a name in a file of `Name: number unit` lines.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_ascii_whitespace().next()?.parse().ok())
}

fn read(dir: &str, name: &str) -> Option<String> {
    fs::read_to_string(Path::new(dir).join(name)).ok()
}

fn subdirectories(dir: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    entries.flatten().map(|entry| entry.path().to_string_lossy().into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_with_brackets_in_the_name() {
        let text = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 2 3 4 250 150 0 0 20 0 1 0 5 6 7";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.user_s, stat.system_s), (2.5, 1.5));
        assert!(Stat::parse("7 (x) S 1").is_none());
    }

    #[test]
    fn core_line() {
        let stat =
            "cpu  1 1 1 1 1 1 1 1 0 0\ncpu1 5 0 0 300 20 0 0 40 0 0\ncpu11 1 1 1 1 1 1 1 1\n";
        let core = parse_core(stat, 1).unwrap();
        assert_eq!((core.idle_s, core.steal_s), (3.2, 0.4));
        assert!(parse_core(stat, 2).is_none());
    }

    #[test]
    fn fields_of_status_and_rollup() {
        let text = "Name:\tx\nVmRSS:\t  1234 kB\nnonvoluntary_ctxt_switches:\t7\n";
        assert_eq!(field(text, "VmRSS:"), Some(1234));
        assert_eq!(field(text, "voluntary_ctxt_switches:"), None);
        assert_eq!(field(text, "nonvoluntary_ctxt_switches:"), Some(7));
    }

    #[test]
    fn this_process_is_seen() {
        let own = usage(&[std::process::id()]);
        assert!(own.processes >= 1 && own.run_s > 0.0 && own.rss_kib > 100 && own.pss_kib > 100);
        assert!(own_run_s() > 0.0);
        assert_eq!(usage(&[0]).processes, 0);
    }
}
