//! Which worker holds which stream: what makes N workers, of all generations, one server.
//!
//! A worker notes in shared memory which streams it has a source of and whose clients it serves;
//! when a source comes or goes it tells the workers that are interested, by a datagram to each.

mod clients;
mod full;
mod inner_error;
mod inner_pull;
mod inner_source;
mod key;
pub mod master;
mod member;
mod notification;
mod proof;
mod socket;
mod socket_dir;
mod sources;
mod table;
mod workers;

use std::rc::Rc;

use live::{Change, Stream};

use crate::registry;
use inner_pull::UpToThis;
use notification::Notification;

pub use clients::{
    enter, enter_limited, enter_name, enter_of_address, telling, telling_alone, ClientHold,
    Counted, NameHold,
};
pub use inner_pull::exit;
pub use socket::{start, stop};
pub use sources::{
    claim_pull, end_players, interest, is_wanted_elsewhere, publish, publish_over, source,
    Interest, SourceHold,
};

/// What a publisher is told whose place another one has taken.
pub const REPLACED: &str = "another publisher has taken its place";
/// Takes part in what the streams of this worker and those of others need of each other.
///
/// `resume` is called when a source in another worker came or went: it may be up to this worker to pull
/// the stream. `end_players` is called with a reason when another worker was told that there is no such
/// stream.
pub fn watch(
    resume: impl Fn(&Rc<Stream>) + 'static,
    end_players: impl Fn(&Stream, &'static str) + 'static,
) {
    let resume: UpToThis = Rc::new(resume);
    inner_pull::init(resume.clone());
    registry::observe(|stream, change| match change {
        Change::Audience { some: true } | Change::Published { .. } | Change::Unpublished => {
            find_source(stream);
        }
        Change::Audience { some: false } => inner_pull::forsake(stream.key()),
        Change::Header { .. } | Change::Track | Change::Decided => (),
    });
    notification::observe(move |key, notification| {
        let Some(stream) = registry::find(key) else { return };
        match notification {
            Notification::Source => {
                if let Some(priority) = sources::replaced(key) {
                    stream.refuse_source(priority, REPLACED);
                }
                find_source(&stream);
                resume(&stream);
            }
            Notification::NotFound => {
                end_players(&stream, "there is no such stream, as another worker was told");
            }
        }
    });
}

/// Looks for the best source of a stream that has players here.
pub fn find_source(stream: &Rc<Stream>) {
    if stream.players() > 0 {
        inner_pull::look(stream);
    }
}
