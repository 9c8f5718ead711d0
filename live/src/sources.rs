//! The sources of a stream: the one on air, and those that stand by.

use std::rc::Rc;

use rtmp_protocol::codec::Class;

use crate::cost;
use crate::headers::Headers;
use crate::media::{Kind, Media};
use crate::settings::Settings;
use crate::tracks::Tracks;

/// Who hears what becomes of a publication.
pub trait Source {
    /// Another source of higher priority took over, or this one is on air again.
    fn on_air(&self, on_air: bool);
    /// The publisher is to leave, with this reason.
    fn refuse(&self, why: &'static str);
    /// What [`Publication::defer`](crate::Publication::defer) put off is due: read what has come.
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

/// One source.
pub(crate) struct Publishing {
    id: u64,
    priority: i32,
    source: Rc<dyn Source>,
    pub headers: Headers,
    /// Its video is for nobody before the next key frame: it went on air in the middle of a GOP.
    await_key: bool,
    /// It has put off reading what came.
    deferred: bool,
}

impl Publishing {
    /// Its place among the sources: the highest is on air.
    pub(crate) fn priority(&self) -> i32 {
        self.priority
    }

    /// See [`Source::gathered`].
    pub(crate) fn is_gathered(&self) -> bool {
        self.source.gathered()
    }
}

/// The sources of a stream.
#[derive(Default)]
pub(crate) struct Sources {
    all: Vec<Publishing>,
    on_air: Option<u64>,
    next_id: u64,
    /// What the one on air has shown of its tracks.
    pub tracks: Tracks,
}

impl Sources {
    /// Takes a source in, and gives its id; the one on air stays so for now.
    pub(crate) fn enter(&mut self, priority: i32, source: Rc<dyn Source>) -> Result<u64, Busy> {
        if self.all.len() >= cost::MAX_SOURCES {
            return Err(Busy);
        }
        let id = self.next_id;
        self.next_id += 1;
        let headers = Headers::default();
        self.all.push(Publishing {
            id,
            priority,
            source,
            headers,
            await_key: false,
            deferred: false,
        });
        Ok(id)
    }

    /// A source has left.
    pub(crate) fn remove(&mut self, id: u64) {
        self.all.retain(|source| source.id != id);
    }

    /// Takes the source of this priority out.
    pub(crate) fn take(&mut self, priority: i32) -> Option<Rc<dyn Source>> {
        let at = self.all.iter().position(|source| source.priority == priority)?;
        Some(self.all.swap_remove(at).source)
    }

    /// The source of this priority.
    pub(crate) fn of_priority(&self, priority: i32) -> Option<Rc<dyn Source>> {
        let mut all = self.all.iter();
        all.find(|source| source.priority == priority).map(|source| source.source.clone())
    }

    /// Every one of them.
    pub(crate) fn each(&self) -> Vec<Rc<dyn Source>> {
        self.all.iter().map(|source| source.source.clone()).collect()
    }

    /// Whether one is on air.
    pub(crate) fn any_on_air(&self) -> bool {
        self.on_air.is_some()
    }

    /// Whether it is this one that is on air.
    pub(crate) fn is_on_air(&self, id: u64) -> bool {
        self.on_air == Some(id)
    }

    /// The source on air.
    pub(crate) fn on_air(&self) -> Option<&Publishing> {
        self.all.iter().find(|source| Some(source.id) == self.on_air)
    }

    fn on_air_mut(&mut self) -> Option<&mut Publishing> {
        self.all.iter_mut().find(|source| Some(source.id) == self.on_air)
    }

    /// This source.
    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut Publishing> {
        self.all.iter_mut().find(|source| source.id == id)
    }

    /// Who hears of this source.
    pub(crate) fn listener(&self, id: Option<u64>) -> Option<Rc<dyn Source>> {
        let mut all = self.all.iter();
        all.find(|source| Some(source.id) == id).map(|source| source.source.clone())
    }

    /// The id of the source that is to be on air, if it is not that: the one of the highest priority.
    pub(crate) fn to_switch(&self) -> Option<Option<u64>> {
        let best = self.all.iter().max_by_key(|source| source.priority).map(|source| source.id);
        (best != self.on_air).then_some(best)
    }

    /// Puts this one on air, or none, and gives the id of the one that was.
    pub(crate) fn switch(&mut self, to: Option<u64>) -> Option<u64> {
        let old = std::mem::replace(&mut self.on_air, to);
        let judged = self.on_air().is_some_and(Publishing::is_gathered);
        self.tracks.switch(to.is_some(), judged);
        old
    }

    /// The messages of the source that goes on air which players need and it sent before: the first
    /// will be packet `first`, and the others follow.
    pub(crate) fn renew_headers(&mut self, first: u64) -> Vec<(Kind, Rc<[u8]>)> {
        let started = self.tracks.have_begun();
        let Some(source) = self.on_air_mut() else { return Vec::new() };
        let headers = source.headers.renew(first);
        // a source that stood by is in the middle of a GOP
        source.await_key = started && !headers.is_empty();
        headers
    }

    /// Forgets the headers that only packets before number `first` needed.
    pub(crate) fn trim_headers(&mut self, first: u64) {
        if let Some(source) = self.on_air_mut() {
            source.headers.trim(first);
        }
    }

    /// Whether a source has put off reading.
    pub(crate) fn are_deferred(&self) -> bool {
        self.all.iter().any(|source| source.deferred)
    }

    /// Notes that this source puts off reading; false if it is not on air.
    pub(crate) fn defer(&mut self, id: u64) -> bool {
        let on_air = self.is_on_air(id);
        let source = self.get_mut(id).filter(|_| on_air);
        source.map(|source| source.deferred = true).is_some()
    }

    /// Those that have put off reading, which they do now.
    pub(crate) fn take_deferred(&mut self) -> Vec<Rc<dyn Source>> {
        let deferred = self.all.iter_mut().filter_map(|source| {
            std::mem::take(&mut source.deferred).then(|| source.source.clone())
        });
        deferred.collect()
    }

    /// The first frame of video came, which is no key frame: video begins at the next one.
    pub(crate) fn await_key(&mut self) {
        if let Some(source) = self.on_air_mut() {
            source.await_key = true;
        }
    }

    /// Whether a message of the source on air is for nobody, as it needs a key frame before it.
    pub(crate) fn skips(&mut self, media: &Media<'_>, class: Option<Class>, key: bool) -> bool {
        if media.kind != Kind::Video {
            return false;
        }
        let Some(source) = self.on_air_mut() else { return true };
        if !source.await_key {
            return false;
        }
        source.await_key = !key;
        matches!(class, Some(Class::InterFrame | Class::Disposable))
    }

    /// Whether players are to wait for video: it has come, or is announced and may still come.
    pub(crate) fn expects_video(&self, settings: &Settings, now: u64) -> bool {
        self.tracks.main().is_some() || {
            let announced = self.on_air().is_some_and(|source| source.headers.announce_video());
            let soon = self.tracks.unprobed(now).is_some();
            announced && (soon || settings.wait_video)
        }
    }

    /// For how long, in milliseconds, it is still to be seen which tracks have frames, so that players
    /// wait.
    pub(crate) fn probing(&self, now: u64) -> Option<u64> {
        let left = self.tracks.unprobed(now)?;
        self.on_air()?.headers.are_unframed().then_some(left)
    }

    /// What they hold.
    pub(crate) fn held(&self) -> u64 {
        self.all.iter().map(|source| source.headers.held()).sum()
    }
}
