//! When what came is sent, and the times that players see.

mod sim;
use live::{Form, Settings};
use sim::*;

#[test]
fn what_comes_in_a_turn_goes_out_in_one_write() {
    let world = World::new();
    let stream = world.stream(settings());
    let player = world.play(&stream);
    let publisher = world.publish(&stream);
    publisher.say(0, "H K1");
    world.turn();
    let writes = player.peer.writes.get();
    publisher.say(80, "I2 I3 I4 I5");
    world.turn();
    assert_eq!(player.peer.writes.get(), writes + 1);
}

#[test]
fn what_comes_in_a_window_goes_out_in_one_write() {
    let world = World::new();
    let stream = world.stream(Settings { merge_window: Some(50), ..settings() });
    let player = world.play(&stream);
    let publisher = world.publish(&stream);
    publisher.say(0, "H K1");
    world.pass(49);
    assert_eq!(player.got(), "");
    publisher.say(80, "I2");
    world.pass(1);
    assert_eq!(player.got(), "H K1 I2");
}

#[test]
fn it_does_not_wait_for_a_window_if_it_is_much() {
    let world = World::new();
    let stream = world.stream(Settings { merge_window: Some(500), ..settings() });
    let player = world.play(&stream);
    let publisher = world.publish(&stream);
    publisher.say(0, "H");
    publisher.say_long(40, "K1", 5 << 20);
    world.turn();
    assert_eq!(player.got(), "H K1");
}

#[test]
fn what_another_worker_has_gathered_is_not_gathered_again() {
    let world = World::new();
    let stream = world.stream(Settings { merge_window: Some(50), ..settings() });
    let player = world.play(&stream);
    let publisher = world.publish_as(&stream, -1, true);
    world.pass(200);
    publisher.say(0, "H K1");
    world.turn();
    assert_eq!(player.got(), "H K1", "the last flush was long ago");
    publisher.say(80, "I2");
    world.turn();
    assert_eq!(player.got(), "H K1", "the last flush was just now");
    world.pass(50);
    assert_eq!(player.got(), "H K1 I2");
}

#[test]
fn what_is_posted_can_be_sent_within_the_turn() {
    let world = World::new();
    let stream = world.stream(settings());
    let player = world.play(&stream);
    let publisher = world.publish(&stream);
    publisher.say(0, "H K1");
    assert_eq!(player.got(), "");
    stream.flush_posted(world.now());
    assert_eq!(player.got(), "H K1");
}

#[test]
fn what_is_gathered_is_not_sent_within_the_turn() {
    let world = World::new();
    let stream = world.stream(Settings { merge_window: Some(50), ..settings() });
    let player = world.play(&stream);
    let publisher = world.publish(&stream);
    publisher.say(0, "H K1");
    stream.flush_posted(world.now());
    assert_eq!(player.got(), "");
}

#[test]
fn a_source_that_defers_is_asked_at_the_flush() {
    let world = World::new();
    let stream = world.stream(Settings { merge_window: Some(50), ..settings() });
    let publisher = world.publish(&stream);
    assert!(publisher.publication.gathers(world.now()));
    assert!(publisher.publication.defer(world.now()));
    world.pass(49);
    assert_eq!(publisher.seat.collected.get(), 0);
    world.pass(1);
    assert_eq!(publisher.seat.collected.get(), 1);
    world.pass(500);
    assert_eq!(publisher.seat.collected.get(), 1, "once");
}

#[test]
fn nothing_is_deferred_without_a_window_or_for_long() {
    for (window, defers) in [(0, false), (1, true), (50, true), (51, false), (1000, false)] {
        let world = World::new();
        let stream = world.stream(Settings { merge_window: Some(window), ..settings() });
        let publisher = world.publish(&stream);
        assert_eq!(publisher.publication.defer(world.now()), defers, "{window} ms");
    }
}

#[test]
fn a_source_that_stands_by_defers_nothing() {
    let world = World::new();
    let stream = world.stream(Settings { merge_window: Some(50), ..settings() });
    let _on_air = world.publish_as(&stream, 1, false);
    let by = world.publish_as(&stream, 0, false);
    assert!(!by.publication.defer(world.now()));
}

#[test]
fn a_source_counts_what_it_takes() {
    let world = World::new();
    let stream = world.stream(settings());
    let publisher = world.publish(&stream);
    publisher.say(0, "H K1 I2");
    assert_eq!((publisher.publication.taken(), publisher.publication.taken()), (3, 0));
}

#[test]
fn a_busy_worker_gathers_by_itself() {
    let world = World::new();
    let stream = world.stream(Settings { merge_window: None, ..settings() });
    let publisher = world.publish(&stream);
    assert!(!publisher.publication.gathers(world.now()));
    let mut players: Vec<_> = (0..124).map(|_| world.play(&stream)).collect();
    assert!(!publisher.publication.gathers(world.now()));
    players.extend((0..10).map(|_| world.play(&stream)));
    assert!(publisher.publication.gathers(world.now()));
    players.truncate(100);
    assert!(!publisher.publication.gathers(world.now()));
}

#[test]
fn streams_off_air_make_no_worker_busy() {
    let world = World::new();
    let idle = world.named("idle", Settings { merge_window: None, ..settings() });
    let _players: Vec<_> = (0..300).map(|_| world.play(&idle)).collect();
    let stream = world.stream(Settings { merge_window: None, ..settings() });
    let publisher = world.publish(&stream);
    assert!(!publisher.publication.gathers(world.now()));
    let second = world.publish(&idle);
    assert!(publisher.publication.gathers(world.now()), "now they are read and written");
    drop(second);
    assert!(!publisher.publication.gathers(world.now()));
}

#[test]
fn one_that_has_much_to_look_at_does_it_in_several_turns() {
    let world = World::new();
    let stream = world.stream(cached(3_600_000));
    let publisher = world.publish(&stream);
    publisher.say(0, "H K1");
    let player = world.play(&stream);
    player.want(false, true);
    for n in 0..10_000u32 {
        publisher.say(80 + n, if n == 0 { "K2" } else { "A3" });
    }
    publisher.say(11_000, "I4");
    for _ in 0..5 {
        world.turn();
    }
    assert!(player.got().ends_with("K2 I4"), "{}", player.got());
}

#[test]
fn times_go_on_when_the_source_changes() {
    let world = World::new();
    let stream = world.stream(settings());
    let player = world.play(&stream);
    let first = world.publish(&stream);
    first.say(10_000, "H K1 I2 I3");
    world.pass(120);
    drop(first);
    let second = world.publish(&stream);
    second.say(500_000, "H K4 I5 I6");
    world.turn();
    let times = player.times();
    assert_eq!(player.got(), "H K1 I2 I3 H K4 I5 I6");
    assert!(times.windows(2).all(|two| two[0] <= two[1] && two[1] - two[0] <= 1000), "{times:?}");
}

#[test]
fn times_that_were_judged_elsewhere_are_passed_on() {
    let world = World::new();
    let stream = world.stream(settings());
    let player = world.play(&stream);
    let publisher = world.publish_as(&stream, -1, true);
    publisher.say(0, "H K1 I2");
    publisher.say(100_000, "I3 I4");
    world.turn();
    assert!(player.times().ends_with(&[100_000, 100_040]), "{:?}", player.times());
}

#[test]
fn a_clock_that_falls_takes_no_player_back() {
    let world = World::new();
    let stream = world.stream(settings());
    let player = world.play(&stream);
    let publisher = world.publish(&stream);
    publisher.say(600_000, "H K1 I2 I3 I4 I5");
    publisher.say(0, "I6 I7 I8 I9 I10 I11");
    world.turn();
    let times = player.times();
    assert!(times.windows(2).all(|two| two[0] <= two[1]), "{times:?}");
}

#[test]
fn every_form_has_the_same_times() {
    let world = World::new();
    let stream = world.stream(settings());
    let (rtmp, flv) = (world.play(&stream), world.play_as(&stream, Form::Flv));
    let publisher = world.publish(&stream);
    publisher.say(u32::MAX - 100, "H K1 I2 I3 I4 I5 I6");
    publisher.say(0x00FF_FFF0, "I7 I8 I9");
    world.pass(600);
    assert_eq!(rtmp.times(), flv.times());
}

#[test]
fn the_cache_goes_by_the_time_of_the_stream() {
    let world = World::new();
    let stream = world.stream(cached(1000));
    let publisher = world.publish(&stream);
    // two seconds of the stream at once
    for n in 0..5 {
        publisher.say(400 * n, &format!("{}K{}", if n == 0 { "H " } else { "" }, n + 1));
    }
    world.pass(600);
    let got = world.play(&stream).got();
    assert_eq!(got, "H K3 K4 K5");
}

#[test]
fn the_sound_of_a_video_that_has_fallen_silent_is_cached() {
    let world = World::new();
    let stream = world.stream(cached(1000));
    let publisher = world.publish(&stream);
    publisher.say(0, "H G K1 A2 I3");
    for n in 0..200u32 {
        publisher.say(240 + 40 * n, "A4");
    }
    world.pass(600);
    let got = world.play(&stream).got();
    let frames = got.matches('A').count();
    assert!((20..=30).contains(&frames) && !got.contains('K'), "{got}");
}
