//! Streams and their players.

use live::Meta;

use super::directive::{accepted, any, flag, setting, size, time, Directive, MSA, ONE, SOME};
use super::parse::Parse;
use super::scope::{settings, Scope};
use super::value::{self, Args, ConfError, Msec};

settings! {
    /// Streams and their players.
    pub struct LiveConf, LiveScope {
        /// Whether clients can publish and play at all.
        pub live: bool,
        /// How much of a stream is kept for players to come, in whole groups of pictures;
        /// 0: nothing.
        pub cache_time: Msec,
        /// The most that is kept of a stream, in bytes.
        pub cache_size: usize,
        /// Whether a player that lags jumps to each new key frame.
        pub low_latency: bool,
        /// Whether a joining player gets all that is kept, not only `cache_time` of it.
        pub send_all: bool,
        /// How long messages are gathered for one write.
        pub merge_window: MergeWindow,
        /// Whether a stream without a source can be waited for.
        pub idle_streams: bool,
        /// How long a player waits for a source; 0: for ever.
        pub idle_timeout: Msec,
        /// How long a publisher may be silent.
        pub drop_idle_publisher: Option<Msec>,
        /// Whether a player's first video message is a key frame.
        pub wait_key: bool,
        /// Whether a player gets no audio before its first video.
        pub wait_video: bool,
        /// Whether players are told when the publisher comes and goes.
        pub publish_notify: bool,
        /// Whether NetStream.Play.Start and Stop tell when the publisher comes and goes, instead
        /// of when the play was accepted.
        pub play_restart: bool,
        /// A time to gather messages for one write, as the older modules name it; 0: `merge_window`.
        pub buffer: Msec,
        /// What players get as metadata.
        pub meta: Meta,
        /// How far a player may fall behind.
        pub out_queue: OutQueue,
        /// The most that one player holds beyond what all share, in bytes.
        pub player_memory: usize,
    }
}

/// How long messages are gathered for one write to each player.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MergeWindow {
    /// What one turn of the event loop brought; longer when the worker is busy.
    #[default]
    Auto,
    /// So many milliseconds.
    Fixed(Msec),
}

/// How far a player may fall behind before it is moved to a key frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutQueue {
    /// In milliseconds of the stream.
    pub time: Option<Msec>,
    /// In bytes of the stream, in what they cost.
    pub size: Option<usize>,
    /// So many moves are allowed before the player is closed.
    pub drops: Option<u32>,
}

/// Players commonly buffer a second: gathering for longer would starve them.
const MERGE_WINDOW_MAX: Msec = 1000;
/// From a key frame of a small picture to what a 32-bit process could still map.
const CACHE_SIZES: std::ops::RangeInclusive<usize> = 64 << 10..=2 << 30;
/// A queue must hold at least one message of a common size.
const QUEUE_SIZES: std::ops::RangeInclusive<usize> = 64 << 10..=2 << 30;
/// From the answers that a session may leave unread to the longest messages of some players.
const PLAYER_SIZES: std::ops::RangeInclusive<usize> = 128 << 10..=2 << 30;
/// More moves than this are no limit.
const DROPS: std::ops::RangeInclusive<u32> = 0..=1_000_000;

/// The directives.
pub const DIRECTIVES: &[Directive] = &[
    flag(c"live", MSA, "off", |s| &mut s.of::<LiveScope>().live),
    time(c"cache_time", MSA, "0", |s| &mut s.of::<LiveScope>().cache_time),
    size(c"cache_size", MSA, "16m", |s| &mut s.of::<LiveScope>().cache_size, CACHE_SIZES),
    flag(c"low_latency", MSA, "off", |s| &mut s.of::<LiveScope>().low_latency),
    flag(c"send_all", MSA, "off", |s| &mut s.of::<LiveScope>().send_all),
    setting(c"merge_window", MSA, Some("auto"), ONE, merge_window),
    flag(c"idle_streams", MSA, "on", |s| &mut s.of::<LiveScope>().idle_streams),
    time(c"idle_timeout", MSA, "0", |s| &mut s.of::<LiveScope>().idle_timeout),
    setting(c"drop_idle_publisher", MSA, Some("off"), ONE, drop_idle_publisher),
    flag(c"wait_key", MSA, "on", |s| &mut s.of::<LiveScope>().wait_key),
    flag(c"wait_video", MSA, "off", |s| &mut s.of::<LiveScope>().wait_video),
    flag(c"publish_notify", MSA, "off", |s| &mut s.of::<LiveScope>().publish_notify),
    flag(c"play_restart", MSA, "off", |s| &mut s.of::<LiveScope>().play_restart),
    // absolute timestamps leave no drift to correct, and audio and video need not share a clock
    accepted(c"sync", MSA, "300ms", |word| value::time_or_off(word).map(drop)),
    accepted(c"interleave", MSA, "off", |word| value::flag(word).map(drop)),
    setting(c"buffer", MSA, Some("0"), ONE, buffer),
    setting(c"meta", MSA, Some("copy"), ONE, meta),
    any(c"out_queue", MSA, Some("10s size=8m"), SOME, out_queue),
    size(c"player_memory", MSA, "2m", |s| &mut s.of::<LiveScope>().player_memory, PLAYER_SIZES),
];

fn merge_window(scope: &mut Scope, args: &Args<'_>) -> Result<(), ConfError> {
    let window = match args.first() {
        b"auto" => MergeWindow::Auto,
        word => match value::time_up_to(word, MERGE_WINDOW_MAX) {
            Ok(time) => MergeWindow::Fixed(time),
            Err(ConfError::Invalid { value, must_be }) => {
                let must_be = format!("\"auto\" or {must_be}");
                return Err(ConfError::Invalid { value, must_be });
            }
            Err(err) => return Err(err),
        },
    };
    value::once(&mut scope.of::<LiveScope>().merge_window, window)
}

fn buffer(scope: &mut Scope, args: &Args<'_>) -> Result<(), ConfError> {
    let time = value::time(args.first())?;
    value::once(&mut scope.of::<LiveScope>().buffer, time.min(MERGE_WINDOW_MAX))
}

fn drop_idle_publisher(scope: &mut Scope, args: &Args<'_>) -> Result<(), ConfError> {
    value::once(&mut scope.of::<LiveScope>().drop_idle_publisher, value::time_or_off(args.first())?)
}

fn meta(scope: &mut Scope, args: &Args<'_>) -> Result<(), ConfError> {
    let names = [("on", Meta::On), ("off", Meta::Off), ("copy", Meta::Copy)];
    value::once(&mut scope.of::<LiveScope>().meta, value::choice(args.first(), &names)?)
}

/// `out_queue [time] [size=size] [drop=number]`
fn out_queue(parse: &mut Parse, args: &Args<'_>) -> Result<(), ConfError> {
    let mut queue = OutQueue::default();
    for &word in args.values() {
        if let Some(size) = word.strip_prefix(b"size=") {
            value::once(&mut queue.size, value::size(size, &QUEUE_SIZES)?)?;
        } else if let Some(drops) = word.strip_prefix(b"drop=") {
            value::once(&mut queue.drops, value::number(drops, &DROPS)?)?;
        } else {
            let time = value::time(word).map_err(|_| {
                ConfError::invalid(word, "a time, \"size=size\" or \"drop=number\"")
            })?;
            value::once(&mut queue.time, time)?;
            warn_of_messages(parse, word);
        }
    }
    if queue.time.is_none() && queue.size.is_none() {
        return Err(ConfError::other("\"out_queue\" needs a time or \"size=\" beside \"drop=\""));
    }
    value::once(&mut parse.scope().of::<LiveScope>().out_queue, queue)
}

/// In the older modules the directive counts messages, so that a bare number is most likely meant
/// as that.
fn warn_of_messages(parse: &Parse, word: &[u8]) {
    if word.iter().all(u8::is_ascii_digit) {
        let word = value::text(word);
        parse.cf.warn(&format!(
            "\"out_queue {word}\" is a time of {word} seconds, not a number of messages"
        ));
    }
}
