//! The beginning of a session.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::{Rc, Weak};

use super::budget::Budget;
use super::end::EndOnPanic;
use super::input;
use super::state::{Peer, Reason, Session, Stage};
use super::times::Times;
use crate::conf::Listen;
use crate::nginx::clock;
use crate::nginx::connection::Connection;
use crate::nginx::event::{Event, Fired};
use crate::nginx::log;
use crate::nginx::share::Share;

/// Serves the client of a connection that was accepted for `listen`.
pub fn start(conn: Connection, listen: Rc<Listen>) {
    Session::start(conn, listen);
}

impl Session {
    fn start(conn: Connection, listen: Rc<Listen>) {
        let server = listen.default_server.clone();
        if server.tcp_nodelay {
            conn.set_nodelay();
        }
        conn.number_log();
        let proxied = listen.proxy_protocol;
        let peer = Peer { addr: conn.addr_text().into(), ip: conn.ip(), port: conn.port() };
        if proxied && !server.trusts(peer.ip) {
            log::error!(
                conn.log(),
                "rtmp: a PROXY protocol header is not taken from here, client: {}, server: {}",
                String::from_utf8_lossy(&peer.addr),
                listen.addr,
            );
            return;
        }
        let session = Session::new(conn, listen, peer);
        session.conn.set_handler(session.clone());
        session.arm_timer();
        // a client may say all it has to say before we look, and leave while that is decided about
        if let Err(error) = session.conn.await_readable() {
            return session.finalize(Reason::Io(error));
        }
        session.read();
    }

    fn new(conn: Connection, listen: Rc<Listen>, peer: Peer) -> Rc<Session> {
        let (server, proxied) = (listen.default_server.clone(), listen.proxy_protocol);
        Rc::new_cyclic(|this: &Weak<Session>| {
            let own = this.clone();
            let event = Event::told(move |fired| {
                let Some(session) = own.upgrade() else { return };
                let _end = EndOnPanic(&session);
                match fired {
                    Fired::Timer => session.tick(),
                    Fired::Posted => session.read(),
                }
            });
            Session {
                conn,
                this: this.clone(),
                listen,
                stage: RefCell::new(match proxied {
                    true => Stage::Proxy,
                    false => Stage::handshake(),
                }),
                peer: RefCell::new(peer),
                client: OnceCell::new(),
                streams: RefCell::default(),
                players: Cell::new(0),
                command: Cell::new("NONE"),
                reason: RefCell::default(),
                asked: RefCell::default(),
                stream_request: RefCell::default(),
                decision: RefCell::default(),
                ending: RefCell::default(),
                buffer: input::buffer(),
                unread: RefCell::default(),
                backlog: Cell::new(false),
                share: Share::default(),
                may_defer: Cell::new(false),
                polled: Cell::new(false),
                unsent: RefCell::default(),
                cut_short: Cell::new(None),
                resumed: Cell::new(false),
                ended: Cell::new(false),
                event,
                times: Times::new(clock::now()),
                budget: Budget::new(clock::now()),
                control: Cell::default(),
                server: RefCell::new(server),
            }
        })
    }
}
