//! What a stream consists of: its sources, its packets and its subscribers.

use std::rc::Rc;

use crate::cost::Held;
use crate::cursor::{Cursor, Filter, Mode};
use crate::cursors::Cursors;
use crate::form::Form;
use crate::head::Head;
use crate::packets::Packets;
use crate::settings::Settings;
use crate::sink::Sink;
use crate::sources::Sources;
use crate::wire::Wire;

/// What a new subscriber is.
pub struct Subscriber {
    pub form: Form,
    pub sink: Rc<dyn Sink>,
    /// Counts as a player, so it keeps a pull alive; a relay that pushes does not.
    pub player: bool,
    /// Bytes to be written in front of the stream's: statuses, for example.
    pub prologue: Vec<u8>,
}

/// All of a stream that changes. What may call back into the stream is done when it is not borrowed.
pub(crate) struct State {
    pub sources: Sources,
    pub packets: Packets,
    pub cursors: Cursors,
    /// When there was the last flush.
    pub flushed: u64,
    /// There is more for one who picks than it was written at once.
    pub more: bool,
}

impl State {
    /// A stream of nobody, at time `now` (ms).
    pub(crate) fn new(settings: &Settings, now: u64) -> Self {
        State {
            sources: Sources::default(),
            packets: Packets::new(settings.form, now),
            cursors: Cursors::default(),
            flushed: 0,
            more: false,
        }
    }

    /// Takes a subscriber in, and gives its id.
    pub(crate) fn join(&mut self, subscriber: Subscriber, settings: &Settings, now: u64) -> u64 {
        let Subscriber { form, sink, player, prologue } = subscriber;
        let packets = &mut self.packets;
        let time = self.sources.tracks.time();
        let start = self.sources.any_on_air().then(|| packets.start(time, settings)).flatten();
        let seq = packets.enter(form, start.unwrap_or(packets.next()), settings, now);
        let wire = packets.outlets.wire(form);
        let granted = wire.map_or(0, |wire| packets.cost(wire, wire.start_of(seq), seq));
        let head = (!prologue.is_empty()).then(|| Box::new(Head::new(prologue)));
        let since = packets.awake();
        self.cursors.insert(|id| Cursor {
            sink,
            id,
            form,
            mode: Mode::Picking { seq },
            pos: 0,
            head,
            blocked: false,
            player,
            filter: Filter::ALL,
            keyed: false,
            headers: 0,
            drops: 0,
            granted,
            since,
            direct: None,
        })
    }

    /// Takes the subscriber out, and gives what completes the message it is receiving.
    pub(crate) fn leave(&mut self, id: u64, settings: &Settings) -> Option<Vec<u8>> {
        if let Some((cursor, wire)) = self.cursor(id) {
            cursor.finish_packet(wire);
        }
        let cursor = self.cursors.remove(id)?;
        self.packets.outlets.leave(cursor.form, settings, self.flushed);
        Some(cursor.head.map(|head| head.into_bytes()).unwrap_or_default())
    }

    /// The cursor of a subscriber, to be changed, and its wire.
    pub(crate) fn cursor(&mut self, id: u64) -> Option<(&mut Cursor, &Wire)> {
        let form = self.cursors.get(id)?.form;
        let outlet = self.packets.outlets.get_mut(form)?;
        let cursor = self.cursors.take_back(id, &mut outlet.members)?;
        Some((cursor, &outlet.wire))
    }

    /// A subscriber stops, behind the message that has begun, or looks for a new start.
    pub(crate) fn pause(&mut self, id: u64, pause: bool) {
        let next = self.packets.next();
        let Some((cursor, wire)) = self.cursor(id) else { return };
        if pause {
            cursor.finish_packet(wire);
            cursor.mode = Mode::Paused;
        } else if cursor.mode == Mode::Paused {
            cursor.start_at(next);
        }
    }

    /// A subscriber wants other messages from where it is on. Video that it has had so far goes on.
    pub(crate) fn set_filter(&mut self, id: u64, filter: Filter) {
        let Some((cursor, wire)) = self.cursor(id) else { return };
        let had_video = cursor.filter.video && (cursor.is_live() || cursor.keyed);
        if std::mem::replace(&mut cursor.filter, filter) == filter {
            return;
        }
        cursor.finish_packet(wire);
        if cursor.is_live() {
            cursor.pick_from(wire.packet_at(cursor.pos));
        }
        cursor.keyed = had_video && !filter.audio;
    }

    /// What the stream holds.
    pub(crate) fn held(&self) -> Held {
        Held {
            log: self.packets.held(),
            headers: self.sources.held(),
            players: self.cursors.iter().map(Cursor::held).sum(),
        }
    }
}
