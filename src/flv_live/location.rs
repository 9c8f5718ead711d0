//! What is said in a location: which streams are played there, and which pages may read them.

use std::cell::OnceCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use super::cors::Cors;
use crate::conf::value::{self, Args, ConfError};
use crate::conf::Listen;
use crate::nginx::address::Address;

/// What a location holds of ours.
#[derive(Default)]
pub struct Location {
    flv_live: OnceCell<Rc<FlvLive>>,
    cors: OnceCell<Rc<Cors>>,
}

impl Location {
    /// Lets streams be played in it.
    pub fn set_flv_live(&self, flv_live: Rc<FlvLive>) -> Result<(), ConfError> {
        self.flv_live.set(flv_live).map_err(|_| ConfError::Duplicate)
    }

    /// `flv_cors off|*|origin...`
    pub fn set_cors(&self, args: &Args<'_>) -> Result<(), ConfError> {
        self.cors.set(Rc::new(cors(args.values())?)).map_err(|_| ConfError::Duplicate)
    }

    /// Takes from the block around it what it leaves unsaid of other sites' pages.
    pub fn inherit_cors(&self, outer: &Location) {
        if let Some(cors) = outer.cors.get().filter(|_| self.cors.get().is_none()) {
            let _ = self.cors.set(cors.clone());
        }
    }

    /// Plays what `outer` plays, unless it plays something itself. Whether it does now.
    pub fn inherit_flv_live(&self, outer: &Location) -> bool {
        match outer.flv_live.get() {
            Some(flv_live) => self.flv_live.set(flv_live.clone()).is_ok(),
            None => false,
        }
    }

    /// What is played in it.
    pub fn flv_live(&self) -> Option<&FlvLive> {
        self.flv_live.get().map(Rc::as_ref)
    }

    /// Which pages of other sites may read it.
    pub fn cors(&self) -> &Cors {
        self.cors.get().map_or(&Cors::Off, Rc::as_ref)
    }
}

/// A location in which streams are played.
pub struct FlvLive {
    /// The application, if the location's paths do not tell it.
    pub app: Option<Vec<u8>>,
    listener: Listener,
    text: String,
    place: String,
    listen: OnceCell<Rc<Listen>>,
}

/// The address of the `rtmp` block, as it is written.
enum Listener {
    Port(u16),
    Address(Address),
}

impl FlvLive {
    /// `flv_live [address:]port [app=name]`; `place` is where in the configuration it is said.
    pub fn parse(args: &Args<'_>, place: String) -> Result<FlvLive, ConfError> {
        let listener = Listener::parse(args.first()).ok_or_else(|| {
            ConfError::invalid(
                args.first(),
                "a port, an IP address with a port, or \"unix:path\", as in a \"listen\" of the \
             \"rtmp\" block",
            )
        })?;
        let app = match args.rest() {
            [] => None,
            [word, ..] => match word.strip_prefix(b"app=") {
                Some(app) if !app.is_empty() => Some(app.to_vec()),
                _ => {
                    return Err(ConfError::invalid(
                        word,
                        "\"app=\" with the name of an application",
                    ))
                }
            },
        };
        let text = value::text(args.first());
        Ok(FlvLive { app, listener, text, place, listen: OnceCell::new() })
    }

    /// The address whose servers the location serves.
    pub fn listen(&self) -> Option<&Rc<Listen>> {
        self.listen.get()
    }

    /// Binds it to one of `listens`, or says why there is none.
    pub fn bind(&self, listens: &[Rc<Listen>]) -> Result<(), String> {
        let exact = |listen: &&Rc<Listen>| self.listener.is(&listen.address);
        let within = |listen: &&Rc<Listen>| self.listener.is_within(&listen.address);
        let mut found: Vec<_> = listens.iter().filter(exact).collect();
        if found.is_empty() {
            found = listens.iter().filter(within).collect();
        }
        let FlvLive { text, place, .. } = self;
        let Some((listen, others)) = found.split_first() else {
            return Err(format!(
                "no server of the \"rtmp\" block listens on \"{text}\" of the \"flv_live\" \
                 directive in {place}"
            ));
        };
        if let Some(other) = others.iter().find(|other| !listen.has_servers_of(other)) {
            let (one, other) = (&listen.addr, &other.addr);
            return Err(format!(
                "\"{one}\" and \"{other}\" of the \"rtmp\" block have other servers, so \"{text}\" \
                 of the \"flv_live\" directive in {place} must say which: \"flv_live {one}\" or \
                 \"flv_live {other}\""
            ));
        }
        // each location is bound once
        let _ = self.listen.set((*listen).clone());
        Ok(())
    }
}

impl Listener {
    fn parse(word: &[u8]) -> Option<Listener> {
        if let Some(path) = word.strip_prefix(b"unix:") {
            return (!path.is_empty()).then(|| Listener::Address(Address::Unix(path.to_vec())));
        }
        let word = std::str::from_utf8(word).ok()?;
        let port = |text: &str| text.parse().ok().filter(|&port: &u16| port > 0);
        match word.strip_prefix("*:") {
            Some(any) => port(any).map(Listener::Port),
            None => port(word).map(Listener::Port).or_else(|| {
                let address: SocketAddr = word.parse().ok()?;
                Some(Listener::Address(Address::Ip(address)))
            }),
        }
    }

    /// Whether it names just this address.
    fn is(&self, address: &Address) -> bool {
        match (self, address) {
            (Listener::Port(port), Address::Ip(at)) => {
                at.port() == *port && at.ip().is_unspecified()
            }
            (Listener::Port(_), Address::Unix(_)) => false,
            (Listener::Address(own), at) => own == at,
        }
    }

    /// Whether it names one of several addresses of the port, or one that this wildcard takes.
    fn is_within(&self, address: &Address) -> bool {
        let Address::Ip(at) = address else { return false };
        match self {
            Listener::Port(port) => at.port() == *port,
            Listener::Address(Address::Ip(own)) => {
                at.port() == own.port()
                    && at.ip().is_unspecified()
                    && same_family(at.ip(), own.ip())
            }
            Listener::Address(Address::Unix(_)) => false,
        }
    }
}

fn same_family(one: IpAddr, other: IpAddr) -> bool {
    one.is_ipv4() == other.is_ipv4()
}

fn cors(words: &[&[u8]]) -> Result<Cors, ConfError> {
    match words {
        [b"off"] => return Ok(Cors::Off),
        [b"*"] => return Ok(Cors::Any),
        _ => (),
    }
    let origins = words.iter().map(|word| match Cors::is_origin(word) {
        true => Ok(word.to_ascii_lowercase()),
        false => Err(ConfError::invalid(
            word,
            "origins such as \"https://example.com\" or \"http://example.com:8080\", or \"*\" or \
             \"off\" alone",
        )),
    });
    Ok(Cors::Of(origins.collect::<Result<_, _>>()?))
}
