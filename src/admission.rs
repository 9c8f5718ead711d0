//! The two decisions, to publish and to play, for an external client of any protocol: each is one
//! function, to be read from top to bottom.

mod limit;

use std::rc::Rc;

use live::{Publication, Sink, Source, Stream};

use crate::conf::{Conflict, Kind};
use crate::directory::{self, Interest, SourceHold};
use crate::nginx::clock;
use crate::nginx::log;
use crate::oclp::{self, Admitted};
use crate::registry;
use crate::relay::{loops, pulls, pushes, PushShare, Seat};
use crate::stream_request::{Refusal, StreamRequest};
use crate::variables::argument;
use limit::Places;

/// A publisher that was let in. Dropped, it has left, and everything it caused ends.
pub struct AdmittedPublisher {
    pub publication: Publication,
    _pushes: Option<PushShare>,
    _known: SourceHold,
    admitted: Admitted,
    _counted: Places,
}

/// A player that was let in and may subscribe. Dropped, it has left.
pub struct AdmittedPlayer {
    pub stream: Rc<Stream>,
    seat: Seat,
    _interest: Rc<Interest>,
    admitted: Admitted,
    _counted: Places,
}

impl AdmittedPublisher {
    /// Says why it ends, before it is dropped.
    pub fn ends(&self, why: &str) {
        self.admitted.ends(why);
    }
}

impl AdmittedPlayer {
    /// Says why it ends, before it is dropped.
    pub fn ends(&self, why: &str) {
        self.admitted.ends(why);
    }

    /// `sink` is to be told what becomes of the player.
    pub fn attend(&self, sink: Rc<dyn Sink>) {
        self.seat.attend(Rc::downgrade(&sink));
    }
}

/// publish → access → limit → oclp_publish → live → oclp_stream → push.
pub async fn publish(
    request: &Rc<StreamRequest>,
    source: Rc<dyn Source>,
) -> Result<AdmittedPublisher, Refusal> {
    loops::admit(request)?;
    access(request, Kind::Publish)?;
    let counted = limit::enter(request, Kind::Publish)?;
    let mut admitted = oclp::publish(request).await?;
    let (known, publication) = take_place(request, source)?;
    admitted.enter_stream(request);
    let pushes = pushes::start(request, publication.stream());
    Ok(AdmittedPublisher {
        publication,
        _pushes: pushes,
        _known: known,
        admitted,
        _counted: counted,
    })
}

/// A client that may play, and does not.
pub struct Allowed {
    admitted: Admitted,
    counted: Places,
}

/// access → limit → oclp_play, and whether there can be such a stream.
pub async fn may_play(request: &Rc<StreamRequest>) -> Result<Allowed, Refusal> {
    loops::admit(request)?;
    access(request, Kind::Play)?;
    let counted = limit::enter(request, Kind::Play)?;
    let admitted = oclp::play(request).await?;
    let here = registry::find(&request.key).is_some_and(|stream| stream.on_air());
    if !here && !awaits_source(request) {
        return Err(Refusal::NotFound("nobody publishes the stream"));
    }
    Ok(Allowed { admitted, counted })
}

/// play → access → limit → oclp_play → live → oclp_stream → pull.
pub async fn play(request: &Rc<StreamRequest>) -> Result<AdmittedPlayer, Refusal> {
    let Allowed { mut admitted, counted } = may_play(request).await?;
    let stream = request.stream();
    let interest = directory::interest(&request.key);
    admitted.enter_stream(request);
    let seat = pulls::join(request, &stream);
    Ok(AdmittedPlayer { stream, seat, _interest: interest, admitted, _counted: counted })
}

fn access(request: &StreamRequest, kind: Kind) -> Result<(), Refusal> {
    if !request.app.live.live {
        return Err(Refusal::Forbidden("live is off in this application"));
    }
    if !request.app.allowed(kind, request.caller.ip) {
        return Err(Refusal::Forbidden("access is denied"));
    }
    Ok(())
}

/// Joins the publishers of the stream. A publisher that takes another one's place is logged.
fn take_place(
    request: &StreamRequest,
    source: Rc<dyn Source>,
) -> Result<(SourceHold, Publication), Refusal> {
    let (priority, stream, now) = (priority(request), request.stream(), clock::now());
    let elsewhere = directory::source(&request.key).map(|remote| remote.priority);
    let before = stream.priority().max(elsewhere).filter(|before| *before >= 0);
    let busy = Refusal::BadName("the stream is already published");
    let joined = match request.app.publish.conflict {
        Conflict::Reject => {
            let known = directory::publish(&request.key, priority).map_err(|_| busy)?;
            (known, stream.publish(priority, source, now).map_err(|_| busy)?)
        }
        Conflict::Replace => {
            let known = directory::publish_over(&request.key, priority);
            (known, stream.replace(priority, source, directory::REPLACED, now).map_err(|_| busy)?)
        }
    };
    if before.is_some_and(|before| before <= priority) {
        log::notice!(
            log::cycle(),
            "*{} rtmp: another publisher takes over \"{}\", client: {}",
            request.caller.connection,
            request.key,
            String::from_utf8_lossy(&request.caller.remote_addr),
        );
    }
    Ok(joined)
}

/// The priority of a publisher among those of its stream: `?pubpri=N` where that counts, else 0.
/// A relay's place, below every publisher, can't be taken by asking for it.
fn priority(request: &StreamRequest) -> i32 {
    if !request.app.publish.priority {
        return 0;
    }
    std::str::from_utf8(argument(&request.args, b"pubpri"))
        .ok()
        .and_then(|text| text.parse().ok())
        .map_or(0, |priority: i32| priority.max(0))
}

/// Whether a player stays when there is no source here: a client may publish one, a pull may bring one,
/// or another worker has one.
pub fn awaits_source(request: &StreamRequest) -> bool {
    request.app.live.idle_streams
        || pulls::possible(request)
        || directory::source(&request.key).is_some()
}
