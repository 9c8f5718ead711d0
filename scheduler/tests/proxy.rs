//! nginx-conf/cluster/scheduler-proxy.conf: an nginx in front of two schedulers.

mod common;

use std::process::{Child, Command, Stdio};

use common::{free_port, get, until, Redis, Scheduler};

struct Nginx(Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        common::signal(self.0.id(), "TERM");
        let _ = self.0.wait();
    }
}

#[test]
fn a_proxy_passes_on_silence_as_silence() {
    if Command::new("nginx").arg("-v").stderr(Stdio::null()).status().is_err() {
        let in_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
        assert!(!in_ci, "nginx is not installed");
        return eprintln!("SKIPPED: nginx is not installed");
    }
    let Some(mut redis) = Redis::start() else { return };
    let policy = "wait = \"0s\"\n[access]\nproxies = [\"127.0.0.1/32\"]";
    let [mut a, b] = [0, 1].map(|_| Scheduler::with_policy(policy, &["--store", &redis.url()]));

    let port = free_port();
    let text = concat!(env!("CARGO_MANIFEST_DIR"), "/../nginx-conf/cluster/scheduler-proxy.conf");
    let text = std::fs::read_to_string(text)
        .unwrap()
        .replace("6201", &a.address.port().to_string())
        .replace("6202", &b.address.port().to_string())
        .replace("listen 6200", &format!("listen 127.0.0.1:{port}"));
    let conf = common::file("proxy.conf", &text);
    let prefix = conf.with_extension("d");
    std::fs::create_dir_all(prefix.join("logs")).unwrap();
    let nginx = Command::new("nginx")
        .args(["-e", "stderr", "-g", "daemon off;", "-p", prefix.to_str().unwrap()])
        .args(["-c", conf.to_str().unwrap()])
        .spawn()
        .unwrap();
    let _nginx = Nginx(nginx);
    let proxy = ([127, 0, 0, 1], port).into();
    until("the proxy", || std::net::TcpStream::connect(proxy).is_ok());

    let call = |call: &str, query: &str| {
        let path =
            format!("/oclp/v1/{call}?call={call}&act=start&domain=d.com&app=live&name=s1&{query}");
        get(proxy, &path)
    };
    assert_eq!(call("publish", "node=10.0.0.1:1935").unwrap().status, 200);
    let pull = call("pull", "node=10.0.0.2:1935").unwrap();
    assert_eq!(pull.header("location"), Some("rtmp://10.0.0.1:1935/live/s1"));
    assert_eq!(pull.header("domain"), Some("d.com"));

    // one scheduler dies: the other answers, whichever nginx asks first
    a.kill();
    for _ in 0..4 {
        assert_eq!(call("pull", "node=10.0.0.2:1935").unwrap().status, 302);
    }
    // Redis dies: no answer, and not 502 either; then all is as it was
    redis.stop();
    for _ in 0..4 {
        assert!(call("pull", "node=10.0.0.2:1935").is_none());
        assert_eq!(call("publish", "node=10.0.0.1:1935").unwrap().status, 200);
    }
    redis.start_again();
    until("Redis", || b.get("/healthz").unwrap().body == "ok\n");
    assert_eq!(call("publish", "node=10.0.0.1:1935").unwrap().status, 200);
    assert_eq!(call("pull", "node=10.0.0.2:1935").unwrap().status, 302);
}
