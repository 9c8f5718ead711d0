//! Sticky messages as they go out: encoded once for all who need the same ones at the same time.

use std::rc::{Rc, Weak};

use crate::form::Form;
use crate::head::Head;
use crate::headers::Headers;
use crate::media::{Kind, Media};
use crate::output::Block;

/// The sticky messages that somebody was sent last, for as long as it has not taken them.
#[derive(Default)]
pub(crate) struct Stickies {
    of: Needed,
    block: Weak<Block>,
    /// Where each message ends.
    ends: Vec<usize>,
}

/// Which messages are needed.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Needed {
    /// Those of the packets from this number on.
    pub after: u64,
    /// They go in front of this packet.
    pub at: u64,
    /// Also those of tracks that have no frames so far.
    pub all: bool,
    /// The time of the frame that follows them.
    pub timestamp: u32,
}

impl Stickies {
    /// Adds the messages to `head`.
    pub(crate) fn put(&mut self, headers: &Headers, form: Form, needed: Needed, head: &mut Head) {
        let block = match self.block.upgrade().filter(|_| self.of == needed) {
            Some(block) => block,
            None => self.encode(headers, form, needed),
        };
        let mut from = 0;
        for &to in &self.ends {
            head.push_sticky(&block, from..to);
            from = to;
        }
    }

    fn encode(&mut self, headers: &Headers, form: Form, needed: Needed) -> Rc<Block> {
        let messages = || {
            headers.needed(needed.after, needed.at, needed.all).map(|sticky| {
                // metadata belong to no moment: with a time, ffmpeg takes them for subtitles
                let timestamp = if sticky.kind == Kind::Data { 0 } else { needed.timestamp };
                Media { kind: sticky.kind, timestamp, payload: &sticky.payload }
            })
        };
        let (mut len, mut ends) = (0, Vec::new());
        for media in messages() {
            form.encode(&media, |bytes| len += bytes.len());
            ends.push(len);
        }
        let block = Rc::new(Block::new(len));
        for media in messages() {
            form.encode(&media, |bytes| {
                block.append(bytes);
            });
        }
        *self = Stickies { of: needed, block: Rc::downgrade(&block), ends };
        block
    }
}
