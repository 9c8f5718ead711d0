//! Headers stand before the frames that they are for.

mod sim;
use live::{Form, Settings};
use sim::*;

/// What a player gets that joins when all was said, and another one when `late` was.
fn joined(settings: Settings, said: &str, late: &str) -> (String, String) {
    let world = World::new();
    let stream = world.stream(settings);
    let publisher = world.publish(&stream);
    publisher.say(0, said);
    world.pass(600);
    let player = world.play(&stream);
    let first = player.news();
    publisher.say(40 * said.split(' ').count() as u32, late);
    world.turn();
    (first, player.news())
}

#[test]
fn a_header_goes_out_once_to_one_that_has_it() {
    assert_eq!(joined(cached(1000), "H K1 I2", "I3 K4"), ("H K1 I2".into(), "I3 K4".into()));
}

#[test]
fn a_new_header_goes_out_before_its_frames() {
    assert_eq!(joined(cached(1000), "H1 K1", "H2 K2").1, "H2 K2");
}

#[test]
fn one_that_begins_behind_a_change_gets_the_new_one_only() {
    assert_eq!(joined(cached(1000), "H1 K1 I2 H2 K3 I4", "I5").0, "H2 K3 I4");
}

#[test]
fn the_same_header_again_is_no_change() {
    assert_eq!(joined(cached(1000), "H1 K1 I2 H1 K3", "I5").0, "H1 K1 I2 H1 K3");
}

#[test]
fn a_header_without_frames_is_held_back() {
    assert_eq!(joined(cached(1000), "H G K1 I2", "I3").0, "H K1 I2");
    assert_eq!(joined(cached(1000), "H G K1 I2", "A3 I4").1, "G A3 I4");
}

#[test]
fn the_newest_metadata_is_sent() {
    assert_eq!(joined(cached(1000), "M1 H K1 M2 I2", "I3").0, "M2 H K1 M2 I2");
    assert_eq!(joined(settings(), "M1 H K1 M2", "K3").1, "M2 H K3");
}

#[test]
fn an_ended_sequence_has_no_header() {
    assert_eq!(joined(settings(), "H G K1 A2 E", "A3 A4").1, "G A3 A4");
}

#[test]
fn another_codec_begins_with_its_own_header() {
    assert_eq!(joined(settings(), "H K1 h k2", "k3 i4").1, "h k3 i4");
}

#[test]
fn frames_of_the_former_codec_have_its_header_again() {
    assert_eq!(joined(settings(), "H K1 k2", "K3 I4").1, "H K3 I4");
    assert_eq!(joined(cached(1000), "H K1 k2", "K3 I4").1, "H K3 I4");
}

#[test]
fn a_header_of_another_codec_ends_the_one_before() {
    assert_eq!(joined(settings(), "H K1 h k2", "K3 I4").1, "K3 I4");
}

#[test]
fn colour_information_stands_beside_the_header() {
    assert_eq!(joined(settings(), "h c k1", "k2").1, "h c k2");
    assert_eq!(joined(settings(), "h1 c k1 h2", "k2").1, "h2 c k2".replace("h2 c", "c h2"));
}

#[test]
fn each_track_has_a_header_of_its_own() {
    assert_eq!(joined(settings(), "H1 +H2 K1 +K2", "K3 +K4").1, "H1 +H2 K3 +K4");
}

#[test]
fn players_get_their_order_whatever_the_source_has() {
    assert_eq!(joined(settings(), "G H M K1 A2", "K3 A4").1, "M H G K3 A4");
}

#[test]
fn headers_have_the_time_of_the_frame_behind_them_and_metadata_none() {
    let world = World::new();
    let stream = world.stream(settings());
    let publisher = world.publish(&stream);
    publisher.say(5000, "M H K1");
    world.pass(600);
    let player = world.play(&stream);
    publisher.say(7000, "K2");
    world.turn();
    assert_eq!((player.got().as_str(), player.times()), ("M H K2", vec![0, 7000, 7000]));
}

#[test]
fn of_many_players_each_gets_them_whole() {
    let world = World::new();
    let stream = world.stream(cached(1000));
    let publisher = world.publish(&stream);
    publisher.say_long(0, "H", 5000);
    publisher.say(40, "K1");
    world.pass(600);
    let slow: Vec<_> =
        (0..20).map(|n| world.join(&stream, RTMP, Peer::with_room(300 * n))).collect();
    for player in &slow {
        player.read(usize::MAX);
        assert_eq!(player.news(), "H K1");
    }
}

#[test]
fn a_header_that_is_too_large_is_passed_on_and_not_kept() {
    let world = World::new();
    let stream = world.stream(settings());
    let publisher = world.publish(&stream);
    let player = world.play(&stream);
    publisher.say(0, "H K1");
    publisher.say_long(80, "M5", 2 << 20);
    publisher.say_long(90, "M6", 2 << 20);
    world.pass(600);
    let got = player.got();
    assert_eq!(got.matches('M').count(), 2, "{got}");
    assert_eq!(world.lines().len(), 1, "said once");
    assert!(world.lines()[0].starts_with("later players of \"live/s\" do not get a header"));
    let late = world.play(&stream);
    publisher.say(200, "K2");
    world.turn();
    assert_eq!(late.got(), "H K2");
}

#[test]
fn headers_are_bounded_whatever_a_source_invents() {
    let world = World::new();
    let stream = world.stream(cached(10_000));
    let publisher = world.publish(&stream);
    publisher.say(0, "H K1");
    for n in 0..5000u32 {
        publisher.say_long(80 + n, &format!("H{}", n % 60_000 + 1), 10_000);
        publisher.say(80 + n, "I2");
    }
    world.turn();
    let held = stream.held();
    assert!(held.headers < 1_200_000, "{held:?}");
}

#[test]
fn flv_players_wait_for_what_is_announced() {
    let world = World::new();
    let stream = world.stream(cached(1000));
    let publisher = world.publish(&stream);
    publisher.say(0, "H G K1 I2");
    let (flv, rtmp) = (world.play_as(&stream, Form::Flv), world.play(&stream));
    assert_eq!((flv.got().as_str(), rtmp.got().as_str()), ("", "H G K1 I2"));
    publisher.say(160, "A3");
    world.turn();
    assert_eq!(flv.got(), "H G K1 I2 A3");
}

#[test]
fn flv_players_do_not_wait_for_what_does_not_come() {
    let world = World::new();
    let stream = world.stream(cached(1000));
    let publisher = world.publish(&stream);
    publisher.say(0, "H G K1 I2");
    let flv = world.play_as(&stream, Form::Flv);
    world.pass(500);
    assert_eq!(flv.got(), "H K1 I2");
}
