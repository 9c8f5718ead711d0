//! A client that plays a stream over HTTP.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::rc::{Rc, Weak};

use live::{Change, Data, Direct, End, Form, Framing, Key, Sink, Stream, Subscriber, Subscription};
use nginx_sys::{
    ngx_int_t, NGX_ERROR, NGX_HTTP_CLIENT_CLOSED_REQUEST, NGX_HTTP_FORBIDDEN, NGX_HTTP_HEAD,
    NGX_HTTP_NOT_FOUND, NGX_HTTP_TOO_MANY_REQUESTS,
};
use rtmp_protocol::flv;
use tungstenite::protocol::frame::coding::CloseCode;

use super::upgrade::Upgrade;
use super::websocket;
use super::wrap::{Input, Wrap};
use crate::admission::{self, AdmittedPlayer};
use crate::directory;
use crate::nginx::clock;
use crate::nginx::connection::KEEP_MS;
use crate::nginx::event::Event;
use crate::nginx::http::{Request, Responder};
use crate::nginx::log;
use crate::nginx::task::{self, Task};
use crate::registry;
use crate::stream_request::{Refusal, StreamRequest};

/// What is handed to nginx at once. A client that stops reading holds this much, and the blocks
/// that it lies in; the rest waits in the stream, which all its players share.
const MAX_HANDED: usize = 64 * 1024;
/// How long the first frame of a source is followed by a look for a second track, before the header
/// tells players that there is none.
const PROBE_MS: u64 = 500;
/// The status where there is no such stream.
pub const NOT_FOUND: ngx_int_t = NGX_HTTP_NOT_FOUND as ngx_int_t;
const TOO_MANY: ngx_int_t = NGX_HTTP_TOO_MANY_REQUESTS as ngx_int_t;
/// The close code for 404: those from 4000 on are for applications (RFC 6455, 7.4.2).
const NO_STREAM: CloseCode = CloseCode::Library(4404);

thread_local! {
    /// Players that wait for a stream to be decided about, or to show its tracks; by stream, and by
    /// where they are, so that one who comes or leaves costs the same however many others wait.
    static WAITING: RefCell<HashMap<Key, HashMap<*const Player, Weak<Player>>>> = {
        registry::observe(changed);
        RefCell::default()
    };
}

/// A stream has shown a track, or it is decided where it comes from: those who wait for that look
/// again.
fn changed(stream: &Rc<Stream>, change: Change) {
    if !matches!(change, Change::Track | Change::Decided) {
        return;
    }
    let waiting = WAITING.with_borrow_mut(|all| all.remove(stream.key())).unwrap_or_default();
    for player in waiting.values().filter_map(Weak::upgrade) {
        player.soon.post();
    }
}

/// How far an answer is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Progress {
    /// It can still be a refusal.
    Undecided,
    /// Its head is sent.
    Begun,
    /// And the FLV's header: now it is the engine's.
    Open,
}

/// Why an answer ends.
enum Why {
    /// There is nothing to play, and nothing to wait for.
    NotFound(&'static str),
    /// The publisher has left, and nobody is waited for.
    Unpublished,
    /// The engine has ended the subscription.
    Ended(End),
}

/// A client that plays a stream over HTTP. It lives as long as its request.
pub struct Player {
    pub(super) request: Request,
    this: Weak<Player>,
    pub(super) stream_request: Rc<StreamRequest>,
    /// When it came, in the loop's milliseconds.
    pub(super) came: u64,
    wrap: Wrap,
    /// What the client is allowed is being decided.
    decision: RefCell<Option<Task>>,
    playing: RefCell<Option<Rc<(Subscription, AdmittedPlayer)>>>,
    progress: Cell<Progress>,
    /// There is no source since then, in the loop's milliseconds; `None` = there is one.
    unfed: Cell<Option<u64>>,
    /// When to look again, whatever happens.
    look_at: Cell<Option<u64>>,
    ending: RefCell<Option<Why>>,
    /// What the engine asks for while it is at work, for after it.
    soon: Event,
    timer: Event,
}

impl Player {
    pub fn new(
        request: Request,
        stream_request: StreamRequest,
        upgrade: Option<Upgrade>,
    ) -> Rc<Self> {
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
                wrap: Wrap::of(upgrade),
                request,
                this: this.clone(),
                stream_request: Rc::new(stream_request),
                came: clock::now(),
                decision: RefCell::default(),
                playing: RefCell::default(),
                progress: Cell::new(Progress::Undecided),
                unfed: Cell::new(None),
                look_at: Cell::new(None),
                ending: RefCell::default(),
                soon: call(Player::proceed),
                timer: call(Player::tick),
            }
        })
    }

    /// Begins to decide; what follows from that comes later.
    pub fn decide(self: &Rc<Self>) {
        self.arm_timer();
        let player = self.clone();
        let decision = task::spawn(async move {
            if player.request.client_gone() {
                return player.request.finalize(NGX_HTTP_CLIENT_CLOSED_REQUEST as ngx_int_t);
            }
            let stream_request = &player.stream_request;
            if player.request.method() == NGX_HTTP_HEAD as usize {
                return match admission::may_play(stream_request).await {
                    Ok(_) => {
                        player.leaves("answered");
                        player.begin();
                    }
                    Err(refusal) => player.refuse(refusal),
                };
            }
            match admission::play(stream_request).await {
                Ok(playing) => player.join(playing),
                Err(refusal) => player.refuse(refusal),
            }
        });
        self.decision.replace(Some(decision));
    }

    fn refuse(&self, refusal: Refusal) {
        let (status, why) = match refusal {
            Refusal::TooMany(why) => {
                self.leaves(format!("refused: {why}"));
                return self.request.finalize(TOO_MANY);
            }
            Refusal::Forbidden(why) => (NGX_HTTP_FORBIDDEN as ngx_int_t, why),
            Refusal::NotFound(why) | Refusal::BadName(why) => (NOT_FOUND, why),
        };
        self.leaves(format!("refused: {why}"));
        self.log(format_args!("refused: {why}"));
        self.request.finalize(status);
    }

    fn join(self: &Rc<Self>, playing: AdmittedPlayer) {
        let stream = playing.stream.clone();
        self.unfed.set((!stream.on_air()).then(clock::now));
        playing.attend(self.clone());
        let (sink, prologue) = (self.clone(), Vec::new());
        let subscriber = Subscriber { form: Form::Flv, sink, player: true, prologue };
        let subscription = stream.subscribe(subscriber, clock::now());
        self.playing.replace(Some(Rc::new((subscription, playing))));
        self.proceed();
    }

    /// Does what can be done now: ends the answer, begins it, or goes on with it.
    fn proceed(self: &Rc<Self>) {
        if let Some(why) = self.ending.take() {
            return self.end_with(why);
        }
        let Some(playing) = self.playing.borrow().clone() else { return };
        let (subscription, AdmittedPlayer { stream, .. }) = &*playing;
        if self.progress.get() == Progress::Undecided {
            if let Err(until) = self.decided(stream) {
                return self.wait(until);
            }
            self.begin();
        }
        // the head may have been the end of it
        if self.progress.get() == Progress::Begun {
            match tracks(stream) {
                Ok((audio, video)) => {
                    self.progress.set(Progress::Open);
                    self.look_at.set(None);
                    let header = flv::header(audio, video);
                    self.wrap.put_before(&self.request, header.len());
                    self.request.push(header.into());
                    subscription.writable(clock::now());
                }
                Err(until) => self.wait(until),
            }
        }
        self.arm_timer();
        self.read();
    }

    /// Whether it is clear that there is a stream to be had, or that it is waited for. If not, when
    /// the player is let in nevertheless.
    fn decided(&self, stream: &Stream) -> Result<(), Option<u64>> {
        let Some(since) = self.unfed.get() else { return Ok(()) };
        if !self.stream_request.app.live.idle_streams {
            // a pull is tried, and may find nothing
            return Err(None);
        }
        let Some(callback) = &self.stream_request.app.oclp.pull else { return Ok(()) };
        let published =
            directory::source(&self.stream_request.key).is_some_and(|other| other.priority >= 0);
        let until = since + callback.timeout;
        match published || stream.is_decided() || clock::now() >= until {
            true => Ok(()),
            // another worker may be the one that asks
            false => Err(Some(until)),
        }
    }

    /// Looks again when the stream has changed, and at that moment at the latest.
    fn wait(&self, until: Option<u64>) {
        WAITING.with_borrow_mut(|all| {
            let waiting = all.entry(self.stream_request.key.clone()).or_default();
            waiting.insert(self.this.as_ptr(), self.this.clone());
        });
        self.look_at.set(until);
        self.arm_timer();
    }

    fn stop_waiting(&self) {
        WAITING.with_borrow_mut(|all| {
            let Some(waiting) = all.get_mut(&self.stream_request.key) else { return };
            waiting.remove(&self.this.as_ptr());
            if waiting.is_empty() {
                all.remove(&self.stream_request.key);
            }
        });
    }

    /// Sends the head of the answer, which is all of it if the client asked for the head only.
    fn begin(&self) {
        self.progress.set(Progress::Begun);
        match self.wrap.send_head(&self.request) {
            Ok(true) => (),
            Ok(false) => self.request.finish(),
            Err(_) => self.request.finalize(NGX_ERROR as ngx_int_t),
        }
    }

    /// Reads what the client of a WebSocket sends.
    fn read(&self) {
        if self.progress.get() == Progress::Undecided {
            return;
        }
        match self.wrap.read(&self.request) {
            Input::Awaited => (),
            Input::More => self.soon.post_next(),
            Input::Over(rc) => self.request.finalize(rc),
            Input::Closes(payload) => self.close(websocket::close_back(&payload)),
            Input::Broken(what) => {
                self.leaves(format!("sent {what}"));
                self.log(format_args!("sent {what}"));
                self.close(websocket::close(CloseCode::Protocol, ""));
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
        let (code, what, why) = match why {
            Why::NotFound(why) | Why::Ended(End::NotFound(why)) => (NO_STREAM, "not found", why),
            Why::Unpublished => (CloseCode::Away, "ended", "the publisher has left"),
            Why::Ended(End::Failed(_)) => return self.request.finalize(NGX_ERROR as ngx_int_t),
            Why::Ended(end) => {
                self.leaves(end.why());
                self.log(format_args!("closed: {}", end.why()));
                return self.request.finalize(NGX_ERROR as ngx_int_t);
            }
        };
        self.leaves(format!("{what}: {why}"));
        self.log(format_args!("{what}: {why}"));
        match &self.wrap {
            _ if self.progress.get() == Progress::Undecided => self.request.finalize(NOT_FOUND),
            Wrap::Body => self.request.finish(),
            Wrap::WebSocket(_) => self.close(websocket::close(code, why)),
        }
    }

    fn end_soon(&self, why: Why) {
        self.ending.replace(Some(why));
        self.soon.post();
    }

    fn arm_timer(&self) {
        let now = clock::now();
        let idle = self.stream_request.app.live.idle_timeout;
        let given_up = self.unfed.get().filter(|_| idle > 0).map(|since| since + idle);
        let next = given_up.into_iter().chain(self.look_at.get()).min();
        self.timer.set_timer(next.map_or(KEEP_MS, |at| at.saturating_sub(now).min(KEEP_MS)));
    }

    fn tick(self: &Rc<Self>) {
        let idle = self.stream_request.app.live.idle_timeout;
        let over = |since: &u64| idle > 0 && clock::now() >= since + idle;
        if let Some(since) = self.unfed.get().filter(over) {
            if !clock::stood_still(since + idle) {
                return self.end_with(Why::NotFound("nobody publishes the stream"));
            }
            // a publisher may have come meanwhile
            self.unfed.set(Some((clock::now() + clock::GRACE_MS).saturating_sub(idle)));
        }
        self.arm_timer();
        self.proceed();
    }

    fn log(&self, what: std::fmt::Arguments<'_>) {
        if let Some(log) = self.request.log() {
            log::info!(
                log,
                "rtmp: HTTP-FLV player {what}, stream: \"{}\"",
                self.stream_request.key
            );
        }
    }
}

impl Sink for Player {
    fn write(&self, data: Data<'_>) -> io::Result<usize> {
        if self.progress.get() < Progress::Open {
            // there is media: now the FLV can begin
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
            self.wrap.put_before(&self.request, n);
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
        Some(Direct { socket, framing, relay: self.stream_request.caller.hops > 0 })
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
        if !on_air && !admission::awaits_source(&self.stream_request) {
            return self.end_soon(Why::Unpublished);
        }
        if on_air {
            self.soon.post();
        }
        self.arm_timer();
    }
}

/// Which tracks there are, if that is known: both are, or a source has had its time to show them.
/// If not, when it will be known.
fn tracks(stream: &Stream) -> Result<(bool, bool), Option<u64>> {
    let tracks = stream.tracks();
    let Some(first) = stream.first_frame() else { return Err(None) };
    let known = first + PROBE_MS;
    match tracks == (true, true) || clock::now() >= known || !stream.on_air() {
        true => Ok(tracks),
        false => Err(Some(known)),
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
        self.wrap.answer_ping(&self.request);
        let playing = self.playing.borrow().clone();
        if let Some(playing) = playing.filter(|_| self.progress.get() == Progress::Open) {
            playing.0.writable(clock::now());
        }
    }

    fn readable(self: Rc<Self>) {
        self.read();
    }

    fn gone(&self) {
        self.stop_waiting();
        self.timer.cancel();
        self.soon.cancel();
        self.log_access();
        self.decision.take();
        self.playing.take();
    }
}
