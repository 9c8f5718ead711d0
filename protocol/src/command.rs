//! Commands and data: what their values mean (RTMP 1.0 section 7.2, Enhanced RTMP v2).

use thiserror::Error;

use crate::amf0::{decode_readable, Decoder, Members, Value};
use crate::wire::Fields;

/// What we say we can do with every codec: forward it (Enhanced RTMP, FourCcInfoMask).
pub const FOURCC_FORWARD: f64 = 4.0;
/// `capsEx` bit: the peer can be asked to reconnect.
pub const CAPS_RECONNECT: u32 = 1;
/// `capsEx` bit: several tracks in one message.
pub const CAPS_MULTITRACK: u32 = 2;
/// `capsEx` bit: ModEx packets.
pub const CAPS_MODEX: u32 = 4;
/// `capsEx` bit: timestamp offsets in nanoseconds.
pub const CAPS_NANOSECONDS: u32 = 8;
/// What a relay that forwards bytes can do: it leaves all of them as they are.
pub const CAPS_FORWARD: u32 = CAPS_MULTITRACK | CAPS_MODEX | CAPS_NANOSECONDS;

/// `fmsVer` in the answer to connect, the older modules' value, which encoders are used to.
pub const FMS_VER: &str = "FMS/3,0,1,123";
/// `capabilities` in the answer to connect, likewise.
pub const CAPABILITIES: f64 = 31.0;

/// The member of connect that counts the relays a stream has come through.
pub const HOPS: &str = "ngxRtmpHops";
/// The member of connect that tells which relays they are: their marks, with commas in between.
pub const VIA: &str = "ngxRtmpVia";

/// Why a payload is not a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum CommandError {
    #[error("command without a name")]
    Name,
    #[error("AMF3 envelope with format {0} instead of 0")]
    Format(u8),
    #[error("AMF3 envelope without a format")]
    NoFormat,
}

/// A command message.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// Such as `connect`.
    pub name: Vec<u8>,
    /// Transaction id; 0 (also if missing) asks for no answer.
    pub transaction: f64,
    /// The command object; null if missing.
    pub object: Value,
    /// What follows.
    pub args: Vec<Value>,
}

impl Command {
    /// Reads a command; `amf3` for message type 17, whose payload has a format byte in front. What
    /// stands before a value that can't be read counts: encoders put padding, and values of other
    /// encodings, behind all that matters.
    pub fn parse(payload: &[u8], amf3: bool) -> Result<Self, CommandError> {
        let mut values = decode_readable(amf0_of(payload, amf3)?).into_iter();
        let Some(Value::String(name)) = values.next() else { return Err(CommandError::Name) };
        let transaction = values.next().and_then(|value| value.as_number()).unwrap_or(0.0);
        let object = values.next().unwrap_or(Value::Null);
        Ok(Self { name, transaction, object, args: values.collect() })
    }

    /// The text of an argument.
    pub fn str_arg(&self, index: usize) -> Option<&[u8]> {
        self.args.get(index)?.as_str_bytes()
    }

    /// The number of an argument.
    pub fn number_arg(&self, index: usize) -> Option<f64> {
        self.args.get(index)?.as_number()
    }

    /// The code of an onStatus, in its first argument.
    pub fn status_code(&self) -> Option<&[u8]> {
        self.args.first()?.get(b"code")?.as_str_bytes()
    }
}

/// The AMF0 in a payload: what is behind the format byte of message types 15 and 17. Some peers
/// leave that byte out, so that the marker of the name stands in its place.
pub fn amf0_of(payload: &[u8], amf3: bool) -> Result<&[u8], CommandError> {
    match (amf3, payload) {
        (false, payload) | (true, payload @ [2, ..]) => Ok(payload),
        (true, [0, rest @ ..]) => Ok(rest),
        (true, [format, ..]) => Err(CommandError::Format(*format)),
        (true, []) => Err(CommandError::NoFormat),
    }
}

/// The name in front of a data message, such as `onMetaData`, and what follows it.
pub fn data_name(payload: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut fields = Fields(payload);
    if fields.u8()? != 2 {
        return None;
    }
    let length = fields.u16()?;
    let name = fields.take(length.into())?;
    Some((name, fields.0))
}

/// A data message as players get it: without the `@setDataFrame` that publishers put in front.
pub fn without_set_data_frame(payload: &[u8]) -> &[u8] {
    match data_name(payload) {
        Some((b"@setDataFrame", rest)) => rest,
        _ => payload,
    }
}

/// The first value of metadata: the object or ECMA array behind the name, with or without
/// `@setDataFrame`. `None` if the message is another one.
pub fn metadata(payload: &[u8]) -> Option<Value> {
    let (name, rest) = data_name(without_set_data_frame(payload))?;
    if name != b"onMetaData" {
        return None;
    }
    Decoder::new(rest).next_readable()
}

/// What a client says in connect.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Connect {
    /// Application, with its query if any; empty if missing.
    pub app: Vec<u8>,
    /// The url the client was given, without the stream's name.
    pub tc_url: Vec<u8>,
    /// The page the player is on.
    pub page_url: Vec<u8>,
    /// The player's own url.
    pub swf_url: Vec<u8>,
    /// The client's kind and version.
    pub flash_ver: Vec<u8>,
    /// Version of AMF that the client asks for.
    pub object_encoding: f64,
    /// Bits of old audio codecs.
    pub audio_codecs: f64,
    /// Bits of old video codecs.
    pub video_codecs: f64,
    /// Whether any field of Enhanced RTMP was there.
    pub enhanced: bool,
    /// FourCCs the client knows, or `*` for all.
    pub four_cc_list: Vec<Vec<u8>>,
    /// Bits of Enhanced RTMP, the `CAPS_` constants.
    pub caps_ex: u32,
    /// Relays the stream has come through; 0 for an ordinary client.
    pub hops: u32,
    /// The marks of those relays; empty for an ordinary client.
    pub via: Vec<u8>,
}

impl From<&Command> for Connect {
    fn from(command: &Command) -> Self {
        let object = &command.object;
        let text = |key: &[u8]| {
            object.get(key).and_then(Value::as_str_bytes).map(<[u8]>::to_vec).unwrap_or_default()
        };
        let number = |key: &[u8]| object.get(key).and_then(Value::as_number).unwrap_or(0.0);
        let four_cc_list = match object.get(b"fourCcList") {
            Some(Value::StrictArray(list)) => {
                list.iter().filter_map(Value::as_str_bytes).map(<[u8]>::to_vec).collect()
            }
            _ => Vec::new(),
        };
        let enhanced: [&[u8]; 4] =
            [b"fourCcList", b"videoFourCcInfoMap", b"audioFourCcInfoMap", b"capsEx"];
        Self {
            app: text(b"app"),
            tc_url: text(b"tcUrl"),
            page_url: text(b"pageUrl"),
            swf_url: text(b"swfUrl"),
            flash_ver: text(b"flashVer"),
            object_encoding: number(b"objectEncoding"),
            audio_codecs: number(b"audioCodecs"),
            video_codecs: number(b"videoCodecs"),
            enhanced: enhanced.into_iter().any(|key| object.get(key).is_some()),
            four_cc_list,
            // float to integer saturates, and makes NaN 0
            caps_ex: number(b"capsEx") as u32,
            hops: number(HOPS.as_bytes()) as u32,
            via: text(VIA.as_bytes()),
        }
    }
}

impl Connect {
    /// The values of a connect command that says this, transaction 1. Texts that are empty are left
    /// out; the Enhanced RTMP fields are there if `enhanced`, claiming to forward every codec, and
    /// the hop count and the marks if there are any.
    pub fn request(&self, publishing: bool) -> Vec<Value> {
        let mut members: Members = vec![(b"app".to_vec(), Value::from(self.app.as_slice()))];
        if publishing {
            members.push((b"type".to_vec(), Value::from("nonprivate")));
        }
        let texts: [(&[u8], &[u8]); 4] = [
            (b"flashVer", &self.flash_ver),
            (b"swfUrl", &self.swf_url),
            (b"tcUrl", &self.tc_url),
            (b"pageUrl", &self.page_url),
        ];
        for (key, text) in texts {
            if !text.is_empty() {
                members.push((key.to_vec(), text.into()));
            }
        }
        if self.enhanced {
            let any = Value::StrictArray(vec![Value::from("*")]);
            members.push((b"fourCcList".to_vec(), any));
            members.extend(enhanced_members());
        }
        if self.hops > 0 {
            members.push((HOPS.into(), Value::from(f64::from(self.hops))));
        }
        if !self.via.is_empty() {
            members.push((VIA.into(), Value::from(self.via.as_slice())));
        }
        vec!["connect".into(), 1.0.into(), Value::Object(members)]
    }
}

/// What a forwarder says of itself.
fn enhanced_members() -> Members {
    let forward = || Value::object([("*", Value::from(FOURCC_FORWARD))]);
    vec![
        (b"videoFourCcInfoMap".to_vec(), forward()),
        (b"audioFourCcInfoMap".to_vec(), forward()),
        (b"capsEx".to_vec(), Value::from(f64::from(CAPS_FORWARD))),
    ]
}

/// The information object of onStatus, `_result` and `_error`; `level` is status, warning or error.
pub fn status(level: &str, code: &str, description: &str) -> Value {
    Value::object([
        ("level", Value::from(level)),
        ("code", Value::from(code)),
        ("description", Value::from(description)),
    ])
}

/// The values of an onStatus command.
pub fn on_status(level: &str, code: &str, description: &str) -> Vec<Value> {
    vec!["onStatus".into(), 0.0.into(), Value::Null, status(level, code, description)]
}

/// The values of a `_result` with one argument.
pub fn result(transaction: f64, value: Value) -> Vec<Value> {
    vec!["_result".into(), transaction.into(), Value::Null, value]
}

/// The values of an `_error`.
pub fn error(transaction: f64, code: &str, description: &str) -> Vec<Value> {
    vec!["_error".into(), transaction.into(), Value::Null, status("error", code, description)]
}

/// The values of the `_result` to a connect, with the Enhanced RTMP fields if the client sent any.
pub fn connect_result(transaction: f64, connect: &Connect) -> Vec<Value> {
    let mut properties = vec![
        (b"fmsVer".to_vec(), Value::from(FMS_VER)),
        (b"capabilities".to_vec(), Value::from(CAPABILITIES)),
    ];
    if connect.enhanced {
        properties.extend(enhanced_members());
    }
    let information = Value::object([
        ("level", Value::from("status")),
        ("code", Value::from("NetConnection.Connect.Success")),
        ("description", Value::from("Connection succeeded.")),
        ("objectEncoding", Value::from(connect.object_encoding)),
    ]);
    vec!["_result".into(), transaction.into(), Value::Object(properties), information]
}
