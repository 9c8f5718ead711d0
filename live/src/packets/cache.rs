//! The GOP cache: what of the packets is kept for players to come.

use super::Packets;
use crate::cost;
use crate::settings::Settings;

/// How far the stream is, as the cache goes by its frames' times.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    /// The stream's time in milliseconds.
    pub time: u64,
    /// Video has stopped while the stream goes on.
    pub silent: bool,
}

impl Packets {
    /// Empties the cache: players to come start at the next key frame.
    pub(crate) fn drop_cache(&mut self) {
        self.cache_from = self.next();
        self.keys.clear();
    }

    /// Takes the last packet into the cache, and drops from that what players to come do not need.
    pub(crate) fn cache_last(&mut self, moment: Moment, settings: &Settings) {
        let (next, key) = (self.next(), self.packets.back().is_some_and(|packet| packet.key));
        let begins = self.cache_from + 1 < next || key || moment.silent;
        if settings.cache_time == 0 || !begins {
            self.cache_from = next;
            return;
        }
        while let Some(to) = self.outdated(moment, settings) {
            self.cache_from = to;
        }
    }

    /// Where the cache is to begin instead: whole GOPs go as long as the rest covers `cache_time` or
    /// while they do not fit into `cache_size`; what is in no GOP, or in one whose video has fallen
    /// silent, goes by its own time.
    fn outdated(&self, moment: Moment, settings: &Settings) -> Option<u64> {
        let age = |seq| self.get(seq).map_or(0, |packet| moment.time.saturating_sub(packet.time));
        let at = self.keys.partition_point(|&key| key < self.cache_from);
        let is_gop = self.keys.get(at) == Some(&self.cache_from);
        if (moment.silent || !is_gop)
            && self.cache_from + 1 < self.next()
            && age(self.cache_from) > settings.cache_time
        {
            return Some(self.cache_from + 1);
        }
        let second = self.keys.get(at + usize::from(is_gop)).copied();
        let fits = self.cache_fits(settings);
        match second {
            Some(second) if !fits || age(second) >= settings.cache_time => Some(second),
            // one GOP that is too large by itself: the cache goes on at the next key frame
            None if !fits => Some(self.next()),
            _ => None,
        }
    }

    /// Whether what is cached is not too much.
    fn cache_fits(&self, settings: &Settings) -> bool {
        let from = self.cache_from;
        let Some(wire) = self.outlets.first() else { return true };
        self.next().saturating_sub(from) <= cost::MAX_PACKETS
            && self.cost(wire, wire.start_of(from), from)
                <= cost::of_cache(settings, self.outlets.len())
    }

    /// Where a new player starts; none = at the next key frame. `time` is the stream's.
    pub(crate) fn start(&self, time: u64, settings: &Settings) -> Option<u64> {
        if settings.cache_time == 0 {
            return None;
        }
        let cached = |key: u64| key >= self.cache_from;
        let recent = |key: u64| {
            self.get(key)
                .is_some_and(|packet| time.saturating_sub(packet.time) <= settings.cache_time)
        };
        let from = |key: u64| cached(key) && (settings.send_all || recent(key));
        let at = self.keys.partition_point(|&key| !from(key));
        let key = self.keys.get(at).or(self.keys.back()).copied().filter(|&key| cached(key));
        // without a key frame, what is cached is the sound of a video that has fallen silent
        key.or((self.cache_from < self.next()).then_some(self.cache_from))
    }
}
