//! Input that no node sends.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use common::{get, send, until, Scheduler, PATIENCE};

#[test]
fn bad_values_are_named_and_change_nothing() {
    let s = Scheduler::start(&[]);
    let long = "x".repeat(2000);
    for (path, reason) in [
        ("/oclp/v1/publish?call=publish&act=start&app=live&name=s", "node= is missing"),
        ("/oclp/v1/publish?call=publish&act=start&app=live&name=s&node=a:99999", "node= must be"),
        ("/oclp/v1/publish?call=publish&act=start&app=live&name=s&node=a%0d%0ab", "node= must be"),
        (
            "/oclp/v1/publish?call=publish&act=start&app=live&name=s&node=rtmp://a/b",
            "node= must be",
        ),
        ("/oclp/v1/publish?call=publish&act=start&app=live&name=a%0d%0aX:y&node=a", "control byte"),
        ("/oclp/v1/publish?call=publish&act=start&app=live&name=%00&node=a", "control byte"),
        ("/oclp/v1/publish?call=publish&act=start&app=live&name=&node=a", "name= is missing"),
        ("/oclp/v1/publish?call=publish&act=start&name=s&node=a", "app= is missing"),
        ("/oclp/v1/publish?call=publish&act=stop&app=live&name=s&node=a", "act= must be"),
        ("/oclp/v1/publish?call=record&act=start&app=live&name=s&node=a", "call= must be"),
        ("/oclp/v1/nothing?act=start&app=live&name=s&node=a", "call= must be"),
        ("/oclp/v1/proc?call=init_process&node=a", "worker_id= is missing"),
        ("/oclp/v1/proc?call=init_process&worker_id=0", "node= is missing"),
        ("/oclp/v1/publish", "act= must be"),
        (&format!("/oclp/v1/publish?act=start&app=live&name={long}&node=a"), "longer than 1024"),
        (&format!("/oclp/v1/publish?act=start&app={long}&name=s&node=a"), "longer than 512"),
        (&format!("/oclp/v1/play?act=start&app=a&name=s&domain={long}"), "longer than 255"),
        (&format!("/oclp/v1/play?act=start&app=a&name=s&worker={long}"), "longer than 128"),
        (&format!("/oclp/v1/play?act=start&app=a&name=s&token={long}"), "longer than 1024"),
    ] {
        let reply = s.get(path).unwrap();
        assert_eq!(reply.status, 400, "{path}");
        assert!(reply.body.contains(reason), "{path}: {}", reply.body);
    }
    assert_eq!(s.streams(), Vec::<String>::new());
    assert_eq!(s.json("/api/nodes")["total"], 0);
    assert_eq!(s.get("/oclp/v2/play?x").unwrap().status, 404);
    assert_eq!(s.get("/../../etc/passwd").unwrap().status, 404);
}

#[test]
fn only_get_is_an_event() {
    let s = Scheduler::start(&[]);
    let query = "call=publish&act=start&app=live&name=s&node=a";
    for method in ["POST", "HEAD", "PUT", "DELETE", "OPTIONS", "BREW"] {
        let request = format!(
            "{method} /oclp/v1/publish?{query} HTTP/1.1\r\nHost: s\r\nConnection: close\r\n\r\n"
        );
        assert_eq!(send(s.address, request.as_bytes()).unwrap().status, 405, "{method}");
    }
    assert_eq!(s.streams(), Vec::<String>::new());
}

#[test]
fn heads_are_limited_and_noise_is_no_request() {
    let s = Scheduler::start(&[]);
    let long = "x".repeat(100_000);
    let many = "X: y\r\n".repeat(1000);
    for request in [
        format!("GET /{long} HTTP/1.1\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nX: {long}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{many}\r\n"),
        "\0\u{1}\u{2}\r\n\r\n".to_owned(),
        "GET / HTTP/9.9\r\n\r\n".to_owned(),
        "GET /oclp/v1/play?name=a b HTTP/1.1\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n".to_owned(),
    ] {
        let status = send(s.address, request.as_bytes()).map(|reply| reply.status);
        assert!(matches!(status, None | Some(400..=499)), "{status:?}: {}", &request[..40]);
    }
    // a body that was not asked for is not waited for
    let body = "GET /healthz HTTP/1.1\r\nConnection: close\r\nContent-Length: 99999999\r\n\r\nx";
    assert_eq!(send(s.address, body.as_bytes()).unwrap().status, 200);
    assert_eq!(s.get("/healthz").unwrap().body, "ok\n");
}

#[test]
fn random_bytes_never_hurt() {
    let s = Scheduler::start(&[]);
    let seed = std::process::id().into();
    let mut random = fastrand::Rng::with_seed(seed);
    for i in 0..300 {
        let noise = (0..random.usize(1..200)).map(|_| random.u8(..)).collect::<Vec<_>>();
        // half of them as the query of a request
        let bytes = if i % 2 == 0 {
            noise
        } else {
            let query = noise.iter().map(|b| format!("%{b:02x}")).collect::<String>();
            let (key, value) = query.split_at(query.len() / 6 * 3);
            let act = ["start", "update", "done"][i % 3];
            format!(
                "GET /oclp/v1/publish?act={act}&app={key}&name={value}&node=a&{query} HTTP/1.1\r\n\
                 Connection: close\r\n\r\n"
            )
            .into_bytes()
        };
        let mut socket = TcpStream::connect(s.address).unwrap();
        let _ = socket.write_all(&bytes);
        let _ = socket.shutdown(std::net::Shutdown::Write);
        let _ = socket.read_to_end(&mut Vec::new());
    }
    assert_eq!(s.get("/healthz").unwrap().status, 200, "seed {seed}");
    s.json("/api/streams?limit=1000");
    assert!(!s.log().iter().any(|line| line.contains("panicked")), "seed {seed}");
}

#[test]
fn connections_beyond_the_limit_wait() {
    let s = Scheduler::start(&["--max-connections", "2"]);
    let idle = [0, 1].map(|_| TcpStream::connect(s.address).unwrap());
    let address = s.address;
    let third = thread::spawn(move || get(address, "/healthz").unwrap().status);
    thread::sleep(Duration::from_millis(300));
    assert!(!third.is_finished());
    drop(idle);
    assert_eq!(third.join().unwrap(), 200);
}

#[test]
fn a_connection_serves_many_requests() {
    let s = Scheduler::start(&[]);
    let mut socket = TcpStream::connect(s.address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    for _ in 0..100 {
        socket.write_all(b"GET /healthz HTTP/1.1\r\nHost: s\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\nok\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).unwrap();
            answer.extend(byte);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    }
    drop(socket);
    until("its end", || s.metric("oclp_scheduler_connections") == 1.0);
}

#[test]
fn markup_in_names_stays_text() {
    let s = Scheduler::start(&[]);
    let name = "%3Cscript%3Ealert(1)%3C/script%3E%22%7D";
    s.call("publish", "start", &format!("name={name}&node=a&worker=%3Cb%3E&client=%3Ci%3E"));
    let answer = s.get("/api/streams").unwrap();
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.json()["streams"][0]["name"], "<script>alert(1)</script>\"}");
    // the page holds no data; its script only sets textContent, and only it may run
    let page = s.get("/").unwrap();
    let policy = page.header("content-security-policy").unwrap();
    let nonce = policy.split("'nonce-").nth(1).unwrap().split('\'').next().unwrap();
    assert!(page.body.contains(&format!("<script nonce=\"{nonce}\">")));
    assert!(!page.body.contains("innerHTML") && !page.body.contains("http://"));
    let other = s.get("/").unwrap();
    assert!(!other.body.contains(nonce));
}

/// What a browser adds to a request, each line enough by itself.
const BROWSER: [&str; 6] = [
    "Origin: https://evil.example",
    "Referer: https://evil.example/",
    "Sec-Fetch-Site: cross-site",
    "Sec-Fetch-Site: same-origin",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0",
    "Accept-Language: de",
];

fn ask(s: &Scheduler, path: &str, host: &str, line: &str) -> u16 {
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{line}\r\nConnection: close\r\n\r\n");
    send(s.address, request.as_bytes()).unwrap().status
}

#[test]
fn no_page_can_make_a_browser_send_events() {
    let s = Scheduler::start(&[]);
    for event in ["publish", "play", "stream", "pull", "push", "meta"] {
        let path = format!("/oclp/v1/{event}?act=start&app=live&name=s&node=evil.example");
        for line in BROWSER {
            assert_eq!(ask(&s, &path, "127.0.0.1", line), 403, "{event} {line}");
        }
    }
    let proc = "/oclp/v1/proc?call=init_process&worker_id=0&node=evil.example";
    for line in BROWSER {
        assert_eq!(ask(&s, proc, "127.0.0.1", line), 403, "{line}");
    }
    assert_eq!(s.streams(), Vec::<String>::new());
    assert_eq!(s.json("/api/nodes")["total"], 0);
    // a node may know the scheduler by any name
    let path = "/oclp/v1/publish?act=start&app=live&name=s&node=n1";
    assert_eq!(ask(&s, path, "scheduler.internal:6200", "User-Agent: ngx-rtmp"), 200);
    assert_eq!(s.streams(), ["live/s"]);
}

#[test]
fn no_page_of_another_site_reads_the_record() {
    let s = Scheduler::with_policy("[access]\nhosts = [\"sched.example\"]", &[]);
    let port = s.address.port();
    for path in ["/", "/api/streams", "/api/nodes", "/metrics"] {
        let own = format!("127.0.0.1:{port}");
        for (host, line, status) in [
            (own.as_str(), "Accept: */*", 200),
            (&own, "Sec-Fetch-Site: same-origin", 200),
            (&own, "Sec-Fetch-Site: none", 200),
            (&own, &format!("Origin: http://{own}"), 200),
            ("localhost", "Accept: */*", 200),
            ("sched.example:6200", "Accept: */*", 200),
            ("rebound.evil.example", "Accept: */*", 421),
            ("rebound.evil.example", "Sec-Fetch-Site: same-origin", 421),
            (&own, "Sec-Fetch-Site: cross-site", 403),
            (&own, "Sec-Fetch-Site: same-site", 403),
            (&own, "Origin: https://evil.example", 403),
            (&own, "Origin: null", 403),
        ] {
            assert_eq!(ask(&s, path, host, line), status, "{path} {host} {line}");
        }
    }
}

#[test]
fn long_names_do_not_fill_the_memory() {
    let s = Scheduler::start(&["--max-streams", "2000"]);
    let [domain, app, name] = [255, 255, 240].map(|bytes| "%ff".repeat(bytes));
    let mut socket = TcpStream::connect(s.address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut statuses = Vec::new();
    for i in 0..3000 {
        let request = format!(
            "GET /oclp/v1/publish?act=start&domain={domain}&app={app}&name={i:08}{name}&node=n1 \
             HTTP/1.1\r\nHost: s\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\n") || !answer.windows(4).any(|part| part == b"\r\n\r\n") {
            let mut part = [0; 4096];
            let n = socket.read(&mut part).unwrap();
            assert!(n > 0);
            answer.extend_from_slice(&part[..n]);
        }
        statuses.push(String::from_utf8_lossy(&answer[9..12]).into_owned());
    }
    let recorded = statuses.iter().filter(|status| *status == "200").count();
    // 4 KiB a stream on the average, whatever the names are
    assert!((1000..=2000).contains(&recorded), "{recorded}");
    assert!(statuses[recorded..].iter().all(|status| status == "403"));
    // one of them that ends makes room for another
    let done =
        format!("/oclp/v1/publish?act=done&domain={domain}&app={app}&name=00000000{name}&node=n1");
    assert_eq!(s.get(&done).unwrap().status, 200);
    assert_eq!(s.call("publish", "start", "name=short&node=n1"), 200);
}
