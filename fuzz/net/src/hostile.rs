//! A server that answers callbacks and pulls, and takes pushes, as nobody should.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use rtmp_protocol::amf0::Value;
use rtmp_protocol::{command, flv, message};

use crate::{mutate, rtmp};

/// As long as nginx waits for a callback here.
const LONG: u64 = 1500;

/// Starts it, and gives its port.
pub fn start(seed: u64) -> io::Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for (number, socket) in listener.incoming().flatten().enumerate() {
            let random = Rng::with_seed(seed ^ (number as u64) << 20);
            thread::spawn(move || serve(socket, random, port));
        }
    });
    Ok(port)
}

fn serve(socket: TcpStream, mut random: Rng, port: u16) {
    let _ = socket.set_read_timeout(Some(Duration::from_millis(LONG)));
    let _ = socket.set_write_timeout(Some(Duration::from_millis(LONG)));
    let mut first = [0; 1];
    // whatever breaks it off is fine
    let _ = match socket.peek(&mut first) {
        Ok(1) if first[0] == 3 => upstream(&socket, &mut random),
        Ok(1) => http(&socket, &mut random, port),
        _ => Ok(()),
    };
}

fn http(mut socket: &TcpStream, random: &mut Rng, port: u16) -> io::Result<()> {
    let mut request = Vec::new();
    let mut part = [0; 16384];
    loop {
        while !request.windows(4).any(|end| end == b"\r\n\r\n") {
            let n = socket.read(&mut part)?;
            if n == 0 || request.len() > 1 << 20 {
                return Ok(());
            }
            request.extend_from_slice(&part[..n]);
        }
        let pulls = request.starts_with(b"GET /x/");
        request.clear();
        let mut answer = if pulls { origin(random) } else { decision(random, port) };
        if random.u8(..8) == 0 {
            mutate::bytes(random, &mut answer);
        }
        if random.u8(..20) == 0 {
            thread::sleep(Duration::from_millis(random.u64(..LONG)));
        }
        socket.write_all(&answer)?;
        if pulls || random.u8(..6) == 0 {
            return Ok(());
        }
    }
}

/// What a callback is answered with.
fn decision(random: &mut Rng, port: u16) -> Vec<u8> {
    let head = |status: &str| format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n");
    let text = match random.u8(..16) {
        0..6 => format!("{}\r\n", head("200 OK")),
        6 => format!("{}\r\n", head("403 Forbidden")),
        7 => format!("{}\r\n", head("500 No")),
        8 | 9 => format!("{}Location: rtmp://127.0.0.1:{port}/x/y\r\n\r\n", head("302 Found")),
        10 => format!(
            "{}Location: http://127.0.0.1:{port}/x/y\r\nDomain: d\r\n\r\n",
            head("302 Found")
        ),
        11 => format!(
            "{}Location: rtmp://{}\r\n\r\n",
            head("302 Found"),
            "a".repeat(random.usize(..7000))
        ),
        12 => format!("HTTP/1.1 200 OK\r\n{}", "X: y\r\n".repeat(random.usize(..3000))),
        13 => {
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n".to_owned()
        }
        14 => "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\nx".to_owned(),
        _ => "HTTP/1.1 100 Continue\r\n\r\n".repeat(random.usize(1..50)),
    };
    text.into_bytes()
}

/// What a pull by HTTP-FLV is answered with.
fn origin(random: &mut Rng) -> Vec<u8> {
    let mut body = flv::header(true, true).to_vec();
    for i in 0..random.u32(..60) {
        let payload = rtmp::frame(i % 10 == 0, random.usize(..2000));
        flv::encode(message::VIDEO, i * 40, &payload, |bytes| body.extend_from_slice(bytes));
    }
    if random.bool() {
        mutate::bytes(random, &mut body);
    }
    let head = match random.u8(..5) {
        0 => "HTTP/1.1 302 Found\r\nLocation: /x/again\r\nContent-Length: 0\r\n\r\n",
        1 => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        _ => "HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\n\r\n",
    };
    [head.as_bytes(), &body].concat()
}

/// An RTMP server that says all it has to say at once, whatever it is asked.
fn upstream(mut socket: &TcpStream, random: &mut Rng) -> io::Result<()> {
    let mut hello = vec![0; 1537];
    socket.read_exact(&mut hello)?;
    let mut steps = vec![[&[3][..], &[0; 1536], &hello[1..]].concat()];
    let answer = |values: &[Value], stream_id| rtmp::command(values, stream_id);
    let status = |code: &str| answer(&command::on_status("status", code, ""), 1);
    steps.push(answer(&command::result(1.0, Value::Null), 0));
    for transaction in 2..6 {
        steps.push(answer(&command::result(f64::from(transaction), 1.0.into()), 0));
    }
    let code = random.choice([
        "NetStream.Play.Start",
        "NetStream.Publish.Start",
        "NetStream.Play.StreamNotFound",
        "NetStream.Publish.BadName",
    ]);
    steps.push(status(code.unwrap_or_default()));
    for i in 0..random.u32(..60) {
        let payload = rtmp::frame(i % 10 == 0, random.usize(..2000));
        steps.push(rtmp::media(message::VIDEO, i * 40, &payload, 1));
    }
    if random.u8(..3) != 0 {
        mutate::steps(random, &mut steps);
    }
    for step in steps {
        socket.write_all(&step)?;
    }
    // what is pushed is read for a while, or not
    let mut part = [0; 65536];
    for _ in 0..random.usize(..50) {
        if socket.read(&mut part)? == 0 {
            break;
        }
    }
    Ok(())
}
