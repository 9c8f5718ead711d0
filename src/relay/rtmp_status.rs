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

#[cfg(test)]
mod tests {
    use rtmp_protocol::amf0;

    use super::*;

    /// A command message with these values.
    fn with_command<T>(values: &[Value], f: impl FnOnce(&Message<'_>) -> T) -> T {
        let mut payload = Vec::new();
        values.iter().for_each(|value| amf0::encode(value, &mut payload));
        f(&Message {
            kind: message::COMMAND,
            timestamp: 0,
            stream_id: 1,
            csid: 3,
            payload: &payload,
        })
    }

    fn status(level: &str, code: &str) -> Vec<Value> {
        let info = [("level", level), ("code", code), ("description", "why")];
        let info = Value::object(info.map(|(key, text)| (key, text.into())));
        vec!["onStatus".into(), 0.0.into(), Value::Null, info]
    }

    fn refused_by(level: &str, code: &str) -> Option<Failure> {
        with_command(&status(level, code), |message| refusal::<()>(message).err())
    }

    #[test]
    fn a_status_is_no_refusal_unless_it_is_an_error() {
        assert!(refused_by("status", "NetStream.Play.Start").is_none());
        assert!(refused_by("error", "NetStream.Play.Failed").is_some());
    }

    #[test]
    fn what_is_said_of_the_stream_counts() {
        for (code, refused) in [
            ("NetStream.Play.StreamNotFound", Some(Refused::NotFound)),
            ("NetStream.Play.Forbidden", Some(Refused::Forbidden)),
            ("NetStream.Stream.Forbidden", Some(Refused::Forbidden)),
            ("NetConnection.Connect.Rejected", Some(Refused::Forbidden)),
            ("NetStream.Play.Failed", None),
        ] {
            let failure = refused_by("error", code).expect("a refusal");
            assert_eq!(failure.refused, refused, "{code}");
            assert_eq!(failure.to_string(), format!("refused: {code} why"));
        }
    }

    #[test]
    fn a_long_reason_is_cut() {
        let failure = refused_by("error", &"x".repeat(10_000)).expect("a refusal");
        assert!(failure.to_string().len() < 2 * MAX_REASON);
    }

    #[test]
    fn what_is_no_command_says_nothing() {
        for kind in [message::AUDIO, message::USER_CONTROL, message::COMMAND] {
            let message = Message { kind, timestamp: 0, stream_id: 1, csid: 3, payload: b"\xff" };
            assert!(command_of(&message).is_none());
            assert!(refusal::<()>(&message).is_ok());
        }
    }

    #[test]
    fn media_are_audio_video_and_data_alone_or_together() {
        let is =
            |kind| is_media(&Message { kind, timestamp: 0, stream_id: 1, csid: 3, payload: b"" });
        for kind in [message::AUDIO, message::VIDEO, message::DATA, message::DATA_AMF3] {
            assert!(is(kind), "{kind}");
        }
        assert!(is(message::AGGREGATE));
        assert!(!is(message::COMMAND) && !is(message::USER_CONTROL));
    }
}
