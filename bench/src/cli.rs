//! The command line.

use crate::compare::{self, Pace, Plan, Programs};
use crate::cores;
use crate::floor::{self, Floor};
use crate::load::{Load, Until};
use crate::media::Media;
use crate::net::{self, seconds};
use crate::progress::Progress;
use crate::report::{self, Report, Watch};
use crate::rtmp::Handshake;
use crate::run::{self, Times};
use crate::stamp::MAX_STREAM;
use crate::target::{Play, Target};
use anyhow::{ensure, Context, Result};
use clap::{Args, Parser, Subcommand};
use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};
use std::io::{stderr, stdout, ErrorKind, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(
    version,
    about = "Measures RTMP and HTTP-FLV servers on this machine",
    long_about = "Measures RTMP and HTTP-FLV servers on this machine.

Publishes streams in real time and plays them, on one thread. Every audio and video message carries a stamp \
(stream, sequence number, time, CRC) inside valid media, so each player can tell what it lost, what came twice, \
what was changed and how long it took. Only loopback addresses are accepted.

In a URL, {} stands for the number of the stream, from 0; with a number in it, the URL is for that stream alone.",
    after_long_help = "Examples:
  one stream, 100 players, and what the server with pid 123 (and its children) pays for it:
    rtmp-bench run --publish rtmp://127.0.0.1:1935/live/s{} --play 'rtmp://127.0.0.1:1935/live/s{}*100' --server-pid 123 --server-cpu 0
  500 streams of 500 kbit/s with one player each:
    rtmp-bench run --media 500k --streams 500 --publish rtmp://127.0.0.1/live/s{} --play rtmp://127.0.0.1/live/s{}
  the latency that a relay adds: a stream played where it is published, and one that this server pulls from there:
    rtmp-bench run --streams 2 --publish rtmp://127.0.0.1:1935/live/s{} --play 'rtmp://127.0.0.1:1935/live/s{0}*10' --play 'rtmp://127.0.0.1:1936/live/s{1}*10'
  how fast players can come and go:
    rtmp-bench churn --publish rtmp://127.0.0.1/live/s{} --play 'rtmp://127.0.0.1/live/s{}*100' --until key
  the least that delivering these bytes can cost here, merged for 50 ms:
    rtmp-bench floor --listen 127.0.0.1:19400 --window 50 &
    rtmp-bench run --play 'floor://127.0.0.1:19400/{}*1000' --server-pid $!
  how this module compares with others: see scripts/bench"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Publish and play in real time; report loss, latency, join times, CPU and memory
    Run(RunArgs),
    /// Let players come and go as fast as the server answers, or at a rate; report visits per second and CPU per visit
    Churn(ChurnArgs),
    /// Open HTTP requests and keep them; report the memory that each takes
    Hold(HoldArgs),
    /// Serve the same bytes with bare write() calls: the least that delivery can cost
    Floor(FloorArgs),
    /// Start servers side by side, load each in turn, and write tables, charts and what became of this module's promises
    Compare(CompareArgs),
    /// Write the tables and charts of a comparison again
    Summarise(SummariseArgs),
    /// Write the stamped media of a profile or FLV file to a file, to look at with other tools
    Media(MediaArgs),
}

#[derive(Debug, Args)]
struct MediaChoice {
    /// What to publish: a profile (500k, 1m, 4m; made with ffmpeg, 30 frames/s, key frame every 2 s, AAC) or an FLV file
    #[arg(long, default_value = "1m", value_name = "PROFILE|FILE")]
    media: String,
    /// Where made media are kept
    #[arg(long, default_value = "target/bench/media", value_name = "DIR")]
    media_dir: PathBuf,
    /// RTMP chunk size of what is published
    #[arg(long, default_value_t = 4096, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(256..=65536))]
    chunk_size: u32,
}

#[derive(Debug, Args)]
struct Common {
    /// Where to publish; streams are played only if this is left out. More than once to publish streams at different
    /// places
    #[arg(long, value_name = "URL")]
    publish: Vec<Target>,
    /// Number of streams
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    streams: u32,
    /// Where to play from, players per stream (1) and joins per second (2000); groups join one after the other
    #[arg(long, required = true, value_name = "URL[*N][@RATE]")]
    play: Vec<Play>,
    #[command(flatten)]
    media: MediaChoice,
    /// Handshake of all clients
    #[arg(long, default_value = "simple", value_enum)]
    handshake: Handshake,
    /// Seconds over which publishers open
    #[arg(long, default_value_t = 1.0, value_name = "S")]
    publish_over: f64,
    /// Seconds of publishing before players come
    #[arg(long, default_value_t = 0.5, value_name = "S")]
    settle: f64,
    /// Seconds that publishers and players may take until media flow
    #[arg(long, default_value_t = 15.0, value_name = "S")]
    timeout: f64,
    /// Seconds between the last player's first key frame and the window
    #[arg(long, default_value_t = 1.0, value_name = "S")]
    warm_up: f64,
    /// Seconds measured; a multiple of the key frame interval
    #[arg(long, default_value_t = 4.0, value_name = "S")]
    window: f64,
    /// Seconds after the window in which its messages may still arrive
    #[arg(long, default_value_t = 0.8, value_name = "S")]
    drain: f64,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
struct Output {
    /// Processes of the server; their descendants are counted with them
    #[arg(long, value_name = "PID,...", value_delimiter = ',')]
    server_pid: Vec<u32>,
    /// Cores that the server is bound to: their softirq threads are counted, and what others took of them is told
    #[arg(long, value_name = "CPU,...", value_delimiter = ',')]
    server_cpu: Vec<usize>,
    /// Bind this program to a core
    #[arg(long, value_name = "CPU")]
    cpu: Option<usize>,
    /// Append the result to a file as a line of JSON (- for stdout, instead of the table)
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// A name for the result
    #[arg(long, default_value = "", value_name = "TEXT")]
    label: String,
    /// Tell what happens while it runs, even if stderr is no terminal
    #[arg(long)]
    progress: bool,
}

#[derive(Debug, Args)]
struct RunArgs {
    #[command(flatten)]
    common: Common,
    /// Check every byte of one player in N (sequence numbers are checked of all); 0 for none
    #[arg(long, default_value_t = 50, value_name = "N")]
    verify_every: u64,
    /// Never sleep: a server then pays for no wake-ups of this program, and latency does not hold them; takes a whole core
    #[arg(long)]
    busy_poll: bool,
    /// Exit with status 1 unless everything arrived, in order and unchanged
    #[arg(long)]
    require_clean: bool,
}

#[derive(Debug, Args)]
struct ChurnArgs {
    #[command(flatten)]
    common: Common,
    /// What a player waits for before it leaves (by a reset) and comes again
    #[arg(long, default_value = "status", value_enum)]
    until: Until,
    /// Visits per second in all, spread evenly, instead of as many as the server answers
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
}

#[derive(Debug, Args)]
struct HoldArgs {
    /// What to request, and how many times
    #[arg(long, required = true, value_name = "URL[*N][@RATE]")]
    get: Vec<Play>,
    /// Seconds from the last request to the reading of memory
    #[arg(long, default_value_t = 2.0, value_name = "S")]
    window: f64,
    #[command(flatten)]
    media: MediaChoice,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
struct FloorArgs {
    /// Loopback address to serve on; play it with floor://ADDRESS/{}
    #[arg(long, value_name = "ADDRESS")]
    listen: String,
    /// Milliseconds from the first message that waits to the write; 0 writes in the turn that brought it
    #[arg(long, default_value_t = 0.0, value_name = "MS")]
    window: f64,
    /// Number of streams
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    streams: u32,
    /// Seconds to serve
    #[arg(long, default_value_t = 600.0, value_name = "S")]
    serve_for: f64,
    /// Bind this program to a core
    #[arg(long, value_name = "CPU")]
    cpu: Option<usize>,
    #[command(flatten)]
    media: MediaChoice,
}

#[derive(Debug, Args)]
struct CompareArgs {
    /// Only these cases (see --list)
    #[arg(long, value_name = "CASE,...", value_delimiter = ',')]
    case: Vec<String>,
    /// Only servers whose name begins so (ngx-rtmp, libnginx-mod-rtmp, node-media-server, xiu, floor)
    #[arg(long, value_name = "SERVER,...", value_delimiter = ',')]
    server: Vec<String>,
    /// List the cases and their contenders, and do nothing
    #[arg(long)]
    list: bool,
    /// Fewer cases, two repetitions, windows of 2 s
    #[arg(long)]
    quick: bool,
    /// Repetitions of everything (5; with --quick 2)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    reps: Option<u32>,
    /// Seconds measured in each run (4; with --quick 2)
    #[arg(long, value_name = "S")]
    window: Option<f64>,
    /// Our module, as scripts/build made it
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,
    /// The nginx that loads it
    #[arg(long, value_name = "FILE", default_value = "/usr/sbin/nginx")]
    nginx: PathBuf,
    /// The module of the package libnginx-mod-rtmp
    #[arg(long, value_name = "FILE", default_value = "/usr/lib/nginx/modules/ngx_rtmp_module.so")]
    libnginx_mod_rtmp: PathBuf,
    /// The directory in which the npm package node-media-server was installed
    #[arg(long, value_name = "DIR", default_value = "target/bench/node-media-server")]
    node_media_server: PathBuf,
    /// The program of the crate xiu
    #[arg(long, value_name = "FILE", default_value = "target/bench/xiu/bin/xiu")]
    xiu: PathBuf,
    /// Core of the servers
    #[arg(long, value_name = "CPU", default_value_t = 0)]
    server_cpu: usize,
    /// Core of the load
    #[arg(long, value_name = "CPU", default_value_t = 1)]
    load_cpu: usize,
    /// The first of four ports to use
    #[arg(long, value_name = "PORT", default_value_t = 19350, value_parser = clap::value_parser!(u16).range(1024..=65532))]
    port: u16,
    /// Runs in which others took more of the servers' core are made again, at most twice, in per cent
    #[arg(long, value_name = "PERCENT", default_value_t = 8.0)]
    max_foreign: f64,
    /// For results, configurations and logs
    #[arg(long, value_name = "DIR", default_value = "target/bench/compare")]
    dir: PathBuf,
    /// Add to the runs of an earlier comparison in that directory, instead of replacing them
    #[arg(long)]
    append: bool,
    /// Draw charts into this directory
    #[arg(long, value_name = "DIR")]
    charts: Option<PathBuf>,
    /// Where made media are kept
    #[arg(long, default_value = "target/bench/media", value_name = "DIR")]
    media_dir: PathBuf,
    /// Tell what happens while it runs, even if stderr is no terminal
    #[arg(long)]
    progress: bool,
}

#[derive(Debug, Args)]
struct SummariseArgs {
    /// The directory of a comparison, with runs.jsonl in it
    #[arg(long, value_name = "DIR", default_value = "target/bench/compare")]
    dir: PathBuf,
    /// Draw charts into this directory
    #[arg(long, value_name = "DIR")]
    charts: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct MediaArgs {
    /// The FLV file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    media: MediaChoice,
}

/// Longest time that any option may ask for, in s.
const MAX_SECONDS: f64 = 3600.0;

pub fn run() -> Result<ExitCode> {
    match Cli::parse().command {
        Command::Run(args) => run_command(args),
        Command::Churn(args) => churn_command(args),
        Command::Hold(args) => hold_command(args),
        Command::Floor(args) => floor_command(args),
        Command::Compare(args) => compare_command(args),
        Command::Summarise(args) => summarise_command(args),
        Command::Media(args) => media_command(args),
    }
}

fn run_command(args: RunArgs) -> Result<ExitCode> {
    let (mut load, watch, times) = args.common.load()?;
    load.verify_every(args.verify_every);
    load.busy_poll(args.busy_poll);
    let mut report = run::run(&mut load, &watch, times)?;
    drop(load);
    report.label = args.common.output.label.clone();
    let clean = report.clean;
    args.common.output.show(&Report::Run(report))?;
    Ok(ExitCode::from(u8::from(args.require_clean && !clean)))
}

fn churn_command(args: ChurnArgs) -> Result<ExitCode> {
    ensure!(args.common.play.len() == 1, "churn takes one --play");
    let (mut load, watch, times) = args.common.load()?;
    ensure!(
        args.rate.is_none_or(|rate| (1.0..=1e6).contains(&rate)),
        "--rate is from 1 to 1000000"
    );
    let mut report = run::churn(&mut load, &watch, times, args.until, args.rate)?;
    drop(load);
    report.label = args.common.output.label.clone();
    args.common.output.show(&Report::Churn(report))?;
    Ok(ExitCode::SUCCESS)
}

fn hold_command(args: HoldArgs) -> Result<ExitCode> {
    args.output.prepare()?;
    raise_file_limit(args.get.iter().map(|get| u64::from(get.per_stream)).sum())?;
    let mut load = Load::new(args.media.open()?, Vec::new(), 1, &args.get)?;
    load.progress = Progress::new(args.output.progress);
    let mut report = run::hold(&mut load, &args.output.watch(), in_bounds(args.window)?);
    drop(load);
    report.label = args.output.label.clone();
    args.output.show(&Report::Hold(report))?;
    Ok(ExitCode::SUCCESS)
}

fn floor_command(args: FloorArgs) -> Result<ExitCode> {
    bind_to(args.cpu)?;
    raise_file_limit(floor::MAX_READERS as u64)?;
    let (host, port) = args.listen.rsplit_once(':').context("--listen takes address:port")?;
    let address = net::loopback(host, port.parse().context("bad port")?)?;
    let window = seconds(in_bounds(args.window / 1000.0)?);
    let mut floor = Floor::new(args.media.open()?, args.streams, &address, window)?;
    floor.serve_for(seconds(in_bounds(args.serve_for)?));
    Ok(ExitCode::SUCCESS)
}

fn compare_command(args: CompareArgs) -> Result<ExitCode> {
    let mut cases = compare::cases();
    for id in &args.case {
        ensure!(cases.iter().any(|case| case.id == id), "there is no case {id:?}: see --list");
    }
    let chosen = |id: &str| args.case.iter().any(|case| case == id);
    cases.retain(|case| chosen(case.id) || args.case.is_empty() && (case.quick || !args.quick));
    if !args.server.is_empty() {
        for case in &mut cases {
            case.contenders.retain(|contender| {
                args.server.iter().any(|server| contender.name().starts_with(server))
            });
        }
    }
    if args.list {
        let mut list = String::new();
        for case in &cases {
            list += &format!("{:<16} {}\n", case.id, case.title);
            for contender in &case.contenders {
                list += &format!("{:<16}   {}\n", "", contender.name());
            }
        }
        return print(&list);
    }
    let here = |path: PathBuf| path.exists().then_some(path);
    let (repetitions, window) = if args.quick { (2, 2.0) } else { (5, 4.0) };
    // a server finds its media made, and pays nothing for it
    for media in cases.iter().map(|case| case.media) {
        Media::open(media, &args.media_dir, 4096)?;
    }
    let plan = Plan {
        programs: Programs {
            nginx: here(args.nginx),
            module: args.module,
            arut_module: here(args.libnginx_mod_rtmp),
            node_media_server: here(args.node_media_server),
            xiu: here(args.xiu),
        },
        cases,
        repetitions: args.reps.unwrap_or(repetitions),
        pace: Pace { window: in_bounds(args.window.unwrap_or(window))?, warm_up: 1.0 },
        server_core: args.server_cpu,
        load_core: args.load_cpu,
        port: args.port,
        media_dir: args.media_dir,
        dir: args.dir,
        max_foreign_pct: args.max_foreign,
        append: args.append,
        progress: args.progress || stderr().is_terminal(),
    };
    compare::compare(&plan)?;
    print(&compare::conclude(&plan.dir, args.charts.as_deref())?)
}

fn summarise_command(args: SummariseArgs) -> Result<ExitCode> {
    print(&compare::conclude(&args.dir, args.charts.as_deref())?)
}

fn media_command(args: MediaArgs) -> Result<ExitCode> {
    std::fs::write(&args.out, args.media.open()?.to_flv())
        .with_context(|| format!("{}", args.out.display()))?;
    Ok(ExitCode::SUCCESS)
}

impl MediaChoice {
    fn open(&self) -> Result<Media> {
        Media::open(&self.media, &self.media_dir, self.chunk_size as usize)
    }
}

impl Common {
    fn load(&self) -> Result<(Load, Watch, Times)> {
        let times = Times {
            publish: in_bounds(self.publish_over)?,
            settle: in_bounds(self.settle)?,
            timeout: in_bounds(self.timeout)?,
            warm_up: in_bounds(self.warm_up)?,
            window: in_bounds(self.window)?,
            drain: in_bounds(self.drain)?,
        };
        ensure!(self.streams <= MAX_STREAM, "too many streams");
        let per_stream: u64 = self.play.iter().map(|play| u64::from(play.per_stream)).sum();
        raise_file_limit(u64::from(self.streams) * (per_stream + 1))?;
        self.output.prepare()?;
        let mut load =
            Load::new(self.media.open()?, self.publish.clone(), self.streams, &self.play)?;
        load.handshake(self.handshake);
        load.progress = Progress::new(self.output.progress);
        Ok((load, self.output.watch(), times))
    }
}

impl Output {
    fn prepare(&self) -> Result<()> {
        bind_to(self.cpu)
    }

    fn watch(&self) -> Watch {
        let cores = self.server_cpu.clone();
        let shared = self.cpu.is_some_and(|cpu| cores.contains(&cpu));
        Watch { pids: self.server_pid.clone(), cores, shared }
    }

    fn show(&self, report: &Report) -> Result<()> {
        if let Some(path) = &self.json {
            report::write_json(report, path)?;
        }
        if self.json.as_ref().is_none_or(|path| path.as_os_str() != "-") {
            print(&report.table())?;
        }
        Ok(())
    }
}

/// To stdout; a reader that has seen enough is no error.
fn print(text: &str) -> Result<ExitCode> {
    match stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn in_bounds(s: f64) -> Result<f64> {
    ensure!((0.0..=MAX_SECONDS).contains(&s), "times are from 0 to {MAX_SECONDS} s");
    Ok(s)
}

fn bind_to(cpu: Option<usize>) -> Result<()> {
    cpu.map_or(Ok(()), |cpu| cores::bind(&[cpu]))
}

/// Lets this process open so many sockets.
fn raise_file_limit(sockets: u64) -> Result<()> {
    // for files, pipes and /proc
    let wanted = sockets + 64;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    ensure!(
        limit.maximum.is_none_or(|maximum| maximum >= wanted),
        "{wanted} open files are needed, and the limit is {}: see ulimit -Hn",
        limit.maximum.unwrap_or(0)
    );
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum })
        .context("the limit of open files cannot be raised")
}
