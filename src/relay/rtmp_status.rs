//! What a server says of a stream: in commands, or by sending it.

use std::io;

use rtmp_protocol::amf0::Value;
use rtmp_protocol::chunk::Message;
use rtmp_protocol::command::Command;
use rtmp_protocol::message;

use super::failure::{Cause, Failure, Refused};

/// What a server says of a refusal goes into the log up to so many bytes.
const MAX_REASON: usize = 200;

/// Whether it is of the stream.
pub fn is_media(message: &Message<'_>) -> bool {
    let kinds =
        [message::AUDIO, message::VIDEO, message::DATA, message::DATA_AMF3, message::AGGREGATE];
    kinds.contains(&message.kind)
}

/// The command that it is.
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

/// The refusal that a command says.
pub fn refused(command: &Command) -> Failure {
    let info = command.args.first();
    let text = |key: &[u8]| {
        let text = info.and_then(|info| info.get(key)).and_then(Value::as_str_bytes);
        let text = text.unwrap_or_default();
        String::from_utf8_lossy(text.get(..MAX_REASON).unwrap_or(text)).into_owned()
    };
    let status = format!("{} {}", text(b"code"), text(b"description"));
    let cause = Cause::Status(status.trim_end().to_owned());
    let refused = match command.status_code() {
        Some(b"NetStream.Play.StreamNotFound") => Some(Refused::NotFound),
        Some(
            b"NetStream.Play.Forbidden"
            | b"NetStream.Stream.Forbidden"
            | b"NetConnection.Connect.Rejected",
        ) => Some(Refused::Forbidden),
        _ => None,
    };
    Failure { refused, ..Failure::from(cause) }
}

/// A connection that breaks.
pub fn broken(error: io::Error) -> Failure {
    Cause::Broken(error).into()
}
