//! What the frames of the source on air show of its tracks, and the times that players see of them.

use rtmp_protocol::codec::Info;
use rtmp_protocol::timeline::{Timeline, TrackId};

use crate::media::{Kind, Media};

/// A source that has begun shows within this time, in milliseconds, which of the tracks that it
/// announces have frames.
const PROBE_MS: u64 = 500;

/// The tracks of the source on air.
#[derive(Default)]
pub(crate) struct Tracks {
    timeline: Timeline,
    /// The track whose key frames players start at, once it had a frame.
    main: Option<u8>,
    /// When the source has shown for long enough which of the tracks it announces have frames; none
    /// before its first message.
    probed: Option<u64>,
    first: FirstFrames,
}

/// When the first frame of each kind came from the source on air, or from the last one that was, in
/// milliseconds. A header without frames announces nothing.
#[derive(Clone, Copy, Default)]
struct FirstFrames {
    audio: Option<u64>,
    video: Option<u64>,
}

impl Tracks {
    /// Another source is on air, or none. `judged`: its timestamps are as players are to see them.
    pub(crate) fn switch(&mut self, on_air: bool, judged: bool) {
        self.timeline.switch(judged);
        (self.main, self.probed) = (None, None);
        if on_air {
            self.first = FirstFrames::default();
        }
    }

    /// A message of the source came at time `now` (ms).
    pub(crate) fn begin(&mut self, now: u64) {
        self.probed.get_or_insert(now + PROBE_MS);
    }

    /// The source leaves: nothing more will be seen of it.
    pub(crate) fn end_probe(&mut self) {
        self.probed = self.probed.map(|_| 0);
    }

    /// Whether the source has begun, and for so long that its tracks are known.
    pub(crate) fn is_probed(&self, now: u64) -> bool {
        self.probed.is_some_and(|probed| probed <= now)
    }

    /// Whether the source has begun, and its tracks are not known yet: for how many milliseconds.
    pub(crate) fn unprobed(&self, now: u64) -> Option<u64> {
        self.probed?.checked_sub(now).filter(|&left| left > 0)
    }

    /// The track whose key frames players start at.
    pub(crate) fn main(&self) -> Option<u8> {
        self.main
    }

    /// A frame of video came: the first one's track is the main one. Says whether it is the first.
    pub(crate) fn video_came(&mut self, track: u8) -> bool {
        self.main.is_none() && self.main.replace(track).is_none()
    }

    /// Whether the main track has no frames any more while the stream goes on for `limit` ms.
    pub(crate) fn is_main_silent(&self, limit: u64) -> bool {
        self.main
            .is_some_and(|track| self.timeline.is_silent(TrackId { video: true, track }, limit))
    }

    /// The time that players are to see of a message that came at time `now`; `frame`: it is one.
    pub(crate) fn judge(
        &mut self,
        media: &Media<'_>,
        info: Option<&Info>,
        frame: bool,
        now: u64,
    ) -> u32 {
        let track = info.map(|info| TrackId { video: info.video, track: info.track });
        match track.filter(|_| frame) {
            Some(track) => self.timeline.frame(track, media.timestamp, now),
            None => self.timeline.beside(track, media.timestamp),
        }
    }

    /// A frame came. Says whether it is the first of its kind.
    pub(crate) fn frame_came(&mut self, kind: Kind, now: u64) -> bool {
        let first = match kind {
            Kind::Audio => &mut self.first.audio,
            Kind::Video => &mut self.first.video,
            Kind::Data => return false,
        };
        first.is_none() && first.replace(now).is_none()
    }

    /// Whether frames of audio and of video have come.
    pub(crate) fn have_frames(&self) -> (bool, bool) {
        (self.first.audio.is_some(), self.first.video.is_some())
    }

    /// When the first of those came.
    pub(crate) fn first_frame(&self) -> Option<u64> {
        self.first.audio.into_iter().chain(self.first.video).min()
    }

    /// Whether there was a frame, of any source so far.
    pub(crate) fn have_begun(&self) -> bool {
        self.timeline.has_begun()
    }

    /// The stream's time in milliseconds, whatever track; it never goes back.
    pub(crate) fn time(&self) -> u64 {
        self.timeline.time()
    }
}
