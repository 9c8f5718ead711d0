//! The servers that are compared: how each is configured, started and ended.

use crate::cores;
use crate::net;
use anyhow::{bail, ensure, Context, Result};
use rustix::event::{poll, PollFd, PollFlags};
use rustix::process::{pidfd_open, pidfd_send_signal, Pid, PidfdFlags, Signal};
use rustix::time::Timespec;
use std::fs;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const START_TIMEOUT: Duration = Duration::from_secs(15);
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two attempts to connect to a server that starts.
const START_RETRY: Duration = Duration::from_millis(20);

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// This module.
    NgxRtmp,
    /// Debian's package of arut's module.
    LibnginxModRtmp,
    NodeMediaServer,
    Xiu,
    /// Bare writes of the same bytes.
    Floor,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::NgxRtmp => "ngx-rtmp",
            Kind::LibnginxModRtmp => "libnginx-mod-rtmp",
            Kind::NodeMediaServer => "node-media-server",
            Kind::Xiu => "xiu",
            Kind::Floor => "floor",
        }
    }
}

/// Where the servers' programs are; what is `None` is not here.
#[derive(Clone, Debug, Default)]
pub struct Programs {
    pub nginx: Option<PathBuf>,
    pub module: Option<PathBuf>,
    pub arut_module: Option<PathBuf>,
    /// The directory with node_modules in it.
    pub node_media_server: Option<PathBuf>,
    pub xiu: Option<PathBuf>,
}

impl Programs {
    /// Why a server cannot be started here.
    pub fn missing(&self, kind: Kind) -> Option<&'static str> {
        let nginx = self.nginx.is_none().then_some("nginx is not installed");
        match kind {
            Kind::NgxRtmp => nginx.or(self.module.is_none().then_some("no --module was given")),
            Kind::LibnginxModRtmp => nginx.or(self
                .arut_module
                .is_none()
                .then_some("the package libnginx-mod-rtmp is not installed")),
            Kind::NodeMediaServer => self
                .node_media_server
                .is_none()
                .then_some("the npm package node-media-server is not installed"),
            Kind::Xiu => self.xiu.is_none().then_some("the crate xiu is not installed"),
            Kind::Floor => None,
        }
    }
}

/// How a server is set up for a case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setup {
    pub merge: Merge,
    /// A GOP cache of 3 s.
    pub cache: bool,
    pub workers: u32,
    /// With an HTTP server beside the RTMP one.
    pub http: bool,
    pub relay: Relay,
    /// Asks a server of callbacks, its peer, about each player.
    pub callbacks: bool,
    /// Of the floor, which has no publishers.
    pub streams: u32,
}

/// How long messages are gathered before they are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Merge {
    #[default]
    Auto,
    Ms(u32),
}

/// Two servers instead of one, and which of them opens the connection between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Relay {
    #[default]
    None,
    Push,
    Pull,
}

/// Loopback ports of one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    pub rtmp: u16,
    pub http: u16,
}

/// A running server; it ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    pidfd: OwnedFd,
}

/// What a server is started with.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    pub programs: &'a Programs,
    pub kind: Kind,
    pub setup: Setup,
    pub ports: Ports,
    /// Where it is to push to or pull from.
    pub peer: Option<Ports>,
    /// Profile or file of the floor's media.
    pub media: &'a str,
    pub media_dir: &'a Path,
    /// For configuration and logs; made anew.
    pub dir: &'a Path,
    pub cores: &'a [usize],
}

impl Server {
    /// Starts a server and waits until it accepts connections.
    pub fn start(start: &Start) -> Result<Self> {
        // a directory of an earlier run may be there or not
        let _ = fs::remove_dir_all(start.dir);
        fs::create_dir_all(start.dir.join("logs"))?;
        let program = start.command()?;
        let mut ports = vec![start.ports.rtmp];
        if start.setup.http {
            ports.push(start.ports.http);
        }
        Self::run(start.kind.name(), program, start.dir, start.cores, &ports)
    }

    /// Runs a program and waits until it listens on `ports`.
    fn run(
        name: &str,
        program: Vec<String>,
        dir: &Path,
        cores: &[usize],
        ports: &[u16],
    ) -> Result<Self> {
        let mut command = Command::new("setpriv");
        // a comparison that is killed leaves no server behind
        command.args(["--pdeathsig", "TERM", "--"]).args(program);
        command.current_dir(dir).stdin(Stdio::null());
        command.stdout(fs::File::create(dir.join("logs/stdout.log"))?);
        command.stderr(fs::File::create(dir.join("logs/stderr.log"))?);
        let child = cores::spawn_on(cores, &mut command)
            .with_context(|| format!("{name} cannot be started"))?;
        let pid = Pid::from_child(&child);
        let mut server = Self { pidfd: pidfd_open(pid, PidfdFlags::empty())?, child };
        for port in ports {
            server.wait_for_port(*port, dir)?;
        }
        Ok(server)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn wait_for_port(&mut self, port: u16, dir: &Path) -> Result<()> {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let end = net::now() + START_TIMEOUT.as_nanos() as u64;
        while std::net::TcpStream::connect_timeout(&address, START_TIMEOUT).is_err() {
            let ended = self.child.try_wait()?;
            if ended.is_some() || net::now() > end {
                let log = |name: &str| fs::read_to_string(dir.join(name)).unwrap_or_default();
                let said = log("logs/stderr.log") + &log("logs/error.log");
                let ended = ended.map_or("does not listen".into(), |status| status.to_string());
                bail!("server on port {port}: {ended}: {}", last_lines(&said));
            }
            std::thread::sleep(START_RETRY);
        }
        Ok(())
    }
}

/// nginx as a server of callbacks that answers each with 200, and notes how many connections it has.
#[derive(Debug)]
pub struct CallbackServer {
    server: Server,
    log: PathBuf,
}

impl CallbackServer {
    pub fn start(nginx: &Path, port: u16, dir: &Path, cores: &[usize]) -> Result<Self> {
        let _ = fs::remove_dir_all(dir);
        fs::create_dir_all(dir.join("logs"))?;
        let dir = fs::canonicalize(dir)?;
        let config = format!(
            "daemon off;
error_log logs/error.log warn;
pid nginx.pid;
events {{ worker_connections 8192; }}
http {{
    log_format open $connections_active;
    access_log logs/open.log open buffer=64k;
    keepalive_requests 1000000;
    server {{
        listen 127.0.0.1:{port};
        return 200;
    }}
}}
"
        );
        fs::write(dir.join("nginx.conf"), config)?;
        let prefix = format!("{}/", dir.display());
        let program = [&nginx.display().to_string(), "-p", &prefix, "-c", "nginx.conf"];
        let program = program.map(str::to_string).to_vec();
        let server = Server::run("the server of callbacks", program, &dir, cores, &[port])?;
        Ok(Self { server, log: dir.join("logs/open.log") })
    }

    /// Ends it, and tells how many connections it had open at most.
    pub fn most_connections(self) -> Result<u64> {
        // it writes what it holds of the log when it ends
        drop(self.server);
        let text = fs::read_to_string(&self.log)?;
        text.lines()
            .map(|line| Ok(line.parse()?))
            .try_fold(0, |most, n: Result<u64>| Ok(most.max(n?)))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // one that has ended already takes no signal
        let _ = pidfd_send_signal(&self.pidfd, Signal::TERM);
        if !wait_readable(&self.pidfd, STOP_TIMEOUT) {
            let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// Waits for a pidfd or pipe to become readable.
pub fn wait_readable(fd: &OwnedFd, timeout: Duration) -> bool {
    let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: 0 };
    poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&timeout)).is_ok_and(|ready| ready > 0)
}

/// The end of a log, on one line.
pub fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(3)..].join(" | ")
}

impl Start<'_> {
    /// The program and its arguments; configuration is written to `dir`.
    fn command(&self) -> Result<Vec<String>> {
        if let Some(why) = self.programs.missing(self.kind) {
            bail!("{why}");
        }
        let program = |path: &Option<PathBuf>| -> Result<String> {
            let path = path.as_ref().context("no such program")?;
            Ok(fs::canonicalize(path)
                .with_context(|| format!("{}", path.display()))?
                .display()
                .to_string())
        };
        let dir = fs::canonicalize(self.dir)?;
        let file = |name: &str, text: String| -> Result<String> {
            fs::write(dir.join(name), text)?;
            Ok(dir.join(name).display().to_string())
        };
        let words = |words: &[&str]| words.iter().map(|word| word.to_string()).collect();
        let Ports { rtmp, http } = self.ports;
        Ok(match self.kind {
            Kind::NgxRtmp | Kind::LibnginxModRtmp => {
                let module = match self.kind {
                    Kind::NgxRtmp => &self.programs.module,
                    _ => &self.programs.arut_module,
                };
                let config = file("nginx.conf", self.nginx_conf(&program(module)?)?)?;
                let prefix = format!("{}/", dir.display());
                words(&[&program(&self.programs.nginx)?, "-p", &prefix, "-c", &config])
            }
            Kind::NodeMediaServer => {
                ensure!(self.setup.relay == Relay::None, "relays need its HTTP interface");
                let package = program(&self.programs.node_media_server)?;
                let config = serde_json::json!({
                    "bind": "127.0.0.1",
                    "notify": { "url": "" },
                    "store": { "path": dir.join("data") },
                    "rtmp": { "port": rtmp },
                    "http": { "port": http },
                    "webadmin": { "enable": false },
                    "record": { "auto": false, "path": dir.join("record") },
                });
                let config = file("config.json", config.to_string())?;
                let app = format!("{package}/node_modules/node-media-server/bin/app.js");
                words(&["node", &app, "-c", &config])
            }
            Kind::Xiu => {
                ensure!(self.setup.relay == Relay::None, "not set up for relays here");
                let program = program(&self.programs.xiu)?;
                let (rtmp, http) = (rtmp.to_string(), http.to_string());
                let mut arguments = vec![program.as_str(), "-r", &rtmp, "-l", "warn"];
                if self.setup.http {
                    arguments.extend(["-f", &http]);
                }
                words(&arguments)
            }
            Kind::Floor => {
                let window = match self.setup.merge {
                    Merge::Auto => 0,
                    Merge::Ms(ms) => ms,
                };
                let own = std::env::current_exe()?.display().to_string();
                let media_dir = fs::canonicalize(self.media_dir)?.display().to_string();
                words(&[
                    &own,
                    "floor",
                    "--listen",
                    &format!("127.0.0.1:{rtmp}"),
                    "--window",
                    &window.to_string(),
                    "--streams",
                    &self.setup.streams.max(1).to_string(),
                    "--media",
                    self.media,
                    "--media-dir",
                    &media_dir,
                ])
            }
        })
    }

    fn nginx_conf(&self, module: &str) -> Result<String> {
        let Ports { rtmp, http } = self.ports;
        let mut application = String::from("live on;");
        if self.kind == Kind::NgxRtmp {
            let cache = if self.setup.cache { "3s" } else { "0" };
            application += &format!(" cache_time {cache};");
            if let Merge::Ms(ms) = self.setup.merge {
                application += &format!(" merge_window {ms}ms;");
            }
        }
        if self.setup.callbacks {
            let peer = self.peer.context("callbacks without a peer")?;
            let url = format!("http://127.0.0.1:{}/play", peer.http);
            // what is not answered is to be a failed visit
            application += &format!(" oclp_fail closed; oclp_play {url} stage=start,done;");
        } else if let Some(peer) = self.peer {
            let verb = match self.setup.relay {
                Relay::None => bail!("a peer without a relay"),
                Relay::Push => "push",
                Relay::Pull => "pull",
            };
            application += &format!(" {verb} rtmp://127.0.0.1:{}/live;", peer.rtmp);
        }
        let mut config = format!(
            "load_module {module};
daemon off;
worker_processes {};
worker_rlimit_nofile 16384;
error_log logs/error.log warn;
pid nginx.pid;
events {{ worker_connections 8192; }}
rtmp {{
    access_log off;
    server {{
        listen 127.0.0.1:{rtmp};
        chunk_size 4096;
        application live {{ {application} }}
    }}
}}
",
            self.setup.workers.max(1)
        );
        if self.setup.http {
            config += &format!(
                "http {{
    access_log off;
    sendfile on;
    server {{
        listen 127.0.0.1:{http};
        location /live/ {{ flv_live {rtmp}; }}
        location /held {{ limit_rate 1; root {}; }}
    }}
}}
",
                self.held_dir()?
            );
        }
        Ok(config)
    }

    /// A file that takes for ever at a byte a second: what a request costs without any module.
    fn held_dir(&self) -> Result<String> {
        let dir = fs::canonicalize(self.dir)?.join("html");
        fs::create_dir_all(&dir)?;
        fs::write(dir.join("held"), vec![b'x'; 1 << 20])?;
        Ok(dir.display().to_string())
    }
}
