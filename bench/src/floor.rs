//! The floor: writes the same stamped bytes to each socket, with no server in the way. What it costs is the kernel's.

use crate::media::Media;
use crate::net::{self, Io, Poll, MILLISECOND};
use anyhow::{Context, Result};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

/// A reader further behind than this loses what lies between.
const MAX_LOG: usize = 64 << 20;
/// Token of the listening socket; readers' are their places in the list.
const LISTENER: u64 = u64::MAX;
pub const MAX_READERS: usize = 10_000;

/// A stream without a publisher: messages come due by the clock.
#[derive(Debug, Default)]
struct Channel {
    start: u64,
    next: u64,
    /// Since the last flush; empty if no window is open.
    pending: Vec<u8>,
    log: VecDeque<Vec<u8>>,
    log_bytes: usize,
    /// Number of the first block in the log.
    first: u64,
    readers: Vec<usize>,
}

#[derive(Debug)]
struct Reader {
    socket: OwnedFd,
    /// Known when its first four bytes have come.
    channel: Option<usize>,
    /// Where it is: number of the block, and offset in it.
    block: u64,
    offset: usize,
    blocked: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Message,
    Flush,
}

pub struct Floor {
    media: Media,
    /// From the first pending message to the write, in ns.
    window: u64,
    listener: OwnedFd,
    poll: Poll,
    channels: Vec<Channel>,
    readers: Vec<Option<Reader>>,
    due: BinaryHeap<Reverse<(u64, usize, Due)>>,
}

impl Floor {
    pub fn new(media: Media, streams: u32, address: &SocketAddr, window: u64) -> Result<Self> {
        let listener =
            net::listen(address).with_context(|| format!("cannot listen on {address}"))?;
        let poll = Poll::new()?;
        poll.add(&listener, LISTENER, false)?;
        let begin = net::now();
        let mut due = BinaryHeap::new();
        let mut channels = Vec::new();
        for channel in 0..streams as usize {
            let start = begin + media.phase(channel as u32);
            due.push(Reverse((start, channel, Due::Message)));
            channels.push(Channel { start, ..Channel::default() });
        }
        Ok(Self { media, window, listener, poll, channels, readers: Vec::new(), due })
    }

    /// Serves for so long.
    pub fn serve_for(&mut self, ns: u64) {
        let end = net::now() + ns;
        let mut events = Vec::new();
        while net::now() < end {
            while let Some(&Reverse((time, channel, what))) = self.due.peek() {
                if time > net::now() {
                    break;
                }
                self.due.pop();
                match what {
                    Due::Message => self.append_due(channel),
                    Due::Flush => self.flush(channel),
                }
            }
            let next = self.due.peek().map_or(end, |next| next.0 .0);
            self.poll.wait(end.min(next), &mut events);
            for event in &events {
                if event.token == LISTENER {
                    self.accept();
                    continue;
                }
                let index = event.token as usize;
                if event.readable {
                    self.read(index);
                }
                if event.writable {
                    self.unblock(index);
                }
            }
        }
    }

    /// Adds what is due, and opens the window if there is none.
    fn append_due(&mut self, index: usize) {
        let Some(channel) = self.channels.get_mut(index) else { return };
        let now = net::now();
        let opens = channel.pending.is_empty();
        let next = loop {
            let time = channel.start + self.media.time_ms(channel.next) * MILLISECOND;
            if time > now {
                break time;
            }
            let pending = &mut channel.pending;
            self.media.put_frame(pending, 1, index as u32, channel.next, now);
            channel.next += 1;
        };
        self.due.push(Reverse((next, index, Due::Message)));
        if self.window == 0 {
            self.flush(index);
        } else if opens && !channel.pending.is_empty() {
            // what begins after its clock opens none at first
            self.due.push(Reverse((now + self.window, index, Due::Flush)));
        }
    }

    fn flush(&mut self, index: usize) {
        let Some(channel) = self.channels.get_mut(index) else { return };
        let block = std::mem::take(&mut channel.pending);
        channel.log_bytes += block.len();
        channel.log.push_back(block);
        while channel.log_bytes > MAX_LOG {
            let Some(block) = channel.log.pop_front() else { break };
            channel.log_bytes -= block.len();
            channel.first += 1;
        }
        for reader in &channel.readers {
            if let Some(Some(state)) = self.readers.get_mut(*reader) {
                state.write(channel, &self.poll, *reader as u64);
            }
        }
    }

    fn accept(&mut self) {
        while let Some(socket) = net::accept(&self.listener) {
            let token = self.readers.len();
            if token == MAX_READERS || self.poll.add(&socket, token as u64, false).is_err() {
                continue;
            }
            let reader = Reader { socket, channel: None, block: 0, offset: 0, blocked: false };
            self.readers.push(Some(reader));
        }
    }

    /// The first four bytes are the number of the channel; then there is only the end.
    fn read(&mut self, index: usize) {
        let Some(Some(reader)) = self.readers.get_mut(index) else { return };
        let mut bytes = [0; 4];
        match net::receive(&reader.socket, &mut bytes) {
            Io::Some(4) if reader.channel.is_none() => {
                let number = u32::from_be_bytes(bytes) as usize;
                if let Some(channel) = self.channels.get_mut(number) {
                    reader.channel = Some(number);
                    reader.block = channel.first + channel.log.len() as u64;
                    channel.readers.push(index);
                }
            }
            Io::Blocked => {}
            _ => {
                if let Some(channel) = reader.channel.and_then(|i| self.channels.get_mut(i)) {
                    channel.readers.retain(|other| *other != index);
                }
                self.readers[index] = None;
            }
        }
    }

    fn unblock(&mut self, index: usize) {
        let Some(Some(reader)) = self.readers.get_mut(index) else { return };
        if !std::mem::take(&mut reader.blocked) {
            return;
        }
        // a socket whose interest cannot be changed is seen dead by the write
        let _ = self.poll.watch(&reader.socket, index as u64, false);
        if let Some(channel) = reader.channel.and_then(|i| self.channels.get(i)) {
            reader.write(channel, &self.poll, index as u64);
        }
    }
}

impl Reader {
    /// Writes what it has not had yet, until the socket takes no more.
    fn write(&mut self, channel: &Channel, poll: &Poll, token: u64) {
        if self.blocked {
            return;
        }
        if self.block < channel.first {
            (self.block, self.offset) = (channel.first, 0);
        }
        while let Some(block) = channel.log.get((self.block - channel.first) as usize) {
            match net::send(&self.socket, block.get(self.offset..).unwrap_or_default()) {
                Io::Some(n) => self.offset += n,
                Io::Blocked => {
                    self.blocked = true;
                    let _ = poll.watch(&self.socket, token, true);
                    return;
                }
                // read() sees the end
                Io::Closed(_) => return,
            }
            if self.offset == block.len() {
                (self.block, self.offset) = (self.block + 1, 0);
            }
        }
    }
}
