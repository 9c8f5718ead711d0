//! Players that pause, choose, answer and leave, in the middle of messages or not.

mod sim;
use live::Change;
use sim::*;

#[test]
fn one_that_leaves_gets_the_message_that_has_begun_whole() {
    let world = World::new();
    let stream = world.stream(settings());
    let mut player = world.join(&stream, RTMP, Peer::with_room(40));
    let publisher = world.publish(&stream);
    publisher.say(0, "H");
    publisher.say_long(40, "K1", 1000);
    publisher.say(80, "I2");
    world.pass(600);
    assert!(!player.is_between_messages());
    player.leave();
    assert_eq!(player.news(), "H K1");
}

#[test]
fn one_that_leaves_between_messages_gets_nothing_more() {
    let world = World::new();
    let stream = world.stream(settings());
    let mut player = world.play(&stream);
    let publisher = world.publish(&stream);
    publisher.say(0, "H K1");
    world.turn();
    assert_eq!(player.news(), "H K1");
    publisher.say(80, "I2");
    player.leave();
    world.turn();
    assert_eq!(player.news(), "");
}

#[test]
fn the_other_players_go_on_whoever_leaves() {
    for leaver in 0..5 {
        let world = World::new();
        let stream = world.stream(settings());
        let mut players: Vec<_> =
            (0..5).map(|_| world.join(&stream, RTMP, Peer::with_socket())).collect();
        let publisher = world.publish(&stream);
        publisher.say(0, "H K1");
        world.turn();
        players[leaver].leave();
        publisher.say(80, "I2");
        world.turn();
        for (n, player) in players.iter().enumerate() {
            let got = if n == leaver { "H K1" } else { "H K1 I2" };
            assert_eq!(player.got(), got, "player {n} of which {leaver} has left");
        }
    }
}

#[test]
fn a_place_that_is_free_goes_to_the_next_one() {
    let world = World::new();
    let stream = world.stream(settings());
    let publisher = world.publish(&stream);
    publisher.say(0, "H K1");
    let mut first = world.play(&stream);
    let second = world.play(&stream);
    first.leave();
    let third = world.play(&stream);
    publisher.say(80, "K2");
    world.turn();
    assert_eq!([first.got(), second.got(), third.got()], ["", "H K2", "H K2"]);
    assert_eq!(stream.players(), 2);
}

#[test]
fn one_that_pauses_gets_nothing_and_goes_on_at_a_key_frame() {
    let world = World::new();
    let stream = world.stream(settings());
    let player = world.play(&stream);
    let publisher = world.publish(&stream);
    publisher.say(0, "H K1 I2");
    world.turn();
    assert_eq!(player.news(), "H K1 I2");
    player.pause(true);
    publisher.say(120, "I3 K4 I5");
    world.turn();
    assert_eq!(player.news(), "");
    player.pause(false);
    publisher.say(240, "I6 K7 I8");
    world.turn();
    assert_eq!(player.news(), "K7 I8", "it has the headers");
}

#[test]
fn one_that_pauses_gets_what_has_begun() {
    let world = World::new();
    let stream = world.stream(settings());
    let player = world.join(&stream, RTMP, Peer::with_room(100));
    let publisher = world.publish(&stream);
    publisher.say(0, "H");
    publisher.say_long(40, "K1", 1000);
    publisher.say(80, "I2");
    world.turn();
    player.pause(true);
    player.read(usize::MAX);
    assert_eq!(player.news(), "H K1");
    player.read(usize::MAX);
    assert_eq!(player.news(), "");
}

#[test]
fn to_go_on_without_a_pause_changes_nothing() {
    let world = World::new();
    let stream = world.stream(settings());
    let player = world.play(&stream);
    let publisher = world.publish(&stream);
    publisher.say(0, "H K1");
    world.turn();
    player.pause(false);
    publisher.say(80, "I2");
    world.turn();
    assert_eq!(player.got(), "H K1 I2");
}

#[test]
fn one_that_pauses_twice_stays_so() {
    let world = World::new();
    let stream = world.stream(settings());
    let player = world.play(&stream);
    let publisher = world.publish(&stream);
    publisher.say(0, "H K1");
    world.turn();
    player.pause(true);
    player.pause(true);
    publisher.say(80, "K2");
    world.turn();
    assert_eq!(player.got(), "H K1");
}

#[test]
fn one_that_wants_sound_gets_sound() {
    let world = World::new();
    let stream = world.stream(settings());
    let player = world.play(&stream);
    let publisher = world.publish(&stream);
    publisher.say(0, "H G K1 A2");
    world.turn();
    player.peer.bytes.borrow_mut().clear();
    player.want(true, false);
    publisher.say(160, "I3 A4 K5 A6 T7");
    world.turn();
    assert_eq!(player.news(), "A4 A6 T7");
}

#[test]
fn one_that_wants_video_gets_video() {
    let world = World::new();
    let stream = world.stream(settings());
    let player = world.play(&stream);
    let publisher = world.publish(&stream);
    publisher.say(0, "H G K1 A2");
    world.turn();
    player.peer.bytes.borrow_mut().clear();
    player.want(false, true);
    publisher.say(160, "A3 K4 A5 I6");
    world.turn();
    assert_eq!(player.news(), "K4 I6");
}

#[test]
fn one_that_wants_nothing_gets_data() {
    let world = World::new();
    let stream = world.stream(settings());
    let player = world.play(&stream);
    let publisher = world.publish(&stream);
    publisher.say(0, "H G K1 A2");
    world.turn();
    player.peer.bytes.borrow_mut().clear();
    player.want(false, false);
    publisher.say(160, "A3 K4 T5");
    world.turn();
    assert_eq!(player.news(), "T5");
}

#[test]
fn one_that_wants_all_again_begins_at_a_key_frame() {
    let world = World::new();
    let stream = world.stream(settings());
    let player = world.play(&stream);
    let publisher = world.publish(&stream);
    publisher.say(0, "H G K1 A2");
    world.turn();
    player.want(true, false);
    publisher.say(160, "I3 A4");
    world.turn();
    player.peer.bytes.borrow_mut().clear();
    player.want(true, true);
    publisher.say(240, "I5 A6 K7 A8");
    world.turn();
    assert_eq!(player.news(), "A6 K7 A8");
}

#[test]
fn the_same_wish_again_changes_nothing() {
    let world = World::new();
    let stream = world.stream(settings());
    let player = world.play(&stream);
    let publisher = world.publish(&stream);
    publisher.say(0, "H K1");
    world.turn();
    player.want(true, true);
    publisher.say(80, "I2");
    world.turn();
    assert_eq!(player.got(), "H K1 I2");
}

#[test]
fn an_answer_goes_out_between_messages() {
    let world = World::new();
    let stream = world.stream(settings());
    let player = world.join(&stream, RTMP, Peer::with_room(100));
    let publisher = world.publish(&stream);
    publisher.say(0, "H");
    publisher.say_long(40, "K1", 1000);
    world.turn();
    assert!(player.answer(&chunk("T9"), 1000));
    assert_eq!(player.got(), "H");
    publisher.say(80, "I2");
    world.turn();
    player.read(usize::MAX);
    assert_eq!(player.news(), "H K1 T9 K1 I2".replace("T9 K1", "T9"));
}

#[test]
fn an_answer_on_a_quiet_stream_goes_out_at_once() {
    let world = World::new();
    let stream = world.stream(settings());
    let player = world.play(&stream);
    assert!(player.answer(&chunk("T1"), 0));
    assert_eq!(player.news(), "T1");
}

#[test]
fn answers_that_nobody_reads_are_counted() {
    let world = World::new();
    let stream = world.stream(settings());
    let player = world.join(&stream, RTMP, Peer::with_room(0));
    let answer = chunk("T1");
    assert!(player.answer(&answer, 2 * answer.len()));
    assert!(player.answer(&answer, 2 * answer.len()));
    assert!(!player.answer(&answer, 2 * answer.len()));
    player.read(answer.len() + 3);
    assert!(player.answer(&answer, 3 * answer.len()), "what is out does not count");
}

#[test]
fn answers_wait_for_their_turn_while_a_player_pauses() {
    let world = World::new();
    let stream = world.stream(settings());
    let player = world.play(&stream);
    let publisher = world.publish(&stream);
    publisher.say(0, "H K1");
    world.turn();
    player.pause(true);
    player.answer(&chunk("T1"), 1000);
    assert_eq!(player.got(), "H K1 T1");
}

#[test]
fn players_are_told_of_the_audience_once() {
    let world = World::new();
    let stream = world.stream(settings());
    let (mut one, mut two) = (world.play(&stream), world.play(&stream));
    let mut push = world.play_as(&stream, PUSH);
    one.leave();
    two.leave();
    push.leave();
    world.turn();
    let audience = [Change::Audience { some: true }, Change::Audience { some: false }];
    assert_eq!(*world.changes.borrow(), audience, "a push is no player");
}

#[test]
fn players_are_told_when_the_source_comes_and_goes() {
    let world = World::new();
    let stream = world.stream(settings());
    let player = world.play(&stream);
    let first = world.publish(&stream);
    let better = world.publish_as(&stream, 1, false);
    drop(better);
    drop(first);
    assert_eq!(
        *player.peer.told.borrow(),
        [true, false],
        "a change of the source is none of theirs"
    );
}

#[test]
fn players_of_a_stream_that_is_not_there_are_ended() {
    let world = World::new();
    let stream = world.stream(settings());
    let (player, push) = (world.play(&stream), world.play_as(&stream, PUSH));
    stream.end_players("no such stream");
    assert_eq!(player.end().as_deref(), Some("no such stream"));
    assert_eq!(push.end(), None);
}

#[test]
fn one_whose_connection_fails_is_ended_and_costs_nobody_else() {
    let world = World::new();
    let stream = world.stream(settings());
    let (broken, player) = (world.play(&stream), world.play(&stream));
    broken.peer.broken.set(true);
    let publisher = world.publish(&stream);
    publisher.say(0, "H K1");
    world.turn();
    assert!(broken.end().unwrap().starts_with("connection failed"));
    assert_eq!(player.got(), "H K1");
}

fn chunk(label: &str) -> Vec<u8> {
    let (kind, payload) = message(label);
    let mut out = Vec::new();
    let media = live::Media { kind, timestamp: 0, payload: &payload };
    RTMP.encode(&media, |bytes| out.extend_from_slice(bytes));
    out
}

#[test]
fn one_that_comes_for_video_alone_begins_at_a_key_frame() {
    let world = World::new();
    let stream = world.stream(settings());
    let publisher = world.publish(&stream);
    publisher.say(0, "H K1 I2");
    world.pass(600);
    let player = world.play(&stream);
    player.want(false, true);
    publisher.say(120, "I3 K4 I5");
    world.turn();
    assert_eq!(player.got(), "H K4 I5");
}

#[test]
fn video_goes_on_with_the_next_frame_when_sound_is_switched_off() {
    let world = World::new();
    let stream = world.stream(settings());
    let player = world.play(&stream);
    let publisher = world.publish(&stream);
    publisher.say(0, "H K1 A2");
    world.turn();
    publisher.say(120, "I3 A4");
    player.want(false, true);
    publisher.say(200, "I5");
    world.turn();
    assert_eq!(player.got(), "H K1 A2 I3 I5");
}

#[test]
fn a_message_that_has_begun_is_completed_while_tracks_are_awaited() {
    let world = World::new();
    let stream = world.stream(settings());
    let player = world.join(&stream, RTMP, Peer::with_room(300));
    player.want(false, true);
    let first = world.publish(&stream);
    first.say(0, "H");
    first.say_long(40, "K1", 1000);
    world.pass(600);
    let second = world.publish_as(&stream, 1, false);
    second.say(0, "H2");
    player.read(usize::MAX);
    assert_eq!(player.news(), "H K1");
}
