//! The client's side of an RTMP session, up to where media flow.

use crate::skim::{Chunks, Message};
use rtmp_protocol::amf0::Value;
use rtmp_protocol::chunk::DEFAULT_CHUNK_SIZE;
use rtmp_protocol::command::{Command, Connect};
use rtmp_protocol::handshake::ClientHandshake;
use rtmp_protocol::message::{self, CSID_COMMAND, CSID_STATUS};
use std::borrow::Cow;

/// C1, S1, C2 and S2; C0 and S0 are one byte.
const PACKET: usize = 1536;
const VERSION: u8 = 3;
/// What a player says it buffers, in ms.
const BUFFER_LENGTH: u32 = 1000;

const CONNECT: f64 = 1.0;
const CREATE_STREAM: f64 = 4.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Publish,
    Play,
}

/// Which handshake a client makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Handshake {
    /// Bytes sent back as they came (RTMP specification)
    Simple,
    /// Signed with HMAC-SHA256, as ffmpeg and OBS do; the server has to sign too
    Digest,
}

#[derive(Debug)]
pub enum Event<'a> {
    /// `publish` or `play` was sent.
    Asked,
    /// It was accepted.
    Accepted,
    Message(Message<'a>),
}

/// What a session is for.
#[derive(Clone, Debug)]
pub struct Request {
    pub purpose: Purpose,
    pub app: String,
    pub name: String,
    pub tc_url: String,
    /// For what the client sends.
    pub chunk_size: usize,
    pub handshake: Handshake,
}

/// A session, sans-io: bytes in, bytes and events out.
#[derive(Debug)]
pub struct Client {
    request: Request,
    /// Until S2 has arrived.
    greeting: Option<Greeting>,
    chunks: Chunks,
    session: Session,
}

#[derive(Debug)]
enum Greeting {
    /// S0, S1 and S2 so far.
    Simple(Vec<u8>),
    Digest(ClientHandshake),
}

/// What the answers have told so far.
#[derive(Debug, Default)]
struct Session {
    stream_id: u32,
    accepted: bool,
    /// The server wants to hear of each so many bytes; 0 = it does not.
    ack_window: u64,
    received: u64,
    acknowledged: u64,
    refusal: Option<String>,
}

impl Client {
    pub fn new(request: Request, verify: bool) -> Self {
        let greeting = match request.handshake {
            Handshake::Simple => Greeting::Simple(Vec::with_capacity(1 + 2 * PACKET)),
            // load needs no secrets
            Handshake::Digest => Greeting::Digest(ClientHandshake::new([7; 32])),
        };
        Self {
            request,
            greeting: Some(greeting),
            chunks: Chunks::new(DEFAULT_CHUNK_SIZE, verify),
            session: Session::default(),
        }
    }

    /// The message stream that media belong to.
    pub fn stream_id(&self) -> u32 {
        self.session.stream_id
    }

    /// Says C0 and C1.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        match &mut self.greeting {
            Some(Greeting::Digest(handshake)) => handshake.start(out),
            _ => {
                out.push(VERSION);
                out.resize(out.len() + PACKET, 0);
            }
        }
    }

    /// Takes what the server sent; answers are appended to `out`. An error is a reason to close.
    pub fn feed(
        &mut self,
        mut bytes: &[u8],
        out: &mut Vec<u8>,
        on: &mut impl FnMut(Event),
    ) -> Result<(), Cow<'static, str>> {
        if let Some(greeting) = &mut self.greeting {
            if !greeting.feed(&mut bytes, out)? {
                return Ok(());
            }
            self.greeting = None;
            self.request.connect(out);
        }
        let Self { request, chunks, session, .. } = self;
        session.received += bytes.len() as u64;
        chunks.feed(bytes, &mut |message| match message.kind {
            message::AUDIO | message::VIDEO | message::DATA => on(Event::Message(message)),
            message::COMMAND => session.on_command(message.head, request, out, on),
            kind => session.on_control(kind, message.head, out),
        })?;
        if session.ack_window > 0 && session.received - session.acknowledged >= session.ack_window {
            session.acknowledged = session.received;
            message::ack(out, session.received as u32);
        }
        match session.refusal.take() {
            Some(refusal) => Err(refusal.into()),
            None => Ok(()),
        }
    }
}

impl Greeting {
    /// True when the handshake is complete; what is left of `bytes` comes after it.
    fn feed(&mut self, bytes: &mut &[u8], out: &mut Vec<u8>) -> Result<bool, Cow<'static, str>> {
        match self {
            Greeting::Simple(got) => {
                let (now, rest) = bytes.split_at(bytes.len().min(1 + 2 * PACKET - got.len()));
                got.extend_from_slice(now);
                *bytes = rest;
                if got.len() < 1 + 2 * PACKET {
                    return Ok(false);
                }
                out.extend_from_slice(got.get(1..1 + PACKET).unwrap_or_default());
                Ok(true)
            }
            Greeting::Digest(handshake) => {
                let progress = handshake.input(bytes, out).map_err(|error| error.to_string())?;
                *bytes = bytes.get(progress.consumed..).unwrap_or_default();
                Ok(progress.done)
            }
        }
    }
}

impl Request {
    fn connect(&self, out: &mut Vec<u8>) {
        let publishing = self.purpose == Purpose::Publish;
        let mut chunk_size = DEFAULT_CHUNK_SIZE;
        if publishing {
            message::set_chunk_size(out, self.chunk_size as u32);
            chunk_size = self.chunk_size;
        }
        let connect = Connect {
            app: self.app.clone().into(),
            tc_url: self.tc_url.clone().into(),
            flash_ver: b"LNX 9,0,124,2".to_vec(),
            ..Connect::default()
        };
        message::command(out, CSID_COMMAND, 0, chunk_size, &connect.request(publishing));
    }

    /// Asks for a message stream; a publisher announces itself first, as encoders do.
    fn create_stream(&self, out: &mut Vec<u8>) {
        let call = |out: &mut Vec<u8>, name: &str, transaction: f64, argument: Option<&str>| {
            let mut values = vec![name.into(), transaction.into(), Value::Null];
            values.extend(argument.map(Value::from));
            message::command(out, CSID_COMMAND, 0, self.sending_chunk_size(), &values);
        };
        if self.purpose == Purpose::Publish {
            call(out, "releaseStream", 2.0, Some(&self.name));
            call(out, "FCPublish", 3.0, Some(&self.name));
        }
        call(out, "createStream", CREATE_STREAM, None);
    }

    fn ask(&self, stream_id: u32, out: &mut Vec<u8>) {
        let name = Value::from(self.name.as_str());
        let (command, argument) = match self.purpose {
            Purpose::Publish => ("publish", Value::from("live")),
            // -2000: live if there is such a stream
            Purpose::Play => ("play", Value::from(-2000.0)),
        };
        let values = [command.into(), 5.0.into(), Value::Null, name, argument];
        message::command(out, CSID_STATUS, stream_id, self.sending_chunk_size(), &values);
        if self.purpose == Purpose::Play {
            message::user_control(out, message::SET_BUFFER_LENGTH, stream_id, Some(BUFFER_LENGTH));
        }
    }

    fn sending_chunk_size(&self) -> usize {
        match self.purpose {
            Purpose::Publish => self.chunk_size,
            Purpose::Play => DEFAULT_CHUNK_SIZE,
        }
    }
}

impl Session {
    fn on_command(
        &mut self,
        payload: &[u8],
        request: &Request,
        out: &mut Vec<u8>,
        on: &mut impl FnMut(Event),
    ) {
        let Ok(command) = Command::parse(payload, false) else {
            self.refusal = Some("a command that is not AMF0".into());
            return;
        };
        match command.name.as_slice() {
            b"_result" if command.transaction == CONNECT => request.create_stream(out),
            b"_result" if command.transaction == CREATE_STREAM => {
                self.stream_id = command.number_arg(0).unwrap_or(1.0) as u32;
                request.ask(self.stream_id, out);
                on(Event::Asked);
            }
            b"_error" if [CONNECT, CREATE_STREAM].contains(&command.transaction) => {
                self.refusal = Some(format!("refused: {}", code(&command)));
            }
            b"onStatus" => match code(&command).as_str() {
                "NetStream.Publish.Start" | "NetStream.Play.Start" if !self.accepted => {
                    self.accepted = true;
                    on(Event::Accepted);
                }
                code if code.contains("Failed")
                    || code.contains("NotFound")
                    || code.contains("BadName")
                    || code.contains("Forbidden")
                    || code.contains("UnpublishNotify")
                    || code.contains("Play.Stop") =>
                {
                    self.refusal = Some(code.into());
                }
                _ => {}
            },
            _ => {}
        }
    }

    fn on_control(&mut self, kind: u8, payload: &[u8], out: &mut Vec<u8>) {
        match kind {
            message::WINDOW_ACK_SIZE => {
                self.ack_window = message::control_value(payload).unwrap_or(0).into();
            }
            message::USER_CONTROL => {
                if let Some(ping) = message::UserControl::parse(payload) {
                    if ping.event == message::PING_REQUEST {
                        message::user_control(out, message::PING_RESPONSE, ping.a, None);
                    }
                }
            }
            _ => {}
        }
    }
}

fn code(command: &Command) -> String {
    String::from_utf8_lossy(command.status_code().unwrap_or(b"no code")).into_owned()
}
