//! One stream: its sources, its packets and its subscribers.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::mem;
use std::rc::Rc;

use rtmp_protocol::codec::{Class, Info};
use rtmp_protocol::timeline::{Timeline, TrackId};

use crate::live::direct::{Ended, Members};
use crate::live::media::{Headers, Kind, Media, Noted, Packet};
use crate::live::metadata::{self, Meta};
use crate::live::pace::Sockets;
use crate::live::registry::{self, Change, Key};
use crate::live::subscriber::{Cursor, Data, End, Filter, Head, Mode, Subscriber, Subscription};
use crate::live::wire::{Form, Wire};
use crate::nginx::clock;
use crate::nginx::event::Event;

/// A source may leave what came unread for as long as this, in milliseconds: what a moderate
/// stream sends meanwhile does not fill a socket.
const MAX_DEFER: u64 = 50;

/// How a stream behaves; times in milliseconds, sizes in bytes. The directives of the same names.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The wire form in which packets are kept.
    pub form: Form,
    pub cache_time: u64,
    pub cache_size: u64,
    pub low_latency: bool,
    pub send_all: bool,
    /// `None` is `auto`.
    pub merge_window: Option<u64>,
    pub meta: Meta,
    pub wait_key: bool,
    pub wait_video: bool,
    pub out_queue_time: u64,
    pub out_queue_size: Option<u64>,
    pub out_queue_drops: Option<u32>,
}

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

/// The stream has a source of the same priority.
#[derive(Debug)]
pub struct Busy;

/// A stream: an append-only log of packets with cursors on it.
pub struct Stream {
    key: Key,
    settings: Settings,
    inner: RefCell<Inner>,
    flush: Event,
    /// A flush is due: the event is posted or its timer runs.
    flush_due: Cell<bool>,
    sockets: Sockets,
    /// Subscribers that left while the engine was at work on them.
    left: RefCell<Vec<u64>>,
    /// The sequence headers that are to be announced, one bit for each kind and whether it is new.
    announcing: Cell<u8>,
}

struct Inner {
    sources: Vec<Publishing>,
    /// The id of the source on air.
    on_air: Option<u64>,
    on_air_since: u64,
    next_source: u64,

    packets: VecDeque<Packet>,
    /// The number of the oldest packet kept.
    first: u64,
    /// The numbers of the key frames among them.
    keys: VecDeque<u64>,
    /// Where the GOP cache begins.
    cache_from: u64,
    cached_bytes: u64,
    outlets: Vec<Outlet>,

    /// Counts the changes of the sticky messages of the source on air.
    headers_version: u64,
    /// The track whose key frames players start at, once video was seen.
    main_track: Option<u8>,
    /// Audio came.
    heard: bool,
    timeline: Timeline,

    cursors: Vec<Option<Cursor>>,
    free: Vec<u32>,
    generation: u32,
    players: usize,
    /// When there was the last flush.
    flushed: u64,
}

/// A wire, and those who take its bytes.
struct Outlet {
    wire: Wire,
    subscribers: usize,
    /// Those of them that are written to directly.
    members: Members,
}

impl Outlet {
    fn new(wire: Wire) -> Self {
        Outlet { wire, subscribers: 0, members: Members::default() }
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
    pub(super) fn new(key: Key, settings: Settings) -> Rc<Self> {
        Rc::new_cyclic(|this: &std::rc::Weak<Stream>| {
            let this = this.clone();
            Stream {
                key,
                flush: Event::new(move || {
                    if let Some(stream) = this.upgrade() {
                        stream.flush();
                    }
                }),
                flush_due: Cell::new(false),
                sockets: Sockets::default(),
                left: RefCell::default(),
                announcing: Cell::new(0),
                inner: RefCell::new(Inner {
                    sources: Vec::new(),
                    on_air: None,
                    on_air_since: 0,
                    next_source: 0,
                    packets: VecDeque::new(),
                    first: 0,
                    keys: VecDeque::new(),
                    cache_from: 0,
                    cached_bytes: 0,
                    outlets: vec![Outlet::new(Wire::new(settings.form, 0))],
                    headers_version: 0,
                    main_track: None,
                    heard: false,
                    timeline: Timeline::default(),
                    cursors: Vec::new(),
                    free: Vec::new(),
                    generation: 0,
                    players: 0,
                    flushed: 0,
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

    /// How many players there are.
    pub fn players(&self) -> usize {
        self.inner.borrow().players
    }

    /// Whether audio and whether video came from the source on air.
    pub fn tracks(&self) -> (bool, bool) {
        let inner = self.inner.borrow();
        (inner.heard, inner.main_track.is_some())
    }

    /// Since when a source has been on air, in the loop's milliseconds; `None` = none is.
    pub fn on_air_since(&self) -> Option<u64> {
        let inner = self.inner.borrow();
        inner.on_air.map(|_| inner.on_air_since)
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
    ) -> Result<Publication, Busy> {
        let id = {
            let inner = &mut *self.inner.borrow_mut();
            if inner.sources.iter().any(|other| other.priority == priority) {
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
        self.choose_source();
        Ok(Publication { stream: self.clone(), id, taken: Cell::new(0) })
    }

    fn unpublish(self: &Rc<Self>, id: u64) {
        self.inner.borrow_mut().sources.retain(|source| source.id != id);
        self.choose_source();
    }

    /// Puts the source of the highest priority on air, and tells everybody about it.
    fn choose_source(self: &Rc<Self>) {
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
            inner.on_air_since = clock::now();
            inner.main_track = None;
            inner.heard = false;
            inner.drop_cache();
            inner.headers_version += 1;
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
            self.repeat_headers();
            self.flush_soon();
        }
        self.count_sockets();
        for sink in sinks {
            sink.source(new.is_some());
        }
        let own = self.priority().is_some_and(|priority| priority >= 0);
        let change = if new.is_some() { Change::Published { own } } else { Change::Unpublished };
        registry::changed(self, change);
    }

    /// Appends what a source sent before it went on air and players need.
    fn repeat_headers(&self) {
        let inner = &mut *self.inner.borrow_mut();
        let started = inner.timeline.has_begun();
        let Some(at) = inner.sources.iter().position(|s| Some(s.id) == inner.on_air) else {
            return;
        };
        let mut headers = mem::take(&mut inner.sources[at].headers);
        headers.renew(inner.headers_version);
        // a source that stood by is in the middle of a GOP
        inner.sources[at].await_key = started && !headers.is_empty();
        for sticky in headers.in_order() {
            let media = Media { kind: sticky.kind, timestamp: 0, payload: &sticky.payload };
            inner.push(media, media.info().as_ref(), &self.settings);
        }
        inner.sources[at].headers = headers;
    }

    fn flush_soon(&self) {
        if self.flush_due.replace(true) {
            return;
        }
        match self.window() {
            0 => self.flush.post(),
            ms => self.flush.set_timer(ms),
        }
    }

    /// Sends what is to go out in this turn of the loop: now, not behind its other events.
    pub fn flush_posted(self: &Rc<Self>) {
        if self.flush.is_posted() {
            self.flush.cancel();
            self.flush();
        }
    }

    /// How long to gather before one write per player. What has been gathered elsewhere waits only
    /// for as long as the last flush is too recent.
    fn window(&self) -> u64 {
        let window = self.settings.merge_window.unwrap_or_else(|| self.sockets.window());
        if window == 0 {
            return 0;
        }
        let inner = self.inner.borrow();
        if !inner.source_on_air().is_some_and(|source| source.source.gathered()) {
            return window;
        }
        window.saturating_sub(clock::now().saturating_sub(inner.flushed))
    }

    /// The source on air or the subscribers have changed. Off air, nothing is read or written.
    fn count_sockets(&self) {
        let inner = self.inner.borrow();
        self.sockets.set(inner.on_air.map_or(0, |_| 1 + inner.subscribers()));
    }

    /// One walk over all subscribers: each gets what is new in one write.
    fn flush(self: &Rc<Self>) {
        if self.inner.borrow().is_deferred() {
            self.collect();
        }
        self.flush_due.set(false);
        let ended = self.inner.borrow_mut().flush(&self.settings, clock::now());
        if self.inner.borrow().is_deferred() {
            self.flush_soon();
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
    pub fn subscribe(self: &Rc<Self>, subscriber: Subscriber) -> Subscription {
        let (id, players) = {
            let inner = &mut *self.inner.borrow_mut();
            let id = inner.join(subscriber, &self.settings);
            (id, inner.players)
        };
        self.count_sockets();
        if players == 1 {
            registry::changed(self, Change::Audience { some: true });
        }
        self.writable(id);
        Subscription { stream: self.clone(), id }
    }

    pub(super) fn unsubscribe(self: &Rc<Self>, id: u64) -> Option<Vec<u8>> {
        let Ok(mut inner) = self.inner.try_borrow_mut() else {
            self.left.borrow_mut().push(id);
            return None;
        };
        let was = inner.players;
        let rest = inner.leave(id)?;
        let last = was > 0 && inner.players == 0;
        inner.trim(&self.settings);
        drop(inner);
        self.count_sockets();
        if last {
            registry::changed(self, Change::Audience { some: false });
        }
        Some(rest)
    }

    pub(super) fn writable(self: &Rc<Self>, id: u64) {
        let ended = {
            let inner = &mut *self.inner.borrow_mut();
            if let Some((cursor, _)) = inner.cursor(id) {
                cursor.blocked = false;
            }
            inner.deliver_one(id, &self.settings)
        };
        self.after(ended);
    }

    /// Sends `bytes` to one subscriber alone, and says how many of its own bytes wait then.
    pub(super) fn send_own(self: &Rc<Self>, id: u64, bytes: &[u8]) -> usize {
        let (ended, waiting) = {
            let inner = &mut *self.inner.borrow_mut();
            if let Some((cursor, wire)) = inner.cursor(id) {
                cursor.finish_packet(wire);
                cursor.head().extend_from_slice(bytes);
            }
            let ended = inner.deliver_one(id, &self.settings);
            let head = inner.find(id).and_then(|cursor| cursor.head.as_ref());
            (ended, head.map_or(0, |head| head.bytes.len() - head.sent))
        };
        self.after(ended);
        waiting
    }

    pub(super) fn written(&self, id: u64) -> Option<u64> {
        let inner = self.inner.borrow();
        inner.find(id)?.direct.map(|_| inner.flushed)
    }

    pub(super) fn pause(self: &Rc<Self>, id: u64, pause: bool) {
        let ended = {
            let inner = &mut *self.inner.borrow_mut();
            inner.repick(id, |cursor| cursor.mode == Mode::Paused || pause, |_| ());
            if pause {
                if let Some((cursor, _)) = inner.cursor(id) {
                    cursor.mode = Mode::Paused;
                }
            }
            inner.deliver_one(id, &self.settings)
        };
        self.after(ended);
    }

    pub(super) fn set_filter(self: &Rc<Self>, id: u64, filter: Filter) {
        let ended = {
            let inner = &mut *self.inner.borrow_mut();
            inner.repick(
                id,
                |cursor| cursor.filter != filter && cursor.mode != Mode::Paused,
                |cursor| cursor.filter = filter,
            );
            inner.deliver_one(id, &self.settings)
        };
        self.after(ended);
    }

    /// Does what may call back into the engine, now that no borrow is held.
    fn after(self: &Rc<Self>, ended: Ended) {
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
        for (sink, why) in ended {
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
        registry::forget(&self.key);
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

    /// The number of the next packet.
    fn next(&self) -> u64 {
        self.first + self.packets.len() as u64
    }

    fn packet(&self, seq: u64) -> Option<&Packet> {
        self.packets.get(seq.checked_sub(self.first)? as usize)
    }

    /// Takes a message of a source: into the log if it is on air, else only what players will need
    /// when it gets there. `None` = not for the players; else what it was if it was a sequence
    /// header.
    fn append(
        &mut self,
        source: u64,
        media: Media<'_>,
        info: Option<&Info>,
        settings: &Settings,
    ) -> Option<Option<Noted>> {
        let on_air = self.on_air == Some(source);
        let source = self.sources.iter_mut().find(|s| s.id == source)?;
        let noted = source.headers.note(&media, info, self.headers_version + 1);
        if !on_air {
            return None;
        }
        self.headers_version += u64::from(noted != Noted::Nothing);
        if noted == Noted::Changed {
            // what is cached can't be decoded with the new header
            self.drop_cache();
        }
        self.push(media, info, settings)?;
        Some(info.is_some_and(|info| info.class == Class::SequenceHeader).then_some(noted))
    }

    /// Appends a message of the source on air to the log.
    fn push(&mut self, media: Media<'_>, info: Option<&Info>, settings: &Settings) -> Option<()> {
        let class = info.map(|info| info.class);
        if media.kind == Kind::Video && class != Some(Class::Empty) {
            self.main_track.get_or_insert(info.map_or(0, |info| info.track));
        }
        self.heard |= media.kind == Kind::Audio && class != Some(Class::Empty);
        let key = match (media.kind, class) {
            (Kind::Video, Some(Class::KeyFrame)) => self.main_track == info.map(|info| info.track),
            (Kind::Audio, Some(Class::Audio)) => self.main_track.is_none(),
            _ => false,
        };
        if self.skip_until_key(&media, class, key) {
            return None;
        }
        let frame = matches!(
            class,
            Some(Class::KeyFrame | Class::InterFrame | Class::Disposable | Class::Audio)
        );
        let sticky =
            matches!(class, Some(Class::SequenceHeader | Class::Metadata)) || media.is_metadata();
        let (now, seq) = (clock::now(), self.next());
        let track = info.map(|info| TrackId { video: info.video, track: info.track });
        let timestamp = match track.filter(|_| frame) {
            Some(track) => self.timeline.frame(track, media.timestamp, now),
            None => self.timeline.beside(track, media.timestamp),
        };
        let media = Media { timestamp, ..media };
        for outlet in self.outlets.iter_mut().filter(|outlet| outlet.is_wanted(settings)) {
            outlet.wire.append(&media, now);
        }
        let len = media.payload.len() as u32;
        let kind = media.kind;
        let time = self.timeline.time();
        self.packets.push_back(Packet { kind, key, sticky, timestamp, time, len, arrived: now });
        if key {
            self.keys.push_back(seq);
        }
        self.cache(seq, key, settings);
        Some(())
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
        self.cached_bytes = 0;
        self.keys.clear();
    }

    /// Takes packet `seq` into the GOP cache, and drops from it what players to come do not need.
    fn cache(&mut self, seq: u64, key: bool, settings: &Settings) {
        let silent = settings.cache_time > 0 && self.is_video_silent(settings);
        if settings.cache_time == 0 || (self.cache_from >= seq && !key && !silent) {
            self.cache_from = seq + 1;
            return;
        }
        let Some(&Packet { len, .. }) = self.packets.back() else { return };
        self.cached_bytes += u64::from(len);
        while let Some(to) = self.outdated(seq, silent, settings) {
            while self.cache_from < to {
                let len = self.packet(self.cache_from).map_or(0, |packet| packet.len);
                self.cached_bytes = self.cached_bytes.saturating_sub(u64::from(len));
                self.cache_from += 1;
            }
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
        let fits = self.cached_bytes <= settings.cache_size;
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

    fn join(&mut self, subscriber: Subscriber, settings: &Settings) -> u64 {
        let Subscriber { form, sink, player, prologue } = subscriber;
        self.enter_outlet(form, settings);
        let seq = self.start(settings).unwrap_or(self.next());
        let slot = self.free.pop().unwrap_or_else(|| {
            self.cursors.push(None);
            (self.cursors.len() - 1) as u32
        });
        self.generation = self.generation.wrapping_add(1);
        let id = u64::from(self.generation) << 32 | u64::from(slot);
        let head = (!prologue.is_empty()).then(|| Box::new(Head { bytes: prologue, sent: 0 }));
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
            direct: None,
        });
        self.players += usize::from(player);
        id
    }

    /// Makes sure that there is a wire of this form, filled with what is cached.
    fn enter_outlet(&mut self, form: Form, settings: &Settings) {
        let (from, next) = (self.cache_from.max(self.first), self.next());
        if let Some(outlet) = self.outlet(form) {
            if !outlet.is_wanted(settings) {
                outlet.wire.resume(next);
            }
            outlet.subscribers += 1;
            return;
        }
        let mut wire = Wire::new(form, from);
        let mut payload = Vec::new();
        for seq in from..next {
            let Some(packet) = self.packet(seq) else { break };
            payload.clear();
            let media = Media { kind: packet.kind, timestamp: packet.timestamp, payload: &[] };
            self.outlets[0].wire.payload(seq, &media, packet.len as usize, &mut payload);
            wire.append(&Media { payload: &payload, ..media }, packet.arrived);
        }
        self.outlets.push(Outlet { subscribers: 1, ..Outlet::new(wire) });
    }

    /// The first wire is where packets are kept; others live as long as their players.
    fn leave_outlet(&mut self, form: Form) {
        if let Some(outlet) = self.outlet(form) {
            outlet.subscribers -= 1;
        }
        let kept = self.outlets[0].wire.form;
        self.outlets.retain(|outlet| outlet.subscribers > 0 || outlet.wire.form == kept);
    }

    /// Takes the subscriber out, and gives what completes the message it is receiving.
    fn leave(&mut self, id: u64) -> Option<Vec<u8>> {
        let (cursor, wire) = self.cursor(id)?;
        cursor.finish_packet(wire);
        let slot = id as u32;
        let cursor = self.cursors[slot as usize].take()?;
        self.free.push(slot);
        self.players -= usize::from(cursor.player);
        self.leave_outlet(cursor.form);
        Some(cursor.head.map(|head| head.bytes[head.sent..].to_vec()).unwrap_or_default())
    }

    /// Lets a subscriber look for a new start, if it is one that `when` picks.
    fn repick(&mut self, id: u64, when: impl Fn(&Cursor) -> bool, then: impl Fn(&mut Cursor)) {
        let seq = self.next();
        let Some((cursor, wire)) = self.cursor(id).filter(|(cursor, _)| when(cursor)) else {
            return;
        };
        cursor.finish_packet(wire);
        cursor.mode = Mode::Picking { seq };
        then(cursor);
    }

    /// Lets a cursor that is behind go on at packet `key`, after the message it has begun.
    fn move_to(&self, cursor: &mut Cursor, key: u64) {
        let Some(wire) = self.wire(cursor.form) else { return };
        let pos = wire.start_of(key);
        if cursor.mode == Mode::Live && cursor.pos < pos {
            cursor.finish_packet(wire);
            // the headers may have changed in what is left out
            cursor.headers = 0;
            self.send_headers(cursor, self.packet(key).map_or(0, |packet| packet.timestamp));
            cursor.pos = pos;
        }
    }

    /// Sends everybody what is new.
    fn flush(&mut self, settings: &Settings, now: u64) -> Ended {
        self.flushed = now;
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
                    self.move_to(cursor, key);
                }
                if let Some(why) = self.bound_lag(cursor, settings, now) {
                    ended.push((cursor.sink.clone(), why));
                }
                continue;
            }
            match self.deliver(cursor, settings) {
                Ok(()) => self.enter(cursor, slot),
                Err(error) => ended.push((cursor.sink.clone(), End::Failed(error))),
            }
        }
        self.cursors = cursors;
    }

    /// Writes to the cursor of `slot` directly from now on, if that can be.
    fn enter(&mut self, cursor: &mut Cursor, slot: usize) {
        if let Some(outlet) = self.outlet(cursor.form) {
            outlet.members.enter(cursor, slot as u32);
        }
    }

    fn deliver_one(&mut self, id: u64, settings: &Settings) -> Ended {
        let slot = id as u32 as usize;
        let entry = self.cursors.get_mut(slot);
        let Some(mut cursor) = entry.and_then(|entry| entry.take_if(|cursor| cursor.id == id))
        else {
            return Vec::new();
        };
        let mut ended = Vec::new();
        if !cursor.blocked && cursor.direct.is_none() {
            match self.deliver(&mut cursor, settings) {
                Ok(()) => self.enter(&mut cursor, slot),
                Err(error) => ended.push((cursor.sink.clone(), End::Failed(error))),
            }
        }
        self.cursors[slot] = Some(cursor);
        ended
    }

    /// Sends one subscriber what there is for it, until its peer is full.
    fn deliver(&self, cursor: &mut Cursor, settings: &Settings) -> io::Result<()> {
        let Some(wire) = self.wire(cursor.form) else { return Ok(()) };
        if let Mode::Picking { seq } = cursor.mode {
            self.pick(cursor, wire, seq, settings);
        }
        let to = if cursor.mode == Mode::Live { wire.end() } else { cursor.pos };
        let head = cursor.head.take();
        let (mut parts, mut blocks) = (Vec::new(), Vec::new());
        if let Some(head) = &head {
            parts.push(IoSlice::new(&head.bytes[head.sent..]));
            blocks.push(None);
        }
        wire.slices(cursor.pos, to, &mut parts, &mut blocks);
        if parts.is_empty() {
            return Ok(());
        }
        let wanted: usize = parts.iter().map(|part| part.len()).sum();
        let n = match cursor.sink.write(Data { parts: &parts, blocks: &blocks }) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            n => n?,
        };
        cursor.head = head;
        cursor.advance(n);
        cursor.blocked = n < wanted;
        Ok(())
    }

    /// Looks at the packets from `seq` on: copies those that the player gets one by one, and turns
    /// it into a live one where it may start.
    fn pick(&self, cursor: &mut Cursor, wire: &Wire, seq: u64, settings: &Settings) {
        let seq = seq.max(self.first);
        for seq in seq..self.next() {
            let Some(packet) = self.packet(seq) else { break };
            let free = self.main_track.is_none() || !settings.wait_key;
            let starts = packet.key || (free && packet.kind != Kind::Data && !packet.sticky);
            if starts && cursor.filter == Filter::ALL {
                self.send_headers(cursor, packet.timestamp);
                cursor.mode = Mode::Live;
                cursor.pos = wire.start_of(seq);
                return;
            }
            let wanted = match packet.kind {
                Kind::Data => true,
                Kind::Audio => cursor.filter.audio && (!settings.wait_video || free),
                // with audio switched off, video still starts at a key frame
                Kind::Video => cursor.filter.video && !cursor.filter.audio,
            };
            if wanted {
                self.send_headers(cursor, packet.timestamp);
            }
            // a sticky one is among the headers
            if wanted && !packet.sticky {
                wire.copy(wire.start_of(seq), wire.start_of(seq + 1), cursor.head());
            }
        }
        cursor.mode = Mode::Picking { seq: self.next() };
    }

    /// Puts the sticky messages in front, if the peer does not have these yet.
    fn send_headers(&self, cursor: &mut Cursor, timestamp: u32) {
        let Some(source) = self.source_on_air() else { return };
        let had = mem::replace(&mut cursor.headers, self.headers_version);
        let form = cursor.form;
        for sticky in source.headers.in_order().filter(|sticky| sticky.version > had) {
            // metadata belong to no moment: with a time, ffmpeg takes them for subtitles
            let timestamp = if sticky.kind == Kind::Data { 0 } else { timestamp };
            let media = Media { kind: sticky.kind, timestamp, payload: &sticky.payload };
            let head = cursor.head();
            form.encode(&media, |bytes| head.extend_from_slice(bytes));
        }
    }

    /// Moves a player that is too far behind to a key frame, or says that it must go.
    fn bound_lag(&self, cursor: &mut Cursor, settings: &Settings, now: u64) -> Option<End> {
        let wire = self.wire(cursor.form)?;
        let (seq, pos) = match cursor.mode {
            Mode::Live => (wire.packet_at(cursor.pos), cursor.pos),
            Mode::Picking { seq } => (seq, wire.start_of(seq)),
            Mode::Paused => return None,
        };
        let lag = self.packet(seq).map_or(0, |packet| now.saturating_sub(packet.arrived));
        let bytes = wire.end() - pos;
        if lag <= settings.out_queue_time && settings.out_queue_size.is_none_or(|max| bytes <= max)
        {
            return None;
        }
        cursor.drops = cursor.drops.saturating_add(1);
        if settings.out_queue_drops.is_some_and(|drops| cursor.drops >= drops) {
            return Some(End::TooSlow { times: cursor.drops });
        }
        match self.keys.back().filter(|&&key| key > seq) {
            Some(&key) if cursor.mode == Mode::Live => self.move_to(cursor, key),
            _ => {
                cursor.finish_packet(wire);
                cursor.mode = Mode::Picking { seq: self.next() };
                cursor.headers = 0;
            }
        }
        None
    }

    /// Forgets the packets that nobody needs: neither a player nor the cache.
    fn trim(&mut self, settings: &Settings) {
        let others = if self.has_others() { self.cursors.as_slice() } else { &[] };
        let others = || others.iter().flatten().filter(|cursor| cursor.direct.is_none());
        let mut keep = if settings.cache_time > 0 { self.cache_from } else { self.next() };
        for cursor in others() {
            if let Mode::Picking { seq } = cursor.mode {
                keep = keep.min(seq);
            }
        }
        let mut oldest = keep;
        for Outlet { wire, members, .. } in &mut self.outlets {
            let live = others().filter(|cursor| cursor.form == wire.form && cursor.is_live());
            let behind = live.map(|cursor| cursor.pos).chain(members.reached()).min();
            let keep = match behind {
                Some(pos) if pos < wire.end() => keep.min(wire.packet_at(pos)),
                _ => keep,
            };
            wire.trim(keep);
            oldest = oldest.min(keep);
        }
        while self.first < oldest && self.packets.pop_front().is_some() {
            self.first += 1;
        }
        while self.keys.front().is_some_and(|&key| key < self.first) {
            self.keys.pop_front();
        }
    }
}

/// A source's hold on its stream; dropped, it is gone from it.
pub struct Publication {
    stream: Rc<Stream>,
    id: u64,
    taken: Cell<u32>,
}

impl Publication {
    /// Takes a message: for the players if this source is on air, else only what they will need
    /// when it gets there. Of metadata, that is what `meta` leaves of it.
    pub fn append(&self, media: Media<'_>) {
        match media.kind {
            Kind::Data => self.append_data(media),
            _ => self.append_as_is(media),
        }
    }

    #[cold]
    fn append_data(&self, media: Media<'_>) {
        let stream = &self.stream;
        let source = stream.inner.borrow().source(Some(self.id));
        // another worker has done so
        let done = source.is_some_and(|source| source.gathered());
        let meta = if done { Meta::Copy } else { stream.settings.meta };
        if let Some(payload) = metadata::for_players(meta, media.payload) {
            self.append_as_is(Media { payload: &payload, ..media });
        }
    }

    fn append_as_is(&self, media: Media<'_>) {
        let stream = &self.stream;
        self.taken.set(self.taken.get().wrapping_add(1));
        let info = media.info();
        let taken =
            stream.inner.borrow_mut().append(self.id, media, info.as_ref(), &stream.settings);
        let Some(header) = taken else { return };
        if let Some(noted) = header {
            let new = noted != Noted::Same;
            registry::changed(stream, Change::Header { kind: media.kind, new });
        }
        stream.flush_soon();
    }

    /// Whether messages wait for the next flush, and not for so long that they should be read before.
    pub fn gathers(&self) -> bool {
        (1..=MAX_DEFER).contains(&self.stream.window())
    }

    /// Whether what has come may be read later, since it would only wait for the next flush, which
    /// is due then: [`Source::collect`] is called before it.
    pub fn defer(&self) -> bool {
        let stream = &self.stream;
        if !self.gathers() {
            return false;
        }
        {
            let inner = &mut *stream.inner.borrow_mut();
            let on_air = inner.on_air == Some(self.id);
            let own = inner.sources.iter_mut().find(|source| on_air && source.id == self.id);
            let Some(source) = own else { return false };
            source.deferred = true;
        }
        stream.flush_soon();
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
