//! One stream: its sources, its packets and its subscribers.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::mem;
use std::rc::{Rc, Weak};

use rtmp_protocol::codec::{Class, Info};
use rtmp_protocol::timeline::{Timeline, TrackId};

use crate::cost::{self, Held};
use crate::direct::{Ended, Members};
use crate::head::Head;
use crate::headers::{Framed, Headers, Noted, MAX_STICKY_BYTES};
use crate::host::Call;
use crate::media::{Kind, Media, Packet};
use crate::metadata::{self, Meta};
use crate::pace::Sockets;
use crate::picked::{Picked, MAX_LOOKED_AT};
use crate::registry::{Change, Key, Worker};
use crate::settings::Settings;
use crate::stickies::{Needed, Stickies};
use crate::subscriber::{Cursor, Data, End, Filter, Mode, Subscriber, Subscription};
use crate::wire::{Form, Wire};

/// A source may leave what came unread for as long as this, in milliseconds: what a moderate
/// stream sends meanwhile does not fill a socket.
const MAX_DEFER: u64 = 50;

/// A wire whose last player has left is kept up for so long, in milliseconds: to fill it for the
/// next one takes as long as all that is cached.
const LINGER_MS: u64 = 1000;

/// What passes of a stream's own time while nothing is done with it, at most, in milliseconds: a
/// worker that stood still could not write, and nobody is behind for that.
const STILL_MS: u64 = 1000;

/// A source that has begun shows within this time, in milliseconds, which of the tracks that it
/// announces have frames.
const PROBE_MS: u64 = 500;

/// Who hears what becomes of a publication.
pub trait Source {
    /// Another source of higher priority took over, or this one is on air again.
    fn on_air(&self, on_air: bool);
    /// The publisher is to leave, with this reason.
    fn refuse(&self, why: &'static str);
    /// What [`Publication::defer`] put off is due: read what has come.
    fn collect(&self) {}
    /// Whether it comes from another worker, which has gathered what it brings, judged its timestamps
    /// and seen to its metadata.
    fn gathered(&self) -> bool {
        false
    }
}

/// The stream has a source of the same priority, or too many.
#[derive(Debug)]
pub struct Busy;

/// A stream: an append-only log of packets with cursors on it.
pub struct Stream {
    key: Key,
    settings: Settings,
    worker: Rc<Worker>,
    inner: RefCell<Inner>,
    flush: Box<dyn Call>,
    /// A flush is due: the event is posted or its timer runs.
    flush_due: Cell<bool>,
    /// Players have waited for long enough for the tracks that the source announces.
    probe: Box<dyn Call>,
    sockets: Sockets,
    /// It was said whether and where the stream is to be had, as long as nobody publishes it.
    decided: Cell<bool>,
    /// Subscribers that left while the engine was at work on them.
    left: RefCell<Vec<u64>>,
    /// The sequence headers that are to be announced, one bit for each kind and whether it is new.
    announcing: Cell<u8>,
    /// What was appended since the last flush.
    unflushed: Cell<u64>,
}

struct Inner {
    sources: Vec<Publishing>,
    /// The id of the source on air.
    on_air: Option<u64>,
    next_source: u64,

    packets: VecDeque<Packet>,
    /// The number of the oldest packet kept.
    first: u64,
    /// The numbers of the key frames among them.
    keys: VecDeque<u64>,
    /// Where the GOP cache begins.
    cache_from: u64,
    outlets: Vec<Outlet>,

    /// When the source on air has shown for long enough which of the tracks it announces have frames;
    /// none before its first message.
    probed: Option<u64>,
    /// The track whose key frames players start at, once it had a frame.
    main_track: Option<u8>,
    tracks: Tracks,
    timeline: Timeline,

    cursors: Vec<Option<Cursor>>,
    free: Vec<u32>,
    generation: u32,
    players: usize,
    /// When there was the last flush.
    flushed: u64,
    /// The stream's own time, see [`Packet::arrived`], and when it was last looked at.
    awake: u64,
    seen: u64,
    /// There is more for one who picks than it was written at once.
    more: Cell<bool>,
}

/// When the first frame of each came from the source on air, or from the last one that was, in the
/// loop's milliseconds. A header without frames announces nothing.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Tracks {
    audio: Option<u64>,
    video: Option<u64>,
}

/// What a message was, for those who follow the stream.
enum Note {
    Nothing,
    Header(Noted),
    /// The first frame of audio or of video.
    Track,
}

/// A wire, and those who take its bytes.
struct Outlet {
    wire: Wire,
    subscribers: usize,
    /// Those of them that are written to directly.
    members: Members,
    /// The sticky messages that one of them was sent last.
    stickies: RefCell<Stickies>,
    /// When the last of them left.
    left: Option<u64>,
    /// The first byte, and the first packet, that one of the others still needs.
    behind: (u64, u64),
}

impl Outlet {
    fn new(wire: Wire) -> Self {
        Outlet {
            wire,
            subscribers: 0,
            members: Members::default(),
            stickies: RefCell::default(),
            left: None,
            behind: (0, 0),
        }
    }

    /// Whether packets are put into the wire: the first one's are cached as well, if any are.
    fn is_wanted(&self, settings: &Settings) -> bool {
        self.subscribers > 0 || settings.cache_time > 0
    }
}

struct Publishing {
    id: u64,
    priority: i32,
    source: Rc<dyn Source>,
    headers: Headers,
    /// After a switch, frames before the first key frame are not for anybody.
    await_key: bool,
    /// It has put off reading what came.
    deferred: bool,
}

impl Stream {
    pub(super) fn new(key: Key, settings: Settings, worker: &Rc<Worker>, now: u64) -> Rc<Self> {
        Rc::new_cyclic(|this: &Weak<Stream>| {
            let flush = || {
                let this = this.clone();
                worker.host.call(Box::new(move |now| {
                    if let Some(stream) = this.upgrade() {
                        stream.flush(now);
                    }
                }))
            };
            Stream {
                key,
                worker: worker.clone(),
                flush: flush(),
                probe: flush(),
                flush_due: Cell::new(false),
                sockets: Sockets::new(&worker.sockets),
                decided: Cell::new(false),
                left: RefCell::default(),
                announcing: Cell::new(0),
                unflushed: Cell::new(0),
                inner: RefCell::new(Inner {
                    sources: Vec::new(),
                    on_air: None,
                    next_source: 0,
                    packets: VecDeque::new(),
                    first: 0,
                    keys: VecDeque::new(),
                    cache_from: 0,
                    outlets: vec![Outlet::new(Wire::new(settings.form, 0))],
                    probed: None,
                    main_track: None,
                    tracks: Tracks::default(),
                    timeline: Timeline::default(),
                    cursors: Vec::new(),
                    free: Vec::new(),
                    generation: 0,
                    players: 0,
                    flushed: 0,
                    awake: 0,
                    seen: now,
                    more: Cell::new(false),
                }),
                settings,
            }
        })
    }

    /// The stream's name.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Whether a source is on air.
    pub fn on_air(&self) -> bool {
        self.inner.borrow().on_air.is_some()
    }

    /// The priority of the source on air.
    pub fn priority(&self) -> Option<i32> {
        self.inner.borrow().source_on_air().map(|source| source.priority)
    }

    /// What the stream holds, in what it costs.
    pub fn held(&self) -> Held {
        self.inner.borrow().held()
    }

    /// How many players there are.
    pub fn players(&self) -> usize {
        self.inner.borrow().players
    }

    /// Whether frames of audio and of video came from the source on air, or from the last one that
    /// was.
    pub fn tracks(&self) -> (bool, bool) {
        let tracks = self.inner.borrow().tracks;
        (tracks.audio.is_some(), tracks.video.is_some())
    }

    /// When the first of those frames came, in the loop's milliseconds.
    pub fn first_frame(&self) -> Option<u64> {
        let Tracks { audio, video } = self.inner.borrow().tracks;
        audio.into_iter().chain(video).min()
    }

    /// Notes that players need not wait any longer to hear whether the stream is to be had.
    pub fn set_decided(self: &Rc<Self>) {
        if !self.decided.replace(true) {
            self.worker.changed(self, Change::Decided);
        }
    }

    /// Whether that was said since there was a source last.
    pub fn is_decided(&self) -> bool {
        self.decided.get()
    }

    /// Takes note that `change` is to be told. False: there is one like it that was not told yet, as
    /// a source may send more headers in a turn than anybody can look at.
    pub(super) fn announces(&self, change: Change) -> bool {
        let Some(bit) = header_bit(change) else { return true };
        let announcing = self.announcing.get();
        self.announcing.set(announcing | bit);
        announcing & bit == 0
    }

    /// `change` is told.
    pub(super) fn announced(&self, change: Change) {
        let bit = header_bit(change).unwrap_or(0);
        self.announcing.set(self.announcing.get() & !bit);
    }

    /// Asks every player to leave: there is no source, and none is to come.
    pub fn end_players(&self, why: &'static str) {
        let players: Vec<_> = {
            let inner = self.inner.borrow();
            let players = inner.cursors.iter().flatten().filter(|cursor| cursor.player);
            players.map(|cursor| cursor.sink.clone()).collect()
        };
        for sink in players {
            sink.end(End::NotFound(why));
        }
    }

    /// Asks every source to leave.
    pub fn refuse_sources(&self, why: &'static str) {
        let sources: Vec<_> =
            self.inner.borrow().sources.iter().map(|source| source.source.clone()).collect();
        for source in sources {
            source.refuse(why);
        }
    }

    /// Joins the stream as a source. The one of the highest priority is on air.
    pub fn publish(
        self: &Rc<Self>,
        priority: i32,
        source: Rc<dyn Source>,
        now: u64,
    ) -> Result<Publication, Busy> {
        if self.inner.borrow().sources.iter().any(|other| other.priority == priority) {
            return Err(Busy);
        }
        self.enter(priority, source, now)
    }

    /// The same, in the place of the source of that priority, which is asked to leave.
    pub fn replace(
        self: &Rc<Self>,
        priority: i32,
        source: Rc<dyn Source>,
        why: &'static str,
        now: u64,
    ) -> Result<Publication, Busy> {
        let old = {
            let sources = &mut self.inner.borrow_mut().sources;
            let at = sources.iter().position(|other| other.priority == priority);
            at.map(|at| sources.swap_remove(at).source)
        };
        let publication = self.enter(priority, source, now);
        if let Some(old) = old {
            old.refuse(why);
        }
        publication
    }

    fn enter(
        self: &Rc<Self>,
        priority: i32,
        source: Rc<dyn Source>,
        now: u64,
    ) -> Result<Publication, Busy> {
        let id = {
            let inner = &mut *self.inner.borrow_mut();
            if inner.sources.len() >= cost::MAX_SOURCES {
                return Err(Busy);
            }
            let id = inner.next_source;
            inner.next_source += 1;
            inner.sources.push(Publishing {
                id,
                priority,
                source,
                headers: Headers::default(),
                await_key: false,
                deferred: false,
            });
            id
        };
        self.choose_source(now);
        Ok(Publication { stream: self.clone(), id, taken: Cell::new(0), crowded: Cell::new(false) })
    }

    /// Asks the source of that priority to leave.
    pub fn refuse_source(&self, priority: i32, why: &'static str) {
        let source = {
            let inner = self.inner.borrow();
            let found = inner.sources.iter().find(|source| source.priority == priority);
            found.map(|found| found.source.clone())
        };
        if let Some(source) = source {
            source.refuse(why);
        }
    }

    fn unpublish(self: &Rc<Self>, id: u64) {
        let (on_air, now) = {
            let inner = self.inner.borrow();
            (inner.on_air == Some(id), inner.seen)
        };
        if on_air {
            self.settle(now);
        }
        self.inner.borrow_mut().sources.retain(|source| source.id != id);
        self.choose_source(now);
    }

    /// Sends what there is of a source that is about to leave, with its headers.
    fn settle(self: &Rc<Self>, now: u64) {
        if !self.flush_due.get() {
            return;
        }
        let ended = {
            let inner = &mut *self.inner.borrow_mut();
            // nothing more will be seen of it
            inner.probed = inner.probed.map(|_| 0);
            inner.flush(&self.settings, now)
        };
        self.after(ended);
    }

    /// Puts the source of the highest priority on air, and tells everybody about it.
    fn choose_source(self: &Rc<Self>, now: u64) {
        let leaves = {
            let inner = self.inner.borrow();
            let best = inner.sources.iter().max_by_key(|source| source.priority).map(|s| s.id);
            best != inner.on_air && inner.source_on_air().is_some()
        };
        if leaves {
            self.settle(now);
        }
        let (old, new, sinks) = {
            let inner = &mut *self.inner.borrow_mut();
            let new = inner.sources.iter().max_by_key(|source| source.priority).map(|s| s.id);
            let old = mem::replace(&mut inner.on_air, new);
            if old == new {
                return;
            }
            let next = inner.source_on_air();
            let judged = next.is_some_and(|source| source.source.gathered());
            inner.timeline.switch(judged);
            inner.main_track = None;
            inner.probed = None;
            if new.is_some() {
                inner.tracks = Tracks::default();
            }
            inner.drop_cache();
            let listeners = |inner: &Inner| {
                inner.cursors.iter().flatten().map(|cursor| cursor.sink.clone()).collect::<Vec<_>>()
            };
            let told = if old.is_none() || new.is_none() { listeners(inner) } else { Vec::new() };
            (inner.source(old), inner.source(new), told)
        };
        if let Some(source) = old {
            source.on_air(false);
        }
        if let Some(source) = &new {
            source.on_air(true);
            self.repeat_headers(now);
            self.flush_soon(now);
        }
        self.count_sockets();
        self.decided.set(false);
        for sink in sinks {
            sink.source(new.is_some());
        }
        let own = self.priority().is_some_and(|priority| priority >= 0);
        let change = if new.is_some() { Change::Published { own } } else { Change::Unpublished };
        self.worker.changed(self, change);
    }

    /// Appends what a source sent before it went on air and players need.
    fn repeat_headers(&self, now: u64) {
        let inner = &mut *self.inner.borrow_mut();
        let started = inner.timeline.has_begun();
        let Some(at) = inner.sources.iter().position(|s| Some(s.id) == inner.on_air) else {
            return;
        };
        let first = inner.next();
        let headers = inner.sources[at].headers.renew(first);
        // a source that stood by is in the middle of a GOP
        inner.sources[at].await_key = started && !headers.is_empty();
        for (kind, payload) in headers {
            let media = Media { kind, timestamp: 0, payload: &payload };
            inner.push(media, media.info().as_ref(), true, &self.settings, now);
        }
    }

    fn flush_soon(&self, now: u64) {
        if self.flush_due.replace(true) {
            return;
        }
        match self.window(now) {
            0 => self.flush.post(),
            ms => self.flush.set_timer(ms),
        }
    }

    /// Sends what has been gathered in this turn: it is too much to wait longer.
    #[cold]
    fn flush_now(&self) {
        if !self.flush.is_posted() {
            self.flush.cancel();
            self.flush_due.set(true);
            self.flush.post();
        }
    }

    /// Goes on in the next turn of the loop.
    #[cold]
    fn flush_next(&self) {
        if !self.flush.is_posted() {
            self.flush.cancel();
            self.flush_due.set(true);
            self.flush.post_next();
        }
    }

    /// Sends what is to go out in this turn of the loop: now, not behind its other events.
    pub fn flush_posted(self: &Rc<Self>, now: u64) {
        if self.flush.is_posted() {
            self.flush.cancel();
            self.flush(now);
        }
    }

    /// How long to gather before one write per player. What has been gathered elsewhere waits only
    /// for as long as the last flush is too recent.
    fn window(&self, now: u64) -> u64 {
        let window = self.settings.merge_window.unwrap_or_else(|| self.sockets.window());
        if window == 0 {
            return 0;
        }
        let inner = self.inner.borrow();
        if !inner.source_on_air().is_some_and(|source| source.source.gathered()) {
            return window;
        }
        window.saturating_sub(now.saturating_sub(inner.flushed))
    }

    /// The source on air or the subscribers have changed. Off air, nothing is read or written.
    fn count_sockets(&self) {
        let inner = self.inner.borrow();
        self.sockets.set(inner.on_air.map_or(0, |_| 1 + inner.subscribers()));
    }

    /// One walk over all subscribers: each gets what is new in one write.
    fn flush(self: &Rc<Self>, now: u64) {
        if self.inner.borrow().is_deferred() {
            self.collect();
        }
        self.flush_due.set(false);
        self.unflushed.set(0);
        let ended = self.inner.borrow_mut().flush(&self.settings, now);
        if let Some(left) = self.inner.borrow().probing(now) {
            self.probe.set_timer(left);
        }
        if self.inner.borrow().is_deferred() {
            self.flush_soon(now);
        }
        self.after(ended);
    }

    /// Has the sources that have put off reading do it.
    #[inline(never)]
    fn collect(&self) {
        let deferred: Vec<_> = {
            let sources = &mut self.inner.borrow_mut().sources;
            let deferred = |source: &mut Publishing| {
                mem::take(&mut source.deferred).then(|| source.source.clone())
            };
            sources.iter_mut().filter_map(deferred).collect()
        };
        for source in deferred {
            source.collect();
        }
    }

    /// Joins the stream as a subscriber and sends what there is at once.
    pub fn subscribe(self: &Rc<Self>, subscriber: Subscriber, now: u64) -> Subscription {
        let (form, sink) = (subscriber.form, subscriber.sink.clone());
        let (id, players, served) = {
            let inner = &mut *self.inner.borrow_mut();
            let id = inner.join(subscriber, &self.settings, now);
            (id, inner.players, inner.wire(form).is_some())
        };
        if !served {
            sink.end(End::TooManyForms);
        }
        self.count_sockets();
        if players == 1 {
            self.worker.changed(self, Change::Audience { some: true });
        }
        self.writable(id, now);
        Subscription { stream: self.clone(), id }
    }

    pub(super) fn unsubscribe(self: &Rc<Self>, id: u64) -> Option<Vec<u8>> {
        let Ok(mut inner) = self.inner.try_borrow_mut() else {
            self.left.borrow_mut().push(id);
            return None;
        };
        let was = inner.players;
        let rest = inner.leave(id, &self.settings)?;
        let last = was > 0 && inner.players == 0;
        inner.trim(&self.settings);
        drop(inner);
        self.count_sockets();
        if last {
            self.worker.changed(self, Change::Audience { some: false });
        }
        Some(rest)
    }

    pub(super) fn writable(self: &Rc<Self>, id: u64, now: u64) {
        let ended = {
            let inner = &mut *self.inner.borrow_mut();
            if let Some((cursor, _)) = inner.cursor(id) {
                cursor.blocked = false;
            }
            inner.deliver_one(id, &self.settings, now)
        };
        self.after(ended);
    }

    /// Sends `bytes` to one subscriber alone, and says how many of its own bytes wait then.
    pub(super) fn send_own(self: &Rc<Self>, id: u64, bytes: &[u8], now: u64) -> usize {
        let (ended, waiting) = {
            let inner = &mut *self.inner.borrow_mut();
            if let Some((cursor, wire)) = inner.cursor(id) {
                cursor.finish_packet(wire);
                cursor.head().push(bytes);
            }
            let ended = inner.deliver_one(id, &self.settings, now);
            let head = inner.find(id).and_then(|cursor| cursor.head.as_ref());
            (ended, head.map_or(0, |head| head.own_len()))
        };
        self.after(ended);
        waiting
    }

    pub(super) fn written(&self, id: u64) -> Option<u64> {
        let inner = self.inner.borrow();
        inner.find(id)?.direct.map(|_| inner.flushed)
    }

    pub(super) fn pause(self: &Rc<Self>, id: u64, pause: bool, now: u64) {
        let ended = {
            let inner = &mut *self.inner.borrow_mut();
            inner.repick(id, |cursor| cursor.mode == Mode::Paused || pause, |_| ());
            if pause {
                if let Some((cursor, _)) = inner.cursor(id) {
                    cursor.mode = Mode::Paused;
                }
            }
            inner.deliver_one(id, &self.settings, now)
        };
        self.after(ended);
    }

    pub(super) fn set_filter(self: &Rc<Self>, id: u64, filter: Filter, now: u64) {
        let ended = {
            let inner = &mut *self.inner.borrow_mut();
            inner.repick(
                id,
                |cursor| cursor.filter != filter && cursor.mode != Mode::Paused,
                |cursor| cursor.filter = filter,
            );
            inner.deliver_one(id, &self.settings, now)
        };
        self.after(ended);
    }

    /// Does what may call back into the engine, now that no borrow is held.
    fn after(self: &Rc<Self>, ended: Ended) {
        if self.inner.borrow().more.take() {
            self.flush_next();
        }
        if ended.is_empty() && self.left.borrow().is_empty() {
            return;
        }
        self.dismiss(ended);
    }

    #[cold]
    fn dismiss(self: &Rc<Self>, ended: Ended) {
        let left = self.left.take();
        for id in left {
            self.unsubscribe(id);
        }
        for (sink, mut why) in ended {
            if let End::Unread { stream, .. } = &mut why {
                *stream = self.held();
            }
            sink.end(why);
        }
    }
}

/// The bit of a sequence header's announcement.
fn header_bit(change: Change) -> Option<u8> {
    match change {
        Change::Header { kind, new } => Some(1 << (2 * kind as u8 + u8::from(new))),
        _ => None,
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.worker.forget(&self.key);
    }
}

impl Inner {
    /// Whether a source has put off reading.
    fn is_deferred(&self) -> bool {
        self.sources.iter().any(|source| source.deferred)
    }

    fn source_on_air(&self) -> Option<&Publishing> {
        self.sources.iter().find(|source| Some(source.id) == self.on_air)
    }

    fn source(&self, id: Option<u64>) -> Option<Rc<dyn Source>> {
        self.sources.iter().find(|source| Some(source.id) == id).map(|s| s.source.clone())
    }

    fn find(&self, id: u64) -> Option<&Cursor> {
        self.cursors.get(id as u32 as usize)?.as_ref().filter(|cursor| cursor.id == id)
    }

    /// The cursor of a subscriber, to be changed, and its wire.
    fn cursor(&mut self, id: u64) -> Option<(&mut Cursor, &Wire)> {
        let slot = id as u32 as usize;
        let form = self.find(id)?.form;
        let outlet = self.outlets.iter_mut().find(|outlet| outlet.wire.form == form)?;
        let mut cursor = self.cursors.get_mut(slot)?.take()?;
        outlet.members.leave(&mut cursor, &mut self.cursors);
        let cursor = self.cursors[slot].insert(cursor);
        Some((cursor, &outlet.wire))
    }

    fn wire(&self, form: Form) -> Option<&Wire> {
        self.outlets.iter().map(|outlet| &outlet.wire).find(|wire| wire.form == form)
    }

    fn outlet(&mut self, form: Form) -> Option<&mut Outlet> {
        self.outlets.iter_mut().find(|outlet| outlet.wire.form == form)
    }

    /// Whether there are some that the engine does not write to directly.
    fn has_others(&self) -> bool {
        self.outlets.iter().any(|outlet| outlet.subscribers > outlet.members.count())
    }

    fn subscribers(&self) -> usize {
        self.cursors.len() - self.free.len()
    }

    /// The stream's own time goes on.
    fn wake(&mut self, now: u64) {
        self.awake += now.saturating_sub(self.seen).min(STILL_MS);
        self.seen = now;
    }

    /// The number of the next packet.
    fn next(&self) -> u64 {
        self.first + self.packets.len() as u64
    }

    fn packet(&self, seq: u64) -> Option<&Packet> {
        self.packets.get(seq.checked_sub(self.first)? as usize)
    }

    /// Takes a message of a source: into the log if it is on air, else only what players will need
    /// when it gets there. `None` = not for the players.
    fn append(
        &mut self,
        source: u64,
        media: Media<'_>,
        info: Option<&Info>,
        settings: &Settings,
        now: u64,
    ) -> Option<Note> {
        let on_air = self.on_air == Some(source);
        let seq = on_air.then(|| self.next());
        if on_air {
            self.probed.get_or_insert(now + PROBE_MS);
        }
        let source = self.sources.iter_mut().find(|s| s.id == source)?;
        if let Some(info) = info.filter(|info| is_frame(info.class)) {
            let framed = source.headers.frame(media.kind, info, seq);
            return on_air.then(|| self.append_frame(media, info, framed, settings, now)).flatten();
        }
        // at first players wait for the frames that are announced; later, headers do
        let (class, track) = (info.map(|info| info.class), info.map(|info| info.track));
        let probed = on_air && self.probed.is_some_and(|probed| probed <= now);
        let held = probed && is_header(class) && !source.headers.has_track(media.kind, track);
        let noted = source.headers.note(&media, info, seq.filter(|_| !held));
        if !on_air {
            return None;
        }
        if matches!(noted, Noted::Changed | Noted::TooLarge) {
            // what is cached can't be decoded with the new header
            self.drop_cache();
        }
        if !held {
            self.push(media, info, noted != Noted::TooLarge, settings, now)?;
        }
        Some(match class == Some(Class::SequenceHeader) || noted == Noted::TooLarge {
            true => Note::Header(noted),
            false => Note::Nothing,
        })
    }

    /// Appends a frame of the source on air, and in front of it what it needs and is not there.
    fn append_frame(
        &mut self,
        media: Media<'_>,
        info: &Info,
        framed: Framed,
        settings: &Settings,
        now: u64,
    ) -> Option<Note> {
        if framed.changed && self.main_track.is_none_or(|main| info.video && main == info.track) {
            // where players would start, it is for another decoder
            self.drop_cache();
        }
        for (kind, payload) in framed.due {
            let header = Media { kind, payload: &payload, ..media };
            self.push(header, header.info().as_ref(), true, settings, now);
        }
        let tracks = self.tracks;
        self.push(media, Some(info), true, settings, now)?;
        Some(if self.tracks == tracks { Note::Nothing } else { Note::Track })
    }

    /// Appends a message of the source on air to the log.
    fn push(
        &mut self,
        media: Media<'_>,
        info: Option<&Info>,
        kept: bool,
        settings: &Settings,
        now: u64,
    ) -> Option<()> {
        let class = info.map(|info| info.class);
        let frame = class.is_some_and(is_frame);
        if frame && media.kind == Kind::Video && self.main_track.is_none() {
            self.main_track = info.map(|info| info.track);
            // before its first key frame, video is for nobody
            let starts = class == Some(Class::KeyFrame) || !settings.wait_key;
            let on_air = self.on_air;
            let source = self.sources.iter_mut().find(|source| Some(source.id) == on_air);
            if let Some(source) = source.filter(|_| !starts) {
                source.await_key = true;
            }
        }
        let key = match (media.kind, class) {
            (Kind::Video, Some(Class::KeyFrame)) => self.main_track == info.map(|info| info.track),
            (Kind::Audio, Some(Class::Audio)) => !self.expects_video(settings, now),
            _ => false,
        };
        if self.skip_until_key(&media, class, key) {
            return None;
        }
        let sticky = kept && (is_header(class) || media.is_metadata());
        let seq = self.next();
        self.wake(now);
        let track = info.map(|info| TrackId { video: info.video, track: info.track });
        let timestamp = match track.filter(|_| frame) {
            Some(track) => self.timeline.frame(track, media.timestamp, now),
            None => self.timeline.beside(track, media.timestamp),
        };
        let media = Media { timestamp, ..media };
        match media.kind {
            Kind::Audio if frame => _ = self.tracks.audio.get_or_insert(now),
            Kind::Video if frame => _ = self.tracks.video.get_or_insert(now),
            _ => (),
        }
        for outlet in self.outlets.iter_mut().filter(|outlet| outlet.is_wanted(settings)) {
            outlet.wire.append(&media, now);
        }
        let len = media.payload.len() as u32;
        let kind = media.kind;
        let time = self.timeline.time();
        let arrived = self.awake;
        self.packets.push_back(Packet { kind, key, sticky, timestamp, time, len, arrived });
        if key {
            self.keys.push_back(seq);
        }
        self.cache(seq, key, settings);
        Some(())
    }

    /// Whether players are to wait for video: it has come, or is announced and may still come.
    fn expects_video(&self, settings: &Settings, now: u64) -> bool {
        self.main_track.is_some() || {
            let source = self.source_on_air();
            let announced = source.is_some_and(|source| source.headers.announce_video());
            let soon = self.probed.is_some_and(|probed| now < probed);
            announced && (soon || settings.wait_video)
        }
    }

    /// For how long it is still to be seen which tracks have frames, so that players wait.
    fn probing(&self, now: u64) -> Option<u64> {
        let left = self.probed?.checked_sub(now).filter(|&left| left > 0)?;
        self.source_on_air()?.headers.are_unframed().then_some(left)
    }

    /// Whether a subscriber that looks at packet `seq` waits for that. One that gets an RTMP play and
    /// can start does not: nothing tells it of tracks in advance.
    fn awaits_tracks(&self, cursor: &Cursor, seq: u64, now: u64) -> bool {
        let form = cursor.form;
        let starts = form != Form::Flv && cursor.headers == 0;
        !form.is_to_publish()
            && self.probing(now).is_some()
            && !(starts && self.packet(seq).is_some_and(|packet| packet.key))
    }

    fn skip_until_key(&mut self, media: &Media<'_>, class: Option<Class>, key: bool) -> bool {
        if media.kind != Kind::Video {
            return false;
        }
        let on_air = self.on_air;
        let Some(source) = self.sources.iter_mut().find(|s| Some(s.id) == on_air) else {
            return true;
        };
        if !source.await_key {
            return false;
        }
        source.await_key = !key;
        matches!(class, Some(Class::InterFrame | Class::Disposable))
    }

    fn drop_cache(&mut self) {
        self.cache_from = self.next();
        self.keys.clear();
    }

    /// Takes packet `seq` into the GOP cache, and drops from it what players to come do not need.
    fn cache(&mut self, seq: u64, key: bool, settings: &Settings) {
        let silent = settings.cache_time > 0 && self.is_video_silent(settings);
        if settings.cache_time == 0 || (self.cache_from >= seq && !key && !silent) {
            self.cache_from = seq + 1;
            return;
        }
        while let Some(to) = self.outdated(seq, silent, settings) {
            self.cache_from = to;
        }
    }

    /// Where the cache is to begin instead, after packet `seq`: whole GOPs go as long as the rest
    /// covers `cache_time` or while they do not fit into `cache_size`; what is in no GOP, or in one
    /// whose video has fallen silent, goes by its own time.
    fn outdated(&self, seq: u64, silent: bool, settings: &Settings) -> Option<u64> {
        let age = |seq| self.packet(seq).map_or(0, |packet| self.timeline.time() - packet.time);
        let next = self.keys.partition_point(|&key| key < self.cache_from);
        let is_gop = self.keys.get(next) == Some(&self.cache_from);
        if (silent || !is_gop)
            && self.cache_from < seq
            && age(self.cache_from) > settings.cache_time
        {
            return Some(self.cache_from + 1);
        }
        let second = self.keys.get(next + usize::from(is_gop)).copied();
        let fits = self.cache_fits(settings);
        match second {
            Some(second) if !fits || age(second) >= settings.cache_time => Some(second),
            // one GOP that is too large by itself: the cache goes on at the next key frame
            None if !fits => Some(seq + 1),
            _ => None,
        }
    }

    /// Whether video has stopped while the stream goes on.
    fn is_video_silent(&self, settings: &Settings) -> bool {
        self.main_track.is_some_and(|track| {
            self.timeline.is_silent(TrackId { video: true, track }, settings.cache_time)
        })
    }

    /// Whether what is cached is not too much.
    fn cache_fits(&self, settings: &Settings) -> bool {
        let from = self.cache_from;
        let Some(Outlet { wire, .. }) = self.outlets.first() else { return true };
        self.next().saturating_sub(from) <= cost::MAX_PACKETS
            && self.cost(wire, wire.start_of(from), from)
                <= cost::of_cache(settings, self.outlets.len())
    }

    /// Where a new player starts; none = at the next key frame.
    fn start(&self, settings: &Settings) -> Option<u64> {
        if settings.cache_time == 0 || self.on_air.is_none() {
            return None;
        }
        let cached = |key: u64| key >= self.cache_from;
        let now = self.timeline.time();
        let recent = |key: u64| {
            self.packet(key).is_some_and(|packet| now - packet.time <= settings.cache_time)
        };
        let from = |key: u64| cached(key) && (settings.send_all || recent(key));
        let at = self.keys.partition_point(|&key| !from(key));
        let key = self.keys.get(at).or(self.keys.back()).copied().filter(|&key| cached(key));
        // without a key frame, what is cached is the sound of a video that has fallen silent
        key.or((self.cache_from < self.next()).then_some(self.cache_from))
    }

    fn join(&mut self, subscriber: Subscriber, settings: &Settings, now: u64) -> u64 {
        let Subscriber { form, sink, player, prologue } = subscriber;
        let seq = self.start(settings).unwrap_or(self.next());
        let seq = self.enter_outlet(form, seq, settings, now);
        let granted = self.wire(form).map_or(0, |wire| self.cost(wire, wire.start_of(seq), seq));
        let slot = self.free.pop().unwrap_or_else(|| {
            self.cursors.push(None);
            (self.cursors.len() - 1) as u32
        });
        self.generation = self.generation.wrapping_add(1);
        let id = u64::from(self.generation) << 32 | u64::from(slot);
        let head = (!prologue.is_empty()).then(|| Box::new(Head::new(prologue)));
        self.cursors[slot as usize] = Some(Cursor {
            sink,
            id,
            form,
            mode: Mode::Picking { seq },
            pos: 0,
            head,
            blocked: false,
            player,
            filter: Filter::ALL,
            headers: 0,
            drops: 0,
            granted,
            since: self.awake,
            direct: None,
        });
        self.players += usize::from(player);
        id
    }

    /// Makes sure that there is a wire of this form, filled from packet `seq` on unless it is there,
    /// and gives the number of the first packet from there on that it has. If there are too many
    /// forms, there is no wire.
    fn enter_outlet(&mut self, form: Form, seq: u64, settings: &Settings, now: u64) -> u64 {
        let (from, next) = (seq.max(self.first), self.next());
        if let Some(outlet) = self.outlet(form) {
            if !outlet.is_wanted(settings) {
                outlet.wire.resume(next);
            }
            outlet.subscribers += 1;
            outlet.left = None;
            return seq.max(outlet.wire.first());
        }
        if self.outlets.len() >= cost::MAX_WIRES {
            return next;
        }
        let mut wire = Wire::new(form, from);
        let mut payload = Vec::new();
        for seq in from..next {
            let Some(packet) = self.packet(seq) else { break };
            payload.clear();
            let media = Media { kind: packet.kind, timestamp: packet.timestamp, payload: &[] };
            self.outlets[0].wire.payload(seq, &media, packet.len as usize, &mut payload);
            wire.append(&Media { payload: &payload, ..media }, now);
        }
        self.outlets.push(Outlet { subscribers: 1, ..Outlet::new(wire) });
        seq
    }

    /// The first wire is where packets are kept; others live as long as their players, and a little
    /// longer if something is cached.
    fn leave_outlet(&mut self, form: Form, settings: &Settings) {
        let now = self.flushed;
        let Some(outlet) = self.outlet(form) else { return };
        outlet.subscribers -= 1;
        if outlet.subscribers == 0 {
            outlet.left = Some(now);
            let linger = if settings.cache_time > 0 { LINGER_MS } else { 0 };
            self.drop_outlets(linger);
        }
    }

    /// Drops the wires whose players have left for so long.
    fn drop_outlets(&mut self, linger: u64) {
        let (kept, now) = (self.outlets[0].wire.form, self.flushed);
        let over = |left: u64| now.saturating_sub(left) >= linger;
        self.outlets.retain(|outlet| outlet.wire.form == kept || !outlet.left.is_some_and(over));
    }

    /// Takes the subscriber out, and gives what completes the message it is receiving.
    fn leave(&mut self, id: u64, settings: &Settings) -> Option<Vec<u8>> {
        if let Some((cursor, wire)) = self.cursor(id) {
            cursor.finish_packet(wire);
        }
        self.find(id)?;
        let slot = id as u32;
        let cursor = self.cursors[slot as usize].take()?;
        self.free.push(slot);
        self.players -= usize::from(cursor.player);
        self.leave_outlet(cursor.form, settings);
        Some(cursor.head.map(|head| head.into_bytes()).unwrap_or_default())
    }

    /// Lets a subscriber look for a new start, if it is one that `when` picks.
    fn repick(&mut self, id: u64, when: impl Fn(&Cursor) -> bool, then: impl Fn(&mut Cursor)) {
        let seq = self.next();
        let Some((cursor, wire)) = self.cursor(id).filter(|(cursor, _)| when(cursor)) else {
            return;
        };
        cursor.finish_packet(wire);
        cursor.pick_from(seq);
        then(cursor);
    }

    /// Lets a cursor that is behind go on at packet `key`, after the message it has begun.
    fn move_to(&self, cursor: &mut Cursor, key: u64, now: u64) {
        let Some(wire) = self.wire(cursor.form) else { return };
        let pos = wire.start_of(key);
        if cursor.mode == Mode::Live && cursor.pos < pos {
            cursor.finish_packet(wire);
            // the headers may have changed in what is left out, unless nothing of it was sent since
            // they were put there
            if !cursor.head.as_ref().is_some_and(|head| head.has_stickies()) {
                cursor.headers = 0;
            }
            let timestamp = self.packet(key).map_or(0, |packet| packet.timestamp);
            self.send_headers(cursor, key, timestamp, now);
            cursor.pos = pos;
        }
    }

    /// Sends everybody what is new.
    fn flush(&mut self, settings: &Settings, now: u64) -> Ended {
        self.flushed = now;
        self.wake(now);
        let mut ended = Vec::new();
        // first the relays, since each stands for all players behind it
        for relays in [true, false] {
            for Outlet { wire, members, .. } in &mut self.outlets {
                if members.count() > 0 {
                    members.flush(relays, wire, &mut self.cursors, &mut ended);
                }
            }
        }
        if self.has_others() {
            self.flush_others(settings, now, &mut ended);
        }
        self.trim(settings);
        ended
    }

    /// Sends those what is new that can't be written to directly, or could not so far.
    #[inline(never)]
    fn flush_others(&mut self, settings: &Settings, now: u64, ended: &mut Ended) {
        let mut cursors = mem::take(&mut self.cursors);
        for (slot, cursor) in cursors.iter_mut().enumerate() {
            let Some(cursor) = cursor.as_mut().filter(|cursor| cursor.direct.is_none()) else {
                continue;
            };
            if cursor.blocked {
                // at a flush, since a source may send any number of key frames before it
                if let Some(&key) = self.keys.back().filter(|_| settings.low_latency) {
                    self.move_to(cursor, key, now);
                }
                let end = self.bound_lag(cursor, settings, now);
                let end = end.or_else(|| self.bound_own(cursor, settings));
                ended.extend(end.map(|why| (cursor.sink.clone(), why)));
                continue;
            }
            self.deliver_and_enter(cursor, slot, settings, now, ended);
        }
        self.cursors = cursors;
    }

    /// Writes to the cursor of `slot` directly from now on, if that can be.
    fn enter(&mut self, cursor: &mut Cursor, slot: usize) {
        if let Some(outlet) = self.outlet(cursor.form) {
            outlet.members.enter(cursor, slot as u32);
        }
    }

    fn deliver_one(&mut self, id: u64, settings: &Settings, now: u64) -> Ended {
        let slot = id as u32 as usize;
        let entry = self.cursors.get_mut(slot);
        let Some(mut cursor) = entry.and_then(|entry| entry.take_if(|cursor| cursor.id == id))
        else {
            return Vec::new();
        };
        let mut ended = Vec::new();
        if cursor.direct.is_none() {
            match cursor.blocked {
                true => {
                    let end = self.bound_own(&mut cursor, settings);
                    ended.extend(end.map(|why| (cursor.sink.clone(), why)));
                }
                false => self.deliver_and_enter(&mut cursor, slot, settings, now, &mut ended),
            }
        }
        self.cursors[slot] = Some(cursor);
        ended
    }

    /// Sends a subscriber what there is for it, and writes to it directly from then on if that can be.
    fn deliver_and_enter(
        &mut self,
        cursor: &mut Cursor,
        slot: usize,
        settings: &Settings,
        now: u64,
        ended: &mut Ended,
    ) {
        let end = match self.deliver(cursor, settings, now) {
            Ok(()) => self.bound_own(cursor, settings),
            Err(error) => Some(End::Failed(error)),
        };
        match end {
            Some(why) => ended.push((cursor.sink.clone(), why)),
            None => self.enter(cursor, slot),
        }
    }

    /// Sends one subscriber what there is for it, until its peer is full.
    fn deliver(&self, cursor: &mut Cursor, settings: &Settings, now: u64) -> io::Result<()> {
        let Some(wire) = self.wire(cursor.form) else { return Ok(()) };
        let picked = match cursor.mode {
            Mode::Picking { seq } if self.awaits_tracks(cursor, seq, now) => Picked::waiting(seq),
            Mode::Picking { seq } => self.pick(cursor, wire, seq, settings, now),
            Mode::Live => Picked::all(cursor.pos, wire.end()),
            Mode::Paused => Picked::default(),
        };
        let head = cursor.head.take();
        let (mut parts, mut blocks) = (Vec::new(), Vec::new());
        if let Some(head) = &head {
            head.slices(&mut parts, &mut blocks);
        }
        for &(from, to) in &picked.ranges {
            wire.slices(from, to, &mut parts, &mut blocks);
        }
        let wanted: usize = parts.iter().map(|part| part.len()).sum();
        let n = match wanted {
            0 => 0,
            _ => match cursor.sink.write(Data { parts: &parts, blocks: &blocks }) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                n => n?,
            },
        };
        cursor.head = head;
        cursor.blocked = n < wanted;
        let of_wire = cursor.advance(n);
        match picked.left_at(of_wire) {
            Some((pos, true)) => (cursor.mode, cursor.pos) = (Mode::Live, pos),
            Some((pos, false)) => {
                cursor.pick_from(wire.packet_at(pos));
                cursor.pos = pos;
            }
            None if picked.live => (cursor.mode, cursor.pos) = (Mode::Live, wire.end()),
            None if cursor.mode == Mode::Paused => (),
            None => {
                cursor.pick_from(picked.seq);
                let more = picked.seq < self.next() && !picked.waits;
                self.more.set(self.more.get() || more);
            }
        }
        Ok(())
    }

    /// Looks at the packets from `seq` on: picks those that the player gets one by one, and those from
    /// the one on at which it may start to take all.
    fn pick(
        &self,
        cursor: &mut Cursor,
        wire: &Wire,
        seq: u64,
        settings: &Settings,
        now: u64,
    ) -> Picked {
        let mut picked = Picked::default();
        let mut seq = seq.max(self.first);
        let next = self.next().min(seq + MAX_LOOKED_AT);
        if let Some((from, to)) = cursor.rest_of_packet(wire) {
            match self.has_new_headers(cursor) {
                false => picked.add(from, to),
                // new headers go out behind it
                true => cursor.finish_packet(wire),
            }
            seq += 1;
        }
        let expects_video = self.expects_video(settings, now);
        while seq < next && !picked.is_full() {
            let Some(packet) = self.packet(seq) else { break };
            let free = !expects_video || !settings.wait_key;
            let starts = packet.key || (free && packet.kind != Kind::Data && !packet.sticky);
            let all = cursor.filter == Filter::ALL;
            if self.has_new_headers(cursor) && !picked.ranges.is_empty() {
                // they go out in front of what is picked, so that has to be out first
                break;
            }
            if starts && all {
                self.send_headers(cursor, seq, packet.timestamp, now);
                picked.add_all(wire.start_of(seq), wire.end());
                return picked;
            }
            let wanted = match packet.kind {
                Kind::Data => true,
                Kind::Audio => cursor.filter.audio && (!settings.wait_video || free),
                // with audio switched off, video still starts at a key frame
                Kind::Video => cursor.filter.video && !cursor.filter.audio,
            };
            if wanted || (packet.sticky && all) {
                self.send_headers(cursor, seq, packet.timestamp, now);
            }
            // a sticky one is among the headers
            if wanted && !packet.sticky {
                picked.add(wire.start_of(seq), wire.start_of(seq + 1));
            }
            seq += 1;
        }
        picked.seq = seq;
        picked
    }

    /// Whether there are sticky messages that the peer does not have.
    fn has_new_headers(&self, cursor: &Cursor) -> bool {
        self.source_on_air().is_some_and(|source| source.headers.any_since(cursor.headers))
    }

    /// Puts the sticky messages that packet `seq` needs in front, if the peer does not have these yet.
    fn send_headers(&self, cursor: &mut Cursor, seq: u64, timestamp: u32, now: u64) {
        let mut after = mem::replace(&mut cursor.headers, seq + 1);
        let outlet = self.outlets.iter().find(|outlet| outlet.wire.form == cursor.form);
        let (Some(source), Some(outlet)) = (self.source_on_air(), outlet) else { return };
        if !source.headers.any_since(after) {
            return;
        }
        let form = cursor.form;
        let head = cursor.head();
        // what it was to get before would pile up in front of a peer that takes nothing
        if head.has_stickies() {
            head.drop_stickies();
            after = 0;
        }
        let all = form.is_to_publish() || self.probing(now).is_some();
        let needed = Needed { after, at: seq, all, timestamp };
        outlet.stickies.borrow_mut().put(&source.headers, form, needed, head);
    }

    /// Ends a subscriber that holds too much for itself alone.
    fn bound_own(&self, cursor: &mut Cursor, settings: &Settings) -> Option<End> {
        let bytes = cursor.held();
        if bytes <= settings.player_memory {
            return None;
        }
        // nothing more is written to it
        (cursor.head, cursor.mode, cursor.blocked) = (None, Mode::Paused, true);
        Some(End::Unread { bytes, stream: Held::default() })
    }

    /// Moves a player that is too far behind to a key frame, or says that it must go.
    fn bound_lag(&self, cursor: &mut Cursor, settings: &Settings, now: u64) -> Option<End> {
        let wire = self.wire(cursor.form)?;
        let (seq, pos) = match cursor.mode {
            Mode::Live => (wire.packet_at(cursor.pos), cursor.pos),
            Mode::Picking { seq } => (seq, wire.start_of(seq)),
            Mode::Paused => return None,
        };
        let since = |packet: &Packet| packet.arrived.max(cursor.since);
        let lag = self.packet(seq).map_or(0, |packet| self.awake.saturating_sub(since(packet)));
        let most = settings.out_queue_size.saturating_add(cursor.granted);
        let most = most.min(cost::of_wire(settings, self.outlets.len()));
        let few = self.next().saturating_sub(seq) <= cost::MAX_PACKETS;
        if lag <= settings.out_queue_time && self.cost(wire, pos, seq) <= most && few {
            return None;
        }
        cursor.granted = 0;
        cursor.drops = cursor.drops.saturating_add(1);
        if settings.out_queue_drops.is_some_and(|drops| cursor.drops >= drops) {
            return Some(End::TooSlow { times: cursor.drops });
        }
        match self.keys.back().filter(|&&key| key > seq) {
            Some(&key) if cursor.mode == Mode::Live => self.move_to(cursor, key, now),
            _ => {
                cursor.finish_packet(wire);
                cursor.pick_from(self.next());
                cursor.headers = 0;
            }
        }
        None
    }

    /// What is held in one wire for one who needs it from byte `pos`, in packet `seq`, on.
    fn cost(&self, wire: &Wire, pos: u64, seq: u64) -> u64 {
        cost::of(wire.end().saturating_sub(pos), self.next().saturating_sub(seq))
    }

    /// Forgets the packets that nobody needs: neither a player nor the cache.
    fn trim(&mut self, settings: &Settings) {
        if self.outlets.len() > 1 {
            self.drop_outlets(LINGER_MS);
        }
        let next = self.next();
        for outlet in &mut self.outlets {
            outlet.behind = (outlet.wire.end(), next);
        }
        if self.has_others() {
            self.note_behind();
        }
        let cached = if settings.cache_time > 0 { self.cache_from } else { next };
        let mut oldest = cached;
        for Outlet { wire, members, behind, .. } in &mut self.outlets {
            let pos = members.reached().map_or(behind.0, |reached| behind.0.min(reached));
            let live = if pos < wire.end() { wire.packet_at(pos) } else { next };
            let keep = cached.min(behind.1).min(live);
            wire.trim(keep);
            oldest = oldest.min(keep);
        }
        while self.first < oldest && self.packets.pop_front().is_some() {
            self.first += 1;
        }
        while self.keys.front().is_some_and(|&key| key < self.first) {
            self.keys.pop_front();
        }
        cost::shrink(&mut self.packets);
        cost::shrink(&mut self.keys);
        let (on_air, first) = (self.on_air, self.first);
        if let Some(source) = self.sources.iter_mut().find(|source| Some(source.id) == on_air) {
            source.headers.trim(first);
        }
    }

    /// Notes what those still need that are not written to directly.
    #[inline(never)]
    fn note_behind(&mut self) {
        for cursor in self.cursors.iter().flatten().filter(|cursor| cursor.direct.is_none()) {
            let mut outlets = self.outlets.iter_mut();
            let Some(outlet) = outlets.find(|outlet| outlet.wire.form == cursor.form) else {
                continue;
            };
            let (pos, seq) = &mut outlet.behind;
            match cursor.mode {
                Mode::Live => *pos = cursor.pos.min(*pos),
                Mode::Picking { seq: first } => *seq = first.min(*seq),
                Mode::Paused => (),
            }
        }
    }

    /// What the stream holds.
    fn held(&self) -> Held {
        let wires: u64 = self.outlets.iter().map(|outlet| outlet.wire.held()).sum();
        let packets = self.packets.capacity() * size_of::<Packet>();
        let keys = self.keys.capacity() * size_of::<u64>();
        Held {
            log: wires + (packets + keys) as u64,
            headers: self.sources.iter().map(|source| source.headers.held()).sum(),
            players: self.cursors.iter().flatten().map(Cursor::held).sum(),
        }
    }
}

/// Whether a message of this class is one that a decoder makes pictures or sound of.
fn is_frame(class: Class) -> bool {
    matches!(class, Class::KeyFrame | Class::InterFrame | Class::Disposable | Class::Audio)
}

/// Whether it is for the frames behind it.
fn is_header(class: Option<Class>) -> bool {
    matches!(class, Some(Class::SequenceHeader | Class::Metadata))
}

/// A source's hold on its stream; dropped, it is gone from it.
pub struct Publication {
    stream: Rc<Stream>,
    id: u64,
    taken: Cell<u32>,
    /// A message was too large to be kept, and that was said.
    crowded: Cell<bool>,
}

impl Publication {
    /// Takes a message: for the players if this source is on air, else only what they will need
    /// when it gets there. Of metadata, that is what `meta` leaves of it.
    pub fn append(&self, media: Media<'_>, now: u64) {
        match media.kind {
            Kind::Data => self.append_data(media, now),
            _ => self.append_as_is(media, now),
        }
    }

    #[cold]
    fn append_data(&self, media: Media<'_>, now: u64) {
        let stream = &self.stream;
        let source = stream.inner.borrow().source(Some(self.id));
        // another worker has done so
        let done = source.is_some_and(|source| source.gathered());
        let meta = if done { Meta::Copy } else { stream.settings.meta };
        if let Some(payload) = metadata::for_players(meta, media.payload) {
            self.append_as_is(Media { payload: &payload, ..media }, now);
        }
    }

    fn append_as_is(&self, media: Media<'_>, now: u64) {
        let stream = &self.stream;
        self.taken.set(self.taken.get().wrapping_add(1));
        let info = media.info();
        let taken =
            stream.inner.borrow_mut().append(self.id, media, info.as_ref(), &stream.settings, now);
        match taken {
            None => return,
            Some(Note::Nothing) => (),
            Some(Note::Track) => stream.worker.changed(stream, Change::Track),
            Some(Note::Header(noted)) => self.header_came(&media, noted),
        }
        let unflushed = stream.unflushed.get() + cost::of(media.payload.len() as u64, 1);
        stream.unflushed.set(unflushed);
        match unflushed > cost::MAX_UNFLUSHED {
            true => stream.flush_now(),
            false => stream.flush_soon(now),
        }
    }

    /// A sequence header came, or a message that is too large to be kept for later players.
    #[cold]
    fn header_came(&self, media: &Media<'_>, noted: Noted) {
        if noted == Noted::TooLarge && !self.crowded.replace(true) {
            self.stream.worker.host.warn(format_args!(
                "later players of \"{}\" do not get a header or metadata of {} bytes: \
                 more than {MAX_STICKY_BYTES} of them in all",
                self.stream.key,
                media.payload.len(),
            ));
        }
        if media.kind != Kind::Data {
            let new = noted != Noted::Same;
            self.stream.worker.changed(&self.stream, Change::Header { kind: media.kind, new });
        }
    }

    /// Whether messages wait for the next flush, and not for so long that they should be read before.
    pub fn gathers(&self, now: u64) -> bool {
        (1..=MAX_DEFER).contains(&self.stream.window(now))
    }

    /// Whether what has come may be read later, since it would only wait for the next flush, which
    /// is due then: [`Source::collect`] is called before it.
    pub fn defer(&self, now: u64) -> bool {
        let stream = &self.stream;
        if !self.gathers(now) {
            return false;
        }
        {
            let inner = &mut *stream.inner.borrow_mut();
            let on_air = inner.on_air == Some(self.id);
            let own = inner.sources.iter_mut().find(|source| on_air && source.id == self.id);
            let Some(source) = own else { return false };
            source.deferred = true;
        }
        stream.flush_soon(now);
        true
    }

    /// How many messages it took since this was asked last.
    pub fn taken(&self) -> u32 {
        self.taken.take()
    }

    /// The stream published to.
    pub fn stream(&self) -> &Rc<Stream> {
        &self.stream
    }
}

impl Drop for Publication {
    fn drop(&mut self) {
        self.stream.unpublish(self.id);
    }
}
