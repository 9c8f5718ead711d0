//! The `server` and `application` blocks, as sessions read them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Deref;
use std::rc::Rc;

use super::access::{self, AccessRule, Kind};
use super::limit::LimitConf;
use super::live::LiveConf;
use super::log::LogTarget;
use super::oclp::OclpConf;
use super::publish::PublishConf;
use super::relay::RelayConf;
use super::resolver::ResolverConf;
use super::session::SessionConf;

/// A `server` block. Its session settings are read as its own fields.
pub struct ServerConf {
    /// What names the server in shared memory, over reloads too: see [`server_id`](super::server_id).
    pub id: String,
    /// How its clients' connections are treated.
    pub session: SessionConf,
    applications: HashMap<Vec<u8>, Rc<AppConf>>,
    /// The most segments that an application's name has.
    depth: usize,
}

/// The application that serves every name that no other one has.
const ANY: &[u8] = b"*";

/// The path of a stream, taken apart.
pub struct Place<'a> {
    /// The block that serves it.
    pub conf: Rc<AppConf>,
    /// The application's name, which is not the block's if that is `*`.
    pub app: &'a [u8],
    /// May hold slashes; never empty.
    pub name: &'a [u8],
}

impl ServerConf {
    /// A server with these applications, by their names.
    pub fn new(
        id: String,
        session: SessionConf,
        applications: HashMap<Vec<u8>, Rc<AppConf>>,
    ) -> Self {
        let segments = |name: &Vec<u8>| name.split(|byte| *byte == b'/').count();
        let depth = applications.keys().map(segments).max().unwrap_or_default();
        ServerConf { id, session, applications, depth }
    }

    /// Splits the path of a stream, `app/name`: behind the longest application that it begins
    /// with, else, if there is an application `*`, behind its first segment. So a stream has one
    /// identity, however a client divides its path between application and name.
    pub fn split<'a>(&self, path: &'a [u8]) -> Option<Place<'a>> {
        let place = |conf: &Rc<AppConf>, at: usize| {
            let (app, name) = path.split_at_checked(at)?;
            let name = name.get(1..)?;
            // the default instance of an application, which some servers let clients name
            let name = name.strip_prefix(b"_definst_/").unwrap_or(name);
            (!name.is_empty()).then(|| Place { conf: conf.clone(), app, name })
        };
        let named = |at| place(self.applications.get(path.get(..at)?)?, at);
        let longest = self.ends(path).filter_map(named).last();
        longest.or_else(|| {
            let first = self.ends(path).next().filter(|first| *first > 0)?;
            place(self.applications.get(ANY)?, first)
        })
    }

    /// The application that a client comes to which connects to `path`, as far as that is known
    /// before it names a stream. `None`: no name would lead to one.
    pub fn entrance(&self, path: &[u8]) -> Option<Rc<AppConf>> {
        let named = |at| self.applications.get(path.get(..at)?);
        let longest = self.ends(path).chain([path.len()]).filter_map(named).last();
        let below = || {
            let is_below = |name: &[u8]| {
                name.strip_prefix(path)
                    .is_some_and(|rest| !path.is_empty() && rest.starts_with(b"/"))
            };
            let below = self.applications.iter().filter(|(name, _)| is_below(name));
            below.min_by_key(|(name, _)| *name).map(|(_, conf)| conf)
        };
        longest.or_else(|| self.applications.get(ANY)).or_else(below).cloned()
    }

    /// Where segments of `path` end at which an application's name may end.
    fn ends<'a>(&self, path: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        slashes.map(|(at, _)| at).take(self.depth)
    }

    /// All applications, in no order.
    pub fn applications(&self) -> impl Iterator<Item = &Rc<AppConf>> {
        self.applications.values()
    }
}

impl Deref for ServerConf {
    type Target = SessionConf;

    fn deref(&self) -> &SessionConf {
        &self.session
    }
}

/// An `application` block.
pub struct AppConf {
    /// As it is written; `*` serves every name that no other block has.
    pub name: Vec<u8>,
    /// [`ServerConf::id`] of its server.
    pub server_id: String,
    /// Streams and their players.
    pub live: LiveConf,
    /// Several publishers of one stream.
    pub publish: PublishConf,
    /// Who may publish and play: the first rule that matches decides, none allows.
    pub access: Vec<AccessRule>,
    /// Where relays may go that others have named: as `access`, for clients of both kinds.
    pub relay_networks: Vec<AccessRule>,
    /// How many clients are served, and how much each may ask for.
    pub limit: LimitConf,
    /// Where a line goes when a client's session ends.
    pub access_log: Vec<LogTarget>,
    /// Name servers.
    pub resolver: ResolverConf,
    /// Relays from and to other servers.
    pub relay: RelayConf,
    /// What an HTTP server is told and asked.
    pub oclp: OclpConf,
}

impl AppConf {
    /// Whether a client with the address `ip` may do what it asks for; `None` is a client of a
    /// unix socket.
    pub fn allowed(&self, kind: Kind, ip: Option<IpAddr>) -> bool {
        access::allowed(&self.access, kind, ip)
    }

    /// Whether a relay may go to `ip` if others than the configuration name it.
    pub fn may_relay_to(&self, ip: IpAddr) -> bool {
        access::may_relay_to(&self.relay_networks, ip)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::limit::LimitScope;
    use super::super::live::LiveScope;
    use super::super::oclp::OclpScope;
    use super::super::publish::PublishScope;
    use super::super::relay::RelayScope;
    use super::super::resolver::ResolverScope;
    use super::super::session::SessionScope;
    use super::*;

    fn app(name: &str) -> Rc<AppConf> {
        Rc::new(AppConf {
            name: name.into(),
            server_id: "id".into(),
            live: LiveScope::default().resolve(),
            publish: PublishScope::default().resolve(),
            access: Vec::new(),
            relay_networks: Vec::new(),
            limit: LimitScope::default().resolve(),
            access_log: Vec::new(),
            resolver: ResolverScope::default().resolve(),
            relay: RelayScope::default().resolve(),
            oclp: OclpScope::default().resolve(),
        })
    }

    fn server(names: &[&str]) -> ServerConf {
        let applications = names.iter().map(|name| (name.as_bytes().to_vec(), app(name)));
        let session = SessionScope::default().resolve();
        ServerConf::new("id".into(), session, applications.collect())
    }

    /// Block, application and name of a path, as text.
    fn split<'a>(server: &ServerConf, path: &'a str) -> Option<(String, &'a str, &'a str)> {
        let text = |bytes: &'a [u8]| std::str::from_utf8(bytes).unwrap();
        let place = server.split(path.as_bytes())?;
        let block = String::from_utf8(place.conf.name.clone()).unwrap();
        Some((block, text(place.app), text(place.name)))
    }

    fn entrance(server: &ServerConf, path: &str) -> Option<String> {
        server.entrance(path.as_bytes()).map(|app| String::from_utf8(app.name.clone()).unwrap())
    }

    #[test]
    fn the_longest_application_serves_a_path() {
        let server = server(&["live", "live/room", "live/room/x/y"]);
        let split = |path| split(&server, path).map(|(block, _, name)| (block, name));
        assert_eq!(split("live/a"), Some(("live".into(), "a")));
        assert_eq!(split("live/room/a"), Some(("live/room".into(), "a")));
        assert_eq!(split("live/room/x/a"), Some(("live/room".into(), "x/a")));
        assert_eq!(split("live/room/x/y/a/b"), Some(("live/room/x/y".into(), "a/b")));
        assert_eq!(split("live/rooms/a"), Some(("live".into(), "rooms/a")));
    }

    #[test]
    fn a_path_without_a_name_is_none() {
        let server = server(&["live", "*"]);
        for path in ["", "live", "live/", "/", "other", "other/", "/a", "live/_definst_/"] {
            assert_eq!(split(&server, path), None, "{path}");
        }
    }

    #[test]
    fn any_other_application_is_that_of_the_asterisk() {
        let server = server(&["live", "*"]);
        assert_eq!(split(&server, "vod/a/b"), Some(("*".into(), "vod", "a/b")));
        assert_eq!(split(&server, "live/a"), Some(("live".into(), "live", "a")));
    }

    #[test]
    fn the_default_instance_is_no_part_of_a_name() {
        let server = server(&["live", "*"]);
        assert_eq!(split(&server, "live/_definst_/a"), Some(("live".into(), "live", "a")));
        assert_eq!(split(&server, "vod/_definst_/a"), Some(("*".into(), "vod", "a")));
        assert_eq!(split(&server, "live/a/_definst_/b").unwrap().2, "a/_definst_/b");
    }

    #[test]
    fn a_client_enters_where_its_streams_may_lead() {
        let server = server(&["live", "live/room", "vod/b", "vod/a"]);
        assert_eq!(entrance(&server, "live"), Some("live".into()));
        assert_eq!(entrance(&server, "live/room"), Some("live/room".into()));
        assert_eq!(entrance(&server, "live/room/cam"), Some("live/room".into()));
        assert_eq!(entrance(&server, "vod"), Some("vod/a".into()));
        assert_eq!(entrance(&server, "vo"), None);
        assert_eq!(entrance(&server, ""), None);
    }

    proptest! {
        #[test]
        fn a_stream_is_the_same_however_its_path_is_divided(
            path in proptest::collection::vec(proptest::sample::select(vec!["live", "room", "a", ""]), 1..6)
        ) {
            let server = server(&["live", "live/room", "*"]);
            let path = path.join("/");
            if let Some(place) = server.split(path.as_bytes()) {
                prop_assert!(path.as_bytes().starts_with(place.app));
                prop_assert!(path.as_bytes().ends_with(place.name));
                prop_assert!(!place.name.is_empty());
                prop_assert!(server.entrance(place.app).is_some());
                let whole = [place.app, b"/", place.name].concat();
                let again = server.split(&whole).unwrap();
                prop_assert!(Rc::ptr_eq(&again.conf, &place.conf));
                prop_assert_eq!((again.app, again.name), (place.app, place.name));
            }
        }

        #[test]
        fn any_bytes_are_a_path(path in proptest::collection::vec(any::<u8>(), 0..40)) {
            let server = server(&["live", "live/room", "*"]);
            server.split(&path);
            server.entrance(&path);
        }
    }
}
