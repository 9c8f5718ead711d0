//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

const EXAMPLES: &str = "\
Examples:
  oclp-scheduler
      one scheduler for nodes on this machine, at the address of the documentation's examples

  oclp-scheduler --listen 10.0.0.5:6200 --config /etc/oclp-scheduler.toml
      for a cluster; kill -HUP makes it read the file again

  oclp-scheduler --listen 10.0.0.5:6200 --store redis://10.0.0.7:6379/0
      several schedulers that share one Redis: any of them may die

  oclp-scheduler --config scheduler.toml --check
      read the file, say what is wrong with it, and exit

In the nginx of each node:
  rtmp {
      oclp_proc http://10.0.0.5:6200/oclp/v1/proc?node=:1935;
      server {
          listen 1935;
          application live {
              live on;
              oclp_publish http://10.0.0.5:6200/oclp/v1/publish stage=start,update,done args=node=:1935&worker=$ngx_worker;
              oclp_pull    http://10.0.0.5:6200/oclp/v1/pull    args=node=:1935;
          }
      }
  }
node= is where other nodes pull from; :1935 means the address that the request comes from.

Ask it by hand:
  curl -i 'http://127.0.0.1:6200/oclp/v1/pull?call=pull&act=start&domain=a.com&app=live&name=s1'
  curl -s http://127.0.0.1:6200/api/streams
A page with nodes and streams is at http://127.0.0.1:6200/, Prometheus metrics at /metrics.

Signals: HUP reads the policy file again (a bad one is refused and logged), TERM and INT let requests end, then stop.
Exit status: 0 stopped or checked, 1 failed (address in use, ...), 2 wrong command line or policy file.";

/// The scheduling server of an ngx-rtmp cluster: it records which node has which stream, and tells nodes where to pull
/// from and push to.
#[derive(Debug, Parser)]
#[command(name = "oclp-scheduler", version, max_term_width = 100, after_long_help = EXAMPLES)]
#[command(after_help = "--help shows examples")]
pub struct Args {
    /// Where to listen; may be given several times
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:6200")]
    pub listen: Vec<SocketAddr>,

    /// Policy file (TOML): who may publish and play, hubs, weights, leases
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Where streams are recorded: memory, redis://[user:password@]host[:port][/db] or redis+unix:///path
    ///
    /// A password is better kept in the environment: everybody on the machine can read command lines.
    #[arg(
        long,
        value_name = "STORE",
        default_value = "memory",
        env = "OCLP_STORE",
        hide_env_values = true
    )]
    pub store: String,

    /// How long a stream is remembered without an update; overrides the policy file [its default: 150s]
    ///
    /// Two and a half times the nodes' update= is a good value: one update may get lost.
    #[arg(long, value_name = "TIME", value_parser = lease)]
    pub lease: Option<Duration>,

    /// Streams recorded at most; further publishers are refused
    #[arg(long, value_name = "NUMBER", default_value_t = 100_000, value_parser = at_least_one)]
    pub max_streams: usize,

    /// Connections open at most; further ones wait
    #[arg(long, value_name = "NUMBER", default_value_t = 4096, value_parser = at_least_one)]
    pub max_connections: usize,

    /// How long requests under way may take after SIGTERM
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    pub drain: Duration,

    /// What a line of the log looks like
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,

    /// error, warn, info, debug or trace; debug logs every request
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log_level: tracing::Level,

    /// Check the policy file and exit
    #[arg(long)]
    pub check: bool,
}

/// `--log-format`
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogFormat {
    /// For people; with colours on a terminal
    Text,
    /// One JSON object a line
    Json,
}

fn lease(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|e| e.to_string())?;
    crate::policy::check_lease(time)?;
    Ok(time)
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(e) => Err(format!("{e}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_is_sound() {
        Args::command().debug_assert();
    }
}
