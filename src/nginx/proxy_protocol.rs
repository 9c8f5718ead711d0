//! The PROXY protocol header, by which a balancer tells the client's own address; read by nginx.

use std::net::IpAddr;

use nginx_sys::ngx_proxy_protocol_read;

use crate::nginx::connection::Connection;

/// The longest header of version 1 (PROXY protocol, section 2.1).
const MAX_V1: usize = 107;
/// What a header of version 2 starts with (section 2.2).
const SIGNATURE_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version, family and length.
const FIXED_V2: usize = 16;

/// Who a header says the client is.
pub struct Proxied {
    /// The address as text; empty if the balancer speaks for itself.
    pub addr: Vec<u8>,
    pub ip: Option<IpAddr>,
    pub port: u16,
}

/// How long the header at the start of `input` is: `None` as long as that can't be told.
fn len(input: &[u8]) -> Option<Result<usize, ()>> {
    if input.iter().zip(SIGNATURE_V2).all(|(byte, sign)| byte == sign) {
        let (hi, lo) = (*input.get(FIXED_V2 - 2)?, *input.get(FIXED_V2 - 1)?);
        let len = FIXED_V2 + usize::from(u16::from_be_bytes([hi, lo]));
        return (input.len() >= len).then_some(Ok(len));
    }
    let end = input.windows(2).take(MAX_V1).position(|pair| pair == b"\r\n");
    match end {
        Some(at) => Some(Ok(at + 2)),
        None if input.len() >= MAX_V1
            || !b"PROXY".iter().zip(input).all(|(sign, byte)| byte == sign) =>
        {
            Some(Err(()))
        }
        None => None,
    }
}

/// Takes the header off `input`. `Ok(None)` = more of it has to come first.
pub fn take(conn: &Connection, input: &mut &[u8]) -> Result<Option<Proxied>, ()> {
    let len = match len(input) {
        None => return Ok(None),
        Some(len) => len?,
    };
    let (header, rest) = input.split_at(len);
    let c = conn.as_ptr();
    // SAFETY: the connection is live; nginx only reads the header, and keeps what it says in the
    // connection's pool.
    let proxied = unsafe {
        let from = header.as_ptr().cast_mut();
        if ngx_proxy_protocol_read(c, from, from.add(len)).is_null() {
            return Err(());
        }
        match (*c).proxy_protocol.as_ref() {
            Some(proxy) => {
                let addr = proxy.src_addr.as_bytes().to_vec();
                let ip = std::str::from_utf8(&addr).ok().and_then(|text| text.parse().ok());
                Proxied { addr, ip, port: proxy.src_port }
            }
            None => Proxied { addr: Vec::new(), ip: None, port: 0 },
        }
    };
    *input = rest;
    Ok(Some(proxied))
}
