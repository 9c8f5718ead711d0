//! The frames of a WebSocket (RFC 6455): a stream goes out in binary ones; of what comes in only
//! pings and the close count.

use std::io::Cursor;

use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};
use tungstenite::protocol::frame::FrameHeader;

/// The longest payload of a ping or a close (RFC 6455, 5.5).
const MAX_CONTROL: u64 = 125;

/// What came of a client.
#[derive(Debug, PartialEq, Eq)]
pub enum Came {
    /// It wants the payload back.
    Ping(Vec<u8>),
    /// It leaves, with this payload: nothing, or a code and a reason.
    Close(Vec<u8>),
}

/// The client has broken the protocol.
#[derive(Debug)]
pub struct Broken(pub &'static str);

/// Reads a client's frames, which may come in pieces.
#[derive(Default)]
pub struct Reader {
    /// The beginning of a header or of a control frame.
    pending: Vec<u8>,
    /// What is still to come of a frame that nobody reads.
    skip: u64,
}

impl Reader {
    /// Takes what came; the pings and closes in it, in order. What is kept for later is shorter
    /// than the longest control frame.
    pub fn read(&mut self, input: &[u8]) -> Result<Vec<Came>, Broken> {
        self.pending.extend_from_slice(input);
        let mut came = Vec::new();
        let mut at = 0;
        loop {
            let rest = self.pending.get(at..).unwrap_or_default();
            let skipped = rest.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
            at += skipped;
            self.skip -= skipped as u64;
            let mut cursor = Cursor::new(rest.get(skipped..).unwrap_or_default());
            let parsed = FrameHeader::parse(&mut cursor).map_err(|_| Broken("a bad frame"))?;
            let Some((header, len)) = parsed else { break };
            let head = cursor.position() as usize;
            let Some(mask) = header.mask else { return Err(Broken("a frame without a mask")) };
            let OpCode::Control(control) = header.opcode else {
                at += head;
                self.skip = len;
                continue;
            };
            if len > MAX_CONTROL || !header.is_final {
                return Err(Broken("a control frame that is too long or in pieces"));
            }
            let frame = cursor.into_inner();
            let end = head + len as usize;
            let Some(payload) = frame.get(head..end) else { break };
            let payload = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
            match control {
                Control::Ping => came.push(Came::Ping(payload.collect())),
                Control::Close => came.push(Came::Close(payload.collect())),
                Control::Pong | Control::Reserved(_) => (),
            }
            at += end;
        }
        self.pending.drain(..at);
        Ok(came)
    }
}

/// The header of a binary frame of `len` bytes.
pub fn binary(len: usize) -> Vec<u8> {
    header(OpCode::Data(Data::Binary), len)
}

/// The answer to a ping.
pub fn pong(payload: &[u8]) -> Vec<u8> {
    control(Control::Pong, payload)
}

/// A close in answer to a client's, whose payload goes back.
pub fn close_back(payload: &[u8]) -> Vec<u8> {
    control(Control::Close, payload)
}

/// A close of our own, with a reason that is cut to what fits.
pub fn close(code: CloseCode, why: &str) -> Vec<u8> {
    let code = u16::from(code).to_be_bytes();
    let why = why.as_bytes();
    let why = why.get(..MAX_CONTROL as usize - code.len()).unwrap_or(why);
    control(Control::Close, &[&code, why].concat())
}

fn control(control: Control, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(OpCode::Control(control), payload.len());
    frame.extend_from_slice(payload);
    frame
}

fn header(opcode: OpCode, len: usize) -> Vec<u8> {
    let header = FrameHeader { opcode, ..FrameHeader::default() };
    let mut out = Vec::with_capacity(header.len(len as u64));
    // a vector takes everything
    let _ = header.format(len as u64, &mut out);
    out
}
