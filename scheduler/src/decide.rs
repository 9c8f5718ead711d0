//! Event, policy and record → answer.
//!
//! What nodes make of an answer decides what is right here. A 4xx or 5xx to play or publish refuses the client, to pull
//! ends every player of the stream, to push ends the publisher. No answer at all lets play and publish through (without
//! updates) and makes pull and push try again. So: an answer is given only when it is known to be right, a publisher is
//! never refused because the record is away, and a pull that cannot be decided gets no answer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::{timeout, Instant};
use tracing::{debug, info, warn};

use crate::address::NodeAddr;
use crate::arrivals::Arrivals;
use crate::event::{Act, Call, Event};
use crate::metrics::Metrics;
use crate::policy::{by_weight, Conflict, OnInitProcess, Over, Policy};
use crate::store::{Absent, Candidate, Claim, Held, Store, Terms, Unavailable, MAX_NODES};

/// A publisher may have come to another scheduler on the same Redis: a held pull looks again so often.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// A node's signs of life are written at most so often.
const HEARD_EVERY: Duration = Duration::from_secs(5);

/// What a node is told.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// 200.
    Accepted(&'static str),
    /// 403.
    Refused(String),
    /// 404.
    NotFound,
    /// 302.
    GoTo {
        location: String,
        /// The client's domain, canonical.
        domain: String,
    },
    /// The connection is closed without an answer.
    Silence,
}

/// The scheduler without its HTTP.
pub struct Scheduler {
    policy: RwLock<Arc<Policy>>,
    store: Arc<dyn Store>,
    pub metrics: Metrics,
    limits: Limits,
    arrivals: Arrivals,
    /// False from the first failure on until a tick succeeds.
    reachable: AtomicBool,
    /// When a node's sign of life was last written.
    heard: Mutex<HashMap<NodeAddr, Instant>>,
}

/// From the command line.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Overrides the policy's lease.
    pub lease: Option<Duration>,
    pub max_streams: usize,
}

impl Scheduler {
    pub fn new(policy: Policy, store: Arc<dyn Store>, metrics: Metrics, limits: Limits) -> Self {
        Self {
            policy: RwLock::new(Arc::new(policy)),
            store,
            metrics,
            limits,
            arrivals: Arrivals::default(),
            reachable: AtomicBool::new(true),
            heard: Mutex::default(),
        }
    }

    /// Requests from now on are decided by this policy.
    pub fn reload(&self, policy: Policy) {
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy);
    }

    /// The policy in force.
    pub fn policy(&self) -> Arc<Policy> {
        self.policy.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the record can be reached, as far as is known.
    pub fn reachable(&self) -> bool {
        self.reachable.load(Relaxed)
    }

    /// The record, for those who only look.
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    fn terms(&self, policy: &Policy) -> Terms {
        Terms {
            lease: self.limits.lease.unwrap_or(policy.lease),
            learn: policy.learn,
            // an end must be known for as long as anything is uncertain
            remember_end: policy.wait.max(policy.learn),
            max_streams: self.limits.max_streams,
            first_wins: policy.conflict == Conflict::First,
        }
    }

    /// Decides one event.
    pub async fn decide(&self, event: Event) -> Answer {
        let policy = self.policy();
        self.note_sign_of_life(&policy, &event).await;
        match (event.call, event.act) {
            (Call::InitProcess, _) => self.init_process(&policy, &event).await,
            (Call::Publish, Act::Start) => self.publish_start(&policy, event).await,
            (Call::Publish, Act::Update) => self.publish_update(&policy, event).await,
            (Call::Publish, Act::Done) => self.publish_done(&policy, event).await,
            (Call::Play, Act::Start) => play_start(&policy, &event),
            (Call::Pull, Act::Start) => self.pull_start(&policy, &event).await,
            (Call::Push | Call::Meta, Act::Start) => push_start(&policy, &event),
            // counted by the caller, and nothing else
            (Call::Stream, _) | (_, Act::Update | Act::Done) => Answer::Accepted("noted"),
        }
    }

    /// Housekeeping, every second: ends leases, reconnects. True if the record could be reached.
    pub async fn tick(&self) -> bool {
        let terms = self.terms(&self.policy());
        let result = self.store.tick(&terms).await;
        match result {
            Ok(expired) => {
                if !self.reachable.swap(true, Relaxed) {
                    info!("store reached again");
                }
                if expired > 0 {
                    info!(expired, "leases ended without an update");
                    self.metrics.expired(expired);
                }
                true
            }
            Err(e) => {
                self.store_failed(&e);
                false
            }
        }
    }

    async fn init_process(&self, policy: &Policy, event: &Event) -> Answer {
        let Some(node) = &event.node else { return Answer::Refused(NO_NODE.to_owned()) };
        if !policy.knows(node) {
            return Answer::Refused(format!("{node} is not listed"));
        }
        let keep = match policy.init_process {
            OnInitProcess::Forget => None,
            OnInitProcess::AwaitUpdate => Some(policy.learn),
        };
        let terms = self.terms(policy);
        match self.store.start_worker(node, &event.worker, keep, &terms).await {
            Ok(streams) => {
                info!(%node, worker = event.worker, streams, "worker process started");
                Answer::Accepted("noted")
            }
            // nodes repeat it until it is answered
            Err(e) => self.silent(&e),
        }
    }

    async fn publish_start(&self, policy: &Policy, mut event: Event) -> Answer {
        let token = std::mem::take(&mut event.token);
        let Some(claim) = claim(policy, event) else { return Answer::Refused(NO_NODE.to_owned()) };
        if let Some(reason) = policy.publish.refusal(&claim.key, &token) {
            info!(stream = %claim.key, node = %claim.node, reason, "publish refused");
            return Answer::Refused(reason.to_owned());
        }
        if !policy.knows(&claim.node) {
            warn!(stream = %claim.key, node = %claim.node, "publish refused: node is not listed");
            return Answer::Refused(format!("{} is not listed", claim.node));
        }
        let reason = match self.store.hold(&claim, true, &self.terms(policy)).await {
            Ok(Held::Recorded | Held::Relearned) => {
                info!(stream = %claim.key, node = %claim.node, worker = claim.worker, "published");
                self.arrivals.wake(&claim.key);
                return Answer::Accepted("recorded");
            }
            Ok(Held::Taken(other)) => format!("already published on {other}"),
            Ok(Held::Full) => self.full(),
            Err(e) => {
                // no answer would let it in too, but without the updates by which it is learned later
                self.store_failed(&e);
                return Answer::Accepted("accepted; the record is away, updates will tell");
            }
        };
        warn!(stream = %claim.key, node = %claim.node, reason, "publish refused");
        Answer::Refused(reason)
    }

    async fn publish_update(&self, policy: &Policy, event: Event) -> Answer {
        let Some(claim) = claim(policy, event) else { return Answer::Refused(NO_NODE.to_owned()) };
        if !policy.knows(&claim.node) {
            return Answer::Refused(format!("{} is not listed", claim.node));
        }
        match self.store.hold(&claim, false, &self.terms(policy)).await {
            Ok(Held::Relearned) => {
                info!(stream = %claim.key, node = %claim.node, "relearned from an update");
                self.metrics.relearned();
                self.arrivals.wake(&claim.key);
                Answer::Accepted("recorded")
            }
            Ok(Held::Recorded) => Answer::Accepted("recorded"),
            Ok(Held::Taken(other)) => Answer::Refused(format!("already published on {other}")),
            Ok(Held::Full) => Answer::Refused(self.full()),
            Err(e) => self.silent(&e),
        }
    }

    async fn publish_done(&self, policy: &Policy, event: Event) -> Answer {
        let Some(claim) = claim(policy, event) else { return Answer::Refused(NO_NODE.to_owned()) };
        match self.store.release(&claim, &self.terms(policy)).await {
            Ok(true) => {
                info!(stream = %claim.key, node = %claim.node, "publish ended");
                Answer::Accepted("forgotten")
            }
            Ok(false) => {
                debug!(stream = %claim.key, node = %claim.node, "done of a record that is not there");
                Answer::Accepted("not recorded")
            }
            Err(e) => self.silent(&e),
        }
    }

    async fn pull_start(&self, policy: &Policy, event: &Event) -> Answer {
        let asked = policy.key(event);
        let app = policy.pull.app(&event.app);
        let key = app.map_or_else(|| asked.clone(), |app| asked.in_app(app));
        let deadline = Instant::now() + policy.wait;
        // listening begins before the look: a publisher that comes between the two is not missed
        let arrival = self.arrivals.listen(&key);
        loop {
            let next = arrival.as_ref().map(|arrival| arrival.next());
            let found = match self.store.find(&key, event.node.as_ref(), &self.terms(policy)).await
            {
                Ok(found) => found,
                Err(e) => return self.silent(&e),
            };
            let left = deadline.saturating_duration_since(Instant::now());
            let left = match found {
                Ok(candidates) => return go_to(policy, event, app, &candidates),
                Err(Absent::Learning) => return Answer::Silence,
                Err(Absent::Unknown) => break,
                Err(Absent::Ended(ago)) => policy.wait.saturating_sub(ago).min(left),
                // a publisher came while the pull was on the way: its players need no relay, and stay
                Err(Absent::Here) if left.is_zero() => return Answer::Accepted("published here"),
                Err(Absent::Here) => left,
            };
            let Some(next) = next.filter(|_| !left.is_zero()) else { break };
            // its outcome does not matter: either way the record is looked at again
            let _ = timeout(left.min(LOOK_AGAIN), next).await;
        }
        match &policy.pull.origin {
            Some(origin) => Answer::GoTo {
                location: format!("{}://{}{}", origin.scheme, origin.address, path(event, app)),
                domain: event.domain.clone(),
            },
            None => Answer::NotFound,
        }
    }

    fn full(&self) -> String {
        format!("the record is full: {} streams, {MAX_NODES} nodes", self.limits.max_streams)
    }

    fn silent(&self, error: &Unavailable) -> Answer {
        self.store_failed(error);
        Answer::Silence
    }

    fn store_failed(&self, error: &Unavailable) {
        if self.reachable.swap(false, Relaxed) {
            warn!("{error}; publishers are let in unrecorded, pulls get no answer");
        }
        debug!("{error}");
        self.metrics.store_failed();
    }

    /// Any event shows that its node lives; publish and init_process write it anyway.
    async fn note_sign_of_life(&self, policy: &Policy, event: &Event) {
        let Some(node) = event.node.as_ref().filter(|node| policy.knows(node)) else { return };
        let now = Instant::now();
        {
            let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            if heard.get(node).is_some_and(|&when| when + HEARD_EVERY > now) {
                return;
            }
            if heard.len() >= MAX_NODES {
                heard.retain(|_, when| *when + HEARD_EVERY > now);
            }
            if heard.len() >= MAX_NODES {
                return;
            }
            heard.insert(node.clone(), now);
        }
        if let Err(e) = self.store.heard(node, event.http.as_ref()).await {
            self.store_failed(&e);
        }
    }
}

const NO_NODE: &str = "node= is missing";

fn play_start(policy: &Policy, event: &Event) -> Answer {
    let key = policy.key(event);
    match policy.play.refusal(&key, &event.token) {
        Some(reason) => {
            info!(stream = %key, reason, "play refused");
            Answer::Refused(reason.to_owned())
        }
        None => Answer::Accepted("welcome"),
    }
}

fn push_start(policy: &Policy, event: &Event) -> Answer {
    match policy.hub(&policy.key(event), &event.group, event.node.as_ref()) {
        Some(hub) => Answer::GoTo { location: hub.url.clone(), domain: event.domain.clone() },
        None => Answer::Accepted("no push"),
    }
}

fn claim(policy: &Policy, event: Event) -> Option<Claim> {
    Some(Claim {
        key: policy.key(&event),
        node: event.node?,
        http: event.http,
        worker: event.worker,
        client: event.client,
    })
}

/// Chooses among the nodes that have the stream; those of weight 0 only if there is no other.
fn go_to(policy: &Policy, event: &Event, app: Option<&str>, candidates: &[Candidate]) -> Answer {
    let weighty = |candidate: &&Candidate| policy.weight(&candidate.node) > 0;
    let mut choice = candidates.iter().filter(weighty).collect::<Vec<_>>();
    if choice.is_empty() {
        choice = candidates.iter().collect();
    }
    let chosen = match policy.conflict {
        Conflict::Newest => choice.iter().max_by_key(|candidate| candidate.order),
        Conflict::First => choice.iter().min_by_key(|candidate| candidate.order),
        Conflict::Share => by_weight(&choice, |candidate| policy.weight(&candidate.node)),
    };
    let Some(chosen) = chosen else { return Answer::NotFound };
    let (scheme, address) = match (policy.pull.over, &chosen.http) {
        (Over::Http, Some(http)) => ("http", http),
        _ => ("rtmp", &chosen.node),
    };
    let location = format!("{scheme}://{address}{}", path(event, app));
    Answer::GoTo { location, domain: event.domain.clone() }
}

/// `/app/name` where both stand there as they are, else as little as makes the node use its own: nodes that do not
/// decode a `Location` find the stream, too.
///
/// `/app` alone keeps the node's own name, nothing keeps both. An application of several levels would lose all but
/// the first, so its slashes are encoded; it is written only if it is not the node's own.
fn path(event: &Event, app: Option<&str>) -> String {
    let plain = |text: &str| !text.contains('%');
    let target = match app {
        Some(app) => app.replace('/', "%2F"),
        None if plain(&event.app) && !event.app.contains('/') => event.app.clone(),
        None => return String::new(),
    };
    match (plain(&event.name), app) {
        (true, _) => format!("/{target}/{}", event.name),
        (false, Some(_)) => format!("/{target}"),
        (false, None) => String::new(),
    }
}
