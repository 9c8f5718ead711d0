//! One push: what is published here is played by us, to another server.

use std::future::pending;
use std::rc::{Rc, Weak};

use live::Stream;

use super::attempt::Relay;
use super::clients::Clients;
use super::failure::Failure;
use super::keep_up::Lasting;
use super::media_flow::MediaFlow;
use super::outlet::Outlet;
use super::rtmp_client::Role;
use super::rtmp_opening;
use super::target::Target;
use crate::conf::Msec;
use crate::stream_request::StreamRequest;

/// One push of a stream.
pub struct Push {
    publishers: Weak<Clients>,
    stream: Rc<Stream>,
}

impl Push {
    /// A push of `stream`, as long as one of `publishers` is there.
    pub fn new(publishers: &Rc<Clients>, stream: &Rc<Stream>) -> Self {
        Push { publishers: Rc::downgrade(publishers), stream: stream.clone() }
    }

    /// Ends the publishers.
    pub fn refuse_sources(&self, why: &'static str) {
        self.stream.refuse_sources(why);
    }
}

impl Lasting for Push {
    fn client(&self) -> Option<Rc<StreamRequest>> {
        self.publishers.upgrade()?.first()
    }

    fn delays(&self, request: &StreamRequest) -> (Msec, Msec) {
        let conf = &request.app.relay;
        (conf.failed_reconnect, conf.push_reconnect.unwrap_or(conf.relay_reconnect))
    }
}

impl Relay for Push {
    type Session = Outlet;

    fn describe(&self) -> String {
        format!("push of \"{}\" to", self.stream.key())
    }

    async fn open(&self, request: &Rc<StreamRequest>, target: &Target) -> Result<Outlet, Failure> {
        let peer = rtmp_opening::open(request, target, Role::Publish).await?;
        let peer = rtmp_opening::established(peer, |_| Ok(())).await?;
        Ok(Outlet::new(peer, &self.stream, request, target))
    }

    fn flow(&self, _session: &Outlet) -> Option<Rc<MediaFlow>> {
        None
    }

    async fn waited(&self, _limit: Msec, _spares: bool) {
        pending().await
    }

    async fn run(&self, session: Outlet) -> Failure {
        session.run().await
    }
}
