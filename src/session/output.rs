//! What goes out to a client: answers, and the media of the streams that it plays.
//!
//! A message that has begun is completed before another one begins. A client that plays one stream
//! gets its answers between the messages of that, from the engine. Where there are several, each
//! writes as long as the socket takes whole messages; the one whose message is cut short goes on
//! first.

use std::io;
use std::rc::Rc;

use live::{Data, Direct, End, Framing, Sink};
use rtmp_protocol::renumber::Renumber;

use super::state::{MessageStream, Reason, Role, Session, Viewer};
use crate::nginx::clock;
use crate::nginx::task;
use crate::stream_request::STREAM_ID;

/// Answers that wait for the client to read them: more than any sequence of commands needs.
const MAX_UNSENT: usize = 64 * 1024;
/// What is copied at once of a stream whose id is not that of its shared bytes.
const MAX_RENUMBERED: usize = 64 * 1024;

impl Session {
    /// Sends bytes that are whole messages: between those of the stream, if one is played.
    pub(super) fn send(&self, bytes: &[u8]) {
        if bytes.is_empty() || self.ended.get() {
            return;
        }
        if self.unsent.borrow().is_empty() {
            let sole = self.streams.borrow().only(MessageStream::plays).cloned();
            if let Some(player) = sole {
                return self.send_between(&player, bytes);
            }
        }
        self.send_behind(bytes);
    }

    /// Sends bytes at the next message boundary of a player.
    pub(super) fn send_between(&self, player: &MessageStream, bytes: &[u8]) {
        let Role::Player(Viewer { subscription, .. }) = &*player.role.borrow() else { return };
        if !subscription.send(bytes, MAX_UNSENT, clock::now()) {
            self.answers_unread();
        }
    }

    /// Sends bytes behind the answers that are unsent, and the message that is cut short.
    fn send_behind(&self, bytes: &[u8]) {
        let mut unsent = self.unsent.borrow_mut();
        let sent = if unsent.is_empty() && self.cut_short.get().is_none() {
            match self.conn.send(bytes) {
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => return self.end_soon(Reason::Io(error)),
            }
        } else {
            0
        };
        unsent.extend_from_slice(bytes.get(sent..).unwrap_or_default());
        if unsent.len() > MAX_UNSENT {
            self.answers_unread();
        } else if !unsent.is_empty() && !self.times.is_blocked() {
            self.blocked(clock::now());
        }
    }

    fn answers_unread(&self) {
        self.end_soon(Reason::TimedOut("the client does not read the answers it asks for"));
    }

    /// Sends what a player that has left was still to get: the message that was cut short is
    /// completed first of all.
    fn send_rest(&self, stream: &MessageStream, mut rest: Vec<u8>) {
        if self.cut_short.get() == Some(stream.id) {
            self.cut_short.set(None);
            rest.extend_from_slice(&self.unsent.take());
        }
        if !rest.is_empty() {
            self.send_behind(&rest);
        }
    }

    /// Ends the session after what is running now.
    pub(super) fn end_soon(&self, reason: Reason) {
        let Some(session) = self.rc() else { return };
        let end = task::spawn(async move { session.finalize(reason) });
        self.ending.replace(Some(end));
    }

    /// Leaves what the stream does: what is begun of a message is completed.
    pub(super) fn leave(&self, stream: &MessageStream) {
        stream.telling.take();
        stream.media.set(None);
        stream.no_source_since.set(None);
        let role = stream.role.take();
        // whoever plays something else has stopped
        role.ends(match self.reason.borrow().as_str() {
            "" => "stopped",
            why => why,
        });
        match role {
            Role::None => (),
            Role::Publisher(publishing) => {
                drop(publishing);
                self.set_polled(false);
            }
            Role::Player(Viewer { subscription, .. }) => {
                let mut rest = subscription.finish();
                if let Some(renumber) = &mut *stream.renumber.borrow_mut() {
                    renumber.pass(&mut rest);
                }
                self.players.set(self.players.get().saturating_sub(1));
                self.send_rest(stream, rest);
            }
        }
    }

    /// The client takes bytes again: first the rest of the message that is cut short, then answers,
    /// then what others play.
    pub(super) fn send_more(self: &Rc<Self>) {
        let begun = self.cut_short.get();
        if let Some(id) = begun {
            let stream = self.streams.borrow().get(id).cloned();
            self.resumed.set(false);
            self.feed(stream);
            // one that does not write any more had come to a message's end
            if !self.resumed.get() {
                self.cut_short.set(None);
            }
            if self.cut_short.get().is_some() || self.ended.get() {
                return;
            }
        }
        let unsent = self.unsent.take();
        if !unsent.is_empty() {
            match self.conn.send(&unsent) {
                Ok(n) if n < unsent.len() => {
                    self.times.blocked(clock::now());
                    self.unsent.replace(unsent.get(n..).unwrap_or_default().to_vec());
                    return;
                }
                Ok(_) => (),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.unsent.replace(unsent);
                    return;
                }
                Err(error) => return self.finalize(Reason::Io(error)),
            }
        }
        self.times.unblocked();
        self.half_close_when_sent();
        let players: Vec<_> = self.streams.borrow().iter().cloned().collect();
        for stream in players {
            if Some(stream.id) != begun && !self.ended.get() {
                self.feed(Some(stream));
            }
        }
    }

    /// Lets the engine send a player what there is for it.
    pub(super) fn feed(&self, stream: Option<Rc<MessageStream>>) {
        let Some(stream) = stream else { return };
        // taken out for the call, since the engine may end the stream in it
        let role = stream.role.take();
        if let Role::Player(Viewer { subscription, .. }) = &role {
            subscription.writable(clock::now());
        }
        if !self.ended.get() {
            stream.role.replace(role);
        }
    }

    fn blocked(&self, now: u64) {
        self.times.blocked(now);
        self.arm_timer();
    }

    /// Writes a prefix of a player's bytes.
    fn write(&self, data: Data<'_>) -> io::Result<usize> {
        let now = clock::now();
        match self.conn.writev(data.parts) {
            Ok(n) => {
                self.taken(now);
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
}

impl MessageStream {
    /// Has the client told of a change, when that is complete: what follows may leave the stream.
    pub(super) fn tell(&self, tell: impl FnOnce(&Rc<Session>, &Rc<MessageStream>) + 'static) {
        let Some(session) = self.session() else { return };
        let stream = session.streams.borrow().get(self.id).cloned();
        let told = task::spawn(async move {
            if let Some(stream) = stream {
                // what has ended is not to be held any longer
                stream.telling.take();
                tell(&session, &stream);
            }
        });
        self.telling.replace(Some(told));
    }

    /// Writes as [`Session::write`] does, with the stream's own id.
    #[cold]
    fn write_renumbered(&self, session: &Session, data: Data<'_>) -> io::Result<usize> {
        let mut guard = self.renumber.borrow_mut();
        let Some(renumber) = &mut *guard else { return session.write(data) };
        let mut sent = 0;
        loop {
            // one that is far behind is not copied all that waits for it
            let mut bytes = copy_of(data.parts, sent, MAX_RENUMBERED);
            if bytes.is_empty() {
                return Ok(sent);
            }
            let mut taken = bytes.clone();
            Renumber::clone(renumber).pass(&mut bytes);
            let parts = [io::IoSlice::new(&bytes)];
            let n = match session.write(Data { parts: &parts, blocks: &[None] }) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && sent > 0 => {
                    return Ok(sent);
                }
                n => n?,
            };
            sent += n;
            if let Some(taken) = taken.get_mut(..n) {
                renumber.pass(taken);
            }
            if n < bytes.len() {
                return Ok(sent);
            }
        }
    }
}

/// A copy of at most `most` bytes of `parts`, behind the first `skip`.
fn copy_of(parts: &[io::IoSlice<'_>], mut skip: usize, most: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        let from = skip.min(part.len());
        skip -= from;
        let to = part.len().min(from + (most - bytes.len()));
        bytes.extend_from_slice(part.get(from..to).unwrap_or_default());
        if bytes.len() == most {
            break;
        }
    }
    bytes
}

impl Sink for MessageStream {
    fn write(&self, data: Data<'_>) -> io::Result<usize> {
        let Some(session) = self.session() else { return Err(io::ErrorKind::NotConnected.into()) };
        let others_first = match session.cut_short.get() {
            Some(id) => id != self.id,
            None => !session.unsent.borrow().is_empty(),
        };
        if others_first {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        session.resumed.set(true);
        let wanted: usize = data.parts.iter().map(|part| part.len()).sum();
        let written = match self.id {
            STREAM_ID => session.write(data),
            _ => self.write_renumbered(&session, data),
        };
        let complete = written.as_ref().is_ok_and(|n| *n == wanted);
        session.cut_short.set((!complete).then_some(self.id));
        written
    }

    fn direct(&self) -> Option<Direct> {
        let session = self.session()?;
        // what is sent directly passes nobody who could change it, or see where it was cut short
        let sole = self.id == STREAM_ID
            && session.players.get() == 1
            && session.unsent.borrow().is_empty()
            && !session.ended.get();
        let socket = session.conn.socket().filter(|_| sole)?;
        let relay = session.client().is_some_and(|client| client.caller.hops > 0);
        Some(Direct { socket, framing: Framing::Plain, relay })
    }

    fn sent(&self, bytes: u64) {
        if let Some(session) = self.session() {
            session.conn.count_sent(bytes);
        }
    }

    fn end(&self, why: End) {
        let Some(session) = self.session() else { return };
        match why {
            End::Failed(error) => session.end_soon(Reason::Io(error)),
            End::TooSlow { .. } | End::Unread { .. } | End::TooManyForms => {
                session.end_soon(Reason::Protocol(format!("the player is closed: {}", why.why())));
            }
            End::NotFound(why) => {
                self.tell(move |session, stream| session.no_source(stream, why));
            }
        }
    }

    fn source(&self, on_air: bool) {
        self.tell(move |session, stream| session.source_changed(stream, on_air));
    }
}
