//! Streams for HTTP clients, as FLV: in the body of an answer, or in the frames of a WebSocket.
//!
//! A player is an HTTP request that subscribes to a stream. Its answer begins when it is decided
//! that it may play; the FLV begins with the first frames, which tell what there is in it.

mod cors;
mod ending;
mod location;
pub mod module;
mod path;
mod player;
mod upgrade;
mod websocket;
mod wrap;

use std::cell::OnceCell;
use std::rc::Rc;

use live::Key;
use nginx_sys::{
    ngx_int_t, NGX_HTTP_GET, NGX_HTTP_HEAD, NGX_HTTP_INTERNAL_SERVER_ERROR, NGX_HTTP_NOT_ALLOWED,
    NGX_HTTP_NO_CONTENT,
};

use crate::conf::{Place, ServerConf};
use crate::nginx::http::Request;
use crate::nginx::log;
use crate::stream_request::{
    find_by_domain, Caller, Name, StreamRequest, HOPS_FIELD, MAX_NAME, VIA_FIELD,
};
use crate::variables::argument;
use location::{FlvLive, Location};
use player::{Player, NOT_FOUND};
use upgrade::Upgrade;

const NO_MEMORY: ngx_int_t = NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;
const METHODS: &[u8] = b"GET, HEAD, OPTIONS";

/// Begins to answer a request; an error is the answer.
fn serve(request: Request, location: &Location) -> Result<(), ngx_int_t> {
    let flv_live = location.flv_live().ok_or(NOT_FOUND)?;
    if !request.is_main() {
        return Err(NOT_FOUND);
    }
    // in front of every answer, so that a page can read a refusal as well
    if !location.cors().answer(&request) {
        return Err(NO_MEMORY);
    }
    if request.method() & (NGX_HTTP_GET | NGX_HTTP_HEAD) as usize == 0 {
        return Err(match (request.add_field("Allow", METHODS), request.is_options()) {
            (true, true) => NGX_HTTP_NO_CONTENT as ngx_int_t,
            (true, false) => NGX_HTTP_NOT_ALLOWED as ngx_int_t,
            (false, _) => NO_MEMORY,
        });
    }
    request.discard_body()?;
    let upgrade = Upgrade::of(&request, location.cors()).map_err(|refused| {
        if let Some(log) = request.log() {
            log::info!(log, "rtmp: WebSocket refused: {}", refused.why);
        }
        refused.status
    })?;
    let stream_request = stream_request_of(&request, flv_live).ok_or(NOT_FOUND)?;
    let player = Player::new(request.clone(), stream_request, upgrade);
    if !request.hold(player.clone()) {
        return Err(NO_MEMORY);
    }
    player.decide();
    Ok(())
}

/// The stream that a request is for. `None`: there is no such stream.
fn stream_request_of(request: &Request, location: &FlvLive) -> Option<StreamRequest> {
    let (args, host, hops) = (request.args(), request.host(), hops(request));
    // an IPv6 address stands in brackets there
    let domain = host.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")).unwrap_or(&host);
    // a relay of ours writes a name as it is, and nginx's path has lost some of it
    let path = match hops > 0 {
        true => path::exact(request.path(), &request.unparsed()),
        false => request.path(),
    };
    let path = path::of_stream(&path, location.app.as_deref());
    let listen = location.listen()?;
    let (server, domain, found) = match &location.app {
        None => find_by_domain(listen, domain, &path, ServerConf::split),
        Some(_) => {
            let server = listen.server_for(domain);
            let found = server.split(&path);
            (server, domain.to_ascii_lowercase(), found)
        }
    };
    let Some(Place { conf, app, name }) = found else {
        if let Some(log) = request.log() {
            let path = String::from_utf8_lossy(&path);
            log::error!(log, "rtmp: no application fits the path \"{path}\"");
        }
        return None;
    };
    let Name { name, args } = Name::new(name, &args).ok()?;
    if app.len() > MAX_NAME || app.iter().any(u8::is_ascii_control) {
        return None;
    }
    let scheme = if request.is_tls() { "https" } else { "http" };
    let tc_url = [scheme.as_bytes(), b"://", &host, b"/", app].concat();
    Some(StreamRequest {
        app: conf,
        key: Key { server: server.id.as_str().into(), app: app.into(), name: name.into() },
        server,
        args: args.into(),
        caller: Rc::new(Caller {
            domain: domain.into(),
            remote_addr: request.addr_text().into(),
            ip: request.ip(),
            remote_port: request.port(),
            local: request.local(),
            connection: request.number(),
            tc_url: tc_url.into(),
            page_url: request.field("referer").unwrap_or_default().into(),
            swf_url: Box::default(),
            flash_ver: argument(args, b"flashver").into(),
            scheme: "http",
            hops,
            via: request.field(VIA_FIELD).unwrap_or_default().into(),
        }),
        reason: OnceCell::new(),
    })
}

/// The relays that a request came through, as they count themselves in a field of it.
fn hops(request: &Request) -> u32 {
    let field = request.field(HOPS_FIELD).unwrap_or_default();
    std::str::from_utf8(&field).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}
