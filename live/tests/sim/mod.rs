//! A worker with virtual time: its event loop, publishers and players, without nginx.
#![allow(dead_code)] // each test file uses a part of it

pub mod chaos;

use std::cell::{Cell, RefCell};
use std::fmt::Arguments;
use std::io::{self, IoSlice, Read};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::rc::{Rc, Weak};

use live::{
    Call, Change, Data, Direct, End, Filter, Form, Framing, Host, Key, Kind, Media, Meta,
    Publication, Registry, Settings, Sink, Socket, Source, Stream, Subscriber, Subscription,
};
use rtmp_protocol::chunk::{ChunkReader, Limits};
use rtmp_protocol::flv::FlvReader;

pub const RTMP: Form = Form::Rtmp { chunk_size: 4096, stream_id: 1, to_publish: false };
pub const PUSH: Form = Form::Rtmp { chunk_size: 4096, stream_id: 1, to_publish: true };

/// Settings as those of the directives' defaults, but everything is written at the end of a turn.
pub fn settings() -> Settings {
    Settings {
        form: RTMP,
        cache_time: 0,
        cache_size: 16 << 20,
        low_latency: false,
        send_all: false,
        merge_window: Some(0),
        meta: Meta::Copy,
        wait_key: true,
        wait_video: false,
        out_queue_time: 10_000,
        out_queue_size: 8 << 20,
        out_queue_drops: None,
        player_memory: 2 << 20,
    }
}

/// The same, with a cache of so many milliseconds.
pub fn cached(ms: u64) -> Settings {
    Settings { cache_time: ms, ..settings() }
}

// ---- the event loop ----

#[derive(Default)]
struct Alarms {
    now: Cell<u64>,
    all: RefCell<Vec<Weak<Alarm>>>,
    lines: RefCell<Vec<String>>,
}

struct Alarm {
    run: Box<dyn Fn(u64)>,
    posted: Cell<bool>,
    next: Cell<bool>,
    at: Cell<Option<u64>>,
    now: Rc<Alarms>,
}

struct Handle(Rc<Alarm>);

struct Loop(Rc<Alarms>);

impl Host for Loop {
    fn call(&self, run: Box<dyn Fn(u64)>) -> Box<dyn Call> {
        let alarm = Rc::new(Alarm {
            run,
            posted: Cell::default(),
            next: Cell::default(),
            at: Cell::default(),
            now: self.0.clone(),
        });
        self.0.all.borrow_mut().push(Rc::downgrade(&alarm));
        Box::new(Handle(alarm))
    }

    fn warn(&self, line: Arguments<'_>) {
        self.0.lines.borrow_mut().push(line.to_string());
    }
}

impl Call for Handle {
    fn post(&self) {
        self.0.posted.set(true);
    }

    fn post_next(&self) {
        self.0.next.set(true);
    }

    fn is_posted(&self) -> bool {
        self.0.posted.get() || self.0.next.get()
    }

    fn set_timer(&self, ms: u64) {
        self.0.at.set(Some(self.0.now.now.get() + ms));
    }

    fn cancel(&self) {
        self.0.posted.set(false);
        self.0.next.set(false);
        self.0.at.set(None);
    }
}

/// A worker: its streams, its event loop, and what observers were told.
pub struct World {
    alarms: Rc<Alarms>,
    pub registry: Registry,
    pub changes: Rc<RefCell<Vec<Change>>>,
}

impl World {
    pub fn new() -> Self {
        let alarms = Rc::new(Alarms::default());
        alarms.now.set(1_000_000);
        let registry = Registry::new(Loop(alarms.clone()));
        let changes: Rc<RefCell<Vec<Change>>> = Rc::default();
        let told = changes.clone();
        registry.observe(move |_, change| told.borrow_mut().push(change));
        World { alarms, registry, changes }
    }

    pub fn now(&self) -> u64 {
        self.alarms.now.get()
    }

    /// Lines of the log.
    pub fn lines(&self) -> Vec<String> {
        self.alarms.lines.borrow().clone()
    }

    pub fn stream(&self, settings: Settings) -> Rc<Stream> {
        self.named("s", settings)
    }

    pub fn named(&self, name: &str, settings: Settings) -> Rc<Stream> {
        self.registry.stream(&key(name), &settings, self.now())
    }

    /// One turn of the loop: what was posted, in the order in which it came to be.
    pub fn turn(&self) {
        let alarms: Vec<_> = self.alarms.all.borrow().iter().filter_map(Weak::upgrade).collect();
        let due: Vec<_> = alarms.iter().filter(|alarm| alarm.next.take()).cloned().collect();
        for alarm in due {
            (alarm.run)(self.now());
        }
        while let Some(alarm) = self.alarms.posted() {
            (alarm.run)(self.now());
        }
        self.alarms.all.borrow_mut().retain(|alarm| alarm.strong_count() > 0);
    }

    /// Time passes, and what is due within it is done when it is.
    pub fn pass(&self, ms: u64) {
        self.turn();
        let until = self.now() + ms;
        while let Some((at, alarm)) = self.alarms.due(until) {
            self.alarms.now.set(at.max(self.now()));
            alarm.at.set(None);
            (alarm.run)(self.now());
            self.turn();
        }
        self.alarms.now.set(until);
        self.turn();
    }

    /// The worker stands still: time passes and nothing is done.
    pub fn stall(&self, ms: u64) {
        self.alarms.now.set(self.now() + ms);
    }

    pub fn publish(&self, stream: &Rc<Stream>) -> Publisher {
        self.publish_as(stream, 0, false)
    }

    pub fn publish_as(&self, stream: &Rc<Stream>, priority: i32, gathered: bool) -> Publisher {
        let seat = Rc::new(Seat { gathered, ..Seat::default() });
        let publication = stream.publish(priority, seat.clone(), self.now());
        let publication = publication.unwrap_or_else(|_| panic!("priority {priority} is taken"));
        Publisher { publication, seat, alarms: self.alarms.clone() }
    }

    pub fn play(&self, stream: &Rc<Stream>) -> Player {
        self.join(stream, RTMP, Peer::default())
    }

    pub fn play_as(&self, stream: &Rc<Stream>, form: Form) -> Player {
        self.join(stream, form, Peer::default())
    }

    pub fn join(&self, stream: &Rc<Stream>, form: Form, peer: Peer) -> Player {
        let peer = Rc::new(peer);
        let prologue = peer.prologue.take();
        let player = !form.is_to_publish();
        let subscriber = Subscriber { form, sink: peer.clone(), player, prologue };
        let subscription = Some(stream.subscribe(subscriber, self.now()));
        Player { subscription, peer, form, alarms: self.alarms.clone() }
    }
}

impl Alarms {
    fn posted(&self) -> Option<Rc<Alarm>> {
        let all = self.all.borrow();
        all.iter().filter_map(Weak::upgrade).find(|alarm| alarm.posted.take())
    }

    fn due(&self, until: u64) -> Option<(u64, Rc<Alarm>)> {
        let all = self.all.borrow();
        let timers = all.iter().filter_map(Weak::upgrade);
        let due = timers.filter_map(|alarm| Some((alarm.at.get()?, alarm)));
        due.filter(|(at, _)| *at <= until).min_by_key(|(at, _)| *at)
    }
}

pub fn key(name: &str) -> Key {
    Key { server: "server".into(), app: b"live"[..].into(), name: name.as_bytes().into() }
}

// ---- a publisher ----

/// What a publisher hears.
#[derive(Default)]
pub struct Seat {
    pub gathered: bool,
    pub on_air: RefCell<Vec<bool>>,
    pub refused: Cell<Option<&'static str>>,
    pub collected: Cell<u32>,
}

impl Source for Seat {
    fn on_air(&self, on_air: bool) {
        self.on_air.borrow_mut().push(on_air);
    }

    fn refuse(&self, why: &'static str) {
        self.refused.set(Some(why));
    }

    fn collect(&self) {
        self.collected.set(self.collected.get() + 1);
    }

    fn gathered(&self) -> bool {
        self.gathered
    }
}

pub struct Publisher {
    pub publication: Publication,
    pub seat: Rc<Seat>,
    alarms: Rc<Alarms>,
}

impl Publisher {
    pub fn send(&self, kind: Kind, timestamp: u32, payload: &[u8]) {
        self.publication.append(Media { kind, timestamp, payload }, self.alarms.now.get());
    }

    /// Messages by their labels, as a player tells them, each 40 ms after the one before.
    pub fn say(&self, from: u32, labels: &str) {
        for (n, label) in labels.split_whitespace().enumerate() {
            let (kind, payload) = message(label);
            self.send(kind, from.wrapping_add(40 * n as u32), &payload);
        }
    }

    /// One of them of so many bytes.
    pub fn say_long(&self, timestamp: u32, label: &str, len: usize) {
        let (kind, mut payload) = message(label);
        payload.resize(len, 0x55);
        self.send(kind, timestamp, &payload);
    }
}

/// The message of a label: `H` and `G` are the sequence headers of video and audio, `K` a key frame,
/// `I` and `D` other frames of video, `A` of audio, `M` metadata, `T` other data, `E` the end of the
/// video's sequence; a number tells them apart. A label in lower case is of HEVC, one behind `+` is
/// of the second track.
pub fn message(label: &str) -> (Kind, Vec<u8>) {
    let (second, label) = match label.strip_prefix('+') {
        Some(label) => (true, label),
        None => (false, label),
    };
    let (name, number) = label.split_at(1);
    let number: u16 = number.parse().unwrap_or(0);
    let (kind, mut payload) = match (name, second) {
        ("H", false) => (Kind::Video, vec![0x17, 0, 0, 0, 0]),
        ("K", false) => (Kind::Video, vec![0x17, 1, 0, 0, 0]),
        ("I", false) => (Kind::Video, vec![0x27, 1, 0, 0, 0]),
        ("D", false) => (Kind::Video, vec![0x37, 1, 0, 0, 0]),
        ("E", false) => (Kind::Video, vec![0x17, 2, 0, 0, 0]),
        ("h", false) => (Kind::Video, b"\x90hvc1".to_vec()),
        ("k", false) => (Kind::Video, b"\x91hvc1".to_vec()),
        ("i", false) => (Kind::Video, b"\xa1hvc1".to_vec()),
        ("c", false) => (Kind::Video, b"\x94hvc1".to_vec()),
        ("H", true) => (Kind::Video, b"\x96\x00avc1\x01".to_vec()),
        ("K", true) => (Kind::Video, b"\x96\x01avc1\x01".to_vec()),
        ("I", true) => (Kind::Video, b"\xa6\x01avc1\x01".to_vec()),
        ("G", _) => (Kind::Audio, vec![0xAF, 0]),
        ("A", _) => (Kind::Audio, vec![0xAF, 1]),
        ("M", _) => {
            (Kind::Data, b"\x02\x00\x0aonMetaData\x08\x00\x00\x00\x00\x00\x00\x09".to_vec())
        }
        ("T", _) => (Kind::Data, b"\x02\x00\x06onText".to_vec()),
        _ => panic!("no message {label}"),
    };
    payload.extend_from_slice(&number.to_be_bytes());
    (kind, payload)
}

/// The label of a message.
pub fn label(kind: Kind, payload: &[u8]) -> String {
    let mut name = match (kind, payload) {
        (Kind::Video, [0x17, 0, ..]) => "H",
        (Kind::Video, [0x17, 1, ..]) => "K",
        (Kind::Video, [0x27, 1, ..]) => "I",
        (Kind::Video, [0x37, 1, ..]) => "D",
        (Kind::Video, [0x17, 2, ..]) => "E",
        (Kind::Video, [0x90, ..]) => "h",
        (Kind::Video, [0x91, ..]) => "k",
        (Kind::Video, [0xa1, ..]) => "i",
        (Kind::Video, [0x94, ..]) => "c",
        (Kind::Video, [0x96, 0x00, ..]) => "+H",
        (Kind::Video, [0x96, 0x01, ..]) => "+K",
        (Kind::Video, [0xa6, 0x01, ..]) => "+I",
        (Kind::Audio, [0xAF, 0, ..]) => "G",
        (Kind::Audio, _) => "A",
        (Kind::Data, _) if payload.windows(10).any(|part| part == b"onMetaData") => "M",
        (Kind::Data, _) => "T",
        _ => panic!("a broken message {payload:x?}"),
    }
    .to_owned();
    let head = message(&name).1.len() - 2;
    let at = if name == "M" { payload.len() - 2 } else { head };
    let number = u16::from_be_bytes([payload[at], payload[at + 1]]);
    if number > 0 {
        name += &number.to_string();
    }
    name
}

// ---- a player ----

/// The peer of a player: a client that takes so many bytes, or a socket.
pub struct Peer {
    /// How many bytes it takes before it is full.
    pub room: Cell<usize>,
    pub bytes: RefCell<Vec<u8>>,
    pub prologue: RefCell<Vec<u8>>,
    pub broken: Cell<bool>,
    pub ended: RefCell<Option<String>>,
    /// What it was told of sources.
    pub told: RefCell<Vec<bool>>,
    pub writes: Cell<u32>,
    /// Bytes that the engine wrote to the socket itself.
    pub sent: Cell<u64>,
    /// Our end of a socket, and the client's.
    pub socket: Option<(UnixStream, UnixStream)>,
    pub framing: Framing,
    pub relay: bool,
}

impl Default for Peer {
    fn default() -> Self {
        Peer {
            room: Cell::new(usize::MAX),
            bytes: RefCell::default(),
            prologue: RefCell::default(),
            broken: Cell::new(false),
            ended: RefCell::default(),
            told: RefCell::default(),
            writes: Cell::new(0),
            sent: Cell::new(0),
            socket: None,
            framing: Framing::Plain,
            relay: false,
        }
    }
}

impl Peer {
    pub fn with_room(room: usize) -> Self {
        Peer { room: Cell::new(room), ..Peer::default() }
    }

    pub fn with_socket() -> Self {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        far.set_nonblocking(true).unwrap();
        Peer { socket: Some((near, far)), ..Peer::default() }
    }

    fn take(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let (mut room, mut taken) = (self.room.get(), 0);
        for part in parts {
            let n = part.len().min(room);
            self.bytes.borrow_mut().extend_from_slice(&part[..n]);
            (room, taken) = (room - n, taken + n);
        }
        self.room.set(room);
        if taken == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(taken)
    }

    /// Reads what has come over the socket.
    pub fn receive(&self) {
        let Some((_, far)) = &self.socket else { return };
        let mut buffer = [0; 65536];
        while let Ok(n @ 1..) = (&mut &*far).read(&mut buffer) {
            self.bytes.borrow_mut().extend_from_slice(&buffer[..n]);
        }
    }
}

impl Sink for Peer {
    fn write(&self, data: Data<'_>) -> io::Result<usize> {
        assert_eq!(data.parts.len(), data.blocks.len());
        self.writes.set(self.writes.get() + 1);
        if self.broken.get() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        match &self.socket {
            Some((near, _)) => Socket::new(near.as_raw_fd()).writev(data.parts),
            None => self.take(data.parts),
        }
    }

    fn direct(&self) -> Option<Direct> {
        let socket = Socket::new(self.socket.as_ref()?.0.as_raw_fd());
        Some(Direct { socket, framing: self.framing, relay: self.relay })
    }

    fn sent(&self, bytes: u64) {
        self.sent.set(self.sent.get() + bytes);
    }

    fn complete(&self, frame: Data<'_>, sent: usize) -> io::Result<bool> {
        let all: Vec<u8> = frame.parts.iter().flat_map(|part| part.iter().copied()).collect();
        let (near, _) = self.socket.as_ref().unwrap();
        // what the socket does not take, the client gets all the same
        let rest = &all[sent..];
        let n = Socket::new(near.as_raw_fd()).send(rest).unwrap_or(0);
        self.receive();
        self.bytes.borrow_mut().extend_from_slice(&rest[n..]);
        Ok(true)
    }

    fn end(&self, why: End) {
        self.ended.borrow_mut().get_or_insert_with(|| why.why());
    }

    fn source(&self, on_air: bool) {
        self.told.borrow_mut().push(on_air);
    }
}

/// A message that a player got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Got {
    pub kind: Kind,
    pub timestamp: u32,
    pub payload: Vec<u8>,
}

pub struct Player {
    pub subscription: Option<Subscription>,
    pub peer: Rc<Peer>,
    form: Form,
    alarms: Rc<Alarms>,
}

impl Player {
    fn subscription(&self) -> &Subscription {
        self.subscription.as_ref().unwrap()
    }

    fn now(&self) -> u64 {
        self.alarms.now.get()
    }

    /// It takes so many bytes more.
    pub fn read(&self, bytes: usize) {
        self.peer.receive();
        self.peer.room.set(bytes);
        self.subscription().writable(self.now());
    }

    pub fn pause(&self, pause: bool) {
        self.subscription().pause(pause, self.now());
    }

    pub fn want(&self, audio: bool, video: bool) {
        self.subscription().set_filter(Filter { audio, video }, self.now());
    }

    pub fn answer(&self, bytes: &[u8], max: usize) -> bool {
        self.subscription().send(bytes, max, self.now())
    }

    /// It leaves, and gets what completes the message that it was receiving.
    pub fn leave(&mut self) {
        let rest = self.subscription.take().unwrap().finish();
        self.peer.receive();
        self.peer.bytes.borrow_mut().extend_from_slice(&rest);
    }

    /// Everything that it got; what it has not got whole is left out.
    pub fn messages(&self) -> Vec<Got> {
        self.peer.receive();
        parse(self.form, &self.peer.bytes.borrow()).0
    }

    /// Whether what it got ends with a whole message.
    pub fn is_between_messages(&self) -> bool {
        self.peer.receive();
        parse(self.form, &self.peer.bytes.borrow()).1 == 0
    }

    /// The labels of what it got.
    pub fn got(&self) -> String {
        let messages = self.messages();
        let labels: Vec<_> = messages.iter().map(|got| label(got.kind, &got.payload)).collect();
        labels.join(" ")
    }

    /// The labels of what it got since this was asked last, if it got whole messages only.
    pub fn news(&self) -> String {
        let got = self.got();
        assert!(self.is_between_messages(), "a message is cut short behind {got}");
        self.peer.bytes.borrow_mut().clear();
        got
    }

    /// The timestamps of what it got.
    pub fn times(&self) -> Vec<u32> {
        self.messages().iter().map(|got| got.timestamp).collect()
    }

    /// Why it was ended.
    pub fn end(&self) -> Option<String> {
        self.peer.ended.borrow().clone()
    }
}

/// The messages in what a peer got, and how many bytes of the next one there are.
pub fn parse(form: Form, bytes: &[u8]) -> (Vec<Got>, usize) {
    match form {
        Form::Flv => parse_flv(bytes),
        Form::Rtmp { chunk_size, .. } => parse_rtmp(chunk_size, bytes),
    }
}

fn parse_flv(bytes: &[u8]) -> (Vec<Got>, usize) {
    let mut all = rtmp_protocol::flv::header(true, true).to_vec();
    all.extend_from_slice(bytes);
    let (mut reader, mut input, mut got) = (FlvReader::new(64 << 20), &all[..], Vec::new());
    while let Some(tag) = reader.read(&mut input).expect("FLV") {
        got.push(Got {
            kind: Kind::of_message_type(tag.kind).expect("media"),
            timestamp: tag.timestamp,
            payload: tag.payload.to_vec(),
        });
    }
    let whole: usize = got.iter().map(|got| got.payload.len() + 15).sum();
    // the last tag is told before its trailer is there
    (got, bytes.len().abs_diff(whole))
}

fn parse_rtmp(chunk_size: usize, bytes: &[u8]) -> (Vec<Got>, usize) {
    let mut reader = ChunkReader::new(Limits { max_message: 64 << 20, ..Limits::default() });
    let mut start = vec![2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0];
    start.extend_from_slice(&(chunk_size as u32).to_be_bytes());
    start.extend_from_slice(bytes);
    let (mut input, mut got) = (&start[..], Vec::new());
    while let Some(message) = reader.read(&mut input).expect("RTMP") {
        if let Some(kind) = Kind::of_message_type(message.kind) {
            let (timestamp, payload) = (message.timestamp, message.payload.to_vec());
            got.push(Got { kind, timestamp, payload });
        }
    }
    (got, input.len() + usize::from(!reader.is_between_messages()))
}
