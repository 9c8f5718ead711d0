//! Futures on nginx's event loop. Dropping a [`Task`] cancels it and what it waits for.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::{poll_fn, Future};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

use async_task::Runnable;

use crate::nginx::clock;
use crate::nginx::event::Event;

/// A spawned future; dropped, it is cancelled.
pub type Task<T = ()> = async_task::Task<T>;

thread_local! {
    static QUEUE: RefCell<VecDeque<Runnable>> = const { RefCell::new(VecDeque::new()) };
    static TELLING: RefCell<HashMap<u64, Task>> = RefCell::default();
    static NEXT_ID: Cell<u64> = const { Cell::new(0) };
    static RUN: Event = Event::new(run_queued);
}

/// Starts `future` on the event loop. Its first step runs after the events of this loop turn,
/// never inside the caller, so the caller may hold borrows.
pub fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> Task<T> {
    let (runnable, task) = async_task::spawn_local(future, |runnable| {
        QUEUE.with_borrow_mut(|queue| queue.push_back(runnable));
        RUN.with(Event::post);
    });
    runnable.schedule();
    task
}

/// Has `future` tell somebody of an end, whoever asked for it. A worker that stops at once gives it
/// time.
pub fn tell(future: impl Future<Output = ()> + 'static) {
    let id = NEXT_ID.replace(NEXT_ID.get().wrapping_add(1));
    let told = Told(id);
    let task = spawn(async move {
        let _told = told;
        future.await;
    });
    TELLING.with_borrow_mut(|telling| telling.insert(id, task));
}

/// Whether somebody is still to be told.
pub fn telling() -> bool {
    TELLING.with_borrow(|telling| !telling.is_empty())
}

/// Dropped, it is done.
struct Told(u64);

impl Drop for Told {
    fn drop(&mut self) {
        let task = TELLING.with_borrow_mut(|telling| telling.remove(&self.0));
        drop(task);
    }
}

fn run_queued() {
    // those that are woken meanwhile are posted again, so one that wakes itself starves nobody
    let due = QUEUE.with_borrow_mut(std::mem::take);
    for runnable in due {
        crate::nginx::guard::guard("a task", || runnable.run());
    }
}

/// Has the loop turn once without waiting: the tasks that are spawned before its first turn would
/// else wait for whatever event comes first.
pub fn start() {
    thread_local! {
        static TURN: Event = Event::new(|| ());
    }
    TURN.with(Event::post_next);
}

/// Drops the tasks that are due, at the end of a worker: they would keep their connections open
/// until nginx has freed the memory of both.
pub fn exit() {
    drop(TELLING.take());
    // those that are woken by the end of others have ended when the queue is empty
    loop {
        let due = QUEUE.with_borrow_mut(std::mem::take);
        if due.is_empty() {
            return;
        }
        crate::nginx::guard::guard("the end of the tasks", || drop(due));
    }
}

/// Waits `ms` milliseconds.
pub async fn sleep(ms: u64) {
    let done = Signal::new();
    let timer = Event::new({
        let done = done.clone();
        move || done.set()
    });
    timer.set_timer(ms);
    done.wait().await;
}

/// Waits `ms` milliseconds for somebody else, and longer if the worker stood still when they were
/// over: what came meanwhile is looked at first.
pub async fn patience(ms: u64) {
    let mut until = clock::now().saturating_add(ms);
    sleep(ms).await;
    while clock::stood_still(until) {
        until = clock::now() + clock::GRACE_MS;
        sleep(clock::GRACE_MS).await;
    }
}

/// Waits for `future`, but no longer than `ms` milliseconds: `None` when the time is over first.
pub async fn timeout<T>(ms: u64, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut limit = pin!(patience(ms));
    poll_fn(|cx| {
        if let Poll::Ready(value) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(value));
        }
        limit.as_mut().poll(cx).map(|()| None)
    })
    .await
}

/// The parts of [`timeout_running`]: a worker that stands still takes one of them at most.
const PARTS: u64 = 8;

/// The same, in time that this worker runs: what it stood still, stopped or busy, is not taken for
/// the other side's delay, and what has come meanwhile is looked at.
pub async fn timeout_running<T>(ms: u64, future: impl Future<Output = T>) -> Option<T> {
    let patience = async {
        let part = ms / PARTS;
        for _ in 1..PARTS {
            sleep(part).await;
        }
        sleep(ms - part * (PARTS - 1)).await;
        // the events that were due with the last timer
        sleep(1).await;
        None
    };
    race(async { Some(future.await) }, patience).await
}

/// Waits for the one of two futures that is ready first, and drops the other.
pub async fn race<T>(a: impl Future<Output = T>, b: impl Future<Output = T>) -> T {
    let (mut a, mut b) = (pin!(a), pin!(b));
    poll_fn(|cx| match a.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(value),
        Poll::Pending => b.as_mut().poll(cx),
    })
    .await
}

/// Lets the loop look at new input before it goes on.
pub async fn next_turn() {
    let turned = Signal::new();
    let event = Event::new({
        let turned = turned.clone();
        move || turned.set()
    });
    event.post_next();
    turned.wait().await;
}

/// A flag that one task waits for and others raise.
#[derive(Clone, Default)]
pub struct Signal(Rc<SignalInner>);

#[derive(Default)]
struct SignalInner {
    set: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

impl Signal {
    /// A lowered flag.
    pub fn new() -> Self {
        Self::default()
    }

    /// Raises the flag and wakes the waiter.
    pub fn set(&self) {
        self.0.set.set(true);
        if let Some(waker) = self.0.waker.take() {
            waker.wake();
        }
    }

    /// Lowers the flag.
    pub fn clear(&self) {
        self.0.set.set(false);
    }

    /// Waits until the flag is raised, and lowers it.
    pub async fn wait(&self) {
        poll_fn(|cx| {
            if self.0.set.take() {
                return Poll::Ready(());
            }
            self.0.waker.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await
    }
}
