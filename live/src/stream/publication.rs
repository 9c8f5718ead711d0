//! A source's hold on its stream.

use std::cell::Cell;
use std::rc::Rc;

use super::Stream;
use crate::append::Note;
use crate::change::Change;
use crate::cost;
use crate::headers::{Noted, MAX_STICKY_BYTES};
use crate::media::{Kind, Media};
use crate::metadata::{self, Meta};
use crate::sources::{Busy, Source};

/// A source may leave what came unread for as long as this, in milliseconds: what a moderate
/// stream sends meanwhile does not fill a socket.
const MAX_DEFER: u64 = 50;

/// So often what there is of a source that leaves is sent to those who can't take it in one write: as
/// many headers as one source has may lie between what they want.
const MAX_ROUNDS: usize = 64;

/// A source's hold on its stream; dropped, it is gone from it.
pub struct Publication {
    stream: Rc<Stream>,
    id: u64,
    taken: Cell<u32>,
    /// A message was too large to be kept, and that was said.
    crowded: Cell<bool>,
}

impl Stream {
    /// Joins the stream as a source at time `now` (ms). The one of the highest priority is on air.
    pub fn publish(
        self: &Rc<Self>,
        priority: i32,
        source: Rc<dyn Source>,
        now: u64,
    ) -> Result<Publication, Busy> {
        if self.state.borrow().sources.of_priority(priority).is_some() {
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
        if self.priority() == Some(priority) {
            self.settle(now);
        }
        let old = self.state.borrow_mut().sources.take(priority);
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
        let id = self.state.borrow_mut().sources.enter(priority, source)?;
        self.choose_source(now);
        Ok(Publication { stream: self.clone(), id, taken: Cell::new(0), crowded: Cell::new(false) })
    }

    /// Asks the source of that priority to leave.
    pub fn refuse_source(&self, priority: i32, why: &'static str) {
        let source = self.state.borrow().sources.of_priority(priority);
        if let Some(source) = source {
            source.refuse(why);
        }
    }

    /// Asks every source to leave.
    pub fn refuse_sources(&self, why: &'static str) {
        let sources = self.state.borrow().sources.each();
        for source in sources {
            source.refuse(why);
        }
    }

    /// A source has left, when the stream was looked at last.
    fn unpublish(self: &Rc<Self>, id: u64) {
        let (on_air, now) = {
            let state = self.state.borrow();
            (state.sources.is_on_air(id), state.packets.seen())
        };
        if on_air {
            self.settle(now);
        }
        self.state.borrow_mut().sources.remove(id);
        self.choose_source(now);
    }

    /// Sends what there is of a source that is about to leave, with its headers.
    fn settle(self: &Rc<Self>, now: u64) {
        let waited_for = self.state.borrow().sources.probing(now).is_some();
        if !self.flush_due.get() && !waited_for {
            return;
        }
        let mut ended = Vec::new();
        {
            let state = &mut *self.state.borrow_mut();
            state.sources.tracks.end_probe();
            for _ in 0..MAX_ROUNDS {
                state.more = false;
                ended.extend(state.flush(&self.settings, now));
                if !state.more {
                    break;
                }
            }
        }
        self.after(ended);
    }

    /// Puts the source of the highest priority on air, and tells everybody about it.
    fn choose_source(self: &Rc<Self>, now: u64) {
        let leaves = {
            let sources = &self.state.borrow().sources;
            sources.to_switch().is_some() && sources.on_air().is_some()
        };
        if leaves {
            self.settle(now);
        }
        let (old, new, sinks) = {
            let state = &mut *self.state.borrow_mut();
            let Some(to) = state.sources.to_switch() else { return };
            let from = state.sources.switch(to);
            state.packets.begin_source();
            let listeners = state.cursors.iter().map(|cursor| cursor.sink.clone());
            let told =
                if from.is_none() || to.is_none() { listeners.collect() } else { Vec::new() };
            (state.sources.listener(from), state.sources.listener(to), told)
        };
        if let Some(source) = old {
            source.on_air(false);
        }
        if let Some(source) = &new {
            source.on_air(true);
            self.state.borrow_mut().repeat_headers(&self.settings, now);
            self.flush_soon(now);
        }
        self.count_sockets();
        self.decided.set(false);
        for sink in sinks {
            sink.source(new.is_some());
        }
        let own = self.priority().is_some_and(|priority| priority >= 0);
        self.tell(match new {
            Some(_) => Change::Published { own },
            None => Change::Unpublished,
        });
    }
}

impl Publication {
    /// Takes a message that came at time `now` (ms): for the players if this source is on air, else
    /// only what they will need when it gets there. Of metadata, that is what `meta` leaves of it.
    pub fn append(&self, media: Media<'_>, now: u64) {
        match media.kind {
            Kind::Data => self.append_data(media, now),
            _ => self.append_as_is(media, now),
        }
    }

    #[cold]
    fn append_data(&self, media: Media<'_>, now: u64) {
        let stream = &self.stream;
        let source = stream.state.borrow().sources.listener(Some(self.id));
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
        let taken = {
            let state = &mut *stream.state.borrow_mut();
            state.append(self.id, media, info.as_ref(), &stream.settings, now)
        };
        match taken {
            None => return,
            Some(Note::Nothing) => (),
            Some(Note::Track) => stream.tell(Change::Track),
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
            self.stream.home.host().warn(format_args!(
                "later players of \"{}\" do not get a header or metadata of {} bytes: \
                 more than {MAX_STICKY_BYTES} of them in all",
                self.stream.key,
                media.payload.len(),
            ));
        }
        if media.kind != Kind::Data {
            let new = noted != Noted::Same;
            self.stream.tell(Change::Header { kind: media.kind, new });
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
        if !self.gathers(now) || !stream.state.borrow_mut().sources.defer(self.id) {
            return false;
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
