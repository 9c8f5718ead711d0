//! `listen`: which sockets nginx opens for us, and which servers stand behind each.

use std::ptr;
use std::rc::Rc;

use super::directive::{any, Directive, S, SOME};
use super::parse::Parse;
use super::scope::Settings;
use super::server::ServerConf;
use super::server_name::{Names, ServerName};
use super::value::{self, Args, ConfError};
use crate::nginx::address::{Address, SockAddr};
use crate::nginx::connection::Connection;
use crate::nginx::listen_options::{Keepalive, ListenOptions};
use crate::nginx::listening::AcceptHandler;
use crate::nginx::parser::{self, Cf};

/// The port of RTMP, as registered with IANA.
const RTMP_PORT: u16 = 1935;

/// The directive. A server without one listens on `*:1935`.
pub const DIRECTIVES: &[Directive] = &[any(c"listen", S, None, SOME, listen)];

/// An address and the servers that share it.
pub struct Listen {
    /// The address as nginx writes it, such as `0.0.0.0:1935` or `unix:/path`.
    pub addr: String,
    /// The address.
    pub address: Address,
    /// The server for a domain that none of them names.
    pub default_server: Rc<ServerConf>,
    /// Whether connections begin with a PROXY protocol header.
    pub proxy_protocol: bool,
    names: Names<Rc<ServerConf>>,
    servers: Vec<Rc<ServerConf>>,
}

impl Listen {
    /// Whether a client gets the same servers at `other` as here.
    pub fn has_servers_of(&self, other: &Listen) -> bool {
        Rc::ptr_eq(&self.default_server, &other.default_server)
            && self.servers.len() == other.servers.len()
            && self.servers.iter().zip(&other.servers).all(|(one, other)| Rc::ptr_eq(one, other))
    }

    /// The server for `domain`, the host that a client says it wants. The case of its letters and
    /// a dot at its end do not matter.
    pub fn server_for(&self, domain: &[u8]) -> Rc<ServerConf> {
        let domain = domain.strip_suffix(b".").unwrap_or(domain).to_ascii_lowercase();
        self.names.find(&domain).unwrap_or_else(|| self.default_server.clone())
    }

    /// The address on which nginx accepted `conn`; `None` if that is not one of an `rtmp` block.
    pub fn of(conn: &Connection) -> Option<Rc<Listen>> {
        let port: Rc<Port> = conn.servers()?.downcast().ok()?;
        if let [listen] = port.listens.as_slice() {
            return Some(listen.clone());
        }
        let local = conn.local_address();
        let exact = port.listens.iter().find(|listen| Some(&listen.address) == local.as_ref());
        exact.or(port.listens.last()).cloned()
    }
}

/// What one socket serves: its own address, and after a wildcard (which comes last) also the
/// addresses of its port that need no socket of their own.
struct Port {
    listens: Vec<Rc<Listen>>,
}

impl ServerConf {
    /// What the directive `so_keepalive` says, for listening sockets to hand down.
    fn keepalive(&self) -> Keepalive {
        match self.so_keepalive {
            true => Keepalive::On { idle: 0, interval: 0, count: 0 },
            false => Keepalive::Off,
        }
    }
}

/// The addresses of all servers, while they are parsed.
#[derive(Default)]
pub struct Addresses {
    list: Vec<AddressBlock>,
}

impl Settings for Addresses {}

struct AddressBlock {
    addr: SockAddr,
    options: ListenOptions,
    // whether a listen has given options that may be given once
    options_set: bool,
    proxy_protocol: bool,
    // numbers of servers, in the order of the file
    servers: Vec<usize>,
    default: Option<usize>,
}

/// One `listen`, read.
#[derive(Default)]
struct Parameters {
    options: ListenOptions,
    options_set: bool,
    proxy_protocol: bool,
    default_server: bool,
}

fn listen(parse: &mut Parse, args: &Args<'_>) -> Result<(), ConfError> {
    let server = parse.server_number()?;
    let addresses = parse.cf.listen_addresses(args.first(), RTMP_PORT)?;
    let parameters = parameters(args.rest(), addresses.first())?;
    for addr in addresses {
        parse.shared::<Addresses>().add(addr, &parameters, server)?;
    }
    Ok(())
}

const PARAMETERS: &str = "\"default_server\", \"bind\", \"backlog=number\", \"rcvbuf=size\", \
    \"sndbuf=size\", \"ipv6only=on|off\", \"reuseport\", \
    \"so_keepalive=on|off|[keepidle]:[keepintvl]:[keepcnt]\" or \"proxy_protocol\"";

fn parameters(words: &[&[u8]], addr: Option<&SockAddr>) -> Result<Parameters, ConfError> {
    let mut p = Parameters::default();
    for &word in words {
        let (name, value) = value::parameter(word);
        let options = &mut p.options;
        match (name, value) {
            (b"default_server" | b"default", None) => p.default_server = true,
            (b"proxy_protocol", None) => p.proxy_protocol = true,
            (b"ssl", None) => {
                return Err(ConfError::other(
                    "the \"ssl\" parameter of the \"listen\" directive is not supported: \
                     let the nginx stream module end TLS and pass it on to this server",
                ))
            }
            (b"bind", None) => options.bind = true,
            (b"reuseport", None) => options.reuseport = true,
            (b"backlog", Some(n)) => {
                options.backlog = Some(parameter(word, value::number(n, &(1..=i32::MAX as u32)))?)
            }
            (b"rcvbuf", Some(n)) => {
                options.rcvbuf = Some(parameter(word, value::size(n, &SOCKET_BUFFER))?)
            }
            (b"sndbuf", Some(n)) => {
                options.sndbuf = Some(parameter(word, value::size(n, &SOCKET_BUFFER))?)
            }
            (b"ipv6only", Some(on)) => {
                if !addr.is_some_and(SockAddr::is_ipv6) {
                    let addr = addr.map(|addr| addr.text.as_str()).unwrap_or_default();
                    return Err(ConfError::other(format!(
                        "ipv6only is not supported on addr \"{addr}\", only on an IPv6 address"
                    )));
                }
                options.ipv6only = Some(parameter(word, value::flag(on))?);
            }
            (b"so_keepalive", Some(value)) => options.so_keepalive = Some(keepalive(word, value)?),
            _ => return Err(ConfError::invalid(word, PARAMETERS)),
        }
        // as in nginx, what belongs to the socket can be said once for an address
        if !matches!(name, b"default_server" | b"default" | b"proxy_protocol") {
            p.options_set = true;
            p.options.bind = true;
        }
    }
    Ok(p)
}

/// A socket buffer that fits the `int` of setsockopt.
const SOCKET_BUFFER: std::ops::RangeInclusive<usize> = 1..=i32::MAX as usize;

/// Puts the whole parameter, not only its value, into the message.
fn parameter<T>(word: &[u8], result: Result<T, ConfError>) -> Result<T, ConfError> {
    result.map_err(|err| match err {
        ConfError::Invalid { must_be, .. } => {
            ConfError::invalid(word, format!("followed by {must_be}"))
        }
        err => err,
    })
}

fn keepalive(word: &[u8], value: &[u8]) -> Result<Keepalive, ConfError> {
    let invalid = || {
        ConfError::invalid(
            word,
            "\"so_keepalive=\" with \"on\", \"off\" or [keepidle]:[keepintvl]:[keepcnt]",
        )
    };
    match value {
        b"on" => return Ok(Keepalive::On { idle: 0, interval: 0, count: 0 }),
        b"off" => return Ok(Keepalive::Off),
        _ => {}
    }
    let parts: Vec<&[u8]> = value.split(|byte| *byte == b':').collect();
    let &[idle, interval, count] = parts.as_slice() else { return Err(invalid()) };
    if idle.is_empty() && interval.is_empty() && count.is_empty() {
        return Err(invalid());
    }
    let seconds = |text: &[u8]| match text.is_empty() {
        true => Some(0),
        false => {
            parser::parse_time(text).and_then(|ms| u32::try_from(ms / 1000).ok()).filter(|s| *s > 0)
        }
    };
    let number = |text: &[u8]| match text.is_empty() {
        true => Some(0),
        false => value::number(text, &(1..=i32::MAX as u32)).ok(),
    };
    Ok(Keepalive::On {
        idle: seconds(idle).ok_or_else(invalid)?,
        interval: seconds(interval).ok_or_else(invalid)?,
        count: number(count).ok_or_else(invalid)?,
    })
}

impl Addresses {
    /// Lets `server` listen on `addr`, also if others do.
    fn add(&mut self, addr: SockAddr, p: &Parameters, server: usize) -> Result<(), ConfError> {
        let refuse = |what: &str| Err(ConfError::other(format!("{what} {}", addr.text)));
        let Some(known) = self.list.iter_mut().find(|known| known.addr.address == addr.address)
        else {
            self.list.push(AddressBlock {
                addr,
                options: p.options.clone(),
                options_set: p.options_set,
                proxy_protocol: p.proxy_protocol,
                servers: vec![server],
                default: p.default_server.then_some(server),
            });
            return Ok(());
        };
        if known.servers.contains(&server) {
            return refuse("a duplicate listen");
        }
        if p.options_set {
            if known.options_set {
                return refuse("duplicate listen options for");
            }
            known.options = p.options.clone();
            known.options_set = true;
        }
        if p.default_server {
            if known.default.is_some() {
                return refuse("a duplicate default server for");
            }
            known.default = Some(server);
        }
        known.proxy_protocol |= p.proxy_protocol;
        known.servers.push(server);
        Ok(())
    }

    /// Gives a server without a `listen` the default address.
    pub fn add_default(&mut self, cf: &Cf, server: usize) -> Result<(), ConfError> {
        if self.all_of(server).next().is_none() {
            for addr in cf.listen_addresses(format!("*:{RTMP_PORT}").as_bytes(), RTMP_PORT)? {
                self.add(addr, &Parameters::default(), server)?;
            }
        }
        Ok(())
    }

    /// The addresses of a server.
    pub fn all_of(&self, server: usize) -> impl Iterator<Item = &str> {
        let known = self.list.iter().filter(move |known| known.servers.contains(&server));
        known.map(|known| known.addr.text.as_str())
    }

    /// The addresses with their servers, whose names are `names`.
    pub fn listens(
        &self,
        cf: &Cf,
        servers: &[Rc<ServerConf>],
        names: &[&[ServerName]],
    ) -> Result<Vec<Rc<Listen>>, ConfError> {
        self.list.iter().map(|known| known.listen(cf, servers, names).map(Rc::new)).collect()
    }

    /// Opens the sockets for `listens`, which [`Addresses::listens`] made; `accept` gets what comes to
    /// them.
    pub fn open(
        &self,
        cf: &Cf,
        listens: &[Rc<Listen>],
        accept: AcceptHandler,
    ) -> Result<(), ConfError> {
        for (known, own) in self.list.iter().zip(listens) {
            if self.wildcard_for(known).is_some() {
                continue;
            }
            let within = |other: &AddressBlock| {
                self.wildcard_for(other).is_some_and(|wildcard| ptr::eq(wildcard, known))
            };
            let others = self.list.iter().zip(listens).filter(|(other, _)| within(other));
            let mut listens: Vec<_> = others.map(|(_, listen)| listen.clone()).collect();
            listens.push(own.clone());
            let port = Rc::new(Port { listens });
            let mut options = known.options.clone();
            options.so_keepalive.get_or_insert(own.default_server.keepalive());
            cf.listen(&known.addr, &options, accept, port)?;
        }
        Ok(())
    }

    /// The address whose socket also takes the connections to `known`: Linux does not let one
    /// listen on an address beside the wildcard of its port, so nginx listens on the wildcard only.
    fn wildcard_for(&self, known: &AddressBlock) -> Option<&AddressBlock> {
        if known.options.bind || known.addr.is_wildcard() {
            return None;
        }
        self.list.iter().find(|other| other.addr.is_wildcard_of(&known.addr))
    }
}

impl AddressBlock {
    fn listen(
        &self,
        cf: &Cf,
        servers: &[Rc<ServerConf>],
        names: &[&[ServerName]],
    ) -> Result<Listen, ConfError> {
        let unnamed = [ServerName::Exact(Vec::new())];
        let mut table = Names::new();
        for number in &self.servers {
            let (Some(server), Some(names)) = (servers.get(*number), names.get(*number)) else {
                continue;
            };
            let names = if names.is_empty() { unnamed.as_slice() } else { names };
            for name in names {
                if !table.add(name, server.clone()) {
                    cf.warn(&format!(
                        "conflicting server name \"{name}\" on {}, ignored",
                        self.addr.text
                    ));
                }
            }
        }
        let default = self.default.or(self.servers.first().copied());
        let default = default.and_then(|number| servers.get(number)).cloned();
        if self.proxy_protocol && default.as_ref().is_some_and(|s| s.proxy_protocol_from.is_empty())
        {
            cf.warn(&format!(
                "\"proxy_protocol\" on {} takes the client's address from whoever connects, \
                 \"proxy_protocol_from\" names those who may tell it",
                self.addr.text
            ));
        }
        Ok(Listen {
            addr: self.addr.text.clone(),
            address: self.addr.address.clone(),
            default_server: default.ok_or(ConfError::Logged)?,
            proxy_protocol: self.proxy_protocol,
            names: table,
            servers: self
                .servers
                .iter()
                .filter_map(|&number| servers.get(number))
                .cloned()
                .collect(),
        })
    }
}
