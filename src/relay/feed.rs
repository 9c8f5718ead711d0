//! What a pull publishes, message by message.

use std::rc::Rc;

use live::{Kind, Media, Publication, Source, Stream};
use rtmp_protocol::chunk::Message;
use rtmp_protocol::command;
use rtmp_protocol::message;

use super::failure::{Cause, Failure};
use super::media_flow::MediaFlow;
use super::pushes::{self, PushShare};
use crate::nginx::clock;
use crate::stream_request::StreamRequest;

/// The priority of a pull among the sources of its stream: below every publisher, so that a
/// publisher replaces it.
pub const PRIORITY: i32 = -1;

/// What a pull publishes. It is on air from the first message of the origin's on, since an origin
/// without a publisher may still let us wait. Dropped, it is not.
pub struct Feed {
    // a static pull is pushed on, as long as there is something
    pushes: Option<PushShare>,
    publication: Option<Publication>,
    stream: Rc<Stream>,
    /// In whose name a static pull is pushed on.
    pusher: Option<Rc<StreamRequest>>,
    flow: Rc<MediaFlow>,
}

/// The engine has nothing to tell a pull: when another source takes over, its owner ends it.
struct Quiet;

impl Source for Quiet {
    fn on_air(&self, _on_air: bool) {}
    fn refuse(&self, _why: &'static str) {}
}

impl Feed {
    /// Feeds `stream`, which is pushed on in the name of `pusher`.
    pub fn new(stream: &Rc<Stream>, pusher: Option<Rc<StreamRequest>>) -> Self {
        Feed {
            pushes: None,
            publication: None,
            stream: stream.clone(),
            pusher,
            flow: Rc::default(),
        }
    }

    /// Whether media comes.
    pub fn flow(&self) -> Rc<MediaFlow> {
        self.flow.clone()
    }

    /// Sends what has come, unless it is gathered.
    pub fn flush(&self) {
        if let Some(publication) = &self.publication {
            publication.stream().flush_posted(clock::now());
        }
    }

    /// Takes an RTMP message of an origin: media, alone or in an aggregate.
    pub fn message(&mut self, message: &Message<'_>) -> Result<(), Failure> {
        match message.kind {
            message::AGGREGATE | message::DATA_AMF3 => self.wrapped(message),
            kind => self.media(kind, message.timestamp, message.payload),
        }
    }

    /// Takes what is inside of an aggregate, or behind the mark of AMF3.
    #[cold]
    fn wrapped(&mut self, message: &Message<'_>) -> Result<(), Failure> {
        if message.kind == message::DATA_AMF3 {
            return match command::amf0_of(message.payload, true) {
                Ok(payload) => self.media(message::DATA, message.timestamp, payload),
                Err(_) => Ok(()),
            };
        }
        for part in message::aggregate(message.timestamp, message.payload) {
            // what came before a broken one is whole
            let Ok(part) = part else { break };
            self.media(part.kind, part.timestamp, part.payload)?;
        }
        Ok(())
    }

    /// Takes audio, video or data; what is neither is ignored.
    pub fn media(&mut self, kind: u8, timestamp: u32, payload: &[u8]) -> Result<(), Failure> {
        let Some(kind) = Kind::of_message_type(kind) else { return Ok(()) };
        if kind == Kind::Data && is_origins_own(payload) {
            return Ok(());
        }
        let publication = match &self.publication {
            Some(publication) => publication,
            None => self.publish()?,
        };
        let now = clock::now();
        publication.append(Media { kind, timestamp, payload }, now);
        self.flow.came(now);
        Ok(())
    }

    #[cold]
    fn publish(&mut self) -> Result<&Publication, Failure> {
        let publication = self.stream.publish(PRIORITY, Rc::new(Quiet), clock::now());
        let publication = publication.map_err(|_| Cause::OtherPull)?;
        self.pushes = self.pusher.as_ref().and_then(|request| pushes::start(request, &self.stream));
        Ok(self.publication.insert(publication))
    }
}

/// Data between an origin and its player, not of the stream.
fn is_origins_own(payload: &[u8]) -> bool {
    let own: [&[u8]; 3] = [b"|RtmpSampleAccess", b"onStatus", b"onPlayStatus"];
    command::data_name(payload).is_some_and(|(name, _)| own.contains(&name))
}
