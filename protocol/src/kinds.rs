//! Message type ids (RTMP 1.0 sections 5.4, 6.2 and 7.1).

/// Set Chunk Size.
pub const SET_CHUNK_SIZE: u8 = 1;
/// Abort: the unfinished message of a chunk stream is given up.
pub const ABORT: u8 = 2;
/// Acknowledgement: bytes received so far.
pub const ACK: u8 = 3;
/// User control, see [`UserControl`].
pub const USER_CONTROL: u8 = 4;
/// Window Acknowledgement Size.
pub const WINDOW_ACK_SIZE: u8 = 5;
/// Set Peer Bandwidth.
pub const SET_PEER_BANDWIDTH: u8 = 6;
/// Audio.
pub const AUDIO: u8 = 8;
/// Video.
pub const VIDEO: u8 = 9;
/// Data in an AMF3 envelope.
pub const DATA_AMF3: u8 = 15;
/// Shared object in an AMF3 envelope.
pub const SHARED_AMF3: u8 = 16;
/// Command in an AMF3 envelope.
pub const COMMAND_AMF3: u8 = 17;
/// Data, such as onMetaData.
pub const DATA: u8 = 18;
/// Shared object.
pub const SHARED: u8 = 19;
/// Command.
pub const COMMAND: u8 = 20;
/// Several audio, video and data messages in one.
pub const AGGREGATE: u8 = 22;
