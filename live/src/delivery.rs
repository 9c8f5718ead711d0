//! What goes out to a subscriber that the engine does not write to directly, or not yet.

pub(crate) mod lag;

use std::io;
use std::mem;

use crate::cursor::{Cursor, Filter, Mode};
use crate::form::Form;
use crate::media::Kind;
use crate::packets::Packets;
use crate::picked::{Picked, MAX_LOOKED_AT};
use crate::settings::Settings;
use crate::sink::{Data, End, Ended};
use crate::sources::Sources;
use crate::stickies::Needed;
use crate::wire::Wire;

/// A round of deliveries.
pub(crate) struct Delivery<'a> {
    pub sources: &'a Sources,
    pub packets: &'a mut Packets,
    pub settings: &'a Settings,
    /// In milliseconds.
    pub now: u64,
    /// Those that the engine has ended.
    pub ended: Ended,
    /// There is more for one who picks than it was written at once.
    pub more: bool,
}

impl Delivery<'_> {
    /// Sends the subscriber at `slot` what there is for it, and writes to it directly from then on if
    /// that can be. One that is blocked is held to its bounds only.
    pub(crate) fn serve(&mut self, cursor: &mut Cursor, slot: u32) {
        let end = match cursor.blocked {
            true => self.bound_own(cursor),
            false => match self.deliver(cursor) {
                Ok(()) => self.bound_own(cursor),
                Err(error) => {
                    // nothing more is written to it
                    cursor.blocked = true;
                    Some(End::Failed(error))
                }
            },
        };
        if let Some(why) = end {
            self.ended.push((cursor.sink.clone(), why));
        } else if let Some(outlet) = self.packets.outlets.get_mut(cursor.form) {
            outlet.members.enter(cursor, slot);
        }
    }

    /// Sends one subscriber what there is for it, until its peer is full.
    fn deliver(&mut self, cursor: &mut Cursor) -> io::Result<()> {
        let Some(wire) = self.packets.outlets.wire(cursor.form) else { return Ok(()) };
        let picked = match cursor.mode {
            Mode::Picking { seq } if self.awaits_tracks(cursor, seq) => {
                let begun = cursor.rest_of_packet(wire).is_some();
                cursor.finish_packet(wire);
                Picked::waiting(seq + u64::from(begun))
            }
            Mode::Picking { seq } => self.pick(cursor, wire, seq),
            Mode::Live => Picked::all(cursor.pos, wire.end()),
            Mode::Paused => Picked::default(),
        };
        let of_wire = write(cursor, wire, &picked)?;
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
                self.more |= picked.seq < self.packets.next() && !picked.waits;
            }
        }
        Ok(())
    }

    /// Whether a subscriber that looks at packet `seq` waits for that. One that gets an RTMP play and
    /// can start does not: nothing tells it of tracks in advance.
    fn awaits_tracks(&self, cursor: &Cursor, seq: u64) -> bool {
        let form = cursor.form;
        let starts = form != Form::Flv && cursor.headers == 0;
        !form.is_to_publish()
            && self.sources.probing(self.now).is_some()
            && !(starts && self.packets.get(seq).is_some_and(|packet| packet.key))
    }

    /// Looks at the packets from `seq` on: picks those that the player gets one by one, and those from
    /// the one on at which it may start to take all.
    fn pick(&self, cursor: &mut Cursor, wire: &Wire, seq: u64) -> Picked {
        let mut picked = Picked::default();
        let mut seq = seq.max(self.packets.first());
        let next = self.packets.next().min(seq + MAX_LOOKED_AT);
        if let Some((from, to)) = cursor.rest_of_packet(wire) {
            match self.has_new_headers(cursor) {
                false => picked.add(from, to),
                // new headers go out behind it
                true => cursor.finish_packet(wire),
            }
            seq += 1;
        }
        seq = seq.max(self.packets.source_from());
        let free = !self.settings.wait_key || !self.sources.expects_video(self.settings, self.now);
        let all = cursor.filter == Filter::ALL;
        while seq < next && !picked.is_full() {
            let Some(packet) = self.packets.get(seq) else { break };
            let starts = packet.key || (free && packet.kind != Kind::Data && !packet.sticky);
            if self.has_new_headers(cursor) && !picked.ranges.is_empty() {
                // they go out in front of what is picked, so that has to be out first
                break;
            }
            if starts && all {
                self.send_headers(cursor, seq, packet.timestamp);
                picked.add_all(wire.start_of(seq), wire.end());
                return picked;
            }
            let wanted = match packet.kind {
                Kind::Data => true,
                Kind::Audio => cursor.filter.audio && (!self.settings.wait_video || free),
                // of both, the player takes all from a key frame on
                Kind::Video if cursor.filter.audio => false,
                // with audio switched off, video still starts at a key frame
                Kind::Video => cursor.filter.video && (packet.key || free || cursor.keyed),
            };
            cursor.keyed |= wanted && packet.key;
            if wanted || (packet.sticky && all) {
                self.send_headers(cursor, seq, packet.timestamp);
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
        self.sources.on_air().is_some_and(|source| source.headers.any_since(cursor.headers))
    }

    /// Puts the sticky messages that packet `seq` needs in front, if the peer does not have these yet.
    fn send_headers(&self, cursor: &mut Cursor, seq: u64, timestamp: u32) {
        let mut after = mem::replace(&mut cursor.headers, seq + 1);
        let outlet = self.packets.outlets.get(cursor.form);
        let (Some(source), Some(outlet)) = (self.sources.on_air(), outlet) else { return };
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
        let all = form.is_to_publish() || self.sources.probing(self.now).is_some();
        let needed = Needed { after, at: seq, all, timestamp };
        outlet.stickies.borrow_mut().put(&source.headers, form, needed, head);
    }
}

/// Writes the cursor's own bytes and what is picked of its wire, and gives how many bytes of the wire
/// the peer has taken.
fn write(cursor: &mut Cursor, wire: &Wire, picked: &Picked) -> io::Result<u64> {
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
    Ok(cursor.advance(n))
}
