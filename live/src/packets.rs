//! The packets of a stream: the log that cursors move over, of which the end is the GOP cache.

pub(crate) mod cache;

use std::collections::VecDeque;

use crate::cost;
use crate::form::Form;
use crate::media::{Media, Packet};
use crate::outlets::Outlets;
use crate::settings::Settings;
use crate::wire::Wire;

/// What passes of a stream's own time while nothing is done with it, at most, in milliseconds: a
/// worker that stood still could not write, and nobody is behind for that.
const STILL_MS: u64 = 1000;

/// The packets that somebody needs, and their bytes in each wire form.
pub(crate) struct Packets {
    packets: VecDeque<Packet>,
    /// The number of the oldest packet kept.
    first: u64,
    /// The numbers of the key frames among them.
    keys: VecDeque<u64>,
    /// Where the GOP cache begins.
    cache_from: u64,
    /// Where the packets of the source on air begin: the headers of those before are gone.
    source_from: u64,
    pub outlets: Outlets,
    /// The stream's own time, see [`Packet::arrived`], and when it was last looked at.
    awake: u64,
    seen: u64,
}

impl Packets {
    /// None so far, at time `now` (ms).
    pub(crate) fn new(form: Form, now: u64) -> Self {
        Packets {
            packets: VecDeque::new(),
            first: 0,
            keys: VecDeque::new(),
            cache_from: 0,
            source_from: 0,
            outlets: Outlets::new(form),
            awake: 0,
            seen: now,
        }
    }

    /// The stream's own time goes on.
    pub(crate) fn wake(&mut self, now: u64) {
        self.awake += now.saturating_sub(self.seen).min(STILL_MS);
        self.seen = now;
    }

    /// The stream's own time.
    pub(crate) fn awake(&self) -> u64 {
        self.awake
    }

    /// When it was last looked at.
    pub(crate) fn seen(&self) -> u64 {
        self.seen
    }

    /// The number of the next packet.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.packets.len() as u64
    }

    /// The number of the oldest packet kept.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// Another source is on air, or none: nobody begins before its packets.
    pub(crate) fn begin_source(&mut self) {
        self.source_from = self.next();
        self.drop_cache();
    }

    /// The number of the first packet of the source on air.
    pub(crate) fn source_from(&self) -> u64 {
        self.source_from
    }

    /// A packet that is kept.
    pub(crate) fn get(&self, seq: u64) -> Option<&Packet> {
        self.packets.get(seq.checked_sub(self.first)? as usize)
    }

    /// The number of the last key frame.
    pub(crate) fn last_key(&self) -> Option<u64> {
        self.keys.back().copied()
    }

    /// Appends a packet that came at time `now`, whose payload is that of `media`.
    pub(crate) fn append(
        &mut self,
        packet: Packet,
        media: &Media<'_>,
        settings: &Settings,
        now: u64,
    ) {
        self.outlets.append(media, settings, now);
        let seq = self.next();
        self.packets.push_back(packet);
        if packet.key {
            self.keys.push_back(seq);
        }
    }

    /// Makes sure that there is a wire of this form, filled from packet `seq` on unless it is there,
    /// and gives the number of the first packet from there on that it has. If there are too many
    /// forms, there is no wire.
    pub(crate) fn enter(&mut self, form: Form, seq: u64, settings: &Settings, now: u64) -> u64 {
        let (from, next) = (seq.max(self.first), self.next());
        if let Some(seq) = self.outlets.enter(form, seq, next, settings) {
            return seq;
        }
        if !self.outlets.have_room() {
            return next;
        }
        let mut wire = Wire::new(form, from);
        let mut payload = Vec::new();
        for seq in from..next {
            let (Some(packet), Some(kept)) = (self.get(seq), self.outlets.first()) else { break };
            payload.clear();
            let media = Media { kind: packet.kind, timestamp: packet.timestamp, payload: &[] };
            kept.payload(seq, &media, packet.len as usize, &mut payload);
            wire.append(&Media { payload: &payload, ..media }, now);
        }
        self.outlets.add(wire);
        seq
    }

    /// What is held in one wire for one who needs it from byte `pos`, in packet `seq`, on.
    pub(crate) fn cost(&self, wire: &Wire, pos: u64, seq: u64) -> u64 {
        cost::of(wire.end().saturating_sub(pos), self.next().saturating_sub(seq))
    }

    /// Forgets the packets that neither a member, nor what stands in [`Outlet::behind`], nor the cache
    /// needs.
    ///
    /// [`Outlet::behind`]: crate::outlets::Outlet::behind
    pub(crate) fn trim(&mut self, settings: &Settings) {
        let next = self.next();
        let cached = if settings.cache_time > 0 { self.cache_from } else { next };
        let mut oldest = cached;
        for outlet in self.outlets.iter_mut() {
            let (wire, (pos, seq)) = (&mut outlet.wire, outlet.behind);
            let pos = outlet.members.reached().map_or(pos, |reached| pos.min(reached));
            let live = if pos < wire.end() { wire.packet_at(pos) } else { next };
            let keep = cached.min(seq).min(live);
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
    }

    /// What they hold.
    pub(crate) fn held(&self) -> u64 {
        let packets = self.packets.capacity() * size_of::<Packet>();
        let keys = self.keys.capacity() * size_of::<u64>();
        self.outlets.held() + (packets + keys) as u64
    }
}
