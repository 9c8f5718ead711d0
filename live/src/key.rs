//! What names a stream.

use std::fmt;
use std::rc::Rc;

/// What names a stream: server, application, name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub server: Rc<str>,
    pub app: Rc<[u8]>,
    pub name: Rc<[u8]>,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (app, name) = (String::from_utf8_lossy(&self.app), String::from_utf8_lossy(&self.name));
        write!(f, "{app}/{name}")
    }
}
