//! Who may publish and play, where pushes go, who may ask.

mod common;

use common::{on_each_store, Scheduler};

#[test]
fn everything_is_allowed_by_default() {
    let s = Scheduler::start(&[]);
    assert_eq!(s.call("publish", "start", "name=s1&node=a"), 200);
    for call in ["play", "stream", "push", "meta"] {
        for act in ["start", "update", "done"] {
            assert_eq!(s.call(call, act, "name=s1&node=a"), 200, "{call} {act}");
            assert_eq!(s.call(call, act, "name=s1"), 200, "{call} {act}");
        }
    }
    for act in ["update", "done"] {
        assert_eq!(s.call("pull", act, "name=s1&node=a"), 200);
    }
}

#[test]
fn tokens_and_lists_decide_about_publishers_and_players() {
    let policy = r#"
        [publish]
        tokens = ["p&1 ü", "p2"]
        deny = ["*/live/bad*"]
        [play]
        allow = ["d.com/live/*"]
        tokens = ["v1"]
    "#;
    on_each_store(policy, &[], |s| {
        for (query, status) in [
            ("name=s1&node=a&token=p%261%20%C3%BC", 200),
            ("name=s1&node=a&token=p2", 200),
            ("name=s1&node=a&token=p", 403),
            ("name=s1&node=a&token=", 403),
            ("name=s1&node=a", 403),
            ("name=s1&node=a&token=v1", 403),
            ("name=bad1&node=a&token=p2", 403),
            // what a client smuggles in behind the node's own parameters does not count
            ("name=s1&node=a&token=x&token=p2", 403),
        ] {
            assert_eq!(s.call("publish", "start", query), status, "publish {query}");
        }
        assert_eq!(s.streams(), ["live/s1"]);
        assert_eq!(s.call("play", "start", "name=s1&token=v1"), 200);
        assert_eq!(s.call("play", "start", "name=s1&token=p2"), 403);
        let vod = "/oclp/v1/play?call=play&act=start&domain=d.com&app=vod&name=s1&token=v1";
        let refused = s.get(vod).unwrap();
        assert_eq!((refused.status, refused.body.as_str()), (403, "not on the allow list\n"));
        // a token never reaches the log
        assert!(!s.log().iter().any(|line| line.contains("p2") || line.contains("v1")));
    });
}

#[test]
fn pushes_go_to_a_hub_of_their_group() {
    let s = Scheduler::with_policy(
        r#"
        [[push]]
        streams = ["*/live/*"]
        hubs = ["rtmp://h1/core", "rtmp://h2:1936/core"]
        [[push]]
        group = "archive"
        hubs = ["rtmp://h3/dvr"]
        [[node]]
        node = "h2:1936"
        weight = 0
        "#,
        &[],
    );
    for call in ["push", "meta"] {
        let location = |query: &str| {
            let reply = s.reply(call, "start", query).unwrap();
            assert_eq!(reply.header("domain").is_some(), reply.status == 302);
            reply.header("location").map_or(reply.status.to_string(), str::to_owned)
        };
        assert_eq!(location("name=s1&node=a"), "rtmp://h1/core");
        assert_eq!(location("name=s1"), "rtmp://h1/core");
        assert_eq!(location("name=s1&node=h1"), "rtmp://h2:1936/core");
        assert_eq!(location("name=s1&node=a&groupid=archive"), "rtmp://h3/dvr");
        assert_eq!(location("name=s1&node=h3&groupid=archive"), "200");
        assert_eq!(location("name=s1&node=a&groupid=other"), "200");
    }
    // the documentation sends meta to the url of push
    let meta = "/oclp/v1/push?call=meta&act=start&domain=d.com&app=vod&name=s1&a=c&b=d";
    assert_eq!(s.get(meta).unwrap().status, 200);
    let series = "oclp_scheduler_requests_total{call=\"meta\",act=\"start\",code=\"200\"}";
    assert_eq!(s.metric(series), 3.0);
}

#[test]
fn only_listed_nodes_may_record() {
    on_each_store("only_listed_nodes = true\nnode = [{ node = \"a\" }]", &[], |s| {
        assert_eq!(s.call("publish", "start", "name=s1&node=a"), 200);
        assert_eq!(s.call("publish", "start", "name=s1&node=evil"), 403);
        assert_eq!(s.call("publish", "update", "name=s1&node=evil"), 403);
        assert_eq!(s.init_process("evil", "0"), 403);
        assert_eq!(s.call("play", "start", "name=s1&node=evil"), 200);
        assert_eq!(s.json("/api/nodes")["total"], 1);
    });
}

#[test]
fn networks_may_be_closed_out() {
    let s = Scheduler::with_policy("[access]\nnodes = [\"10.0.0.0/8\"]", &[]);
    assert_eq!(s.call("play", "start", "name=s1"), 403);
    assert_eq!(s.get("/api/nodes").unwrap().status, 200);
    let s = Scheduler::with_policy("[access]\noperators = [\"10.0.0.0/8\"]", &[]);
    assert_eq!(s.call("play", "start", "name=s1"), 200);
    for path in ["/", "/api/nodes", "/api/streams", "/metrics"] {
        assert_eq!(s.get(path).unwrap().status, 403, "{path}");
    }
    assert_eq!(s.get("/healthz").unwrap().status, 200);
}
