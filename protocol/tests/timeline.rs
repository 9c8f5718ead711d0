//! What players see of the clocks that encoders have: by example, and that it holds for any.

use proptest::collection::vec;
use proptest::prelude::*;
use rtmp_protocol::timeline::{Timeline, TrackId};

const AUDIO: TrackId = TrackId { video: false, track: 0 };
const VIDEO: TrackId = TrackId { video: true, track: 0 };
const HOUR: u32 = 3_600_000;

/// A timeline that is fed all at once, and what it put out for each track.
#[derive(Default)]
struct Feed {
    timeline: Timeline,
    out: Vec<(TrackId, u32)>,
}

impl Feed {
    fn frame(&mut self, id: TrackId, timestamp: u32) -> u32 {
        let out = self.timeline.frame(id, timestamp, 0);
        self.out.push((id, out));
        out
    }

    /// Two tracks of equal pace, one frame of each in turn.
    fn both(&mut self, video: impl Iterator<Item = u32>, audio: impl Iterator<Item = u32>) {
        for (video, audio) in video.zip(audio) {
            self.frame(VIDEO, video);
            self.frame(AUDIO, audio);
        }
    }

    fn of(&self, id: TrackId) -> Vec<u32> {
        self.out.iter().filter(|out| out.0 == id).map(|out| out.1).collect()
    }

    /// Every track goes on by `step`.
    #[track_caller]
    fn assert_even(&self, step: u32) {
        for id in [AUDIO, VIDEO] {
            let out = self.of(id);
            let odd = out.windows(2).position(|two| two[1].wrapping_sub(two[0]) != step);
            assert_eq!(odd.map(|at| &out[at.saturating_sub(2)..(at + 4).min(out.len())]), None);
        }
    }
}

/// Timestamps from `base` on, 40 ms apart.
fn clock(base: u32) -> impl Iterator<Item = u32> {
    (0..).map(move |n: u32| base.wrapping_add(n * 40))
}

fn wrapping(base: u32) -> impl Iterator<Item = u32> {
    clock(base).map(|timestamp| timestamp & 0xFF_FFFF)
}

/// The same with `faults` in place of those from number `at` on.
fn with(base: u32, at: usize, faults: &[u32]) -> impl Iterator<Item = u32> + use<'_> {
    clock(base).enumerate().map(move |(n, timestamp)| {
        n.checked_sub(at).and_then(|n| faults.get(n).copied()).unwrap_or(timestamp)
    })
}

#[test]
fn each_track_has_its_own_base() {
    for (video, audio) in [(20_000, 0), (0, 20_000), (HOUR, 3), (u32::MAX - 500, 7)] {
        let mut feed = Feed::default();
        feed.both(clock(video).take(100), clock(audio));
        assert_eq!(feed.of(VIDEO), clock(video).take(100).collect::<Vec<_>>());
        assert_eq!(feed.of(AUDIO), clock(audio).take(100).collect::<Vec<_>>());
    }
}

#[test]
fn bases_may_drift() {
    let mut feed = Feed::default();
    for n in 0..100_000 {
        feed.frame(VIDEO, n * 40);
        feed.frame(AUDIO, HOUR + n * 41);
    }
    assert_eq!(feed.of(VIDEO)[99_999], 99_999 * 40);
    assert_eq!(feed.of(AUDIO)[99_999], HOUR + 99_999 * 41);
}

#[test]
fn a_fault_passes() {
    let far = [0, 7, HOUR / 2, 2 * HOUR, HOUR + 60_000, u32::MAX, 1 << 31, 0xFF_FFFF];
    for fault in far {
        for faults in [vec![fault], vec![fault; 3], vec![fault, fault.wrapping_add(40), 0]] {
            for hit in [AUDIO, VIDEO] {
                let mut feed = Feed::default();
                let (good, bad) = (clock(HOUR).take(60), with(HOUR, 20, &faults).take(60));
                match hit == VIDEO {
                    true => feed.both(bad, good),
                    false => feed.both(good, bad),
                }
                for id in [AUDIO, VIDEO] {
                    let out = feed.of(id);
                    let mut want: Vec<u32> = clock(HOUR).take(60).collect();
                    if id == hit {
                        assert!(out.windows(2).all(|two| two[0] <= two[1]), "{faults:?}: {out:?}");
                        // only the faulty ones are where players could not know them to be
                        want[20..20 + faults.len()].copy_from_slice(&out[20..20 + faults.len()]);
                    }
                    assert_eq!(out, want, "{faults:?} {id:?}");
                }
            }
        }
    }
}

#[test]
fn a_long_fault_passes() {
    // two seconds of another track's clock, of a clock that stands, of one that is slightly off
    let other: Vec<u32> = clock(0).take(50).collect();
    let slightly: Vec<u32> = clock(HOUR + 800 - 700).take(50).collect();
    for faults in [other, vec![0; 50], slightly, vec![2 * HOUR; 50]] {
        let mut feed = Feed::default();
        feed.both(clock(HOUR).take(200), with(HOUR, 20, &faults));
        assert_eq!(feed.of(VIDEO), clock(HOUR).take(200).collect::<Vec<_>>());
        let audio = feed.of(AUDIO);
        assert!(audio.windows(2).all(|two| two[0] <= two[1]));
        assert_eq!(audio[199], HOUR + 199 * 40, "{:?}", &faults[..2]);
    }
}

#[test]
fn a_step_ahead_that_proves_wrong_leaves_no_offset() {
    let mut feed = Feed::default();
    feed.both(clock(0).take(300), with(0, 20, &[4800]));
    let audio = feed.of(AUDIO);
    assert!(audio.windows(2).all(|two| two[0] <= two[1]));
    assert_eq!(audio[299], 299 * 40);
}

#[test]
fn stragglers_move_nobody() {
    for late in [&[700][..], &[640, 680], &[20], &[700, 660, 620]] {
        let mut feed = Feed::default();
        feed.both(clock(0).take(100), with(0, 20, late));
        assert_eq!(feed.of(VIDEO), clock(0).take(100).collect::<Vec<_>>());
        let audio = feed.of(AUDIO);
        assert!(audio.windows(2).all(|two| two[0] <= two[1]), "{late:?}");
        let after = 20 + late.len() + 3;
        assert_eq!(audio[after..], clock(0).take(100).collect::<Vec<_>>()[after..], "{late:?}");
    }
    // the order of presentation in place of that of decoding: every second frame comes early
    let mut feed = Feed::default();
    for n in 0..1000 {
        for early in [0, 120, 40, 80] {
            feed.frame(VIDEO, n * 160 + early);
        }
    }
    let video = feed.of(VIDEO);
    assert!(video.windows(2).all(|two| two[0] <= two[1]));
    assert!(video[3999].abs_diff(999 * 160 + 120) < 200, "{}", video[3999]);
}

#[test]
fn counters_of_24_bits_wrap() {
    for apart in [0, 40, 400, 30_000, HOUR] {
        let mut feed = Feed::default();
        let base = 0xFF_FFFF - 2000;
        feed.both(wrapping(base).take(1000), wrapping(base - apart));
        feed.assert_even(40);
        assert_eq!((feed.of(VIDEO)[0], feed.of(AUDIO)[0]), (base, base - apart));
    }
    // and again, ten hours later
    let mut feed = Feed::default();
    feed.both(wrapping(0).take(1_000_000), wrapping(13));
    feed.assert_even(40);
    // a frame from before the wrap comes behind it
    let mut feed = Feed::default();
    let base = 0xFF_FFFF - 19 * 40;
    for (n, timestamp) in wrapping(base).take(100).enumerate() {
        feed.frame(AUDIO, timestamp);
        if n == 21 {
            feed.frame(AUDIO, base + 18 * 40);
        }
    }
    let audio = feed.of(AUDIO);
    assert!(audio.windows(2).all(|two| two[0] <= two[1]));
    assert_eq!(audio[100], base + 99 * 40);
}

#[test]
fn counters_of_32_bits_wrap() {
    let mut feed = Feed::default();
    feed.both(clock(u32::MAX - 1000).take(100), clock(u32::MAX - 3000));
    feed.assert_even(40);
}

#[test]
fn one_track_restarts() {
    for from in [HOUR, 20_000, 3_000] {
        let mut feed = Feed::default();
        feed.both(clock(from).take(100).chain(clock(0).take(200)), clock(from));
        feed.assert_even(40);
    }
}

#[test]
fn one_track_is_set_ahead() {
    let mut feed = Feed::default();
    feed.both(clock(0).take(100).chain(clock(HOUR).take(200)), clock(7));
    feed.assert_even(40);
}

#[test]
fn an_encoder_restarts() {
    for (before, after) in [(0, 0), (15, 15), (500, 500), (20_000, 20_000)] {
        for first in [0, 5, HOUR] {
            let mut feed = Feed::default();
            let video = clock(HOUR).take(50).chain(clock(first).take(50));
            let audio = clock(HOUR + before).take(50).chain(clock(first + after).take(50));
            feed.both(video, audio);
            if first < HOUR {
                feed.assert_even(40);
            }
            let (video, audio) = (feed.of(VIDEO), feed.of(AUDIO));
            assert!(video.windows(2).chain(audio.windows(2)).all(|two| two[0] <= two[1]));
            assert_eq!(audio[99] - video[99], after);
        }
    }
}

#[test]
fn sources_change() {
    // each track's base, before and after; which one comes first
    let bases = [0, 15, 500, 20_000, HOUR];
    for (before, after) in bases.into_iter().flat_map(|a| bases.map(|b| (a, b))) {
        for video_first in [true, false] {
            let mut feed = Feed::default();
            feed.both(clock(1000).take(50), clock(1000 + before));
            feed.timeline.switch(false);
            for n in 0..50 {
                if video_first {
                    feed.frame(VIDEO, 70_000 + n * 40);
                }
                feed.frame(AUDIO, 70_000 + after + n * 40);
                if !video_first {
                    feed.frame(VIDEO, 70_000 + n * 40);
                }
            }
            let (video, audio) = (feed.of(VIDEO), feed.of(AUDIO));
            assert!(video.windows(2).chain(audio.windows(2)).all(|two| two[0] < two[1]));
            assert_eq!(audio[99].wrapping_sub(video[99]), after);
            for out in [video, audio] {
                // as long as one track makes room for the other
                let odd = out[51..].windows(2).filter(|two| two[1] - two[0] != 40).count();
                assert!(odd <= usize::from(before != after), "{before} {after} {out:?}");
                assert!(before != after || out[50] - out[49] <= 40 + before.min(1000));
            }
        }
    }
}

#[test]
fn another_way_to_the_same_stream_keeps_its_time() {
    let mut feed = Feed::default();
    feed.timeline.switch(true);
    feed.both(clock(HOUR).take(50), clock(HOUR));
    feed.timeline.switch(true);
    feed.both(clock(HOUR + 2040).take(50), clock(HOUR + 2040));
    assert_eq!(feed.of(VIDEO)[99], HOUR + 2040 + 49 * 40);
    // long steps ahead were judged where they came from
    assert_eq!(feed.frame(VIDEO, 3 * HOUR), 3 * HOUR);
    // and what comes a second time is put behind the first
    feed.timeline.switch(true);
    assert_eq!(feed.frame(VIDEO, 3 * HOUR - 2000), 3 * HOUR + 1000);
    assert_eq!(feed.frame(VIDEO, 3 * HOUR - 1960), 3 * HOUR + 1040);
    assert_eq!(feed.frame(VIDEO, 10_000), 3 * HOUR + 1080);
}

#[test]
fn silence_is_kept() {
    // video pauses while audio goes on
    let mut feed = Feed::default();
    feed.both(clock(0).take(25), clock(0));
    for timestamp in clock(1000).take(1500) {
        feed.frame(AUDIO, timestamp);
    }
    assert!(feed.timeline.is_silent(VIDEO, 3000) && !feed.timeline.is_silent(AUDIO, 3000));
    assert_eq!(feed.frame(VIDEO, 61_000), 61_000);
    assert!(!feed.timeline.is_silent(VIDEO, 3000));
    // everything pauses, and time passes
    let mut timeline = Timeline::default();
    for n in 0..25 {
        timeline.frame(VIDEO, n * 40, u64::from(n) * 40);
    }
    assert_eq!(timeline.frame(VIDEO, 600_000, 600_010), 600_000);
    // for no reason that shows: believed when more came
    let mut feed = Feed::default();
    feed.both(
        clock(0).take(25).chain(clock(60_000).take(25)),
        clock(0).take(25).chain(clock(60_000)),
    );
    for id in [AUDIO, VIDEO] {
        let out = feed.of(id);
        assert!(out.windows(2).all(|two| two[0] < two[1]));
        assert_eq!(out[30..], clock(60_200).take(20).collect::<Vec<_>>());
    }
}

#[test]
fn what_is_no_frame_moves_nothing() {
    let mut feed = Feed::default();
    assert_eq!(feed.timeline.beside(None, 70_000), 70_000);
    feed.both(clock(70_000).take(10), clock(0));
    assert_eq!(feed.timeline.beside(Some(VIDEO), 0), 70_360);
    assert_eq!(feed.timeline.beside(Some(AUDIO), 0), 360);
    assert_eq!(feed.timeline.beside(Some(VIDEO), 70_400), 70_400);
    assert_eq!(feed.timeline.beside(None, 70_300), 70_300);
    assert_eq!(feed.timeline.beside(None, 400), 400);
    feed.timeline.switch(false);
    assert_eq!(feed.timeline.beside(None, 5), 360);
    assert_eq!(feed.timeline.beside(Some(VIDEO), 5), 70_360);
    feed.both(clock(70_000).take(10), clock(0));
    feed.assert_even(40);
}

#[test]
fn time_goes_on_whatever_clocks_do() {
    let mut feed = Feed::default();
    // video stands still for a minute, its clock as well
    feed.both(clock(0).take(25), clock(HOUR));
    for timestamp in clock(HOUR + 1000).take(1500) {
        feed.frame(AUDIO, timestamp);
    }
    assert_eq!(feed.timeline.time(), 60_960);
    for timestamp in clock(1000).take(100) {
        feed.frame(VIDEO, timestamp);
    }
    let time = feed.timeline.time();
    assert!((64_000..65_500).contains(&time), "{time}");
}

/// What an encoder does to one of its clocks.
#[derive(Debug, Clone)]
enum Event {
    Fault(u32, u8),
    Straggler(u16),
    Restart(u32),
    Silence(u16),
    Source,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (any::<u32>(), 1..4u8).prop_map(|(timestamp, n)| Event::Fault(timestamp, n)),
        (1..900u16).prop_map(Event::Straggler),
        any::<u32>().prop_map(Event::Restart),
        (1..60_000u16).prop_map(Event::Silence),
        Just(Event::Source),
    ]
}

proptest! {
    /// Any timestamps at all: no track goes back, and neither does time.
    #[test]
    fn monotonic(
        frames in vec((any::<bool>(), 0..3u8, prop_oneof![any::<u32>(), 0..2000u32], any::<bool>()), 1..300),
    ) {
        let mut timeline = Timeline::default();
        let mut last = std::collections::HashMap::new();
        let mut time = 0;
        for (n, (video, track, timestamp, switch)) in frames.into_iter().enumerate() {
            if switch && n % 16 == 0 {
                timeline.switch(n % 32 == 0);
            }
            let id = TrackId { video, track };
            let out = timeline.frame(id, timestamp, n as u64 * 10);
            let before = last.insert(id, out).unwrap_or(out);
            prop_assert!(out.wrapping_sub(before) as i32 >= 0, "{before} {out}");
            prop_assert!(timeline.time() >= time);
            time = timeline.time();
        }
    }

    /// Whatever an encoder's clocks do: one that counts evenly comes out evenly again soon, and what
    /// happens to one track moves no other.
    #[test]
    fn events_pass(
        base in any::<u32>(),
        skew in any::<u32>(),
        step in 1..200u32,
        events in vec((5..40usize, event()), 0..12),
    ) {
        let mut timeline = Timeline::default();
        let mut clocks = [(VIDEO, base), (AUDIO, base.wrapping_add(skew))];
        let mut last = [None, None];
        // frames until a track must be even again
        let mut settling = [0; 2];
        let mut frame = |timeline: &mut Timeline, settling: &mut [i32; 2], at: usize, id, timestamp, now| {
            let out: u32 = timeline.frame(id, timestamp, now);
            if let Some(before) = last[at] {
                let went = out.wrapping_sub(before);
                prop_assert!(went as i32 >= 0);
                if settling[at] == 0 {
                    prop_assert_eq!(went, step);
                }
            }
            settling[at] = (settling[at] - 1).max(0);
            last[at] = Some(out);
            Ok(())
        };
        let mut now = 0;
        for (n, (run, event)) in events.into_iter().enumerate() {
            let hit = n % 2;
            for _ in 0..run {
                for (at, (id, clock)) in clocks.iter_mut().enumerate() {
                    frame(&mut timeline, &mut settling, at, *id, *clock, now)?;
                    *clock = clock.wrapping_add(step);
                }
                now += u64::from(step);
            }
            let (id, clock) = clocks[hit];
            match event {
                Event::Fault(timestamp, n) => {
                    settling[hit] = 5 + 10_000 / step as i32;
                    for _ in 0..n {
                        frame(&mut timeline, &mut settling, hit, id, timestamp, now)?;
                    }
                }
                Event::Straggler(late) => {
                    settling[hit] = 5;
                    frame(&mut timeline, &mut settling, hit, id, clock.wrapping_sub(late.into()), now)?;
                }
                Event::Restart(timestamp) => {
                    settling[hit] = 10 + 10_000 / step as i32;
                    clocks[hit].1 = timestamp;
                }
                Event::Silence(ms) => {
                    settling = [5; 2];
                    now += u64::from(ms);
                    for clock in &mut clocks {
                        clock.1 = clock.1.wrapping_add(ms.into());
                    }
                }
                Event::Source => {
                    settling = [5 + 2000 / step as i32; 2];
                    timeline.switch(false);
                }
            }
        }
    }

    /// What a timeline put out passes a second one as it is: over relays, timestamps stay.
    #[test]
    fn twice_is_once(
        bases in any::<[u32; 2]>(),
        frames in vec((any::<bool>(), 0..900u32), 1..200),
        fall in 0..u32::MAX / 2,
    ) {
        let (mut first, mut second) = (Timeline::default(), Timeline::default());
        let mut clocks = bases;
        for (n, (video, step)) in frames.into_iter().enumerate() {
            let clock = &mut clocks[usize::from(video)];
            *clock = clock.wrapping_add(step);
            if n == 100 {
                clocks = clocks.map(|clock| clock.wrapping_sub(fall));
            }
            let id = TrackId { video, track: 0 };
            let out = first.frame(id, clocks[usize::from(video)], 0);
            prop_assert_eq!(second.frame(id, out, 0), out);
        }
    }
}
