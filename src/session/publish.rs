//! `publish`: from the command to the stream.

use std::rc::Rc;

use live::Source;
use rtmp_protocol::command::Command;

use super::command::without_query;
use super::end::EndOnPanic;
use super::state::{Flow, MessageStream, Role, Session};
use crate::admission::{self, AdmittedPublisher};
use crate::nginx::clock;
use crate::nginx::log;
use crate::nginx::task;
use crate::stream_request::{Name, Refusal};

impl Session {
    pub(super) fn publish_command(self: &Rc<Self>, id: u32, command: &Command) -> Flow {
        let asked = command.str_arg(0).unwrap_or_default();
        self.asks("PUBLISH", asked);
        let stream = self.streams.borrow_mut().adopt(self, id);
        let Some(stream) = stream else {
            return self.deny(id, "NetStream.Publish.BadName", "too many message streams");
        };
        if !stream.is_idle() {
            let why = "the message stream is in use";
            return self.deny(stream.id, "NetStream.Publish.BadName", why);
        }
        stream.name.replace(without_query(asked).to_vec());
        let (name, args) = match Name::parse(asked) {
            Ok(Name { name, args }) if !name.is_empty() => (name.to_vec(), args.to_vec()),
            Ok(_) => return self.bad_name(&stream, "the stream has no name"),
            Err(bad) => return self.bad_name(&stream, bad.why()),
        };
        let stream_request = match self.stream_request(&stream, &name, args) {
            Ok(stream_request) => stream_request,
            Err(why) => return self.bad_name(&stream, why),
        };
        let published = self.streams.borrow().iter().filter(|stream| stream.publishes()).count();
        if published >= self.server.borrow().max_publishes as usize {
            let why = "the connection publishes as many streams as it may";
            return self.refuse(&stream, "NetStream.Publish.Forbidden", why);
        }
        let session = self.clone();
        self.decide(async move {
            match admission::publish(&stream_request, stream.clone()).await {
                Ok(publishing) => session.on_air(&stream, publishing),
                Err(Refusal::Forbidden(why) | Refusal::TooMany(why)) => {
                    session.refuse(&stream, "NetStream.Publish.Forbidden", why);
                }
                Err(Refusal::BadName(why) | Refusal::NotFound(why)) => {
                    session.bad_name(&stream, why);
                }
            }
        });
        Flow::Pause
    }

    fn bad_name(self: &Rc<Self>, stream: &MessageStream, why: &'static str) -> Flow {
        self.refuse(stream, "NetStream.Publish.BadName", why)
    }

    fn on_air(&self, stream: &MessageStream, publishing: AdmittedPublisher) {
        log::notice!(self.conn.log(), "{}", self.line(&"started"));
        self.allow_media();
        stream.role.replace(Role::Publisher(publishing));
        stream.media.set(Some(clock::now()));
        // what is put off is put off for all that is published
        self.set_polled(false);
        self.arm_timer();
        let (code, description) = ("NetStream.Publish.Start", "Start publishing");
        self.send(&self.status(stream.id, "status", code, description));
    }

    /// Runs a decision; until it is made, the client's input waits.
    pub(super) fn decide(
        self: &Rc<Self>,
        decision: impl std::future::Future<Output = ()> + 'static,
    ) {
        let session = self.clone();
        let task = task::spawn(async move {
            let _end = EndOnPanic(&session);
            decision.await;
            if !session.ended.get() {
                session.decision.take();
                session.read_on();
            }
        });
        self.decision.replace(Some(task));
    }
}

impl Source for MessageStream {
    fn on_air(&self, _on_air: bool) {}

    fn refuse(&self, why: &'static str) {
        self.tell(move |session, stream| {
            session.bad_name(stream, why);
        });
    }

    fn collect(&self) {
        if let Some(session) = self.session() {
            let _end = EndOnPanic(&session);
            session.collect();
        }
    }
}
