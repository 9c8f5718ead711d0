//! Pulls that are held until a publisher of their stream arrives.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;

use crate::key::StreamKey;

/// Pulls held at one time; more are answered at once. One node holds one pull per stream.
const MAX_HELD: usize = 4096;

/// Who waits for which stream.
#[derive(Debug, Default)]
pub struct Arrivals {
    waiting: Mutex<HashMap<StreamKey, Weak<Waiting>>>,
}

#[derive(Debug, Default)]
struct Waiting {
    arrived: Notify,
}

/// One held pull; dropping it ends the wait.
#[derive(Debug)]
pub struct Arrival<'a> {
    of: &'a Arrivals,
    key: StreamKey,
    waiting: Option<Arc<Waiting>>,
}

impl Arrivals {
    /// Begins to listen for a stream; `None` if too many do.
    pub fn listen(&self, key: &StreamKey) -> Option<Arrival<'_>> {
        let mut map = self.lock();
        let known = map.get(key).and_then(Weak::upgrade);
        if known.is_none() && map.len() >= MAX_HELD {
            return None;
        }
        let waiting = known.unwrap_or_default();
        map.insert(key.clone(), Arc::downgrade(&waiting));
        Some(Arrival { of: self, key: key.clone(), waiting: Some(waiting) })
    }

    /// A publisher of this stream is there.
    pub fn wake(&self, key: &StreamKey) {
        if let Some(waiting) = self.lock().get(key).and_then(Weak::upgrade) {
            waiting.arrived.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<StreamKey, Weak<Waiting>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Arrival<'_> {
    /// A future that sees every [`Arrivals::wake`] from the moment it is made, not only once it is polled.
    pub fn next(&self) -> impl Future<Output = ()> + '_ {
        let notified = self.waiting.as_ref().map(|waiting| waiting.arrived.notified());
        async move {
            match notified {
                Some(notified) => notified.await,
                None => std::future::pending().await,
            }
        }
    }
}

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        let mut map = self.of.lock();
        self.waiting = None;
        if map.get(&self.key).is_some_and(|waiting| waiting.strong_count() == 0) {
            map.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn wakes_those_that_listen_for_this_stream() {
        let arrivals = Arrivals::default();
        let key = StreamKey::new("", "live", "s");
        let (first, second) = (arrivals.listen(&key).unwrap(), arrivals.listen(&key).unwrap());
        let (first, second) = (first.next(), second.next());
        arrivals.wake(&key);
        first.await;
        second.await;
    }

    #[tokio::test(start_paused = true)]
    async fn another_stream_wakes_nobody() {
        let arrivals = Arrivals::default();
        let arrival = arrivals.listen(&StreamKey::new("", "live", "s")).unwrap();
        let next = arrival.next();
        arrivals.wake(&StreamKey::new("", "live", "t"));
        assert!(tokio::time::timeout(std::time::Duration::from_secs(9), next).await.is_err());
    }

    #[test]
    fn nothing_stays_behind_and_too_many_are_refused() {
        let arrivals = Arrivals::default();
        let key = |i: usize| StreamKey::new("", "live", &i.to_string());
        let held = (0..MAX_HELD).map(|i| arrivals.listen(&key(i)).unwrap()).collect::<Vec<_>>();
        assert!(arrivals.listen(&key(MAX_HELD)).is_none());
        assert!(arrivals.listen(&key(0)).is_some());
        drop(held);
        assert!(arrivals.lock().is_empty());
    }
}
