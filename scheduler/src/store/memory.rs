//! The record of a single scheduler: ordered maps behind one lock.
//!
//! Each operation holds the lock for some microseconds, so one lock serves some hundred thousand of them a second.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::{
    Absent, Candidate, Census, Claim, Found, Held, HoldingView, NodeView, Store, StreamView, Terms,
    Unavailable, MAX_HOLDINGS, MAX_NODES, NODE_MEMORY, PULL_ON_THE_WAY,
};
use crate::address::NodeAddr;
use crate::key::StreamKey;

/// Expired streams dropped by one [`Store::tick`] hold of the lock; the next tick goes on.
const EXPIRE_AT_ONCE: usize = 4096;
/// What the maps and the allocator add to the names of a stream, in bytes, measured.
const STREAM_COST: usize = 256;
/// To those of a holding.
const HOLDING_COST: usize = 512;
/// To the name of a stream that has ended.
const END_COST: usize = 192;

/// See the module.
#[derive(Debug)]
pub struct MemoryStore {
    record: Mutex<Record>,
}

#[derive(Debug, Default)]
struct Record {
    /// Never without a holding.
    streams: BTreeMap<StreamKey, Vec<Holding>>,
    nodes: BTreeMap<NodeAddr, Node>,
    /// Every holding by the end of its lease.
    due: BTreeSet<(Instant, StreamKey)>,
    ended: HashMap<StreamKey, Instant>,
    /// `ended` in order of time.
    endings: VecDeque<(Instant, StreamKey)>,
    /// What all of that costs, in bytes.
    held: usize,
    learning_until: Option<Instant>,
    /// Publish starts so far.
    starts: u64,
}

#[derive(Debug)]
struct Holding {
    node: NodeAddr,
    client: Arc<str>,
    worker: Arc<str>,
    http: Option<NodeAddr>,
    since: Instant,
    order: u64,
    heard: Instant,
    expires: Instant,
}

#[derive(Debug)]
struct Node {
    http: Option<NodeAddr>,
    heard: Instant,
    /// (worker, stream, client) of its holdings.
    holds: BTreeSet<(Arc<str>, StreamKey, Arc<str>)>,
}

impl MemoryStore {
    /// An empty record; `learning` if it replaces one that is lost.
    pub fn new(learning: Option<Duration>) -> Self {
        let learning_until = learning.map(|time| Instant::now() + time);
        Self { record: Mutex::new(Record { learning_until, ..Record::default() }) }
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        // no operation leaves the record half done where it could panic
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    /// Drops the holdings of one stream for which `gone` is true; the stream too, if none is left. Gives their number.
    fn drop_holdings(&mut self, key: &StreamKey, gone: impl Fn(&Holding) -> bool) -> usize {
        let Some(holdings) = self.streams.get_mut(key) else { return 0 };
        let mut ends = Vec::new();
        holdings.retain(|holding| {
            if !gone(holding) {
                return true;
            }
            if let Some(node) = self.nodes.get_mut(&holding.node) {
                let (worker, client) = (holding.worker.clone(), holding.client.clone());
                node.holds.remove(&(worker, key.clone(), client));
            }
            ends.push(holding.expires);
            self.held = self.held.saturating_sub(holding.cost());
            false
        });
        if holdings.is_empty() {
            self.streams.remove(key);
            self.held = self.held.saturating_sub(stream_cost(key));
        }
        for &end in &ends {
            self.no_longer_due(key, end);
        }
        ends.len()
    }

    /// Two holdings of a stream may end at the same time: then their entry stays for the other.
    fn no_longer_due(&mut self, key: &StreamKey, end: Instant) {
        if !self.streams.get(key).into_iter().flatten().any(|holding| holding.expires == end) {
            self.due.remove(&(end, key.clone()));
        }
    }

    /// Drops what has expired of the `limit` streams that have been due for longest.
    fn expire(&mut self, now: Instant, limit: usize) -> usize {
        let due = self.due.iter().take(limit).take_while(|(end, _)| *end <= now);
        let keys = due.map(|(_, key)| key.clone()).collect::<Vec<_>>();
        keys.iter().map(|key| self.drop_holdings(key, |holding| holding.expires <= now)).sum()
    }

    fn end(&mut self, key: &StreamKey, now: Instant, terms: &Terms) {
        if !self.streams.contains_key(key) {
            self.ended.insert(key.clone(), now);
            self.endings.push_back((now, key.clone()));
            self.held += end_cost(key);
        }
        // as many as streams: a bound for memory, not a promise
        while self.endings.len() > terms.max_streams {
            self.forget_oldest_end();
        }
        self.make_room(0, terms);
    }

    /// Forgets ends as long as there is no room for another `cost` bytes; false if that does not help.
    fn make_room(&mut self, cost: usize, terms: &Terms) -> bool {
        let fits = |held: usize| held.saturating_add(cost) <= terms.max_bytes();
        while !fits(self.held) && !self.endings.is_empty() {
            self.forget_oldest_end();
        }
        fits(self.held)
    }

    fn forget_oldest_end(&mut self) {
        if let Some((when, key)) = self.endings.pop_front() {
            self.held = self.held.saturating_sub(end_cost(&key));
            // it may have ended again since
            if self.ended.get(&key) == Some(&when) {
                self.ended.remove(&key);
            }
        }
    }

    fn learning(&self, now: Instant) -> bool {
        self.learning_until.is_some_and(|until| until > now)
    }

    /// Puts a node on the list; false if it is full.
    fn note(&mut self, node: &NodeAddr, http: Option<&NodeAddr>, now: Instant) -> bool {
        if let Some(known) = self.nodes.get_mut(node) {
            known.heard = now;
            known.http = http.or(known.http.as_ref()).cloned();
            return true;
        }
        if self.nodes.len() >= MAX_NODES {
            return false;
        }
        let holds = BTreeSet::new();
        self.nodes.insert(node.clone(), Node { http: http.cloned(), heard: now, holds });
        true
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn hold(&self, claim: &Claim, fresh: bool, terms: &Terms) -> Result<Held, Unavailable> {
        let now = Instant::now();
        let mut record = self.lock();
        let key = &claim.key;
        record.drop_holdings(key, |holding| holding.expires <= now);

        let others = record.streams.get(key).map(Vec::as_slice).unwrap_or_default();
        let other_node = others.iter().find(|holding| holding.node != claim.node);
        if let (true, true, Some(other)) = (fresh, terms.first_wins, other_node) {
            return Ok(Held::Taken(other.node.clone()));
        }
        let new_stream = others.is_empty();
        let same = |h: &Holding| h.node == claim.node && *h.client == *claim.client;
        let new_holding = !others.iter().any(same);
        let of_stream = if new_stream { stream_cost(key) } else { 0 };
        let cost = of_stream
            + holding_cost(&claim.node, claim.http.as_ref(), &claim.worker, &claim.client);
        if (new_stream && record.streams.len() >= terms.max_streams)
            || (new_holding && !record.make_room(cost, terms))
            || !record.note(&claim.node, claim.http.as_ref(), now)
        {
            return Ok(Held::Full);
        }

        let old = record.streams.get(key).and_then(|all| all.iter().find(|h| same(h)));
        let kept = old.filter(|_| !fresh).map(|old| (old.since, old.order));
        let relearned = old.is_none() && !fresh;
        record.drop_holdings(key, same);
        let crowded = record.streams.get(key).filter(|all| all.len() >= MAX_HOLDINGS);
        if let Some(oldest) = crowded.and_then(|all| all.iter().map(|h| h.heard).min()) {
            record.drop_holdings(key, |holding| holding.heard == oldest);
        }

        record.starts = record.starts.saturating_add(1);
        let (since, order) = kept.unwrap_or((now, record.starts));
        let expires = now + terms.lease;
        let (worker, client) = (Arc::from(&*claim.worker), Arc::from(&*claim.client));
        if let Some(node) = record.nodes.get_mut(&claim.node) {
            node.holds.insert((Arc::clone(&worker), key.clone(), Arc::clone(&client)));
        }
        let (node, http) = (claim.node.clone(), claim.http.clone());
        let holding = Holding { node, client, worker, http, since, order, heard: now, expires };
        record.held += holding.cost();
        if !record.streams.contains_key(key) {
            record.held += stream_cost(key);
        }
        record.streams.entry(key.clone()).or_default().push(holding);
        record.due.insert((expires, key.clone()));
        record.ended.remove(key);
        if relearned && !record.learning(now) && !terms.learn.is_zero() {
            record.learning_until = Some(now + terms.learn);
        }
        Ok(if relearned { Held::Relearned } else { Held::Recorded })
    }

    async fn release(&self, claim: &Claim, terms: &Terms) -> Result<bool, Unavailable> {
        let mut record = self.lock();
        let released = record.drop_holdings(&claim.key, |holding| {
            holding.node == claim.node
                && *holding.client == *claim.client
                && *holding.worker == *claim.worker
        }) > 0;
        if released {
            record.end(&claim.key, Instant::now(), terms);
        }
        Ok(released)
    }

    async fn find(
        &self,
        key: &StreamKey,
        asking: Option<&NodeAddr>,
        terms: &Terms,
    ) -> Result<Found, Unavailable> {
        let now = Instant::now();
        let mut record = self.lock();
        let outdated = |h: &Holding| Some(&h.node) == asking && h.heard + PULL_ON_THE_WAY <= now;
        if record.drop_holdings(key, outdated) > 0 {
            record.end(key, now, terms);
        }

        let live = record.streams.get(key).map(Vec::as_slice).unwrap_or_default();
        let live = live.iter().filter(|holding| holding.expires > now).collect::<Vec<_>>();
        let others = live
            .iter()
            .filter(|holding| Some(&holding.node) != asking)
            .map(|holding| Candidate {
                node: holding.node.clone(),
                http: holding.http.clone(),
                order: holding.order,
            })
            .collect::<Vec<_>>();
        if !others.is_empty() {
            return Ok(Ok(others));
        }
        Ok(Err(match record.ended.get(key) {
            _ if !live.is_empty() => Absent::Here,
            Some(&when) => Absent::Ended(now - when),
            None if record.learning(now) => Absent::Learning,
            None => Absent::Unknown,
        }))
    }

    async fn start_worker(
        &self,
        node: &NodeAddr,
        worker: &str,
        keep: Option<Duration>,
        terms: &Terms,
    ) -> Result<usize, Unavailable> {
        let now = Instant::now();
        let mut record = self.lock();
        let Some(known) = record.nodes.get(node) else { return Ok(0) };
        let keys = known
            .holds
            .iter()
            .filter(|(holder, _, _)| **holder == *worker)
            .map(|(_, key, _)| key.clone())
            .collect::<BTreeSet<_>>();
        let its = |holding: &Holding| holding.node == *node && *holding.worker == *worker;
        let mut count = 0;
        for key in keys {
            let Some(keep) = keep else {
                count += record.drop_holdings(&key, its);
                record.end(&key, now, terms);
                continue;
            };
            let mut shortened = Vec::new();
            for holding in record.streams.get_mut(&key).into_iter().flatten().filter(|h| its(h)) {
                shortened.push(holding.expires);
                holding.expires = holding.expires.min(now + keep);
            }
            for &end in &shortened {
                record.no_longer_due(&key, end);
                record.due.insert((end.min(now + keep), key.clone()));
            }
            count += shortened.len();
        }
        Ok(count)
    }

    async fn heard(&self, node: &NodeAddr, http: Option<&NodeAddr>) -> Result<(), Unavailable> {
        self.lock().note(node, http, Instant::now());
        Ok(())
    }

    async fn streams(&self, after: &str, limit: usize) -> Result<Vec<StreamView>, Unavailable> {
        let now = Instant::now();
        let record = self.lock();
        let from = match StreamKey::parse(after) {
            Some(key) => Bound::Excluded(key),
            None => Bound::Unbounded,
        };
        let streams = record.streams.range((from, Bound::Unbounded)).take(limit);
        Ok(streams
            .map(|(key, holdings)| StreamView {
                key: key.clone(),
                holdings: holdings.iter().map(|holding| holding.view(now)).collect(),
            })
            .collect())
    }

    async fn nodes(&self) -> Result<Vec<NodeView>, Unavailable> {
        let now = Instant::now();
        let record = self.lock();
        Ok(record
            .nodes
            .iter()
            .map(|(address, node)| NodeView {
                node: address.to_string(),
                http: node.http.as_ref().map(NodeAddr::to_string),
                streams: node.holds.len(),
                heard_ms: millis(now - node.heard),
            })
            .collect())
    }

    async fn census(&self) -> Result<Census, Unavailable> {
        let record = self.lock();
        Ok(Census {
            streams: record.streams.len(),
            nodes: record.nodes.len(),
            learning: record.learning(Instant::now()),
        })
    }

    async fn tick(&self, terms: &Terms) -> Result<usize, Unavailable> {
        let now = Instant::now();
        let mut record = self.lock();
        let expired = record.expire(now, EXPIRE_AT_ONCE);
        while record.endings.front().is_some_and(|(when, _)| *when + terms.remember_end <= now) {
            record.forget_oldest_end();
        }
        record.nodes.retain(|_, node| !node.holds.is_empty() || node.heard + NODE_MEMORY > now);
        Ok(expired)
    }
}

fn stream_cost(key: &StreamKey) -> usize {
    STREAM_COST + key.as_str().len()
}

fn end_cost(key: &StreamKey) -> usize {
    END_COST + key.as_str().len()
}

fn holding_cost(node: &NodeAddr, http: Option<&NodeAddr>, worker: &str, client: &str) -> usize {
    let addresses = node.as_str().len() + http.map_or(0, |http| http.as_str().len());
    HOLDING_COST + addresses + worker.len() + client.len()
}

impl Holding {
    fn cost(&self) -> usize {
        holding_cost(&self.node, self.http.as_ref(), &self.worker, &self.client)
    }

    fn view(&self, now: Instant) -> HoldingView {
        HoldingView {
            node: self.node.to_string(),
            http: self.http.as_ref().map(NodeAddr::to_string),
            worker: self.worker.to_string(),
            client: self.client.to_string(),
            age_ms: millis(now - self.since),
            heard_ms: millis(now - self.heard),
            lease_ms: millis(self.expires.saturating_duration_since(now)),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::RTMP_PORT;

    const TERMS: Terms = Terms {
        lease: Duration::from_secs(10),
        learn: Duration::from_secs(5),
        remember_end: Duration::from_secs(5),
        max_streams: 20,
        first_wins: false,
    };

    fn claim(random: &mut fastrand::Rng) -> Claim {
        let node = format!("n{}", random.u8(..4));
        Claim {
            key: StreamKey::new("", "live", &random.u8(..30).to_string()),
            node: NodeAddr::parse("node", &node, RTMP_PORT, None).unwrap(),
            http: None,
            worker: random.u8(..3).to_string(),
            client: random.u8(..2).to_string(),
        }
    }

    /// The maps tell the same story.
    fn check(record: &Record, terms: &Terms) {
        let mut due = BTreeSet::new();
        let mut holds = 0;
        for (key, holdings) in &record.streams {
            assert!((1..=MAX_HOLDINGS).contains(&holdings.len()));
            for h in holdings {
                due.insert((h.expires, key.clone()));
                let hold = (h.worker.clone(), key.clone(), h.client.clone());
                assert!(record.nodes[&h.node].holds.contains(&hold));
                holds += 1;
            }
        }
        assert_eq!(due, record.due);
        let held = record
            .streams
            .iter()
            .map(|(key, all)| stream_cost(key) + all.iter().map(Holding::cost).sum::<usize>());
        let ends = record.endings.iter().map(|(_, key)| end_cost(key));
        assert_eq!(held.sum::<usize>() + ends.sum::<usize>(), record.held);
        assert_eq!(holds, record.nodes.values().map(|node| node.holds.len()).sum::<usize>());
        assert!(record.streams.len() <= terms.max_streams);
        assert!(record.endings.len() <= terms.max_streams);
        assert!(record.ended.len() <= record.endings.len());
    }

    #[tokio::test(start_paused = true)]
    async fn random_operations_keep_it_whole_and_leave_nothing_behind() {
        let mut random = fastrand::Rng::with_seed(7);
        let store = MemoryStore::new(None);
        for _ in 0..20_000 {
            let claim = claim(&mut random);
            match random.u8(..10) {
                0..=3 => drop(store.hold(&claim, true, &TERMS).await.unwrap()),
                4 => drop(store.hold(&claim, false, &TERMS).await.unwrap()),
                5 | 6 => drop(store.release(&claim, &TERMS).await.unwrap()),
                7 => drop(store.find(&claim.key, Some(&claim.node), &TERMS).await.unwrap()),
                8 => {
                    let keep = random.bool().then_some(Duration::from_secs(3));
                    store.start_worker(&claim.node, &claim.worker, keep, &TERMS).await.unwrap();
                }
                _ => {
                    tokio::time::advance(Duration::from_millis(random.u64(..500))).await;
                    store.tick(&TERMS).await.unwrap();
                }
            }
            check(&store.lock(), &TERMS);
        }
        tokio::time::advance(NODE_MEMORY + TERMS.lease).await;
        store.tick(&TERMS).await.unwrap();
        let record = store.lock();
        assert!(record.streams.is_empty() && record.nodes.is_empty() && record.due.is_empty());
        assert!(record.ended.is_empty() && record.endings.is_empty());
    }

    #[tokio::test]
    async fn long_names_leave_room_for_fewer_streams() {
        let terms = Terms { max_streams: 100, ..TERMS };
        let store = MemoryStore::new(None);
        let mut claim = claim(&mut fastrand::Rng::with_seed(1));
        let mut streams = 0;
        for i in 0..100 {
            claim.key = StreamKey::new("d", "a", &format!("{i}{}", "%FF".repeat(3000)));
            match store.hold(&claim, true, &terms).await.unwrap() {
                Held::Recorded => streams += 1,
                held => assert_eq!(held, Held::Full),
            }
            assert!(store.lock().held <= terms.max_bytes());
        }
        assert!((30..100).contains(&streams), "{streams}");
        // one that is there is renewed all the same
        claim.key = StreamKey::new("d", "a", &format!("0{}", "%FF".repeat(3000)));
        assert_eq!(store.hold(&claim, false, &terms).await.unwrap(), Held::Recorded);
        // what has ended makes room
        assert!(store.release(&claim, &terms).await.unwrap());
        claim.key = StreamKey::new("d", "a", "short");
        assert_eq!(store.hold(&claim, true, &terms).await.unwrap(), Held::Recorded);
        check(&store.lock(), &terms);
    }

    #[tokio::test]
    async fn hostile_nodes_fill_no_memory() {
        let store = MemoryStore::new(None);
        let node = |i: usize| NodeAddr::parse("node", &format!("n{i}"), RTMP_PORT, None).unwrap();
        for i in 0..MAX_NODES + 10 {
            store.heard(&node(i), None).await.unwrap();
        }
        assert_eq!(store.census().await.unwrap().nodes, MAX_NODES);
        let mut claim = claim(&mut fastrand::Rng::with_seed(1));
        claim.node = node(MAX_NODES + 1);
        assert_eq!(store.hold(&claim, true, &TERMS).await.unwrap(), Held::Full);
        claim.node = node(1);
        assert_eq!(store.hold(&claim, true, &TERMS).await.unwrap(), Held::Recorded);
    }
}
