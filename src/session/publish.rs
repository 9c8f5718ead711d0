//! `publish`: from the command to the stream.

use std::rc::Rc;

use rtmp_protocol::command::Command;

use super::command::Name;
use super::{Flow, Reason, Role, Session};
use crate::conf::Kind;
use crate::live::{self, Source};
use crate::nginx::clock;
use crate::nginx::task;

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
        self.stream.replace(Some((name.clone(), args.clone())));
        let session = self.clone();
        self.decide(async move { session.publish(&name, &args).await });
        Ok(Flow::Pause)
    }

    fn bad_name(self: &Rc<Self>, why: &'static str) -> Flow {
        let status = self.status("error", "NetStream.Publish.BadName", why);
        self.refuse(&status, why);
        Flow::Stop
    }

    fn publish_forbidden(self: &Rc<Self>, why: &'static str) {
        let status = self.status("error", "NetStream.Publish.Forbidden", why);
        self.refuse(&status, why);
    }

    /// The way of a decision: access, then the stream.
    async fn publish(self: Rc<Self>, name: &[u8], args: &[u8]) {
        let Some(client) = self.client() else { return };
        if !client.app.live.live {
            return self.publish_forbidden("live is off in this application");
        }
        if !client.app.allowed(Kind::Publish, self.conn.ip()) {
            return self.publish_forbidden("access is denied");
        }
        let stream = live::stream(&client.key(name), &client.settings());
        let Ok(publication) = stream.publish(priority(args), self.clone()) else {
            self.bad_name("the stream is already published");
            return;
        };
        self.role.replace(Role::Publisher(publication));
        self.times.media(Some(clock::now()));
        self.arm_timer();
        let status = self.status("status", "NetStream.Publish.Start", "Start publishing");
        self.send(&status);
    }

    /// Runs a decision; until it is made, the client's input waits.
    pub(super) fn decide(self: &Rc<Self>, decision: impl std::future::Future<Output = ()> + 'static) {
        let session = self.clone();
        let task = task::spawn(async move {
            decision.await;
            if !session.ended.get() {
                session.decision.take();
                session.read();
            }
        });
        self.decision.replace(Some(task));
    }
}

/// The priority of a publisher among those of its stream: `?pubpri=N`, 0 by default.
fn priority(args: &[u8]) -> i32 {
    Name::arg(args, b"pubpri")
        .and_then(|text| std::str::from_utf8(text).ok())
        .and_then(|text| text.parse().ok())
        // a relay's place, below every publisher, can't be taken by asking for it
        .map_or(0, |priority: i32| priority.max(0))
}

impl Source for Session {
    fn on_air(&self, _on_air: bool) {}
}
