//! Why a relay is not, or not any more.

use std::fmt;

/// Why an attempt failed, or an established relay broke.
#[derive(Debug)]
pub struct Failure {
    /// What the other server said of the stream, if it said it.
    pub refused: Option<Refused>,
    /// The stream is not there any more, though the server is.
    pub gone: bool,
    /// For the log.
    pub why: String,
}

/// What another server says of a stream that it does not serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// There is no such stream.
    NotFound,
    /// It is not for us.
    Forbidden,
    /// Nothing of use, once it had heard what we want.
    Unclear,
}

impl Failure {
    /// A failure of the way to the server, or of the server.
    pub fn new(why: impl Into<String>) -> Self {
        Failure { refused: None, gone: false, why: why.into() }
    }

    /// The server's answer was no.
    pub fn refused(refused: Refused, why: impl Into<String>) -> Self {
        Failure { refused: Some(refused), ..Failure::new(why) }
    }

    /// The stream has ended, as it should: the other server's publisher has left.
    pub fn unpublished() -> Self {
        Failure { gone: true, ..Failure::new("unpublished") }
    }

    /// The server had heard what we want when that happened: it may be because of it.
    pub fn when_asked(self) -> Self {
        Failure { refused: self.refused.or(Some(Refused::Unclear)), ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}
