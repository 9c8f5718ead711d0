//! Any publishers and players, out of any bytes, and what must hold for each player whatever they do.

use std::rc::Rc;

use live::{Form, Kind, Settings, Stream};

use super::*;

/// Bytes from which decisions are read; when there are no more, all are 0.
pub struct Bytes<'a>(pub &'a [u8]);

impl Bytes<'_> {
    fn one(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::from(self.one()) % all.len()]
    }
}

const FORMS: [Form; 4] =
    [RTMP, Form::Flv, Form::Rtmp { chunk_size: 128, stream_id: 1, to_publish: false }, PUSH];
/// The longest message.
const MAX_LEN: usize = 20_000;
const MAX_PLAYERS: usize = 12;

/// A publisher that knows what its frames refer to.
struct Encoder {
    publisher: Publisher,
    id: u8,
    clock: u32,
    header: [u16; 2],
    gop: u32,
    frame: u32,
}

/// A stream with everybody on it.
pub struct Chaos {
    world: World,
    stream: Rc<Stream>,
    settings: Settings,
    encoders: Vec<Encoder>,
    next_encoder: u8,
    header: u16,
    players: Vec<Player>,
}

impl Chaos {
    fn new(bytes: &mut Bytes<'_>) -> Self {
        let settings = Settings {
            form: bytes.of(&[RTMP, Form::Flv]),
            cache_time: bytes.of(&[0, 100, 1000, 60_000]),
            cache_size: bytes.of(&[64 << 10, 1 << 20]),
            low_latency: bytes.of(&[false, true]),
            send_all: bytes.of(&[false, true]),
            merge_window: bytes.of(&[Some(0), Some(30), None]),
            wait_video: bytes.of(&[false, true]),
            out_queue_time: bytes.of(&[200, 2000, 60_000]),
            out_queue_size: bytes.of(&[64 << 10, 1 << 20]),
            out_queue_drops: bytes.of(&[None, Some(3)]),
            player_memory: bytes.of(&[8 << 10, 1 << 20]),
            ..settings()
        };
        let world = World::new();
        let stream = world.stream(settings.clone());
        let (encoders, players) = (Vec::new(), Vec::new());
        Chaos { world, stream, settings, encoders, next_encoder: 0, header: 0, players }
    }

    fn act(&mut self, bytes: &mut Bytes<'_>) {
        let act = bytes.one() % 16;
        match act {
            0 => self.publish(bytes.one()),
            1 => self.unpublish(bytes.one()),
            2..=6 => self.say(bytes),
            7 | 8 => self.join(bytes),
            9 => self.leave(bytes.one()),
            10 => {
                let room = bytes.of(&[1, 50, 1000, 100_000, usize::MAX]);
                self.with(bytes.one(), |player| player.read(room));
            }
            11 => {
                let pause = bytes.of(&[true, false]);
                self.with(bytes.one(), |player| player.pause(pause));
            }
            12 => {
                let (audio, video) = bytes.of(&[(true, true), (true, false), (false, true)]);
                self.with(bytes.one(), |player| player.want(audio, video));
            }
            13 => self.with(bytes.one(), |player| {
                player.answer(&answer(player.form), 1 << 20);
            }),
            14 => self.world.pass(bytes.of(&[1, 40, 400, 3000])),
            _ => self.world.turn(),
        }
        self.dismiss();
    }

    /// A session leaves when its player is ended.
    fn dismiss(&mut self) {
        for at in (0..self.players.len()).rev() {
            if self.players[at].end().is_some() {
                drop(self.players.swap_remove(at).subscription.take());
            }
        }
    }

    fn publish(&mut self, priority: u8) {
        let seat = Rc::new(Seat::default());
        let priority = i32::from(priority % 4);
        let publication = self.stream.publish(priority, seat.clone(), self.world.now());
        let Ok(publication) = publication else { return };
        self.next_encoder = self.next_encoder.wrapping_add(1);
        let publisher = Publisher { publication, seat, alarms: self.world.alarms.clone() };
        let id = self.next_encoder;
        let clock = u32::from(id) * 1000;
        self.encoders.push(Encoder { publisher, id, clock, header: [0; 2], gop: 0, frame: 0 });
    }

    fn unpublish(&mut self, at: u8) {
        if !self.encoders.is_empty() {
            self.encoders.swap_remove(usize::from(at) % self.encoders.len());
        }
    }

    fn say(&mut self, bytes: &mut Bytes<'_>) {
        if self.encoders.is_empty() {
            return;
        }
        let at = usize::from(bytes.one()) % self.encoders.len();
        let encoder = &mut self.encoders[at];
        let name = bytes.of(&["I", "I", "I", "A", "A", "K", "H", "G", "M", "T"]);
        encoder.clock += bytes.of(&[0, 1, 40, 400]);
        let kind = match name {
            "H" | "K" | "I" => 0,
            _ => 1,
        };
        match name {
            "H" | "G" => {
                self.header = self.header % 60_000 + 1;
                encoder.header[kind] = self.header;
            }
            "K" => (encoder.gop, encoder.frame) = (encoder.gop + 1, 0),
            "I" => encoder.frame += 1,
            _ => (),
        }
        let number = if matches!(name, "M" | "T") { 0 } else { encoder.header[kind] };
        let (kind, mut payload) = message(&format!("{name}{number}"));
        if matches!(name, "K" | "I") {
            payload.push(encoder.id);
            payload.extend_from_slice(&encoder.gop.to_be_bytes());
            payload.extend_from_slice(&encoder.frame.to_be_bytes());
            payload.resize(payload.len() + bytes.of(&[0, 0, 500, MAX_LEN]), 0);
        }
        encoder.publisher.send(kind, encoder.clock, &payload);
    }

    fn join(&mut self, bytes: &mut Bytes<'_>) {
        if self.players.len() == MAX_PLAYERS {
            return;
        }
        let form = bytes.of(&FORMS);
        let peer = match bytes.one() % 3 {
            0 => Peer::with_socket(),
            1 => Peer::with_room(usize::from(bytes.one()) * 8),
            _ => Peer::default(),
        };
        self.players.push(self.world.join(&self.stream, form, peer));
    }

    fn leave(&mut self, at: u8) {
        if self.players.is_empty() {
            return;
        }
        let mut player = self.players.swap_remove(usize::from(at) % self.players.len());
        player.leave();
        assert!(player.is_between_messages(), "what has begun is completed");
        self.check_player(&player);
    }

    fn with(&self, at: u8, act: impl Fn(&Player)) {
        if !self.players.is_empty() {
            act(&self.players[usize::from(at) % self.players.len()]);
        }
    }

    /// What a stream holds, after a turn.
    fn check_memory(&self) {
        self.world.turn();
        let held = self.stream.held();
        let most = self.settings.cache_size.max(self.settings.out_queue_size);
        // blocks are of 128 KiB at most, and queues that have just grown are half empty
        let slack = FORMS.len() as u64 * (4 * 128 * 1024 + 4 * MAX_LEN as u64);
        assert!(held.log <= 2 * 3 * most + slack, "{held:?}");
        assert!(held.headers <= 8 * (1_100_000), "{held:?}");
        let each = self.settings.player_memory + 2 * MAX_LEN as u64;
        assert!(held.players <= self.players.len() as u64 * each, "{held:?}");
    }

    fn check_player(&self, player: &Player) {
        let (mut last, mut header) = (None, [0; 2]);
        let mut times: [Option<u32>; 2] = [None; 2];
        for got in player.messages() {
            let at = match got.kind {
                Kind::Video => 0,
                Kind::Audio => 1,
                Kind::Data => continue,
            };
            let label = label(got.kind, &got.payload);
            let number = label[1..].parse().unwrap_or(0);
            if matches!(&label[..1], "H" | "G") {
                header[at] = number;
                continue;
            }
            assert!(number == 0 || number == header[at], "{label} behind header {}", header[at]);
            let time = got.timestamp;
            assert!(times[at].is_none_or(|before| time.wrapping_sub(before) as i32 >= 0));
            times[at] = Some(time);
            if got.kind == Kind::Video {
                let frame = frame_of(&got.payload);
                let follows = last == Some((frame.0, frame.1, frame.2.wrapping_sub(1)));
                assert!(frame.2 == 0 || follows, "{frame:?} behind {last:?}");
                last = Some(frame);
            }
        }
    }
}

/// The encoder, the GOP and the number within it of a frame of video.
fn frame_of(payload: &[u8]) -> (u8, u32, u32) {
    let word = |at| u32::from_be_bytes(std::array::from_fn(|n| payload[at + n]));
    (payload[7], word(8), word(12))
}

fn answer(form: Form) -> Vec<u8> {
    let (kind, payload) = message("T9");
    let mut out = Vec::new();
    form.encode(&Media { kind, timestamp: 0, payload: &payload }, |part| {
        out.extend_from_slice(part)
    });
    out
}

/// Does what the bytes say, and checks what must hold.
pub fn run(input: &[u8]) {
    let mut bytes = Bytes(input);
    let mut chaos = Chaos::new(&mut bytes);
    let mut acts = 0;
    while !bytes.0.is_empty() {
        chaos.act(&mut bytes);
        acts += 1;
        if acts % 64 == 0 {
            chaos.check_memory();
            chaos.dismiss();
        }
    }
    chaos.check_memory();
    for mut player in std::mem::take(&mut chaos.players) {
        chaos.check_player(&player);
        if player.end().is_none() {
            player.leave();
            assert!(player.is_between_messages());
        }
    }
    // everybody leaves: nothing is held any more
    chaos.encoders.clear();
    chaos.world.turn();
    assert_eq!((chaos.stream.players(), chaos.stream.held().players), (0, 0));
}
