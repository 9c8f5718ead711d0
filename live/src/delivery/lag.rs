//! How far a subscriber may be behind, and how much it may hold for itself alone.

use super::Delivery;
use crate::cost::{self, Held};
use crate::cursor::{Cursor, Mode};
use crate::media::Packet;
use crate::sink::End;

impl Delivery<'_> {
    /// A flush finds the subscriber blocked: it is moved or ended if it is too far behind.
    pub(crate) fn bound(&mut self, cursor: &mut Cursor) {
        // at a flush, since a source may send any number of key frames before it
        if let Some(key) = self.packets.last_key().filter(|_| self.settings.low_latency) {
            self.move_to(cursor, key);
        }
        let end = self.bound_lag(cursor).or_else(|| self.bound_own(cursor));
        self.ended.extend(end.map(|why| (cursor.sink.clone(), why)));
    }

    /// Ends a subscriber that holds too much for itself alone.
    pub(crate) fn bound_own(&self, cursor: &mut Cursor) -> Option<End> {
        let bytes = cursor.held();
        if bytes <= self.settings.player_memory {
            return None;
        }
        // nothing more is written to it
        (cursor.head, cursor.mode, cursor.blocked) = (None, Mode::Paused, true);
        Some(End::Unread { bytes, stream: Held::default() })
    }

    /// Moves a player that is too far behind to a key frame, or says that it must go.
    fn bound_lag(&self, cursor: &mut Cursor) -> Option<End> {
        let (packets, settings) = (&*self.packets, self.settings);
        let wire = packets.outlets.wire(cursor.form)?;
        let (seq, pos) = match cursor.mode {
            Mode::Live => (wire.packet_at(cursor.pos), cursor.pos),
            Mode::Picking { seq } => (seq, wire.start_of(seq)),
            Mode::Paused => return None,
        };
        let since = |packet: &Packet| packet.arrived.max(cursor.since);
        let lag =
            packets.get(seq).map_or(0, |packet| packets.awake().saturating_sub(since(packet)));
        let most = settings.out_queue_size.saturating_add(cursor.granted);
        let most = most.min(cost::of_wire(settings, packets.outlets.len()));
        let few = packets.next().saturating_sub(seq) <= cost::MAX_PACKETS;
        if lag <= settings.out_queue_time && packets.cost(wire, pos, seq) <= most && few {
            return None;
        }
        cursor.granted = 0;
        cursor.drops = cursor.drops.saturating_add(1);
        if settings.out_queue_drops.is_some_and(|drops| cursor.drops >= drops) {
            return Some(End::TooSlow { times: cursor.drops });
        }
        match packets.last_key().filter(|&key| key > seq) {
            Some(key) if cursor.mode == Mode::Live => self.move_to(cursor, key),
            _ => {
                cursor.finish_packet(wire);
                cursor.start_at(packets.next());
                cursor.headers = 0;
            }
        }
        None
    }

    /// Lets a cursor that is behind go on at packet `key`, after the message it has begun.
    fn move_to(&self, cursor: &mut Cursor, key: u64) {
        let Some(wire) = self.packets.outlets.wire(cursor.form) else { return };
        let pos = wire.start_of(key);
        if cursor.mode != Mode::Live || cursor.pos >= pos {
            return;
        }
        cursor.finish_packet(wire);
        // the headers may have changed in what is left out, unless nothing of it was sent since they
        // were put there
        if !cursor.head.as_ref().is_some_and(|head| head.has_stickies()) {
            cursor.headers = 0;
        }
        let timestamp = self.packets.get(key).map_or(0, |packet| packet.timestamp);
        self.send_headers(cursor, key, timestamp);
        cursor.pos = pos;
    }
}
