//! What the bytes of a stream are wrapped in for a client: the body of an answer, or a WebSocket, which its
//! client writes to as well.

use std::cell::RefCell;
use std::io;

use nginx_sys::{
    ngx_int_t, NGX_ERROR, NGX_HTTP_CLIENT_CLOSED_REQUEST, NGX_HTTP_OK, NGX_HTTP_SWITCHING_PROTOCOLS,
};

use super::upgrade::Upgrade;
use super::websocket;
use crate::nginx::http::{Head, Request};
use crate::nginx::share::READS_A_TURN;

/// Read at once of what a WebSocket's client sends: a few pings.
const INPUT: usize = 1024;
/// How the bytes of a stream are wrapped for a client.
pub enum Wrap {
    /// Not at all: they are the body of the answer.
    Body,
    /// In frames.
    WebSocket(Box<WebSocket>),
}

pub struct WebSocket {
    upgrade: Upgrade,
    reader: RefCell<websocket::Reader>,
    /// A ping that is to be answered when the client reads again.
    ping: RefCell<Option<Vec<u8>>>,
}

impl Wrap {
    pub fn of(upgrade: Option<Upgrade>) -> Self {
        match upgrade {
            None => Wrap::Body,
            Some(upgrade) => Wrap::WebSocket(Box::new(WebSocket {
                upgrade,
                reader: RefCell::default(),
                ping: RefCell::default(),
            })),
        }
    }

    /// Sends the head of the answer. False if that is all.
    pub fn send_head(&self, request: &Request) -> io::Result<bool> {
        match self {
            Wrap::Body => request.send_head(&Head {
                status: NGX_HTTP_OK,
                line: "",
                content_type: "video/x-flv",
                fields: &[("Cache-Control", b"no-cache")],
            }),
            Wrap::WebSocket(ws) => switch(request, &ws.upgrade),
        }
    }

    /// Queues what goes in front of `len` bytes.
    pub fn put_before(&self, request: &Request, len: usize) {
        if let Wrap::WebSocket(_) = self {
            request.push(websocket::binary(len).into());
        }
    }

    /// Reads what the client of a WebSocket sends, and answers its pings.
    pub fn read(&self, request: &Request) -> Input {
        let Wrap::WebSocket(ws) = self else { return Input::Awaited };
        let mut buffer = [0; INPUT];
        for _ in 0..READS_A_TURN {
            let n = match request.recv(&mut buffer) {
                Ok(0) => return Input::Over(NGX_HTTP_CLIENT_CLOSED_REQUEST as ngx_int_t),
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Input::Awaited,
                Err(_) => return Input::Over(NGX_ERROR as ngx_int_t),
            };
            let came = ws.reader.borrow_mut().read(buffer.get(..n).unwrap_or_default());
            let came = match came {
                Ok(came) => came,
                Err(websocket::Broken(what)) => return Input::Broken(what),
            };
            for came in came {
                match came {
                    websocket::Came::Ping(payload) => {
                        // only the newest needs an answer (RFC 6455, 5.5.3)
                        ws.ping.replace(Some(payload));
                    }
                    websocket::Came::Close(payload) => return Input::Closes(payload),
                }
            }
            self.answer_ping(request);
        }
        Input::More
    }

    /// Sends a pong, if one is due and the client reads.
    pub fn answer_ping(&self, request: &Request) {
        let Wrap::WebSocket(ws) = self else { return };
        if request.is_busy() {
            return;
        }
        if let Some(payload) = ws.ping.take() {
            request.push(websocket::pong(&payload).into());
            if request.flush().is_err() {
                request.finalize(NGX_ERROR as ngx_int_t);
            }
        }
    }
}

/// What came of reading from a client.
pub enum Input {
    /// Nothing more is there.
    Awaited,
    /// There may be more, in another turn.
    More,
    /// The connection is over; the status for nginx.
    Over(ngx_int_t),
    /// The client closes the WebSocket, with this payload.
    Closes(Vec<u8>),
    /// The client sent what is not WebSocket.
    Broken(&'static str),
}

fn switch(request: &Request, upgrade: &Upgrade) -> io::Result<bool> {
    let mut fields: Vec<(&str, &[u8])> =
        vec![("Upgrade", b"websocket"), ("Sec-WebSocket-Accept", upgrade.accept.as_bytes())];
    if let Some(protocol) = &upgrade.protocol {
        fields.push(("Sec-WebSocket-Protocol", protocol));
    }
    let more = request.send_head(&Head {
        status: NGX_HTTP_SWITCHING_PROTOCOLS,
        line: "101 Switching Protocols",
        content_type: "",
        fields: &fields,
    })?;
    request.await_input();
    Ok(more)
}
