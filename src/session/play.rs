//! `play`: from the command to the subscription, and what a player is told.

use std::io;
use std::rc::Rc;

use rtmp_protocol::amf0::Value;
use rtmp_protocol::command::Command;
use rtmp_protocol::message;

use super::{Flow, Reason, Role, Session, Viewer};
use crate::live::{Data, Direct, End, Filter, Framing, Sink, Subscriber};
use crate::nginx::clock;
use crate::visit::{self, Name, Playing, Refusal, Visit, STREAM_ID};

impl Session {
    pub(super) fn play_command(self: &Rc<Self>, command: &Command) -> Result<Flow, Reason> {
        if !matches!(*self.role.borrow(), Role::None) {
            return Err(Reason::Protocol("play while a stream is in use".into()));
        }
        self.play_name(command.str_arg(0).unwrap_or_default())
    }

    /// `play2` names another stream in an object: the player moves over to it.
    pub(super) fn play2_command(self: &Rc<Self>, command: &Command) -> Result<Flow, Reason> {
        let name = command.args.first().and_then(|options| options.get(b"streamName"));
        let name = name.and_then(Value::as_str_bytes).unwrap_or_default().to_vec();
        self.leave();
        self.play_name(&name)
    }

    fn play_name(self: &Rc<Self>, name: &[u8]) -> Result<Flow, Reason> {
        let (name, args) = match Name::parse(name) {
            Ok(Name { name, args }) if !name.is_empty() => (name.to_vec(), args.to_vec()),
            Ok(_) => return Ok(self.not_found("the stream has no name")),
            Err(why) => return Ok(self.not_found(why)),
        };
        let Some(visit) = self.visit(&name, args) else { return Ok(Flow::Next) };
        let session = self.clone();
        self.decide(async move {
            match visit::play(&visit).await {
                Ok(playing) => session.join(&visit, playing),
                Err(refusal) => session.refused(refusal),
            }
        });
        Ok(Flow::Pause)
    }

    fn not_found(self: &Rc<Self>, why: &'static str) -> Flow {
        self.refuse("NetStream.Play.StreamNotFound", why)
    }

    fn refused(self: &Rc<Self>, refusal: Refusal) {
        match refusal {
            Refusal::Forbidden(why) => self.refuse("NetStream.Play.Forbidden", why),
            Refusal::NotFound(why) | Refusal::BadName(why) => self.not_found(why),
        };
    }

    /// The player gets its statuses and what there is of the stream in one write.
    fn join(self: &Rc<Self>, visit: &Visit, playing: Playing) {
        let (live, stream) = (&visit.app.live, &playing.stream);
        let fed = stream.on_air();
        let mut prologue = self.unsent.take();
        if !live.play_restart || fed {
            prologue.extend(self.started());
        }
        if fed {
            message::user_control(&mut prologue, message::STREAM_BEGIN, STREAM_ID, None);
        } else {
            self.times.unfed(Some(clock::now()));
        }
        let (form, sink) = (visit.form(), self.clone());
        let subscription = stream.subscribe(Subscriber { form, sink, player: true, prologue });
        if self.filter.get() != Filter::ALL {
            subscription.set_filter(self.filter.get());
        }
        self.command.set("PLAY");
        self.role.replace(Role::Player(Viewer { subscription, _playing: playing }));
        self.arm_timer();
    }

    /// Play.Start, and that samples may be looked at (which Flash players wait for).
    fn started(&self) -> Vec<u8> {
        let mut out = self.status("status", "NetStream.Play.Start", "Start live");
        let access = ["|RtmpSampleAccess".into(), Value::Boolean(true), Value::Boolean(true)];
        message::data(&mut out, 0, STREAM_ID, self.chunk_size(), &access);
        out
    }

    pub(super) fn pause_command(&self, command: &Command) -> Result<Flow, Reason> {
        let pause = command.args.first().and_then(Value::as_bool).unwrap_or(true);
        let role = self.role.borrow();
        let Role::Player(Viewer { subscription, .. }) = &*role else { return Ok(Flow::Next) };
        subscription.pause(pause);
        let status = match pause {
            true => self.status("status", "NetStream.Pause.Notify", "Paused live"),
            false => self.status("status", "NetStream.Unpause.Notify", "Unpaused live"),
        };
        subscription.send(&status, super::MAX_UNSENT);
        Ok(Flow::Next)
    }

    /// Live has no other place to go to: the player stays where it is.
    pub(super) fn seek_command(&self, _command: &Command) -> Result<Flow, Reason> {
        if let Role::Player(Viewer { subscription, .. }) = &*self.role.borrow() {
            let status = self.status("status", "NetStream.Seek.Notify", "Live can't be sought");
            subscription.send(&status, super::MAX_UNSENT);
        }
        Ok(Flow::Next)
    }

    /// There is nothing to play, and nothing to wait for.
    pub(super) fn no_source(self: &Rc<Self>, why: &'static str) {
        self.leave();
        self.not_found(why);
    }
}

impl Sink for Session {
    fn write(&self, data: Data<'_>) -> io::Result<usize> {
        let now = clock::now();
        match self.conn.writev(data.parts) {
            Ok(n) => {
                self.times.active(now);
                // progress, if not the end of it: `timeout` counts from the last byte taken
                match n == data.parts.iter().map(|part| part.len()).sum::<usize>() {
                    true => self.times.unblocked(),
                    false => self.blocked(now),
                }
                Ok(n)
            }
            Err(error) => {
                if error.kind() == io::ErrorKind::WouldBlock && !self.times.is_blocked() {
                    self.blocked(now);
                }
                Err(error)
            }
        }
    }

    fn direct(&self) -> Option<Direct> {
        let socket = self.conn.socket().filter(|_| !self.ended.get())?;
        let relay = self.client().is_some_and(|client| client.connect.hops > 0);
        Some(Direct { socket, framing: Framing::Plain, relay })
    }

    fn sent(&self, bytes: u64) {
        self.conn.count_sent(bytes);
    }

    fn end(&self, why: End) {
        match why {
            End::Failed(error) => self.end_soon(Reason::Io(error)),
            End::TooSlow { times } => {
                let why = format!("the player was too slow, {times} times");
                self.end_soon(Reason::Protocol(why));
            }
            End::NotFound(why) => {
                let Some(session) = self.rc() else { return };
                let told = crate::nginx::task::spawn(async move { session.no_source(why) });
                self.telling.replace(Some(told));
            }
        }
    }

    fn source(&self, on_air: bool) {
        let Some(session) = self.rc() else { return };
        // after the change is complete: what follows may leave the stream
        let told = crate::nginx::task::spawn(async move { session.source_changed(on_air) });
        self.telling.replace(Some(told));
    }
}

impl Session {
    fn blocked(&self, now: u64) {
        self.times.blocked(now);
        self.arm_timer();
    }

    fn source_changed(self: &Rc<Self>, on_air: bool) {
        let Some(client) = self.client() else { return };
        let live = &client.app.live;
        self.times.unfed((!on_air).then(clock::now));
        let mut out = Vec::new();
        if on_air {
            message::user_control(&mut out, message::STREAM_BEGIN, STREAM_ID, None);
            if live.play_restart {
                out.extend(self.started());
            }
            if live.publish_notify {
                out.extend(self.status(
                    "status",
                    "NetStream.Play.PublishNotify",
                    "Start publishing",
                ));
            }
        } else {
            if !self.visit.borrow().as_ref().is_some_and(|visit| visit.awaits_source()) {
                return self.no_source("the publisher has left");
            }
            message::user_control(&mut out, message::STREAM_EOF, STREAM_ID, None);
            if live.play_restart {
                out.extend(self.status("status", "NetStream.Play.Stop", "Stop live"));
            }
            if live.publish_notify {
                out.extend(self.status(
                    "status",
                    "NetStream.Play.UnpublishNotify",
                    "Stop publishing",
                ));
            }
        }
        self.send(&out);
        self.arm_timer();
    }
}
