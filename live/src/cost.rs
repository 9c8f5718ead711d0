//! What a stream holds, counted in what it costs, and how much of that there may be.
//!
//! A message of one byte takes a hundred in the log, so bytes alone say little.

use std::collections::VecDeque;

use crate::media::Packet;
use crate::settings::Settings;

/// What a packet takes beside its bytes: its entry, where it starts in a wire, and its number among
/// the key frames. A queue that has just grown is half empty.
const PACKET: u64 = 2 * (size_of::<Packet>() + 2 * size_of::<u64>()) as u64;
/// The most packets of one wire that are kept, for players to come or for slow ones.
pub(crate) const MAX_PACKETS: u64 = 1 << 18;
/// All wires of a stream hold so many times what one may hold. There is one for RTMP, one for
/// HTTP-FLV, and one for servers that are pushed to.
const WIRES: u64 = 3;
/// The most wires of a stream.
pub(crate) const MAX_WIRES: usize = 8;
/// The most sources of a stream, those that stand by included.
pub(crate) const MAX_SOURCES: usize = 8;
/// What is sent to players before it is due, as there is so much of it, in bytes: a second of
/// 32 Mbit/s.
pub(crate) const MAX_UNFLUSHED: u64 = 4 << 20;
/// The shortest queue whose room is given back when three quarters of it are unused.
const MIN_SHRUNK: usize = 1024;

/// What so many bytes of so many packets cost in one wire.
pub(crate) fn of(bytes: u64, packets: u64) -> u64 {
    bytes + packets * PACKET
}

/// How much each of so many wires may hold.
pub(crate) fn of_wire(settings: &Settings, wires: usize) -> u64 {
    let all = WIRES * settings.cache_size.max(settings.out_queue_size);
    all / wires.max(1) as u64
}

/// How much the GOP cache may hold in each of so many wires.
pub(crate) fn of_cache(settings: &Settings, wires: usize) -> u64 {
    match wires as u64 <= WIRES {
        true => settings.cache_size,
        false => settings.cache_size.min(of_wire(settings, wires)),
    }
}

/// Gives back the room of a queue that was long once.
pub(crate) fn shrink<T>(queue: &mut VecDeque<T>) {
    if queue.capacity() > MIN_SHRUNK && queue.len() < queue.capacity() / 4 {
        queue.shrink_to((2 * queue.len()).max(MIN_SHRUNK));
    }
}

/// What a stream holds, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Its packets, in all wire forms, shared by all players.
    pub log: u64,
    /// The sticky messages of its sources.
    pub headers: u64,
    /// What its subscribers hold each for itself.
    pub players: u64,
}
