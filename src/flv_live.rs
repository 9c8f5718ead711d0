//! Streams for HTTP clients, as FLV: in the body of an answer, or in the frames of a WebSocket.
//!
//! A player is an HTTP request that subscribes to a stream. Its answer begins with the first
//! media, so that a client which gets none can be told why.

mod websocket;

use std::cell::{Cell, RefCell};
use std::io;
use std::ptr::NonNull;
use std::rc::{Rc, Weak};

use nginx_sys::{
    ngx_http_request_t, ngx_int_t, NGX_DONE, NGX_ERROR, NGX_HTTP_CLIENT_CLOSED_REQUEST,
    NGX_HTTP_FORBIDDEN, NGX_HTTP_GET, NGX_HTTP_HEAD, NGX_HTTP_INTERNAL_SERVER_ERROR,
    NGX_HTTP_NOT_ALLOWED, NGX_HTTP_NOT_FOUND, NGX_HTTP_OK, NGX_HTTP_SWITCHING_PROTOCOLS,
};
use rtmp_protocol::flv;
use tungstenite::protocol::frame::coding::CloseCode;

use crate::conf::flv_live::{of_request, FlvLive};
use crate::live::{
    self, Change, Data, Direct, End, Form, Framing, Key, Sink, Stream, Subscriber, Subscription,
};
use crate::nginx::clock;
use crate::nginx::event::Event;
use crate::nginx::guard::guard;
use crate::nginx::http::{Head, Request, Responder};
use crate::nginx::log;
use crate::nginx::task::{self, Task};
use crate::variables::argument;
use crate::visit::{self, domain_and_app, Name, Playing, Refusal, Visit, MAX_NAME};

/// What is handed to nginx at once. A client that stops reading holds this much, and the blocks
/// that it lies in; the rest waits in the stream, which all its players share.
const MAX_HANDED: usize = 64 * 1024;
/// How long a source that has just come is waited for to show a second track before the header
/// tells players that there is none: encoders send the headers of both tracks at once.
const PROBE_MS: u64 = 200;
/// The timer of a player without a deadline. An armed timer also keeps nginx from taking the
/// connection for abandoned when the worker is told to leave.
const IDLE_MS: u64 = 60_000;
/// Read at once of what a WebSocket's client sends: a few pings.
const INPUT: usize = 1024;
/// A client that sends faster than the loop turns does not keep the others waiting for longer than
/// this many reads.
const READS_A_TURN: u32 = 16;

thread_local! {
    /// Players of a source that has shown one track so far.
    static WAITING: RefCell<Vec<Weak<Player>>> = {
        live::observe(header_came);
        RefCell::default()
    };
}

/// A stream has shown a track: those who wait for it look again.
fn header_came(stream: &Rc<Stream>, change: Change) {
    if !matches!(change, Change::Header { .. }) {
        return;
    }
    for player in WAITING.take().iter().filter_map(Weak::upgrade) {
        match player.visit.key == *stream.key() {
            true => player.soon.post(),
            false => WAITING.with_borrow_mut(|waiting| waiting.push(player.this.clone())),
        }
    }
}

/// The content handler of a location with `flv_live`.
pub unsafe extern "C" fn ngx_rtmp_flv_live_handler(r: *mut ngx_http_request_t) -> ngx_int_t {
    let answer = guard("an HTTP-FLV request", || {
        let r = NonNull::new(r)?;
        // SAFETY: nginx calls with a live request, and `serve` holds it if it keeps it.
        let (request, location) = unsafe { (Request::new(r), of_request(r.as_ptr())?) };
        Some(match serve(request, &location) {
            Ok(()) => NGX_DONE as ngx_int_t,
            Err(status) => status,
        })
    });
    answer.flatten().unwrap_or(NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t)
}

const NOT_FOUND: ngx_int_t = NGX_HTTP_NOT_FOUND as ngx_int_t;

/// Begins to answer a request; an error is the answer.
fn serve(request: Request, location: &FlvLive) -> Result<(), ngx_int_t> {
    if !request.is_main() {
        return Err(NOT_FOUND);
    }
    if request.method() & (NGX_HTTP_GET | NGX_HTTP_HEAD) as usize == 0 {
        return Err(NGX_HTTP_NOT_ALLOWED as ngx_int_t);
    }
    request.discard_body()?;
    let visit = visit_of(&request, location).ok_or(NOT_FOUND)?;
    let player = Player::new(request, visit);
    if !player.request.hold(player.clone()) {
        return Err(NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t);
    }
    player.decide();
    Ok(())
}

/// The stream that a request is for: `/app/name[.flv]`, or `/…/name[.flv]` where the location says
/// the application. `None`: there is no such stream.
fn visit_of(request: &Request, location: &FlvLive) -> Option<Visit> {
    let (path, args, host) = (request.path(), request.args(), request.host());
    // an IPv6 address stands in brackets there
    let domain = host.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")).unwrap_or(&host);
    let slash = path.iter().rposition(|&byte| byte == b'/')?;
    let (dir, name) = (path.get(1..slash).unwrap_or_default(), path.get(slash + 1..)?);
    let name = name.strip_suffix(b".flv").unwrap_or(name);
    let Name { name, args } = Name::new(name, &args).ok().filter(|name| !name.name.is_empty())?;
    let (domain, app) = match &location.app {
        Some(app) => (domain, app.as_slice()),
        None => domain_and_app(domain, dir),
    };
    if app.is_empty() || app.len() > MAX_NAME || app.iter().any(u8::is_ascii_control) {
        return None;
    }
    let server = location.listen()?.server_for(domain);
    let scheme = if request.is_tls() { "https" } else { "http" };
    let tc_url = [scheme.as_bytes(), b"://", &host, b"/", app].concat();
    Some(Visit {
        app: server.application(app)?,
        key: Key { server: server.id.as_str().into(), app: app.into(), name: name.into() },
        server,
        domain: domain.to_ascii_lowercase(),
        args: args.to_vec(),
        remote_addr: request.addr_text(),
        ip: request.ip(),
        remote_port: request.port(),
        local: request.local(),
        connection: request.number(),
        tc_url,
        page_url: request.field("referer").unwrap_or_default(),
        swf_url: Vec::new(),
        flash_ver: argument(args, b"flashver").to_vec(),
        scheme: "http",
        hops: hops(request),
        via: request.field("x-ngx-rtmp-via").unwrap_or_default(),
    })
}

/// The relays that a request came through, as they count themselves in a field of it.
fn hops(request: &Request) -> u32 {
    let field = request.field("x-ngx-rtmp-hops").unwrap_or_default();
    std::str::from_utf8(&field).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// How the bytes of a stream are wrapped for a client.
enum Wrap {
    /// Not at all: they are the body of the answer.
    Body,
    /// In frames.
    WebSocket(Box<WebSocket>),
}

struct WebSocket {
    accept: String,
    reader: RefCell<websocket::Reader>,
    /// A ping that is to be answered when the client reads again.
    ping: RefCell<Option<Vec<u8>>>,
}

impl Wrap {
    /// A WebSocket, if the client asks for one in the way that can be given.
    fn of(request: &Request) -> Self {
        let is = |name, value: &[u8]| {
            request.field(name).is_some_and(|field| field.eq_ignore_ascii_case(value))
        };
        let key = request.field("sec-websocket-key").filter(|_| {
            request.is_http_11()
                && request.method() == NGX_HTTP_GET as usize
                && is("upgrade", b"websocket")
                && is("sec-websocket-version", websocket::VERSION)
        });
        match key {
            Some(key) => Wrap::WebSocket(Box::new(WebSocket {
                accept: websocket::accept_key(&key),
                reader: RefCell::default(),
                ping: RefCell::default(),
            })),
            None => Wrap::Body,
        }
    }
}

/// Why an answer ends.
enum Why {
    /// There is nothing to play, and nothing to wait for.
    NotFound(&'static str),
    /// The engine has ended the subscription.
    Ended(End),
    /// The client asked for the head only.
    HeadOnly,
}

/// A client that plays a stream over HTTP. It lives as long as its request.
struct Player {
    request: Request,
    this: Weak<Player>,
    visit: Rc<Visit>,
    wrap: Wrap,
    /// What the client is allowed is being decided.
    decision: RefCell<Option<Task>>,
    playing: RefCell<Option<Rc<(Subscription, Playing)>>>,
    /// The answer has begun.
    begun: Cell<bool>,
    /// There is no source since then, in the loop's milliseconds; `None` = there is one.
    unfed: Cell<Option<u64>>,
    ending: RefCell<Option<Why>>,
    /// What the engine asks for while it is at work, for after it.
    soon: Event,
    timer: Event,
}

impl Player {
    fn new(request: Request, visit: Visit) -> Rc<Self> {
        Rc::new_cyclic(|this: &Weak<Player>| {
            let call = |f: fn(&Rc<Player>)| {
                let this = this.clone();
                Event::new(move || {
                    if let Some(player) = this.upgrade() {
                        f(&player);
                    }
                })
            };
            Player {
                wrap: Wrap::of(&request),
                request,
                this: this.clone(),
                visit: Rc::new(visit),
                decision: RefCell::default(),
                playing: RefCell::default(),
                begun: Cell::new(false),
                unfed: Cell::new(None),
                ending: RefCell::default(),
                soon: call(Player::proceed),
                timer: call(Player::tick),
            }
        })
    }

    fn decide(self: &Rc<Self>) {
        self.arm_timer();
        let player = self.clone();
        let decision = task::spawn(async move {
            if player.request.client_gone() {
                return player.request.finalize(NGX_HTTP_CLIENT_CLOSED_REQUEST as ngx_int_t);
            }
            match visit::play(&player.visit).await {
                Ok(playing) => player.join(playing),
                Err(refusal) => player.refuse(refusal),
            }
        });
        self.decision.replace(Some(decision));
    }

    fn refuse(&self, refusal: Refusal) {
        let (status, why) = match refusal {
            Refusal::Forbidden(why) => (NGX_HTTP_FORBIDDEN as ngx_int_t, why),
            Refusal::NotFound(why) | Refusal::BadName(why) => (NOT_FOUND, why),
        };
        self.log(format_args!("refused: {why}"));
        self.request.finalize(status);
    }

    fn join(self: &Rc<Self>, playing: Playing) {
        let stream = playing.stream.clone();
        self.unfed.set((!stream.on_air()).then(clock::now));
        let subscription = stream.subscribe(Subscriber {
            form: Form::Flv,
            sink: self.clone(),
            player: true,
            prologue: Vec::new(),
        });
        self.playing.replace(Some(Rc::new((subscription, playing))));
        self.arm_timer();
    }

    /// Does what was put off: ends the answer, begins it, or reads on.
    fn proceed(self: &Rc<Self>) {
        if let Some(why) = self.ending.take() {
            return self.end_with(why);
        }
        let Some(playing) = self.playing.borrow().clone() else { return };
        if self.begun.get() {
            return self.read();
        }
        let (subscription, Playing { stream, .. }) = &*playing;
        let (audio, video) = stream.tracks();
        let since =
            stream.on_air_since().map_or(PROBE_MS, |since| clock::now().saturating_sub(since));
        if since < PROBE_MS && !(audio && video) {
            WAITING.with_borrow_mut(|waiting| {
                waiting.retain(|player| player.strong_count() > 0);
                waiting.push(self.this.clone());
            });
            return self.timer.set_timer(PROBE_MS - since);
        }
        self.arm_timer();
        // a source that left at once has shown nothing: players take what comes
        let unknown = !audio && !video;
        match self.begin(&flv::header(audio || unknown, video || unknown)) {
            Ok(true) => {
                subscription.writable();
                // the client may have sent frames behind its request
                self.read();
            }
            Ok(false) => self.end_with(Why::HeadOnly),
            Err(error) => self.end_with(Why::Ended(End::Failed(error))),
        }
    }

    /// Sends the head of the answer and the header of the FLV. False: the head was all.
    fn begin(self: &Rc<Self>, header: &[u8]) -> io::Result<bool> {
        let wanted = match &self.wrap {
            Wrap::Body => self.request.send_head(&Head {
                status: NGX_HTTP_OK,
                line: "",
                content_type: "video/x-flv",
                fields: &[("Cache-Control", b"no-cache")],
            })?,
            Wrap::WebSocket(ws) => {
                self.request.send_head(&Head {
                    status: NGX_HTTP_SWITCHING_PROTOCOLS,
                    line: "101 Switching Protocols",
                    content_type: "",
                    fields: &[
                        ("Upgrade", b"websocket"),
                        ("Sec-WebSocket-Accept", ws.accept.as_bytes()),
                    ],
                })?;
                self.request.await_input();
                true
            }
        };
        self.begun.set(true);
        if wanted {
            self.wrap_bytes(header.len());
            self.request.push(header.into());
        }
        Ok(wanted)
    }

    /// Queues what goes in front of `len` bytes.
    fn wrap_bytes(&self, len: usize) {
        if let Wrap::WebSocket(_) = self.wrap {
            self.request.push(websocket::binary(len).into());
        }
    }

    /// Reads what the client of a WebSocket sends.
    fn read(&self) {
        let Wrap::WebSocket(ws) = &self.wrap else { return };
        let mut buffer = [0; INPUT];
        for _ in 0..READS_A_TURN {
            let n = match self.request.recv(&mut buffer) {
                Ok(0) => {
                    return self.request.finalize(NGX_HTTP_CLIENT_CLOSED_REQUEST as ngx_int_t);
                }
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => return self.request.finalize(NGX_ERROR as ngx_int_t),
            };
            let came = ws.reader.borrow_mut().read(buffer.get(..n).unwrap_or_default());
            let came = match came {
                Ok(came) => came,
                Err(websocket::Broken(what)) => {
                    self.log(format_args!("sent {what}"));
                    return self.close(websocket::close(CloseCode::Protocol));
                }
            };
            for came in came {
                match came {
                    websocket::Came::Ping(payload) => {
                        // only the newest needs an answer (RFC 6455, 5.5.3)
                        ws.ping.replace(Some(payload));
                    }
                    websocket::Came::Close(payload) => {
                        return self.close(websocket::close_back(&payload));
                    }
                }
            }
            self.answer_ping();
        }
        self.soon.post_next();
    }

    /// Sends a pong, if one is due and the client reads.
    fn answer_ping(&self) {
        let Wrap::WebSocket(ws) = &self.wrap else { return };
        if self.request.is_busy() {
            return;
        }
        if let Some(payload) = ws.ping.take() {
            self.request.push(websocket::pong(&payload).into());
            if self.request.flush().is_err() {
                self.request.finalize(NGX_ERROR as ngx_int_t);
            }
        }
    }

    /// Ends a WebSocket with a close frame.
    fn close(&self, frame: Vec<u8>) {
        self.request.push(frame.into());
        match self.request.flush() {
            Ok(_) => self.request.finish(),
            Err(_) => self.request.finalize(NGX_ERROR as ngx_int_t),
        }
    }

    /// Ends the answer, if it has begun; else answers why there is none.
    fn end_with(&self, why: Why) {
        match why {
            Why::HeadOnly => self.request.finish(),
            Why::NotFound(why) if self.begun.get() => {
                self.log(format_args!("ended: {why}"));
                match &self.wrap {
                    Wrap::Body => self.request.finish(),
                    Wrap::WebSocket(_) => self.close(websocket::close(CloseCode::Away)),
                }
            }
            Why::NotFound(why) | Why::Ended(End::NotFound(why)) => {
                self.log(format_args!("not found: {why}"));
                self.request.finalize(NOT_FOUND);
            }
            Why::Ended(End::Failed(_)) => self.request.finalize(NGX_ERROR as ngx_int_t),
            Why::Ended(end) => {
                self.log(format_args!("closed: {}", end.why()));
                self.request.finalize(NGX_ERROR as ngx_int_t);
            }
        }
    }

    fn end_soon(&self, why: Why) {
        self.ending.replace(Some(why));
        self.soon.post();
    }

    fn arm_timer(&self) {
        let idle = self.visit.app.live.idle_timeout;
        let left = match self.unfed.get() {
            Some(since) if idle > 0 => (since + idle).saturating_sub(clock::now()),
            _ => IDLE_MS,
        };
        self.timer.set_timer(left.min(IDLE_MS));
    }

    fn tick(self: &Rc<Self>) {
        let idle = self.visit.app.live.idle_timeout;
        let over = |since: u64| idle > 0 && clock::now() >= since + idle;
        if self.unfed.get().is_some_and(over) {
            return self.end_with(Why::NotFound("nobody publishes the stream"));
        }
        self.arm_timer();
        self.proceed();
    }

    fn log(&self, what: std::fmt::Arguments<'_>) {
        if let Some(log) = self.request.log() {
            log::info!(log, "rtmp: HTTP-FLV player {what}, stream: \"{}\"", self.visit.key);
        }
    }
}

impl Sink for Player {
    fn write(&self, data: Data<'_>) -> io::Result<usize> {
        if !self.begun.get() {
            // there is media: now the answer can begin
            self.soon.post();
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if self.request.is_busy() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let total: usize = data.parts.iter().map(|part| part.len()).sum();
        let mut taken = 0;
        while taken < total {
            let n = (total - taken).min(MAX_HANDED);
            self.wrap_bytes(n);
            self.push(&data, taken, n);
            taken += n;
            if !self.request.flush()? {
                break;
            }
        }
        Ok(taken)
    }

    fn direct(&self) -> Option<Direct> {
        let Wrap::Body = self.wrap else { return None };
        let (socket, chunked) = self.request.socket()?;
        let framing = if chunked { Framing::Chunked } else { Framing::Plain };
        Some(Direct { socket, framing, relay: self.visit.hops > 0 })
    }

    fn sent(&self, bytes: u64) {
        self.request.count_sent(bytes);
    }

    fn complete(&self, frame: Data<'_>, sent: usize) -> io::Result<bool> {
        let total: usize = frame.parts.iter().map(|part| part.len()).sum();
        self.push(&frame, sent, total - sent);
        self.request.flush_framed()
    }

    fn end(&self, why: End) {
        self.end_soon(match why {
            End::NotFound(why) => Why::NotFound(why),
            why => Why::Ended(why),
        });
    }

    fn source(&self, on_air: bool) {
        self.unfed.set((!on_air).then(clock::now));
        if !on_air && !self.visit.awaits_source() {
            return self.end_soon(Why::NotFound("the publisher has left"));
        }
        self.arm_timer();
    }
}

impl Player {
    /// Queues `len` bytes of `data` from `from` on.
    fn push(&self, data: &Data<'_>, from: usize, len: usize) {
        let (mut skip, mut left) = (from, len);
        for (part, block) in data.parts.iter().zip(data.blocks) {
            let start = skip.min(part.len());
            let end = part.len().min(start + left);
            let part = part.get(start..end).unwrap_or_default();
            skip -= start;
            left -= part.len();
            self.request.push_shared(part, *block);
        }
    }
}

impl Responder for Player {
    fn writable(self: Rc<Self>) {
        self.answer_ping();
        let playing = self.playing.borrow().clone();
        if let Some(playing) = playing {
            playing.0.writable();
        }
    }

    fn readable(self: Rc<Self>) {
        self.read();
    }

    fn gone(&self) {
        self.timer.cancel();
        self.soon.cancel();
        self.decision.take();
        self.playing.take();
    }
}
