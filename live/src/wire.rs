//! The packets of a stream in one wire form: encoded once, shared by every player of that form.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::ops::Range;
use std::rc::Rc;

use crate::cost;
use crate::form::Form;
use crate::media::Media;
use crate::output::Block;

/// The smallest block: a stream of 500 kbit/s fills four a second, so little of one is idle.
const MIN_BLOCK: usize = 16 * 1024;
/// The largest block: a merged write of a fast stream is still one or two parts.
const MAX_BLOCK: usize = 128 * 1024;
/// A block that filled faster than this is followed by one of twice the size.
const FAST_MS: u64 = 100;
/// A block that filled slower than this is followed by one of half the size.
const SLOW_MS: u64 = 400;

/// An append-only log of bytes. Positions count from the stream's first byte and only grow.
pub(crate) struct Wire {
    pub form: Form,
    blocks: VecDeque<(u64, Rc<Block>)>,
    spare: Option<Rc<Block>>,
    block_size: usize,
    block_since: u64,
    end: u64,
    /// Where each packet starts, from packet number `first` on.
    starts: VecDeque<u64>,
    first: u64,
}

impl Wire {
    /// An empty log whose first packet will be number `first`.
    pub(crate) fn new(form: Form, first: u64) -> Self {
        Wire {
            form,
            blocks: VecDeque::new(),
            spare: None,
            block_size: MIN_BLOCK,
            block_since: 0,
            end: 0,
            starts: VecDeque::new(),
            first,
        }
    }

    /// Goes on at packet number `seq`, after packets that were not appended since nobody wanted them.
    pub(crate) fn resume(&mut self, seq: u64) {
        self.starts.clear();
        self.first = seq;
    }

    /// Appends one packet at time `now` (ms).
    pub(crate) fn append(&mut self, media: &Media<'_>, now: u64) {
        self.starts.push_back(self.end);
        let form = self.form;
        form.encode(media, |bytes| self.put(bytes, now));
    }

    #[inline(never)]
    fn put(&mut self, bytes: &[u8], now: u64) {
        let n = self.blocks.back().map_or(0, |(_, block)| block.append(bytes));
        self.end += n as u64;
        match bytes.get(n..) {
            None | Some([]) => (),
            Some(rest) => self.put_in_next(rest, now),
        }
    }

    #[cold]
    fn put_in_next(&mut self, mut bytes: &[u8], now: u64) {
        while !bytes.is_empty() {
            let block = self.next_block(now);
            let n = block.append(bytes);
            self.blocks.push_back((self.end, block));
            self.end += n as u64;
            bytes = bytes.get(n..).unwrap_or_default();
        }
    }

    fn next_block(&mut self, now: u64) -> Rc<Block> {
        let took = now.saturating_sub(self.block_since);
        if !self.blocks.is_empty() && took < FAST_MS {
            self.block_size = (self.block_size * 2).min(MAX_BLOCK);
        } else if took > SLOW_MS {
            self.block_size = (self.block_size / 2).max(MIN_BLOCK);
        }
        self.block_since = now;
        match self.spare.take() {
            Some(block) if block.capacity() == self.block_size => block,
            _ => Rc::new(Block::new(self.block_size)),
        }
    }

    /// The number of the oldest packet kept.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// What it holds: its blocks, and where packets start.
    pub(crate) fn held(&self) -> u64 {
        let blocks = self.blocks.iter().map(|(_, block)| block);
        let blocks: usize = blocks.chain(&self.spare).map(|block| block.capacity()).sum();
        (blocks + self.starts.capacity() * size_of::<u64>()) as u64
    }

    /// Where the next packet will start.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Where packet number `seq` starts: `end` for the next one, the oldest kept for one that is gone.
    pub(crate) fn start_of(&self, seq: u64) -> u64 {
        let at = seq.saturating_sub(self.first) as usize;
        self.starts.get(at).copied().unwrap_or(self.end)
    }

    /// The number of the packet that holds byte `pos`; the next one's when `pos` is the end.
    pub(crate) fn packet_at(&self, pos: u64) -> u64 {
        if pos >= self.end {
            return self.first + self.starts.len() as u64;
        }
        let after = self.starts.partition_point(|&start| start <= pos);
        self.first + (after as u64).saturating_sub(1)
    }

    /// Where the bytes `from..to` lie: blocks, and which bytes of each.
    pub(crate) fn pieces(
        &self,
        from: u64,
        to: u64,
    ) -> impl Iterator<Item = (&Rc<Block>, Range<usize>)> {
        // players are nearly always near the end
        let after = match self.blocks.back() {
            Some((start, _)) if *start <= from => self.blocks.len(),
            _ => self.blocks.partition_point(|(start, _)| *start <= from),
        };
        let blocks = self.blocks.range(after.saturating_sub(1)..);
        blocks.take_while(move |(start, _)| *start < to).filter_map(move |(start, block)| {
            let a = from.saturating_sub(*start) as usize;
            let b = ((to - start) as usize).min(block.filled().len());
            (a < b).then_some((block, a..b))
        })
    }

    /// Adds the bytes `from..to` to `parts`, and the blocks that hold them to `blocks`.
    pub(crate) fn slices<'a>(
        &'a self,
        from: u64,
        to: u64,
        parts: &mut Vec<IoSlice<'a>>,
        blocks: &mut Vec<Option<&'a Rc<Block>>>,
    ) {
        for (block, range) in self.pieces(from, to) {
            if let Some(part) = block.filled().get(range) {
                parts.push(IoSlice::new(part));
                blocks.push(Some(block));
            }
        }
    }

    /// The bytes from `from` on, if they are in the last block, as nearly always.
    pub(crate) fn last_slice(&self, from: u64) -> Option<&[u8]> {
        let (start, block) = self.blocks.back()?;
        let at = from.checked_sub(*start)? as usize;
        block.filled().get(at..)
    }

    /// Copies the bytes `from..to`.
    pub(crate) fn copy(&self, from: u64, to: u64, out: &mut Vec<u8>) {
        for (block, range) in self.pieces(from, to) {
            out.extend_from_slice(block.filled().get(range).unwrap_or_default());
        }
    }

    /// Copies the payload of packet `seq`, which was appended as `packet` with a payload of `len` bytes.
    pub(crate) fn payload(&self, seq: u64, packet: &Media<'_>, len: usize, out: &mut Vec<u8>) {
        let mut encoded = Vec::with_capacity(len + 64);
        self.copy(self.start_of(seq), self.start_of(seq + 1), &mut encoded);
        self.form.decode(packet, len, &encoded, out);
    }

    /// Forgets the packets before number `seq`, and the blocks that hold nothing newer.
    pub(crate) fn trim(&mut self, seq: u64) {
        while self.first < seq && self.starts.pop_front().is_some() {
            self.first += 1;
        }
        cost::shrink(&mut self.starts);
        let keep = self.starts.front().copied().unwrap_or(self.end);
        while let Some((start, block)) = self.blocks.front() {
            let end = start + block.filled().len() as u64;
            // the last block is filled further, unless it is full
            if end > keep || (self.blocks.len() == 1 && !block.is_full()) {
                break;
            }
            if let Some((_, mut block)) = self.blocks.pop_front() {
                if let Some(unshared) = Rc::get_mut(&mut block) {
                    unshared.clear();
                    self.spare = Some(block);
                }
            }
        }
    }
}
