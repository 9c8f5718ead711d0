//! Which node has which stream: every behaviour on both stores.

mod common;

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use common::{on_each_store, until, Scheduler};

/// No held pulls, so that 404 comes at once.
const AT_ONCE: &str = "wait = \"0s\"\n";

#[test]
fn a_published_stream_is_found_and_a_done_one_is_not() {
    on_each_store(AT_ONCE, &[], |s| {
        assert_eq!(s.pull("s1", "b"), "404");
        assert_eq!(s.call("publish", "start", "name=s1&node=a&worker=0"), 200);
        assert_eq!(s.pull("s1", "b"), "rtmp://a:1935/live/s1");
        assert_eq!(s.pull("s2", "b"), "404");
        assert_eq!(s.call("publish", "done", "name=s1&node=a&worker=0"), 200);
        assert_eq!(s.pull("s1", "b"), "404");
    });
}

#[test]
fn a_redirection_carries_the_domain_of_the_client() {
    on_each_store("domains = \"ignore\"", &[], |s| {
        s.call("publish", "start", "name=s1&node=a");
        let reply = s.get("/oclp/v1/pull?call=pull&act=start&domain=other.com&app=live&name=s1");
        let reply = reply.unwrap();
        assert_eq!((reply.status, reply.header("domain")), (302, Some("other.com")));
    });
}

#[test]
fn domains_are_kept_apart_but_addresses_are_one() {
    on_each_store(AT_ONCE, &[], |s| {
        let call = |call, domain| {
            let path = format!(
                "/oclp/v1/{call}?call={call}&act=start&domain={domain}&app=live&name=s&node=a"
            );
            s.get(&path.replace("pull&", "pull&x=y&").replace(
                "node=a",
                match call {
                    "pull" => "node=b",
                    _ => "node=a",
                },
            ))
            .unwrap()
            .status
        };
        assert_eq!(call("publish", "a.com"), 200);
        assert_eq!(call("pull", "A.COM"), 302);
        assert_eq!(call("pull", "b.com"), 404);
        assert_eq!(call("pull", "10.0.0.1"), 404);
        assert_eq!(call("publish", "10.0.0.1"), 200);
        assert_eq!(call("pull", "10.0.0.2"), 302);
    });
}

#[test]
fn start_and_done_are_idempotent() {
    on_each_store(AT_ONCE, &[], |s| {
        for _ in 0..3 {
            assert_eq!(s.call("publish", "start", "name=s1&node=a&worker=0"), 200);
        }
        assert_eq!(s.json("/api/nodes")["nodes"][0]["streams"], 1);
        for _ in 0..3 {
            assert_eq!(s.call("publish", "done", "name=s1&node=a&worker=0"), 200);
        }
        assert_eq!(s.streams(), Vec::<String>::new());
        assert_eq!(s.json("/api/nodes")["nodes"][0]["streams"], 0);
    });
}

#[test]
fn a_node_is_never_sent_to_itself() {
    on_each_store(AT_ONCE, &[], |s| {
        s.call("publish", "start", "name=s1&node=a");
        // 404 would send its players away, 200 only says that there is nothing to pull
        assert_eq!(s.pull("s1", "a"), "200");
        assert_eq!(s.pull("s1", "a:1935"), "200");
        assert_eq!(s.pull("s1", "a:1936"), "rtmp://a:1935/live/s1");
        s.call("publish", "start", "name=s1&node=c");
        assert_eq!(s.pull("s1", "a"), "rtmp://c:1935/live/s1");
        assert_eq!(s.pull("s1", "c"), "rtmp://a:1935/live/s1");
    });
}

#[test]
fn a_port_alone_is_at_the_address_of_the_request() {
    on_each_store(AT_ONCE, &[], |s| {
        s.call("publish", "start", "name=s1&node=:1940&http=:8080");
        assert_eq!(s.pull("s1", ":1941"), "rtmp://127.0.0.1:1940/live/s1");
        assert_eq!(s.pull("s1", ":1940"), "200");
        let holding = &s.json("/api/streams")["streams"][0]["nodes"][0];
        assert_eq!(holding["http"], "127.0.0.1:8080");
    });
}

#[test]
fn the_newest_publisher_wins_and_a_stale_done_does_not_hurt_it() {
    on_each_store(AT_ONCE, &[], |s| {
        s.call("publish", "start", "name=s1&node=a&worker=0");
        s.call("publish", "start", "name=s1&node=b&worker=0");
        assert_eq!(s.pull("s1", "c"), "rtmp://b:1935/live/s1");
        // an update does not make the older one newer
        s.call("publish", "update", "name=s1&node=a&worker=0");
        assert_eq!(s.pull("s1", "c"), "rtmp://b:1935/live/s1");
        s.call("publish", "done", "name=s1&node=a&worker=0");
        assert_eq!(s.pull("s1", "c"), "rtmp://b:1935/live/s1");
    });
}

#[test]
fn the_older_publisher_takes_over_when_the_newest_ends() {
    on_each_store(AT_ONCE, &[], |s| {
        s.call("publish", "start", "name=s1&node=a&worker=0");
        s.call("publish", "start", "name=s1&node=b&worker=0");
        s.call("publish", "done", "name=s1&node=b&worker=0");
        assert_eq!(s.pull("s1", "c"), "rtmp://a:1935/live/s1");
    });
}

#[test]
fn a_done_of_another_worker_or_client_is_stale() {
    on_each_store(AT_ONCE, &[], |s| {
        // the publisher has come back on another worker before the first one noticed
        s.call("publish", "start", "name=s1&node=a&worker=0");
        s.call("publish", "start", "name=s1&node=a&worker=1");
        s.call("publish", "done", "name=s1&node=a&worker=0");
        assert_eq!(s.pull("s1", "b"), "rtmp://a:1935/live/s1");
        // a second publisher on the same node is told apart by client=
        s.call("publish", "start", "name=s2&node=a&worker=0&client=c1");
        s.call("publish", "start", "name=s2&node=a&worker=0&client=c2");
        s.call("publish", "done", "name=s2&node=a&worker=0&client=c2");
        assert_eq!(s.pull("s2", "b"), "rtmp://a:1935/live/s2");
        s.call("publish", "done", "name=s2&node=a&worker=0&client=c1");
        assert_eq!(s.pull("s2", "b"), "404");
    });
}

#[test]
fn the_first_publisher_wins_if_the_policy_says_so() {
    on_each_store("wait = \"0s\"\nconflict = \"first\"", &[], |s| {
        assert_eq!(s.call("publish", "start", "name=s1&node=a&worker=0"), 200);
        let refused = s.reply("publish", "start", "name=s1&node=b&worker=0").unwrap();
        assert_eq!((refused.status, refused.body.as_str()), (403, "already published on a:1935\n"));
        assert_eq!(s.call("publish", "start", "name=s1&node=a&worker=1"), 200);
        s.call("publish", "done", "name=s1&node=a&worker=1");
        assert_eq!(s.call("publish", "start", "name=s1&node=b&worker=0"), 200);
        assert_eq!(s.pull("s1", "c"), "rtmp://b:1935/live/s1");
    });
}

#[test]
fn nodes_share_by_weight_and_weight_zero_is_the_last_resort() {
    let policy = "
        wait = \"0s\"
        conflict = \"share\"
        node = [{ node = \"a\", weight = 3 }, { node = \"b\" }, { node = \"c\", weight = 0 }]";
    on_each_store(policy, &[], |s| {
        for node in ["a", "b", "c"] {
            s.call("publish", "start", &format!("name=s1&node={node}"));
        }
        let mut count = BTreeMap::new();
        for _ in 0..200 {
            *count.entry(s.pull("s1", "d")).or_insert(0) += 1;
        }
        assert_eq!(count.len(), 2, "{count:?}");
        assert!((110..190).contains(&count["rtmp://a:1935/live/s1"]), "{count:?}");
        s.call("publish", "done", "name=s1&node=a");
        s.call("publish", "done", "name=s1&node=b");
        assert_eq!(s.pull("s1", "d"), "rtmp://c:1935/live/s1");
    });
}

#[test]
fn a_lease_ends_unless_updates_renew_it() {
    on_each_store("wait = \"0s\"\nlearn = \"0s\"", &["--lease", "1s"], |s| {
        s.call("publish", "start", "name=kept&node=a");
        s.call("publish", "start", "name=lost&node=b");
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(3) {
            assert_eq!(s.call("publish", "update", "name=kept&node=a"), 200);
            assert_eq!(s.pull("kept", "c"), "rtmp://a:1935/live/kept");
            thread::sleep(Duration::from_millis(100));
        }
        assert_eq!(s.pull("lost", "c"), "404");
        assert_eq!(s.streams(), ["live/kept"]);
        assert_eq!(s.metric("oclp_scheduler_leases_expired_total"), 1.0);
        let nodes = s.json("/api/nodes");
        let streams_of = |i: usize| nodes["nodes"][i]["streams"].as_u64().unwrap();
        assert_eq!((streams_of(0), streams_of(1)), (1, 0));
    });
}

#[test]
fn an_update_relearns_a_stream_that_is_not_known() {
    on_each_store("wait = \"0s\"\nlearn = \"1s\"", &[], |s| {
        s.call("publish", "start", "name=ended&node=a");
        s.call("publish", "done", "name=ended&node=a");
        assert_eq!(s.pull("s2", "b"), "404");
        assert_eq!(s.call("publish", "update", "name=s1&node=a"), 200);
        assert_eq!(s.pull("s1", "b"), "rtmp://a:1935/live/s1");
        assert_eq!(s.metric("oclp_scheduler_streams_relearned_total"), 1.0);
        // others may have been forgotten as well: no 404 for what may be there, but for what has ended
        assert_eq!(s.pull("s2", "b"), "no answer");
        assert_eq!(s.pull("ended", "b"), "404");
        assert_eq!(s.metric("oclp_scheduler_learning"), 1.0);
        until("the end of learning", || s.pull("s2", "b") == "404");
        assert_eq!(s.metric("oclp_scheduler_learning"), 0.0);
    });
}

#[test]
fn learning_at_start_leaves_unknown_streams_unanswered() {
    on_each_store("wait = \"0s\"\nlearn = \"2s\"\nlearn_at_start = true", &[], |s| {
        assert_eq!(s.pull("s1", "b"), "no answer");
        s.call("publish", "update", "name=s1&node=a");
        assert_eq!(s.pull("s1", "b"), "rtmp://a:1935/live/s1");
        until("the end of learning", || s.pull("s2", "b") == "404");
    });
}

#[test]
fn init_process_forgets_the_streams_of_that_worker_only() {
    on_each_store(AT_ONCE, &[], |s| {
        for (name, node, worker) in [("s1", "a", 0), ("s2", "a", 1), ("s3", "b", 0), ("s4", "a", 0)]
        {
            s.call("publish", "start", &format!("name={name}&node={node}&worker={worker}"));
        }
        assert_eq!(s.init_process("a", "0"), 200);
        assert_eq!(s.streams(), ["live/s2", "live/s3"]);
        assert_eq!(s.pull("s1", "c"), "404");
        assert_eq!(s.init_process("a", "0"), 200);
        assert_eq!(s.init_process("unknown", "7"), 200);
        assert_eq!(s.streams(), ["live/s2", "live/s3"]);
    });
}

#[test]
fn init_process_may_await_an_update_instead() {
    let policy = "wait = \"0s\"\nlearn = \"1s\"\ninit_process = \"await-update\"";
    on_each_store(policy, &[], |s| {
        s.call("publish", "start", "name=dead&node=a&worker=0");
        s.call("publish", "start", "name=alive&node=a&worker=0");
        assert_eq!(s.init_process("a", "0"), 200);
        // after a reload the old worker lives on
        assert_eq!(s.pull("alive", "b"), "rtmp://a:1935/live/alive");
        s.call("publish", "update", "name=alive&node=a&worker=0");
        until("the end of the dead", || s.pull("dead", "b") == "404");
        assert_eq!(s.pull("alive", "b"), "rtmp://a:1935/live/alive");
        until("the list", || s.streams() == ["live/alive"]);
    });
}

#[test]
fn a_pull_of_a_node_shows_that_its_own_record_is_out_of_date() {
    on_each_store(AT_ONCE, &[], |s| {
        s.call("publish", "start", "name=s1&node=a");
        // its publish may have overtaken its pull
        assert_eq!(s.pull("s1", "a"), "200");
        assert_eq!(s.pull("s1", "b"), "rtmp://a:1935/live/s1");
        thread::sleep(Duration::from_millis(5100));
        assert_eq!(s.pull("s1", "a"), "404");
        assert_eq!(s.pull("s1", "b"), "404");
        assert_eq!(s.streams(), Vec::<String>::new());
    });
}

#[test]
fn a_pull_of_an_ended_stream_waits_for_its_publisher() {
    on_each_store("wait = \"2500ms\"", &[], |s| {
        s.call("publish", "start", "name=s1&node=a");
        s.call("publish", "done", "name=s1&node=a");
        thread::scope(|scope| {
            let held = scope.spawn(|| (s.pull("s1", "c"), Instant::now()));
            // the pull is held, not answered
            thread::sleep(Duration::from_millis(300));
            assert!(!held.is_finished());
            s.call("publish", "start", "name=s1&node=b");
            let published = Instant::now();
            let (answer, at) = held.join().unwrap();
            assert_eq!(answer, "rtmp://b:1935/live/s1");
            assert!(at.saturating_duration_since(published) < Duration::from_millis(200));
        });
    });
}

#[test]
fn a_pull_of_a_node_whose_own_publisher_ends_or_comes_back() {
    on_each_store("wait = \"1s\"", &[], |s| {
        // the end of its publisher is still on its way, behind the pull
        s.call("publish", "start", "name=s1&node=a");
        thread::scope(|scope| {
            let held = scope.spawn(|| s.pull("s1", "a"));
            thread::sleep(Duration::from_millis(200));
            s.call("publish", "done", "name=s1&node=a");
            assert_eq!(held.join().unwrap(), "404");
        });
        // a publisher comes to the very node that asks
        thread::scope(|scope| {
            s.call("publish", "start", "name=s2&node=b");
            s.call("publish", "done", "name=s2&node=b");
            let held = scope.spawn(|| s.pull("s2", "a"));
            thread::sleep(Duration::from_millis(200));
            s.call("publish", "start", "name=s2&node=a");
            assert_eq!(held.join().unwrap(), "200");
        });
    });
}

#[test]
fn a_pull_is_held_no_longer_than_wait() {
    on_each_store("wait = \"500ms\"", &[], |s| {
        s.call("publish", "start", "name=s1&node=a");
        s.call("publish", "done", "name=s1&node=a");
        let began = Instant::now();
        assert_eq!(s.pull("s1", "c"), "404");
        assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        // the stream's end is long enough ago now, and a stream never heard of is not waited for
        let began = Instant::now();
        assert_eq!(s.pull("s1", "c"), "404");
        assert_eq!(s.pull("s2", "c"), "404");
        assert!(began.elapsed() < Duration::from_millis(400), "{:?}", began.elapsed());
    });
}

#[test]
fn names_of_all_bytes_keep_their_identity() {
    on_each_store(AT_ONCE, &[], |s| {
        for name in
            ["a%20b", "a%26b%3Dc", "%E7%9B%B4%E6%92%AD", "%ff%fe", "a%2Fb", "a%3Fx", "%25", "a+b"]
        {
            assert_eq!(s.pull(name, "b"), "404", "{name}");
            assert_eq!(s.call("publish", "start", &format!("name={name}&node=a")), 200);
            let location = s.pull(name, "b");
            match name {
                // what a Location can carry as it is
                "a%2Fb" => assert_eq!(location, "rtmp://a:1935/live/a/b"),
                // the asking node fills up with its own app and name
                _ => assert_eq!(location, "rtmp://a:1935", "{name}"),
            }
        }
        // two spellings, one stream
        assert_eq!(s.pull("%e7%9b%b4%E6%92%AD", "b"), "rtmp://a:1935");
        assert_eq!(s.pull("a%2bb", "b"), "rtmp://a:1935");
        assert!(s.streams().contains(&"live/直播".to_owned()));
        assert_eq!(s.streams().len(), 8);
    });
}

#[test]
fn an_app_of_two_levels_is_left_to_the_asking_node() {
    on_each_store(AT_ONCE, &[], |s| {
        let path = |call, node| {
            format!("/oclp/v1/x?call={call}&act=start&domain=&app=live/hd&name=s1&node={node}")
        };
        s.get(&path("publish", "a"));
        let reply = s.get(&path("pull", "b")).unwrap();
        assert_eq!(reply.header("location"), Some("rtmp://a:1935"));
        assert_eq!(reply.header("domain"), None);
    });
}

#[test]
fn pulls_go_over_http_where_the_node_told_its_address() {
    on_each_store("[pull]\nover = \"http\"", &[], |s| {
        s.call("publish", "start", "name=s1&node=a&http=a:8080");
        s.call("publish", "start", "name=s2&node=a");
        assert_eq!(s.pull("s1", "b"), "http://a:8080/live/s1");
        assert_eq!(s.pull("s2", "b"), "rtmp://a:1935/live/s2");
    });
}

#[test]
fn an_app_is_looked_for_in_another() {
    on_each_store("wait = \"0s\"\n[pull.apps]\nedge = \"live\"", &[], |s| {
        let pull = |name: &str| {
            let path = format!(
                "/oclp/v1/pull?call=pull&act=start&domain=d.com&app=edge&name={name}&node=b"
            );
            s.get(&path).unwrap().header("location").map(str::to_owned)
        };
        s.call("publish", "start", "name=s1&node=a");
        s.call("publish", "start", "name=a%20b&node=a");
        assert_eq!(pull("s1").as_deref(), Some("rtmp://a:1935/live/s1"));
        assert_eq!(pull("a%20b").as_deref(), Some("rtmp://a:1935/live"));
        assert_eq!(pull("s2"), None);
    });
}

#[test]
fn an_app_of_two_levels_is_named_with_its_slash_encoded() {
    on_each_store("wait = \"0s\"\n[pull.apps]\nedge = \"core/hd\"", &[], |s| {
        let ask = |call: &str, app: &str, name: &str, node: &str| {
            let path = format!(
                "/oclp/v1/x?call={call}&act=start&domain=d.com&app={app}&name={name}&node={node}"
            );
            s.get(&path).unwrap().header("location").map(str::to_owned)
        };
        for name in ["s1", "room/s1", "a%20b"] {
            ask("publish", "core/hd", name, "a");
        }
        let pull = |name| ask("pull", "edge", name, "b");
        assert_eq!(pull("s1").as_deref(), Some("rtmp://a:1935/core%2Fhd/s1"));
        assert_eq!(pull("room/s1").as_deref(), Some("rtmp://a:1935/core%2Fhd/room/s1"));
        assert_eq!(pull("a%20b").as_deref(), Some("rtmp://a:1935/core%2Fhd"));
    });
}

#[test]
fn an_origin_has_what_no_node_has() {
    let policy = "wait = \"0s\"\n[pull]\norigin = \"http://origin.example.com:8080\"";
    on_each_store(policy, &[], |s| {
        assert_eq!(s.pull("s1", "b"), "http://origin.example.com:8080/live/s1");
        s.call("publish", "start", "name=s1&node=a");
        assert_eq!(s.pull("s1", "b"), "rtmp://a:1935/live/s1");
    });
}

#[test]
fn streams_come_in_pages_and_in_order() {
    on_each_store("", &[], |s| {
        let names = (0..25).map(|i| format!("s%20{i:02}")).collect::<Vec<_>>();
        for name in names.iter().rev() {
            s.call("publish", "start", &format!("name={name}&node=a"));
        }
        let mut seen = Vec::new();
        let mut path = "/api/streams?limit=10".to_owned();
        loop {
            let page = s.json(&path);
            assert_eq!(page["total"], 25);
            let streams = page["streams"].as_array().unwrap();
            assert!(streams.len() <= 10);
            seen.extend(streams.iter().map(|s| s["name"].as_str().unwrap().to_owned()));
            match page["next"].as_str() {
                Some(next) => path = format!("/api/streams?limit=10&after={next}"),
                None => break,
            }
        }
        assert_eq!(seen, names.iter().map(|n| n.replace("%20", " ")).collect::<Vec<_>>());
        for bad in ["limit=0", "limit=1001", "limit=x", "after=nonsense"] {
            assert_eq!(s.get(&format!("/api/streams?{bad}")).unwrap().status, 400, "{bad}");
        }
    });
}

#[test]
fn nodes_are_listed_with_what_they_have() {
    on_each_store("node = [{ node = \"b\", weight = 5 }]", &[], |s| {
        s.init_process("b", "0");
        s.call("publish", "start", "name=s1&node=a&http=a:8080");
        s.call("publish", "start", "name=s2&node=a");
        s.call("play", "start", "name=s2&node=c");
        let answer = s.json("/api/nodes");
        assert_eq!(answer["total"], 3);
        let nodes = answer["nodes"].as_array().unwrap();
        let brief = nodes.iter().map(|n| {
            let text = |key: &str| n[key].as_str().unwrap_or("-").to_owned();
            (
                text("node"),
                text("http"),
                n["streams"].as_u64().unwrap(),
                n["weight"].as_u64().unwrap(),
            )
        });
        let of = |node: &str, http: &str, streams, weight| {
            (format!("{node}:1935"), http.to_owned(), streams, weight)
        };
        assert_eq!(
            brief.collect::<Vec<_>>(),
            [of("a", "a:8080", 2, 1), of("b", "-", 0, 5), of("c", "-", 0, 1)]
        );
    });
}

#[test]
fn the_record_is_bounded() {
    on_each_store(AT_ONCE, &["--max-streams", "3"], |s| {
        for i in 0..3 {
            assert_eq!(s.call("publish", "start", &format!("name=s{i}&node=a")), 200);
        }
        let refused = s.reply("publish", "start", "name=s3&node=a").unwrap();
        assert_eq!(refused.status, 403);
        assert!(refused.body.contains("3 streams"), "{}", refused.body);
        // one more node of a known stream is no further stream
        assert_eq!(s.call("publish", "start", "name=s0&node=b"), 200);
        s.call("publish", "done", "name=s1&node=a");
        assert_eq!(s.call("publish", "start", "name=s3&node=a"), 200);
        // the newest few publishers of one stream
        for i in 0..20 {
            assert_eq!(s.call("publish", "start", &format!("name=s3&node=n{i}")), 200);
        }
        let streams = s.json("/api/streams");
        let s3 = &streams["streams"][2];
        assert_eq!((s3["name"].as_str(), s3["nodes"].as_array().unwrap().len()), (Some("s3"), 8));
        assert_eq!(s.pull("s3", "b"), "rtmp://n19:1935/live/s3");
    });
}

#[test]
fn a_restarted_scheduler_learns_from_updates() {
    let mut first = Scheduler::with_policy(AT_ONCE, &[]);
    first.call("publish", "start", "name=s1&node=a&worker=0");
    first.kill();
    let address = first.address.to_string();
    let second = Scheduler::start_at(&address, &[]);
    assert_eq!(second.call("publish", "update", "name=s1&node=a&worker=0"), 200);
    assert_eq!(second.pull("s1", "b"), "rtmp://a:1935/live/s1");
    assert_eq!(second.call("publish", "done", "name=s1&node=a&worker=0"), 200);
    assert_eq!(second.streams(), Vec::<String>::new());
}
