//! Receiving at little cost: parsers for RTMP chunks and HTTP-FLV that keep of each media message its first bytes only.
//!
//! They are written apart from the server's own parser on purpose: one mistake made in both would go unseen.

use crate::flv;
use crate::stamp::{self, Stamp};

/// Commands and data are kept up to here; the rest of a longer one is passed over.
const MAX_KEPT: usize = 64 << 10;
/// Servers use fewer than ten chunk streams.
const MAX_CHUNK_STREAMS: usize = 64;
/// Response headers, and the line before an HTTP chunk.
const MAX_HTTP_HEADER: usize = 16 << 10;
const MAX_HTTP_LINE: usize = 256;

const SET_CHUNK_SIZE: u8 = 1;

/// A message that has arrived in full.
#[derive(Debug)]
pub struct Message<'a> {
    pub kind: u8,
    pub timestamp: u32,
    /// Media: the first `stamp::HEAD` bytes. Others: all, up to 64 KiB.
    pub head: &'a [u8],
    pub stamp: Option<Stamp>,
    /// CRC as it should be in the stamp, if this was asked for.
    pub crc: Option<u32>,
}

pub type Result<T> = std::result::Result<T, &'static str>;

/// The message being received.
#[derive(Debug, Default)]
struct Partial {
    kind: u8,
    timestamp: u32,
    len: usize,
    got: usize,
    head: Vec<u8>,
    /// Where the stamp is; looked for when verifying.
    at: Option<usize>,
    check: Option<stamp::Check>,
}

impl Partial {
    fn is_media(&self) -> bool {
        matches!(self.kind, flv::AUDIO | flv::VIDEO)
    }

    fn begin(&mut self, kind: u8, timestamp: u32, len: usize) {
        self.kind = kind;
        self.timestamp = timestamp;
        self.len = len;
        self.got = 0;
        self.head.clear();
        self.at = None;
        self.check = None;
    }

    fn missing(&self) -> usize {
        self.len - self.got
    }

    /// Takes at most `missing()` bytes.
    fn push(&mut self, bytes: &[u8], verify: bool) {
        self.got += bytes.len();
        let keep = if self.is_media() { stamp::HEAD } else { MAX_KEPT }.min(self.len);
        let mut rest = bytes;
        if self.head.len() < keep {
            let (head, after) = bytes.split_at(bytes.len().min(keep - self.head.len()));
            self.head.extend_from_slice(head);
            rest = after;
            if verify && self.head.len() == keep {
                self.at = stamp::find(self.kind, &self.head);
                self.check = self.at.map(|at| stamp::Check::new(&self.head, at));
            }
        }
        if let Some(check) = &mut self.check {
            check.update(rest);
        }
    }

    fn finish(&mut self, on: &mut impl FnMut(Message)) {
        let at = match self.at {
            None if flv::is_coded(self.kind, &self.head) => stamp::find(self.kind, &self.head),
            at => at,
        };
        on(Message {
            kind: self.kind,
            timestamp: self.timestamp,
            head: &self.head,
            stamp: at.and_then(|at| stamp::read(&self.head, at)),
            crc: self.check.take().map(|check| check.finish(&self.head)),
        });
        self.got = 0;
        self.head.clear();
    }
}

#[derive(Debug, Default)]
struct ChunkStream {
    id: u32,
    delta: u32,
    extended: bool,
    partial: Partial,
}

/// An RTMP chunk stream, receiving side (specification 5.3).
#[derive(Debug)]
pub struct Chunks {
    verify: bool,
    chunk_size: usize,
    streams: Vec<ChunkStream>,
    current: usize,
    /// What the current chunk still lacks.
    left: usize,
    /// A chunk header cut short by the end of a read.
    cut: Vec<u8>,
}

impl Chunks {
    pub fn new(chunk_size: usize, verify: bool) -> Self {
        Self { verify, chunk_size, streams: Vec::new(), current: 0, left: 0, cut: Vec::new() }
    }

    pub fn feed(&mut self, mut bytes: &[u8], on: &mut impl FnMut(Message)) -> Result<()> {
        while !bytes.is_empty() {
            if self.left == 0 && !self.header(&mut bytes)? {
                return Ok(());
            }
            let Some(stream) = self.streams.get_mut(self.current) else { return Ok(()) };
            let partial = &mut stream.partial;
            let (now, rest) = bytes.split_at(bytes.len().min(self.left));
            partial.push(now, self.verify);
            self.left -= now.len();
            bytes = rest;
            if partial.missing() == 0 {
                if let (SET_CHUNK_SIZE, Some(size)) = (partial.kind, partial.head.first_chunk()) {
                    self.chunk_size = (u32::from_be_bytes(*size) & 0x7fff_ffff).max(1) as usize;
                }
                partial.finish(on);
            }
        }
        Ok(())
    }

    /// Reads the header of the next chunk; false if more bytes are needed.
    fn header(&mut self, bytes: &mut &[u8]) -> Result<bool> {
        if self.cut.is_empty() {
            return Ok(match self.parse_header(bytes)? {
                Some(len) => {
                    *bytes = bytes.get(len..).unwrap_or_default();
                    true
                }
                None => {
                    self.cut.extend_from_slice(bytes);
                    *bytes = &[];
                    false
                }
            });
        }
        let mut cut = std::mem::take(&mut self.cut);
        while let Some((byte, rest)) = bytes.split_first() {
            cut.push(*byte);
            *bytes = rest;
            if self.parse_header(&cut)?.is_some() {
                return Ok(true);
            }
        }
        self.cut = cut;
        Ok(false)
    }

    /// The length of the header at the start of `bytes`, or `None` if it is cut short.
    fn parse_header(&mut self, bytes: &[u8]) -> Result<Option<usize>> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        let (id, basic) = match (first & 0x3f, bytes.get(1), bytes.get(2)) {
            (0, Some(low), _) => (64 + u32::from(*low), 2),
            (1, Some(low), Some(high)) => (64 + u32::from(*low) + (u32::from(*high) << 8), 3),
            (0 | 1, ..) => return Ok(None),
            (id, ..) => (u32::from(id), 1),
        };
        let format = first >> 6;
        let fields = [11, 7, 3, 0][usize::from(format)];
        let Some(header) = bytes.get(basic..basic + fields) else { return Ok(None) };
        let known = self.streams.iter().position(|stream| stream.id == id);
        let time = header.first_chunk::<3>().map(|[a, b, c]| u32::from_be_bytes([0, *a, *b, *c]));
        let extended = match (time, known.and_then(|i| self.streams.get(i))) {
            (Some(time), _) => time == 0xff_ffff,
            (None, Some(stream)) => stream.extended,
            (None, None) => return Err("a chunk stream begins with type 3"),
        };
        let end = basic + fields + if extended { 4 } else { 0 };
        let Some(all) = bytes.get(..end) else { return Ok(None) };
        let time = match all.last_chunk::<4>() {
            Some(time) if extended => Some(u32::from_be_bytes(*time)),
            _ => time,
        };

        let index = match known {
            Some(index) => index,
            None if format > 1 => return Err("a chunk stream begins with type 2"),
            None if self.streams.len() == MAX_CHUNK_STREAMS => {
                return Err("too many chunk streams")
            }
            None => {
                self.streams.push(ChunkStream { id, ..Default::default() });
                self.streams.len() - 1
            }
        };
        let Some(stream) = self.streams.get_mut(index) else { return Ok(None) };
        stream.extended = extended;
        let partial = &mut stream.partial;
        if partial.got == 0 {
            let (kind, len) = match header.get(3..7) {
                Some(&[a, b, c, kind]) => (kind, u32::from_be_bytes([0, a, b, c]) as usize),
                _ => (partial.kind, partial.len),
            };
            if kind == 0 {
                return Err("message of type 0");
            }
            let timestamp = match (format, time) {
                (0, Some(time)) => {
                    stream.delta = 0;
                    time
                }
                (3, _) | (_, None) => partial.timestamp.wrapping_add(stream.delta),
                (_, Some(delta)) => {
                    stream.delta = delta;
                    partial.timestamp.wrapping_add(delta)
                }
            };
            partial.begin(kind, timestamp, len);
        } else if format != 3 {
            return Err("a new header inside a message");
        }
        self.current = index;
        self.left = partial.missing().min(self.chunk_size);
        Ok(Some(end))
    }
}

/// A response of HTTP/1.x that carries FLV, chunked or not.
#[derive(Debug)]
pub struct HttpFlv {
    verify: bool,
    body: Body,
    /// A header cut short by the end of a read: of HTTP, of an HTTP chunk, of the file, of a tag.
    cut: Vec<u8>,
    tag: TagState,
    flv_cut: Vec<u8>,
    partial: Partial,
}

#[derive(Debug, PartialEq)]
enum Body {
    Header,
    Plain,
    Chunked { left: usize },
}

#[derive(Debug, PartialEq)]
enum TagState {
    File,
    Header,
    Payload,
}

const FILE_HEADER: usize = 9;
/// The size of the tag before, then the tag's header.
const TAG_HEADER: usize = 4 + 11;

impl HttpFlv {
    pub fn new(verify: bool) -> Self {
        Self {
            verify,
            body: Body::Header,
            cut: Vec::new(),
            tag: TagState::File,
            flv_cut: Vec::new(),
            partial: Partial::default(),
        }
    }

    pub fn feed(&mut self, mut bytes: &[u8], on: &mut impl FnMut(Message)) -> Result<()> {
        while !bytes.is_empty() {
            match self.body {
                Body::Header => bytes = self.http_header(bytes)?,
                Body::Plain => return self.flv(bytes, on),
                Body::Chunked { left: 0 } => bytes = self.http_line(bytes)?,
                Body::Chunked { left } => {
                    let (now, rest) = bytes.split_at(bytes.len().min(left));
                    self.flv(now, on)?;
                    self.body = Body::Chunked { left: left - now.len() };
                    bytes = rest;
                }
            }
        }
        Ok(())
    }

    fn http_header<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8]> {
        let before = self.cut.len();
        self.cut.extend_from_slice(bytes);
        let Some(end) = self.cut.windows(4).position(|four| four == b"\r\n\r\n") else {
            return if self.cut.len() > MAX_HTTP_HEADER {
                Err("HTTP header too long")
            } else {
                Ok(&[])
            };
        };
        let header = String::from_utf8_lossy(&self.cut[..end]).to_ascii_lowercase();
        match header.split_ascii_whitespace().nth(1) {
            Some("200") => {}
            Some("403") => return Err("HTTP 403"),
            Some("404") => return Err("HTTP 404"),
            _ => return Err("HTTP status is not 200"),
        }
        let chunked = header.lines().any(|line| {
            line.split_once(':').is_some_and(|(name, value)| {
                name == "transfer-encoding" && value.trim() == "chunked"
            })
        });
        self.body = if chunked { Body::Chunked { left: 0 } } else { Body::Plain };
        self.cut.clear();
        Ok(bytes.get(end + 4 - before..).unwrap_or_default())
    }

    /// The line before an HTTP chunk, or the empty one after it.
    fn http_line<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8]> {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
            self.cut.extend_from_slice(bytes);
            return if self.cut.len() > MAX_HTTP_LINE { Err("bad HTTP chunk") } else { Ok(&[]) };
        };
        let (line, rest) = bytes.split_at(end + 1);
        self.cut.extend_from_slice(line);
        let line = std::str::from_utf8(&self.cut).map_err(|_| "bad HTTP chunk")?.trim();
        if !line.is_empty() {
            let size = line.split(';').next().unwrap_or(line);
            let left = usize::from_str_radix(size, 16).map_err(|_| "bad HTTP chunk")?;
            if left == 0 {
                return Err("the response ended");
            }
            self.body = Body::Chunked { left };
        }
        self.cut.clear();
        Ok(rest)
    }

    fn flv(&mut self, mut bytes: &[u8], on: &mut impl FnMut(Message)) -> Result<()> {
        while !bytes.is_empty() {
            if self.tag == TagState::Payload {
                let (now, rest) = bytes.split_at(bytes.len().min(self.partial.missing()));
                self.partial.push(now, self.verify);
                bytes = rest;
                if self.partial.missing() == 0 {
                    self.partial.finish(on);
                    self.tag = TagState::Header;
                }
                continue;
            }
            let size = if self.tag == TagState::File { FILE_HEADER } else { TAG_HEADER };
            let (now, rest) = bytes.split_at(bytes.len().min(size - self.flv_cut.len()));
            self.flv_cut.extend_from_slice(now);
            bytes = rest;
            if self.flv_cut.len() < size {
                return Ok(());
            }
            self.tag = match self.flv_cut[..] {
                [b'F', b'L', b'V', ..] if self.tag == TagState::File => TagState::Header,
                [_, _, _, _, kind, l2, l1, l0, t2, t1, t0, t3, ..]
                    if matches!(kind, flv::AUDIO | flv::VIDEO | flv::DATA) =>
                {
                    let len = u32::from_be_bytes([0, l2, l1, l0]) as usize;
                    self.partial.begin(kind, u32::from_be_bytes([t3, t2, t1, t0]), len);
                    if len == 0 {
                        TagState::Header
                    } else {
                        TagState::Payload
                    }
                }
                _ => return Err("not FLV"),
            };
            self.flv_cut.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtmp_protocol::chunk::{self, Header};

    const COUNT: u64 = 40;

    fn message(kind: u8, sequence: u64, len: usize) -> Vec<u8> {
        let body = (0..len).map(|i| i as u8);
        let coded: Vec<u8> = match kind {
            flv::VIDEO => {
                let slice: Vec<u8> = [0x65].into_iter().chain(body).collect();
                let size = (slice.len() as u32).to_be_bytes();
                [&[0x17, 1, 0, 0, 0][..], &size, &slice].concat()
            }
            _ => [0xaf, 1].into_iter().chain(body).collect(),
        };
        let (mut payload, stamper) = stamp::embed(kind, &coded).unwrap();
        let stamp = stamper.stamp(3, sequence, 1000 + sequence);
        payload[stamper.at()..stamper.at() + stamp.len()].copy_from_slice(&stamp);
        payload
    }

    fn messages() -> impl Iterator<Item = (u8, u32, Vec<u8>)> {
        (0..COUNT).map(|n| {
            let kind = if n % 3 == 0 { flv::VIDEO } else { flv::AUDIO };
            (kind, n as u32 * 20, message(kind, n, 3 + n as usize * 613))
        })
    }

    /// Holds a message against what `messages` made, and counts it.
    fn expect(message: &Message, seen: &mut u64) {
        let stamp = message.stamp.unwrap();
        assert_eq!((stamp.stream, stamp.sequence, stamp.time), (3, *seen, 1000 + *seen));
        assert_eq!(message.crc, Some(stamp.crc));
        assert_eq!(u64::from(message.timestamp), *seen * 20);
        *seen += 1;
    }

    #[test]
    fn chunks_in_pieces_of_any_size() {
        let mut wire = Vec::new();
        rtmp_protocol::message::set_chunk_size(&mut wire, 700);
        for (kind, timestamp, payload) in messages() {
            // both lengths of the basic header
            let csid = if kind == flv::VIDEO { 7 } else { 400 };
            let header = Header { csid, timestamp, kind, stream_id: 1 };
            chunk::write(&mut wire, &header, &payload, 700);
        }
        for piece in [1, 2, 3, 7, 100, 4095, 1 << 20] {
            let (mut chunks, mut seen) = (Chunks::new(128, true), 0);
            for bytes in wire.chunks(piece) {
                let media = |message: Message| {
                    if message.kind != SET_CHUNK_SIZE {
                        expect(&message, &mut seen);
                    }
                };
                chunks.feed(bytes, &mut { media }).unwrap();
            }
            assert_eq!(seen, COUNT);
        }
    }

    #[test]
    fn headers_with_deltas_and_extended_timestamps() {
        // type 0 at 0x1000000 (extended), type 1 +5, type 2 +7, type 3 (+7 again); data of one byte
        let mut wire = vec![3, 255, 255, 255, 0, 0, 1, 18, 1, 0, 0, 0, 1, 0, 0, 0, 9];
        wire.extend([0x43, 0, 0, 5, 0, 0, 1, 18, 9]);
        wire.extend([0x83, 0, 0, 7, 9, 0xc3, 9]);
        let mut times = Vec::new();
        let mut chunks = Chunks::new(128, false);
        chunks.feed(&wire, &mut |message| times.push(message.timestamp)).unwrap();
        assert_eq!(times, [0x100_0000, 0x100_0005, 0x100_000c, 0x100_0013]);
    }

    #[test]
    fn chunk_streams_that_cannot_be() {
        for wire in [&[0xc3, 1, 2][..], &[0x83, 0, 0, 1], &[3, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 1]]
        {
            assert!(Chunks::new(128, false).feed(wire, &mut |_| {}).is_err());
        }
        // a second type-0 header before the message is whole
        let half = [3, 0, 0, 0, 0, 1, 0, 18, 0, 0, 0, 0];
        let wire = [&half[..], &[0; 128], &half].concat();
        assert!(Chunks::new(128, false).feed(&wire, &mut |_| {}).is_err());
    }

    fn http_response(chunked: bool) -> Vec<u8> {
        let mut file = rtmp_protocol::flv::header(true, true).to_vec();
        for (kind, timestamp, payload) in messages() {
            rtmp_protocol::flv::encode(kind, timestamp, &payload, |piece| file.extend(piece));
        }
        let mut wire = b"HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\n".to_vec();
        if !chunked {
            wire.extend(b"\r\n");
            wire.extend(file);
            return wire;
        }
        wire.extend(b"Transfer-Encoding: chunked\r\n\r\n");
        for part in file.chunks(777) {
            wire.extend(format!("{:x}\r\n", part.len()).bytes());
            wire.extend(part);
            wire.extend(b"\r\n");
        }
        wire
    }

    #[test]
    fn http_flv_chunked_or_not_in_pieces_of_any_size() {
        for chunked in [false, true] {
            let wire = http_response(chunked);
            for piece in [1, 5, 1000, 1 << 20] {
                let (mut http, mut seen) = (HttpFlv::new(true), 0);
                for bytes in wire.chunks(piece) {
                    http.feed(bytes, &mut |message| expect(&message, &mut seen)).unwrap();
                }
                assert_eq!(seen, COUNT);
            }
        }
    }

    #[test]
    fn http_answers_that_carry_no_flv() {
        for (wire, reason) in [
            (&b"HTTP/1.1 404 Not Found\r\n\r\n"[..], "HTTP 404"),
            (b"HTTP/1.1 302 Found\r\n\r\n", "HTTP status is not 200"),
            (b"HTTP/1.1 200 OK\r\n\r\n<html>...</html>", "not FLV"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "bad HTTP chunk"),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                "the response ended",
            ),
            (&[b'x'; MAX_HTTP_HEADER + 1], "HTTP header too long"),
        ] {
            assert_eq!(HttpFlv::new(false).feed(wire, &mut |_| {}), Err(reason));
        }
    }
}
