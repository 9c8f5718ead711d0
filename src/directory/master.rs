//! What the master does for its workers: the zone, and a directory for their sockets. Both outlive
//! every configuration, and a new binary takes them over.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use shared_table::Class;

use super::place::{self, Place};
use crate::conf::finish::SERVERS;
use crate::conf::MainConf;
use crate::nginx::cycle::Cycle;
use crate::nginx::{log, process, zone};

/// Where the zone has the path of the directory.
const PLACE: &[u8] = b"place";

thread_local! {
    /// The directory of the configuration that is running, and that of the one being started.
    static CURRENT: RefCell<Option<Place>> = const { RefCell::new(None) };
    static NEXT: RefCell<Option<Place>> = const { RefCell::new(None) };
    /// Those of former configurations, whose workers may be there still.
    static FORMER: RefCell<Vec<Place>> = const { RefCell::new(Vec::new()) };
}

/// A configuration has been read: makes what its workers will share, or says why it can't be.
pub fn prepare(cycle: Cycle, main: &MainConf) -> Result<(), String> {
    let prefix = &main.auto_pull_port;
    let refused = |error: std::io::Error| {
        format!("no directory can be made for \"rtmp_auto_pull_port\" unix:{prefix}: {error}")
    };
    if process::is_testing() && main.auto_pull {
        return place::check(prefix).map_err(refused);
    }
    if !process::is_starting() {
        return Ok(());
    }
    zone::open(main.zone_size)
        .map_err(|error| format!("no memory can be shared for \"rtmp_zone\": {error}"))?;
    // of a configuration that was refused in the end
    if let Some(place) = NEXT.take() {
        place.remove_if_last();
    }
    if !main.auto_pull {
        return Ok(());
    }
    let owner = process::worker_user(cycle);
    let user = owner.map_or(process::user(), |(user, _)| user);
    let kept = CURRENT.with_borrow(|place| match place {
        Some(place) if place.is_of(prefix) && place.is_there() => Some(place.give_to(owner)),
        _ => None,
    });
    if let Some(kept) = kept {
        return kept.map_err(refused);
    }
    let next = match inherited(user).filter(|place| place.is_of(prefix)) {
        Some(place) => place,
        None => {
            place::remove_abandoned(prefix, &[process::user(), user]);
            Place::create(prefix, owner).map_err(refused)?
        }
    };
    NEXT.replace(Some(next));
    Ok(())
}

/// The directory that the binary before this one uses.
fn inherited(user: u32) -> Option<Place> {
    let path = zone::get(PLACE);
    Place::open(Path::new(OsStr::from_bytes(&path)), user).ok()
}

/// The configuration holds from now on.
pub fn commit(cycle: Cycle, main: &MainConf) {
    zone::commit(cycle, main.zone_size);
    let told = zone::update(SERVERS, |value| {
        value.clone_from(&main.known);
        ((), Class::Reserved)
    });
    if told.is_err() {
        log::warning!(
            log::cycle(),
            "rtmp: \"rtmp_zone\" is full: a reload that changes servers may hide streams"
        );
    }
    if let Some(next) = NEXT.take() {
        let path = next.path().to_owned().into_os_string().into_vec();
        let _ = zone::update(PLACE, |value| {
            *value = path;
            ((), Class::Reserved)
        });
        let former = CURRENT.replace(Some(next));
        FORMER.with_borrow_mut(|places| places.extend(former));
    }
    // their workers may have left
    FORMER.with_borrow_mut(|former| former.retain(|place| !place.remove_if_last()));
}

/// The directory of the running configuration.
pub(super) fn place() -> Option<PathBuf> {
    CURRENT.with_borrow(|place| place.as_ref().map(|place| place.path().to_owned()))
}

/// The master ends, after its workers. What those of another binary use stays.
pub fn end() {
    for place in FORMER.take().iter().chain(&CURRENT.take()) {
        place.remove_if_last();
    }
}
