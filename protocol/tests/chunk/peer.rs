//! A peer that cuts messages into chunks in every way the protocol allows: any header type that
//! can say what is to be said, chunk streams interleaved, chunk size changed between any two
//! chunks, extended timestamps repeated in type-3 chunks or not.

use std::collections::{BTreeMap, VecDeque};

use rtmp_protocol::chunk::{write, Header};

use super::Owned;

/// The reader's rule for a type-3 chunk that starts a message behind a type-0 chunk.
const MAX_FIRST_DELTA: u32 = 5000;

/// A small supply of choices; 0 when it runs dry.
pub struct Choices(pub VecDeque<u8>);

impl Choices {
    fn pick(&mut self, n: usize) -> usize {
        usize::from(self.0.pop_front().unwrap_or(0)) % n
    }
}

#[derive(Clone)]
struct Last {
    timestamp: u32,
    field: u32,
    delta: u32,
    length: usize,
    kind: u8,
    stream_id: u32,
}

/// Cuts `messages` into one byte stream, and tells the order in which they end.
pub fn chunk(messages: &[Owned], repeat: bool, choices: &mut Choices) -> (Vec<u8>, Vec<Owned>) {
    let mut out = Vec::new();
    let mut ended = Vec::new();
    let mut chunk_size = 128;
    let mut last: BTreeMap<u32, Last> = BTreeMap::new();
    let mut queues: BTreeMap<u32, VecDeque<&Owned>> = BTreeMap::new();
    for message in messages {
        queues.entry(message.csid).or_default().push_back(message);
    }
    // how much of the first message in each queue has been sent; None before its header
    let mut sent: BTreeMap<u32, Option<usize>> = queues.keys().map(|csid| (*csid, None)).collect();

    while !queues.is_empty() {
        if choices.pick(6) == 5 {
            let size = [1, 2, 3, 17, 128, 4096][choices.pick(6)];
            let header = Header { csid: 2, timestamp: 0, kind: 1, stream_id: 0 };
            write(&mut out, &header, &(size as u32).to_be_bytes(), chunk_size);
            chunk_size = size;
        }
        let csid = *queues.keys().nth(choices.pick(queues.len())).unwrap();
        let message = queues[&csid][0];
        let progress = sent.get_mut(&csid).unwrap();
        let from = match *progress {
            None => {
                start(&mut out, message, &mut last, repeat, choices);
                0
            }
            Some(from) => {
                basic(&mut out, 3, csid);
                if repeat && last[&csid].field >= 0xFF_FFFF {
                    out.extend_from_slice(&last[&csid].field.to_be_bytes());
                }
                from
            }
        };
        let to = message.payload.len().min(from + chunk_size);
        out.extend_from_slice(&message.payload[from..to]);
        *progress = Some(to);
        if to == message.payload.len() {
            ended.push(message.clone());
            *progress = None;
            let queue = queues.get_mut(&csid).unwrap();
            queue.pop_front();
            if queue.is_empty() {
                queues.remove(&csid);
            }
        }
    }
    (out, ended)
}

/// The first header of a message, of any type that fits.
fn start(
    out: &mut Vec<u8>,
    message: &Owned,
    last: &mut BTreeMap<u32, Last>,
    repeat: bool,
    choices: &mut Choices,
) {
    let length = message.payload.len();
    let before = last.get(&message.csid);
    let delta = before.map_or(0, |before| message.timestamp.wrapping_sub(before.timestamp));
    let types = match before {
        None => 1,
        Some(before) if before.stream_id != message.stream_id => 1,
        Some(before) if (before.length, before.kind) != (length, message.kind) => 2,
        Some(before) if before.delta != delta => 3,
        Some(_) => 4,
    };
    let fmt = choices.pick(types) as u8;
    basic(out, fmt, message.csid);
    let field = match fmt {
        0 => message.timestamp,
        3 => before.unwrap().field,
        _ => delta,
    };
    if fmt <= 2 {
        out.extend_from_slice(&field.min(0xFF_FFFF).to_be_bytes()[1..]);
    }
    if fmt <= 1 {
        out.extend_from_slice(&(length as u32).to_be_bytes()[1..]);
        out.push(message.kind);
    }
    if fmt == 0 {
        out.extend_from_slice(&message.stream_id.to_le_bytes());
    }
    if field >= 0xFF_FFFF && (fmt <= 2 || repeat) {
        out.extend_from_slice(&field.to_be_bytes());
    }
    let delta = match fmt {
        0 if message.timestamp <= MAX_FIRST_DELTA => message.timestamp,
        0 => 0,
        _ => delta,
    };
    let (timestamp, kind, stream_id) = (message.timestamp, message.kind, message.stream_id);
    last.insert(message.csid, Last { timestamp, field, delta, length, kind, stream_id });
}

fn basic(out: &mut Vec<u8>, fmt: u8, csid: u32) {
    match csid {
        2..=63 => out.push(fmt << 6 | csid as u8),
        64..=319 => out.extend_from_slice(&[fmt << 6, (csid - 64) as u8]),
        _ => out.extend_from_slice(&[fmt << 6 | 1, (csid - 64) as u8, ((csid - 64) >> 8) as u8]),
    }
}
