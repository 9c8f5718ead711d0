//! What happens to a stream, for those who follow it.

use std::cell::Cell;

use crate::media::Kind;

/// Something that happened to a stream. It is told after the events of the loop turn, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A source went on air. `own` = not a relay's.
    Published { own: bool },
    /// The last source has gone.
    Unpublished,
    /// The first player came, or the last one left; relays that push are not players.
    Audience { some: bool },
    /// A sequence header came. `new` = there was none like it.
    Header { kind: Kind, new: bool },
    /// The first frame of audio or of video of the source on air came.
    Track,
    /// It is decided whether and where the stream is pulled.
    Decided,
}

/// The sequence headers that are to be told of, one bit for each kind and whether it is new.
#[derive(Default)]
pub(crate) struct Announced(Cell<u8>);

impl Announced {
    /// `change` is to be told. False: there is one like it that was not told yet, as a source may send
    /// more headers in a turn than anybody can look at.
    pub(crate) fn begin(&self, change: Change) -> bool {
        let Some(bit) = header_bit(change) else { return true };
        let announced = self.0.get();
        self.0.set(announced | bit);
        announced & bit == 0
    }

    /// `change` is told.
    pub(crate) fn end(&self, change: Change) {
        let bit = header_bit(change).unwrap_or(0);
        self.0.set(self.0.get() & !bit);
    }
}

/// The bit of a sequence header's announcement.
fn header_bit(change: Change) -> Option<u8> {
    match change {
        Change::Header { kind, new } => Some(1 << (2 * kind as u8 + u8::from(new))),
        _ => None,
    }
}
