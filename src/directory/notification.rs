//! What workers tell each other of a stream, in a datagram each: a source came or went, or there is
//! no such stream.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::rc::Rc;

use live::Key;

use super::key::{decode, encode};
use super::proof::{self, Purpose};
use super::workers::{self, me};
use crate::nginx::clock;
use crate::nginx::event::Event;
use crate::nginx::listening::{self, Watched};
use crate::nginx::log;
use crate::nginx::process;

/// A key never encodes to more: server, application and name are bounded when a client gives them.
const MAX_KEY: usize = 4096;
/// A worker's datagram queue is short (10 on Linux, net.unix.max_dgram_qlen); retry a notification
/// after this.
const RETRY_MS: u64 = 2;
/// A worker whose socket was taken away is tried again after this.
const ABSENT_MS: u64 = 100;
/// A worker that reads none of its notifications for so long hangs; it gets no more.
const GIVE_UP_MS: u64 = 5000;
/// What stands behind the key where there is no such stream.
const NOT_FOUND: &[u8] = b"n";

/// What a worker is told of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notification {
    /// A source of it came or went.
    Source,
    /// There is none, and its players are to leave.
    NotFound,
}

impl Notification {
    fn encode(self, key: &Key) -> Vec<u8> {
        let key = encode(key);
        match self {
            Notification::Source => key,
            Notification::NotFound => [key.as_slice(), NOT_FOUND].concat(),
        }
    }

    fn decode(bytes: &[u8]) -> Option<(Key, Self)> {
        let key = decode(bytes)?;
        match bytes == Notification::NotFound.encode(&key) {
            true => Some((key, Notification::NotFound)),
            false => Some((key, Notification::Source)),
        }
    }
}

type Observer = Rc<dyn Fn(&Key, Notification)>;

thread_local! {
    static OWN: RefCell<Option<Own>> = const { RefCell::new(None) };
    static OBSERVER: RefCell<Option<Observer>> = const { RefCell::new(None) };
    /// Notifications that could not be sent yet, and since when. One for each worker and stream is
    /// enough, since it only says where to look.
    static UNSENT: RefCell<HashMap<(i32, Vec<u8>), u64>> = RefCell::default();
    /// A worker that leaves sends them before, so it is not cancelable.
    static RETRY: Event = Event::new(send_again);
}

/// This worker's socket.
struct Own {
    datagrams: UnixDatagram,
    _watched: Watched,
}

/// This worker's socket is open. Dropped, it is closed.
pub(super) struct Listening(());

impl Drop for Listening {
    fn drop(&mut self) {
        let own = OWN.take();
        drop(own);
    }
}

/// Opens this worker's socket.
pub(super) fn listen(path: &Path) -> io::Result<Listening> {
    let datagrams = UnixDatagram::bind(path)?;
    let watched = listening::readable(&datagrams, receive)?;
    OWN.replace(Some(Own { datagrams, _watched: watched }));
    Ok(Listening(()))
}

/// Calls `observer` with each notification about a stream that this worker is interested in.
pub(super) fn observe(observer: impl Fn(&Key, Notification) + 'static) {
    OBSERVER.replace(Some(Rc::new(observer)));
}

/// Tells this worker itself.
pub(super) fn tell_own(key: &Key, notification: Notification) {
    if let Some(observer) = OBSERVER.with_borrow(Clone::clone) {
        observer(key, notification);
    }
}

/// Tells other workers, at once or as soon as they have room for it.
pub(super) fn tell(pids: &[i32], key: &Key, notification: Notification) {
    if pids.is_empty() {
        return;
    }
    let bytes = notification.encode(key);
    for &pid in pids {
        if send(pid, &bytes) != Sent::Done {
            UNSENT.with_borrow_mut(|unsent| {
                unsent.entry((pid, bytes.clone())).or_insert_with(clock::now);
            });
            RETRY.with(|retry| retry.set_timer(RETRY_MS));
        }
    }
}

fn send_again() {
    let mut hang = BTreeSet::new();
    let mut absent = true;
    let left = UNSENT.with_borrow_mut(|unsent| {
        unsent.retain(|(pid, bytes), since| {
            let sent = send(*pid, bytes);
            let waits = sent != Sent::Done;
            let hangs = waits && clock::now().saturating_sub(*since) >= GIVE_UP_MS;
            if hangs {
                hang.insert(*pid);
            }
            absent &= sent != Sent::Full;
            waits && !hangs
        });
        !unsent.is_empty()
    });
    for pid in hang {
        log::error!(log::cycle(), "rtmp: worker {pid} hangs, it is not told of streams any more");
    }
    if left {
        RETRY.with(|retry| retry.set_timer(if absent { ABSENT_MS } else { RETRY_MS }));
    }
}

/// What became of a notification.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sent {
    /// It is sent, or there is nobody to send it to.
    Done,
    /// The worker has no room for another one now.
    Full,
    /// The worker's socket is not there; the worker makes another.
    Absent,
}

fn send(pid: i32, bytes: &[u8]) -> Sent {
    let Some(paths) = workers::paths(pid) else { return Sent::Done };
    let Some(proof) = proof::of(Purpose::Notification, &[&pid.to_be_bytes(), bytes]) else {
        return Sent::Done;
    };
    let datagram = [proof.as_slice(), bytes].concat();
    let sent = OWN.with_borrow(|own| match own {
        Some(own) => own.datagrams.send_to(&datagram, paths.notification).map(drop),
        None => Err(io::ErrorKind::NotFound.into()),
    });
    match sent {
        Ok(()) => Sent::Done,
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock => Sent::Full,
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused if process::alive(pid) => {
                Sent::Absent
            }
            _ => {
                log::info!(log::cycle(), "rtmp: no notification to worker {pid}: {error}");
                Sent::Done
            }
        },
    }
}

fn receive() {
    let mut buffer = [0; proof::SIZE + MAX_KEY];
    let me = me().to_be_bytes();
    loop {
        let received = OWN.with_borrow(|own| match own {
            Some(own) => own.datagrams.recv(&mut buffer),
            None => Err(io::ErrorKind::WouldBlock.into()),
        });
        let Ok(n) = received else { return };
        let parts = buffer.get(..n).and_then(|bytes| bytes.split_first_chunk::<{ proof::SIZE }>());
        let Some((proof, bytes)) = parts else { continue };
        if !proof::holds(Purpose::Notification, &[&me, bytes], proof) {
            continue;
        }
        if let Some((key, notification)) = Notification::decode(bytes) {
            tell_own(&key, notification);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::tests::key;
    use super::*;

    #[test]
    fn a_notification_comes_back() {
        let key = key("s", b"live", b"a");
        for notification in [Notification::Source, Notification::NotFound] {
            let bytes = notification.encode(&key);
            assert_eq!(Notification::decode(&bytes), Some((key.clone(), notification)));
        }
    }

    #[test]
    fn a_name_that_ends_like_a_notification_is_none() {
        let key = key("s", b"live", b"n");
        let bytes = Notification::Source.encode(&key);
        assert_eq!(Notification::decode(&bytes), Some((key, Notification::Source)));
    }

    #[test]
    fn what_stands_behind_a_key_and_means_nothing_is_a_look_at_the_source() {
        let bytes = [Notification::Source.encode(&key("s", b"live", b"a")), b"x".to_vec()].concat();
        assert!(matches!(Notification::decode(&bytes), Some((_, Notification::Source))));
        assert_eq!(Notification::decode(b"nonsense"), None);
    }
}
