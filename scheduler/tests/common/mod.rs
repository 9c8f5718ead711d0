//! A real scheduler, a real Redis, plain sockets.
#![allow(dead_code)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Far more than anything here takes, on a busy machine too.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for something to become true.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A file of this test alone.
pub fn file(name: &str, text: &str) -> PathBuf {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("{}-{number}-{name}", std::process::id()));
    std::fs::write(&path, text).unwrap();
    path
}

/// What a server answered.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
}

/// Sends bytes on a connection of its own; `None`: closed without an answer.
pub fn send(to: SocketAddr, bytes: &[u8]) -> Option<Reply> {
    let mut socket = TcpStream::connect(to).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    // a server may have refused and closed before it has read all
    let _ = socket.write_all(bytes);
    let mut raw = Vec::new();
    match socket.read_to_end(&mut raw) {
        Ok(_) => {}
        Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(e) => panic!("{e}"),
    }
    if raw.is_empty() {
        return None;
    }
    let text = String::from_utf8_lossy(&raw).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").expect("an end of the head");
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
    Some(Reply { status, head: head.to_owned(), body: body.to_owned() })
}

pub fn get(to: SocketAddr, path: &str) -> Option<Reply> {
    send(
        to,
        format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").as_bytes(),
    )
}

/// A running `oclp-scheduler`; killed at the end.
pub struct Scheduler {
    child: Child,
    pub address: SocketAddr,
    log: Arc<(Mutex<Vec<String>>, Condvar)>,
}

impl Scheduler {
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_at("127.0.0.1:0", arguments)
    }

    pub fn with_policy(policy: &str, arguments: &[&str]) -> Self {
        let path = file("policy.toml", policy);
        let mut all = vec!["--config", path.to_str().unwrap()];
        all.extend(arguments);
        Self::start(&all)
    }

    pub fn start_at(address: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_oclp-scheduler"))
            .args(["--listen", address, "--log-format", "json", "--log-level", "debug"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let stderr = child.stderr.take().unwrap();
        let writer = Arc::clone(&log);
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                writer.0.lock().unwrap().push(line);
                writer.1.notify_all();
            }
        });
        let mut scheduler = Self { child, address: ([127, 0, 0, 1], 0).into(), log };
        let line = scheduler.log_line("listening");
        scheduler.address = line["address"].as_str().unwrap().parse().unwrap();
        scheduler
    }

    /// Waits for the first line with this message.
    pub fn log_line(&self, message: &str) -> Value {
        let (lines, changed) = &*self.log;
        let guard = lines.lock().unwrap();
        let find = |lines: &Vec<String>| {
            let mut parsed = lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
            parsed.find(|line| line["message"].as_str().unwrap().contains(message))
        };
        let (guard, _) =
            changed.wait_timeout_while(guard, PATIENCE, |lines| find(lines).is_none()).unwrap();
        find(&guard).unwrap_or_else(|| panic!("no line with {message} in {guard:#?}"))
    }

    pub fn log(&self) -> Vec<String> {
        self.log.0.lock().unwrap().clone()
    }

    pub fn get(&self, path: &str) -> Option<Reply> {
        get(self.address, path)
    }

    pub fn json(&self, path: &str) -> Value {
        self.get(path).expect("an answer").json()
    }

    /// A node's request; the status, or 0 for no answer.
    pub fn call(&self, call: &str, act: &str, query: &str) -> u16 {
        self.reply(call, act, query).map_or(0, |reply| reply.status)
    }

    pub fn reply(&self, call: &str, act: &str, query: &str) -> Option<Reply> {
        self.get(&format!("/oclp/v1/{call}?call={call}&act={act}&domain=d.com&app=live&{query}"))
    }

    pub fn init_process(&self, node: &str, worker: &str) -> u16 {
        let path = format!("/oclp/v1/proc?node={node}&call=init_process&worker_id={worker}");
        self.get(&path).map_or(0, |reply| reply.status)
    }

    /// Where a pull of `name` is sent, or the status in words.
    pub fn pull(&self, name: &str, asking: &str) -> String {
        match self.reply("pull", "start", &format!("name={name}&node={asking}")) {
            None => "no answer".to_owned(),
            Some(reply) if reply.status == 302 => reply.header("location").unwrap().to_owned(),
            Some(reply) => reply.status.to_string(),
        }
    }

    /// `app/name` of all streams, in order.
    pub fn streams(&self) -> Vec<String> {
        let answer = self.json("/api/streams?limit=1000");
        let text = |v: &Value| v.as_str().unwrap().to_owned();
        let streams = answer["streams"].as_array().unwrap().iter();
        streams.map(|s| format!("{}/{}", text(&s["app"]), text(&s["name"]))).collect()
    }

    /// The value of one line of /metrics.
    pub fn metric(&self, line: &str) -> f64 {
        let text = self.get("/metrics").expect("metrics").body;
        let found = text.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(' '));
        found.map_or(0.0, |value| value.parse().unwrap())
    }

    pub fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// kill -9
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        until("end of the scheduler", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("log of the scheduler:\n{}", self.log().join("\n"));
        }
    }
}

pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
    assert!(status.unwrap().success());
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A redis-server without persistence; killed at the end.
pub struct Redis {
    child: Child,
    port: u16,
    arguments: Vec<String>,
    /// What sets its clock, and the file that says how.
    clock: Option<(PathBuf, PathBuf)>,
}

/// What lets a Redis see another time.
fn clock_library() -> PathBuf {
    let library = file("clock.so", "");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/clock.c");
    let options = ["-shared", "-fPIC", "-O1", source, "-o"];
    assert!(Command::new("cc").args(options).arg(&library).status().unwrap().success());
    library
}

impl Redis {
    /// `None` where no redis-server is installed, except in CI.
    pub fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    pub fn start_with(arguments: &[&str]) -> Option<Self> {
        if Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_err() {
            let in_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
            assert!(!in_ci, "redis-server is not installed");
            eprintln!("SKIPPED: redis-server is not installed");
            return None;
        }
        let port = free_port();
        let arguments = arguments.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>();
        let child = Self::spawn(port, &arguments, None);
        Some(Self { child, port, arguments, clock: None })
    }

    /// One whose clock can be set.
    pub fn start_with_clock() -> Option<Self> {
        let mut redis = Self::start()?;
        redis.stop();
        redis.clock = Some((clock_library(), file("clock", "0")));
        redis.start_again();
        Some(redis)
    }

    /// Sets its clock so many seconds ahead.
    pub fn set_clock(&self, seconds: i64) {
        let (_, clock) = self.clock.as_ref().expect("a clock that can be set");
        // renamed into place, so that it is never seen half written
        std::fs::rename(file("clock", &seconds.to_string()), clock).unwrap();
    }

    fn spawn(port: u16, arguments: &[String], clock: Option<&(PathBuf, PathBuf)>) -> Child {
        let mut command = Command::new("redis-server");
        if let Some((library, clock)) = clock {
            command.env("LD_PRELOAD", library).env("CLOCK", clock);
        }
        let child = command
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--dir", env!("CARGO_TARGET_TMPDIR")])
            .args(arguments)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        until("redis-server", || {
            Self::command_at(port, "PING").is_some_and(|answer| !answer.starts_with("-LOADING"))
        });
        child
    }

    fn command_at(port: u16, command: &str) -> Option<String> {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).ok()?;
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(format!("{command}\r\n").as_bytes()).ok()?;
        let mut line = String::new();
        BufReader::new(socket).read_line(&mut line).ok()?;
        (!line.is_empty()).then_some(line)
    }

    pub fn command(&self, command: &str) -> String {
        Self::command_at(self.port, command).expect("an answer of Redis")
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    pub fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn start_again(&mut self) {
        self.child = Self::spawn(self.port, &self.arguments, self.clock.as_ref());
    }

    pub fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a test on a scheduler of each store.
pub fn on_each_store(policy: &str, arguments: &[&str], test: impl Fn(&Scheduler)) {
    test(&Scheduler::with_policy(policy, arguments));
    if let Some(redis) = Redis::start() {
        let url = redis.url();
        let mut all = vec!["--store", &url];
        all.extend(arguments);
        test(&Scheduler::with_policy(policy, &all));
    }
}
