//! The addresses of sockets, and the form in which nginx and the socket calls take them.

use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::ptr::{self, NonNull};

use nginx_sys::{
    ngx_connection_local_sockaddr, ngx_connection_t, sockaddr, sockaddr_storage, NGX_OK,
};

/// An address to listen on, also in the form that the socket calls take.
#[derive(Clone)]
pub struct SockAddr {
    /// What it means.
    pub address: Address,
    /// As nginx writes it.
    pub text: String,
    raw: sockaddr_storage,
    len: u32,
}

impl SockAddr {
    /// # Safety
    ///
    /// `sa` points to `len` bytes.
    pub unsafe fn new(sa: *const sockaddr, len: u32, text: String) -> Option<Self> {
        // SAFETY: the caller's promise, and zeroes are an address of no family.
        unsafe {
            let address = address_of(sa, len)?;
            let mut raw: sockaddr_storage = mem::zeroed();
            let size = (len as usize).min(size_of::<sockaddr_storage>());
            ptr::copy_nonoverlapping(sa.cast::<u8>(), ptr::from_mut(&mut raw).cast(), size);
            Some(SockAddr { address, text, raw, len })
        }
    }

    /// The address as nginx's functions take it, and its length.
    pub fn raw(&self) -> (sockaddr_storage, u32) {
        (self.raw, self.len)
    }

    /// Whether it is one of IPv6.
    pub fn is_ipv6(&self) -> bool {
        matches!(self.address, Address::Ip(addr) if addr.is_ipv6())
    }

    /// Whether it stands for every address of its family.
    pub fn is_wildcard(&self) -> bool {
        matches!(self.address, Address::Ip(addr) if addr.ip().is_unspecified())
    }

    /// Whether a socket on it takes what comes to `other` too.
    pub fn is_wildcard_of(&self, other: &SockAddr) -> bool {
        match (&self.address, &other.address) {
            (Address::Ip(own), Address::Ip(other)) => {
                own.ip().is_unspecified()
                    && own.port() == other.port()
                    && own.is_ipv4() == other.is_ipv4()
            }
            _ => false,
        }
    }
}

/// A socket's own or peer address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// An IP address and a port.
    Ip(SocketAddr),
    /// A path.
    Unix(Vec<u8>),
}

impl Address {
    /// The IP address; `None` for a unix socket. An IPv4 address mapped into IPv6 is an IPv4 one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Address::Ip(addr) => Some(addr.ip().to_canonical()),
            Address::Unix(_) => None,
        }
    }
}

/// The meaning of a `sockaddr` of `len` bytes; `None` for a family that is not listened on.
///
/// # Safety
///
/// `sa` points to `len` bytes.
pub unsafe fn address_of(sa: *const sockaddr, len: u32) -> Option<Address> {
    // SAFETY: zeroes are an address of no family.
    let mut raw: libc::sockaddr_storage = unsafe { mem::zeroed() };
    let len = (len as usize).min(size_of_val(&raw));
    // SAFETY: the caller's promise. The storage is large and aligned enough for every family.
    unsafe {
        ptr::copy_nonoverlapping(sa.cast::<u8>(), ptr::from_mut(&mut raw).cast(), len);
        let raw = ptr::from_ref(&raw);
        match i32::from((*raw).ss_family) {
            libc::AF_INET => {
                let sin = &*raw.cast::<libc::sockaddr_in>();
                let ip = sin.sin_addr.s_addr.to_ne_bytes().into();
                Some(Address::Ip(SocketAddrV4::new(ip, u16::from_be(sin.sin_port)).into()))
            }
            libc::AF_INET6 => {
                let sin = &*raw.cast::<libc::sockaddr_in6>();
                let ip = sin.sin6_addr.s6_addr.into();
                let port = u16::from_be(sin.sin6_port);
                Some(Address::Ip(SocketAddrV6::new(ip, port, 0, sin.sin6_scope_id).into()))
            }
            libc::AF_UNIX => {
                let path = (*raw.cast::<libc::sockaddr_un>()).sun_path;
                let path = path.iter().map(|byte| *byte as u8).take_while(|byte| *byte != 0);
                Some(Address::Unix(path.collect()))
            }
            _ => None,
        }
    }
}

/// The address that the client of `c` connected to.
///
/// # Safety
///
/// `c` is a live connection.
pub unsafe fn local_address(c: NonNull<ngx_connection_t>) -> Option<Address> {
    // SAFETY: the connection is live; nginx keeps the address in the connection's pool.
    unsafe {
        let c = c.as_ptr();
        if ngx_connection_local_sockaddr(c, ptr::null_mut(), 0) != NGX_OK as isize {
            return None;
        }
        address_of((*c).local_sockaddr, (*c).local_socklen)
    }
}

/// The address as the socket calls take it, and its length.
pub fn raw_address(address: &Address) -> io::Result<(libc::sockaddr_storage, u32)> {
    // SAFETY: zeroes are an address of no family.
    let mut storage: libc::sockaddr_storage = unsafe { mem::zeroed() };
    let raw = ptr::from_mut(&mut storage);
    // SAFETY: the storage is large and aligned enough for every family.
    let len = unsafe {
        match address {
            Address::Ip(SocketAddr::V4(addr)) => {
                let sin = &mut *raw.cast::<libc::sockaddr_in>();
                sin.sin_family = libc::AF_INET as _;
                sin.sin_port = addr.port().to_be();
                sin.sin_addr.s_addr = u32::from_ne_bytes(addr.ip().octets());
                size_of::<libc::sockaddr_in>()
            }
            Address::Ip(SocketAddr::V6(addr)) => {
                let sin6 = &mut *raw.cast::<libc::sockaddr_in6>();
                sin6.sin6_family = libc::AF_INET6 as _;
                sin6.sin6_port = addr.port().to_be();
                sin6.sin6_addr.s6_addr = addr.ip().octets();
                sin6.sin6_scope_id = addr.scope_id();
                size_of::<libc::sockaddr_in6>()
            }
            Address::Unix(path) => {
                let sun = &mut *raw.cast::<libc::sockaddr_un>();
                sun.sun_family = libc::AF_UNIX as _;
                // the last byte stays zero
                if path.is_empty() || path.len() >= sun.sun_path.len() {
                    return Err(io::ErrorKind::InvalidInput.into());
                }
                for (to, from) in sun.sun_path.iter_mut().zip(path) {
                    *to = *from as _;
                }
                size_of::<libc::sockaddr_un>()
            }
        }
    };
    Ok((storage, len as u32))
}

/// The address as nginx writes it.
pub fn text(address: &Address) -> Vec<u8> {
    match address {
        Address::Ip(addr) => addr.to_string().into_bytes(),
        Address::Unix(path) => [b"unix:", path.as_slice()].concat(),
    }
}
