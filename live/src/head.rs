//! What goes out to one subscriber alone, in front of the stream's bytes.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::ops::Range;
use std::rc::Rc;

use crate::output::Block;

/// Bytes on their way to one subscriber: statuses and answers, sticky messages, the rest of a
/// message behind which it goes on elsewhere.
#[derive(Default)]
pub(crate) struct Head {
    parts: VecDeque<Part>,
    /// How much of the first part is out.
    sent: usize,
    /// Bytes that are not.
    len: usize,
}

enum Part {
    Own(Vec<u8>),
    /// A part of a message that lies in the stream's log, which may forget it meanwhile.
    Rest(Rc<Block>, Range<usize>),
    /// A sticky message. The block holds all of them, for all who need them now.
    Sticky(Rc<Block>, Range<usize>),
}

impl Part {
    fn bytes(&self) -> &[u8] {
        match self {
            Part::Own(bytes) => bytes,
            Part::Rest(block, range) | Part::Sticky(block, range) => {
                block.filled().get(range.clone()).unwrap_or_default()
            }
        }
    }

    fn block(&self) -> Option<&Rc<Block>> {
        match self {
            Part::Own(_) => None,
            Part::Rest(block, _) | Part::Sticky(block, _) => Some(block),
        }
    }

    fn is_sticky(&self) -> bool {
        matches!(self, Part::Sticky(..))
    }
}

impl Head {
    /// These bytes.
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        let len = bytes.len();
        Head { parts: [Part::Own(bytes)].into(), sent: 0, len }
    }

    /// Bytes that are not out yet.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Answers and statuses that are not out yet, in bytes.
    pub(crate) fn own_len(&self) -> usize {
        let own = self.parts.iter().filter(|part| matches!(part, Part::Own(_)));
        let own: usize = own.map(|part| part.bytes().len()).sum();
        own - if let Some(Part::Own(_)) = self.parts.front() { self.sent } else { 0 }
    }

    /// What it holds.
    pub(crate) fn cost(&self) -> u64 {
        (self.len + self.parts.len() * size_of::<Part>()) as u64
    }

    /// Adds a copy of `bytes`.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.len += bytes.len();
        // what is out would be kept for as long as something follows
        if let ([Part::Own(first)], 1..) = (self.parts.make_contiguous(), self.sent) {
            first.drain(..std::mem::take(&mut self.sent));
        }
        match self.parts.back_mut() {
            Some(Part::Own(last)) => last.extend_from_slice(bytes),
            _ => self.parts.push_back(Part::Own(bytes.to_vec())),
        }
    }

    /// Adds a part of a message that lies in `block`.
    pub(crate) fn push_rest(&mut self, block: &Rc<Block>, range: Range<usize>) {
        self.len += range.len();
        self.parts.push_back(Part::Rest(block.clone(), range));
    }

    /// Adds a sticky message that lies in `block`.
    pub(crate) fn push_sticky(&mut self, block: &Rc<Block>, range: Range<usize>) {
        self.len += range.len();
        self.parts.push_back(Part::Sticky(block.clone(), range));
    }

    /// Whether there are sticky messages.
    pub(crate) fn has_stickies(&self) -> bool {
        self.parts.iter().any(Part::is_sticky)
    }

    /// Takes out the sticky messages that have not begun to go out.
    pub(crate) fn drop_stickies(&mut self) {
        let mut begun = self.sent > 0;
        let len = &mut self.len;
        self.parts.retain(|part| {
            let kept = std::mem::take(&mut begun) || !part.is_sticky();
            if !kept {
                *len -= part.bytes().len();
            }
            kept
        });
    }

    /// Adds the bytes to `parts`, and the blocks that hold them to `blocks`.
    pub(crate) fn slices<'a>(
        &'a self,
        parts: &mut Vec<IoSlice<'a>>,
        blocks: &mut Vec<Option<&'a Rc<Block>>>,
    ) {
        let mut sent = self.sent;
        for part in &self.parts {
            let bytes = part.bytes().get(std::mem::take(&mut sent)..).unwrap_or_default();
            if !bytes.is_empty() {
                parts.push(IoSlice::new(bytes));
                blocks.push(part.block());
            }
        }
    }

    /// Notes that `n` bytes were taken, and gives how many of them were not of these.
    pub(crate) fn advance(&mut self, mut n: usize) -> usize {
        while let Some(first) = self.parts.front() {
            let left = first.bytes().len() - self.sent;
            if n < left {
                self.sent += n;
                self.len -= n;
                return 0;
            }
            n -= left;
            self.len -= left;
            self.sent = 0;
            self.parts.pop_front();
        }
        n
    }

    /// The bytes that are not out yet.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        let (mut parts, mut blocks) = (Vec::new(), Vec::new());
        self.slices(&mut parts, &mut blocks);
        parts.iter().flat_map(|part| part.iter().copied()).collect()
    }
}
