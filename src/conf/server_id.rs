//! What a server is known by in shared memory, and how it stays known over a reload: as the one of the
//! running configuration with which it shares the most names and addresses.

use std::cmp::Reverse;
use std::collections::HashSet;

/// What a common name, an address that no other server has, and one that others have count.
const NAME: usize = 4;
const OWN_ADDRESS: usize = 3;
const ADDRESS: usize = 1;

/// A server as another configuration may know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// [`super::ServerConf::id`].
    pub id: String,
    /// The addresses it listens on.
    pub addresses: Vec<String>,
    /// Its names, as they are written.
    pub names: Vec<String>,
}

impl Known {
    /// How much a server has in common with one of those that run; `None` if they are not the same. A
    /// name says more than an address, and an address that only one of `running` has more than one
    /// that several share. The empty name is that of every server without names.
    fn likeness(&self, other: &Known, running: &[Known]) -> Option<usize> {
        let names = self.names.iter().filter(|name| other.names.contains(name)).count();
        let addresses = self.addresses.iter().filter(|address| other.addresses.contains(address));
        let weight = |address: &String| match running
            .iter()
            .filter(|known| known.addresses.contains(address))
            .count()
        {
            0 | 1 => OWN_ADDRESS,
            _ => ADDRESS,
        };
        let nameless = self.names.is_empty() && other.names.is_empty();
        let addresses: usize = addresses.map(weight).sum();
        let likeness = addresses + names * NAME + usize::from(nameless && addresses > 0) * NAME;
        (likeness > 0).then_some(likeness)
    }

    /// What the server is called where no other configuration knows it.
    fn own_id(&self) -> String {
        let listen = self.addresses.first().map(String::as_str).unwrap_or_default();
        match self.names.first() {
            Some(name) => format!("{listen} {name}"),
            None => listen.to_owned(),
        }
    }

    /// The server in messages.
    pub fn text(&self) -> String {
        match self.names.is_empty() {
            true => self.addresses.join(", "),
            false => format!("{} of {}", self.names.join(", "), self.addresses.join(", ")),
        }
    }
}

/// Gives each of `servers` its id, and gives those of `running` that none of them goes on with.
pub fn assign<'a>(servers: &mut [Known], running: &'a [Known]) -> Vec<&'a Known> {
    let mut pairs = Vec::new();
    for (n, server) in servers.iter().enumerate() {
        for (k, known) in running.iter().enumerate() {
            if let Some(likeness) = server.likeness(known, running) {
                pairs.push((Reverse(likeness), n, k));
            }
        }
    }
    // those that are most alike first, then in the order of the file
    pairs.sort_unstable();
    let (mut assigned, mut taken) = (HashSet::new(), HashSet::new());
    for (_, n, k) in pairs {
        if assigned.contains(&n) || taken.contains(&k) {
            continue;
        }
        if let (Some(server), Some(known)) = (servers.get_mut(n), running.get(k)) {
            server.id.clone_from(&known.id);
            assigned.insert(n);
            taken.insert(k);
        }
    }
    // an id that is in use is not given again while there may be streams of that server
    let mut ids: HashSet<String> = running.iter().map(|known| known.id.clone()).collect();
    for (n, server) in servers.iter_mut().enumerate() {
        if !assigned.contains(&n) {
            server.id = unique(server.own_id(), &mut ids);
        }
    }
    running.iter().enumerate().filter(|(k, _)| !taken.contains(k)).map(|(_, known)| known).collect()
}

/// Servers that share their first address and name are told apart by their order.
fn unique(id: String, ids: &mut HashSet<String>) -> String {
    let mut unique = id.clone();
    let mut n = 2;
    while !ids.insert(unique.clone()) {
        unique = format!("{id} #{n}");
        n += 1;
    }
    unique
}

/// The servers as bytes.
pub fn encode(servers: &[Known]) -> Vec<u8> {
    let mut out = Vec::new();
    for server in servers {
        put(&mut out, [&server.id]);
        put(&mut out, &server.addresses);
        put(&mut out, &server.names);
    }
    out
}

fn put<'a>(out: &mut Vec<u8>, texts: impl IntoIterator<Item = &'a String>) {
    let texts: Vec<_> = texts.into_iter().collect();
    out.extend_from_slice(&(texts.len() as u32).to_be_bytes());
    for text in texts {
        out.extend_from_slice(&(text.len() as u32).to_be_bytes());
        out.extend_from_slice(text.as_bytes());
    }
}

/// What [`encode`] wrote, up to what can't be read.
pub fn decode(mut bytes: &[u8]) -> Vec<Known> {
    let mut servers = Vec::new();
    while let Some(known) = decode_one(&mut bytes) {
        servers.push(known);
    }
    servers
}

fn decode_one(bytes: &mut &[u8]) -> Option<Known> {
    let id = texts(bytes)?.pop()?;
    Some(Known { id, addresses: texts(bytes)?, names: texts(bytes)? })
}

fn texts(bytes: &mut &[u8]) -> Option<Vec<String>> {
    let mut texts = Vec::new();
    for _ in 0..number(bytes)? {
        let len = number(bytes)? as usize;
        let (text, rest) = bytes.split_at_checked(len)?;
        *bytes = rest;
        texts.push(String::from_utf8_lossy(text).into_owned());
    }
    Some(texts)
}

fn number(bytes: &mut &[u8]) -> Option<u32> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    *bytes = rest;
    Some(u32::from_be_bytes(*number))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn known(id: &str, addresses: &[&str], names: &[&str]) -> Known {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        Known { id: id.into(), addresses: texts(addresses), names: texts(names) }
    }

    /// The ids that servers get, each given by its addresses and names.
    fn ids(servers: &[(&[&str], &[&str])], running: &[Known]) -> Vec<String> {
        let known = |(addresses, names): &(&[&str], &[&str])| known("", addresses, names);
        let mut servers: Vec<_> = servers.iter().map(known).collect();
        assign(&mut servers, running);
        servers.into_iter().map(|server| server.id).collect()
    }

    #[test]
    fn a_server_is_called_after_its_first_address_and_name() {
        assert_eq!(ids(&[(&["a:1", "a:2"], &["x", "y"]), (&["a:3"], &[])], &[]), ["a:1 x", "a:3"]);
    }

    #[test]
    fn servers_of_one_name_are_told_apart() {
        let same: (&[&str], &[&str]) = (&["a:1"], &["x"]);
        assert_eq!(ids(&[same, same, same], &[]), ["a:1 x", "a:1 x #2", "a:1 x #3"]);
    }

    #[test]
    fn a_server_keeps_its_id_with_its_name_though_it_moves() {
        let running = [known("one", &["a:1"], &["x"]), known("two", &["a:2"], &["y"])];
        assert_eq!(ids(&[(&["a:1"], &["y"]), (&["a:2"], &["x"])], &running), ["two", "one"]);
    }

    #[test]
    fn a_server_without_names_keeps_its_id_with_its_address() {
        let running = [known("one", &["a:1", "a:2"], &[])];
        assert_eq!(ids(&[(&["a:2", "a:3"], &[])], &running), ["one"]);
        assert_eq!(ids(&[(&["a:3"], &[])], &running), ["a:3"]);
    }

    #[test]
    fn the_id_of_a_server_that_is_gone_is_not_given_to_another() {
        let running = [known("a:1 x", &["a:9"], &["z"])];
        let mut servers = [known("", &["a:1"], &["x"])];
        let gone = assign(&mut servers, &running);
        assert_eq!(gone, [&running[0]]);
        assert_eq!(servers[0].id, "a:1 x #2");
        assert_eq!(gone[0].text(), "z of a:9");
    }

    fn servers() -> impl Strategy<Value = Vec<Known>> {
        let some = |of: &'static [&'static str]| {
            proptest::sample::subsequence(of, 0..=of.len())
                .prop_map(|texts| texts.into_iter().map(str::to_owned).collect::<Vec<_>>())
        };
        let one = (some(&["a:1", "a:2", "b:1", ""]), some(&["x", "y", "z", ""]));
        let one = one.prop_map(|(addresses, names)| Known { id: "".into(), addresses, names });
        proptest::collection::vec(one, 0..6)
    }

    proptest! {
        #[test]
        fn ids_are_unique(mut servers in servers()) {
            assign(&mut servers, &[]);
            let ids: HashSet<_> = servers.iter().map(|known| &known.id).collect();
            prop_assert_eq!(ids.len(), servers.len());
        }

        #[test]
        fn all_go_on_over_a_reload_that_changes_nothing(mut running in servers()) {
            running.retain(|known| !known.addresses.is_empty());
            assign(&mut running, &[]);
            let mut next = running.clone();
            prop_assert_eq!(assign(&mut next, &running).len(), 0);
            let ids = |all: Vec<Known>| all.into_iter().map(|known| known.id).collect::<HashSet<_>>();
            prop_assert_eq!(ids(next), ids(running));
        }

        #[test]
        fn what_is_written_is_read(mut servers in servers()) {
            assign(&mut servers, &[]);
            prop_assert_eq!(decode(&encode(&servers)), servers);
        }

        #[test]
        fn bytes_of_anybody_are_read_up_to_what_is_none(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            decode(&bytes);
        }
    }
}
