//! Players to whose sockets the engine writes itself, over real sockets.

mod sim;
use std::io::{Read, Write};
use std::rc::Rc;

use live::{Form, Framing, Settings};
use sim::*;

fn chunked() -> Peer {
    Peer { framing: Framing::Chunked, ..Peer::with_socket() }
}

/// The bytes inside of HTTP's chunks.
fn unchunk(bytes: &[u8]) -> Vec<u8> {
    let (mut rest, mut out) = (bytes, Vec::new());
    while !rest.is_empty() {
        let end = rest.windows(2).position(|two| two == b"\r\n").expect("a chunk's head");
        let len = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        out.extend_from_slice(&rest[end + 2..end + 2 + len]);
        assert_eq!(&rest[end + 2 + len..end + 4 + len], b"\r\n");
        rest = &rest[end + 4 + len..];
    }
    out
}

#[test]
fn once_it_has_all_a_player_is_written_to_directly() {
    let world = World::new();
    let stream = world.stream(settings());
    let player = world.join(&stream, RTMP, Peer::with_socket());
    let publisher = world.publish(&stream);
    publisher.say(0, "H K1");
    world.turn();
    let writes = player.peer.writes.get();
    for n in 0..20 {
        publisher.say(80 + 40 * n, "I2");
        world.turn();
    }
    assert_eq!(player.peer.writes.get(), writes, "its sink has nothing to do");
    assert_eq!(player.got().split(' ').count(), 22);
}

#[test]
fn what_was_written_directly_is_counted_when_it_is_asked_for() {
    let world = World::new();
    let stream = world.stream(settings());
    let player = world.join(&stream, RTMP, Peer::with_socket());
    let publisher = world.publish(&stream);
    publisher.say(0, "H K1");
    world.turn();
    let before = player.messages().len();
    publisher.say(80, "I2");
    world.turn();
    assert_eq!(player.subscription.as_ref().unwrap().written(), Some(world.now()));
    player.pause(true);
    assert_eq!(player.messages().len(), before + 1);
    assert_eq!(player.peer.sent.get(), 12 + 7);
    assert_eq!(player.subscription.as_ref().unwrap().written(), None);
}

#[test]
fn one_that_takes_less_is_served_by_its_sink_and_comes_back() {
    let world = World::new();
    let stream = world.stream(settings());
    let slow = world.join(&stream, RTMP, Peer::with_socket());
    let quick = world.join(&stream, RTMP, Peer::with_socket());
    let publisher = world.publish(&stream);
    publisher.say(0, "H K1");
    world.turn();
    let mut sent = 2;
    // until its socket is full
    while slow.peer.writes.get() < 10 {
        publisher.say_long(40 * sent, "I2", 20_000);
        sent += 1;
        world.turn();
        quick.peer.receive();
        if slow.subscription.as_ref().unwrap().written().is_none() {
            break;
        }
    }
    for _ in 0..100 {
        slow.read(0);
        if slow.messages().len() == sent as usize {
            break;
        }
    }
    publisher.say(40 * sent, "I3");
    world.turn();
    assert!(slow.subscription.as_ref().unwrap().written().is_some(), "direct again");
    assert_eq!(slow.messages(), quick.messages());
    assert!(slow.got().ends_with("I3"));
}

#[test]
fn one_whose_peer_is_gone_is_ended_and_the_others_go_on() {
    for gone in 0..4 {
        let world = World::new();
        let stream = world.stream(settings());
        let mut players: Vec<_> =
            (0..4).map(|_| world.join(&stream, RTMP, Peer::with_socket())).collect();
        let publisher = world.publish(&stream);
        publisher.say(0, "H K1");
        world.turn();
        players[gone].peer.socket.as_ref().unwrap().1.shutdown(std::net::Shutdown::Both).unwrap();
        publisher.say(80, "I2");
        world.turn();
        assert!(players[gone].end().unwrap().starts_with("connection failed"));
        publisher.say(120, "I3");
        world.turn();
        players.remove(gone);
        for player in &players {
            assert_eq!((player.got().as_str(), player.end()), ("H K1 I2 I3", None));
        }
    }
}

#[test]
fn relays_are_served_before_players() {
    let world = World::new();
    let stream = world.stream(settings());
    // one socket for both tells the order
    let first = Peer::with_socket();
    let (near, far) = first.socket.as_ref().unwrap();
    let shared = (near.try_clone().unwrap(), far.try_clone().unwrap());
    let form = Form::Rtmp { chunk_size: 4096, stream_id: 2, to_publish: false };
    let player = world.join(&stream, form, first);
    let relay = Peer { relay: true, socket: Some(shared), ..Peer::default() };
    let relay = world.join(&stream, RTMP, relay);
    let publisher = world.publish(&stream);
    publisher.say(0, "H K1");
    world.turn();
    player.peer.receive();
    player.peer.bytes.borrow_mut().clear();
    publisher.say(80, "I2");
    world.turn();
    player.peer.receive();
    let bytes = player.peer.bytes.borrow();
    assert_eq!((bytes[8], bytes[19 + 8]), (1, 2), "message stream ids");
    drop(relay);
}

#[test]
fn chunks_of_http_hold_what_a_flush_brings() {
    let world = World::new();
    let stream = world.stream(settings());
    let player = world.join(&stream, Form::Flv, chunked());
    let publisher = world.publish(&stream);
    publisher.say(0, "H K1");
    world.turn();
    player.peer.receive();
    player.peer.bytes.borrow_mut().clear();
    publisher.say(80, "I2 I3");
    world.turn();
    publisher.say(160, "I4");
    world.turn();
    player.peer.receive();
    let bytes = player.peer.bytes.take();
    assert_eq!(bytes.iter().filter(|&&byte| byte == b'\r').count(), 4, "two chunks");
    player.peer.bytes.replace(unchunk(&bytes));
    assert_eq!(player.news(), "I2 I3 I4");
}

#[test]
fn a_flush_that_is_long_is_no_chunk_but_goes_through_the_sink() {
    let world = World::new();
    let stream = world.stream(settings());
    let player = world.join(&stream, Form::Flv, chunked());
    let publisher = world.publish(&stream);
    publisher.say(0, "H K1");
    world.turn();
    let writes = player.peer.writes.get();
    player.peer.receive();
    player.peer.bytes.borrow_mut().clear();
    publisher.say_long(80, "I2", 70_000);
    world.turn();
    assert!(player.peer.writes.get() > writes);
    assert_eq!(player.news(), "I2", "as its sink writes: without a chunk's head here");
}

#[test]
fn a_chunk_that_is_cut_short_is_completed_by_the_sink() {
    let world = World::new();
    let stream = world.stream(settings());
    let player = world.join(&stream, Form::Flv, chunked());
    let publisher = world.publish(&stream);
    publisher.say(0, "H K1");
    world.turn();
    player.peer.receive();
    player.peer.bytes.borrow_mut().clear();
    let mut sent = 0;
    while player.subscription.as_ref().unwrap().written().is_some() || sent == 0 {
        publisher.say_long(80 + 40 * sent, "I2", 30_000);
        world.turn();
        sent += 1;
        if sent == 500 {
            break;
        }
    }
    publisher.say(80 + 40 * sent, "I3");
    world.turn();
    player.peer.receive();
    let bytes = player.peer.bytes.take();
    // what was too much for the socket at once came from the sink, in one piece with the rest
    let whole = unchunk_prefix(&bytes);
    assert!(whole > 0 && sent < 500, "{whole} of {sent}");
}

/// How many whole chunks there are in front.
fn unchunk_prefix(bytes: &[u8]) -> usize {
    let (mut rest, mut chunks) = (bytes, 0);
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let Some(len) = std::str::from_utf8(&rest[..end])
            .ok()
            .and_then(|text| usize::from_str_radix(text, 16).ok())
        else {
            break;
        };
        if rest.len() < end + 4 + len || &rest[end + 2 + len..end + 4 + len] != b"\r\n" {
            break;
        }
        (rest, chunks) = (&rest[end + 4 + len..], chunks + 1);
    }
    chunks
}

#[test]
fn many_come_and_go_and_each_gets_its_own() {
    let world = World::new();
    let stream = world.stream(cached(1000));
    let publisher = world.publish(&stream);
    publisher.say(0, "H K1");
    let mut players = Vec::new();
    for n in 0..60u32 {
        players.push((n, world.join(&stream, RTMP, Peer::with_socket())));
        publisher.say(80 + 40 * n, &format!("I{}", n + 2));
        if n % 3 == 0 {
            world.turn();
        }
        if n % 4 == 3 {
            let at = (7 * n as usize) % players.len();
            let (_, mut left) = players.swap_remove(at);
            left.leave();
            assert!(left.is_between_messages());
        }
    }
    world.turn();
    let all: Vec<String> = (2..62).map(|n| format!("I{n}")).collect();
    let all = format!("H K1 {}", all.join(" "));
    for (_, player) in &players {
        // the cache holds a second: each began at the one key frame
        assert_eq!(player.got(), all);
    }
}

#[test]
fn an_answer_to_one_that_is_written_to_directly_comes_between_messages() {
    let world = World::new();
    let stream = world.stream(settings());
    let player = world.join(&stream, RTMP, Peer::with_socket());
    let publisher = world.publish(&stream);
    publisher.say(0, "H K1");
    world.turn();
    let (kind, payload) = message("T9");
    let mut answer = Vec::new();
    let media = live::Media { kind, timestamp: 0, payload: &payload };
    RTMP.encode(&media, |bytes| answer.extend_from_slice(bytes));
    publisher.say(80, "I2");
    assert!(player.answer(&answer, 100));
    publisher.say(120, "I3");
    world.turn();
    let got = player.news();
    assert!(["H K1 I2 T9 I3", "H K1 T9 I2 I3"].contains(&got.as_str()), "{got}");
}

#[test]
fn nothing_is_written_to_a_socket_that_is_none_of_ours_any_more() {
    let world = World::new();
    let stream = world.stream(Settings { merge_window: Some(100), ..settings() });
    let peer = Peer::with_socket();
    let (near, far) = peer.socket.as_ref().unwrap();
    let (mut kept, mut client) = (near.try_clone().unwrap(), far.try_clone().unwrap());
    let mut player = world.join(&stream, RTMP, peer);
    let publisher = world.publish(&stream);
    publisher.say(0, "H K1");
    world.pass(200);
    publisher.say(80, "I2");
    let peer = Rc::downgrade(&player.peer);
    player.leave();
    drop(player);
    assert!(peer.upgrade().is_none(), "the engine holds it no more");
    world.pass(200);
    kept.write_all(b"!").unwrap();
    let mut buffer = [0; 4096];
    let n = client.read(&mut buffer).unwrap();
    assert_eq!(&buffer[..n], b"!");
}
