//! A stream's key as bytes, as it stands in the zone, in notifications and in inner pulls.

use live::Key;

/// Server, application and name, each after its length.
pub(super) fn encode(key: &Key) -> Vec<u8> {
    let mut out = Vec::new();
    for part in [key.server.as_bytes(), &key.app, &key.name] {
        out.extend_from_slice(&(part.len() as u32).to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

/// The key that `bytes` begin with.
pub(super) fn decode(mut bytes: &[u8]) -> Option<Key> {
    let mut part = || {
        let (len, rest) = bytes.split_first_chunk::<4>()?;
        let (part, rest) = rest.split_at_checked(u32::from_be_bytes(*len) as usize)?;
        bytes = rest;
        Some(part)
    };
    let (server, app, name) = (part()?, part()?, part()?);
    Some(Key {
        server: std::str::from_utf8(server).ok()?.into(),
        app: app.into(),
        name: name.into(),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(in crate::directory) fn key(server: &str, app: &[u8], name: &[u8]) -> Key {
        Key { server: server.into(), app: app.into(), name: name.into() }
    }

    proptest! {
        #[test]
        fn any_key_comes_back(
            server in ".{0,40}",
            app in prop::collection::vec(any::<u8>(), 0..40),
            name in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let key = key(&server, &app, &name);
            prop_assert_eq!(decode(&encode(&key)), Some(key));
        }

        #[test]
        fn no_two_keys_are_the_same_bytes(
            one in prop::collection::vec(any::<u8>(), 0..8),
            other in prop::collection::vec(any::<u8>(), 0..8),
        ) {
            let (a, b) = (key("s", &one, &other), key("s", &other, &one));
            prop_assert_eq!(encode(&a) == encode(&b), a == b);
        }

        #[test]
        fn bytes_of_another_worker_never_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let _ = decode(&bytes);
        }
    }

    #[test]
    fn a_part_that_is_cut_is_no_key() {
        let bytes = encode(&key("server", b"live", b"name"));
        for len in 0..bytes.len() {
            assert_eq!(decode(&bytes[..len]), None, "{len}");
        }
    }

    #[test]
    fn a_length_beyond_the_end_is_no_key() {
        assert_eq!(decode(&[0xff; 16]), None);
    }
}
