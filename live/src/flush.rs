//! How what is new goes out, and what nobody needs any more is forgotten.

use crate::cursor::Mode;
use crate::delivery::Delivery;
use crate::settings::Settings;
use crate::sink::Ended;
use crate::state::State;

impl State {
    /// Sends everybody what is new, in one write each.
    pub(crate) fn flush(&mut self, settings: &Settings, now: u64) -> Ended {
        self.flushed = now;
        self.packets.wake(now);
        let mut ended = Vec::new();
        // first the relays, since each stands for all players behind it
        for relays in [true, false] {
            for outlet in self.packets.outlets.iter_mut() {
                if outlet.members.count() > 0 {
                    let (wire, slots) = (&outlet.wire, self.cursors.slots());
                    outlet.members.flush(relays, wire, slots, &mut ended);
                }
            }
        }
        if self.packets.outlets.have_others() {
            ended = self.flush_others(ended, settings, now);
        }
        self.trim(settings);
        ended
    }

    /// Sends what is new to those that can't be written to directly, or could not so far.
    #[inline(never)]
    fn flush_others(&mut self, ended: Ended, settings: &Settings, now: u64) -> Ended {
        let (sources, packets) = (&self.sources, &mut self.packets);
        let mut delivery = Delivery { sources, packets, settings, now, ended, more: false };
        for (slot, cursor) in self.cursors.slots().iter_mut().enumerate() {
            let Some(cursor) = cursor.as_mut().filter(|cursor| cursor.direct.is_none()) else {
                continue;
            };
            match cursor.blocked {
                true => delivery.bound(cursor),
                false => delivery.serve(cursor, slot as u32),
            }
        }
        self.more |= delivery.more;
        delivery.ended
    }

    /// Sends one subscriber what there is for it.
    pub(crate) fn deliver_one(&mut self, id: u64, settings: &Settings, now: u64) -> Ended {
        let (sources, packets) = (&self.sources, &mut self.packets);
        let Some(cursor) = self.cursors.get_mut(id).filter(|cursor| cursor.direct.is_none()) else {
            return Vec::new();
        };
        let ended = Vec::new();
        let mut delivery = Delivery { sources, packets, settings, now, ended, more: false };
        delivery.serve(cursor, id as u32);
        self.more |= delivery.more;
        delivery.ended
    }

    /// Forgets the packets that nobody needs: neither a subscriber nor the cache.
    pub(crate) fn trim(&mut self, settings: &Settings) {
        let next = self.packets.next();
        let outlets = &mut self.packets.outlets;
        outlets.drop_idle(self.flushed);
        for outlet in outlets.iter_mut() {
            outlet.behind = (outlet.wire.end(), next);
        }
        if outlets.have_others() {
            self.note_behind();
        }
        self.packets.trim(settings);
        self.sources.trim_headers(self.packets.first());
    }

    /// Notes what those still need that are not written to directly.
    #[inline(never)]
    fn note_behind(&mut self) {
        for cursor in self.cursors.iter().filter(|cursor| cursor.direct.is_none()) {
            let Some(outlet) = self.packets.outlets.get_mut(cursor.form) else { continue };
            let (pos, seq) = &mut outlet.behind;
            match cursor.mode {
                Mode::Live => *pos = cursor.pos.min(*pos),
                Mode::Picking { seq: first } => *seq = first.min(*seq),
                Mode::Paused => (),
            }
        }
    }
}
