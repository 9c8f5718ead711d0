//! Messages and commands of a client, in RTMP's order: connect, createStream, then publish or play
//! on each message stream.

use std::rc::Rc;

use live::{Kind, Media};
use rtmp_protocol::amf0::Value;
use rtmp_protocol::chunk::Message;
use rtmp_protocol::command::{self, Command, Connect};
use rtmp_protocol::message::{self, AggregateError};

use super::budget::COMMAND_BURST;
use super::state::{Client, Flow, MessageStream, Peer, Reason, Role, Session};
use crate::conf::ServerConf;
use crate::nginx::clock;
use crate::nginx::log;
use crate::stream_request::{find_by_domain, Caller, Name, MAX_NAME};

/// The host of a tcUrl, without user and port.
fn host(tc_url: &[u8]) -> &[u8] {
    let Some(at) = tc_url.windows(3).position(|part| part == b"://") else { return &[] };
    let rest = tc_url.get(at + 3..).unwrap_or_default();
    let authority = rest.split(|byte| b"/?#".contains(byte)).next().unwrap_or_default();
    let host = authority.rsplit(|&byte| byte == b'@').next().unwrap_or_default();
    match host.strip_prefix(b"[") {
        Some(v6) => v6.split(|&byte| byte == b']').next().unwrap_or_default(),
        None => host.split(|&byte| byte == b':').next().unwrap_or_default(),
    }
}

impl Session {
    /// One message of the client.
    pub(super) fn message(self: &Rc<Self>, message: &Message<'_>) -> Result<Flow, Reason> {
        match message.kind {
            message::AUDIO | message::VIDEO | message::DATA | message::DATA_AMF3 => {
                self.media(message.stream_id, message.kind, message.timestamp, message.payload);
                Ok(Flow::Next)
            }
            message::AGGREGATE => {
                for part in message::aggregate(message.timestamp, message.payload) {
                    match part {
                        Ok(part) => {
                            self.share.take(1);
                            self.media(message.stream_id, part.kind, part.timestamp, part.payload);
                        }
                        Err(error @ AggregateError::TooMany) => {
                            return Err(Reason::Protocol(error.to_string()));
                        }
                        // what came before it is whole
                        Err(_) => break,
                    }
                }
                Ok(Flow::Next)
            }
            message::COMMAND => self.command_message(message, false),
            message::COMMAND_AMF3 => self.command_message(message, true),
            kind @ (message::WINDOW_ACK_SIZE | message::USER_CONTROL) => {
                self.control(|control, out| control.message(kind, message.payload, out));
                Ok(Flow::Next)
            }
            // acknowledgements, peer bandwidth, shared objects and what is unknown
            _ => Ok(Flow::Next),
        }
    }

    /// Media goes into the stream byte for byte.
    fn media(&self, id: u32, kind: u8, timestamp: u32, payload: &[u8]) {
        let streams = self.streams.borrow();
        let Some(stream) = streams.addressed(id, MessageStream::publishes) else { return };
        let Role::Publisher(publishing) = &*stream.role.borrow() else { return };
        let now = clock::now();
        stream.media.set(Some(now));
        let (kind, payload) = match kind {
            message::DATA_AMF3 => (message::DATA, command::amf0_of(payload, true)),
            kind => (kind, Ok(payload)),
        };
        if let (Some(kind), Ok(payload)) = (Kind::of_message_type(kind), payload) {
            publishing.publication.append(Media { kind, timestamp, payload }, now);
        }
    }

    fn command_message(self: &Rc<Self>, message: &Message<'_>, amf3: bool) -> Result<Flow, Reason> {
        if !self.budget.take(clock::now()) {
            return Err(Reason::Protocol(format!("more than {COMMAND_BURST} commands at once")));
        }
        // a command that can't be read is no reason to end a stream that runs
        let Ok(command) = Command::parse(message.payload, amf3) else { return Ok(Flow::Next) };
        let (id, connected) = (message.stream_id, self.client().is_some());
        match (command.name.as_slice(), connected) {
            (b"connect", false) => self.connect(&command),
            (b"connect", true) => Err(Reason::Protocol("a second connect".into())),
            (b"publish" | b"play" | b"play2" | b"createStream", false) => {
                let name = String::from_utf8_lossy(&command.name).into_owned();
                Err(Reason::Protocol(format!("{name} before connect")))
            }
            (b"publish", true) => Ok(self.publish_command(id, &command)),
            (b"play", true) => Ok(self.play_command(id, &command)),
            (b"play2", true) => Ok(self.play2_command(id, &command)),
            (_, connected) => {
                self.minor_command(id, &command, connected);
                Ok(Flow::Next)
            }
        }
    }

    /// One that the client's input never has to wait for.
    fn minor_command(self: &Rc<Self>, id: u32, command: &Command, connected: bool) {
        match (command.name.as_slice(), connected) {
            (b"createStream", true) => self.create_stream(command),
            (b"releaseStream" | b"FCSubscribe", true) => self.answer(command, Value::Undefined),
            (b"FCPublish", true) => self.fc_publish(command),
            (b"FCUnpublish", true) => self.fc_unpublish(command),
            (b"getStreamLength", true) => self.answer(command, Value::from(0.0)),
            (b"pause" | b"pauseRaw", true) => self.pause_command(id, command),
            (b"seek", true) => self.seek_command(id),
            (b"receiveAudio", true) => self.receive(id, command, |filter, on| filter.audio = on),
            (b"receiveVideo", true) => self.receive(id, command, |filter, on| filter.video = on),
            (b"closeStream", true) => self.close_stream(id),
            (b"deleteStream", true) => self.delete_stream(id, command),
            (b"_result" | b"_error" | b"onStatus" | b"onBWDone", _) => (),
            _ => self.fail(command, "There is no such method."),
        }
    }

    fn connect(self: &Rc<Self>, command: &Command) -> Result<Flow, Reason> {
        let connect = Connect::from(command);
        self.asked.borrow_mut().app = without_query(&connect.app).to_vec();
        let Name { name: app, .. } =
            Name::parse(&connect.app).map_err(|why| Reason::Protocol(format!("connect: {why}")))?;
        let app = app.strip_suffix(b"/").unwrap_or(app);
        let entrance = |server: &ServerConf, app| Some((server.entrance(app)?, app));
        let (server, domain, found) =
            find_by_domain(&self.listen, host(&connect.tc_url), app, entrance);
        if domain.len() > MAX_NAME || domain.iter().any(u8::is_ascii_control) {
            return Err(Reason::Protocol("connect: the host in tcUrl is not a name".into()));
        }
        self.server.replace(server.clone());
        let size = self.chunk_size();
        let Some((conf, app)) = found else {
            let mut out = Vec::new();
            let values = command::error(
                command.transaction,
                "NetConnection.Connect.InvalidApp",
                "There is no such application.",
            );
            message::command(&mut out, message::CSID_COMMAND, 0, size, &values);
            self.send(&out);
            self.close(Reason::Refused("no such application"));
            return Ok(Flow::Stop);
        };
        // everything in one write: each one of them alone would wait for the client's delayed ACK
        let mut out = Vec::new();
        message::window_ack_size(&mut out, server.ack_window);
        message::set_peer_bandwidth(&mut out, server.ack_window, message::LIMIT_DYNAMIC);
        message::set_chunk_size(&mut out, size as u32);
        let values = command::connect_result(command.transaction, &connect);
        message::command(&mut out, message::CSID_COMMAND, 0, size, &values);
        let app_name = app.into();
        let caller = Rc::new(self.caller(connect, domain));
        let client = Client { caller, server, app: conf, app_name };
        // a second connect was refused before
        let _ = self.client.set(client);
        self.times.connected(clock::now());
        self.send(&out);
        self.arm_timer();
        Ok(Flow::Next)
    }

    /// What every stream that the client asks for is asked with.
    fn caller(&self, connect: Connect, domain: Vec<u8>) -> Caller {
        let Peer { addr, ip, port } = &*self.peer.borrow();
        Caller {
            domain: domain.into(),
            remote_addr: addr.clone(),
            ip: *ip,
            remote_port: *port,
            local: self.conn.local(),
            connection: self.conn.number(),
            tc_url: connect.tc_url.into(),
            page_url: connect.page_url.into(),
            swf_url: connect.swf_url.into(),
            flash_ver: connect.flash_ver.into(),
            scheme: "rtmp",
            hops: connect.hops,
            via: connect.via.into(),
        }
    }

    /// Takes note of what the client asks for.
    pub(super) fn asks(&self, command: &'static str, name: &[u8]) {
        self.command.set(command);
        self.reason.take();
        self.asked.borrow_mut().name = without_query(name).to_vec();
    }

    /// Answers a command that wants an answer.
    fn answer(&self, command: &Command, value: Value) {
        if command.transaction != 0.0 {
            let mut out = Vec::new();
            let values = command::result(command.transaction, value);
            message::command(&mut out, message::CSID_COMMAND, 0, self.chunk_size(), &values);
            self.send(&out);
        }
    }

    /// Answers that a command has no effect, if it wants an answer.
    fn fail(&self, command: &Command, why: &str) {
        if command.transaction != 0.0 {
            let mut out = Vec::new();
            let values = command::error(command.transaction, "NetConnection.Call.Failed", why);
            message::command(&mut out, message::CSID_COMMAND, 0, self.chunk_size(), &values);
            self.send(&out);
        }
    }

    fn create_stream(self: &Rc<Self>, command: &Command) {
        let created = self.streams.borrow_mut().create(self);
        match created {
            Some(stream) => self.answer(command, Value::from(f64::from(stream.id))),
            None => self.fail(command, "There are too many message streams."),
        }
    }

    /// Flash Media Live Encoder waits for this before it publishes.
    fn fc_publish(&self, command: &Command) {
        self.answer(command, Value::Undefined);
        let mut out = Vec::new();
        let name = command.str_arg(0).unwrap_or_default();
        let status =
            command::status("status", "NetStream.Publish.Start", &String::from_utf8_lossy(name));
        let values = ["onFCPublish".into(), 0.0.into(), Value::Null, status];
        message::command(&mut out, message::CSID_COMMAND, 0, self.chunk_size(), &values);
        self.send(&out);
    }

    /// Ends what is published under a name; the message stream stays.
    fn fc_unpublish(self: &Rc<Self>, command: &Command) {
        self.answer(command, Value::Undefined);
        let name = without_query(command.str_arg(0).unwrap_or_default());
        let named = |stream: &MessageStream| stream.publishes() && *stream.name.borrow() == name;
        let stream = self.streams.borrow().only(named).cloned();
        if let Some(stream) = stream {
            self.end_stream(&stream);
        }
    }

    fn close_stream(self: &Rc<Self>, id: u32) {
        let stream = self.streams.borrow().addressed(id, |stream| !stream.is_idle()).cloned();
        if let Some(stream) = stream {
            self.end_stream(&stream);
        }
    }

    fn delete_stream(self: &Rc<Self>, id: u32, command: &Command) {
        // float to integer saturates
        let Some(id) = command.number_arg(0).map(|id| id as u32) else {
            return self.close_stream(id);
        };
        let stream = self.streams.borrow_mut().remove(id);
        if let Some(stream) = stream {
            self.end_stream(&stream);
        }
    }

    /// Ends what a message stream does, at the client's wish.
    fn end_stream(&self, stream: &MessageStream) {
        let (code, description, end) = match *stream.role.borrow() {
            Role::None => return,
            Role::Publisher(_) => ("NetStream.Unpublish.Success", "Stop publishing", "unpublished"),
            Role::Player(_) => ("NetStream.Play.Stop", "Stop live", "stopped"),
        };
        self.asked.borrow_mut().name.clone_from(&stream.name.borrow());
        self.reason.replace(end.into());
        log::info!(self.conn.log(), "{}", self.line(&end));
        self.leave(stream);
        self.send(&self.status(stream.id, "status", code, description));
        self.rest();
    }
}

/// A name without the query behind it.
pub(super) fn without_query(name: &[u8]) -> &[u8] {
    name.split(|&byte| byte == b'?').next().unwrap_or_default()
}
