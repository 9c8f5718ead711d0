//! The record that several schedulers share, in Redis.
//!
//! Each operation is one Lua script, so it is done as a whole or not at all, on Redis' own clock. Nothing is kept here:
//! any scheduler may die. While Redis is away every operation fails at once, and `tick` tries to reconnect.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, IntoConnectionInfo, Script, ScriptInvocation};
use serde::Deserialize;

use super::{
    Absent, Candidate, Census, Claim, Found, Held, HoldingView, NodeView, Store, StreamView, Terms,
    Unavailable, MAX_HOLDINGS, MAX_NODES, NODE_MEMORY, PULL_ON_THE_WAY,
};
use crate::address::NodeAddr;
use crate::key::StreamKey;

/// Redis answers in well under a millisecond; nodes wait 3 s for us.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(1000);
/// One attempt to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1000);
/// Streams and nodes looked at in one tick: some milliseconds of Redis' time.
const EXPIRE_AT_ONCE: usize = 1000;

/// See the module.
pub struct RedisStore {
    client: Client,
    /// Thrown away at the first failure, made anew by `tick`.
    connection: RwLock<Option<Arc<MultiplexedConnection>>>,
    /// This process has written to Redis, so an empty one has been emptied.
    met: AtomicBool,
    /// Something that should have been written was not.
    missed: AtomicBool,
    scripts: Scripts,
}

struct Scripts {
    hold: Script,
    release: Script,
    find: Script,
    start_worker: Script,
    heard: Script,
    streams: Script,
    nodes: Script,
    census: Script,
    tick: Script,
}

impl Scripts {
    fn new() -> Self {
        let script = |body: &str| Script::new(&format!("{}{body}", include_str!("lua/common.lua")));
        Self {
            hold: script(include_str!("lua/hold.lua")),
            release: script(include_str!("lua/release.lua")),
            find: script(include_str!("lua/find.lua")),
            start_worker: script(include_str!("lua/start_worker.lua")),
            heard: script(include_str!("lua/heard.lua")),
            streams: script(include_str!("lua/streams.lua")),
            nodes: script(include_str!("lua/nodes.lua")),
            census: script(include_str!("lua/census.lua")),
            tick: script(include_str!("lua/tick.lua")),
        }
    }
}

/// A holding as the scripts write it.
#[derive(Deserialize)]
struct Stored {
    n: String,
    c: String,
    w: String,
    h: String,
    s: u64,
    o: u64,
    t: u64,
    e: u64,
}

impl RedisStore {
    /// A store at a `redis://` or `redis+unix://` url; connects at the first `tick`.
    ///
    /// `learning`: an empty Redis is one that has lost its record.
    pub fn new(url: &str, learning: bool) -> Result<Self, redis::RedisError> {
        Ok(Self {
            client: Client::open(url.into_connection_info()?)?,
            connection: RwLock::new(None),
            met: AtomicBool::new(learning),
            missed: AtomicBool::new(false),
            scripts: Scripts::new(),
        })
    }

    fn connection(&self) -> Option<Arc<MultiplexedConnection>> {
        self.connection.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace(&self, connection: Option<Arc<MultiplexedConnection>>) {
        *self.connection.write().unwrap_or_else(PoisonError::into_inner) = connection;
    }

    async fn connect(&self) -> Result<(), Unavailable> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(ANSWER_TIMEOUT));
        let connection = self
            .client
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .map_err(|e| Unavailable(e.to_string()))?;
        self.replace(Some(Arc::new(connection)));
        Ok(())
    }

    /// Runs a script. After any failure the connection is not used again: it may be half dead, or Redis a replica now.
    async fn run(&self, script: &ScriptInvocation<'_>) -> Result<Vec<String>, Unavailable> {
        let connection =
            self.connection().ok_or_else(|| Unavailable("not connected".to_owned()))?;
        let result = script.invoke_async(&mut (*connection).clone()).await;
        result.map_err(|e: redis::RedisError| {
            if self.connection().is_some_and(|current| Arc::ptr_eq(&current, &connection)) {
                self.replace(None);
            }
            Unavailable(e.to_string())
        })
    }

    /// Runs a script whose effect must not get lost unnoticed.
    async fn write(&self, script: &ScriptInvocation<'_>) -> Result<Vec<String>, Unavailable> {
        let result = self.run(script).await;
        if result.is_err() {
            self.missed.store(true, Relaxed);
        }
        result
    }
}

#[async_trait]
impl Store for RedisStore {
    async fn hold(&self, claim: &Claim, fresh: bool, terms: &Terms) -> Result<Held, Unavailable> {
        let mut call = self.scripts.hold.prepare_invoke();
        claim_args(&mut call, claim)
            .arg(claim.http.as_ref().map_or("", NodeAddr::as_str))
            .arg(millis(terms.lease))
            .arg(u8::from(fresh))
            .arg(u8::from(terms.first_wins))
            .arg(terms.max_streams)
            .arg(MAX_HOLDINGS)
            .arg(MAX_NODES)
            .arg(millis(terms.learn));
        let answer = self.write(&call).await?;
        match words(&answer).as_slice() {
            ["recorded"] => Ok(Held::Recorded),
            ["relearned"] => Ok(Held::Relearned),
            ["taken", node] => Ok(Held::Taken(NodeAddr::stored(node))),
            ["full"] => Ok(Held::Full),
            other => Err(strange(other)),
        }
    }

    async fn release(&self, claim: &Claim, terms: &Terms) -> Result<bool, Unavailable> {
        let mut call = self.scripts.release.prepare_invoke();
        claim_args(&mut call, claim).arg(millis(terms.remember_end));
        let answer = self.write(&call).await?;
        match words(&answer).as_slice() {
            ["released"] => Ok(true),
            ["none"] => Ok(false),
            other => Err(strange(other)),
        }
    }

    async fn find(
        &self,
        key: &StreamKey,
        asking: Option<&NodeAddr>,
        terms: &Terms,
    ) -> Result<Found, Unavailable> {
        let mut call = self.scripts.find.prepare_invoke();
        call.arg(key.as_str())
            .arg(asking.map_or("", NodeAddr::as_str))
            .arg(millis(PULL_ON_THE_WAY))
            .arg(millis(terms.remember_end))
            .arg(u8::from(self.met.load(Relaxed)))
            .arg(u8::from(self.missed.load(Relaxed)))
            .arg(millis(terms.learn));
        let answer = self.run(&call).await?;
        match words(&answer).as_slice() {
            ["live", holdings @ ..] => {
                let stored = holdings.iter().map(|json| parse::<Stored>(json));
                let candidates = stored.map(|holding| {
                    holding.map(|holding| Candidate {
                        node: NodeAddr::stored(&holding.n),
                        http: http(&holding.h),
                        order: holding.o,
                    })
                });
                Ok(Ok(candidates.collect::<Result<Vec<_>, _>>()?))
            }
            ["ended", ago] => Ok(Err(Absent::Ended(Duration::from_millis(parse(ago)?)))),
            ["here"] => Ok(Err(Absent::Here)),
            ["learning"] => Ok(Err(Absent::Learning)),
            ["unknown"] => Ok(Err(Absent::Unknown)),
            other => Err(strange(other)),
        }
    }

    async fn start_worker(
        &self,
        node: &NodeAddr,
        worker: &str,
        keep: Option<Duration>,
        terms: &Terms,
    ) -> Result<usize, Unavailable> {
        let mut call = self.scripts.start_worker.prepare_invoke();
        match keep {
            Some(keep) => call.arg(node.as_str()).arg(worker).arg(millis(keep)),
            None => call.arg(node.as_str()).arg(worker).arg(-1),
        };
        call.arg(millis(terms.remember_end));
        // not `write`: the node gets no answer, and says it again
        let answer = self.run(&call).await?;
        match words(&answer).as_slice() {
            [count] => parse(count),
            other => Err(strange(other)),
        }
    }

    async fn heard(&self, node: &NodeAddr, http: Option<&NodeAddr>) -> Result<(), Unavailable> {
        let mut call = self.scripts.heard.prepare_invoke();
        call.arg(node.as_str()).arg(http.map_or("", NodeAddr::as_str)).arg(MAX_NODES);
        self.run(&call).await.map(|_| ())
    }

    async fn streams(&self, after: &str, limit: usize) -> Result<Vec<StreamView>, Unavailable> {
        let mut call = self.scripts.streams.prepare_invoke();
        let answer = self.run(call.arg(after).arg(limit)).await?;
        let (now, rest) = answer.split_first().ok_or_else(|| strange(&[]))?;
        let now = parse::<u64>(now)?;
        let mut streams = Vec::with_capacity(rest.len() / 2);
        for pair in rest.chunks_exact(2) {
            let [key, holdings] = pair else { return Err(strange(&words(pair))) };
            let key = StreamKey::parse(key).ok_or_else(|| strange(&[key]))?;
            let holdings = parse::<Vec<Stored>>(holdings)?;
            let holdings = holdings.into_iter().map(|holding| holding.view(now)).collect();
            streams.push(StreamView { key, holdings });
        }
        Ok(streams)
    }

    async fn nodes(&self) -> Result<Vec<NodeView>, Unavailable> {
        let answer = self.run(&self.scripts.nodes.prepare_invoke()).await?;
        let (now, rest) = answer.split_first().ok_or_else(|| strange(&[]))?;
        let now = parse::<u64>(now)?;
        let mut nodes = Vec::with_capacity(rest.len() / 4);
        for four in rest.chunks_exact(4) {
            let [node, address, streams, heard] = four else { return Err(strange(&words(four))) };
            nodes.push(NodeView {
                node: node.clone(),
                http: http(address).map(|address| address.to_string()),
                streams: parse(streams)?,
                heard_ms: now.saturating_sub(parse(heard)?),
            });
        }
        nodes.sort_by(|a, b| a.node.cmp(&b.node));
        Ok(nodes)
    }

    async fn census(&self) -> Result<Census, Unavailable> {
        let answer = self.run(&self.scripts.census.prepare_invoke()).await?;
        match words(&answer).as_slice() {
            [streams, nodes, learning] => Ok(Census {
                streams: parse(streams)?,
                nodes: parse(nodes)?,
                learning: *learning == "1",
            }),
            other => Err(strange(other)),
        }
    }

    async fn tick(&self, terms: &Terms) -> Result<usize, Unavailable> {
        if self.connection().is_none() {
            self.connect().await?;
        }
        let missed = self.missed.swap(false, Relaxed);
        let mut call = self.scripts.tick.prepare_invoke();
        call.arg(u8::from(self.met.load(Relaxed)))
            .arg(u8::from(missed))
            .arg(millis(terms.learn))
            .arg(millis(NODE_MEMORY))
            .arg(EXPIRE_AT_ONCE)
            .arg(millis(terms.lease));
        match self.run(&call).await {
            Ok(answer) => {
                self.met.store(true, Relaxed);
                // an answer that was long on its way, on a connection given up by others meanwhile
                if self.connection().is_none() {
                    return Err(Unavailable("not connected".to_owned()));
                }
                match words(&answer).as_slice() {
                    [expired] => parse(expired),
                    other => Err(strange(other)),
                }
            }
            Err(e) => {
                self.missed.fetch_or(missed, Relaxed);
                Err(e)
            }
        }
    }
}

impl Stored {
    fn view(self, now: u64) -> HoldingView {
        HoldingView {
            http: http(&self.h).map(|address| address.to_string()),
            node: self.n,
            worker: self.w,
            client: self.c,
            age_ms: now.saturating_sub(self.s),
            heard_ms: now.saturating_sub(self.t),
            lease_ms: self.e.saturating_sub(now),
        }
    }
}

fn claim_args<'a, 'b>(
    call: &'b mut ScriptInvocation<'a>,
    claim: &Claim,
) -> &'b mut ScriptInvocation<'a> {
    call.arg(claim.key.as_str())
        .arg(claim.node.as_str())
        .arg(claim.client.as_str())
        .arg(claim.worker.as_str())
}

fn http(stored: &str) -> Option<NodeAddr> {
    (!stored.is_empty()).then(|| NodeAddr::stored(stored))
}

fn words(answer: &[String]) -> Vec<&str> {
    answer.iter().map(String::as_str).collect()
}

fn parse<T: serde::de::DeserializeOwned>(json: &str) -> Result<T, Unavailable> {
    serde_json::from_str(json).map_err(|e| Unavailable(format!("\"{json}\": {e}")))
}

/// Another program's keys under our names, or another version's.
fn strange(answer: &[&str]) -> Unavailable {
    Unavailable(format!("unexpected answer {answer:?}"))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
