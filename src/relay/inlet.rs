//! An established pull over RTMP: what an origin sends, on its way into a stream.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::rc::Rc;
use std::task::Poll;

use rtmp_protocol::chunk::Message;
use rtmp_protocol::message::{self, UserControl};

use super::failure::{Cause, Failure};
use super::feed::Feed;
use super::rtmp_client::{Reply, RtmpClient, Unsent};
use super::rtmp_status::{broken, command_of, is_media, refusal};
use crate::conf::Msec;
use crate::nginx::async_conn::{AsyncConn, Reader};
use crate::nginx::clock;
use crate::nginx::guard::guard;
use crate::nginx::share::READS_A_TURN;
use crate::nginx::task::{next_turn, patience, race, sleep, Signal};

/// When a play runs evenly: headers and what is cached come within a few round trips.
const SETTLE_MS: u64 = 1000;

/// Feeds what the server sends into a stream, until that ends.
pub async fn play(mut peer: RtmpClient, mut feed: Feed) -> Failure {
    let unsent = Rc::new(peer.unsent());
    let silence = silence(peer.ping, peer.ping_timeout, peer.heard.last.clone(), unsent.clone());
    match peer.handle_unread(&&*unsent, &mut feeding(&mut feed)) {
        Ok(None) => (),
        Ok(Some(failure)) | Err(failure) => return failure,
    }
    let settled = settled(peer.conn.clone());
    let inlet = Inlet::open(peer, feed, unsent);
    race(race(silence, settled), inlet.ended()).await
}

/// An established play. Messages are handled within the event that brings them: each stands for
/// all players behind it.
struct Inlet {
    source: RefCell<(RtmpClient, Feed)>,
    unsent: Rc<Unsent>,
    ended: RefCell<Option<Failure>>,
    /// It has ended, or goes on reading in the next turn of the loop.
    news: Signal,
}

impl Inlet {
    fn open(peer: RtmpClient, feed: Feed, unsent: Rc<Unsent>) -> Rc<Self> {
        let conn = peer.conn();
        let inlet = Rc::new(Inlet {
            source: RefCell::new((peer, feed)),
            unsent,
            ended: RefCell::default(),
            news: Signal::new(),
        });
        conn.set_reader(Rc::downgrade(&inlet));
        inlet.clone().readable();
        inlet
    }

    async fn ended(self: Rc<Self>) -> Failure {
        loop {
            self.news.wait().await;
            if let Some(failure) = self.ended.take() {
                return failure;
            }
            next_turn().await;
            self.clone().readable();
        }
    }

    /// Reads what there is, and gives why nothing more comes.
    fn read(&self) -> Result<(), Failure> {
        let (peer, feed) = &mut *self.source.borrow_mut();
        peer.share.renew();
        for _ in 0..READS_A_TURN {
            match peer.receive(AsyncConn::try_read, &&*self.unsent, &mut feeding(feed)) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(None)) => {
                    let conn = peer.conn.get_ref();
                    if !peer.backlog && !conn.is_ready() {
                        return conn.await_readable().map_err(broken);
                    }
                    if peer.share.is_used_up() {
                        break;
                    }
                }
                Poll::Ready(Ok(Some(failure)) | Err(failure)) => return Err(failure),
            }
        }
        self.news.set();
        Ok(())
    }
}

impl Reader for Inlet {
    fn readable(self: Rc<Self>) {
        if self.ended.borrow().is_some() {
            return;
        }
        let result = guard("a pull", || self.read());
        self.source.borrow().1.flush();
        let result = result.unwrap_or_else(|| Err(Cause::Internal.into()));
        if let Err(failure) = result {
            self.ended.replace(Some(failure));
            self.news.set();
        }
    }
}

/// Ends the quick acknowledgements of the opening, when what a server has kept for its players has
/// come: one under Nagle's algorithm waits for them between the pieces of that.
async fn settled(conn: Rc<AsyncConn>) -> Failure {
    sleep(SETTLE_MS).await;
    conn.get_ref().delay_acks();
    pending().await
}

/// Ends when a server that is silent for `ping` ms does not answer a ping within `limit` ms.
async fn silence(ping: Msec, limit: Msec, last: Rc<Cell<u64>>, unsent: Rc<Unsent>) -> Failure {
    if ping == 0 {
        return pending().await;
    }
    last.set(clock::now());
    loop {
        let silent = clock::now().saturating_sub(last.get());
        if silent < ping {
            sleep(ping - silent).await;
            continue;
        }
        let asked = clock::now();
        let mut out = Vec::new();
        message::user_control(&mut out, message::PING_REQUEST, asked as u32, None);
        (&*unsent).reply(&out);
        patience(limit).await;
        if last.get() < asked {
            return Cause::NoPong.into();
        }
    }
}

/// Takes what a server sends to a player, and gives why it ends.
fn feeding<'a>(
    feed: &'a mut Feed,
) -> impl FnMut(&Message<'_>) -> Result<Option<Failure>, Failure> + 'a {
    |message| {
        if is_media(message) {
            feed.message(message)?;
            return Ok(None);
        }
        ending(message)
    }
}

/// Whether the origin's publisher has left.
#[cold]
fn ending(message: &Message<'_>) -> Result<Option<Failure>, Failure> {
    let ended = || Ok(Some(Failure::gone(Cause::Unpublished)));
    if message.kind == message::USER_CONTROL {
        let control = UserControl::parse(message.payload);
        return match control.is_some_and(|control| control.event == message::STREAM_EOF) {
            true => ended(),
            false => Ok(None),
        };
    }
    let Some(command) = command_of(message) else { return Ok(None) };
    match command.status_code() {
        Some(b"NetStream.Play.UnpublishNotify" | b"NetStream.Play.Stop")
            if command.name == b"onStatus" =>
        {
            ended()
        }
        _ => refusal(message),
    }
}
