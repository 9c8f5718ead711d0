//! RTMP as a client: what comes and goes on a connection that we opened.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::Poll;

use rtmp_protocol::amf0::Value;
use rtmp_protocol::chunk::{ChunkReader, Limits, MAX_HEADER};
use rtmp_protocol::control::Control;
use rtmp_protocol::message;

pub use rtmp_protocol::chunk::Message;

use super::failure::{Cause, Failure};
use super::rtmp_status::broken;
use super::target::Target;
use crate::conf::{Msec, ServerConf};
use crate::nginx::async_conn::AsyncConn;
use crate::nginx::clock;
use crate::nginx::share::{Share, READS_A_TURN, READ_BUFFER};
use crate::nginx::task::{self, next_turn, timeout};

/// Answers to acknowledgement windows and pings that the server may leave unread.
pub const MAX_UNSENT: usize = 64 * 1024;
/// How long a server may take to read the end of what was pushed.
const CLOSE_MS: u64 = 5000;

thread_local! {
    /// All relays of a worker share the buffer, since each message is used up before the next relay is
    /// looked at. Each connection holds it, since looking up what is the thread's own costs several cache misses.
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
    pub unread: Vec<u8>,
    /// That is more than the beginning of a chunk's header: it is handled before anything is read.
    pub backlog: bool,
    pub share: Share,
    pub role: Role,
    pub chunk_size: usize,
    pub stream_id: u32,
    /// The server has not agreed yet.
    pub opening: bool,
    pub heard: Heard,
    pub ping: Msec,
    pub ping_timeout: Msec,
}

/// What was received, and what it asks us to say.
#[derive(Default)]
pub struct Heard {
    control: Control,
    /// Answers that were not sent yet.
    answers: Vec<u8>,
    /// When the last bytes came.
    pub last: Rc<Cell<u64>>,
}

impl RtmpClient {
    /// The other end of `conn`, which nothing was said on yet.
    pub fn new(conn: AsyncConn, server: &ServerConf, role: Role) -> Self {
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

    /// Writes a command.
    pub fn command(&self, out: &mut Vec<u8>, csid: u32, stream_id: u32, values: &[Value]) {
        message::command(out, csid, stream_id, self.chunk_size, values);
    }

    /// Sends bytes, all of them.
    pub async fn write(&self, bytes: &[u8]) -> Result<(), Failure> {
        self.conn.write_all(bytes).await.map_err(broken)
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
                return Poll::Ready(Err(Cause::Closed.into()));
            }
            Poll::Ready(Ok(n)) => n,
        };
        before.copy_from_slice(&self.unread);
        self.unread.clear();
        self.heard.control.received(n as u64);
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
            let message = self.reader.read(input).map_err(Cause::Chunks);
            let Some(message) = message? else {
                self.share.take_chunks(self.reader.take_chunks());
                break;
            };
            self.share.take(cost(&message));
            let Heard { control, answers, .. } = &mut self.heard;
            control.message(message.kind, message.payload, answers);
            result = f(&message)?;
        }
        self.heard.control.acknowledge(&mut self.heard.answers);
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
        Err(Cause::AnswersUnread.into())
    }
}

/// How many messages one counts for: an aggregate for all that it has room for.
fn cost(message: &Message<'_>) -> u32 {
    match message.kind {
        message::AGGREGATE => (message.payload.len() / message::MIN_PART) as u32 + 1,
        _ => 1,
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

/// Sends the last bytes of a connection and closes it when the server has read them. A socket that
/// is closed with input unread resets the connection, and the other side may lose what it has not
/// read yet.
pub fn close(conn: Rc<AsyncConn>, rest: Vec<u8>) {
    let goodbye = async move {
        let mut ignored = [0; 4096];
        if conn.write_all(&rest).await.is_ok() {
            conn.get_ref().shutdown_write();
            while conn.read(&mut ignored).await.is_ok_and(|n| n > 0) {
                // a server that never stops sending must not keep the others waiting
                next_turn().await;
            }
        }
    };
    task::tell(async move {
        timeout(CLOSE_MS, goodbye).await;
    });
}
