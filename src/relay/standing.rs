//! What stands for a client in a pull that goes on without one: `pull … static`.

use std::cell::OnceCell;
use std::rc::Rc;

use live::Key;

use crate::conf::{self, AppConf, ServerConf};
use crate::stream_request::{Caller, StreamRequest};

/// The stream that a line `pull … static` of this application is for.
pub fn static_name(app: &AppConf) -> Option<&[u8]> {
    let line = app.relay.pull.as_ref().filter(|_| app.live.live && app.oclp.pull.is_none())?;
    line.keep.as_deref()
}

/// What a static pull asks and pushes in the name of, in whatever worker it runs; `None` if the
/// stream is none.
pub fn standing(key: &Key) -> Option<Rc<StreamRequest>> {
    let main = conf::main_conf()?;
    let server = main.servers.iter().find(|server| *server.id == *key.server)?;
    let app = server.applications().find(|app| *app.name == *key.app)?;
    let name = static_name(app).filter(|name| **name == *key.name)?;
    Some(Rc::new(static_request(server, app, name)))
}

/// The request of a static pull: no client, only the stream.
pub fn static_request(server: &Rc<ServerConf>, app: &Rc<AppConf>, name: &[u8]) -> StreamRequest {
    StreamRequest {
        server: server.clone(),
        app: app.clone(),
        key: Key {
            server: server.id.as_str().into(),
            app: app.name.as_slice().into(),
            name: name.into(),
        },
        args: Box::default(),
        caller: Rc::new(Caller { scheme: "rtmp", ..Caller::default() }),
        reason: OnceCell::new(),
    }
}
