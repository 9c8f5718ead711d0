//! `oclp_meta`: a push that is asked about when a sequence header comes, and again when one changes.
//!
//! One task a line asks, for one header after the other. The relay goes on meanwhile, and moves only
//! if the answer names another target.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::attempt::Relay;
use super::decision::{Candidate, Decision, Targets};
use super::keep_up::{keep_up, Lasting, Stop};
use super::push::Push;
use super::scheduled::Scheduled;
use super::target::Target;
use crate::nginx::log;
use crate::nginx::task::{self, Signal, Task};
use crate::stream_request::StreamRequest;

/// One line, from the first header on. Dropped, its relay ends.
pub struct Meta {
    headers: Rc<Headers>,
    _asking: Task,
}

/// Headers that came and are not asked about yet.
#[derive(Default)]
struct Headers {
    count: Cell<u64>,
    came: Signal,
}

impl Meta {
    pub fn new(push: Push, line: Scheduled) -> Self {
        let headers = Rc::<Headers>::default();
        let asking = task::spawn(ask(push, line, headers.clone()));
        Meta { headers, _asking: asking }
    }

    /// A sequence header came that is to be asked about.
    pub fn header_came(&self) {
        self.headers.count.set(self.headers.count.get() + 1);
        self.headers.came.set();
    }
}

impl Headers {
    async fn next(&self) {
        while self.count.get() == 0 {
            self.came.wait().await;
        }
        self.count.set(self.count.get() - 1);
    }
}

async fn ask(push: Push, mut line: Scheduled, headers: Rc<Headers>) {
    let push = Rc::new(push);
    let current = Rc::new(RefCell::new(None));
    let mut relay: Option<Task> = None;
    loop {
        headers.next().await;
        let Some(request) = push.client() else { return };
        let decision = line.next(&request).await;
        let running = relay.as_ref().is_some_and(|relay| !relay.is_finished());
        match decision {
            Decision::Try(candidates) if running && same(&candidates, &current.borrow()) => {
                candidates.into_iter().for_each(|candidate| candidate.lease.unused());
            }
            Decision::EndClients(why) => push.refuse_sources(why),
            // what runs goes on
            Decision::GiveUp => (),
            Decision::Failed(why) if running => {
                log::error!(log::cycle(), "rtmp: {}: {why}; it stays as it is", push.describe());
            }
            decision => {
                current.take();
                let targets = Decided {
                    first: Some(decision),
                    line: Scheduled(line.0.clone()),
                    current: current.clone(),
                };
                relay = Some(run(push.clone(), targets));
            }
        }
    }
}

/// Whether that is where the relay goes already.
fn same(candidates: &[Candidate], current: &Option<Target>) -> bool {
    match (candidates, current) {
        ([candidate], Some(current)) => candidate.target.leads_to(current),
        _ => false,
    }
}

fn run(push: Rc<Push>, mut targets: Decided) -> Task {
    task::spawn(async move {
        if let Stop::EndClients(why) = keep_up(&*push, &mut targets).await {
            push.refuse_sources(why);
        }
    })
}

/// What was decided for the first attempt, and the line for those after it.
struct Decided {
    first: Option<Decision>,
    line: Scheduled,
    current: Rc<RefCell<Option<Target>>>,
}

impl Targets for Decided {
    fn name(&self) -> String {
        self.line.name()
    }

    async fn next(&mut self, request: &Rc<StreamRequest>) -> Decision {
        let decision = match self.first.take() {
            Some(decision) => decision,
            None => self.line.next(request).await,
        };
        if let Decision::Try(candidates) = &decision {
            let target = candidates.first().map(|candidate| candidate.target.clone());
            self.current.replace(target);
        }
        decision
    }
}
