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
