//! A client that publishes or plays, whatever protocol it speaks: what it is, and the stream that it
//! asks for.

pub mod attempts;
mod name;

use std::borrow::Cow;
use std::cell::OnceCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use live::{Form, Key, Settings, Stream};

use crate::conf::{AppConf, MergeWindow, ServerConf};
use crate::registry;
use crate::variables::{Var, Vars};

pub use name::{find_by_domain, join, Name, MAX_NAME};

/// How far a player may fall behind where `out_queue` says nothing of time.
const OUT_QUEUE_MS: u64 = 10_000;
/// The same where it says nothing of bytes.
const OUT_QUEUE_SIZE: usize = 8 << 20;

/// The first message stream of an RTMP client, for which media are written: all players of a stream
/// take the same bytes.
pub const STREAM_ID: u32 = 1;

/// The fields of an HTTP request in which a relay says what RTMP has in `connect`:
/// [`StreamRequest::hops`] and [`StreamRequest::via`].
pub const HOPS_FIELD: &str = "x-ngx-rtmp-hops";
pub const VIA_FIELD: &str = "x-ngx-rtmp-via";

/// A client that publishes or plays, and the stream that it names.
pub struct StreamRequest {
    pub server: Rc<ServerConf>,
    pub app: Rc<AppConf>,
    pub key: Key,
    /// The query behind the stream's name.
    pub args: Box<[u8]>,
    pub caller: Rc<Caller>,
    /// Why it has ended, for whoever is told of the end.
    pub reason: OnceCell<Box<str>>,
}

/// Who asks: the same for all that a connection asks for.
#[derive(Default)]
pub struct Caller {
    /// The host that the client asked for, in lower case.
    pub domain: Box<[u8]>,
    /// The client's address as text, with the port if it has one.
    pub remote_addr: Rc<[u8]>,
    /// `None` for a client of a unix socket.
    pub ip: Option<IpAddr>,
    /// 0 for a client of a unix socket.
    pub remote_port: u16,
    /// The address that the client connected to; `None` for a unix socket.
    pub local: Option<SocketAddr>,
    /// nginx's number of the client's connection.
    pub connection: usize,
    pub tc_url: Box<[u8]>,
    pub page_url: Box<[u8]>,
    pub swf_url: Box<[u8]>,
    pub flash_ver: Box<[u8]>,
    /// `rtmp` or `http`.
    pub scheme: &'static str,
    /// Relays that the stream came through, or the request for it.
    pub hops: u32,
    /// The marks of those relays.
    pub via: Box<[u8]>,
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

impl StreamRequest {
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
        let text: &[u8] = match var {
            Var::FinalizeReason => self.reason.get().map_or(b"", |why| why.as_bytes()),
            Var::App => &self.key.app,
            Var::Name => &self.key.name,
            Var::Args => &self.args,
            _ => return self.caller.get(var),
        };
        text.into()
    }
}

impl Vars for Caller {
    fn get(&self, var: &Var) -> Cow<'_, [u8]> {
        let written = |text: Option<String>| text.unwrap_or_default().into_bytes().into();
        let text: &[u8] = match var {
            Var::Connection => return written(Some(self.connection.to_string())),
            Var::RemotePort => return written(Some(self.remote_port.to_string())),
            Var::ServerAddr => return written(self.local.map(|at| at.ip().to_string())),
            Var::ServerPort => return written(self.local.map(|at| at.port().to_string())),
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
