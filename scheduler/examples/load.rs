//! Load on a running scheduler: so many streams, so many requests a second, and how long the answers take.
//!
//! Requests are sent when they are due, not when the last answer has come; the time of an answer counts from then, so
//! that a stall of the scheduler shows in every request that it delays.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{bail, Context};
use clap::Parser;
use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep_until, Instant};

/// Answers are a few hundred bytes.
const MAX_ANSWER: usize = 4096;

/// Publishes streams on a scheduler, then sends the mix of a cluster at a fixed rate and reports latencies.
#[derive(Clone, Debug, Parser)]
struct Args {
    /// The scheduler
    #[arg(long, default_value = "127.0.0.1:6200")]
    scheduler: SocketAddr,
    /// Streams published all the time
    #[arg(long, default_value_t = 10_000)]
    streams: u64,
    /// Nodes they are on
    #[arg(long, default_value_t = 20)]
    nodes: u64,
    /// Requests a second
    #[arg(long, default_value_t = 5_000)]
    rate: u64,
    /// Seconds
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Keep-alive connections
    #[arg(long, default_value_t = 64)]
    connections: u64,
    /// Fail if the 99th percentile is above, in milliseconds
    #[arg(long)]
    p99: Option<f64>,
}

/// Of 20 requests: 12 updates, 4 pulls of a stream, 2 plays, one stream that ends and one that starts.
const MIX: [&str; 20] = [
    "update", "pull", "update", "update", "play", "update", "pull", "update", "update", "done",
    "start", "update", "update", "pull", "update", "play", "update", "update", "pull", "update",
];

/// The request, and the status that is right.
fn request(args: &Args, kind: &str, stream: u64) -> (String, &'static str) {
    let node = stream % args.nodes;
    let other = (stream + 1) % args.nodes;
    let (call, act, asking, status) = match kind {
        "pull" => ("pull", "start", other, "302"),
        "play" => ("play", "start", other, "200"),
        act => ("publish", act, node, "200"),
    };
    let path = format!(
        "/oclp/v1/{call}?call={call}&act={act}&domain=live.example.com&app=live&name=stream-{stream}\
         &node=10.0.{}.{}:1935&worker=0",
        asking / 250,
        asking % 250 + 1,
    );
    (format!("GET {path} HTTP/1.1\r\nHost: scheduler\r\n\r\n"), status)
}

/// Sends one request and reads its answer.
async fn exchange(socket: &mut TcpStream, request: &str, status: &str) -> anyhow::Result<()> {
    socket.write_all(request.as_bytes()).await?;
    let mut answer = Vec::with_capacity(512);
    loop {
        if socket.read_buf(&mut answer).await? == 0 {
            bail!("closed without an answer to {request}");
        }
        let text = std::str::from_utf8(&answer)?;
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            if answer.len() > MAX_ANSWER {
                bail!("an answer without end");
            }
            continue;
        };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.context("no content-length")?.parse::<usize>()?;
        if body.len() < length {
            continue;
        }
        if head.split(' ').nth(1) != Some(status) {
            bail!("{request}{status} was due: {text}");
        }
        return Ok(());
    }
}

/// The requests `number`, `number + connections`, … of the plan, each at its time.
async fn connection(
    args: Args,
    number: u64,
    begin: Instant,
    total: u64,
    histogram: Arc<Mutex<Histogram<u64>>>,
    plan: impl Fn(u64) -> (String, &'static str),
) -> anyhow::Result<()> {
    let mut socket = TcpStream::connect(args.scheduler).await?;
    socket.set_nodelay(true)?;
    for i in (number..total).step_by(usize::try_from(args.connections)?) {
        let due = begin + Duration::from_nanos(i * 1_000_000_000 / args.rate);
        let (request, status) = plan(i);
        // a timer's own lateness is not the scheduler's, but waiting for its last answer is
        let began = if Instant::now() < due {
            sleep_until(due).await;
            Instant::now()
        } else {
            due
        };
        exchange(&mut socket, &request, status).await?;
        let took = u64::try_from(began.elapsed().as_micros())?;
        if let Ok(mut histogram) = histogram.lock() {
            histogram.record(took)?;
        }
    }
    Ok(())
}

/// Runs a plan of `total` requests on all connections.
async fn run(
    args: &Args,
    total: u64,
    plan: impl Fn(u64) -> (String, &'static str) + Clone + Send + 'static,
) -> anyhow::Result<(Histogram<u64>, Duration)> {
    let histogram = Arc::new(Mutex::new(Histogram::new(3)?));
    let begin = Instant::now() + Duration::from_millis(200);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..args.connections {
        tasks.spawn(connection(
            args.clone(),
            number,
            begin,
            total,
            Arc::clone(&histogram),
            plan.clone(),
        ));
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    let histogram = histogram.lock().map_or_else(|e| e.into_inner().clone(), |h| h.clone());
    Ok((histogram, begin.elapsed()))
}

fn report(what: &str, histogram: &Histogram<u64>, took: Duration) -> f64 {
    let ms = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
    println!(
        "{what}: {} requests in {:.1} s ({:.0}/s), p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, max {:.2} ms",
        histogram.len(),
        took.as_secs_f64(),
        histogram.len() as f64 / took.as_secs_f64(),
        ms(0.5),
        ms(0.99),
        ms(0.999),
        ms(1.0),
    );
    ms(0.99)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let plan = args.clone();
    let (publish, took) = run(&args, args.streams, move |i| request(&plan, "start", i)).await?;
    report("publish", &publish, took);

    let plan = args.clone();
    let (mixed, took) = run(&args, args.rate * args.seconds, move |i| {
        let round = i / MIX.len() as u64;
        let kind = MIX[(i % MIX.len() as u64) as usize];
        let stream = match kind {
            // these come and go beside the streams that stay: each ends one round after it started
            "start" => plan.streams + round,
            "done" => plan.streams + round.saturating_sub(1),
            _ => spread(i) % plan.streams,
        };
        request(&plan, kind, stream)
    })
    .await?;
    let p99 = report("mix", &mixed, took);
    match args.p99 {
        Some(limit) if p99 > limit => {
            println!("p99 is above {limit} ms");
            Ok(ExitCode::FAILURE)
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Spreads requests over all streams, without a pattern that caches could like.
fn spread(i: u64) -> u64 {
    i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16
}
