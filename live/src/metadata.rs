//! What players get as metadata: the directive `meta`.

use std::borrow::Cow;

use rtmp_protocol::amf0::{encode, Value};
use rtmp_protocol::command;

/// What players get as metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Meta {
    /// Rebuilt from the properties that are known.
    On,
    /// None.
    Off,
    /// The source's, byte for byte.
    #[default]
    Copy,
}

/// What `meta on` keeps: what players and recorders look at.
const KNOWN: &[&[u8]] = &[
    b"duration",
    b"width",
    b"height",
    b"displayWidth",
    b"displayHeight",
    b"framerate",
    b"fps",
    b"videodatarate",
    b"videocodecid",
    b"audiodatarate",
    b"audiosamplerate",
    b"audiosamplesize",
    b"audiochannels",
    b"stereo",
    b"audiocodecid",
    b"profile",
    b"level",
    b"encoder",
];

/// The data message that players get for `payload`, which a source sent; none if they get nothing.
/// Other data than metadata is never touched. `on` passes what is known of what can be read, and
/// nothing of metadata that is written in no way that is.
pub(crate) fn for_players(meta: Meta, payload: &[u8]) -> Option<Cow<'_, [u8]>> {
    // an instruction to servers
    let payload = command::without_set_data_frame(payload);
    let is_metadata = command::data_name(payload).is_some_and(|(name, _)| name == b"onMetaData");
    match meta {
        Meta::On if is_metadata => {}
        Meta::Off if is_metadata => return None,
        _ => return Some(payload.into()),
    }
    let value = command::metadata(payload)?;
    let known = value.members()?.iter().filter(|(key, _)| KNOWN.contains(&key.as_slice()));
    let mut out = Vec::new();
    encode(&Value::from("onMetaData"), &mut out);
    encode(&Value::EcmaArray(known.cloned().collect()), &mut out);
    Some(out.into())
}
