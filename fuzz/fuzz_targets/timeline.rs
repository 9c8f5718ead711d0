//! Any timestamps of any tracks and sources: no track goes back, and neither does the stream's time.

#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use rtmp_protocol::timeline::{Timeline, TrackId};

#[derive(Arbitrary, Debug)]
enum Event {
    Frame {
        video: bool,
        track: u8,
        timestamp: u32,
        waited: u16,
    },
    /// Frames in step with the track's last one.
    Run {
        video: bool,
        track: u8,
        frames: u8,
        step: u16,
    },
    Beside {
        id: Option<(bool, u8)>,
        timestamp: u32,
    },
    Switch {
        judged: bool,
    },
}

/// A track, its last timestamp in and out.
type Last = (TrackId, u32, u32);

fuzz_target!(|events: Vec<Event>| {
    let mut timeline = Timeline::default();
    let mut tracks: Vec<Last> = Vec::new();
    let (mut time, mut now) = (0, 0u64);
    let mut frame = |timeline: &mut Timeline, tracks: &mut Vec<Last>, id, timestamp, now| {
        let out = timeline.frame(id, timestamp, now);
        if let Some(last) = tracks.iter_mut().find(|last| last.0 == id) {
            assert!(out.wrapping_sub(last.2) as i32 >= 0);
            *last = (id, timestamp, out);
        } else if tracks.len() < 16 {
            // the timeline tells sixteen apart
            tracks.push((id, timestamp, out));
        }
        assert!(timeline.time() >= time);
        time = timeline.time();
    };
    for event in events {
        match event {
            Event::Frame { video, track, timestamp, waited } => {
                now += u64::from(waited);
                let id = TrackId { video, track: track % 6 };
                frame(&mut timeline, &mut tracks, id, timestamp, now);
            }
            Event::Run { video, track, frames, step } => {
                let id = TrackId { video, track: track % 6 };
                for _ in 0..frames {
                    let last = tracks.iter().find(|last| last.0 == id).map_or(0, |last| last.1);
                    let timestamp = last.wrapping_add(step.into());
                    frame(&mut timeline, &mut tracks, id, timestamp, now);
                }
            }
            Event::Beside { id, timestamp } => {
                let before = timeline.time();
                timeline.beside(id.map(|(video, track)| TrackId { video, track }), timestamp);
                assert_eq!(timeline.time(), before);
            }
            Event::Switch { judged } => timeline.switch(judged),
        }
    }
});
