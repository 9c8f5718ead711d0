//! Pulls between the workers of one machine.

use std::rc::Rc;

use rtmp_protocol::command::Command;

use crate::conf::{main_conf, ServerConf};

/// The member of connect that names the server block of a stream, as [`ServerConf::id`].
pub const SERVER: &str = "ngxRtmpServer";

/// The server that another worker means in its connect.
pub fn server(connect: &Command) -> Option<Rc<ServerConf>> {
    let id = connect.object.get(SERVER.as_bytes())?.as_str_bytes()?;
    main_conf()?.servers.iter().find(|server| server.id.as_bytes() == id).cloned()
}
