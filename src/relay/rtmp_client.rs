//! RTMP as a client: from the connection to the stream, and what comes and goes on it then.
//!
//! Everything that a step has to say goes out in one write: each piece alone would wait for the
//! other side's delayed acknowledgement.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::Poll;

use rtmp_protocol::amf0::Value;
use rtmp_protocol::chunk::{ChunkReader, Limits, MAX_HEADER};
use rtmp_protocol::command::{Command, Connect};
use rtmp_protocol::handshake::ClientHandshake;
use rtmp_protocol::message::{self, UserControl};

pub use rtmp_protocol::chunk::Message;

use super::connect::connect;
use super::failure::{Failure, Refused};
use super::target::Target;
use crate::conf::{Msec, ServerConf};
use crate::nginx::async_conn::AsyncConn;
use crate::nginx::clock;
use crate::nginx::random;
use crate::nginx::share::{Share, READS_A_TURN};
use crate::nginx::task::{self, next_turn, timeout};
use crate::stream_request::StreamRequest;

/// What is read at once. All relays of a worker share the buffer, since each message is used up
/// before the next relay is looked at.
const READ_BUFFER: usize = 64 * 1024;
/// Answers to acknowledgement windows and pings that the server may leave unread.
pub const MAX_UNSENT: usize = 64 * 1024;
/// How long a server may take to read the end of what was pushed.
const CLOSE_MS: u64 = 5000;
/// What we say we are, if the line says nothing: encoders' own name, since servers look for it.
const FLASH_VER: &[u8] = b"FMLE/3.0 (compatible; ngx-rtmp)";
/// `play` of a live stream, never of a recording.
const LIVE_ONLY: f64 = -1000.0;
/// What a server says of a refusal goes into the log up to so many bytes.
const MAX_REASON: usize = 200;

/// Transactions: connect's number is given by the specification (RTMP 1.0 section 7.2.1.1).
const CONNECT: f64 = 1.0;
const RELEASE_STREAM: f64 = 2.0;
const FC_PUBLISH: f64 = 3.0;
const CREATE_STREAM: f64 = 4.0;

thread_local! {
    /// Each connection holds it, since looking up what is the thread's own costs several cache misses.
    static BUFFER: Rc<RefCell<Vec<u8>>> =
        Rc::new(RefCell::new(vec![0; MAX_HEADER + READ_BUFFER]));
}

/// What we do with the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Publish,
    /// With the length of the buffer that the server is told, in ms.
    Play {
        buffer: Msec,
    },
}

/// The other end of a connection that we opened, after the handshake.
pub struct RtmpClient {
    pub conn: Rc<AsyncConn>,
    reader: ChunkReader,
    /// What is read into, the worker's.
    buffer: Rc<RefCell<Vec<u8>>>,
    /// What was received and not handled yet.
    unread: Vec<u8>,
    /// That is more than the beginning of a chunk's header: it is handled before anything is read.
    pub backlog: bool,
    pub share: Share,
    role: Role,
    chunk_size: usize,
    stream_id: u32,
    /// The server has not agreed yet.
    opening: bool,
    pub heard: Heard,
    pub ping: Msec,
    pub ping_timeout: Msec,
}

/// What was received, and what it asks us to say.
#[derive(Default)]
pub struct Heard {
    bytes: u64,
    acknowledged: u64,
    /// The server wants an acknowledgement after so many bytes; 0 = never.
    window: u32,
    /// Answers that were not sent yet.
    answers: Vec<u8>,
    /// When the last bytes came.
    pub last: Rc<Cell<u64>>,
}

impl RtmpClient {
    /// Connects to `target`, and asks to publish or play there. What it answers is for
    /// [`RtmpClient::established`].
    pub async fn open(
        request: &StreamRequest,
        target: &Target,
        role: Role,
    ) -> Result<Self, Failure> {
        if target.name.contains(&b'?') {
            return Err(Failure::new("its name holds a \"?\", where RTMP begins the query"));
        }
        let conn = connect(request, target).await?;
        let peer = RtmpClient::new(conn, &request.server, role);
        peer.ask(request, target).await.map_err(Failure::when_asked)
    }

    /// Asks to publish or play.
    async fn ask(self, request: &StreamRequest, target: &Target) -> Result<Self, Failure> {
        let mut peer = self;
        let role = peer.role;
        let mut out = peer.handshake().await?;
        message::set_chunk_size(&mut out, peer.chunk_size as u32);
        message::window_ack_size(&mut out, request.server.ack_window);
        peer.command(&mut out, message::CSID_COMMAND, 0, &connect_request(target, role));
        peer.write(&out).await?;
        peer.result(CONNECT).await?;

        out.clear();
        let name = || Value::from(target.name_and_args().as_slice());
        let mut call = |name: &str, transaction: f64, arg: Option<Value>| {
            let values = [name.into(), transaction.into(), Value::Null].into_iter().chain(arg);
            peer.command(&mut out, message::CSID_COMMAND, 0, &values.collect::<Vec<_>>());
        };
        if role == Role::Publish {
            call("releaseStream", RELEASE_STREAM, Some(name()));
            call("FCPublish", FC_PUBLISH, Some(name()));
        }
        call("createStream", CREATE_STREAM, None);
        peer.write(&out).await?;
        let created = peer.result(CREATE_STREAM).await?;
        peer.stream_id = stream_id(&created)?;

        out.clear();
        let id = peer.stream_id;
        let values = match role {
            Role::Publish => vec!["publish".into(), 0.0.into(), Value::Null, name(), "live".into()],
            Role::Play { .. } => {
                vec!["play".into(), 0.0.into(), Value::Null, name(), LIVE_ONLY.into()]
            }
        };
        peer.command(&mut out, message::CSID_STATUS, id, &values);
        if let Role::Play { buffer } = role {
            let buffer = u32::try_from(buffer).unwrap_or(u32::MAX);
            message::user_control(&mut out, message::SET_BUFFER_LENGTH, id, Some(buffer));
        }
        peer.write(&out).await?;
        Ok(peer)
    }

    fn new(conn: AsyncConn, server: &ServerConf, role: Role) -> Self {
        RtmpClient {
            conn: Rc::new(conn),
            reader: ChunkReader::new(Limits {
                max_streams: server.max_streams,
                max_message: server.max_message,
            }),
            buffer: BUFFER.with(Rc::clone),
            unread: Vec::new(),
            backlog: false,
            share: Share::default(),
            role,
            chunk_size: server.chunk_size,
            stream_id: 0,
            opening: true,
            heard: Heard::default(),
            ping: server.ping,
            ping_timeout: server.ping_timeout,
        }
    }

    /// The connection.
    pub fn conn(&self) -> Rc<AsyncConn> {
        self.conn.clone()
    }

    /// The message stream that the server made for us.
    pub fn stream_id(&self) -> u32 {
        self.stream_id
    }

    /// C0 and C1 out, S0 to S2 in. Gives C2, which goes out with what follows.
    async fn handshake(&mut self) -> Result<Vec<u8>, Failure> {
        let mut handshake = ClientHandshake::new(random::seed());
        let mut out = Vec::new();
        handshake.start(&mut out);
        self.write(&out).await?;
        out.clear();
        let mut input = [0; 4096];
        loop {
            let n = self.conn.read(&mut input).await.map_err(broken)?;
            if n == 0 {
                return Err(Failure::new("closed by the server within the handshake"));
            }
            let came = input.get(..n).unwrap_or_default();
            let progress = handshake
                .input(came, &mut out)
                .map_err(|error| Failure::new(format!("handshake: {error}")))?;
            if progress.done {
                let rest = came.get(progress.consumed..).unwrap_or_default();
                self.unread.extend_from_slice(rest);
                return Ok(out);
            }
        }
    }

    fn command(&self, out: &mut Vec<u8>, csid: u32, stream_id: u32, values: &[Value]) {
        message::command(out, csid, stream_id, self.chunk_size, values);
    }

    async fn write(&self, bytes: &[u8]) -> Result<(), Failure> {
        self.conn.write_all(bytes).await.map_err(broken)
    }

    /// Waits for the answer to a command of ours.
    async fn result(&mut self, transaction: f64) -> Result<Command, Failure> {
        let unsent = self.unsent();
        self.messages(&unsent, |message| {
            let Some(command) = command_of(message) else { return Ok(None) };
            if command.transaction != transaction {
                return Ok(None);
            }
            match command.name.as_slice() {
                b"_error" => Err(refused(&command)),
                b"_result" => Ok(Some(command)),
                _ => Ok(None),
            }
        })
        .await
    }

    /// Waits until the server has agreed. Media, which says as much as a status, goes to `media`.
    pub async fn established(
        mut self,
        mut media: impl FnMut(&Message<'_>) -> Result<(), Failure>,
    ) -> Result<Self, Failure> {
        let start: &[u8] = match self.role {
            Role::Publish => b"NetStream.Publish.Start",
            Role::Play { .. } => b"NetStream.Play.Start",
        };
        let unsent = self.unsent();
        self.messages(&unsent, |message| {
            if is_media(message) && start.starts_with(b"NetStream.Play") {
                media(message)?;
                return Ok(Some(()));
            }
            if let Some(command) = command_of(message) {
                // servers that do not know these two say so, and take the stream all the same
                let optional = [RELEASE_STREAM, FC_PUBLISH].contains(&command.transaction);
                if command.name == b"_error" && !optional {
                    return Err(refused(&command));
                }
                if command.name == b"onStatus" && command.status_code() == Some(start) {
                    return Ok(Some(()));
                }
            }
            refusal(message)
        })
        .await?;
        self.opening = false;
        Ok(self)
    }

    /// Sends answers at once where nothing else is sent.
    pub fn unsent(&self) -> Unsent {
        Unsent { conn: self.conn.clone(), bytes: RefCell::default() }
    }

    /// What ends our publishing, to be sent behind the last message.
    pub fn farewell(&self, target: &Target) -> Vec<u8> {
        let mut out = Vec::new();
        let name = Value::from(target.name_and_args().as_slice());
        let unpublish = ["FCUnpublish".into(), 0.0.into(), Value::Null, name];
        self.command(&mut out, message::CSID_COMMAND, 0, &unpublish);
        let id = f64::from(self.stream_id).into();
        let delete = ["deleteStream".into(), 0.0.into(), Value::Null, id];
        self.command(&mut out, message::CSID_COMMAND, 0, &delete);
        out
    }

    /// Gives each message that comes to `f`, until that has a result. Protocol control is handled
    /// here, and what it asks for is sent by `reply`.
    pub async fn messages<T>(
        &mut self,
        reply: impl Reply,
        mut f: impl FnMut(&Message<'_>) -> Result<Option<T>, Failure>,
    ) -> Result<T, Failure> {
        if let Some(result) = self.handle_unread(&reply, &mut f)? {
            return Ok(result);
        }
        loop {
            for _ in 0..READS_A_TURN {
                if self.share.is_used_up() {
                    break;
                }
                let received = poll_fn(|cx| {
                    self.receive(|conn, room| conn.poll_read(cx, room), &reply, &mut f)
                });
                if let Some(result) = received.await? {
                    return Ok(result);
                }
            }
            next_turn().await;
            self.share.renew();
        }
    }

    /// Handles what came behind the last message that was waited for.
    pub fn handle_unread<T>(
        &mut self,
        reply: &impl Reply,
        f: &mut impl FnMut(&Message<'_>) -> Result<Option<T>, Failure>,
    ) -> Result<Option<T>, Failure> {
        let unread = std::mem::take(&mut self.unread);
        let mut input = unread.as_slice();
        let result = self.handle(&mut input, reply, f);
        self.unread.extend_from_slice(input);
        result
    }

    /// Reads once, and handles what came.
    pub fn receive<T>(
        &mut self,
        read: impl FnOnce(&AsyncConn, &mut [u8]) -> Poll<io::Result<usize>>,
        reply: &impl Reply,
        f: &mut impl FnMut(&Message<'_>) -> Result<Option<T>, Failure>,
    ) -> Poll<Result<Option<T>, Failure>> {
        if self.backlog {
            return Poll::Ready(self.handle_unread(reply, f));
        }
        let shared = self.buffer.clone();
        let buffer = &mut *shared.borrow_mut();
        // what is left over is the beginning of a chunk's header
        let kept = self.unread.len();
        if buffer.len() < kept + READ_BUFFER {
            buffer.resize(kept + READ_BUFFER, 0);
        }
        let (before, room) = buffer.split_at_mut(kept);
        let n = match read(&self.conn, room) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(broken(error))),
            Poll::Ready(Ok(0)) => {
                return Poll::Ready(Err(Failure::new("closed by the server")));
            }
            Poll::Ready(Ok(n)) => n,
        };
        before.copy_from_slice(&self.unread);
        self.unread.clear();
        self.heard.bytes += n as u64;
        self.heard.last.set(clock::now());
        let mut input = buffer.get(..kept + n).unwrap_or_default();
        let result = self.handle(&mut input, reply, f);
        self.unread.extend_from_slice(input);
        if self.opening {
            // a server under Nagle's algorithm waits for it with the next piece of its answer
            self.conn.get_ref().quick_ack();
        }
        Poll::Ready(result)
    }

    fn handle<T>(
        &mut self,
        input: &mut &[u8],
        reply: &impl Reply,
        f: &mut impl FnMut(&Message<'_>) -> Result<Option<T>, Failure>,
    ) -> Result<Option<T>, Failure> {
        let mut result = None;
        self.backlog = false;
        while result.is_none() {
            if self.share.is_used_up() {
                self.backlog = !input.is_empty();
                break;
            }
            let message = self.reader.read(input).map_err(|error| Failure::new(error.to_string()));
            let Some(message) = message? else {
                self.share.take_chunks(self.reader.take_chunks());
                break;
            };
            self.share.take(cost(&message));
            self.heard.control(&message);
            result = f(&message)?;
        }
        self.heard.acknowledge();
        if !self.heard.answers.is_empty() {
            self.answer(reply)?;
        }
        Ok(result)
    }

    /// Sends what was asked for.
    #[cold]
    fn answer(&mut self, reply: &impl Reply) -> Result<(), Failure> {
        if reply.reply(&std::mem::take(&mut self.heard.answers)) {
            return Ok(());
        }
        Err(Failure::new("the server does not read the answers it asks for"))
    }
}

/// How many messages one counts for: an aggregate for all that it has room for.
fn cost(message: &Message<'_>) -> u32 {
    match message.kind {
        message::AGGREGATE => (message.payload.len() / message::MIN_PART) as u32 + 1,
        _ => 1,
    }
}

impl Heard {
    fn control(&mut self, message: &Message<'_>) {
        match message.kind {
            message::WINDOW_ACK_SIZE => {
                self.window = message::control_value(message.payload).unwrap_or(0);
            }
            message::USER_CONTROL => match UserControl::parse(message.payload) {
                Some(control) if control.event == message::PING_REQUEST => {
                    let out = &mut self.answers;
                    message::user_control(out, message::PING_RESPONSE, control.a, None);
                }
                _ => (),
            },
            _ => (),
        }
    }

    /// Acknowledges what came: at most once a read, whatever the window is.
    fn acknowledge(&mut self) {
        if self.window > 0 && self.bytes - self.acknowledged >= u64::from(self.window) {
            self.acknowledged = self.bytes;
            // the sequence number wraps (RTMP 1.0 section 5.4.3)
            message::ack(&mut self.answers, self.bytes as u32);
        }
    }
}

/// How answers to protocol control are sent. False: too many are unsent.
pub trait Reply {
    fn reply(&self, bytes: &[u8]) -> bool;
}

impl<F: Fn(&[u8]) -> bool> Reply for F {
    fn reply(&self, bytes: &[u8]) -> bool {
        self(bytes)
    }
}

/// Answers on a connection that carries nothing else from us.
pub struct Unsent {
    conn: Rc<AsyncConn>,
    bytes: RefCell<Vec<u8>>,
}

impl Reply for &Unsent {
    /// What does not go out now goes with the next answer; a broken connection shows in reading.
    fn reply(&self, bytes: &[u8]) -> bool {
        let mut unsent = self.bytes.borrow_mut();
        unsent.extend_from_slice(bytes);
        if let Ok(n) = self.conn.get_ref().send(&unsent) {
            unsent.drain(..n);
        }
        unsent.len() <= MAX_UNSENT
    }
}

fn connect_request(target: &Target, role: Role) -> Vec<Value> {
    let connect = Connect {
        app: target.app.clone(),
        tc_url: target.tc_url.clone(),
        page_url: target.page_url.clone(),
        swf_url: target.swf_url.clone(),
        flash_ver: match target.flash_ver.is_empty() {
            true => FLASH_VER.to_vec(),
            false => target.flash_ver.clone(),
        },
        enhanced: true,
        hops: target.hops,
        via: target.via.clone(),
        ..Connect::default()
    };
    connect.request(role == Role::Publish)
}

fn stream_id(created: &Command) -> Result<u32, Failure> {
    match created.number_arg(0) {
        // float to integer saturates
        Some(id) if id >= 0.0 && id <= f64::from(u32::MAX) => Ok(id as u32),
        _ => Err(Failure::new("createStream was answered without a stream")),
    }
}

pub fn is_media(message: &Message<'_>) -> bool {
    let kinds =
        [message::AUDIO, message::VIDEO, message::DATA, message::DATA_AMF3, message::AGGREGATE];
    kinds.contains(&message.kind)
}

pub fn command_of(message: &Message<'_>) -> Option<Command> {
    match message.kind {
        message::COMMAND => Command::parse(message.payload, false).ok(),
        message::COMMAND_AMF3 => Command::parse(message.payload, true).ok(),
        _ => None,
    }
}

/// An error among the statuses.
pub fn refusal<T>(message: &Message<'_>) -> Result<Option<T>, Failure> {
    let Some(command) = command_of(message) else { return Ok(None) };
    let level = command.args.first().and_then(|info| info.get(b"level"));
    let error = level.and_then(Value::as_str_bytes) == Some(b"error");
    if command.name == b"onStatus" && error {
        return Err(refused(&command));
    }
    Ok(None)
}

fn refused(command: &Command) -> Failure {
    let info = command.args.first();
    let text = |key: &[u8]| {
        let text = info.and_then(|info| info.get(key)).and_then(Value::as_str_bytes);
        let text = text.unwrap_or_default();
        String::from_utf8_lossy(text.get(..MAX_REASON).unwrap_or(text)).into_owned()
    };
    let why = format!("refused: {} {}", text(b"code"), text(b"description"));
    let failure = Failure::new(why.trim_end());
    let refused = match command.status_code() {
        Some(b"NetStream.Play.StreamNotFound") => Some(Refused::NotFound),
        Some(
            b"NetStream.Play.Forbidden"
            | b"NetStream.Stream.Forbidden"
            | b"NetConnection.Connect.Rejected",
        ) => Some(Refused::Forbidden),
        _ => None,
    };
    Failure { refused, ..failure }
}

pub fn broken(error: io::Error) -> Failure {
    Failure::new(format!("connection failed: {error}"))
}

/// Sends the last bytes of a connection and closes it when the server has read them. A socket that
/// is closed with input unread resets the connection, and the other side may lose what it has not
/// read yet.
pub fn close(conn: Rc<AsyncConn>, rest: Vec<u8>) {
    let goodbye = async move {
        let mut ignored = [0; 4096];
        if conn.write_all(&rest).await.is_ok() {
            conn.get_ref().shutdown_write();
            while conn.read(&mut ignored).await.is_ok_and(|n| n > 0) {
                // what is sent without end keeps nobody waiting
                next_turn().await;
            }
        }
    };
    task::tell(async move {
        timeout(CLOSE_MS, goodbye).await;
    });
}
