//! `net-fuzz`: attacks a running nginx with the module over every way in, beside a publisher and a player whose stream
//! must go on, with hostile callback and upstream servers, reloads and killed workers.
//!
//! seed and number → [`plan`] (a valid session, [`mutate`]d, split) → [`attack`] → [`verdict`] on what is left

mod attack;
mod hostile;
mod http;
mod inner;
mod mutate;
mod node;
mod plan;
mod rtmp;
mod verdict;
mod witness;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Parser;

use node::{Node, Ports};
use plan::Plan;
use verdict::Verdict;
use witness::Witness;

const EXAMPLES: &str = "\
Examples:
  net-fuzz --nginx NGINX --module ngx_rtmp_module.so --seconds 300
  net-fuzz --nginx NGINX --module ngx_rtmp_module.so --seed 7 --only 1234
      repeats one attack of the run with that seed, and prints what it sends

With an nginx and a module built with AddressSanitizer, what it finds ends up in the verdict.
Exit status: 0 nothing found, 1 a finding, 2 wrong command line or nginx does not start.";

#[derive(Debug, Parser)]
#[command(name = "net-fuzz", about, after_help = EXAMPLES)]
struct Args {
    /// The nginx to attack
    #[arg(long, value_name = "FILE")]
    nginx: PathBuf,
    /// The module that it loads
    #[arg(long, value_name = "FILE")]
    module: PathBuf,
    /// How long
    #[arg(long, value_name = "NUMBER", default_value_t = 60)]
    seconds: u64,
    /// The same seed makes the same attacks; chosen and printed if it is not given
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Only the attack of this number
    #[arg(long, value_name = "NUMBER")]
    only: Option<u64>,
    /// Attacks at the same time
    #[arg(long, value_name = "NUMBER", default_value_t = 6)]
    attackers: usize,
    /// The longest gap of the watched stream that is no finding; without, it is only printed
    #[arg(long, value_name = "MS")]
    max_gap: Option<u64>,
    /// No reloads and no killed workers
    #[arg(long)]
    calm: bool,
    /// Keep the directory with configuration and logs
    #[arg(long)]
    keep: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(verdict) => {
            print!("{verdict}");
            ExitCode::from(u8::from(!verdict.is_clean()))
        }
        Err(e) => {
            eprintln!("net-fuzz: {e:#}");
            ExitCode::from(2)
        }
    }
}

/// Attacks before memory and descriptors are looked at for the first time: caches and pools have filled then.
const WARM: f64 = 0.25;
/// Between two looks at memory.
const LOOK: Duration = Duration::from_secs(2);
/// Between two disturbances, on the average.
const DISTURB: Duration = Duration::from_secs(12);

fn run(args: &Args) -> anyhow::Result<Verdict> {
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    println!("seed {seed}");
    let hostile = hostile::start(seed).context("hostile servers")?;
    let (near, far) = (Ports::free(hostile)?, Ports::free(hostile)?);
    let start = |ports, other| Node::start(&args.nginx, &args.module, ports, other, args.keep);
    let mut nodes = [start(near, far)?, start(far, near)?];
    let stop = Arc::new(AtomicBool::new(false));
    let witness = Witness::start(near.rtmp, Arc::clone(&stop));
    witness.wait_for_picture(Duration::from_secs(30)).context("the watched stream")?;

    if let Some(number) = args.only {
        let plan = Plan::new(seed, number);
        println!("{plan}");
        attack::carry_out(&plan, &nodes[usize::from(plan.far)].target());
        thread::sleep(Duration::from_secs(1));
    } else {
        storm(args, seed, &mut nodes, &witness, &stop);
    }
    let verdict = Verdict::of(&mut nodes, &witness, args.max_gap);
    stop.store(true, Ordering::Relaxed);
    Ok(verdict)
}

/// Attacks until the time is over.
fn storm(args: &Args, seed: u64, nodes: &mut [Node; 2], witness: &Witness, stop: &AtomicBool) {
    let (next, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let (begin, length) = (Instant::now(), Duration::from_secs(args.seconds));
    // the secret stays over reloads
    let targets = [nodes[0].target(), nodes[1].target()];
    let mut random = fastrand::Rng::with_seed(seed);
    thread::scope(|scope| {
        for _ in 0..args.attackers {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let plan = Plan::new(seed, number);
                    attack::carry_out(&plan, &targets[usize::from(plan.far)]);
                }
            });
        }
        let mut disturbed = Instant::now();
        while begin.elapsed() < length && !stop.load(Ordering::Relaxed) {
            thread::sleep(LOOK.min(length));
            if begin.elapsed() > length.mul_f64(WARM) {
                nodes.iter_mut().for_each(Node::look);
            }
            if !args.calm && disturbed.elapsed() > DISTURB.mul_f64(0.5 + random.f64()) {
                disturbed = Instant::now();
                witness.expect_disturbance();
                let far = usize::from(random.u8(..3) == 0);
                match (random.u8(..4), &targets[far].secret) {
                    (0, _) => nodes[far].kill_a_worker(&mut random),
                    (1, Some(secret)) => inner::usurp(&targets[far].sockets, secret, &mut random),
                    _ => nodes[far].reload(),
                }
            }
            if !nodes.iter_mut().all(Node::is_alive) {
                break;
            }
            eprint!(
                "\r{:4} s, {} attacks, {}, {} ",
                begin.elapsed().as_secs(),
                next.load(Ordering::Relaxed),
                nodes[0].state(),
                witness.state()
            );
        }
        over.store(true, Ordering::Relaxed);
    });
    eprintln!();
    println!("{} attacks", next.load(Ordering::Relaxed));
}
