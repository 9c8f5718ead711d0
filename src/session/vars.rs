//! What variables tell of a session.

use std::borrow::Cow;

use super::state::{Client, Session};
use crate::nginx::clock;
use crate::variables::{self, Var, Vars};

impl Vars for Session {
    fn get(&self, var: &Var) -> Cow<'_, [u8]> {
        let lasted = || clock::now().saturating_sub(self.times.accepted());
        let local = || self.conn.local();
        let number = |n: u64| n.to_string().into_bytes();
        match var {
            Var::Command => self.command.get().as_bytes().into(),
            Var::BytesSent => number(self.conn.sent()).into(),
            Var::BytesReceived => number(self.control.get().bytes()).into(),
            Var::SessionTime => variables::seconds(lasted()).into_bytes().into(),
            Var::SessionReadableTime => variables::readable(lasted()).into_bytes().into(),
            Var::Connection => number(self.conn.number() as u64).into(),
            Var::FinalizeReason => self.reason.borrow().clone().into_bytes().into(),
            Var::RemoteAddr => self.peer.borrow().addr.to_vec().into(),
            Var::RemotePort => number(self.peer.borrow().port.into()).into(),
            Var::ServerAddr => {
                local().map(|at| at.ip().to_string().into_bytes()).unwrap_or_default().into()
            }
            Var::ServerPort => {
                local().map(|at| number(at.port().into())).unwrap_or_default().into()
            }
            _ => match (&*self.stream_request.borrow(), self.client()) {
                (Some(stream_request), _) => stream_request.get(var).into_owned().into(),
                (None, Some(client)) => client.get(var),
                (None, None) => Cow::default(),
            },
        }
    }
}

impl Vars for Client {
    fn get(&self, var: &Var) -> Cow<'_, [u8]> {
        match var {
            Var::App => (&*self.app_name).into(),
            _ => self.caller.get(var),
        }
    }
}
