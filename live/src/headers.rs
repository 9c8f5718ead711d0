//! The messages that players need before a source's frames: metadata, sequence headers, colour
//! information.
//!
//! A header belongs to the frames that it stands before: players get those that were valid where they
//! start, and none of a track that has no frames.

use std::cell::Cell;
use std::rc::Rc;

use rtmp_protocol::codec::{Class, Info};

use crate::media::{Kind, Media};

/// Sticky messages kept for one source: eight tracks of audio and video with colour information
/// fit, and a peer that invents tracks does not fill the memory.
const MAX_STICKIES: usize = 64;
/// The bytes of them: real ones take hundreds, and metadata with pictures in it some 100 KiB.
pub(crate) const MAX_STICKY_BYTES: usize = 1024 * 1024;
/// The largest sequence header that is sent again when frames of its codec come back, in bytes: a
/// source that changes to and fro makes no flood of it.
const MAX_REPEATED: usize = 4096;
/// Tracks of one source that are told apart.
const MAX_TRACKS: usize = 32;

/// A message that every later player needs first.
#[derive(Clone)]
pub(crate) struct Sticky {
    pub kind: Kind,
    track: u8,
    four_cc: [u8; 4],
    class: Option<Class>,
    pub payload: Rc<[u8]>,
    /// The number of the packet that it is; none as long as it is not in the log.
    from: Option<u64>,
    /// The number of the first packet that it is not for.
    to: Option<u64>,
    /// Frames have come that it is for.
    framed: bool,
    /// Frames of another codec have come since; it is for those of its own that may follow them.
    idle: bool,
}

impl Sticky {
    fn is_of(&self, kind: Kind, track: u8) -> bool {
        self.kind == kind && self.track == track
    }

    /// Whether it is the newest of its kind.
    fn is_current(&self) -> bool {
        self.to.is_none()
    }

    fn is_header(&self) -> bool {
        self.class == Some(Class::SequenceHeader)
    }

    /// Ends it in front of packet `seq`; false if nobody can need it.
    fn end(&mut self, seq: Option<u64>) -> bool {
        (self.to, self.idle) = (seq, false);
        self.from.is_some() && self.from < seq
    }
}

/// A track with frames, and the codec of the last one.
struct Track {
    kind: Kind,
    number: u8,
    four_cc: [u8; 4],
}

/// The sticky messages of one source, per (kind, track, FourCC), with those that packets in the log
/// still need.
#[derive(Default)]
pub(crate) struct Headers {
    stickies: Vec<Sticky>,
    tracks: Vec<Track>,
    /// Some wait for the first frame of their track.
    unframed: bool,
    /// Players were sent what there is without them.
    withheld: Cell<bool>,
    /// Some have ended.
    outdated: bool,
    /// The last packet that is one of them.
    last: Option<u64>,
}

/// What a message was to the sticky ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Noted {
    /// Not one of them.
    Nothing,
    /// One of a kind that was not there.
    New,
    /// One of them; frames go on as before.
    Same,
    /// Frames after it can't be decoded with what was before.
    Changed,
    /// One of them, but there is no room for it: it is not kept.
    TooLarge,
}

/// What a frame does to the sticky messages.
#[derive(Default)]
pub(crate) struct Framed {
    /// They are to be put in front of it.
    pub due: Vec<(Kind, Rc<[u8]>)>,
    /// It is of another codec than those before.
    pub changed: bool,
}

impl Headers {
    /// Takes note of `media`, which becomes packet `seq` of the log, or none for now.
    pub(crate) fn note(
        &mut self,
        media: &Media<'_>,
        info: Option<&Info>,
        seq: Option<u64>,
    ) -> Noted {
        let (track, four_cc, class) = match info {
            Some(info) => match info.class {
                Class::SequenceHeader | Class::Metadata => {
                    (info.track, info.four_cc, Some(info.class))
                }
                Class::SequenceEnd => {
                    self.end(media.kind, info.track, seq);
                    return Noted::Same;
                }
                _ => return Noted::Nothing,
            },
            None if media.is_metadata() => (0, [0; 4], None),
            None => return Noted::Nothing,
        };
        // a track has one codec at a time, and its sequence header says which; ffmpeg writes colour
        // information of any track as if it were of the first one
        let header = class == Some(Class::SequenceHeader);
        let replaces = |sticky: &Sticky| {
            let same_codec = sticky.four_cc == four_cc;
            let replaced = match header {
                true => sticky.class == class || !same_codec,
                false => sticky.class == class && same_codec,
            };
            sticky.is_of(media.kind, track) && replaced && (sticky.is_current() || sticky.idle)
        };
        let mut replaced = self.stickies.iter().filter(|sticky| replaces(sticky));
        if replaced.clone().any(|sticky| sticky.is_current() && *sticky.payload == *media.payload)
            && replaced.clone().count() == 1
        {
            return Noted::Same;
        }
        let noted = match replaced.clone().next() {
            None => Noted::New,
            Some(_) if replaced.any(Sticky::is_header) => Noted::Changed,
            Some(_) => Noted::Same,
        };
        // of metadata, players get the newest
        let ends = if media.kind == Kind::Data { None } else { seq };
        self.stickies.retain_mut(|sticky| !replaces(sticky) || sticky.end(ends));
        self.outdated |= noted != Noted::New;
        if !self.make_room(media.payload.len()) {
            return Noted::TooLarge;
        }
        // those of a track that goes on are for its next frames
        let framed = class.is_none() || self.has_track(media.kind, Some(track));
        self.unframed |= !framed;
        self.last = self.last.max(seq);
        let (kind, payload) = (media.kind, media.payload.into());
        let (from, to, idle) = (seq, None, false);
        self.stickies.push(Sticky { kind, track, four_cc, class, payload, from, to, framed, idle });
        noted
    }

    /// The sequence of a track ends in front of packet `seq`.
    fn end(&mut self, kind: Kind, track: u8, seq: Option<u64>) {
        self.stickies.retain_mut(|sticky| {
            !sticky.is_of(kind, track) || !(sticky.is_current() || sticky.idle) || sticky.end(seq)
        });
        self.tracks.retain(|other| (other.kind, other.number) != (kind, track));
        self.outdated = true;
        self.count_unframed();
    }

    /// Takes note of a frame, which becomes packet `seq`, or one behind it, or none for now.
    pub(crate) fn frame(&mut self, kind: Kind, info: &Info, seq: Option<u64>) -> Framed {
        let known =
            self.tracks.iter().find(|track| (track.kind, track.number) == (kind, info.track));
        match known {
            Some(track) if track.four_cc == info.four_cc && !self.unframed => Framed::default(),
            _ => self.first_frame(kind, info, seq),
        }
    }

    /// The first frame of a track, or of another codec.
    #[cold]
    #[inline(never)]
    fn first_frame(&mut self, kind: Kind, info: &Info, seq: Option<u64>) -> Framed {
        let track =
            self.tracks.iter_mut().find(|track| (track.kind, track.number) == (kind, info.track));
        let changed = match track {
            Some(track) => std::mem::replace(&mut track.four_cc, info.four_cc) != info.four_cc,
            None => {
                if self.tracks.len() < MAX_TRACKS {
                    self.tracks.push(Track { kind, number: info.track, four_cc: info.four_cc });
                }
                false
            }
        };
        let (mut due, mut again) = (Vec::new(), Vec::new());
        for sticky in &mut self.stickies {
            let own = match sticky.class {
                Some(Class::SequenceHeader) => sticky.is_of(kind, info.track),
                _ => sticky.kind == kind,
            };
            if !own || !(sticky.is_current() || sticky.idle) {
                continue;
            }
            if sticky.is_header() && sticky.four_cc != info.four_cc {
                // codecs without a header have none that would take its place
                if sticky.is_current() {
                    (sticky.to, sticky.idle) = (seq.or(Some(0)), true);
                }
            } else if std::mem::take(&mut sticky.idle) {
                let (from, to, framed) = (sticky.from.and(seq), None, true);
                again.push(Sticky { from, to, framed, ..sticky.clone() });
                // who came meanwhile does not have it
                if seq.is_some() && sticky.payload.len() <= MAX_REPEATED {
                    due.push((kind, sticky.payload.clone()));
                }
            } else if !std::mem::replace(&mut sticky.framed, true)
                && seq.is_some()
                && (sticky.from.is_none() || self.withheld.get())
            {
                sticky.from = seq;
                due.push((kind, sticky.payload.clone()));
            }
        }
        if !due.is_empty() || !again.is_empty() {
            self.last = self.last.max(seq);
        }
        self.outdated |= changed;
        for sticky in again {
            if self.make_room(sticky.payload.len()) {
                self.stickies.push(sticky);
            }
        }
        self.count_unframed();
        Framed { due, changed }
    }

    fn count_unframed(&mut self) {
        self.unframed = self.stickies.iter().any(|sticky| sticky.is_current() && !sticky.framed);
        if !self.unframed {
            self.withheld.set(false);
        }
    }

    /// Whether some are there whose track has no frames so far.
    pub(crate) fn are_unframed(&self) -> bool {
        self.unframed
    }

    /// Whether frames of the kind have come, or of this track of it.
    pub(crate) fn has_track(&self, kind: Kind, track: Option<u8>) -> bool {
        let mut tracks = self.tracks.iter().filter(|track| track.kind == kind);
        tracks.any(|other| track.is_none_or(|track| track == other.number))
    }

    /// Whether video has a sequence header.
    pub(crate) fn announce_video(&self) -> bool {
        let mut video = self.stickies.iter().filter(|sticky| sticky.kind == Kind::Video);
        video.any(|sticky| sticky.is_current() && sticky.is_header())
    }

    /// Makes all of them new, as those of a source that goes on air: the first is packet `seq`, and
    /// the others follow. They are given in the order a player wants them.
    pub(crate) fn renew(&mut self, seq: u64) -> Vec<(Kind, Rc<[u8]>)> {
        self.stickies.retain(Sticky::is_current);
        self.stickies.sort_by_key(|sticky| order(sticky.kind));
        for (sticky, seq) in self.stickies.iter_mut().zip(seq..) {
            (sticky.from, self.last) = (Some(seq), Some(seq));
        }
        self.withheld.set(false);
        self.stickies.iter().map(|sticky| (sticky.kind, sticky.payload.clone())).collect()
    }

    /// The messages that a player needs in front of packet `at`, if it has those of the packets before
    /// `after`, in the order it wants them: metadata, video, audio. `all`: also those of tracks that
    /// have no frames so far.
    pub(crate) fn needed(&self, after: u64, at: u64, all: bool) -> impl Iterator<Item = &Sticky> {
        let needed = move |sticky: &&Sticky| {
            let Some(from) = sticky.from else { return false };
            // at first a player gets the newest metadata
            let soon = sticky.kind == Kind::Data && after == 0;
            from >= after && (from <= at || soon) && sticky.to.is_none_or(|to| at < to)
        };
        if self.unframed && !all {
            self.withheld.set(true);
        }
        [Kind::Data, Kind::Video, Kind::Audio].into_iter().flat_map(move |kind| {
            let of_kind = self.stickies.iter().filter(move |sticky| sticky.kind == kind);
            of_kind.filter(move |sticky| all || sticky.framed).filter(needed)
        })
    }

    /// Whether a packet from number `after` on is one of them.
    pub(crate) fn any_since(&self, after: u64) -> bool {
        self.last.is_some_and(|last| last >= after)
    }

    /// Forgets those that only packets before number `first` needed.
    pub(crate) fn trim(&mut self, first: u64) {
        if std::mem::take(&mut self.outdated) {
            self.stickies.retain(|sticky| sticky.idle || sticky.to.is_none_or(|to| to > first));
            self.outdated = self.stickies.iter().any(|sticky| !sticky.is_current() && !sticky.idle);
        }
    }

    /// Drops the oldest that have ended, until there is room for so many bytes: players that start
    /// where they were valid get those that followed them. False if there is none.
    fn make_room(&mut self, bytes: usize) -> bool {
        while self.stickies.len() >= MAX_STICKIES || self.bytes() + bytes > MAX_STICKY_BYTES {
            let ended = self.stickies.iter().position(|sticky| sticky.to.is_some());
            let Some(old) = ended.map(|at| self.stickies.remove(at)) else { return false };
            let next = self.stickies.iter_mut().find(|sticky| {
                sticky.is_of(old.kind, old.track)
                    && sticky.class == old.class
                    && sticky.from >= old.to
            });
            if let Some(next) = next {
                next.from = old.from;
            }
        }
        true
    }

    fn bytes(&self) -> usize {
        self.stickies.iter().map(|sticky| sticky.payload.len()).sum()
    }

    /// What they hold.
    pub(crate) fn held(&self) -> u64 {
        (self.bytes() + self.stickies.capacity() * size_of::<Sticky>()) as u64
    }
}

fn order(kind: Kind) -> usize {
    match kind {
        Kind::Data => 0,
        Kind::Video => 1,
        Kind::Audio => 2,
    }
}
