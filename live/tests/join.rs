//! Where players begin.

mod sim;
use live::{Form, Settings};
use sim::*;

#[test]
fn a_player_that_was_there_first_gets_all() {
    let world = World::new();
    let stream = world.stream(settings());
    let player = world.play(&stream);
    let publisher = world.publish(&stream);
    publisher.say(0, "M H G K1 A2 I3");
    world.turn();
    assert_eq!(player.got(), "M H G K1 A2 I3");
}

#[test]
fn a_player_without_a_cache_begins_at_the_next_key_frame() {
    let world = World::new();
    let stream = world.stream(settings());
    let publisher = world.publish(&stream);
    publisher.say(0, "M H G K1 A2 I3");
    world.pass(1000);
    let player = world.play(&stream);
    publisher.say(240, "I4 A5 K6 I7");
    world.turn();
    assert_eq!(player.got(), "M H G A5 K6 I7", "sound comes at once");
}

#[test]
fn a_player_with_a_cache_begins_at_a_key_frame_of_it() {
    let world = World::new();
    let stream = world.stream(cached(1000));
    let publisher = world.publish(&stream);
    publisher.say(0, "M H G K1 A2 I3 K4 I5");
    world.pass(600);
    let player = world.play(&stream);
    assert_eq!(player.news(), "M H G K1 A2 I3 K4 I5");
    publisher.say(320, "I6");
    world.turn();
    assert_eq!(player.news(), "I6");
}

#[test]
fn it_begins_at_the_oldest_key_frame_within_the_cached_time() {
    let world = World::new();
    let stream = world.stream(cached(100));
    let publisher = world.publish(&stream);
    publisher.say(0, "H K1 I2 I3 K4 I5 I6");
    world.pass(600);
    assert_eq!(world.play(&stream).got(), "H K4 I5 I6");
}

#[test]
fn where_all_is_sent_it_begins_where_the_cache_does() {
    let world = World::new();
    let stream = world.stream(Settings { send_all: true, ..cached(100) });
    let publisher = world.publish(&stream);
    // the second GOP alone does not cover the time
    publisher.say(0, "H K1 I2 I3 I4 K5 I6");
    world.pass(600);
    assert_eq!(world.play(&stream).got(), "H K1 I2 I3 I4 K5 I6");
}

#[test]
fn without_that_a_gop_that_is_too_old_is_left_out() {
    let world = World::new();
    let stream = world.stream(cached(100));
    let publisher = world.publish(&stream);
    publisher.say(0, "H K1 I2 I3 I4 K5 I6");
    world.pass(600);
    assert_eq!(world.play(&stream).got(), "H K5 I6");
}

#[test]
fn if_every_key_frame_is_too_old_it_begins_at_the_last_one() {
    let world = World::new();
    let stream = world.stream(cached(100));
    let publisher = world.publish(&stream);
    publisher.say(0, "H K1 I2 I3 I4 I5 I6");
    world.pass(600);
    assert_eq!(world.play(&stream).got(), "H K1 I2 I3 I4 I5 I6");
}

#[test]
fn sound_alone_begins_at_any_frame() {
    let world = World::new();
    let stream = world.stream(settings());
    let publisher = world.publish(&stream);
    publisher.say(0, "G A1 A2");
    world.pass(600);
    let player = world.play(&stream);
    publisher.say(120, "A3 A4");
    world.turn();
    assert_eq!(player.got(), "G A3 A4");
}

#[test]
fn sound_waits_for_the_video_that_is_announced() {
    let world = World::new();
    let stream = world.stream(settings());
    let player = world.play(&stream);
    let publisher = world.publish(&stream);
    publisher.say(0, "H G A1");
    world.pass(100);
    assert_eq!(player.got(), "", "until the video comes");
    publisher.say(160, "K2 A3");
    world.turn();
    assert!(player.news().ends_with("K2 A3"));
}

#[test]
fn sound_does_not_wait_for_video_that_does_not_come() {
    let world = World::new();
    let stream = world.stream(settings());
    let player = world.play(&stream);
    let publisher = world.publish(&stream);
    publisher.say(0, "H G A1");
    world.pass(499);
    assert_eq!(player.got(), "");
    world.pass(1);
    publisher.say(500, "A2");
    world.turn();
    assert_eq!(player.got(), "G A1 A2", "without the header of what does not come");
}

#[test]
fn where_video_is_waited_for_sound_waits_for_good() {
    let world = World::new();
    let stream = world.stream(Settings { wait_video: true, ..settings() });
    let player = world.play(&stream);
    let publisher = world.publish(&stream);
    publisher.say(0, "H G A1");
    world.pass(5000);
    publisher.say(5000, "A2");
    world.turn();
    assert!(!player.got().contains('A'));
    publisher.say(5040, "K3 A4");
    world.turn();
    assert!(player.got().ends_with("H K3 A4"), "{}", player.got());
}

#[test]
fn where_no_key_frame_is_waited_for_it_begins_at_once() {
    let world = World::new();
    let stream = world.stream(Settings { wait_key: false, ..settings() });
    let publisher = world.publish(&stream);
    publisher.say(0, "H K1 I2");
    world.pass(600);
    let player = world.play(&stream);
    publisher.say(120, "I3 I4");
    world.turn();
    assert_eq!(player.got(), "H I3 I4");
}

#[test]
fn frames_before_the_first_key_frame_are_for_nobody() {
    let world = World::new();
    let stream = world.stream(settings());
    let player = world.play(&stream);
    let publisher = world.publish(&stream);
    publisher.say(0, "H I1 D2 K3 I4");
    world.pass(600);
    assert_eq!(player.got(), "H K3 I4");
}

#[test]
fn another_track_is_no_place_to_begin() {
    let world = World::new();
    let stream = world.stream(settings());
    let publisher = world.publish(&stream);
    publisher.say(0, "H +H K1 +K2 I3");
    world.pass(600);
    let player = world.play(&stream);
    publisher.say(200, "+K4 I5 +I6 K7 +K8");
    world.turn();
    assert_eq!(player.got(), "H +H K7 +K8");
}

#[test]
fn each_form_brings_the_same_messages() {
    let world = World::new();
    let stream = world.stream(cached(1000));
    let publisher = world.publish(&stream);
    publisher.say(0, "H G K1 A2");
    publisher.say_long(160, "I3", 10_000);
    world.pass(600);
    let forms = [
        RTMP,
        Form::Flv,
        Form::Rtmp { chunk_size: 128, stream_id: 1, to_publish: false },
        Form::Rtmp { chunk_size: 65536, stream_id: 7, to_publish: false },
    ];
    let players = forms.map(|form| world.play_as(&stream, form));
    publisher.say(200, "A4 I5");
    world.turn();
    for player in &players {
        assert_eq!(player.got(), "H G K1 A2 I3 A4 I5");
        assert_eq!(player.messages(), players[0].messages());
    }
}

#[test]
fn a_push_is_told_to_keep_the_metadata() {
    let world = World::new();
    let stream = world.stream(settings());
    let (push, player) = (world.play_as(&stream, PUSH), world.play(&stream));
    let publisher = world.publish(&stream);
    publisher.say(0, "M H K1");
    world.turn();
    assert!(push.messages()[0].payload.starts_with(b"\x02\x00\x0d@setDataFrame\x02\x00\x0aonMeta"));
    assert!(player.messages()[0].payload.starts_with(b"\x02\x00\x0aonMetaData"));
    assert_eq!(push.got(), player.got());
}

#[test]
fn there_are_eight_forms_at_most() {
    let world = World::new();
    let stream = world.stream(cached(1000));
    let publisher = world.publish(&stream);
    publisher.say(0, "H K1");
    let form = |n: usize| Form::Rtmp { chunk_size: 128 + n, stream_id: 1, to_publish: false };
    let players: Vec<_> = (0..7).map(|n| world.play_as(&stream, form(n))).collect();
    assert!(players.iter().all(|player| player.end().is_none()));
    let late = world.play_as(&stream, form(7));
    assert_eq!(late.end().as_deref(), Some("the stream has too many forms"));
    publisher.say(80, "I2");
    world.turn();
    assert!(players.iter().all(|player| player.got() == "H K1 I2"));
    assert_eq!(late.got(), "");
}

#[test]
fn what_the_session_says_comes_first() {
    let world = World::new();
    let stream = world.stream(cached(1000));
    let publisher = world.publish(&stream);
    publisher.say(0, "H K1");
    let (kind, payload) = message("T9");
    let mut prologue = Vec::new();
    let media = live::Media { kind, timestamp: 0, payload: &payload };
    RTMP.encode(&media, |bytes| prologue.extend_from_slice(bytes));
    let peer = Peer { prologue: prologue.into(), ..Peer::default() };
    assert_eq!(world.join(&stream, RTMP, peer).got(), "T9 H K1");
}

#[test]
fn data_of_other_kinds_is_no_place_to_begin_but_is_passed_on() {
    let world = World::new();
    let stream = world.stream(settings());
    let publisher = world.publish(&stream);
    publisher.say(0, "H K1");
    world.pass(600);
    let player = world.play(&stream);
    publisher.say(80, "T2 I3 K4 T5");
    world.turn();
    assert_eq!(player.got(), "H T2 K4 T5");
}

#[test]
fn a_player_that_comes_between_two_flushes_gets_each_message_once() {
    let world = World::new();
    let stream = world.stream(cached(1000));
    let publisher = world.publish(&stream);
    publisher.say(0, "H K1 I2");
    let player = world.play(&stream);
    publisher.say(120, "I3");
    world.turn();
    publisher.say(160, "I4");
    world.turn();
    assert_eq!(player.got(), "H K1 I2 I3 I4");
}
