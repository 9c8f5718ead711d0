//! `publish`: from the command to the stream.

use std::rc::Rc;

use rtmp_protocol::command::Command;

use super::{Flow, Reason, Role, Session};
use crate::live::Source;
use crate::nginx::clock;
use crate::nginx::task;
use crate::visit::{self, Name, Publishing, Refusal};

impl Session {
    pub(super) fn publish_command(self: &Rc<Self>, command: &Command) -> Result<Flow, Reason> {
        if !matches!(*self.role.borrow(), Role::None) {
            return Err(Reason::Protocol("publish while a stream is in use".into()));
        }
        let name = command.str_arg(0).unwrap_or_default();
        let (name, args) = match Name::parse(name) {
            Ok(Name { name, args }) if !name.is_empty() => (name.to_vec(), args.to_vec()),
            Ok(_) => return Ok(self.bad_name("the stream has no name")),
            Err(why) => return Ok(self.bad_name(why)),
        };
        let Some(visit) = self.visit(&name, args) else { return Ok(Flow::Next) };
        let session = self.clone();
        self.decide(async move {
            match visit::publish(&visit, session.clone()).await {
                Ok(publishing) => session.on_air(publishing),
                Err(Refusal::Forbidden(why)) => {
                    session.refuse("NetStream.Publish.Forbidden", why);
                }
                Err(Refusal::BadName(why) | Refusal::NotFound(why)) => {
                    session.bad_name(why);
                }
            }
        });
        Ok(Flow::Pause)
    }

    fn bad_name(self: &Rc<Self>, why: &'static str) -> Flow {
        self.refuse("NetStream.Publish.BadName", why)
    }

    fn on_air(&self, publishing: Publishing) {
        self.command.set("PUBLISH");
        self.allow_media();
        self.role.replace(Role::Publisher(publishing));
        self.times.media(Some(clock::now()));
        self.arm_timer();
        let status = self.status("status", "NetStream.Publish.Start", "Start publishing");
        self.send(&status);
    }

    /// Runs a decision; until it is made, the client's input waits.
    pub(super) fn decide(
        self: &Rc<Self>,
        decision: impl std::future::Future<Output = ()> + 'static,
    ) {
        let session = self.clone();
        let task = task::spawn(async move {
            let _end = super::EndOnPanic(&session);
            decision.await;
            if !session.ended.get() {
                session.decision.take();
                session.read_on();
            }
        });
        self.decision.replace(Some(task));
    }
}

impl Source for Session {
    fn on_air(&self, _on_air: bool) {}

    fn refuse(&self, why: &'static str) {
        let Some(session) = self.rc() else { return };
        // after the call, since what follows leaves the stream
        let told = task::spawn(async move {
            session.bad_name(why);
        });
        self.telling.replace(Some(told));
    }

    fn collect(&self) {
        if let Some(session) = self.rc() {
            let _end = super::EndOnPanic(&session);
            session.collect();
        }
    }
}
