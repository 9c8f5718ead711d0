//! `oclp-scheduler`: which stream is on which node of an ngx-rtmp cluster.
//!
//! request → [`event`] → [`decide`] (with [`policy`] and [`store`]) → [`http`] → answer

mod address;
mod args;
mod arrivals;
mod browser;
mod decide;
mod event;
mod http;
mod key;
mod metrics;
mod policy;
mod server;
mod store;

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use tokio::net::TcpListener;
use tokio::signal::unix::{signal, SignalKind};
use tokio::sync::watch;
use tokio::time::{interval, sleep};
use tracing::{error, info, Level};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{fmt, registry};

use args::{Args, LogFormat};
use decide::{Limits, Scheduler};
use metrics::Metrics;
use policy::Policy;
use store::memory::MemoryStore;
use store::redis::RedisStore;
use store::Store;

/// Wrong command line or policy file; clap's own status for the former.
const WRONG_USAGE: u8 = 2;
/// Leases end with this precision.
const TICK: Duration = Duration::from_secs(1);
/// Between two attempts to reach the store.
const RECONNECT: Duration = Duration::from_millis(250);

fn main() -> ExitCode {
    let args = Args::parse();
    let policy = match read_policy(args.config.as_deref()) {
        Ok(policy) => policy,
        Err(e) => {
            eprintln!("oclp-scheduler: {e}");
            return ExitCode::from(WRONG_USAGE);
        }
    };
    let (store, kind) = match open_store(&args.store, &policy) {
        Ok(store) => store,
        Err(e) => {
            eprintln!("oclp-scheduler: --store: {e}");
            return ExitCode::from(WRONG_USAGE);
        }
    };
    if args.check {
        println!("oclp-scheduler: the policy is sound");
        return ExitCode::SUCCESS;
    }
    log_to_stderr(&args);
    let limits = Limits { lease: args.lease, max_streams: args.max_streams };
    let scheduler = Arc::new(Scheduler::new(policy, store, Metrics::new(kind), limits));
    match run(&args, scheduler) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            error!("{e:#}");
            ExitCode::FAILURE
        }
    }
}

fn read_policy(file: Option<&Path>) -> Result<Policy, policy::PolicyError> {
    file.map_or_else(|| Ok(Policy::default()), Policy::read)
}

/// The store and its name in the metrics.
fn open_store(
    name: &str,
    policy: &Policy,
) -> Result<(Arc<dyn Store>, &'static str), anyhow::Error> {
    let learning = policy.learn_at_start;
    if name == "memory" {
        return Ok((Arc::new(MemoryStore::new(learning.then_some(policy.learn))), "memory"));
    }
    let schemes = ["redis://", "redis+unix://"];
    if !schemes.iter().any(|scheme| name.starts_with(scheme)) {
        // not repeated: it may hold a password
        anyhow::bail!("must be memory, redis://host[:port][/db] or redis+unix:///path");
    }
    let store = RedisStore::new(name, learning).context("not a usable redis url")?;
    Ok((Arc::new(store), "redis"))
}

fn log_to_stderr(args: &Args) {
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    // the libraries' own debug lines tell nothing about streams
    let levels = Targets::new()
        .with_target("oclp_scheduler", args.log_level)
        .with_default(args.log_level.min(Level::WARN));
    let lines = fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(colours);
    match args.log_format {
        LogFormat::Text => registry().with(lines.with_filter(levels)).init(),
        LogFormat::Json => {
            registry().with(lines.json().flatten_event(true).with_filter(levels)).init();
        }
    }
}

#[tokio::main]
async fn run(args: &Args, scheduler: Arc<Scheduler>) -> anyhow::Result<()> {
    // from here on no signal ends the process by itself
    let mut hangup = signal(SignalKind::hangup()).context("SIGHUP")?;
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;

    let mut listeners = Vec::with_capacity(args.listen.len());
    for address in &args.listen {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address}"))?;
        let address = listener.local_addr().context("listening address")?;
        info!(%address, version = env!("CARGO_PKG_VERSION"), "listening");
        listeners.push(listener);
    }
    // a first answer is given from the store, if it is there
    scheduler.tick().await;

    let (stop, stopped) = watch::channel(false);
    let routes = http::routes(scheduler.clone());
    let server = server::serve(
        listeners,
        routes,
        scheduler.clone(),
        args.max_connections,
        stopped,
        args.drain,
    );
    let keep_house = keep_house(&scheduler);
    let obey = async {
        loop {
            tokio::select! {
                _ = hangup.recv() => reload(&scheduler, args.config.as_deref()),
                _ = terminate.recv() => break info!("SIGTERM"),
                _ = interrupt.recv() => break info!("SIGINT"),
            }
        }
        // the receiver lives as long as the server
        let _ = stop.send(true);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = server => {}
        () = keep_house => {}
        () = obey => {}
    }
    info!("stopped");
    Ok(())
}

async fn keep_house(scheduler: &Scheduler) {
    let mut every = interval(TICK);
    loop {
        every.tick().await;
        while !scheduler.tick().await {
            sleep(RECONNECT).await;
        }
    }
}

/// A policy that cannot be read changes nothing.
fn reload(scheduler: &Scheduler, file: Option<&Path>) {
    let Some(file) = file else { return info!("SIGHUP: no policy file to read") };
    match Policy::read(file) {
        Ok(policy) => {
            scheduler.reload(policy);
            scheduler.metrics.reloaded(true);
            info!(file = %file.display(), "policy reloaded");
        }
        Err(e) => {
            scheduler.metrics.reloaded(false);
            error!("policy not reloaded: {e}");
        }
    }
}
