//! Players that are too slow, and what a stream holds for them.

mod sim;
use live::{Form, Settings};
use sim::*;

/// A stream on which a player has `room` for what comes, and what it is sent.
fn slow(settings: Settings, room: usize) -> (World, Publisher, Player) {
    let world = World::new();
    let stream = world.stream(settings);
    let player = world.join(&stream, RTMP, Peer::with_room(room));
    let publisher = world.publish(&stream);
    publisher.say(0, "H K1");
    world.turn();
    (world, publisher, player)
}

#[test]
fn one_that_is_not_too_far_behind_misses_nothing() {
    let (world, publisher, player) = slow(settings(), 30);
    for n in 0..100 {
        publisher.say(80 + 40 * n, "I2");
        world.pass(40);
    }
    player.read(usize::MAX);
    let got = player.news();
    assert_eq!(got.split(' ').count(), 102);
}

#[test]
fn one_that_is_too_far_behind_in_time_goes_on_at_a_key_frame() {
    let (world, publisher, player) = slow(Settings { out_queue_time: 1000, ..settings() }, 30);
    for n in 0..50 {
        publisher.say(80 + 40 * n, if n % 10 == 9 { "K3" } else { "I2" });
        world.pass(40);
    }
    player.read(usize::MAX);
    world.turn();
    let got = player.news();
    assert!(got.starts_with("H K1 H K3"), "what has begun, the headers, a key frame: {got}");
    assert!(got.split(' ').count() < 40, "{got}");
}

#[test]
fn one_that_is_too_far_behind_in_bytes_goes_on_at_a_key_frame() {
    let (world, publisher, player) = slow(Settings { out_queue_size: 64 << 10, ..settings() }, 30);
    for n in 0..30 {
        publisher.say_long(80 + n, if n % 10 == 9 { "K3" } else { "I2" }, 10_000);
        world.turn();
    }
    player.read(usize::MAX);
    world.turn();
    let messages = player.messages();
    assert!(player.got().starts_with("H K1 H K3"), "{}", player.got());
    let bytes: usize = messages.iter().map(|got| got.payload.len()).sum();
    assert!(bytes <= 110_000, "{bytes}");
}

#[test]
fn without_a_key_frame_it_waits_for_one() {
    let (world, publisher, player) = slow(Settings { out_queue_time: 1000, ..settings() }, 30);
    for n in 0..40 {
        publisher.say(80 + 40 * n, "I2");
        world.pass(40);
    }
    player.read(usize::MAX);
    publisher.say(2000, "I4 K5 I6");
    world.turn();
    assert_eq!(player.news(), "H K1 H K5 I6");
}

#[test]
fn one_that_was_moved_often_enough_is_ended() {
    let limits = Settings { out_queue_time: 500, out_queue_drops: Some(2), ..settings() };
    let (world, publisher, player) = slow(limits, 30);
    let mut ended_after = 0;
    for n in 0..100 {
        publisher.say(80 + 40 * n, if n % 5 == 4 { "K3" } else { "I2" });
        world.pass(40);
        if player.end().is_none() {
            ended_after = n;
        }
    }
    assert_eq!(player.end().as_deref(), Some("too slow, 2 times"));
    assert!((20..50).contains(&ended_after), "{ended_after}");
}

#[test]
fn low_latency_moves_it_to_each_key_frame() {
    let (world, publisher, player) = slow(Settings { low_latency: true, ..settings() }, 30);
    publisher.say(80, "I2 K3 I4 I5");
    world.turn();
    player.read(usize::MAX);
    assert_eq!(player.news(), "H K1 H K3 I4 I5");
}

#[test]
fn without_it_a_key_frame_moves_nobody() {
    let (world, publisher, player) = slow(settings(), 30);
    publisher.say(80, "I2 K3 I4 I5");
    world.turn();
    player.read(usize::MAX);
    assert_eq!(player.news(), "H K1 I2 K3 I4 I5");
}

#[test]
fn one_that_takes_all_is_never_moved() {
    let (world, publisher, player) = slow(
        Settings { low_latency: true, out_queue_time: 1, out_queue_size: 1, ..settings() },
        usize::MAX,
    );
    publisher.say(80, "I2 K3 I4 K5");
    world.pass(5000);
    publisher.say(240, "I6");
    world.turn();
    assert_eq!(player.news(), "H K1 I2 K3 I4 K5 I6");
}

#[test]
fn what_a_player_was_behind_when_it_came_is_not_its_own_doing() {
    let world = World::new();
    let limits = Settings { out_queue_size: 64 << 10, ..cached(10_000) };
    let stream = world.stream(limits);
    let publisher = world.publish(&stream);
    publisher.say(0, "H K1");
    for n in 0..20 {
        publisher.say_long(80 + 40 * n, "I2", 10_000);
    }
    world.pass(600);
    let player = world.join(&stream, RTMP, Peer::with_room(5000));
    publisher.say(900, "I3");
    world.pass(40);
    player.read(usize::MAX);
    assert_eq!(player.news().split(' ').count(), 23);
}

#[test]
fn a_worker_that_stood_still_has_nobody_behind() {
    let (world, publisher, player) = slow(Settings { out_queue_time: 3000, ..settings() }, 30);
    publisher.say(80, "I2");
    world.turn();
    world.stall(60_000);
    publisher.say(120, "I3");
    world.turn();
    player.read(usize::MAX);
    assert_eq!(player.news(), "H K1 I2 I3");
}

#[test]
fn a_message_that_has_begun_is_completed_wherever_it_is_cut() {
    for room in (1..300).step_by(7) {
        let (world, publisher, player) = slow(Settings { low_latency: true, ..settings() }, room);
        publisher.say_long(80, "I2", 200);
        publisher.say(120, "K3");
        world.turn();
        publisher.say(160, "I4 K5");
        world.turn();
        player.read(usize::MAX);
        assert!(player.is_between_messages(), "cut after {room} bytes");
        assert!(player.got().ends_with("K5"), "cut after {room} bytes: {}", player.got());
    }
}

#[test]
fn one_that_reads_byte_by_byte_gets_all_the_same() {
    let (world, publisher, player) = slow(settings(), 0);
    publisher.say(80, "I2 I3");
    world.turn();
    for _ in 0..200 {
        player.read(1);
    }
    world.turn();
    assert_eq!(player.news(), "H K1 I2 I3");
}

#[test]
fn what_one_leaves_unread_is_bounded() {
    let limits = Settings { player_memory: 10_000, low_latency: true, ..settings() };
    let (world, publisher, player) = slow(limits, 30);
    for n in 0..200 {
        player.answer(&[0; 100], usize::MAX);
        publisher.say(80 + 40 * n, "I2");
        world.turn();
    }
    let why = player.end().expect("an end");
    assert!(why.starts_with("more unread than \"player_memory\" allows: 10"), "{why}");
}

#[test]
fn new_headers_do_not_pile_up_in_front_of_one_that_takes_nothing() {
    let limits = Settings { player_memory: 10_000, low_latency: true, ..settings() };
    let (world, publisher, player) = slow(limits, 30);
    for n in 0..500 {
        publisher.say_long(80 + 40 * n, &format!("H{}", n + 1), 1000);
        publisher.say(100 + 40 * n, "K3 I4");
        world.turn();
    }
    assert_eq!(player.end(), None);
    player.read(usize::MAX);
    assert_eq!(player.news(), "H K1 H500 K3 I4");
}

#[test]
fn a_stream_without_players_holds_nothing_but_headers() {
    let world = World::new();
    let stream = world.stream(settings());
    let publisher = world.publish(&stream);
    for n in 0..1000 {
        publisher.say_long(40 * n, if n % 50 == 0 { "K1" } else { "I2" }, 10_000);
        world.pass(40);
    }
    let held = stream.held();
    assert!(held.log < 200_000, "{held:?}");
    assert_eq!(held.players, 0);
}

#[test]
fn a_cache_is_bounded_in_what_it_costs() {
    for (len, count) in [(10, 100_000), (1000, 5000), (100_000, 200)] {
        let world = World::new();
        let stream = world.stream(Settings { cache_size: 1 << 20, ..cached(3_600_000) });
        let publisher = world.publish(&stream);
        publisher.say(0, "H");
        for n in 0..count {
            publisher.say_long(40 * n, if n % 50 == 0 { "K1" } else { "I2" }, len);
        }
        world.turn();
        let held = stream.held();
        assert!(held.log < 3 << 20, "messages of {len} bytes: {held:?}");
    }
}

#[test]
fn a_slow_player_is_bounded_in_what_it_holds_of_the_log() {
    for (len, count) in [(10, 100_000), (1000, 5000), (100_000, 200)] {
        let (world, publisher, player) =
            slow(Settings { out_queue_size: 1 << 20, ..settings() }, 30);
        for n in 0..count {
            publisher.say_long(80 + n, if n % 50 == 0 { "K1" } else { "I2" }, len);
            world.turn();
        }
        let held = player.subscription.as_ref().map(|_| world.stream(settings()).held()).unwrap();
        assert!(held.log < 4 << 20, "messages of {len} bytes: {held:?}");
    }
}

#[test]
fn the_log_is_bounded_for_all_forms_together() {
    let world = World::new();
    let sizes = Settings { cache_size: 1 << 20, out_queue_size: 1 << 20, ..cached(3_600_000) };
    let stream = world.stream(sizes);
    let publisher = world.publish(&stream);
    let form = |n: usize| Form::Rtmp { chunk_size: 128 << n, stream_id: 1, to_publish: false };
    let _players: Vec<_> = (0..7).map(|n| world.play_as(&stream, form(n))).collect();
    publisher.say(0, "H");
    for n in 0..10_000 {
        publisher.say_long(40 * n, if n % 50 == 0 { "K1" } else { "I2" }, 1000);
    }
    world.turn();
    let held = stream.held();
    assert!(held.log < 5 << 20, "{held:?}");
}

#[test]
fn a_wire_whose_player_has_left_is_kept_for_a_second() {
    let world = World::new();
    let stream = world.stream(cached(2000));
    let publisher = world.publish(&stream);
    publisher.say(0, "H K1");
    let mut player = world.play_as(&stream, Form::Flv);
    world.turn();
    player.leave();
    let long = |n: u32| {
        publisher.say_long(80 + 40 * n, "I2", 50_000);
        world.pass(40);
    };
    (0..20).for_each(long);
    let both = stream.held().log;
    (20..40).for_each(long);
    assert!(stream.held().log < both * 3 / 2, "{both} before, {:?} after", stream.held());
    assert_eq!(world.play_as(&stream, Form::Flv).got().split(' ').next(), Some("H"));
}
