//! A publisher and a player of one stream, which must go on whatever happens beside them.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::bail;
use fastrand::Rng;
use rtmp_protocol::amf0::Value;
use rtmp_protocol::chunk::{ChunkReader, Limits};
use rtmp_protocol::command::Command;
use rtmp_protocol::message;

use crate::rtmp;

/// Between two frames.
const FRAME: Duration = Duration::from_millis(40);
/// After a reload or a killed worker, both may have to come again.
const DISTURBED: Duration = Duration::from_secs(8);
/// A read takes no longer, so that the end is seen.
const TICK: Duration = Duration::from_millis(200);

#[derive(Debug)]
struct Seen {
    last: Instant,
    frames: u64,
    /// The longest time between two frames while nothing else was disturbed.
    gap: Duration,
    disturbed: Instant,
    /// How often each of the two had to come again while nothing was disturbed.
    lost: u64,
}

/// See the module.
pub struct Witness {
    seen: Arc<Mutex<Seen>>,
}

impl Witness {
    pub fn start(port: u16, stop: Arc<AtomicBool>) -> Self {
        let now = Instant::now();
        let seen = Seen { last: now, frames: 0, gap: Duration::ZERO, disturbed: now, lost: 0 };
        let seen = Arc::new(Mutex::new(seen));
        for publishes in [true, false] {
            let (seen, stop) = (Arc::clone(&seen), Arc::clone(&stop));
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let ended =
                        if publishes { publish(port, &stop) } else { play(port, &stop, &seen) };
                    let seen = &mut *lock(&seen);
                    if ended.is_err() && seen.disturbed.elapsed() > DISTURBED {
                        seen.lost += 1;
                    }
                    thread::sleep(FRAME);
                }
            });
        }
        Self { seen }
    }

    pub fn wait_for_picture(&self, limit: Duration) -> anyhow::Result<()> {
        let began = Instant::now();
        while lock(&self.seen).frames < 25 {
            if began.elapsed() > limit {
                bail!("does not play");
            }
            thread::sleep(TICK);
        }
        let seen = &mut *lock(&self.seen);
        seen.gap = Duration::ZERO;
        Ok(())
    }

    pub fn expect_disturbance(&self) {
        lock(&self.seen).disturbed = Instant::now();
    }

    /// The longest gap, undisturbed; a gap that has not ended counts.
    pub fn gap(&self) -> Duration {
        let seen = lock(&self.seen);
        let open =
            if seen.disturbed.elapsed() > DISTURBED { seen.last.elapsed() } else { Duration::ZERO };
        seen.gap.max(open)
    }

    pub fn lost(&self) -> u64 {
        lock(&self.seen).lost
    }

    pub fn frames(&self) -> u64 {
        lock(&self.seen).frames
    }

    pub fn state(&self) -> String {
        format!("{} frames, gap {} ms, lost {}", self.frames(), self.gap().as_millis(), self.lost())
    }
}

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open(port: u16, name: &str) -> io::Result<TcpStream> {
    let mut socket = TcpStream::connect(("127.0.0.1", port))?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(TICK))?;
    socket.set_write_timeout(Some(Duration::from_secs(5)))?;
    let mut random = Rng::with_seed(1);
    let calls = |name: &str, more: &[Value], id| {
        let values = [&[name.into(), 2.0.into(), Value::Null][..], more].concat();
        rtmp::command(&values, id)
    };
    socket.write_all(&rtmp::handshake())?;
    socket.write_all(&rtmp::connect(b"watched", &mut random))?;
    socket.write_all(&calls("createStream", &[], 0))?;
    socket.write_all(&calls(name, &["s".into()], 1))?;
    Ok(socket)
}

fn publish(port: u16, stop: &AtomicBool) -> io::Result<()> {
    let mut socket = open(port, "publish")?;
    let mut reader = Reader::new();
    // media before the answer would be lost
    while !reader.messages(&mut socket, |kind, payload| {
        kind == message::COMMAND && payload.windows(13).any(|part| part == b"Publish.Start")
    })? {}
    let mut number = 0u32;
    let mut next = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let payload = rtmp::frame(number.is_multiple_of(25), 1000);
        socket.write_all(&rtmp::media(message::VIDEO, number * 40, &payload, 1))?;
        number += 1;
        next += FRAME;
        // pings are answered in between
        let left = next.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        socket.set_read_timeout(Some(left))?;
        reader.messages(&mut socket, |_, _| false)?;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(())
}

fn play(port: u16, stop: &AtomicBool, seen: &Mutex<Seen>) -> io::Result<()> {
    let mut socket = open(port, "play")?;
    let mut reader = Reader::new();
    while !stop.load(Ordering::Relaxed) {
        reader.messages(&mut socket, |kind, _| {
            if kind == message::VIDEO {
                let seen = &mut *lock(seen);
                if seen.disturbed.elapsed() > DISTURBED {
                    seen.gap = seen.gap.max(seen.last.elapsed());
                }
                seen.last = Instant::now();
                seen.frames += 1;
            }
            false
        })?;
        if lock(seen).last.elapsed() > Duration::from_secs(20) {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
    Ok(())
}

/// Messages of a server, behind its handshake.
struct Reader {
    hello: usize,
    chunks: ChunkReader,
    unread: Vec<u8>,
}

impl Reader {
    fn new() -> Self {
        Self {
            hello: 1 + 2 * 1536,
            chunks: ChunkReader::new(Limits::default()),
            unread: Vec::new(),
        }
    }

    /// Reads once, and asks `found` of each message; true if it was so of one.
    fn messages(
        &mut self,
        socket: &mut TcpStream,
        mut found: impl FnMut(u8, &[u8]) -> bool,
    ) -> io::Result<bool> {
        let mut part = [0; 65536];
        let n = match socket.read(&mut part) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => n,
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => 0,
            Err(e) => return Err(e),
        };
        let skipped = self.hello.min(n);
        self.hello -= skipped;
        self.unread.extend_from_slice(&part[skipped..n]);
        let (mut input, mut pings, mut any) = (self.unread.as_slice(), Vec::new(), false);
        while let Some(message) = self.chunks.read(&mut input).map_err(io::Error::other)? {
            any |= found(message.kind, message.payload);
            match message::UserControl::parse(message.payload) {
                Some(control)
                    if message.kind == message::USER_CONTROL
                        && control.event == message::PING_REQUEST =>
                {
                    message::user_control(&mut pings, message::PING_RESPONSE, control.a, None);
                }
                _ => (),
            }
            let refused = |command: Command| {
                command
                    .status_code()
                    .is_some_and(|code| code.ends_with(b"BadName") || code.ends_with(b"NotFound"))
            };
            if message.kind == message::COMMAND
                && Command::parse(message.payload, false).is_ok_and(refused)
            {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
        }
        self.unread = input.to_vec();
        socket.write_all(&pings)?;
        Ok(any)
    }
}
