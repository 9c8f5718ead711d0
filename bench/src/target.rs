//! Addresses to publish to and play from.

use crate::net;
use anyhow::{bail, Context, Result};
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// Players of one group and stream.
const MAX_PLAYERS: u32 = 20_000;
const DEFAULT_JOIN_RATE: f64 = 2000.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Rtmp,
    HttpFlv,
    /// The bare bytes of `rtmp-bench floor`.
    Floor,
}

/// `rtmp://host:port/app/name`, `http://host:port/path` or `floor://host:port/number`; `{}` stands for the stream's
/// number, and `{7}` for stream 7 alone.
#[derive(Clone, Debug)]
pub struct Target {
    pub scheme: Scheme,
    pub address: SocketAddr,
    /// As written: `host:port`, or `host` alone.
    pub authority: String,
    /// The only stream that it is for.
    pub only: Option<u32>,
    path: String,
    text: String,
}

impl Target {
    /// Whether it is for this stream.
    pub fn is_for(&self, stream: u32) -> bool {
        self.only.is_none_or(|only| only == stream)
    }

    pub fn path(&self, stream: u32) -> String {
        self.path.replace("{}", &stream.to_string())
    }

    /// Application and stream name: the last segment of the path is the name.
    pub fn app_and_name(&self, stream: u32) -> (String, String) {
        let path = self.path(stream);
        match path.rsplit_once('/') {
            Some((app, name)) => (app.into(), name.into()),
            None => (path, String::new()),
        }
    }
}

impl FromStr for Target {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (scheme, rest) =
            text.split_once("://").context("a URL begins with rtmp://, http:// or floor://")?;
        let (scheme, default_port) = match scheme {
            "rtmp" => (Scheme::Rtmp, Some(1935)),
            "http" => (Scheme::HttpFlv, Some(80)),
            "floor" => (Scheme::Floor, None),
            other => bail!("{other}:// is not known; rtmp://, http:// and floor:// are"),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().with_context(|| format!("bad port {port:?}"))?)
            }
            _ => (authority, default_port.context("a port is needed")?),
        };
        let (only, path) = match braces(path) {
            Some((before, number, after)) if !number.is_empty() => {
                let number: u32 =
                    number.parse().with_context(|| format!("bad stream {number:?}"))?;
                (Some(number), format!("{before}{number}{after}"))
            }
            _ => (None, path.into()),
        };
        Ok(Self {
            scheme,
            address: net::loopback(host, port)?,
            authority: authority.into(),
            only,
            path,
            text: text.into(),
        })
    }
}

/// What is in the first braces, with what is before and behind them.
fn braces(path: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = path.split_once('{')?;
    let (number, after) = rest.split_once('}')?;
    Some((before, number, after))
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `URL[*players per stream][@joins per second]`
#[derive(Clone, Debug)]
pub struct Play {
    pub target: Target,
    pub per_stream: u32,
    pub joins_per_s: f64,
}

impl FromStr for Play {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (rest, rate) = match text.rsplit_once('@') {
            Some((rest, rate)) => {
                (rest, rate.parse().with_context(|| format!("bad rate {rate:?}"))?)
            }
            None => (text, DEFAULT_JOIN_RATE),
        };
        let (url, count) = match rest.rsplit_once('*') {
            Some((url, count)) => {
                (url, count.parse().with_context(|| format!("bad count {count:?}"))?)
            }
            None => (rest, 1),
        };
        if !(1..=MAX_PLAYERS).contains(&count) {
            bail!("players per stream: 1 to {MAX_PLAYERS}");
        }
        if !(0.1..=100_000.0).contains(&rate) {
            bail!("joins per second: 0.1 to 100000");
        }
        Ok(Self { target: url.parse()?, per_stream: count, joins_per_s: rate })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rtmp_url() {
        let target: Target = "rtmp://127.0.0.1:24000/a/b/s{}?k=v".parse().unwrap();
        assert_eq!((target.scheme, target.address.port()), (Scheme::Rtmp, 24000));
        assert_eq!(target.app_and_name(7), ("a/b".into(), "s7?k=v".into()));
    }

    #[test]
    fn defaults() {
        assert_eq!("rtmp://[::1]/live/x".parse::<Target>().unwrap().address.port(), 1935);
        assert_eq!("http://localhost/x".parse::<Target>().unwrap().address.port(), 80);
        let play: Play = "http://127.0.0.1:81/live/s{}.flv".parse().unwrap();
        assert_eq!((play.per_stream, play.joins_per_s), (1, DEFAULT_JOIN_RATE));
        assert_eq!(play.target.path(3), "live/s3.flv");
    }

    #[test]
    fn group() {
        let play: Play = "floor://127.0.0.1:24100/{}*1000@50".parse().unwrap();
        assert_eq!((play.per_stream, play.joins_per_s), (1000, 50.0));
        assert_eq!(play.target.path(0), "0");
    }

    #[test]
    fn one_stream_alone() {
        let play: Play = "rtmp://127.0.0.1/live/s{12}*3".parse().unwrap();
        assert_eq!(play.target.app_and_name(12), ("live".into(), "s12".into()));
        assert!(play.target.is_for(12) && !play.target.is_for(1));
        assert!("rtmp://127.0.0.1/live/s{}".parse::<Target>().unwrap().is_for(1));
    }

    #[test]
    fn what_is_refused() {
        for text in [
            "rtmp://10.0.0.1/live/x",
            "rtmp://example.com/live/x",
            "ftp://127.0.0.1/x",
            "127.0.0.1:1935/live/x",
            "floor://127.0.0.1/0",
            "rtmp://127.0.0.1:70000/live/x",
            "rtmp://127.0.0.1/live/x*0",
            "rtmp://127.0.0.1/live/x*99999999",
            "rtmp://127.0.0.1/live/x*1@0",
            "rtmp://127.0.0.1/live/{x}",
            "rtmp://127.0.0.1/live/{-1}",
        ] {
            assert!(text.parse::<Play>().is_err(), "{text}");
        }
    }
}
