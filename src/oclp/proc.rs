//! `oclp_proc`: a worker has started.

use std::future::pending;
use std::rc::Rc;

use super::client;
use super::request::about_worker;
use crate::conf::oclp::Callback;
use crate::conf::MainConf;
use crate::nginx::clock;
use crate::nginx::event::Event;
use crate::nginx::log;
use crate::nginx::process;
use crate::nginx::task::{self, Signal};

/// The delay after the first request without an answer, doubled after each further one, and the
/// longest delay; in milliseconds.
const FIRST_DELAY: u64 = 250;
const LAST_DELAY: u64 = 30_000;

/// Tells of the start of this worker until the server has answered: one that knows of no start
/// would keep what the worker's predecessor has told it.
pub fn start(conf: &Rc<MainConf>) {
    if let Some(callback) = &conf.oclp_proc {
        task::spawn(tell(callback.clone(), conf.clone())).detach();
    }
}

async fn tell(callback: Rc<Callback>, conf: Rc<MainConf>) {
    let worker = process::worker();
    let target = about_worker(&callback, worker);
    let mut delay = FIRST_DELAY;
    while !clock::exiting() {
        let answer = client::get(&callback, &conf.resolver, &target, pending()).await;
        let what = format!("oclp_proc of worker {worker}, server: {}", callback.url.authority);
        match answer {
            Ok(answer) => {
                log::notice!(log::cycle(), "rtmp: {what}: {}", answer.status.as_u16());
                return;
            }
            Err(error) => {
                log::error!(log::cycle(), "rtmp: {what}: {error}");
            }
        }
        pause(delay).await;
        delay = (delay * 2).min(LAST_DELAY);
    }
}

/// Waits, without holding up a worker that is told to leave.
async fn pause(ms: u64) {
    let over = Signal::new();
    let timer = Event::cancelable({
        let over = over.clone();
        move || over.set()
    });
    timer.set_timer(ms);
    over.wait().await;
}
