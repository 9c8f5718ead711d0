//! What an external client wants of a stream, whatever protocol it speaks: the way of a decision,
//! to be read from top to bottom.

pub mod limit;
mod name;

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use crate::conf::{AppConf, Conflict, Kind, MergeWindow, ServerConf};
use crate::directory::{self, Interest, SourceHold};
use crate::nginx::clock;
use crate::nginx::log;
use crate::oclp::{self, Admitted};
use crate::registry;
use crate::relay::{loops, pull, push, Seat};
use crate::variables::{argument, Var, Vars};

use limit::Places;
use live::{Form, Key, Publication, Settings, Sink, Source, Stream};
pub use name::{find_by_domain, join, Name, MAX_NAME};

/// How far a player may fall behind where `out_queue` says nothing of time.
const OUT_QUEUE_MS: u64 = 10_000;
/// The same where it says nothing of bytes.
const OUT_QUEUE_SIZE: usize = 8 << 20;

/// The first message stream of an RTMP client, for which media are written: all players of a stream
/// take the same bytes.
pub const STREAM_ID: u32 = 1;

/// A client that publishes or plays, and the stream that it names.
pub struct StreamRequest {
    pub server: Rc<ServerConf>,
    pub app: Rc<AppConf>,
    pub key: Key,
    /// The host that the client asked for, in lower case.
    pub domain: Vec<u8>,
    /// The query behind the stream's name.
    pub args: Vec<u8>,
    /// The client's address as text, with the port if it has one.
    pub remote_addr: Vec<u8>,
    /// `None` for a client of a unix socket.
    pub ip: Option<IpAddr>,
    /// 0 for a client of a unix socket.
    pub remote_port: u16,
    /// The address that the client connected to; `None` for a unix socket.
    pub local: Option<SocketAddr>,
    /// nginx's number of the client's connection.
    pub connection: usize,
    pub tc_url: Vec<u8>,
    pub page_url: Vec<u8>,
    pub swf_url: Vec<u8>,
    pub flash_ver: Vec<u8>,
    /// `rtmp` or `http`.
    pub scheme: &'static str,
    /// Relays that the stream came through, or the request for it.
    pub hops: u32,
    /// The marks of those relays.
    pub via: Vec<u8>,
}

/// Why a client is turned away; each protocol says it in its own way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is not allowed to: Forbidden, 403.
    Forbidden(&'static str),
    /// There is no such stream: StreamNotFound, 404.
    NotFound(&'static str),
    /// The name is taken: BadName.
    BadName(&'static str),
    /// The client has or asks for more than it may: Forbidden, 429. It is in the log already.
    TooMany(&'static str),
}

/// A publisher that was let in. Dropped, it has left, and everything it caused ends.
pub struct Publishing {
    pub publication: Publication,
    _pushes: Option<push::Share>,
    _known: SourceHold,
    _admitted: Admitted,
    _counted: Places,
}

/// A player that was let in and may subscribe. Dropped, it has left.
pub struct Playing {
    pub stream: Rc<Stream>,
    seat: Seat,
    _interest: Rc<Interest>,
    _admitted: Admitted,
    _counted: Places,
}

impl Playing {
    /// `sink` is to be told what becomes of the player.
    pub fn attend(&self, sink: Rc<dyn Sink>) {
        self.seat.attend(Rc::downgrade(&sink));
    }
}

/// publish → access → limit → oclp_publish → live → oclp_stream → push.
pub async fn publish(
    request: &Rc<StreamRequest>,
    source: Rc<dyn Source>,
) -> Result<Publishing, Refusal> {
    loops::admit(request)?;
    request.access(Kind::Publish)?;
    let counted = limit::enter(request, Kind::Publish)?;
    let mut admitted = oclp::publish(request).await?;
    let (known, publication) = request.take_place(source)?;
    admitted.enter_stream(request);
    let pushes = push::start(request, publication.stream());
    Ok(Publishing {
        publication,
        _pushes: pushes,
        _known: known,
        _admitted: admitted,
        _counted: counted,
    })
}

/// A client that may play, and does not.
pub struct Allowed {
    admitted: Admitted,
    counted: Places,
}

/// access → limit → oclp_play, and whether there can be such a stream.
pub async fn may_play(request: &Rc<StreamRequest>) -> Result<Allowed, Refusal> {
    loops::admit(request)?;
    request.access(Kind::Play)?;
    let counted = limit::enter(request, Kind::Play)?;
    let admitted = oclp::play(request).await?;
    let here = registry::find(&request.key).is_some_and(|stream| stream.on_air());
    if !here && !request.awaits_source() {
        return Err(Refusal::NotFound("nobody publishes the stream"));
    }
    Ok(Allowed { admitted, counted })
}

/// play → access → limit → oclp_play → live → oclp_stream → pull.
pub async fn play(request: &Rc<StreamRequest>) -> Result<Playing, Refusal> {
    let Allowed { mut admitted, counted } = may_play(request).await?;
    let stream = request.stream();
    let interest = directory::inner::interest(&request.key);
    admitted.enter_stream(request);
    let seat = pull::join(request, &stream);
    Ok(Playing { stream, seat, _interest: interest, _admitted: admitted, _counted: counted })
}

impl StreamRequest {
    fn access(&self, kind: Kind) -> Result<(), Refusal> {
        if !self.app.live.live {
            return Err(Refusal::Forbidden("live is off in this application"));
        }
        if !self.app.allowed(kind, self.ip) {
            return Err(Refusal::Forbidden("access is denied"));
        }
        Ok(())
    }

    /// Joins the publishers of the stream. Whoever takes somebody's place has a line in the log.
    fn take_place(&self, source: Rc<dyn Source>) -> Result<(SourceHold, Publication), Refusal> {
        let (priority, stream, now) = (self.priority(), self.stream(), clock::now());
        let elsewhere = directory::source(&self.key).map(|remote| remote.priority);
        let before = stream.priority().max(elsewhere).filter(|before| *before >= 0);
        let busy = Refusal::BadName("the stream is already published");
        let joined = match self.app.publish.conflict {
            Conflict::Reject => {
                let known = directory::publish(&self.key, priority).map_err(|_| busy)?;
                (known, stream.publish(priority, source, now).map_err(|_| busy)?)
            }
            Conflict::Replace => {
                let known = directory::publish_over(&self.key, priority);
                (
                    known,
                    stream.replace(priority, source, directory::REPLACED, now).map_err(|_| busy)?,
                )
            }
        };
        if before.is_some_and(|before| before <= priority) {
            log::notice!(
                log::cycle(),
                "*{} rtmp: another publisher takes over \"{}\", client: {}",
                self.connection,
                self.key,
                String::from_utf8_lossy(&self.remote_addr),
            );
        }
        Ok(joined)
    }

    /// The priority of a publisher among those of its stream: `?pubpri=N` where that counts, else 0.
    /// A relay's place, below every publisher, can't be taken by asking for it.
    fn priority(&self) -> i32 {
        if !self.app.publish.priority {
            return 0;
        }
        std::str::from_utf8(argument(&self.args, b"pubpri"))
            .ok()
            .and_then(|text| text.parse().ok())
            .map_or(0, |priority: i32| priority.max(0))
    }

    /// Whether a player stays when there is no source here: somebody may publish, a pull may bring
    /// one, or another worker has one.
    pub fn awaits_source(&self) -> bool {
        self.app.live.idle_streams || pull::possible(self) || directory::source(&self.key).is_some()
    }

    /// The stream that the client names.
    pub fn stream(&self) -> Rc<Stream> {
        registry::stream(&self.key, &self.settings())
    }

    /// The form in which RTMP players of this server take a stream.
    pub fn form(&self) -> Form {
        let chunk_size = self.server.chunk_size;
        Form::Rtmp { chunk_size, stream_id: STREAM_ID, to_publish: false }
    }

    /// How streams of this application behave.
    fn settings(&self) -> Settings {
        let live = &self.app.live;
        Settings {
            form: self.form(),
            cache_time: live.cache_time,
            cache_size: live.cache_size as u64,
            low_latency: live.low_latency,
            send_all: live.send_all,
            merge_window: match live.merge_window {
                MergeWindow::Fixed(ms) => Some(ms),
                MergeWindow::Auto if live.buffer > 0 => Some(live.buffer),
                MergeWindow::Auto => None,
            },
            meta: live.meta,
            wait_key: live.wait_key,
            wait_video: live.wait_video,
            out_queue_time: live.out_queue.time.map_or(OUT_QUEUE_MS, |ms| ms),
            out_queue_size: live.out_queue.size.unwrap_or(OUT_QUEUE_SIZE) as u64,
            out_queue_drops: live.out_queue.drops,
            player_memory: live.player_memory as u64,
        }
    }
}

impl Vars for StreamRequest {
    fn get(&self, var: &Var) -> Cow<'_, [u8]> {
        let written = |text: Option<String>| text.unwrap_or_default().into_bytes().into();
        let text: &[u8] = match var {
            Var::Connection => return written(Some(self.connection.to_string())),
            Var::RemotePort => return written(Some(self.remote_port.to_string())),
            Var::ServerAddr => return written(self.local.map(|at| at.ip().to_string())),
            Var::ServerPort => return written(self.local.map(|at| at.port().to_string())),
            Var::App => &self.key.app,
            Var::Name => &self.key.name,
            Var::Args => &self.args,
            Var::Domain => &self.domain,
            Var::RemoteAddr => &self.remote_addr,
            Var::FlashVer => &self.flash_ver,
            Var::SwfUrl => &self.swf_url,
            Var::TcUrl => &self.tc_url,
            Var::PageUrl => &self.page_url,
            Var::Scheme => self.scheme.as_bytes(),
            // what only the session knows
            _ => b"",
        };
        text.into()
    }
}
