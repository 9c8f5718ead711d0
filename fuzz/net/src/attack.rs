//! Carries out a plan. Whatever nginx does to it is right, as long as it lives.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use openssl::ssl::{SslConnector, SslMethod, SslStream, SslVerifyMode};

use crate::inner;
use crate::node::Target;
use crate::plan::{End, Plan, To};

/// A write or a read takes no longer: nginx may have stopped reading.
const PATIENCE: Duration = Duration::from_millis(500);

pub fn carry_out(plan: &Plan, target: &Target) {
    let ports = &target.ports;
    let port = match plan.to {
        To::Rtmp => ports.rtmp,
        To::Proxied => ports.proxied,
        To::Http => ports.http,
        To::Http2 => ports.http2,
        To::Https | To::Raw => ports.https,
        To::Inner => return inner::attack(plan.talk, &plan.pieces, target),
    };
    let Ok(socket) = TcpStream::connect(("127.0.0.1", port)) else {
        // between two workers there may be nobody to take it
        return thread::sleep(Duration::from_millis(20));
    };
    let _ = socket.set_nodelay(true);
    // what is refused or broken off is no matter
    let _ = match plan.to {
        To::Https => tls(plan, socket),
        _ => tcp(plan, &socket),
    };
}

/// Sends the pieces as records, one each.
fn tls(plan: &Plan, socket: TcpStream) -> io::Result<()> {
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut connector = SslConnector::builder(SslMethod::tls_client())?;
    connector.set_verify(SslVerifyMode::NONE);
    if plan.http2 {
        connector.set_alpn_protos(b"\x02h2")?;
    }
    let connector = connector.build();
    let mut stream = connector.connect("localhost", socket).map_err(io::Error::other)?;
    for piece in &plan.pieces {
        stream.write_all(piece)?;
        if plan.pause > 0 {
            thread::sleep(Duration::from_millis(plan.pause));
        }
        if plan.reads {
            read_some(&mut stream, Duration::from_millis(1));
        }
    }
    let linger = Duration::from_millis(plan.linger.max(1));
    match plan.end {
        // without a word of TLS
        End::Close => (),
        End::Reset => reset(stream.get_ref()),
        End::HalfClose => {
            stream.shutdown().map_err(io::Error::other)?;
            read_some(&mut stream, linger);
        }
        End::Hang => thread::sleep(linger),
    }
    Ok(())
}

fn read_some(stream: &mut SslStream<TcpStream>, time: Duration) {
    let mut buffer = [0; 65536];
    if stream.get_ref().set_read_timeout(Some(time)).is_ok() {
        for _ in 0..64 {
            match stream.read(&mut buffer) {
                Ok(1..) => (),
                _ => break,
            }
        }
    }
}

fn tcp(plan: &Plan, mut socket: &TcpStream) -> io::Result<()> {
    socket.set_write_timeout(Some(PATIENCE))?;
    for piece in &plan.pieces {
        socket.write_all(piece)?;
        if plan.pause > 0 {
            thread::sleep(Duration::from_millis(plan.pause));
        }
        if plan.reads {
            drain(socket, Duration::from_millis(1))?;
        }
    }
    let linger = Duration::from_millis(plan.linger.max(1));
    match plan.end {
        End::Close => (),
        End::Reset => reset(socket),
        End::HalfClose => {
            socket.shutdown(Shutdown::Write)?;
            drain(socket, linger)?;
        }
        End::Hang => thread::sleep(linger),
    }
    Ok(())
}

/// Reads what comes within `time`.
fn drain(mut socket: &TcpStream, time: Duration) -> io::Result<()> {
    socket.set_read_timeout(Some(time))?;
    let mut buffer = [0; 65536];
    for _ in 0..64 {
        match socket.read(&mut buffer) {
            Ok(0) => break,
            Ok(_) => (),
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                break
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Lets the close be a reset.
fn reset(socket: &TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    // SAFETY: the option's value is as long as it is said to be.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of_val(&linger) as libc::socklen_t,
        );
    }
}
