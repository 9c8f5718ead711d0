//! The pulls of a worker: what is played here and not published here is published by us, from another
//! server.
//!
//! The players of a stream share its pull: it starts when there is one of them and no source, and
//! ends when the last has left, or when a client publishes the stream here. [`super::players`] chooses
//! in whose name it asks.

use std::cell::RefCell;
use std::rc::Rc;

use live::{Change, Stream};

use super::audience::{self, Audience};
use super::feed::PRIORITY;
use super::lingering;
use super::pull::start_if_needed;
use super::seat::Seat;
use super::standing::{static_name, static_request};
use crate::conf;
use crate::directory::{self, Interest};
use crate::nginx::process;
use crate::registry;
use crate::stream_request::StreamRequest;

pub use super::audience::end_players;
pub use super::pull::possible;

thread_local! {
    /// The seats held for good by `pull … static`.
    static STATIC: RefCell<Vec<(Seat, Rc<Interest>)>> = const { RefCell::new(Vec::new()) };
}

/// A worker starts.
pub fn init() {
    registry::observe(changed);
    // one worker pulls for all
    if process::worker() > 0 {
        return;
    }
    let Some(main) = conf::main_conf() else { return };
    for server in &main.servers {
        for app in server.applications() {
            if let Some(request) = static_name(app).map(|name| static_request(server, app, name)) {
                keep_static(&Rc::new(request));
            }
        }
    }
}

/// A worker ends: so do the static pulls, while what they hold of nginx is still there.
pub fn exit() {
    drop(STATIC.take());
    lingering::exit();
}

/// Takes a place that is never left, for a line `pull … static`.
fn keep_static(request: &Rc<StreamRequest>) {
    // workers of the generation before may still pull it
    let interest = directory::interest(&request.key);
    let seat = Seat::kept(&Audience::of(&request.stream()));
    STATIC.with_borrow_mut(|seats| seats.push((seat, interest)));
}

/// A player was let in.
pub fn join(request: &Rc<StreamRequest>, stream: &Rc<Stream>) -> Seat {
    Seat::take(&Audience::of(stream), request)
}

/// A source in another worker came or went. If that worker pulled the stream for all, this one may have
/// to pull it now. If it has a publisher, the players take the stream from there, and a pull without
/// players ends.
pub fn resume(stream: &Rc<Stream>) {
    let Some(audience) = audience::find(stream.key()) else { return };
    let other = directory::source(stream.key());
    if audience.is_empty() && other.is_some_and(|other| other.priority > PRIORITY) {
        audience.end_pull();
    } else {
        start_if_needed(&audience);
    }
}

/// Follows a stream's sources.
fn changed(stream: &Rc<Stream>, change: Change) {
    let Some(audience) = audience::find(stream.key()) else { return };
    match change {
        // it wins, and the players are with it already
        Change::Published { own: true } => audience.end_pull(),
        // another worker was faster
        Change::Published { own: false } if !audience.is_feeding() => audience.end_pull(),
        Change::Unpublished => {
            // what was decided for the source before says nothing of the next
            audience.players.reopen();
            start_if_needed(&audience);
        }
        Change::Audience { some } => lingering::note_players(&audience, some),
        _ => (),
    }
}
