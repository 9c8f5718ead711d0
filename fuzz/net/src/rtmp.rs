//! RTMP sessions that a server should take, step by step.

use fastrand::Rng;
use rtmp_protocol::amf0::Value;
use rtmp_protocol::chunk::{self, Header};
use rtmp_protocol::command::Connect;
use rtmp_protocol::message;

/// Where a client leaves its chunk size.
const CHUNK: usize = 128;
const AVC_HEADER: &[u8] = &[
    0x17, 0, 0, 0, 0, 1, 0x42, 0xc0, 0x1e, 0xff, 0xe1, 0, 4, 0x67, 0x42, 0xc0, 0x1e, 1, 0, 2, 0x68,
    0xce,
];
const AAC_HEADER: &[u8] = &[0xaf, 0, 0x12, 0x10];
/// Enhanced RTMP: sequence headers of HEVC and of Opus, a multitrack frame.
const HVC_HEADER: &[u8] =
    b"\x90hvc1\x01\x01\x60\0\0\0\x90\0\0\0\0\0\x5d\xf0\0\xfc\xfd\xf8\xf8\0\0\x0f\0";
const OPUS_HEADER: &[u8] = b"\x90OpusOpusHead\x01\x02\0\0\x80\xbb\0\0\0\0\0";
const MULTITRACK: &[u8] = b"\x96\x11avc1\0\0\0\x04\0\0\0\0\x01\0\0\x04\0\0\0\0";

/// C0, C1 and C2. A server need not have answered before the last.
pub fn handshake() -> Vec<u8> {
    let mut bytes = vec![3];
    bytes.extend([0; 2 * 1536]);
    bytes
}

pub fn command(values: &[Value], stream_id: u32) -> Vec<u8> {
    let mut out = Vec::new();
    message::command(&mut out, message::CSID_COMMAND, stream_id, CHUNK, values);
    out
}

fn call(name: &str, arguments: &[Value], stream_id: u32) -> Vec<u8> {
    let mut values = vec![name.into(), 2.0.into(), Value::Null];
    values.extend_from_slice(arguments);
    command(&values, stream_id)
}

pub fn media(kind: u8, timestamp: u32, payload: &[u8], stream_id: u32) -> Vec<u8> {
    let csid = if kind == message::AUDIO { message::CSID_AUDIO } else { message::CSID_VIDEO };
    let mut out = Vec::new();
    chunk::write(&mut out, &Header { csid, timestamp, kind, stream_id }, payload, CHUNK);
    out
}

pub fn connect(app: &[u8], random: &mut Rng) -> Vec<u8> {
    let connect = Connect {
        app: app.to_vec(),
        tc_url: [b"rtmp://127.0.0.1/", app].concat(),
        page_url: b"http://a.example/".repeat(random.usize(..3)),
        flash_ver: b"LNX 9,0,124,2".to_vec(),
        enhanced: random.bool(),
        hops: if random.u8(..8) == 0 { random.u32(..12) } else { 0 },
        ..Connect::default()
    };
    command(&connect.request(random.bool()), 0)
}

/// A video frame.
pub fn frame(key: bool, len: usize) -> Vec<u8> {
    let mut payload = vec![if key { 0x17 } else { 0x27 }, 1, 0, 0, 0];
    payload.resize(5 + len, 0xaa);
    payload
}

/// Publishes `name` for a while.
pub fn publisher(random: &mut Rng, app: &[u8], name: &[u8]) -> Vec<Vec<u8>> {
    let mut steps = vec![handshake(), connect(app, random)];
    if random.bool() {
        steps.push(call("releaseStream", &[name.into()], 0));
        steps.push(call("FCPublish", &[name.into()], 0));
    }
    steps.push(call("createStream", &[], 0));
    steps.push(call("publish", &[name.into(), "live".into()], 1));
    let mut data = Vec::new();
    let about = Value::object([("width", Value::from(320.0)), ("encoder", "x".into())]);
    message::data(&mut data, 0, 1, CHUNK, &["@setDataFrame".into(), "onMetaData".into(), about]);
    steps.push(data);
    steps.push(media(message::VIDEO, 0, AVC_HEADER, 1));
    steps.push(media(message::AUDIO, 0, AAC_HEADER, 1));
    let mut time = if random.u8(..4) == 0 { random.u32(..) } else { 0 };
    for i in 0..random.u32(..60) {
        time = time.wrapping_add(random.u32(..50));
        let step = match random.u8(..12) {
            0 => media(message::VIDEO, time, HVC_HEADER, 1),
            1 => media(message::AUDIO, time, OPUS_HEADER, 1),
            2 => media(message::VIDEO, time, MULTITRACK, 1),
            3 => aggregate(time, random),
            4 => media(message::VIDEO, time, &[0x17, 2, 0, 0, 0], 1),
            5..=7 => media(message::AUDIO, time, &[&[0xaf, 1][..], &[0x55; 80]].concat(), 1),
            _ => media(message::VIDEO, time, &frame(i % 10 == 0, random.usize(..3000)), 1),
        };
        steps.push(step);
    }
    if random.bool() {
        steps.push(call("FCUnpublish", &[name.into()], 0));
        steps.push(call("deleteStream", &[1.0.into()], 0));
    }
    steps
}

fn aggregate(time: u32, random: &mut Rng) -> Vec<u8> {
    let mut all = Vec::new();
    for i in 0..random.u32(..5) {
        let payload = frame(false, random.usize(..100));
        rtmp_protocol::flv::encode(message::VIDEO, i, &payload, |bytes| {
            all.extend_from_slice(bytes)
        });
    }
    media(message::AGGREGATE, time, &all, 1)
}

/// Plays `name` and asks for all that a player may ask for.
pub fn player(random: &mut Rng, app: &[u8], name: &[u8]) -> Vec<Vec<u8>> {
    let mut steps = vec![handshake(), connect(app, random)];
    let mut window = Vec::new();
    message::window_ack_size(&mut window, random.u32(..));
    steps.push(window);
    steps.push(call("createStream", &[], 0));
    steps.push(call("play", &[name.into(), (-2000.0).into()], 1));
    for _ in 0..random.usize(..20) {
        let on = Value::Boolean(random.bool());
        let mut control = Vec::new();
        let step = match random.u8(..10) {
            0 => call("pause", &[on, 0.0.into()], 1),
            1 => call("seek", &[1000.0.into()], 1),
            2 => call("receiveAudio", &[on], 1),
            3 => call("receiveVideo", &[on], 1),
            4 => call("play2", &[Value::object([("streamName", Value::from(name))])], 1),
            5 => call("closeStream", &[], 1),
            6 => call("play", &[name.into()], 1),
            7 => call("createStream", &[], 0),
            8 => {
                message::user_control(&mut control, random.u16(..8), random.u32(..), None);
                control
            }
            _ => {
                message::set_chunk_size(&mut control, random.u32(..));
                control
            }
        };
        steps.push(step);
    }
    steps
}
