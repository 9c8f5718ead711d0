//! Lines on stderr about a run under way.

use crate::net::{self, SECOND};
use std::io::{stderr, IsTerminal, Write};

/// One line a second, which overwrites itself on a terminal.
#[derive(Debug)]
pub struct Progress {
    kind: Kind,
    stage: &'static str,
    begin: u64,
    next: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Off,
    Overwriting,
    Lines,
}

impl Progress {
    pub fn off() -> Self {
        Self { kind: Kind::Off, stage: "", begin: 0, next: u64::MAX }
    }

    /// On a terminal, or where it is asked for.
    pub fn new(asked: bool) -> Self {
        let kind = match (stderr().is_terminal(), asked) {
            (true, _) => Kind::Overwriting,
            (false, true) => Kind::Lines,
            (false, false) => return Self::off(),
        };
        let begin = net::now();
        Self { kind, stage: "", begin, next: begin + SECOND }
    }

    /// What the run does now.
    pub fn stage(&mut self, stage: &'static str) {
        self.stage = stage;
    }

    /// Once a second.
    pub fn is_due(&mut self) -> bool {
        let now = net::now();
        let due = now >= self.next;
        if due {
            self.next = now + SECOND;
        }
        due
    }

    pub fn print(&self, text: &str) {
        let seconds = (net::now() - self.begin) / SECOND;
        // a terminal that has gone away stops no measurement
        let _ = match self.kind {
            Kind::Off => Ok(()),
            Kind::Overwriting => write!(stderr(), "\r\x1b[K{seconds:>4} s {}{text}", self.stage),
            Kind::Lines => writeln!(stderr(), "{seconds:>4} s {}{text}", self.stage),
        };
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.kind == Kind::Overwriting {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}
