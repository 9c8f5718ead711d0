//! `play`: from the command to the subscription, and what a player is told.

use std::rc::Rc;

use live::{Filter, Subscriber};
use rtmp_protocol::amf0::Value;
use rtmp_protocol::command::Command;
use rtmp_protocol::message;

use super::command::without_query;
use super::state::{Flow, MessageStream, Role, Session, Viewer};
use crate::admission::{self, AdmittedPlayer};
use crate::nginx::clock;
use crate::stream_request::{Name, Refusal, StreamRequest};

impl Session {
    /// A player that plays again moves over to the other stream.
    pub(super) fn play_command(self: &Rc<Self>, id: u32, command: &Command) -> Flow {
        self.play_name(id, command.str_arg(0).unwrap_or_default())
    }

    /// `play2` names another stream in an object.
    pub(super) fn play2_command(self: &Rc<Self>, id: u32, command: &Command) -> Flow {
        let name = command.args.first().and_then(|options| options.get(b"streamName"));
        let name = name.and_then(Value::as_str_bytes).unwrap_or_default().to_vec();
        self.play_name(id, &name)
    }

    fn play_name(self: &Rc<Self>, id: u32, name: &[u8]) -> Flow {
        self.asks("PLAY", name);
        let stream = self.streams.borrow_mut().adopt(self, id);
        let Some(stream) = stream else {
            return self.deny(id, "NetStream.Play.Failed", "too many message streams");
        };
        if stream.publishes() {
            return self.deny(stream.id, "NetStream.Play.Failed", "the message stream publishes");
        }
        self.leave(&stream);
        stream.name.replace(without_query(name).to_vec());
        let (name, args) = match Name::parse(name) {
            Ok(Name { name, args }) if !name.is_empty() => (name.to_vec(), args.to_vec()),
            Ok(_) => return self.not_found(&stream, "the stream has no name"),
            Err(bad) => return self.not_found(&stream, bad.why()),
        };
        let stream_request = match self.stream_request(&stream, &name, args) {
            Ok(stream_request) => stream_request,
            Err(why) => return self.not_found(&stream, why),
        };
        let session = self.clone();
        self.decide(async move {
            match admission::play(&stream_request).await {
                Ok(playing) => session.join(&stream, stream_request, playing),
                Err(refusal) => session.refused(&stream, refusal),
            }
        });
        Flow::Pause
    }

    fn not_found(self: &Rc<Self>, stream: &MessageStream, why: &'static str) -> Flow {
        self.refuse(stream, "NetStream.Play.StreamNotFound", why)
    }

    fn refused(self: &Rc<Self>, stream: &MessageStream, refusal: Refusal) {
        match refusal {
            Refusal::Forbidden(why) | Refusal::TooMany(why) => {
                self.refuse(stream, "NetStream.Play.Forbidden", why)
            }
            Refusal::NotFound(why) | Refusal::BadName(why) => self.not_found(stream, why),
        };
    }

    /// The player gets its statuses and what there is of the stream in one write.
    fn join(
        self: &Rc<Self>,
        stream: &Rc<MessageStream>,
        stream_request: Rc<StreamRequest>,
        playing: AdmittedPlayer,
    ) {
        let live = &stream_request.app.live;
        let fed = playing.stream.on_air();
        let mut prologue = Vec::new();
        if !live.play_restart || fed {
            prologue.extend(self.started(stream.id));
        }
        if fed {
            message::user_control(&mut prologue, message::STREAM_BEGIN, stream.id, None);
        }
        stream.no_source_since.set((!fed).then(clock::now));
        self.players.set(self.players.get() + 1);
        // one that had the socket to itself shares it from now on
        let sole = self.streams.borrow().only(MessageStream::plays).cloned();
        self.feed(sole);
        let (form, sink) = (stream_request.form(), stream.clone());
        let subscriber = Subscriber { form, sink, player: true, prologue };
        playing.attend(stream.clone());
        let subscription = playing.stream.subscribe(subscriber, clock::now());
        if stream.filter.get() != Filter::ALL {
            subscription.set_filter(stream.filter.get(), clock::now());
        }
        stream.role.replace(Role::Player(Viewer { subscription, stream_request, playing }));
        self.arm_timer();
    }

    /// Play.Start, and that samples may be looked at (which Flash players wait for).
    fn started(&self, id: u32) -> Vec<u8> {
        let mut out = self.status(id, "status", "NetStream.Play.Start", "Start live");
        let access = ["|RtmpSampleAccess".into(), Value::Boolean(true), Value::Boolean(true)];
        message::data(&mut out, 0, id, self.chunk_size(), &access);
        out
    }

    pub(super) fn pause_command(&self, id: u32, command: &Command) {
        let pause = command.args.first().and_then(Value::as_bool).unwrap_or(true);
        let Some(player) = self.player(id) else { return };
        if let Role::Player(Viewer { subscription, .. }) = &*player.role.borrow() {
            subscription.pause(pause, clock::now());
        }
        let (code, description) = match pause {
            true => ("NetStream.Pause.Notify", "Paused live"),
            false => ("NetStream.Unpause.Notify", "Unpaused live"),
        };
        self.send_between(&player, &self.status(player.id, "status", code, description));
    }

    /// Live has no other place to go to: the player stays where it is.
    pub(super) fn seek_command(&self, id: u32) {
        let Some(player) = self.player(id) else { return };
        let (code, description) = ("NetStream.Seek.Notify", "Live can't be sought");
        self.send_between(&player, &self.status(player.id, "status", code, description));
    }

    /// Which of audio and video a player wants, also one that does not play yet.
    pub(super) fn receive(&self, id: u32, command: &Command, set: impl Fn(&mut Filter, bool)) {
        let on = command.args.first().and_then(Value::as_bool).unwrap_or(true);
        let stream = self.streams.borrow().addressed(id, |_| true).cloned();
        let Some(stream) = stream else { return };
        let mut filter = stream.filter.get();
        set(&mut filter, on);
        stream.filter.set(filter);
        let role = stream.role.borrow();
        if let Role::Player(Viewer { subscription, .. }) = &*role {
            subscription.set_filter(filter, clock::now());
        }
    }

    fn player(&self, id: u32) -> Option<Rc<MessageStream>> {
        self.streams.borrow().addressed(id, MessageStream::plays).cloned()
    }

    /// There is nothing to play, and nothing to wait for.
    pub(super) fn no_source(self: &Rc<Self>, stream: &MessageStream, why: &'static str) {
        self.leave(stream);
        self.not_found(stream, why);
    }

    pub(super) fn source_changed(self: &Rc<Self>, stream: &Rc<MessageStream>, on_air: bool) {
        let Some(app) = stream.app.borrow().clone() else { return };
        let live = &app.live;
        stream.no_source_since.set((!on_air).then(clock::now));
        let status = |code, what| self.status(stream.id, "status", code, what);
        let mut out = Vec::new();
        if on_air {
            message::user_control(&mut out, message::STREAM_BEGIN, stream.id, None);
            if live.play_restart {
                out.extend(self.started(stream.id));
            }
            if live.publish_notify {
                out.extend(status("NetStream.Play.PublishNotify", "Start publishing"));
            }
        } else {
            let waits = match &*stream.role.borrow() {
                Role::Player(Viewer { stream_request, .. }) => {
                    admission::awaits_source(stream_request)
                }
                _ => return,
            };
            if !waits {
                return self.no_source(stream, "the publisher has left");
            }
            message::user_control(&mut out, message::STREAM_EOF, stream.id, None);
            if live.play_restart {
                out.extend(status("NetStream.Play.Stop", "Stop live"));
            }
            if live.publish_notify {
                out.extend(status("NetStream.Play.UnpublishNotify", "Stop publishing"));
            }
        }
        self.send_between(stream, &out);
        self.arm_timer();
    }
}
