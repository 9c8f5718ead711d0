//! Accepts connections and speaks HTTP/1.1 on them, within limits.
//!
//! Not `axum::serve`, as that can neither limit a request's head nor close a connection without an answer.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{watch, Semaphore};
use tokio::time::{sleep, timeout};
use tower::ServiceExt;
use tracing::{debug, info, warn};

use crate::decide::Scheduler;
use crate::http::{NoAnswer, Peer};

/// Nodes send request lines of 32 KiB at most; hyper refuses what is longer with 431 or 414.
const MAX_HEAD: usize = 40 * 1024;
/// Nodes send five.
const MAX_HEADERS: usize = 64;
/// A connection may be idle, or half-way through a request's head, so long; nodes keep theirs for 60 s.
const IDLE: Duration = Duration::from_secs(75);
/// When the process is out of file descriptors: until some are free again.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Why a connection was closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("closed without an answer")]
struct Closed;

/// Serves until `stop` becomes true, then lets requests under way end, for `drain` at most.
pub async fn serve(
    listeners: Vec<TcpListener>,
    routes: Router,
    scheduler: Arc<Scheduler>,
    max_connections: usize,
    mut stop: watch::Receiver<bool>,
    drain: Duration,
) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(max_connections));
    loop {
        // with no place free, connections wait in the kernel's queue
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place,
            _ = stop.wait_for(|&stop| stop) => break,
        };
        let Ok(place) = place else { break };
        let (socket, peer) = tokio::select! {
            accepted = accept(&listeners) => match accepted {
                Ok(accepted) => accepted,
                Err(e) => {
                    warn!("accept: {e}");
                    sleep(ACCEPT_AGAIN).await;
                    continue;
                }
            },
            _ = stop.wait_for(|&stop| stop) => break,
        };
        if let Err(e) = socket.set_nodelay(true) {
            debug!("nodelay: {e}");
        }
        let (routes, peer) = (routes.clone(), peer.ip());
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE)
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_HEADERS)
            .serve_connection(
                TokioIo::new(socket),
                service_fn(move |request| answer(routes.clone(), peer, request)),
            );
        let connection = graceful.watch(connection);
        let counted = scheduler.metrics.connection();
        tokio::spawn(async move {
            if let Err(e) = connection.await {
                debug!(%peer, "{e}");
            }
            drop((place, counted));
        });
    }
    drop(listeners);
    info!("no new connections; letting requests end");
    if timeout(drain, graceful.shutdown()).await.is_err() {
        warn!("some connections were still busy");
    }
}

/// The next connection on any of the listeners.
async fn accept(listeners: &[TcpListener]) -> io::Result<(TcpStream, SocketAddr)> {
    std::future::poll_fn(|cx| {
        let ready = listeners.iter().map(|listener| listener.poll_accept(cx));
        ready.into_iter().find(|poll| poll.is_ready()).unwrap_or(std::task::Poll::Pending)
    })
    .await
}

/// One request; an error makes hyper close the connection.
async fn answer(
    routes: Router,
    peer: IpAddr,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Closed> {
    request.extensions_mut().insert(Peer(peer));
    let response = match routes.oneshot(request.map(Body::new)).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    match response.extensions().get::<NoAnswer>() {
        Some(NoAnswer) => Err(Closed),
        None => Ok(response),
    }
}
