//! HTTP-FLV, WebSocket and HTTP/2 requests that a server should take, step by step.

use fastrand::Rng;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;

/// HTTP/1: one request, or several behind each other.
pub fn requests(random: &mut Rng, path: &str) -> Vec<Vec<u8>> {
    (0..random.usize(1..4))
        .map(|_| {
            let method =
                random.choice(["GET", "GET", "GET", "HEAD", "OPTIONS", "POST"]).unwrap_or("GET");
            let version = random.choice(["1.1", "1.1", "1.0"]).unwrap_or("1.1");
            let more = random
                .choice([
                    "",
                    "Range: bytes=0-10\r\n",
                    "Accept-Encoding: gzip\r\n",
                    "Connection: close\r\n",
                    "X-Ngx-Rtmp-Hops: 7\r\n",
                    "Origin: http://a.example\r\n",
                    "Content-Length: 5\r\n",
                    "Expect: 100-continue\r\n",
                ])
                .unwrap_or("");
            format!("{method} {path} HTTP/{version}\r\nHost: a.example\r\n{more}\r\n").into_bytes()
        })
        .collect()
}

pub fn websocket(random: &mut Rng, path: &str) -> Vec<Vec<u8>> {
    let mut steps = vec![format!(
        "GET {path} HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: flv\r\n\r\n"
    )
    .into_bytes()];
    // masked frames of a client: text, close, ping, pong, and lengths of three kinds
    for _ in 0..random.usize(..6) {
        let opcode = random.choice([0x81, 0x82, 0x88, 0x89, 0x8a, 0x01, 0x80]).unwrap_or(0x89);
        let len = random.usize(..300);
        let mut frame = vec![opcode];
        match len {
            0..126 => frame.push(0x80 | len as u8),
            _ => {
                frame.push(0x80 | 126);
                frame.extend((len as u16).to_be_bytes());
            }
        }
        frame.extend([1, 2, 3, 4]);
        frame.resize(frame.len() + len, 0x33);
        steps.push(frame);
    }
    steps
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// A header field that is not indexed and not compressed (RFC 7541, 6.2.2).
fn field(name: &str, value: &str, out: &mut Vec<u8>) {
    out.push(0);
    for text in [name, value] {
        out.push(text.len().min(126) as u8);
        out.extend_from_slice(&text.as_bytes()[..text.len().min(126)]);
    }
}

pub fn http2(random: &mut Rng, path: &str) -> Vec<Vec<u8>> {
    let mut steps = vec![PREFACE.to_vec(), frame(SETTINGS, 0, 0, &[])];
    if random.bool() {
        // initial window size
        let size = random.choice([0u32, 1, 100, 65535, 0x7fff_ffff]).unwrap_or(0);
        steps.push(frame(SETTINGS, 0, 0, &[&[0, 4][..], &size.to_be_bytes()].concat()));
    }
    for i in 0..random.u32(1..30) {
        let stream = 2 * i + 1;
        let mut block = Vec::new();
        field(":method", random.choice(["GET", "GET", "HEAD"]).unwrap_or("GET"), &mut block);
        field(":scheme", "http", &mut block);
        field(":authority", "a.example", &mut block);
        field(":path", &format!("{path}{}", random.u8(..20)), &mut block);
        steps.push(frame(HEADERS, 5, stream, &block));
        match random.u8(..5) {
            0 => steps.push(frame(RST_STREAM, 0, stream, &8u32.to_be_bytes())),
            1 => steps.push(frame(WINDOW_UPDATE, 0, stream, &random.u32(..).to_be_bytes())),
            2 => steps.push(frame(WINDOW_UPDATE, 0, 0, &random.u32(..1 << 20).to_be_bytes())),
            3 => steps.push(frame(PING, 0, 0, &[7; 8])),
            _ => (),
        }
    }
    steps
}
