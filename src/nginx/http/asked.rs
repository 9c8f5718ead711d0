//! What a request asks for, and who asks.

use std::net::{IpAddr, SocketAddr};
use std::ptr::{self, NonNull};

use nginx_sys::{ngx_table_elt_t, NGX_HTTP_OPTIONS};

use super::request::Request;
use crate::nginx::address::{address_of, local_address, Address};
use crate::nginx::connection::is_tls;
use crate::nginx::log::Log;

impl Request {
    /// Whether it is a client's, not a part of another answer.
    pub fn is_main(&self) -> bool {
        self.get(|r| ptr::eq(r.main, r))
    }

    /// The method: one of `NGX_HTTP_GET` and its siblings.
    pub fn method(&self) -> usize {
        self.get(|r| r.method)
    }

    /// Whether the client asks what it may do.
    pub fn is_options(&self) -> bool {
        self.method() == NGX_HTTP_OPTIONS as usize
    }

    /// Whether it is HTTP/1.1, where a connection can be upgraded.
    pub fn is_http_11(&self) -> bool {
        self.get(|r| r.http_version == nginx_sys::NGX_HTTP_VERSION_11 as usize)
    }

    /// The path, decoded and normalised.
    pub fn path(&self) -> Vec<u8> {
        self.get(|r| r.uri.as_bytes().to_vec())
    }

    /// The path and the query as the client wrote them.
    pub fn unparsed(&self) -> Vec<u8> {
        self.get(|r| r.unparsed_uri.as_bytes().to_vec())
    }

    /// The query, as it came.
    pub fn args(&self) -> Vec<u8> {
        self.get(|r| r.args.as_bytes().to_vec())
    }

    /// The host that the client names, without the port, in lower case.
    pub fn host(&self) -> Vec<u8> {
        self.get(|r| r.headers_in.server.as_bytes().to_vec())
    }

    /// Whether the connection is encrypted.
    pub fn is_tls(&self) -> bool {
        self.get(|r| r.schema.as_bytes() == b"https") || self.get_connection(is_tls)
    }

    /// The first field of the name `name`, which is in lower case.
    pub fn field(&self, name: &str) -> Option<Vec<u8>> {
        self.find_field(name, |value| Some(value.to_vec()))
    }

    /// Whether `token` is in the lists that fields of the name `name` hold.
    pub fn has_token(&self, name: &str, token: &[u8]) -> bool {
        let holds = |value: &[u8]| {
            let mut tokens = value.split(|&byte| byte == b',');
            tokens.any(|own| own.trim_ascii().eq_ignore_ascii_case(token)).then_some(())
        };
        self.find_field(name, holds).is_some()
    }

    /// What `f` finds in the first field of that name in which it finds something.
    fn find_field<T>(&self, name: &str, f: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
        self.get(|r| {
            let mut part = &raw const r.headers_in.headers.part;
            // SAFETY: nginx's list of the request's fields: parts of `nelts` elements each.
            while let Some(now) = unsafe { part.as_ref() } {
                let elts = now.elts.cast::<ngx_table_elt_t>();
                for i in 0..now.nelts {
                    // SAFETY: as above.
                    let field = unsafe { &*elts.add(i) };
                    if field.key.as_bytes().eq_ignore_ascii_case(name.as_bytes()) {
                        if let Some(found) = f(field.value.as_bytes()) {
                            return Some(found);
                        }
                    }
                }
                part = now.next;
            }
            None
        })
    }

    /// The client's IP address, as far as nginx believes it; `None` for a unix socket.
    pub fn ip(&self) -> Option<IpAddr> {
        // SAFETY: the connection is live and its address has this length.
        self.get_connection(|c| unsafe { address_of(c.sockaddr, c.socklen) })?.ip()
    }

    /// The client's port; 0 for a unix socket.
    pub fn port(&self) -> u16 {
        // SAFETY: the connection is live and its address has this length.
        let peer = self.get_connection(|c| unsafe { address_of(c.sockaddr, c.socklen) });
        match peer {
            Some(Address::Ip(addr)) => addr.port(),
            _ => 0,
        }
    }

    /// Our own end; `None` for a unix socket.
    pub fn local(&self) -> Option<SocketAddr> {
        let c = self.get(|r| NonNull::new(r.connection))?;
        // SAFETY: a live request has a live connection.
        match unsafe { local_address(c) } {
            Some(Address::Ip(addr)) => Some(addr),
            _ => None,
        }
    }

    /// nginx's number of the connection, as `*N` in its log.
    pub fn number(&self) -> usize {
        self.get_connection(|c| c.number as usize)
    }

    /// The client's address as text.
    pub fn addr_text(&self) -> Vec<u8> {
        self.get_connection(|c| c.addr_text.as_bytes().to_vec())
    }

    /// The connection's log, which knows the request.
    pub fn log(&self) -> Option<Log<'_>> {
        // SAFETY: the log lives as long as the connection, and that as long as the request.
        self.get_connection(|c| Some(unsafe { Log::new(c.log) }))
    }

    /// Whether the client is known to be gone while nobody was reading.
    pub fn client_gone(&self) -> bool {
        self.get_connection(|c| {
            // SAFETY: a live connection has a read event.
            let rev = unsafe { &*c.read };
            rev.pending_eof() != 0 || rev.error() != 0 || c.error() != 0
        })
    }
}
