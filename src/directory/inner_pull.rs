//! Pulls between the workers of one machine: the side of the worker that has the players. What is
//! said on the way is told in [`super::inner_source`].

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};

use live::{Key, Kind, Media, Publication, Source, Stream};
use rtmp_protocol::chunk::MAX_MESSAGE;
use rtmp_protocol::flv::{self, FlvReader};

use super::inner_error::InnerError;
use super::inner_source::NOT_FOUND;
use super::key::encode;
use super::proof::{self, Purpose};
use super::sources::{forget_dead, source, Remote};
use super::workers;
use crate::nginx::address::Address;
use crate::nginx::async_conn::{self, AsyncConn};
use crate::nginx::clock;
use crate::nginx::event::Event;
use crate::nginx::log;
use crate::nginx::share::{Share, READS_A_TURN, READ_BUFFER};
use crate::nginx::task::{self, next_turn, Task};

/// How long another worker may take to answer: it is on this machine, but may be busy.
const CONNECT_MS: u64 = 1000;
/// Delay before a failed pull is tried again: the notification may be ahead of the source. Each
/// failure doubles it, up to the second.
const RETRY_MS: u64 = 20;
const MAX_RETRY_MS: u64 = 1000;

/// What is done about a stream that no other worker has a source of any more.
pub(super) type UpToThis = Rc<dyn Fn(&Rc<Stream>)>;

thread_local! {
    static PULLS: RefCell<HashMap<Key, Pull>> = RefCell::default();
}

/// A worker starts. `up_to_this` is called when another worker has pulled a stream for all and does not
/// any more.
pub(super) fn init(up_to_this: UpToThis) {
    UP_TO_THIS.replace(Some(up_to_this));
}

fn up_to_this(stream: &Rc<Stream>) {
    if let Some(f) = UP_TO_THIS.with_borrow(Clone::clone) {
        f(stream);
    }
}

/// A pull from another worker. Dropped, it ends.
struct Pull {
    from: Remote,
    _task: Task,
}

/// Whether another worker has a source of the stream that is better than those here. It is pulled
/// from there if this worker has players of it.
pub(super) fn look(stream: &Rc<Stream>) -> bool {
    let key = stream.key();
    let remote = source(key);
    let pulling = PULLS.with_borrow(|pulls| pulls.get(key).map(|pull| pull.from));
    let better = |from: Remote| stream.priority() > Some(from.priority);
    // two workers that went on playing from each other would keep each other for ever
    if pulling == remote && remote.is_some_and(|from| !better(from)) {
        return true;
    }
    // what is pulled from somewhere else is not the best source any more
    PULLS.with_borrow_mut(|pulls| pulls.remove(key));
    let Some(from) = remote else { return false };
    if stream.priority().is_some_and(|priority| priority >= from.priority) {
        return false;
    }
    if stream.players() > 0 {
        let task = task::spawn(pull(Rc::downgrade(stream), key.clone(), from));
        PULLS.with_borrow_mut(|pulls| pulls.insert(key.clone(), Pull { from, _task: task }));
    }
    true
}

/// The last player has left.
pub(super) fn forsake(key: &Key) {
    FAILED.with_borrow_mut(|failed| failed.remove(key));
    leave(key);
}

fn leave(key: &Key) {
    PULLS.with_borrow_mut(|pulls| pulls.remove(key));
}

/// A worker ends.
pub fn exit() {
    drop(PULLS.take());
}

/// One pull: from connect to the end of the source, and then a look at where it is now.
async fn pull(stream: Weak<Stream>, key: Key, from: Remote) {
    let fed = feed_from(&stream, &key, from).await;
    // nothing is waited for any more, so this task may go
    leave(&key);
    let Err(error) = fed else {
        FAILED.with_borrow_mut(|failed| failed.remove(&key));
        AGAIN.with_borrow_mut(|again| again.push((0, stream)));
        return LOOK_AGAIN.with(Event::post);
    };
    let failures = FAILED.with_borrow_mut(|failed| {
        let failures = failed.entry(key.clone()).or_default();
        *failures = failures.saturating_add(1);
        *failures
    });
    if failures == 1 {
        log::info!(
            log::cycle(),
            "rtmp: pull of \"{key}\" from worker {} failed: {error}",
            from.pid
        );
    }
    if error.is_of_a_dead_worker() {
        forget_dead();
    }
    let again_at = clock::now() + delay(failures);
    AGAIN.with_borrow_mut(|again| again.push((again_at, stream)));
    look_again_in_time();
}

thread_local! {
    /// Streams that are to be looked for again, and when.
    static AGAIN: RefCell<Vec<(u64, Weak<Stream>)>> = const { RefCell::new(Vec::new()) };
    static LOOK_AGAIN: Event = Event::new(look_again);
    static UP_TO_THIS: RefCell<Option<UpToThis>> = const { RefCell::new(None) };
    /// How often in a row the pull of a stream has failed.
    static FAILED: RefCell<HashMap<Key, u32>> = RefCell::new(HashMap::new());
}

fn look_again() {
    let now = clock::now();
    let due: Vec<_> = AGAIN.with_borrow_mut(|again| {
        let (due, later) = again.drain(..).partition(|(at, _)| *at <= now);
        *again = later;
        due
    });
    for stream in due.iter().filter_map(|(_, stream)| stream.upgrade()) {
        if stream.players() > 0 && !look(&stream) {
            // that worker pulled it for all: now it is up to this one
            up_to_this(&stream);
        }
    }
    look_again_in_time();
}

fn look_again_in_time() {
    let next = AGAIN.with_borrow(|again| again.iter().map(|(at, _)| *at).min());
    if let Some(at) = next {
        LOOK_AGAIN.with(|event| event.set_timer(at.saturating_sub(clock::now())));
    }
}

/// How long to wait after so many failures in a row.
fn delay(failures: u32) -> u64 {
    (RETRY_MS << failures.saturating_sub(1).min(8)).min(MAX_RETRY_MS)
}

/// Connects to another worker and asks it for the stream, once it is known to be one.
async fn ask(key: &Key, from: Remote) -> Result<AsyncConn, InnerError> {
    let paths = workers::paths(from.pid).ok_or(InnerError::NoSocket)?;
    let address = Address::Unix(paths.stream.into_os_string().into_encoded_bytes());
    let conn = async_conn::connect(&address).await.map_err(InnerError::Connect)?;
    let own = proof::nonce().ok_or(InnerError::NoProof)?;
    conn.write_all(&own).await?;
    let mut answer = [0; 2 * proof::SIZE];
    let mut len = 0;
    while let Some(rest) = answer.get_mut(len..).filter(|rest| !rest.is_empty()) {
        match conn.read(rest).await? {
            0 => return Err(InnerError::Closed),
            n => len += n,
        }
    }
    let (theirs, proof) = answer.split_at(proof::SIZE);
    if !proof::holds(Purpose::Source, &[&own, theirs], proof) {
        return Err(InnerError::Stranger);
    }
    let key = encode(key);
    let proof = proof::of(Purpose::Pull, &[&own, theirs, &key]).ok_or(InnerError::NoProof)?;
    let len = (key.len() as u32).to_be_bytes();
    conn.write_all(&[proof.as_slice(), &len, &key].concat()).await?;
    Ok(conn)
}

async fn feed_from(stream: &Weak<Stream>, key: &Key, from: Remote) -> Result<(), InnerError> {
    let conn = task::timeout(CONNECT_MS, ask(key, from)).await.ok_or(InnerError::Silent)??;

    let mut feed = InnerFeed { stream: stream.clone(), from, publication: None };
    let mut reader = FlvReader::new(MAX_MESSAGE);
    let mut buffer = vec![0; flv::MAX_LEFTOVER + READ_BUFFER];
    let mut kept = 0;
    let mut fed = false;
    let (share, mut reads) = (Share::default(), 0);
    loop {
        if reads == READS_A_TURN || share.is_used_up() {
            next_turn().await;
            share.renew();
            reads = 0;
        }
        reads += 1;
        let n = conn.read(buffer.get_mut(kept..).unwrap_or_default()).await?;
        if n == 0 && fed {
            return Ok(());
        }
        if n == 0 {
            return Err(InnerError::Closed);
        }
        if !fed {
            fed = true;
            FAILED.with_borrow_mut(|failed| failed.remove(key));
        }
        let mut input = buffer.get(..kept + n).unwrap_or_default();
        while let Some(tag) = reader.read(&mut input).map_err(InnerError::Flv)? {
            feed.tag(&tag)?;
            share.take(1);
        }
        let (end, left) = (kept + n, input.len());
        buffer.copy_within(end - left..end, 0);
        kept = left;
    }
}

/// A stream as it comes in from another worker.
struct InnerFeed {
    stream: Weak<Stream>,
    from: Remote,
    /// Since the first tag: a source that is waited for is none yet.
    publication: Option<Publication>,
}

impl InnerFeed {
    fn tag(&mut self, tag: &flv::Tag<'_>) -> Result<(), InnerError> {
        let Some(kind) = Kind::of_message_type(tag.kind) else { return Ok(()) };
        if kind == Kind::Data && tag.payload == NOT_FOUND {
            if let Some(stream) = self.stream.upgrade() {
                stream.end_players("there is no such stream, as another worker was told");
            }
            return Ok(());
        }
        let publication = match &self.publication {
            Some(publication) => publication,
            None => {
                let stream = self.stream.upgrade().ok_or(InnerError::NoPlayers)?;
                let publication = stream
                    .publish(self.from.priority, Rc::new(InnerSource), clock::now())
                    .map_err(|_| InnerError::Taken)?;
                self.publication.insert(publication)
            }
        };
        let media = Media { kind, timestamp: tag.timestamp, payload: tag.payload };
        publication.append(media, clock::now());
        Ok(())
    }
}

/// The source that a pull from another worker is in its stream.
struct InnerSource;

impl Source for InnerSource {
    /// A better one took over: the look at the change that brought it ends this pull.
    fn on_air(&self, _on_air: bool) {}

    fn refuse(&self, _why: &'static str) {}

    fn gathered(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_second() {
        let delays: Vec<_> = (1..=8).map(delay).collect();
        assert_eq!(delays, [20, 40, 80, 160, 320, 640, 1000, 1000]);
        assert_eq!(delay(u32::MAX), MAX_RETRY_MS);
        assert_eq!(delay(0), RETRY_MS);
    }
}
