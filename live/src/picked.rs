//! What a subscriber that looks at each packet is written at once.

/// Parts of one write: the kernel takes 1024, of which a part may need two.
const MAX_RANGES: usize = 256;
/// Packets that one subscriber looks at in a turn, when it comes or was behind.
pub(crate) const MAX_LOOKED_AT: u64 = 4096;

/// Parts of a wire, in order.
#[derive(Default)]
pub(crate) struct Picked {
    pub ranges: Vec<(u64, u64)>,
    /// The number of the first packet that was not looked at, unless it is live from then on.
    pub seq: u64,
    /// The last of the parts goes on to the wire's end: the subscriber takes all from there.
    pub live: bool,
    /// Nothing is looked at for now.
    pub waits: bool,
}

impl Picked {
    /// Nothing, until packet `seq` may be looked at.
    pub(crate) fn waiting(seq: u64) -> Self {
        Picked { seq, waits: true, ..Picked::default() }
    }

    /// Adds the bytes `from..to`.
    pub(crate) fn add(&mut self, from: u64, to: u64) {
        match self.ranges.last_mut() {
            Some((_, end)) if *end == from => *end = to,
            _ => self.ranges.push((from, to)),
        }
    }

    /// Everything from `from` to the wire's `end`, and what follows.
    pub(crate) fn add_all(&mut self, from: u64, end: u64) {
        if from < end {
            self.add(from, end);
        }
        self.live = true;
    }

    /// The same, and nothing before.
    pub(crate) fn all(from: u64, end: u64) -> Self {
        let mut picked = Picked::default();
        picked.add_all(from, end);
        picked
    }

    /// Whether no more parts go into one write.
    pub(crate) fn is_full(&self) -> bool {
        self.ranges.len() >= MAX_RANGES
    }

    /// Where the wire was left when `n` bytes of the parts were taken; `None` = behind them all. The
    /// second value tells whether it is in the part that goes on to the end.
    pub(crate) fn left_at(&self, n: u64) -> Option<(u64, bool)> {
        let mut left = n;
        for (i, &(from, to)) in self.ranges.iter().enumerate() {
            if left < to - from {
                return Some((from + left, self.live && i + 1 == self.ranges.len()));
            }
            left -= to - from;
        }
        None
    }
}
