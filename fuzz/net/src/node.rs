//! The nginx under attack: its configuration, its processes, what they use and what they log.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, Context};
use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use openssl::x509::{X509NameBuilder, X509};

use crate::inner;

/// How long nginx may take to start under a sanitizer.
const START: Duration = Duration::from_secs(60);

/// Where everything listens on 127.0.0.1.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    pub rtmp: u16,
    /// RTMP behind the PROXY protocol.
    pub proxied: u16,
    pub http: u16,
    /// HTTP/2 without TLS.
    pub http2: u16,
    /// Both, with TLS.
    pub https: u16,
    /// Answers callbacks and pulls, and takes pushes, as it likes.
    pub hostile: u16,
}

impl Ports {
    pub fn free(hostile: u16) -> anyhow::Result<Self> {
        let mut held = Vec::new();
        let mut port = || -> anyhow::Result<u16> {
            let listener = TcpListener::bind(("127.0.0.1", 0))?;
            let port = listener.local_addr()?.port();
            held.push(listener);
            Ok(port)
        };
        Ok(Self {
            rtmp: port()?,
            proxied: port()?,
            http: port()?,
            http2: port()?,
            https: port()?,
            hostile,
        })
    }
}

/// What attacks need to know of a node.
#[derive(Clone)]
pub struct Target {
    pub ports: Ports,
    /// Where sockets between workers may be.
    pub sockets: PathBuf,
    /// What its workers prove to know.
    pub secret: Option<Vec<u8>>,
}

/// See the module.
pub struct Node {
    ports: Ports,
    dir: PathBuf,
    keep: bool,
    master: Child,
    /// Workers that were killed here.
    pub killed: usize,
    /// Resident memory of all workers in KiB, at each look.
    pub memory: Vec<u64>,
    /// Descriptors of all workers, at each look.
    pub files: Vec<u64>,
}

impl Node {
    /// Starts a node that pulls from the one at the ports `other`, and is pulled from by it.
    pub fn start(
        nginx: &Path,
        module: &Path,
        ports: Ports,
        other: Ports,
        keep: bool,
    ) -> anyhow::Result<Self> {
        let name = format!("net-fuzz-{}-{}", std::process::id(), ports.rtmp);
        let dir = std::env::temp_dir().join(name);
        fs::create_dir_all(dir.join("logs"))?;
        fs::create_dir_all(dir.join("sockets"))?;
        let module = module.canonicalize().context("--module")?;
        fs::write(dir.join("nginx.conf"), configuration(&dir, &module, ports, other))?;
        certificate(&dir).context("a certificate")?;
        let log = dir.join("sanitizer");
        let master = Command::new(nginx)
            .arg("-p")
            .arg(&dir)
            .args(["-c", "nginx.conf", "-e", "logs/error.log"])
            .env(
                "ASAN_OPTIONS",
                format!(
                    "detect_odr_violation=0:detect_leaks=0:detect_stack_use_after_return=1:\
                     log_path={}",
                    log.display()
                ),
            )
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| nginx.display().to_string())?;
        let (memory, files) = (Vec::new(), Vec::new());
        let mut node = Self { ports, dir, keep, master, killed: 0, memory, files };
        let began = Instant::now();
        while node.workers().len() < 2 {
            if began.elapsed() > START || !node.is_alive() {
                bail!("nginx does not start: {}", node.log());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(node)
    }

    pub fn is_alive(&mut self) -> bool {
        matches!(self.master.try_wait(), Ok(None))
    }

    /// The workers, those that leave included.
    pub fn workers(&self) -> Vec<i32> {
        let master = self.master.id();
        let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children"));
        children.unwrap_or_default().split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    }

    pub fn target(&self) -> Target {
        Target {
            ports: self.ports,
            sockets: self.dir.join("sockets"),
            secret: inner::secret(self.master.id()),
        }
    }

    pub fn reload(&self) {
        signal(self.master.id() as i32, libc::SIGHUP);
    }

    pub fn kill_a_worker(&mut self, random: &mut fastrand::Rng) {
        if let Some(pid) = random.choice(self.workers()) {
            self.killed += 1;
            signal(pid, libc::SIGKILL);
        }
    }

    /// Notes what the workers use now.
    pub fn look(&mut self) {
        self.memory.push(self.workers().into_iter().map(memory).sum());
        self.files.push(self.workers().into_iter().map(files).sum());
    }

    /// What one worker uses, on the average.
    pub fn state(&self) -> String {
        let workers = self.workers();
        let memory: u64 = workers.iter().map(|&pid| memory(pid)).sum();
        let files: u64 = workers.iter().map(|&pid| files(pid)).sum();
        format!("{} workers, {} MiB, {files} descriptors", workers.len(), memory >> 10)
    }

    /// Descriptors of all workers.
    pub fn open_files(&self) -> u64 {
        self.workers().into_iter().map(files).sum()
    }

    pub fn log(&self) -> String {
        let bytes = fs::read(self.dir.join("logs/error.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What a sanitizer has found.
    pub fn reports(&self) -> String {
        let files = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let reports =
            files.filter(|file| file.file_name().as_encoded_bytes().starts_with(b"sanitizer."));
        reports.filter_map(|file| fs::read_to_string(file.path()).ok()).collect()
    }

    pub fn directory(&self) -> &Path {
        &self.dir
    }

    /// Keeps the directory.
    pub fn keep(&mut self) {
        self.keep = true;
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        signal(self.master.id() as i32, libc::SIGTERM);
        let began = Instant::now();
        while self.is_alive() && began.elapsed() < Duration::from_secs(10) {
            thread::sleep(Duration::from_millis(50));
        }
        let _ = self.master.kill();
        let _ = self.master.wait();
        if !self.keep {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

fn signal(pid: i32, signal: i32) {
    // SAFETY: kill(2) takes any numbers; the process is one that was started here.
    unsafe { libc::kill(pid, signal) };
}

fn memory(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn files(pid: i32) -> u64 {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |dir| dir.count() as u64)
}

/// A certificate that signs itself, and its key.
fn certificate(dir: &Path) -> anyhow::Result<()> {
    let key = PKey::from_rsa(Rsa::generate(2048)?)?;
    let mut name = X509NameBuilder::new()?;
    name.append_entry_by_text("CN", "localhost")?;
    let name = name.build();
    let mut certificate = X509::builder()?;
    certificate.set_version(2)?;
    certificate.set_subject_name(&name)?;
    certificate.set_issuer_name(&name)?;
    certificate.set_pubkey(&key)?;
    let (from, to) = (Asn1Time::days_from_now(0)?, Asn1Time::days_from_now(2)?);
    certificate.set_not_before(&from)?;
    certificate.set_not_after(&to)?;
    certificate.sign(&key, MessageDigest::sha256())?;
    fs::write(dir.join("localhost.crt"), certificate.build().to_pem()?)?;
    fs::write(dir.join("localhost.key"), key.private_key_to_pem_pkcs8()?)?;
    Ok(())
}

fn configuration(dir: &Path, module: &Path, ports: Ports, other: Ports) -> String {
    let Ports { rtmp, proxied, http, http2, https, hostile } = ports;
    let (far, farh) = (other.rtmp, other.http);
    let (dir, module) = (dir.display(), module.display());
    // SAFETY: has no conditions.
    let user = if unsafe { libc::geteuid() } == 0 { "user root;" } else { "" };
    format!(
        r#"load_module {module};
{user}
daemon off;
worker_processes 2;
worker_rlimit_nofile 8192;
worker_shutdown_timeout 5s;
error_log logs/error.log info;
pid nginx.pid;
events {{
    worker_connections 2048;
}}
rtmp {{
    rtmp_auto_pull_port unix:{dir}/sockets/s;
    handshake_timeout 3s;
    timeout 5s;
    ping 3s;
    ping_timeout 3s;
    relay_reconnect 500ms;
    oclp_proc http://127.0.0.1:{hostile}/proc;
    server {{
        listen 127.0.0.1:{rtmp} reuseport;
        application live {{
            live on;
            cache_time 1s;
        }}
        application watched {{
            live on;
            cache_time 1s;
        }}
        application asked {{
            live on;
            cache_time 500ms;
            low_latency on;
            oclp_publish http://127.0.0.1:{hostile}/publish stage=start,update,done update=1s timeout=1s;
            oclp_play http://127.0.0.1:{hostile}/play stage=start,update,done update=1s timeout=1s args=$args&p=$page_url;
            oclp_stream http://127.0.0.1:{hostile}/stream stage=start,update,done update=1s timeout=1s;
            oclp_pull http://127.0.0.1:{hostile}/pull stage=start,update,done update=1s timeout=1s;
            oclp_push http://127.0.0.1:{hostile}/push stage=start,update,done update=1s timeout=1s;
        }}
        application meta {{
            live on;
            oclp_meta_type both;
            oclp_meta_once off;
            oclp_meta http://127.0.0.1:{hostile}/meta stage=start,update,done update=1s timeout=1s;
        }}
        application edge {{
            live on;
            idle_streams off;
            pull rtmp://127.0.0.1:{hostile}/x;
        }}
        application edgeh {{
            live on;
            pull http://127.0.0.1:{hostile}/x;
        }}
        application ring {{
            live on;
            pull rtmp://127.0.0.1:{far}/ring;
        }}
        application ringh {{
            live on;
            idle_streams off;
            pull http://127.0.0.1:{farh}/ringh rtmp://127.0.0.1:{far}/ring;
        }}
        application mutual {{
            live on;
            cache_time 1s;
            push rtmp://127.0.0.1:{far}/mutual;
            pull rtmp://127.0.0.1:{far}/watched name=s;
        }}
        application out {{
            live on;
            out_queue 1s;
            push rtmp://127.0.0.1:{hostile}/x;
        }}
        application * {{
            live on;
            wait_key off;
            send_all on;
            cache_time 3s;
            out_queue 500ms drop=2;
        }}
    }}
    server {{
        listen 127.0.0.1:{proxied} proxy_protocol;
        application live {{
            live on;
        }}
    }}
}}
http {{
    access_log off;
    client_header_timeout 3s;
    keepalive_timeout 3s;
    send_timeout 3s;
    server {{
        listen 127.0.0.1:{http};
        listen 127.0.0.1:{http2} http2;
        listen 127.0.0.1:{https} ssl http2;
        ssl_certificate {dir}/localhost.crt;
        ssl_certificate_key {dir}/localhost.key;
        location / {{
            flv_live {rtmp};
        }}
        location /slow/ {{
            rewrite ^/slow(/.*) $1 break;
            limit_rate 20k;
            flv_live {rtmp};
        }}
        location /gz/ {{
            rewrite ^/gz(/.*) $1 break;
            gzip on;
            gzip_types *;
            gzip_min_length 0;
            flv_live {rtmp};
        }}
    }}
}}
"#
    )
}
