//! The handshake of a WebSocket (RFC 6455, 4.2): what a client has to ask for, and what it is told.

use nginx_sys::{
    ngx_int_t, NGX_HTTP_BAD_REQUEST, NGX_HTTP_FORBIDDEN, NGX_HTTP_GET,
    NGX_HTTP_INTERNAL_SERVER_ERROR,
};
use tungstenite::handshake::derive_accept_key;

use super::cors::Cors;
use crate::nginx::http::Request;

/// The only version there is (RFC 6455, 4.1).
const VERSION: &[u8] = b"13";
/// RFC 9110, 15.5.22; nginx has no name for it.
const UPGRADE_REQUIRED: ngx_int_t = 426;
/// A key of 16 bytes in base64, without its padding.
const KEY: usize = 22;

/// A handshake that is right.
pub struct Upgrade {
    /// `Sec-WebSocket-Accept` of the answer.
    pub accept: String,
    /// `Sec-WebSocket-Protocol` of the answer: the first that the client offers, since a browser
    /// gives up if it gets none of those that it offers.
    pub protocol: Option<Vec<u8>>,
}

/// Why a handshake is refused.
pub struct Refused {
    pub status: ngx_int_t,
    pub why: &'static str,
}

impl Upgrade {
    /// What the request asks for; `None` if it is not for a WebSocket.
    pub fn of(request: &Request, cors: &Cors) -> Result<Option<Self>, Refused> {
        // a server must not look at it in HTTP/1.0 (RFC 9110, 7.8)
        if !request.is_http_11()
            || request.method() != NGX_HTTP_GET as usize
            || !request.has_token("upgrade", b"websocket")
        {
            return Ok(None);
        }
        let bad = |why| Refused { status: NGX_HTTP_BAD_REQUEST as ngx_int_t, why };
        if !request.has_token("connection", b"upgrade") {
            return Err(bad("\"Upgrade: websocket\" without \"Connection: Upgrade\""));
        }
        if request.field("sec-websocket-version").as_deref() != Some(VERSION) {
            return Err(
                match request.add_field("Sec-WebSocket-Version", VERSION)
                    && request.add_field("Upgrade", b"websocket")
                {
                    true => {
                        Refused { status: UPGRADE_REQUIRED, why: "not version 13 of WebSocket" }
                    }
                    false => Refused {
                        status: NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t,
                        why: "out of memory",
                    },
                },
            );
        }
        let key = request.field("sec-websocket-key").filter(|key| is_key(key));
        let key = key.ok_or(bad("no \"Sec-WebSocket-Key\" of 16 bytes"))?;
        if !cors.admits(request) {
            let status = NGX_HTTP_FORBIDDEN as ngx_int_t;
            return Err(Refused { status, why: "\"flv_cors\" does not name the page's origin" });
        }
        let protocol = match request.field("sec-websocket-protocol") {
            Some(offered) => Some(first_token(&offered).ok_or(bad("a bad subprotocol"))?),
            None => None,
        };
        Ok(Some(Upgrade { accept: derive_accept_key(&key), protocol }))
    }
}

fn is_key(key: &[u8]) -> bool {
    let digit = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/".contains(byte);
    key.split_at_checked(KEY).is_some_and(|(key, end)| key.iter().all(digit) && end == b"==")
}

/// The first of a list of tokens (RFC 9110, 5.6.2).
fn first_token(list: &[u8]) -> Option<Vec<u8>> {
    let token = list.split(|&byte| byte == b',').next()?.trim_ascii();
    let is_char = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    (!token.is_empty() && token.iter().all(is_char)).then(|| token.to_vec())
}
