//! The load itself: real-time publishers and checking players on one thread.

use crate::flv;
use crate::latency::Latency;
use crate::media::Media;
use crate::net::{self, Event, Io, Poll, MILLISECOND, SECOND};
use crate::progress::Progress;
use crate::rtmp::{self, Client, Handshake, Purpose, Request};
use crate::skim::{Chunks, HttpFlv, Message};
use crate::target::{Play, Scheme, Target};
use anyhow::{bail, ensure, Result};
use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::os::fd::OwnedFd;

/// One read takes as much as a socket's usual receive buffer holds.
const READ_BUFFER: usize = 256 << 10;
/// A publisher that cannot get rid of its bytes pauses here, and looks again after `BLOCKED_RETRY`.
const MAX_UNSENT: usize = 8 << 20;
const BLOCKED_RETRY: u64 = 10 * MILLISECOND;
/// A churn slot whose connection failed waits so long.
const FAILED_RETRY: u64 = 10 * MILLISECOND;
/// Different reasons are counted apart up to here.
const MAX_REASONS: usize = 32;

/// What a player waits for in a churn run, before it leaves and comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Until {
    /// The answer to `play` (HTTP-FLV: like media)
    Status,
    /// The first audio or video message
    Media,
    /// The first key frame
    Key,
}

/// Why connections ended, and how many each.
pub type Reasons = BTreeMap<String, u64>;

/// What the players of a group saw.
#[derive(Clone, Copy, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Tally {
    /// Messages stamped inside the window.
    pub received: u64,
    /// Sequence numbers passed over, after a player's first key frame.
    pub missing: u64,
    /// Messages that came after a later one, or twice.
    pub disorder: u64,
    /// Messages whose timestamp is below that of the message before.
    pub time_back: u64,
    /// No stamp, another stream's stamp, or a wrong CRC.
    pub corrupt: u64,
    /// Messages of which every byte was checked.
    pub crc_checked: u64,
}

#[derive(Debug)]
pub struct Group {
    pub play: Play,
    pub opened: u64,
    /// Players that have had a key frame.
    pub playing: u64,
    pub closed: Reasons,
    pub tally: Tally,
    /// TCP payload received inside the window.
    pub window_bytes: u64,
    pub bytes: u64,
    /// Stamp to receipt, of messages stamped inside the window.
    pub latency: Latency,
    /// The same since the last line of progress.
    pub recent: Latency,
    /// `play` to the first media message.
    pub join: Latency,
    /// `play` to the first coded key frame, and how old that was.
    pub key: Latency,
    pub key_age: Latency,
    /// Churn: whole visits, from connecting on.
    pub visit: Latency,
    pub visits: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Stream {
    slot: Option<usize>,
    live: bool,
    start: u64,
    next: u64,
    pub sent_in_window: u64,
}

#[derive(Debug)]
struct Connection {
    socket: OwnedFd,
    generation: u32,
    connected: bool,
    stream: u32,
    link: Link,
    out: Vec<u8>,
    sent: usize,
    wants_write: bool,
    opened: u64,
    role: Role,
}

#[derive(Debug)]
enum Link {
    Rtmp(Box<Client>),
    HttpFlv(Box<HttpFlv>),
    Floor(Chunks),
    /// A request that is held: whatever it is answered.
    Held,
}

#[derive(Debug)]
enum Role {
    Publisher,
    Player(Player),
}

#[derive(Debug, Default)]
struct Player {
    group: usize,
    /// When `play` was sent, when the first media message and the first key frame came; 0 = not yet.
    asked: u64,
    first: u64,
    key: u64,
    next: Option<u64>,
    timestamp: u32,
    /// Messages received that were stamped inside the window.
    in_window: u64,
}

/// What becomes of a connection after it was served.
enum Next {
    Keep,
    Close(Cow<'static, str>),
    /// A churn visit is complete.
    Done,
}

pub struct Load {
    media: Media,
    publish: Vec<Target>,
    verify_every: u64,
    until: Option<Until>,
    /// Churn at a steady rate: from one visit of a slot to its next, in ns.
    period: Option<u64>,
    handshake: Handshake,
    hold: bool,
    poll: Poll,
    /// Time in which it looked for something to do in vain, in ns.
    idle: u64,
    /// Up to when that is counted, if it still does so.
    idle_since: Option<u64>,
    events: Vec<Event>,
    connections: Vec<Option<Box<Connection>>>,
    free: Vec<usize>,
    made: u64,
    pub streams: Vec<Stream>,
    pub groups: Vec<Group>,
    /// Streams by the time their next message is due.
    due: BinaryHeap<Reverse<(u64, u32)>>,
    /// Churn: players to open again (time, group, stream).
    again: BinaryHeap<Reverse<(u64, usize, u32)>>,
    pub window: (u64, u64),
    pub publisher_closed: Reasons,
    /// How late messages were handed to the socket.
    pub publisher_late: Latency,
    /// Times that a publisher's socket took no more.
    pub publisher_blocked: u64,
    buffer: Vec<u8>,
    pub progress: Progress,
}

impl Load {
    pub fn new(media: Media, publish: Vec<Target>, streams: u32, plays: &[Play]) -> Result<Self> {
        let publishable = publish.iter().all(|target| target.scheme == Scheme::Rtmp);
        ensure!(publishable, "publishing is done by rtmp:// only");
        for target in publish.iter().chain(plays.iter().map(|play| &play.target)) {
            let known = target.only.is_none_or(|only| only < streams);
            ensure!(known, "{target} is for a stream that is none of the {streams}");
        }
        for stream in (0..streams).filter(|_| !publish.is_empty()) {
            let times = publish.iter().filter(|target| target.is_for(stream)).count();
            ensure!(times == 1, "stream {stream} is published {times} times, not once");
        }
        let group = |play: &Play| Group {
            play: play.clone(),
            opened: 0,
            playing: 0,
            closed: Reasons::new(),
            tally: Tally::default(),
            window_bytes: 0,
            bytes: 0,
            latency: Latency::default(),
            recent: Latency::default(),
            join: Latency::default(),
            key: Latency::default(),
            key_age: Latency::default(),
            visit: Latency::default(),
            visits: 0,
        };
        Ok(Self {
            media,
            publish,
            verify_every: 0,
            until: None,
            period: None,
            handshake: Handshake::Simple,
            hold: false,
            poll: Poll::new()?,
            idle: 0,
            idle_since: None,
            events: Vec::new(),
            connections: Vec::new(),
            free: Vec::new(),
            made: 0,
            streams: vec![Stream::default(); streams as usize],
            groups: plays.iter().map(group).collect(),
            due: BinaryHeap::new(),
            again: BinaryHeap::new(),
            window: (u64::MAX, u64::MAX),
            publisher_closed: Reasons::new(),
            publisher_late: Latency::default(),
            publisher_blocked: 0,
            buffer: vec![0; READ_BUFFER],
            progress: Progress::off(),
        })
    }

    /// Every byte is checked for one player in `n`; 0 = none.
    pub fn verify_every(&mut self, n: u64) {
        self.verify_every = n;
    }

    /// Makes players leave and come again: at once, or so that there are `rate` visits a second in all.
    pub fn churn(&mut self, until: Until, rate: Option<f64>) {
        self.until = Some(until);
        let streams = self.streams.len() as f64;
        if let (Some(rate), Some(group)) = (rate, self.groups.first_mut()) {
            group.play.joins_per_s = rate;
            let slots = f64::from(group.play.per_stream) * streams;
            self.period = Some((slots * SECOND as f64 / rate) as u64);
        }
    }

    pub fn handshake(&mut self, handshake: Handshake) {
        self.handshake = handshake;
    }

    /// Makes HTTP players read and forget.
    pub fn hold(&mut self) {
        self.hold = true;
    }

    /// Never sleeps, if so.
    pub fn busy_poll(&mut self, busy: bool) {
        self.poll.busy = busy;
    }

    /// How long it has waited without sleeping, in s.
    pub fn idle_s(&self) -> f64 {
        self.idle as f64 / SECOND as f64
    }

    pub fn media(&self) -> &Media {
        &self.media
    }

    /// Opens all publishers, evenly within `over` ns, and waits until they are on air.
    pub fn start_publishers(&mut self, over: u64, timeout: u64) -> Result<()> {
        if self.publish.is_empty() {
            return Ok(());
        }
        self.progress.stage("publishing");
        let wanted = self.streams.len();
        let begin = net::now();
        for stream in 0..wanted as u32 {
            self.open(None, stream);
            self.run_until(begin + over * u64::from(stream + 1) / wanted as u64);
        }
        let live = |load: &Self| load.streams.iter().filter(|stream| stream.live).count();
        self.wait(timeout, |load| live(load) == wanted || !load.publisher_closed.is_empty());
        match live(self) {
            live if live == wanted => Ok(()),
            live => {
                bail!("only {live} of {wanted} publishers are on air: {:?}", self.publisher_closed)
            }
        }
    }

    /// Opens the players of a group at its rate and waits until each has a key frame or has failed.
    pub fn join(&mut self, group: usize, timeout: u64) {
        self.progress.stage("joining");
        self.open_all(group);
        self.wait(timeout, |load| {
            load.groups.get(group).is_none_or(|group| {
                group.playing + group.closed.values().sum::<u64>() >= group.opened
            })
        });
    }

    /// Opens the players of a group at its rate.
    pub fn open_all(&mut self, group: usize) {
        let Some(play) = self.groups.get(group).map(|group| &group.play) else { return };
        let (per_stream, interval) = (play.per_stream, (SECOND as f64 / play.joins_per_s) as u64);
        let streams = 0..self.streams.len() as u32;
        let streams: Vec<u32> = streams.filter(|&stream| play.target.is_for(stream)).collect();
        let mut at = net::now();
        for _ in 0..per_stream {
            for &stream in &streams {
                self.open(Some(group), stream);
                at += interval;
                self.run_until(at);
            }
        }
    }

    /// Messages that all players were to receive of those stamped inside the window. If others publish, the player
    /// that received most of a stream is the measure.
    pub fn expected(&self) -> u64 {
        let mut sent: Vec<u64> = self.streams.iter().map(|stream| stream.sent_in_window).collect();
        if self.publish.is_empty() {
            for connection in self.connections.iter().flatten() {
                let sent = sent.get_mut(connection.stream as usize);
                if let (Role::Player(player), Some(sent)) = (&connection.role, sent) {
                    *sent = player.in_window.max(*sent);
                }
            }
        }
        let of_group = |group: &Group| {
            let streams = (0..).zip(&sent).filter(|(stream, _)| group.play.target.is_for(*stream));
            streams.map(|(_, sent)| sent).sum::<u64>() * u64::from(group.play.per_stream)
        };
        self.groups.iter().map(of_group).sum()
    }

    /// Players opened so far, over all groups.
    pub fn opened(&self) -> u64 {
        self.groups.iter().map(|group| group.opened).sum()
    }

    /// Runs until `end`, or until `condition` holds: looked at each ms.
    pub fn wait(&mut self, timeout: u64, condition: impl Fn(&Self) -> bool) {
        let end = net::now().saturating_add(timeout);
        while !condition(self) && net::now() < end {
            self.turn(end.min(net::now() + MILLISECOND));
        }
    }

    pub fn run_for(&mut self, ns: u64) {
        self.run_until(net::now() + ns);
    }

    pub fn run_until(&mut self, end: u64) {
        while net::now() < end {
            self.turn(end);
        }
    }

    /// One turn of the loop: what is due, then what happens on the sockets until `end` or the next due time.
    fn turn(&mut self, end: u64) {
        let now = net::now();
        let idle_since = self.idle_since.take().unwrap_or(now);
        let mut idle = self.poll.busy;
        while let Some(&Reverse((time, stream))) = self.due.peek() {
            if time > now {
                break;
            }
            self.due.pop();
            self.publish_due(stream);
            idle = false;
        }
        while let Some(&Reverse((time, group, stream))) = self.again.peek() {
            if time > now {
                break;
            }
            self.again.pop();
            self.open_at(Some(group), stream, self.period.map_or(now, |_| time));
            idle = false;
        }
        let due = self.due.peek().map_or(end, |next| next.0 .0);
        let again = self.again.peek().map_or(end, |next| next.0 .0);
        let mut events = std::mem::take(&mut self.events);
        self.poll.wait(end.min(due).min(again), &mut events);
        for event in &events {
            self.on_event(event);
            idle = false;
        }
        self.events = events;
        if self.progress.is_due() {
            let line = self.progress_line();
            self.progress.print(&line);
        }
        if idle {
            let now = net::now();
            self.idle += now - idle_since;
            self.idle_since = Some(now);
        }
    }

    fn progress_line(&mut self) -> String {
        let mut line = String::new();
        for group in &mut self.groups {
            let recent = group.recent.quantiles();
            group.recent.clear();
            line += &format!(
                " · {}/{} players, {} messages, p50 {:.2} ms, p99 {:.2} ms",
                group.playing, group.opened, recent.count, recent.p50, recent.p99
            );
            if group.visits > 0 {
                line += &format!(", {} visits", group.visits);
            }
            if !group.closed.is_empty() {
                line += &format!(", closed: {:?}", group.closed);
            }
        }
        line
    }

    /// Opens a publisher (no group) or a player.
    fn open(&mut self, group: Option<usize>, stream: u32) {
        self.open_at(group, stream, net::now());
    }

    /// The same for one that was to be opened at `opened`: that this was late counts as its delay.
    fn open_at(&mut self, group: Option<usize>, stream: u32, opened: u64) {
        let Some(target) = self.target(group, stream) else { return };
        let made = self.made + 1;
        let verify = self.verify_every > 0 && made.is_multiple_of(self.verify_every);
        let purpose = if group.is_some() { Purpose::Play } else { Purpose::Publish };
        let link = match target.scheme {
            Scheme::Rtmp => {
                let (app, name) = target.app_and_name(stream);
                let tc_url = format!("rtmp://{}/{app}", target.authority);
                let (chunk_size, handshake) = (self.media.chunk_size, self.handshake);
                let request = Request { purpose, app, name, tc_url, chunk_size, handshake };
                Link::Rtmp(Box::new(Client::new(request, verify)))
            }
            _ if self.hold => Link::Held,
            Scheme::HttpFlv => Link::HttpFlv(Box::new(HttpFlv::new(verify))),
            Scheme::Floor => Link::Floor(Chunks::new(self.media.chunk_size, verify)),
        };
        let socket = net::connect(&target.address);
        self.made = made;
        if let Some(group) = group.and_then(|group| self.groups.get_mut(group)) {
            group.opened += 1;
        }
        let role = match group {
            None => Role::Publisher,
            Some(group) => Role::Player(Player { group, ..Player::default() }),
        };
        let socket = match socket {
            Ok(socket) => socket,
            Err(error) => return self.lost(&role, stream, format!("connect: {error}").into()),
        };
        let slot = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        let connection = Connection {
            socket,
            // slots are used again: an event of the one before is told from one of this by its number
            generation: self.made as u32,
            connected: false,
            stream,
            link,
            out: Vec::new(),
            sent: 0,
            wants_write: true,
            opened,
            role,
        };
        if let Err(error) = self.poll.add(&connection.socket, connection.token(slot), true) {
            self.free.push(slot);
            return self.lost(&connection.role, stream, format!("epoll: {error}").into());
        }
        if let (Role::Publisher, Some(stream)) =
            (&connection.role, self.streams.get_mut(stream as usize))
        {
            stream.slot = Some(slot);
        }
        if let Some(place) = self.connections.get_mut(slot) {
            *place = Some(Box::new(connection));
        }
    }

    fn on_event(&mut self, event: &Event) {
        let slot = event.token as u32 as usize;
        let Some(mut connection) = self.connections.get_mut(slot).and_then(Option::take) else {
            return;
        };
        let next = if connection.token(slot) == event.token {
            self.serve(&mut connection, event)
        } else {
            Next::Keep
        };
        self.put_back(slot, connection, next);
    }

    /// Ends a turn of a connection that was taken out of its slot.
    fn put_back(&mut self, slot: usize, mut connection: Box<Connection>, next: Next) {
        let next = match next {
            Next::Keep => connection.flush(&self.poll, slot),
            other => other,
        };
        match next {
            Next::Keep => {
                if let Some(place) = self.connections.get_mut(slot) {
                    *place = Some(connection);
                }
            }
            Next::Close(reason) => {
                self.free.push(slot);
                self.lost(&connection.role, connection.stream, reason);
            }
            Next::Done => {
                self.free.push(slot);
                if let Role::Player(player) = &connection.role {
                    let now = net::now();
                    if let Some(group) = self.groups.get_mut(player.group) {
                        group.visits += 1;
                        group.visit.record(now - connection.opened);
                    }
                    let due = self.period.map_or(now, |period| now.max(connection.opened + period));
                    self.again.push(Reverse((due, player.group, connection.stream)));
                }
                net::close_hard(connection.socket);
            }
        }
    }

    /// Counts a connection that ended before its time.
    fn lost(&mut self, role: &Role, stream: u32, reason: Cow<'static, str>) {
        let reasons = match role {
            Role::Publisher => {
                if let Some(stream) = self.streams.get_mut(stream as usize) {
                    stream.live = false;
                    stream.slot = None;
                }
                &mut self.publisher_closed
            }
            Role::Player(player) => {
                if self.until.is_some() {
                    self.again.push(Reverse((net::now() + FAILED_RETRY, player.group, stream)));
                }
                match self.groups.get_mut(player.group) {
                    Some(group) => &mut group.closed,
                    None => return,
                }
            }
        };
        let reason =
            if reasons.len() < MAX_REASONS { reason } else { "for further reasons".into() };
        *reasons.entry(reason.into_owned()).or_default() += 1;
    }

    fn serve(&mut self, connection: &mut Connection, event: &Event) -> Next {
        if !connection.connected {
            if let Err(error) = net::connect_result(&connection.socket) {
                return Next::Close(format!("connect: {error}").into());
            }
            connection.connected = true;
            self.begin(connection);
        }
        if !event.readable {
            return Next::Keep;
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let next = match net::receive(&connection.socket, &mut buffer) {
            Io::Some(n) => self.on_bytes(connection, buffer.get(..n).unwrap_or_default()),
            Io::Blocked => Next::Keep,
            Io::Closed(reason) => Next::Close(reason.into()),
        };
        self.buffer = buffer;
        next
    }

    /// Where a stream is published, or played by a group.
    fn target(&self, group: Option<usize>, stream: u32) -> Option<&Target> {
        match group {
            None => self.publish.iter().find(|target| target.is_for(stream)),
            Some(group) => self.groups.get(group).map(|group| &group.play.target),
        }
    }

    /// Says the first words on a new connection.
    fn begin(&self, connection: &mut Connection) {
        let Connection { link, out, role, stream, .. } = connection;
        let group = match role {
            Role::Publisher => None,
            Role::Player(player) => Some(player.group),
        };
        let Some(target) = self.target(group, *stream) else { return };
        match link {
            Link::Rtmp(client) => return client.begin(out),
            Link::HttpFlv(_) | Link::Held => {
                let (path, host) = (target.path(*stream), &target.authority);
                let request = format!(
                    "GET /{path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: rtmp-bench\r\nAccept: */*\r\n\r\n"
                );
                out.extend_from_slice(request.as_bytes());
            }
            Link::Floor(_) => {
                let number: u32 = target.path(*stream).parse().unwrap_or(0);
                out.extend_from_slice(&number.to_be_bytes());
            }
        }
        if let Role::Player(player) = role {
            player.asked = net::now();
        }
    }

    fn on_bytes(&mut self, connection: &mut Connection, bytes: &[u8]) -> Next {
        let now = net::now();
        let Self { media, streams, groups, due, window, until, .. } = self;
        let Connection { link, out, role, stream, .. } = connection;
        match role {
            Role::Publisher => {
                let Link::Rtmp(client) = link else { return Next::Keep };
                let mut accepted = None;
                let result = client.feed(bytes, out, &mut |event| {
                    if let rtmp::Event::Accepted = event {
                        accepted = Some(());
                    }
                });
                if accepted.is_some() {
                    if let Some(state) = streams.get_mut(*stream as usize) {
                        state.live = true;
                        state.start = now + media.phase(*stream);
                        due.push(Reverse((state.start, *stream)));
                    }
                }
                match result {
                    Ok(()) => Next::Keep,
                    Err(reason) => Next::Close(reason),
                }
            }
            Role::Player(player) => {
                let Some(group) = groups.get_mut(player.group) else { return Next::Keep };
                group.bytes += bytes.len() as u64;
                if (window.0..window.1).contains(&now) {
                    group.window_bytes += bytes.len() as u64;
                }
                let mut done = false;
                let mut on_message = |message: Message| {
                    done |= player.on_message(&message, now, *stream, group, *window, *until);
                };
                let result = match link {
                    Link::Rtmp(client) => {
                        let mut asked = false;
                        let mut accepted = false;
                        let result = client.feed(bytes, out, &mut |event| match event {
                            rtmp::Event::Asked => asked = true,
                            rtmp::Event::Accepted => accepted = true,
                            rtmp::Event::Message(message) => on_message(message),
                        });
                        if asked {
                            player.asked = now;
                        }
                        done |= accepted && *until == Some(Until::Status);
                        result
                    }
                    Link::HttpFlv(http) => http.feed(bytes, &mut on_message).map_err(Cow::Borrowed),
                    Link::Floor(chunks) => {
                        chunks.feed(bytes, &mut on_message).map_err(Cow::Borrowed)
                    }
                    Link::Held => Ok(()),
                };
                match result {
                    Err(reason) => Next::Close(reason),
                    Ok(()) if done => Next::Done,
                    Ok(()) => Next::Keep,
                }
            }
        }
    }

    /// Sends what is due on a stream, and notes when the next message will be.
    fn publish_due(&mut self, number: u32) {
        let Some(stream) = self.streams.get_mut(number as usize).filter(|stream| stream.live)
        else {
            return;
        };
        let Some(slot) = stream.slot else { return };
        let Some(mut connection) = self.connections.get_mut(slot).and_then(Option::take) else {
            return;
        };
        let now = net::now();
        if connection.out.len() - connection.sent > MAX_UNSENT {
            self.publisher_blocked += 1;
            self.due.push(Reverse((now + BLOCKED_RETRY, number)));
        } else {
            let stream_id = match &connection.link {
                Link::Rtmp(client) => client.stream_id(),
                _ => 0,
            };
            // in front of the first frame, as an encoder has them: if they went ahead, the kernel would
            // acknowledge them late, and from then on each message of this publisher at once
            if stream.next == 0 {
                self.media.put_headers(&mut connection.out, stream_id);
            }
            loop {
                let time = stream.start + self.media.time_ms(stream.next) * MILLISECOND;
                if time > now {
                    self.due.push(Reverse((time, number)));
                    break;
                }
                self.publisher_late.record(now - time);
                self.media.put_frame(&mut connection.out, stream_id, number, stream.next, now);
                stream.next += 1;
                if (self.window.0..self.window.1).contains(&now) {
                    stream.sent_in_window += 1;
                }
            }
        }
        self.put_back(slot, connection, Next::Keep);
    }
}

impl Tally {
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            received: self.received + other.received,
            missing: self.missing + other.missing,
            disorder: self.disorder + other.disorder,
            time_back: self.time_back + other.time_back,
            corrupt: self.corrupt + other.corrupt,
            crc_checked: self.crc_checked + other.crc_checked,
        }
    }

    pub fn is_clean(&self) -> bool {
        self.missing + self.disorder + self.time_back + self.corrupt == 0
    }
}

impl Group {
    /// Begins to count anew.
    pub fn forget(&mut self) {
        self.visits = 0;
        self.bytes = 0;
        self.closed.clear();
        for latency in [&mut self.visit, &mut self.join, &mut self.key, &mut self.key_age] {
            latency.clear();
        }
    }
}

impl Connection {
    fn token(&self, slot: usize) -> u64 {
        u64::from(self.generation) << 32 | slot as u64
    }

    /// Sends what waits, and asks for an event where the socket takes no more.
    fn flush(&mut self, poll: &Poll, slot: usize) -> Next {
        if !self.connected {
            return Next::Keep;
        }
        let mut blocked = false;
        while !blocked {
            let Some(rest) = self.out.get(self.sent..).filter(|rest| !rest.is_empty()) else {
                break;
            };
            match net::send(&self.socket, rest) {
                Io::Some(n) => self.sent += n,
                Io::Blocked => blocked = true,
                Io::Closed(reason) => return Next::Close(reason.into()),
            }
        }
        if !blocked {
            self.out.clear();
            self.sent = 0;
        }
        if blocked != self.wants_write {
            self.wants_write = blocked;
            if let Err(error) = poll.watch(&self.socket, self.token(slot), blocked) {
                return Next::Close(format!("epoll: {error}").into());
            }
        }
        Next::Keep
    }
}

impl Player {
    /// Checks and counts a message; true if the player has what it came for.
    fn on_message(
        &mut self,
        message: &Message,
        now: u64,
        stream: u32,
        group: &mut Group,
        window: (u64, u64),
        until: Option<Until>,
    ) -> bool {
        if !matches!(message.kind, flv::AUDIO | flv::VIDEO) {
            return false;
        }
        if self.first == 0 {
            self.first = now;
            group.join.record(now.saturating_sub(self.asked));
        }
        let mut done = matches!(until, Some(Until::Media))
            || until == Some(Until::Status) && group.play.target.scheme != Scheme::Rtmp;
        if !flv::is_coded(message.kind, message.head) {
            return done;
        }
        let tally = &mut group.tally;
        let Some(stamp) = message.stamp else {
            tally.corrupt += 1;
            return done;
        };
        if let Some(crc) = message.crc {
            tally.crc_checked += 1;
            tally.corrupt += u64::from(crc != stamp.crc);
        }
        tally.corrupt += u64::from(stamp.stream != stream);
        match self.next {
            // before its first key frame a player may be spared what it could not decode
            Some(next) if stamp.sequence > next && self.key > 0 => {
                tally.missing += stamp.sequence - next;
            }
            Some(next) if stamp.sequence < next => tally.disorder += 1,
            _ => {}
        }
        self.next = Some(self.next.unwrap_or(0).max(stamp.sequence + 1));
        tally.time_back += u64::from(self.key > 0 && message.timestamp < self.timestamp);
        self.timestamp = message.timestamp;
        if self.key == 0 && flv::is_key_frame(message.kind, message.head) {
            self.key = now;
            group.playing += 1;
            group.key.record(now.saturating_sub(self.asked));
            group.key_age.record(now.saturating_sub(stamp.time));
            done |= until == Some(Until::Key);
        }
        let latency = now.saturating_sub(stamp.time);
        // what a cache held from before says nothing about the way from publisher to player
        if stamp.time >= self.asked {
            group.recent.record(latency);
        }
        if (window.0..window.1).contains(&stamp.time) {
            tally.received += 1;
            self.in_window += 1;
            group.latency.record(latency);
        }
        done
    }
}
