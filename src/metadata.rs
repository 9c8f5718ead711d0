//! What players get as metadata: the directive `meta`.

use std::borrow::Cow;

use rtmp_protocol::amf0::{encode, Value};
use rtmp_protocol::command;

use crate::conf::Meta;

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
/// Other data than metadata is never touched, and neither is metadata that can't be read.
pub fn for_players(meta: Meta, payload: &[u8]) -> Option<Cow<'_, [u8]>> {
    let payload = command::without_set_data_frame(payload);
    if meta == Meta::Copy {
        return Some(payload.into());
    }
    let Some(value) = command::metadata(payload) else { return Some(payload.into()) };
    if meta == Meta::Off {
        return None;
    }
    let Some(members) = value.members() else { return Some(payload.into()) };
    let known = members.iter().filter(|(key, _)| KNOWN.contains(&key.as_slice())).cloned();
    let mut out = Vec::new();
    encode(&Value::from("onMetaData"), &mut out);
    encode(&Value::EcmaArray(known.collect()), &mut out);
    Some(out.into())
}
