//! The pushes of a stream: what is published here is played by us, to other servers.
//!
//! The publishers of a stream share its pushes: a change of the source on air is not seen by the
//! other servers, and with the last publisher the pushes end.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use live::{Change, Key, Kind, Stream};

use super::clients::Clients;
use super::configured::Configured;
use super::decision::Targets;
use super::keep_up::{keep_up, Stop};
use super::meta::Meta;
use super::push::Push;
use super::scheduled::Scheduled;
use crate::nginx::task::{self, Task};
use crate::registry;
use crate::stream_request::StreamRequest;
use crate::weak_map::WeakMap;

thread_local! {
    static PUSHES: WeakMap<Key, Pushes> = WeakMap::default();
}

/// The pushes of one stream.
pub struct Pushes {
    stream: Rc<Stream>,
    publishers: Rc<Clients>,
    tasks: RefCell<Vec<Task>>,
    /// Those of the lines `oclp_meta`, since the first sequence header.
    metas: RefCell<Vec<Meta>>,
    /// A sequence header has begun them.
    met: Cell<bool>,
}

/// A publisher's share in the pushes of its stream; dropped, it has left.
pub struct PushShare {
    pushes: Rc<Pushes>,
    id: u64,
}

/// A worker starts.
pub fn init() {
    registry::observe(|stream, change| {
        if let Change::Header { kind, new: true } = change {
            if let Some(pushes) = find(stream.key()) {
                pushes.header_came(kind);
            }
        }
    });
}

/// A publisher was let in: the lines of its application begin, unless they run already.
pub fn start(request: &Rc<StreamRequest>, stream: &Rc<Stream>) -> Option<PushShare> {
    if let Some(pushes) = find(&request.key) {
        return Some(pushes.share(request));
    }
    let (lines, oclp) = (&request.app.relay.push, &request.app.oclp);
    if lines.is_empty() && oclp.push.is_empty() && oclp.meta.is_empty() {
        return None;
    }
    let pushes = Rc::new(Pushes {
        stream: stream.clone(),
        publishers: Rc::default(),
        tasks: RefCell::default(),
        metas: RefCell::default(),
        met: Cell::new(false),
    });
    PUSHES.with(|all| all.insert(request.key.clone(), &pushes));
    let share = pushes.share(request);
    let mut tasks = pushes.tasks.borrow_mut();
    for line in lines {
        tasks.push(pushes.run(Configured { line: line.clone(), pull: false }));
    }
    for callback in &oclp.push {
        tasks.push(pushes.run(Scheduled(callback.clone())));
    }
    drop(tasks);
    Some(share)
}

fn find(key: &Key) -> Option<Rc<Pushes>> {
    PUSHES.with(|all| all.find(key))
}

impl Pushes {
    fn share(self: &Rc<Self>, request: &Rc<StreamRequest>) -> PushShare {
        PushShare { pushes: self.clone(), id: self.publishers.enter(request) }
    }

    /// Has the lines `oclp_meta` ask that wait for a sequence header of this kind.
    fn header_came(&self, kind: Kind) {
        let Some(request) = self.publishers.first() else { return };
        let oclp = &request.app.oclp;
        // with oclp_push, oclp_meta is not used
        if !oclp.push.is_empty() || !oclp.meta_type.is(kind) {
            return;
        }
        if self.met.replace(true) && oclp.meta_once {
            return;
        }
        let mut metas = self.metas.borrow_mut();
        if metas.is_empty() {
            let lines = oclp.meta.iter().cloned().map(Scheduled);
            metas.extend(lines.map(|line| Meta::new(self.push(), line)));
        }
        metas.iter().for_each(Meta::header_came);
    }

    fn push(&self) -> Push {
        Push::new(&self.publishers, &self.stream)
    }

    /// Runs one push, to where `targets` says, as long as there is a publisher.
    fn run(&self, mut targets: impl Targets + 'static) -> Task {
        let push = self.push();
        task::spawn(async move {
            if let Stop::EndClients(why) = keep_up(&push, &mut targets).await {
                push.refuse_sources(why);
            }
        })
    }
}

impl Drop for Pushes {
    fn drop(&mut self) {
        PUSHES.with(|all| all.forget(self.stream.key()));
    }
}

impl Drop for PushShare {
    fn drop(&mut self) {
        self.pushes.publishers.leave(self.id);
    }
}
