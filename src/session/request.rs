//! The stream that a client asks for.

use std::cell::OnceCell;
use std::rc::Rc;

use live::Key;

use super::state::{MessageStream, Session};
use crate::conf::Place;
use crate::registry;
use crate::stream_request::{join, StreamRequest, MAX_NAME};

impl Session {
    /// Takes note of the stream that the client asks for.
    pub(super) fn stream_request(
        &self,
        stream: &MessageStream,
        name: &[u8],
        args: Vec<u8>,
    ) -> Result<Rc<StreamRequest>, &'static str> {
        let client = self.client().ok_or("not connected")?;
        self.times.asked();
        let path = join(&client.app_name, name);
        let Some(Place { conf, app, name }) = client.server.split(&path) else {
            return Err("no such application");
        };
        if app.len() > MAX_NAME || name.len() > MAX_NAME {
            return Err("the name is too long");
        }
        stream.app.replace(Some(conf.clone()));
        let server = client.server.id.as_str().into();
        let key = Key { server, app: app.into(), name: name.into() };
        // the stream's own, which all of its players share
        let key = registry::find(&key).map_or(key, |stream| stream.key().clone());
        let stream_request = Rc::new(StreamRequest {
            server: client.server.clone(),
            app: conf,
            key,
            args: args.into(),
            caller: client.caller.clone(),
            reason: OnceCell::new(),
        });
        self.stream_request.replace(Some(stream_request.clone()));
        Ok(stream_request)
    }
}
