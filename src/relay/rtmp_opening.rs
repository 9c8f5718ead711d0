//! From a connection to a stream that the server has agreed to: handshake, `connect`, and `publish` or
//! `play`.
//!
//! Everything that a step has to say goes out in one write: each piece alone would wait for the
//! other side's delayed acknowledgement.

use rtmp_protocol::amf0::Value;
use rtmp_protocol::chunk::Message;
use rtmp_protocol::command::{Command, Connect};
use rtmp_protocol::handshake::ClientHandshake;
use rtmp_protocol::message;

use super::connect::connect;
use super::failure::{Cause, Failure};
use super::rtmp_client::{Role, RtmpClient};
use super::rtmp_status::{broken, command_of, is_media, refusal, refused};
use super::target::Target;
use crate::nginx::random;
use crate::stream_request::StreamRequest;

/// What we say we are, if the line says nothing: encoders' own name, since servers look for it.
const FLASH_VER: &[u8] = b"FMLE/3.0 (compatible; ngx-rtmp)";
/// `play` of a live stream, never of a recording.
const LIVE_ONLY: f64 = -1000.0;

/// Transactions: connect's number is given by the specification (RTMP 1.0 section 7.2.1.1).
const CONNECT: f64 = 1.0;
const RELEASE_STREAM: f64 = 2.0;
const FC_PUBLISH: f64 = 3.0;
const CREATE_STREAM: f64 = 4.0;

/// Connects to `target`, and asks to publish or play there. What it answers is for
/// [`established`].
pub async fn open(
    request: &StreamRequest,
    target: &Target,
    role: Role,
) -> Result<RtmpClient, Failure> {
    if target.name.contains(&b'?') {
        return Err(Cause::NameWithQuery.into());
    }
    let conn = connect(request, target).await?;
    let peer = RtmpClient::new(conn, &request.server, role);
    ask(peer, request, target).await.map_err(Failure::when_asked)
}

/// Asks to publish or play.
async fn ask(
    peer: RtmpClient,
    request: &StreamRequest,
    target: &Target,
) -> Result<RtmpClient, Failure> {
    let mut peer = peer;
    let role = peer.role;
    let mut out = handshake(&mut peer).await?;
    message::set_chunk_size(&mut out, peer.chunk_size as u32);
    message::window_ack_size(&mut out, request.server.ack_window);
    peer.command(&mut out, message::CSID_COMMAND, 0, &connect_request(target, role));
    peer.write(&out).await?;
    result(&mut peer, CONNECT).await?;

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
    let created = result(&mut peer, CREATE_STREAM).await?;
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

/// C0 and C1 out, S0 to S2 in. Gives C2, which goes out with what follows.
async fn handshake(peer: &mut RtmpClient) -> Result<Vec<u8>, Failure> {
    let mut handshake = ClientHandshake::new(random::seed());
    let mut out = Vec::new();
    handshake.start(&mut out);
    peer.write(&out).await?;
    out.clear();
    let mut input = [0; 4096];
    loop {
        let n = peer.conn.read(&mut input).await.map_err(broken)?;
        if n == 0 {
            return Err(Cause::ClosedInHandshake.into());
        }
        let came = input.get(..n).unwrap_or_default();
        let progress = handshake.input(came, &mut out).map_err(Cause::Handshake)?;
        if progress.done {
            let rest = came.get(progress.consumed..).unwrap_or_default();
            peer.unread.extend_from_slice(rest);
            return Ok(out);
        }
    }
}

/// Waits for the answer to a command of ours.
async fn result(peer: &mut RtmpClient, transaction: f64) -> Result<Command, Failure> {
    let unsent = peer.unsent();
    peer.messages(&unsent, |message| {
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
    mut peer: RtmpClient,
    mut media: impl FnMut(&Message<'_>) -> Result<(), Failure>,
) -> Result<RtmpClient, Failure> {
    let start: &[u8] = match peer.role {
        Role::Publish => b"NetStream.Publish.Start",
        Role::Play { .. } => b"NetStream.Play.Start",
    };
    let unsent = peer.unsent();
    peer.messages(&unsent, |message| {
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
    peer.opening = false;
    Ok(peer)
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
        _ => Err(Cause::NoStream.into()),
    }
}
