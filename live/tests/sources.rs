//! Sources: who is on air, what the others stand by with, and what observers are told.

mod sim;
use live::{Change, Kind, Meta, Settings};
use rtmp_protocol::command;
use sim::*;

#[test]
fn the_source_of_the_highest_priority_is_on_air() {
    let world = World::new();
    let stream = world.stream(settings());
    let low = world.publish_as(&stream, 1, false);
    let high = world.publish_as(&stream, 5, false);
    let middle = world.publish_as(&stream, 3, false);
    assert_eq!(stream.priority(), Some(5));
    assert_eq!(*low.seat.on_air.borrow(), [true, false]);
    assert_eq!(*high.seat.on_air.borrow(), [true]);
    assert_eq!(*middle.seat.on_air.borrow(), [] as [bool; 0]);
    drop(high);
    assert_eq!(stream.priority(), Some(3));
    assert_eq!(*middle.seat.on_air.borrow(), [true]);
}

#[test]
fn two_of_the_same_priority_are_one_too_many() {
    let world = World::new();
    let stream = world.stream(settings());
    let first = world.publish_as(&stream, 0, false);
    let seat: std::rc::Rc<Seat> = Default::default();
    assert!(stream.publish(0, seat, world.now()).is_err());
    assert_eq!(first.seat.refused.get(), None);
    assert!(stream.on_air());
}

#[test]
fn one_that_replaces_has_the_other_leave() {
    let world = World::new();
    let stream = world.stream(settings());
    let player = world.play(&stream);
    let old = world.publish(&stream);
    old.say(0, "H K1");
    let new = stream.replace(0, std::rc::Rc::new(Seat::default()), "replaced", world.now());
    assert!(new.is_ok());
    assert_eq!(old.seat.refused.get(), Some("replaced"));
    old.say(80, "I2");
    world.turn();
    assert_eq!(player.got(), "H K1", "what it still sends is for nobody");
}

#[test]
fn a_stream_has_eight_sources_at_most() {
    let world = World::new();
    let stream = world.stream(settings());
    let sources: Vec<_> = (0..8).map(|n| world.publish_as(&stream, n, false)).collect();
    let seat: std::rc::Rc<Seat> = Default::default();
    assert!(stream.publish(9, seat, world.now()).is_err());
    drop(sources);
    assert!(!stream.on_air());
}

#[test]
fn a_source_that_stands_by_is_not_seen() {
    let world = World::new();
    let stream = world.stream(settings());
    let player = world.play(&stream);
    let on_air = world.publish_as(&stream, 1, false);
    let by = world.publish_as(&stream, 0, false);
    on_air.say(0, "H1 K1");
    by.say(0, "H2 K2");
    world.turn();
    assert_eq!(player.got(), "H1 K1");
}

#[test]
fn one_that_takes_over_begins_with_its_headers_and_a_key_frame() {
    let world = World::new();
    let stream = world.stream(settings());
    let player = world.play(&stream);
    let on_air = world.publish_as(&stream, 1, false);
    let by = world.publish_as(&stream, 0, false);
    on_air.say(0, "H1 G1 K1");
    by.say(0, "M2 H2 G2 K2 A2");
    world.pass(600);
    assert_eq!(player.news(), "H1 K1");
    drop(on_air);
    by.say(200, "I3 A4 K5 I6");
    world.turn();
    assert_eq!(player.news(), "M2 H2 G2 A4 K5 I6");
}

#[test]
fn players_that_come_after_the_change_get_the_headers_of_now() {
    let world = World::new();
    let stream = world.stream(cached(1000));
    let on_air = world.publish_as(&stream, 1, false);
    let by = world.publish_as(&stream, 0, false);
    on_air.say(0, "H1 K1");
    by.say(0, "H2 K2");
    drop(on_air);
    by.say(80, "K3");
    world.pass(600);
    assert_eq!(world.play(&stream).got(), "H2 K3");
}

#[test]
fn what_was_gathered_of_a_source_goes_out_before_it_leaves() {
    let world = World::new();
    let stream = world.stream(Settings { merge_window: Some(500), ..settings() });
    let player = world.play(&stream);
    let publisher = world.publish(&stream);
    publisher.say(0, "H K1");
    assert_eq!(player.got(), "");
    drop(publisher);
    assert_eq!(player.got(), "H K1");
}

#[test]
fn sound_that_waits_for_video_goes_out_when_its_source_leaves() {
    let world = World::new();
    let stream = world.stream(settings());
    let player = world.play(&stream);
    let publisher = world.publish(&stream);
    publisher.say(0, "H G A1");
    drop(publisher);
    assert!(player.got().ends_with("A1"), "{}", player.got());
}

#[test]
fn every_source_can_be_asked_to_leave() {
    let world = World::new();
    let stream = world.stream(settings());
    let (one, two) = (world.publish_as(&stream, 1, false), world.publish_as(&stream, 2, false));
    stream.refuse_source(1, "one");
    assert_eq!((one.seat.refused.get(), two.seat.refused.get()), (Some("one"), None));
    stream.refuse_sources("all");
    assert_eq!((one.seat.refused.get(), two.seat.refused.get()), (Some("all"), Some("all")));
}

#[test]
fn observers_are_told_in_order_after_the_turn() {
    let world = World::new();
    let stream = world.stream(settings());
    let publisher = world.publish(&stream);
    publisher.say(0, "H G K1 A2");
    assert_eq!(*world.changes.borrow(), []);
    world.turn();
    let header = |kind, new| Change::Header { kind, new };
    assert_eq!(
        *world.changes.borrow(),
        [
            Change::Published { own: true },
            header(Kind::Video, true),
            header(Kind::Audio, true),
            Change::Track,
            Change::Track,
        ]
    );
    world.changes.borrow_mut().clear();
    publisher.say(160, "H A3 H1");
    drop(publisher);
    world.turn();
    let told = [header(Kind::Video, false), header(Kind::Video, true), Change::Unpublished];
    assert_eq!(*world.changes.borrow(), told);
}

#[test]
fn headers_of_a_kind_are_told_once_a_turn() {
    let world = World::new();
    let stream = world.stream(settings());
    let publisher = world.publish(&stream);
    world.turn();
    world.changes.borrow_mut().clear();
    publisher.say(0, "H1 H2 H3 H4");
    world.turn();
    assert_eq!(*world.changes.borrow(), [Change::Header { kind: Kind::Video, new: true }]);
}

#[test]
fn a_relay_is_not_our_own_source() {
    let world = World::new();
    let stream = world.stream(settings());
    let _pull = world.publish_as(&stream, -1, false);
    world.turn();
    assert_eq!(*world.changes.borrow(), [Change::Published { own: false }]);
}

#[test]
fn it_is_decided_until_somebody_publishes() {
    let world = World::new();
    let stream = world.stream(settings());
    stream.set_decided();
    stream.set_decided();
    world.turn();
    assert_eq!((stream.is_decided(), world.changes.borrow().len()), (true, 1));
    let publisher = world.publish(&stream);
    assert!(!stream.is_decided());
    drop(publisher);
    assert!(!stream.is_decided());
}

#[test]
fn a_stream_is_found_as_long_as_somebody_holds_it() {
    let world = World::new();
    let stream = world.stream(settings());
    assert!(std::rc::Rc::ptr_eq(&stream, &world.stream(settings())));
    assert!(world.registry.find(&key("other")).is_none());
    let player = world.play(&stream);
    drop(stream);
    assert!(world.registry.find(&key("s")).is_some());
    drop(player);
    world.turn();
    assert!(world.registry.find(&key("s")).is_none());
}

#[test]
fn a_key_is_told_by_its_application_and_name() {
    assert_eq!(key("a b").to_string(), "live/a b");
}

#[test]
fn tracks_are_those_that_have_frames() {
    let world = World::new();
    let stream = world.stream(settings());
    let publisher = world.publish(&stream);
    publisher.say(0, "H G");
    assert_eq!((stream.tracks(), stream.first_frame()), ((false, false), None));
    world.pass(100);
    publisher.say(80, "A1");
    let first = world.now();
    world.pass(100);
    publisher.say(120, "K2");
    assert_eq!((stream.tracks(), stream.first_frame()), ((true, true), Some(first)));
    drop(publisher);
    assert_eq!(stream.tracks(), (true, true), "of the last source, until the next one");
    let _next = world.publish(&stream);
    assert_eq!((stream.tracks(), stream.first_frame()), ((false, false), None));
}

fn metadata() -> Vec<u8> {
    use rtmp_protocol::amf0::{encode, Value};
    let mut out = b"\x02\x00\x0d@setDataFrame".to_vec();
    encode(&Value::from("onMetaData"), &mut out);
    let members = [("width", Value::Number(640.0)), ("secret", Value::Number(1.0))];
    encode(&Value::object(members), &mut out);
    out
}

/// What a player gets of metadata, under `meta`.
fn passed(meta: Meta, gathered: bool) -> Option<Vec<u8>> {
    let world = World::new();
    let stream = world.stream(Settings { meta, ..settings() });
    let publisher = world.publish_as(&stream, -1, gathered);
    publisher.send(Kind::Data, 0, &metadata());
    publisher.say(0, "H K1");
    let player = world.play(&stream);
    publisher.say(80, "K2");
    world.pass(600);
    let got = player.messages();
    assert!(!got.is_empty());
    got.into_iter().find(|got| got.kind == Kind::Data).map(|got| got.payload)
}

#[test]
fn metadata_is_copied_without_what_is_said_to_servers() {
    let payload = passed(Meta::Copy, false).unwrap();
    assert_eq!(payload, command::without_set_data_frame(&metadata()));
}

#[test]
fn metadata_is_left_out_for_every_source() {
    assert_eq!(passed(Meta::Off, false), None);
}

#[test]
fn metadata_is_rebuilt_of_what_is_known() {
    let payload = passed(Meta::On, false).unwrap();
    let value = command::metadata(&payload).unwrap();
    assert_eq!(value.get(b"width").and_then(|value| value.as_number()), Some(640.0));
    assert_eq!(value.get(b"secret"), None);
}

#[test]
fn metadata_of_another_worker_was_seen_to_there() {
    assert!(passed(Meta::Off, true).is_some());
}

#[test]
fn the_headers_of_a_source_that_leaves_go_out_before_its_frames() {
    let world = World::new();
    let stream = world.stream(Settings { merge_window: Some(500), ..settings() });
    let player = world.play(&stream);
    let publisher = world.publish(&stream);
    // data goes out at once, the header only in front of what is behind it
    publisher.say(0, "T1 G2 A3");
    drop(publisher);
    world.pass(600);
    assert_eq!(player.got(), "T1 G2 A3");
}

#[test]
fn a_player_that_waits_for_tracks_gets_what_there_is_when_the_source_leaves() {
    let world = World::new();
    let stream = world.stream(cached(1000));
    let player = world.play_as(&stream, live::Form::Flv);
    let publisher = world.publish(&stream);
    publisher.say(0, "H K1 G2");
    world.pass(40);
    assert_eq!(player.got(), "");
    drop(publisher);
    assert_eq!(player.got(), "H K1 G2");
}
