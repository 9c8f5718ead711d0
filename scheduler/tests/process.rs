//! The process: command line, signals, logs, metrics.

mod common;

use std::collections::HashSet;
use std::net::TcpListener;
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

use common::{file, until, Scheduler};

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oclp-scheduler"));
    command.args(arguments).env_remove("OCLP_STORE").output().unwrap()
}

fn status_and_stderr(arguments: &[&str]) -> (i32, String) {
    let output = run(arguments);
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn help_teaches() {
    let output = run(&["--help"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    for part in ["--store", "oclp_publish http://", "curl -i", "Exit status", "OCLP_STORE", "HUP"] {
        assert!(text.contains(part), "{part}");
    }
    assert!(!text.contains('\u{1b}'), "colours go to a terminal only");
}

#[test]
fn exit_status_tells_usage_from_failure() {
    let bad = file("bad.toml", "lease = \"soon\"\n");
    let good = file("good.toml", "lease = \"50s\"\n");
    let (bad, good) = (bad.to_str().unwrap(), good.to_str().unwrap());
    for (arguments, status, text) in [
        (&["--check", "--config", good][..], 0, ""),
        (&["--check", "--config", bad], 2, "\"soon\" is no time; write for example \"150s\""),
        (&["--config", "/does/not/exist"], 2, "/does/not/exist: No such file"),
        (&["--lease", "0s"], 2, "from 1s to 1day"),
        (&["--max-streams", "0"], 2, "must be at least 1"),
        (&["--listen", "nowhere"], 2, "--listen"),
        (&["--store", "mysql://root:secret@db"], 2, "--store: must be memory, redis://"),
        (&["--store", "redis://:secret@:port"], 2, "--store: not a usable redis url"),
        (&["--frobnicate"], 2, "--frobnicate"),
    ] {
        let (code, stderr) = status_and_stderr(arguments);
        assert_eq!(code, status, "{arguments:?}: {stderr}");
        assert!(stderr.contains(text), "{arguments:?}: {stderr}");
        assert!(!stderr.contains("secret"), "{arguments:?}: {stderr}");
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, stderr) = status_and_stderr(&["--listen", &address]);
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains(&format!("cannot listen on {address}")), "{stderr}");
}

#[test]
fn hangup_reloads_and_a_bad_file_changes_nothing() {
    let path = file("policy.toml", "[play]\ndeny = [\"*/live/s1\"]\n");
    let s = Scheduler::start(&["--config", path.to_str().unwrap()]);
    assert_eq!(
        (s.call("play", "start", "name=s1"), s.call("play", "start", "name=s2")),
        (403, 200)
    );

    std::fs::write(&path, "[play]\ndeny = [\"*/live/s2\"]\n").unwrap();
    s.signal("HUP");
    s.log_line("policy reloaded");
    assert_eq!(
        (s.call("play", "start", "name=s1"), s.call("play", "start", "name=s2")),
        (200, 403)
    );

    std::fs::write(&path, "[play]\ndenied = []\n").unwrap();
    s.signal("HUP");
    let line = s.log_line("policy not reloaded");
    assert!(line["message"].as_str().unwrap().contains("unknown field `denied`"), "{line}");
    assert_eq!(
        (s.call("play", "start", "name=s1"), s.call("play", "start", "name=s2")),
        (200, 403)
    );
    assert_eq!(s.metric("oclp_scheduler_policy_reloads_total{result=\"ok\"}"), 1.0);
    assert_eq!(s.metric("oclp_scheduler_policy_reloads_total{result=\"refused\"}"), 1.0);
}

#[test]
fn terminate_lets_requests_end() {
    let mut s = Scheduler::with_policy("wait = \"1s\"", &[]);
    s.call("publish", "start", "name=s1&node=a");
    s.call("publish", "done", "name=s1&node=a");
    let address = s.address;
    let held = thread::spawn(move || {
        let path = "/oclp/v1/pull?call=pull&act=start&domain=d.com&app=live&name=s1&node=b";
        common::get(address, path).map(|reply| reply.status)
    });
    // an idle connection does not hold it up
    let _idle = std::net::TcpStream::connect(address).unwrap();
    until("the held pull", || s.metric("oclp_scheduler_connections") == 3.0);
    s.signal("TERM");
    assert_eq!(s.wait().code(), Some(0));
    assert_eq!(held.join().unwrap(), Some(404));
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn a_request_that_does_not_end_is_cut_off() {
    let mut s = Scheduler::with_policy("wait = \"2500ms\"", &["--drain", "100ms"]);
    s.call("publish", "start", "name=s1&node=a");
    s.call("publish", "done", "name=s1&node=a");
    let address = s.address;
    let held = thread::spawn(move || {
        let path = "/oclp/v1/pull?call=pull&act=start&domain=d.com&app=live&name=s1&node=b";
        common::get(address, path).map(|reply| reply.status)
    });
    until("the held pull", || s.metric("oclp_scheduler_connections") == 2.0);
    s.signal("INT");
    assert_eq!(s.wait().code(), Some(0));
    assert_eq!(held.join().unwrap(), None);
    s.log_line("some connections were still busy");
}

#[test]
fn several_addresses() {
    let s = Scheduler::start(&["--listen", "127.0.0.1:0"]);
    let addresses = s
        .log()
        .iter()
        .filter_map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["address"]
                .as_str()
                .map(str::to_owned)
        })
        .collect::<HashSet<_>>();
    assert!(!addresses.is_empty());
    for address in addresses {
        assert_eq!(common::get(address.parse().unwrap(), "/healthz").unwrap().status, 200);
    }
}

#[test]
fn metrics_follow_the_conventions() {
    let s = Scheduler::start(&[]);
    s.call("publish", "start", "name=s1&node=a");
    s.call("pull", "start", "name=s2&node=a");
    s.get("/oclp/v1/x");
    let reply = s.get("/metrics").unwrap();
    assert!(reply.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    assert!(reply.body.ends_with("# EOF\n"));
    let mut types = std::collections::HashMap::new();
    for line in reply.body.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(name.starts_with("oclp_scheduler_"), "{name}");
            types.insert(name.to_owned(), kind.to_owned());
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            let family = ["_total", "_info", "_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| types.get_key_value(name.strip_suffix(suffix)?))
                .or_else(|| types.get_key_value(name));
            let (_, kind) = family.unwrap_or_else(|| panic!("{name} has no type"));
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
            assert!(line.rsplit(' ').next().unwrap().parse::<f64>().is_ok(), "{line}");
        }
    }
    for (line, value) in [
        ("oclp_scheduler_streams", 1.0),
        ("oclp_scheduler_nodes", 1.0),
        ("oclp_scheduler_store_up", 1.0),
        ("oclp_scheduler_requests_total{call=\"publish\",act=\"start\",code=\"200\"}", 1.0),
        ("oclp_scheduler_requests_total{call=\"pull\",act=\"start\",code=\"404\"}", 1.0),
        ("oclp_scheduler_requests_total{call=\"bad\",act=\"bad\",code=\"400\"}", 1.0),
        ("oclp_scheduler_request_duration_seconds_count{call=\"publish\"}", 1.0),
    ] {
        assert_eq!(s.metric(line), value, "{line}");
    }
    assert_eq!(
        s.metric(&format!(
            "oclp_scheduler_build_info{{version=\"{}\",store=\"memory\"}}",
            env!("CARGO_PKG_VERSION")
        )),
        1.0
    );
}

#[test]
fn logs_are_json_if_asked_and_never_coloured_in_a_file() {
    let s = Scheduler::start(&[]);
    s.call("publish", "start", "name=a%20%22b&node=a&worker=1");
    let line = s.log_line("published");
    assert_eq!(
        (line["stream"].as_str(), line["node"].as_str()),
        (Some("d.com/live/a%20%22b"), Some("a:1935"))
    );
    assert_eq!(line["level"], "INFO");
    assert!(line["timestamp"].is_string());
    thread::sleep(Duration::from_millis(1));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (_, text) = status_and_stderr(&["--listen", &taken.local_addr().unwrap().to_string()]);
    assert!(!text.contains('\u{1b}'), "{text}");
}
