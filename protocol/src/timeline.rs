//! The timestamps that players of a stream see, made of those that its sources send.
//!
//! It is not of the wire, but like the rest here it is sans-io: the one who forwards media passes in
//! timestamps and the time, and no input makes it panic.
//!
//! Encoders count milliseconds in 32 bits (RTMP 1.0 section 5.3.1.3, FLV 10.1 Annex E.4.1), and each
//! track for itself: audio from 0 and video from the hour, or a clock that wraps at 24 bits, or one
//! frame that says 0 between two that do not. So each track has a *line*, an offset from the source's
//! clock to the players', and is judged by itself:
//!
//! - Steps ahead are kept as they are. A long one, which nothing explains, is believed when some more
//!   frames have come behind it, and other tracks do not contradict.
//! - A fall starts another line, whose frames go on from the last one's. If it was a straggler or a
//!   fault, the track soon stands again where its old line was left, and takes that up again. If it
//!   stays, the source has restarted: a track that falls later joins the line of one that has, so that
//!   sound and picture stay together.
//! - At 24 bits, where counters of many encoders wrap, a fall to 0 is a step ahead.
//! - Another source starts a line for all tracks, behind what players have seen.

/// A track of a stream: a kind of media and its number (Enhanced RTMP v2, multitrack).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TrackId {
    /// Video or audio.
    pub video: bool,
    /// 0 unless multitrack.
    pub track: u8,
}

/// A step ahead of up to this needs no explanation, in milliseconds: encoders drop frames for as long
/// when the network is slow. Falling back onto a line by no more, players wait.
const LEAP: u32 = 5_000;
/// A fall of up to this may be a straggler, in milliseconds, so its frame is not placed ahead.
const BEHIND: i32 = 1_000;
/// What is not a frame may lie behind the frames by this, in milliseconds.
const ASIDE: i32 = 10_000;
/// So many frames on a line, and it is believed.
const BELIEVED: u8 = 4;
/// A line of fewer frames than this may be moved on as a whole to make room for another track of
/// its source.
const YOUNG: u8 = 64;
/// Where counters of 24 bits wrap.
const WRAP: u32 = 1 << 24;
/// Tracks that are told apart; what is beyond counts as the last one.
const MAX_TRACKS: usize = 16;

/// The difference between a source's clock and the players'.
#[derive(Debug, Clone, Copy, Default)]
struct Line {
    offset: u32,
    /// The last timestamp of the source on it.
    at: u32,
}

#[derive(Debug, Clone, Copy)]
struct Track {
    id: TrackId,
    line: Line,
    /// The line it was on before, to which it may return.
    left: Option<Line>,
    /// It has leapt ahead by more than is believed at once, at this time of the stream; `left` is
    /// where it stands if that is true.
    leapt: Option<u64>,
    /// Frames on this line, up to 255; 0 = none of the source on air so far.
    frames: u8,
    /// It has had a frame of any source.
    started: bool,
    /// The last step between two frames.
    step: u32,
    /// The last timestamp that players saw.
    out: u32,
    /// That in the stream's time, by this track's own clock.
    time: u64,
    /// The stream's time and the caller's at its last frame.
    seen: u64,
    seen_at: u64,
}

/// The timeline of one stream.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    tracks: Vec<Track>,
    /// Which of them had the last frame.
    last: usize,
    time: u64,
    /// The source on air has been through a timeline before.
    judged: bool,
}

/// How far `a` is ahead of `b`; negative if it is behind.
fn ahead(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b) as i32
}

impl Track {
    fn new(id: TrackId, time: u64, now: u64) -> Self {
        Track {
            id,
            line: Line::default(),
            left: None,
            leapt: None,
            frames: 0,
            started: false,
            step: 0,
            out: 0,
            time,
            seen: time,
            seen_at: now,
        }
    }

    /// How far players would be taken ahead if `timestamp` were on the line of `offset`.
    fn ahead_on(&self, offset: u32, timestamp: u32) -> i32 {
        ahead(timestamp.wrapping_add(offset), self.out)
    }

    /// What lies between the last frame and the next one, as far as is known; at most a second.
    fn gap(&self) -> u32 {
        self.step.clamp(1, 1000)
    }

    /// Starts a line on which `timestamp` comes `gap` after the last frame. The line that was left is
    /// the last one that was believed.
    fn start_line(&mut self, timestamp: u32, gap: u32) {
        if self.left.is_none() || self.frames >= BELIEVED {
            self.left = Some(self.line);
        }
        self.line = Line { offset: self.next_offset(timestamp, gap), at: timestamp };
        (self.frames, self.leapt) = (1, None);
    }

    /// The offset of a line on which `timestamp` comes `gap` after the last frame.
    fn next_offset(&self, timestamp: u32, gap: u32) -> u32 {
        self.out.wrapping_add(gap).wrapping_sub(timestamp)
    }

    /// Leaps ahead by more than is believed: goes on from the last frame until it is, or until the
    /// track falls back to where it was.
    fn leap(mut self, timestamp: u32, time: u64) -> Self {
        let meant = [Some(self.line), self.left].into_iter().flatten().min_by_key(|line| {
            let ahead = self.ahead_on(line.offset, timestamp);
            if ahead < 0 {
                i32::MAX
            } else {
                ahead
            }
        });
        self.line = Line { offset: self.next_offset(timestamp, self.gap()), at: timestamp };
        (self.left, self.frames, self.leapt) = (meant, 1, Some(time));
        self
    }

    /// Whether a frame takes up the line that was left. `step`: from the last frame, if that is one
    /// that a frame may take.
    fn returns(&self, left: &Line, timestamp: u32, step: Option<i32>, explained: i32) -> bool {
        let beyond = ahead(timestamp, left.at);
        let ahead = self.ahead_on(left.offset, timestamp);
        match step {
            None => beyond >= -BEHIND && (-(LEAP as i32)..=explained).contains(&ahead),
            Some(_) if self.leapt.is_some() => false,
            Some(_) if self.frames < BELIEVED => (0..=LEAP as i32).contains(&beyond),
            // the line that goes on more evenly
            Some(step) => {
                let even = self.step as i32;
                self.frames < u8::MAX && beyond >= 0 && ahead.abs_diff(even) < step.abs_diff(even)
            }
        }
    }

    /// The line of this track that a frame of another one, which comes along with it, is on.
    fn offset_for(&self, timestamp: u32) -> u32 {
        let lines = [Some(self.line), self.left].into_iter().flatten();
        let nearest = lines.min_by_key(|line| self.ahead_on(line.offset, timestamp).unsigned_abs());
        nearest.map_or(0, |line| line.offset)
    }

    /// Takes up the line of `offset`, that is believed.
    fn resume(&mut self, offset: u32, timestamp: u32) {
        self.line = Line { offset, at: timestamp };
        (self.left, self.frames, self.leapt) = (None, BELIEVED, None);
    }
}

impl Timeline {
    /// Another source is on air. `judged`: it brings what a timeline put out, so that all its steps
    /// ahead are meant.
    pub fn switch(&mut self, judged: bool) {
        self.judged = judged;
        for track in &mut self.tracks {
            (track.frames, track.left, track.leapt) = (0, None, None);
        }
    }

    /// Whether there was any frame.
    pub fn has_begun(&self) -> bool {
        !self.tracks.is_empty()
    }

    /// Milliseconds of the stream that players have seen. It never goes back and no frame that is
    /// astray moves it: whichever track is the furthest counts.
    pub fn time(&self) -> u64 {
        self.time
    }

    /// Whether the track has had no frame for `limit` milliseconds of the stream, and for longer than
    /// its frames lie apart.
    pub fn is_silent(&self, id: TrackId, limit: u64) -> bool {
        self.tracks.iter().find(|track| track.id == id).is_some_and(|track| {
            let silence = self.time.saturating_sub(track.seen);
            silence > limit && silence > 2 * u64::from(track.step)
        })
    }

    /// The timestamp that players see for a frame with this one; `now` in milliseconds of any clock
    /// that does not go back.
    pub fn frame(&mut self, id: TrackId, timestamp: u32, now: u64) -> u32 {
        let at = self.track(id, now);
        let Some(track) = self.tracks.get_mut(at) else { return timestamp };
        let step = timestamp.wrapping_sub(track.line.at);
        let even = step <= BEHIND as u32 && (track.left.is_none() || step / 2 <= track.step);
        if even && track.frames >= BELIEVED {
            track.step = step;
            track.line.at = timestamp;
            track.frames = track.frames.saturating_add(1);
        } else {
            self.judge(at, timestamp, now);
        }
        self.put(at, timestamp, now)
    }

    /// The same for what is no frame and moves nothing: headers and metadata, which many encoders send
    /// with 0 also in mid-stream. `id`: the track that it belongs to, if to any.
    pub fn beside(&self, id: Option<TrackId>, timestamp: u32) -> u32 {
        let own = self.tracks.iter().find(|track| Some(track.id) == id);
        if let Some(own) = own {
            let ahead = own.ahead_on(own.line.offset, timestamp);
            return match own.frames > 0 && (0..=ASIDE).contains(&ahead) {
                true => timestamp.wrapping_add(own.line.offset),
                false => own.out,
            };
        }
        let Some(last) = self.tracks.get(self.last) else { return timestamp };
        let running = self.tracks.iter().filter(|track| track.frames > 0);
        let nearest = running.min_by_key(|track| {
            ahead(timestamp.wrapping_add(track.line.offset), track.out).unsigned_abs()
        });
        match nearest {
            Some(track) if track.ahead_on(track.line.offset, timestamp) >= -ASIDE => {
                timestamp.wrapping_add(track.line.offset)
            }
            _ => last.out,
        }
    }

    /// Where the track is among those that are known.
    fn track(&mut self, id: TrackId, now: u64) -> usize {
        let known = self.tracks.iter().position(|track| track.id == id);
        known.unwrap_or_else(|| {
            if self.tracks.len() < MAX_TRACKS {
                self.tracks.push(Track::new(id, self.time, now));
            }
            self.tracks.len().saturating_sub(1)
        })
    }

    /// Puts out a frame by its track's line, not before the one that was put out last.
    fn put(&mut self, at: usize, timestamp: u32, now: u64) -> u32 {
        let Some(track) = self.tracks.get_mut(at) else { return timestamp };
        let step = track.ahead_on(track.line.offset, timestamp).max(0);
        track.out = track.out.wrapping_add(step as u32);
        track.time = track.time.saturating_add(step as u64);
        if self.time.saturating_sub(track.time) > u64::from(LEAP) {
            // its clock stood still while others went on
            track.time = self.time;
        }
        self.time = self.time.max(track.time);
        (track.seen, track.seen_at) = (self.time, now);
        self.last = at;
        track.out
    }

    /// Finds the line of a frame that is not simply the next one on a line that is believed.
    #[cold]
    #[inline(never)]
    fn judge(&mut self, at: usize, timestamp: u32, now: u64) {
        let Some(&track) = self.tracks.get(at) else { return };
        let judged = match track.frames {
            0 => self.join(track, timestamp),
            _ => self.place(track, timestamp, now),
        };
        if let Some(track) = self.tracks.get_mut(at) {
            *track = judged;
        }
    }

    /// The first frame of a track since its source went on air.
    fn join(&mut self, mut track: Track, timestamp: u32) -> Track {
        let mut offset = match self.companion(track.id) {
            Some(other) => other.offset_for(timestamp),
            None => self.first_offset(&track, timestamp),
        };
        if !track.started {
            track.started = true;
            track.out = timestamp.wrapping_add(offset);
        } else if track.ahead_on(offset, timestamp) <= 0 {
            let line = track.out.wrapping_add(track.gap()).wrapping_sub(timestamp);
            self.lift(|_| true, line.wrapping_sub(offset));
            offset = line;
        }
        track.line = Line { offset, at: timestamp };
        track.frames = 1;
        track
    }

    /// The line of a source whose first frame this is: behind what players have seen of that track,
    /// and of those that go along with it.
    fn first_offset(&self, track: &Track, timestamp: u32) -> u32 {
        let known = if track.started { Some(track) } else { self.tracks.get(self.last) };
        let Some(known) = known.filter(|known| known.started) else { return 0 };
        let kept = track.line.offset;
        if self.judged && track.started && (0..=ASIDE).contains(&track.ahead_on(kept, timestamp)) {
            // it is the stream that was there before, by another way
            return kept;
        }
        let near = self.tracks.iter().map(|other| ahead(other.out, known.out));
        let lead = near.filter(|lead| (0..=BEHIND).contains(lead)).max().unwrap_or(0);
        let next = known.out.wrapping_add(lead as u32).wrapping_add(known.gap());
        next.wrapping_sub(timestamp)
    }

    /// A frame of a track that may have left its line, or has done so.
    fn place(&mut self, mut track: Track, timestamp: u32, now: u64) -> Track {
        let step = ahead(timestamp, track.line.at);
        let explained = self.explained(&track, now);
        let wraps = step < 0 && track.line.at < WRAP && timestamp < WRAP && !self.judged;
        let wrapped = step.wrapping_add(WRAP as i32);
        if wraps && (0..=explained).contains(&wrapped) && track.leapt.is_none() {
            let offset = track.line.offset.wrapping_add(WRAP);
            let left = track.line;
            track.resume(offset, timestamp);
            track.left = Some(left);
            return track;
        }
        let usual = (0..=explained).contains(&step);
        let taken = usual.then_some(step);
        if let Some(left) =
            track.left.filter(|left| track.returns(left, timestamp, taken, explained))
        {
            track.resume(left.offset, timestamp);
            return track;
        }
        let further = || {
            let meant = track.left.filter(|_| track.leapt.is_some() && step >= 0);
            meant.is_some_and(|meant| track.ahead_on(meant.offset, timestamp) > 0)
        };
        if usual || further() {
            if !usual {
                track.line.offset = track.next_offset(timestamp, track.gap());
            } else if track.frames >= BELIEVED && step > BEHIND {
                // it may prove to be a fault
                track.left = Some(track.line);
            }
            if usual && (track.frames >= BELIEVED || track.left.is_none()) {
                track.step = step as u32;
            }
            track.line.at = timestamp;
            track.frames = track.frames.saturating_add(1);
            self.believe(&mut track, timestamp);
            return track;
        }
        // a source restarts with all its tracks, one after the other
        let joined = self.tracks.iter().find(|other| {
            let runs = other.frames > 0 && other.leapt.is_none() && other.id != track.id;
            let offset = other.line.offset;
            let near = (-BEHIND..=LEAP as i32).contains(&track.ahead_on(offset, timestamp));
            runs && near && offset != track.line.offset
        });
        if let Some(other) = joined.copied() {
            let behind = -track.ahead_on(other.line.offset, timestamp);
            track.start_line(timestamp, 0);
            track.line.offset = other.line.offset;
            if behind >= 0 && other.frames < YOUNG {
                let by = (behind as u32).wrapping_add(track.gap());
                self.lift(|track| track.line.offset == other.line.offset, by);
                track.line.offset = track.line.offset.wrapping_add(by);
            }
            return track;
        }
        if step >= 0 {
            return track.leap(timestamp, self.time);
        }
        track.start_line(timestamp, if step >= -BEHIND { 0 } else { track.gap() });
        track
    }

    /// Believes a leap when others have gone as far, or when some frames have come behind it and no
    /// other track has gone on as if nothing had been.
    fn believe(&self, track: &mut Track, timestamp: u32) {
        let (Some(since), Some(meant)) = (track.leapt, track.left) else { return };
        let leap = track.ahead_on(meant.offset, timestamp).max(0) as u64;
        if self.time.saturating_sub(since).saturating_add(LEAP.into()) >= leap {
            return track.resume(meant.offset, timestamp);
        }
        if track.frames >= BELIEVED {
            let others = self.tracks.iter().filter(|other| other.id != track.id);
            let mut unmoved = others.filter(|other| other.leapt.is_none() && other.seen > since);
            match unmoved.next() {
                // its clock was set, which is no time that passed
                Some(_) => track.leapt = None,
                None => track.resume(meant.offset, timestamp),
            }
        }
    }

    /// How far ahead a track may step: it was silent while others went on, or time has passed.
    fn explained(&self, track: &Track, now: u64) -> i32 {
        if self.judged {
            return i32::MAX;
        }
        let others = self.time.saturating_sub(track.seen);
        let waited = others.max(now.saturating_sub(track.seen_at));
        let limit = waited.saturating_add(u64::from(LEAP)).saturating_add(track.step.into());
        limit.min(i32::MAX as u64) as i32
    }

    /// The track that had the last frame of the source on air, or any other that had one.
    fn companion(&self, id: TrackId) -> Option<Track> {
        let running = |track: &&Track| track.frames > 0 && track.id != id;
        let last = self.tracks.get(self.last).filter(running);
        last.or_else(|| self.tracks.iter().find(running)).copied()
    }

    /// Moves those tracks of the source on air ahead that have not gone on for long.
    fn lift(&mut self, which: impl Fn(&Track) -> bool, by: u32) {
        for track in &mut self.tracks {
            if (1..YOUNG).contains(&track.frames) && which(track) {
                track.line.offset = track.line.offset.wrapping_add(by);
            }
        }
    }
}
