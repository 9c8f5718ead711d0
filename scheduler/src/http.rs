//! Routes: what nodes call, what people and monitors look at.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{header, HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Extension, Router};
use percent_encoding::{percent_decode_str, utf8_percent_encode, NON_ALPHANUMERIC};
use serde::Serialize;
use tracing::{debug, debug_span, warn, Instrument};

use crate::browser::{is_browser, is_cross_site, is_own_host};
use crate::decide::{Answer, Scheduler};
use crate::event::Event;
use crate::key::{readable, BadValue, StreamKey};
use crate::policy::Policy;
use crate::store::{HoldingView, NodeView, StreamView, Unavailable};

/// A page of `/api/streams` if `limit=` does not say.
const PAGE: usize = 100;
/// The longest page: some hundred kilobytes of JSON.
const MAX_PAGE: usize = 1000;

/// Where a request comes from; put into each by the server.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// In a response: close the connection instead.
#[derive(Clone, Copy, Debug)]
pub struct NoAnswer;

/// All routes.
pub fn routes(scheduler: Arc<Scheduler>) -> Router {
    let operators = Router::new()
        .route("/", get(page))
        .route("/api/streams", get(streams))
        .route("/api/nodes", get(nodes))
        .route("/metrics", get(metrics))
        .layer(middleware::from_fn_with_state(scheduler.clone(), operators_only));
    Router::new()
        .route("/oclp/v1/{call}", any(oclp))
        .route("/healthz", get(healthz))
        .merge(operators)
        .with_state(scheduler)
}

/// Where a request comes from, seen through trusted proxies.
fn origin(policy: &Policy, Peer(peer): Peer, headers: &HeaderMap) -> IpAddr {
    let real_ip = headers.get("x-real-ip").and_then(|value| value.to_str().ok());
    policy.access.origin(peer, real_ip)
}

/// A node's event.
async fn oclp(
    State(scheduler): State<Arc<Scheduler>>,
    Extension(peer): Extension<Peer>,
    method: Method,
    headers: HeaderMap,
    Path(segment): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let began = Instant::now();
    let policy = scheduler.policy();
    let peer = origin(&policy, peer, &headers);
    let read = match method {
        Method::GET if is_browser(&headers) => Err(Refusal::Browser),
        Method::GET if policy.access.node(peer) => {
            Event::read(&segment, query.as_deref().unwrap_or_default(), peer).map_err(Refusal::Bad)
        }
        Method::GET => Err(Refusal::Peer),
        _ => Err(Refusal::Method),
    };
    let (counted, code, response) = match read {
        Ok(event) => {
            let counted = (event.call, event.act);
            let request = debug_span!(
                "request",
                call = event.call.as_str(),
                act = event.act.as_str(),
                domain = event.domain,
                app = event.app,
                name = event.name,
                node = event.node.as_ref().map(tracing::field::display),
                %peer,
            );
            let answer = scheduler.decide(event).instrument(request.clone()).await;
            request.in_scope(|| {
                debug!(code = answer.code(), location = answer.location(), "answered")
            });
            (Some(counted), answer.code(), answer.into_response())
        }
        Err(refusal) => {
            warn!(%peer, "{refusal}");
            (None, refusal.code(), refusal.into_response())
        }
    };
    scheduler.metrics.answered(counted, code, began.elapsed());
    response
}

/// Requests that are none.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("bad request: {0}")]
    Bad(BadValue),
    #[error("not in access.nodes")]
    Peer,
    #[error("sent by a browser; events are sent by nodes, and by curl")]
    Browser,
    #[error("only GET")]
    Method,
}

impl Refusal {
    fn code(&self) -> &'static str {
        match self {
            Self::Bad(_) => "400",
            Self::Peer | Self::Browser => "403",
            Self::Method => "405",
        }
    }

    fn into_response(self) -> Response {
        let status = match self {
            Self::Bad(_) => StatusCode::BAD_REQUEST,
            Self::Peer | Self::Browser => StatusCode::FORBIDDEN,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
        };
        (status, format!("{self}\n")).into_response()
    }
}

impl Answer {
    fn location(&self) -> Option<&str> {
        match self {
            Self::GoTo { location, .. } => Some(location),
            _ => None,
        }
    }

    /// For logs and metrics.
    fn code(&self) -> &'static str {
        match self {
            Self::Accepted(_) => "200",
            Self::GoTo { .. } => "302",
            Self::Refused(_) => "403",
            Self::NotFound => "404",
            Self::Silence => "none",
        }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        match self {
            Self::Accepted(text) => format!("{text}\n").into_response(),
            Self::Refused(reason) => (StatusCode::FORBIDDEN, format!("{reason}\n")).into_response(),
            Self::NotFound => (StatusCode::NOT_FOUND, "no such stream\n").into_response(),
            Self::GoTo { location, domain } => {
                let mut headers = HeaderMap::new();
                // every part has been checked to be printable; the policy's urls too
                if let Ok(location) = HeaderValue::try_from(location) {
                    headers.insert(header::LOCATION, location);
                }
                let bytes = percent_decode_str(&domain).collect::<Vec<u8>>();
                if let (false, Ok(domain)) = (domain.is_empty(), HeaderValue::from_bytes(&bytes)) {
                    headers.insert(HeaderName::from_static("domain"), domain);
                }
                (StatusCode::FOUND, headers).into_response()
            }
            Self::Silence => Extension(NoAnswer).into_response(),
        }
    }
}

async fn operators_only(
    State(scheduler): State<Arc<Scheduler>>,
    Extension(peer): Extension<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let policy = scheduler.policy();
    let headers = request.headers();
    let refused = if !policy.access.operator(origin(&policy, peer, headers)) {
        (StatusCode::FORBIDDEN, "not in access.operators\n")
    } else if !is_own_host(headers, &policy.access.hosts) {
        (StatusCode::MISDIRECTED_REQUEST, "not a name of this server; list it in access.hosts\n")
    } else if is_cross_site(headers) {
        (StatusCode::FORBIDDEN, "asked for by a page of another site\n")
    } else {
        return next.run(request).await;
    };
    refused.into_response()
}

/// 200 as long as the process can answer: without its store it still answers better than a balancer would.
async fn healthz(State(scheduler): State<Arc<Scheduler>>) -> &'static str {
    if scheduler.reachable() {
        "ok\n"
    } else {
        "ok; store unavailable\n"
    }
}

async fn metrics(State(scheduler): State<Arc<Scheduler>>) -> impl IntoResponse {
    let census = scheduler.store().census().await.ok();
    (
        [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")],
        scheduler.metrics.encode(census),
    )
}

#[derive(Serialize)]
struct StreamsAnswer {
    /// Of all pages.
    total: usize,
    streams: Vec<Stream>,
    /// `after=` of the next page.
    next: Option<String>,
}

#[derive(Serialize)]
struct Stream {
    domain: String,
    app: String,
    name: String,
    nodes: Vec<HoldingView>,
}

impl From<StreamView> for Stream {
    fn from(view: StreamView) -> Self {
        Self {
            domain: readable(view.key.domain()),
            app: readable(view.key.app()),
            name: readable(view.key.name()),
            nodes: view.holdings,
        }
    }
}

#[derive(Serialize)]
struct NodesAnswer {
    total: usize,
    nodes: Vec<NodeWithWeight>,
}

#[derive(Serialize)]
struct NodeWithWeight {
    #[serde(flatten)]
    node: NodeView,
    weight: u32,
}

async fn streams(State(scheduler): State<Arc<Scheduler>>, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let value = |wanted: &str| {
        query.split('&').find_map(|pair| pair.split_once('=').filter(|(k, _)| *k == wanted))
    };
    let limit = match value("limit").map(|(_, limit)| limit.parse::<usize>()) {
        None => PAGE,
        Some(Ok(limit)) if (1..=MAX_PAGE).contains(&limit) => limit,
        Some(_) => {
            let text = format!("limit= must be a number from 1 to {MAX_PAGE}\n");
            return (StatusCode::BAD_REQUEST, text).into_response();
        }
    };
    let after = value("after").map_or(String::new(), |(_, after)| {
        percent_decode_str(after).decode_utf8_lossy().into_owned()
    });
    if !after.is_empty() && StreamKey::parse(&after).is_none() {
        let text = "after= must be the next of another page\n";
        return (StatusCode::BAD_REQUEST, text).into_response();
    }
    let store = scheduler.store();
    let (views, census) = match (store.streams(&after, limit).await, store.census().await) {
        (Ok(views), Ok(census)) => (views, census),
        (Err(e), _) | (_, Err(e)) => return unavailable(&e),
    };
    let full = views.len() == limit;
    let last = views.last().filter(|_| full);
    let next =
        last.map(|last| utf8_percent_encode(last.key.as_str(), NON_ALPHANUMERIC).to_string());
    let streams = views.into_iter().map(Stream::from).collect();
    json(&StreamsAnswer { total: census.streams, streams, next })
}

async fn nodes(State(scheduler): State<Arc<Scheduler>>) -> Response {
    let policy = scheduler.policy();
    match scheduler.store().nodes().await {
        Ok(nodes) => json(&NodesAnswer {
            total: nodes.len(),
            nodes: nodes
                .into_iter()
                .map(|node| NodeWithWeight { weight: policy.weight_of(&node.node), node })
                .collect(),
        }),
        Err(e) => unavailable(&e),
    }
}

fn json(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => (
            [
                (header::CONTENT_TYPE, "application/json"),
                (header::CACHE_CONTROL, "no-store"),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            ],
            body,
        )
            .into_response(),
        Err(e) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{e}\n")).into_response(),
    }
}

fn unavailable(e: &Unavailable) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, format!("{e}\n")).into_response()
}

/// The page fetches the two APIs; only its own script may run in it.
async fn page() -> Response {
    let nonce = format!("{:032x}", fastrand::u128(..));
    let policy = format!(
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'nonce-{nonce}'; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let html = include_str!("page.html").replace("{nonce}", &nonce);
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::CACHE_CONTROL, "no-store".to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
    ];
    (headers, Body::from(html)).into_response()
}
