//! Several schedulers on one Redis, and what happens when one of them, or Redis, goes away.

mod common;

use std::thread;
use std::time::{Duration, Instant};

use common::{free_port, until, Redis, Scheduler};

const AT_ONCE: &str = "wait = \"0s\"\n";

fn down(s: &Scheduler) {
    until("the store to be missed", || s.get("/healthz").unwrap().body != "ok\n");
}

fn up(s: &Scheduler) {
    until("the store to be back", || s.get("/healthz").unwrap().body == "ok\n");
}

#[test]
fn schedulers_share_what_they_hear_and_either_may_die() {
    let Some(redis) = Redis::start() else { return };
    let url = redis.url();
    let mut a = Scheduler::with_policy(AT_ONCE, &["--store", &url]);
    let b = Scheduler::with_policy(AT_ONCE, &["--store", &url]);
    assert_eq!(a.call("publish", "start", "name=s1&node=n1&worker=0"), 200);
    assert_eq!(b.call("publish", "start", "name=s2&node=n2&worker=0"), 200);
    for s in [&a, &b] {
        assert_eq!(s.pull("s1", "n3"), "rtmp://n1:1935/live/s1");
        assert_eq!(s.pull("s2", "n3"), "rtmp://n2:1935/live/s2");
        assert_eq!(s.pull("s3", "n3"), "404");
        assert_eq!(s.streams(), ["live/s1", "live/s2"]);
    }
    a.kill();
    assert_eq!(b.pull("s1", "n3"), "rtmp://n1:1935/live/s1");
    assert_eq!(b.call("publish", "update", "name=s1&node=n1&worker=0"), 200);
    assert_eq!(b.call("publish", "done", "name=s1&node=n1&worker=0"), 200);
    assert_eq!(b.pull("s1", "n3"), "404");
    // one that starts anew knows all at once, and has nothing to relearn
    let c = Scheduler::with_policy(&format!("{AT_ONCE}learn_at_start = true"), &["--store", &url]);
    assert_eq!(c.pull("s2", "n3"), "rtmp://n2:1935/live/s2");
    assert_eq!(c.pull("s1", "n3"), "404");
    assert_eq!(c.pull("s9", "n3"), "404");
    assert_eq!(c.init_process("n2", "0"), 200);
    assert_eq!(b.pull("s2", "n3"), "404");
}

#[test]
fn a_held_pull_is_answered_by_a_publisher_at_another_scheduler() {
    let Some(redis) = Redis::start() else { return };
    let [a, b] =
        [0, 1].map(|_| Scheduler::with_policy("wait = \"2500ms\"", &["--store", &redis.url()]));
    a.call("publish", "start", "name=s1&node=n1");
    a.call("publish", "done", "name=s1&node=n1");
    thread::scope(|scope| {
        let held = scope.spawn(|| a.pull("s1", "n3"));
        thread::sleep(Duration::from_millis(300));
        assert!(!held.is_finished());
        b.call("publish", "start", "name=s1&node=n2");
        assert_eq!(held.join().unwrap(), "rtmp://n2:1935/live/s1");
    });
}

#[test]
fn without_redis_no_wrong_answer_is_given() {
    let Some(mut redis) = Redis::start() else { return };
    let policy =
        "wait = \"0s\"\nlearn = \"2s\"\n[publish]\ntokens = [\"t\"]\n[play]\ndeny = [\"*/live/x\"]";
    let s = Scheduler::with_policy(policy, &["--store", &redis.url()]);
    assert_eq!(s.call("publish", "start", "name=s1&node=a&worker=0&token=t"), 200);
    redis.stop();
    down(&s);
    // what needs no record is decided as ever
    assert_eq!(s.call("publish", "start", "name=s2&node=a&token=wrong"), 403);
    assert_eq!(s.call("play", "start", "name=s1"), 200);
    assert_eq!(s.call("play", "start", "name=x"), 403);
    assert_eq!(s.call("push", "start", "name=s1&node=a"), 200);
    // a publisher is let in, so that its updates will tell of it
    assert_eq!(s.call("publish", "start", "name=s2&node=a&worker=0&token=t"), 200);
    // nobody knows: the node asks again
    assert_eq!(s.pull("s1", "b"), "no answer");
    assert_eq!(s.pull("s9", "b"), "no answer");
    assert_eq!(s.call("publish", "update", "name=s1&node=a&worker=0"), 0);
    assert_eq!(s.call("publish", "done", "name=s1&node=a&worker=0"), 0);
    assert_eq!(s.init_process("a", "0"), 0);
    assert_eq!(s.get("/api/streams").unwrap().status, 503);
    assert_eq!(s.get("/api/nodes").unwrap().status, 503);
    assert_eq!(s.metric("oclp_scheduler_store_up"), 0.0);
    assert!(s.metric("oclp_scheduler_store_errors_total") > 0.0);

    // it comes back empty
    redis.start_again();
    up(&s);
    assert_eq!(s.metric("oclp_scheduler_store_up"), 1.0);
    assert_eq!(s.pull("s1", "b"), "no answer");
    assert_eq!(s.call("publish", "update", "name=s1&node=a&worker=0"), 200);
    assert_eq!(s.call("publish", "update", "name=s2&node=a&worker=0"), 200);
    assert_eq!(s.pull("s1", "b"), "rtmp://a:1935/live/s1");
    assert_eq!(s.pull("s2", "b"), "rtmp://a:1935/live/s2");
    assert_eq!(s.pull("s9", "b"), "no answer");
    until("the end of learning", || s.pull("s9", "b") == "404");
    assert_eq!(s.pull("s1", "b"), "rtmp://a:1935/live/s1");
}

#[test]
fn a_write_that_got_lost_makes_every_scheduler_learn() {
    let Some(redis) = Redis::start() else { return };
    let policy = "wait = \"0s\"\nlearn = \"60s\"";
    let [a, b] = [0, 1].map(|_| Scheduler::with_policy(policy, &["--store", &redis.url()]));
    assert_eq!(b.pull("s9", "n3"), "404");
    // Redis keeps its record, but nobody can reach it for a while
    redis.signal("STOP");
    assert_eq!(a.call("publish", "start", "name=s1&node=n1"), 200);
    redis.signal("CONT");
    up(&a);
    until("learning", || b.metric("oclp_scheduler_learning") == 1.0);
    up(&b);
    assert_eq!(b.pull("s9", "n3"), "no answer");
}

#[test]
fn a_redis_that_hangs_costs_no_more_than_nodes_wait() {
    let Some(redis) = Redis::start() else { return };
    let s = Scheduler::with_policy(AT_ONCE, &["--store", &redis.url()]);
    s.call("publish", "start", "name=s1&node=a");
    redis.signal("STOP");
    for _ in 0..3 {
        let began = Instant::now();
        assert_eq!(s.pull("s1", "b"), "no answer");
        assert!(began.elapsed() < Duration::from_millis(2500), "{:?}", began.elapsed());
    }
    redis.signal("CONT");
    up(&s);
    assert_eq!(s.pull("s1", "b"), "rtmp://a:1935/live/s1");
}

#[test]
fn an_emptied_redis_is_noticed() {
    let Some(redis) = Redis::start() else { return };
    let s = Scheduler::with_policy(AT_ONCE, &["--store", &redis.url()]);
    s.call("publish", "start", "name=s1&node=a");
    assert_eq!(s.pull("s9", "b"), "404");
    redis.command("FLUSHALL");
    assert_eq!(s.pull("s1", "b"), "no answer");
    assert_eq!(s.call("publish", "update", "name=s1&node=a"), 200);
    assert_eq!(s.pull("s1", "b"), "rtmp://a:1935/live/s1");
    assert_eq!(s.pull("s9", "b"), "no answer");
}

#[test]
fn a_restarted_redis_may_have_an_old_record() {
    let Some(mut redis) = Redis::start_with(&[
        "--appendonly",
        "yes",
        "--appendfsync",
        "always",
        "--appenddirname",
        &format!("aof-{}", std::process::id()),
    ]) else {
        return;
    };
    let s = Scheduler::with_policy(AT_ONCE, &["--store", &redis.url()]);
    s.call("publish", "start", "name=s1&node=a");
    redis.stop();
    down(&s);
    redis.start_again();
    up(&s);
    // what it kept is used, what it does not have may have been lost
    assert_eq!(s.pull("s1", "b"), "rtmp://a:1935/live/s1");
    assert_eq!(s.pull("s9", "b"), "no answer");
}

#[test]
fn a_scheduler_starts_before_its_redis() {
    let port = free_port();
    let s = Scheduler::with_policy(AT_ONCE, &["--store", &format!("redis://127.0.0.1:{port}/0")]);
    s.log_line("store unavailable");
    assert_eq!(s.call("publish", "start", "name=s1&node=a"), 200);
    assert_eq!(s.pull("s1", "b"), "no answer");
}

#[test]
fn nothing_stays_in_redis_when_leases_have_ended() {
    let Some(redis) = Redis::start() else { return };
    let s = Scheduler::with_policy(
        "wait = \"0s\"\nlearn = \"0s\"",
        &["--store", &redis.url(), "--lease", "1s"],
    );
    for i in 0..50 {
        s.call("publish", "start", &format!("name=s{i}&node=n{}&worker={}", i % 5, i % 3));
        s.call("publish", "start", &format!("name=s{i}&node=other&worker=0"));
    }
    assert_eq!(s.metric("oclp_scheduler_streams"), 50.0);
    until("the end of all leases", || s.metric("oclp_scheduler_leases_expired_total") == 100.0);
    assert_eq!(s.streams(), Vec::<String>::new());
    let keys = redis.command("EVAL \"return table.concat(redis.call('KEYS', '*'), ' ')\" 0");
    assert!(keys.starts_with('$'), "{keys}");
    let count = redis.command("DBSIZE");
    // nodes, starts, run and ticked
    assert_eq!(count.trim(), ":4");
}

#[test]
fn another_programs_keys_are_an_error_not_a_panic() {
    let Some(redis) = Redis::start() else { return };
    redis.command("SET {oclp}:streams nonsense");
    let s = Scheduler::with_policy(AT_ONCE, &["--store", &redis.url()]);
    assert_eq!(s.call("publish", "start", "name=s1&node=a"), 200);
    assert_eq!(s.get("/api/streams").unwrap().status, 503);
    redis.command("DEL {oclp}:streams");
    up(&s);
    until("an update to be recorded", || s.call("publish", "update", "name=s1&node=a") == 200);
    assert_eq!(s.pull("s1", "b"), "rtmp://a:1935/live/s1");
}

#[test]
fn a_clock_that_jumps_ahead_makes_no_live_stream_unknown() {
    let Some(redis) = Redis::start_with_clock() else { return };
    let s = Scheduler::with_policy(AT_ONCE, &["--store", &redis.url()]);
    assert_eq!(s.call("publish", "start", "name=s1&node=n1&worker=0"), 200);
    assert_eq!(s.pull("s1", "n3"), "rtmp://n1:1935/live/s1");
    assert_eq!(s.pull("s2", "n3"), "404");
    redis.set_clock(3600);
    // whatever comes first, the pull or a tick of the scheduler
    for _ in 0..20 {
        assert_eq!(s.pull("s1", "n3"), "no answer");
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(s.call("publish", "update", "name=s1&node=n1&worker=0"), 200);
    assert_eq!(s.pull("s1", "n3"), "rtmp://n1:1935/live/s1");
}

#[test]
fn a_clock_that_is_set_back_makes_no_lease_longer() {
    let Some(redis) = Redis::start_with_clock() else { return };
    redis.set_clock(3600);
    let policy = format!("{AT_ONCE}learn = \"0s\"\nlease = \"3s\"");
    let s = Scheduler::with_policy(&policy, &["--store", &redis.url()]);
    assert_eq!(s.call("publish", "start", "name=s1&node=n1&worker=0"), 200);
    redis.set_clock(0);
    assert_eq!(s.pull("s1", "n3"), "rtmp://n1:1935/live/s1");
    until("the lease to end", || s.pull("s1", "n3") == "404");
}
