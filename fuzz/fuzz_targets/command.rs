//! Any bytes as a command and as data, and what we answer to a connect.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rtmp_protocol::chunk::{ChunkReader, Limits};
use rtmp_protocol::command::{
    connect_result, data_name, metadata, without_set_data_frame, Command, Connect,
};
use rtmp_protocol::message::{self, UserControl, CSID_COMMAND};

fuzz_target!(|bytes: &[u8]| {
    let _ = (data_name(bytes), metadata(bytes), UserControl::parse(bytes));
    let _ = message::control_value(bytes);
    assert!(bytes.ends_with(without_set_data_frame(bytes)));
    let _ = Command::parse(bytes, true);
    let Ok(command) = Command::parse(bytes, false) else { return };
    let _ = (command.str_arg(0), command.number_arg(1), command.status_code());
    let connect = Connect::from(&command);
    for values in [connect.request(true), connect_result(command.transaction, &connect)] {
        let mut out = Vec::new();
        message::command(&mut out, CSID_COMMAND, 0, 128, &values);
        let mut reader = ChunkReader::new(Limits::default());
        let mut input = &out[..];
        let sent = reader.read(&mut input).unwrap().expect("one whole message");
        Command::parse(sent.payload, false).expect("what we say is a command");
    }
});
