//! Carries out a plan. Whatever nginx does to it is right, as long as it lives.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::node::Ports;
use crate::plan::{End, Plan, To};

/// A write or a read takes no longer: nginx may have stopped reading.
const PATIENCE: Duration = Duration::from_millis(500);

pub fn carry_out(plan: &Plan, ports: &Ports, sockets: PathBuf) {
    let port = match plan.to {
        To::Rtmp => ports.rtmp,
        To::Proxied => ports.proxied,
        To::Http => ports.http,
        To::Http2 => ports.http2,
        To::Inner => return inner(plan, &sockets),
    };
    let Ok(socket) = TcpStream::connect(("127.0.0.1", port)) else {
        // between two workers there may be nobody to take it
        return thread::sleep(Duration::from_millis(20));
    };
    let _ = socket.set_nodelay(true);
    // what is refused or broken off is no matter
    let _ = tcp(plan, &socket);
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

/// To every socket that there is: to those of streams as a connection, to those of datagrams as one each.
fn inner(plan: &Plan, sockets: &Path) {
    for path in found(sockets) {
        if let Ok(mut socket) = UnixStream::connect(&path) {
            let _ = socket.set_write_timeout(Some(PATIENCE));
            let _ = socket.set_read_timeout(Some(Duration::from_millis(plan.linger.max(1))));
            for piece in &plan.pieces {
                let _ = socket.write_all(piece);
            }
            let _ = socket.read(&mut [0; 65536]);
        } else if let Ok(socket) = UnixDatagram::unbound() {
            let _ = socket.set_write_timeout(Some(PATIENCE));
            for piece in &plan.pieces {
                let _ = socket.send_to(piece, &path);
            }
        }
    }
}

/// Sockets below a directory, two levels deep.
fn found(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_socket() {
            all.push(entry.path());
        } else if kind.is_dir() {
            all.extend(found(&entry.path()));
        }
    }
    all
}
