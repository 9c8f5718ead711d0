//! How workers prove to each other that they share the zone, without telling its secret.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::nginx::{random, zone};

/// Bytes of a proof, and of the number that it is given for.
pub(super) const SIZE: usize = 16;

/// What a proof is for: one kind is never taken for another.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    /// The name of a socket.
    Name,
    /// By the worker that has the source of a stream.
    Source,
    /// By the worker that pulls.
    Pull,
    /// Of a notification about a stream.
    Notification,
}

/// The proof over `parts`, each of which counts with its length; `None`
/// without a zone.
pub(super) fn of(purpose: Purpose, parts: &[&[u8]]) -> Option<[u8; SIZE]> {
    let mac = keyed(purpose, parts)?.finalize().into_bytes();
    mac.first_chunk().copied()
}

/// Whether `proof` is that of `parts`. It takes as long, right or wrong.
pub(super) fn holds(purpose: Purpose, parts: &[&[u8]], proof: &[u8]) -> bool {
    proof.len() == SIZE
        && keyed(purpose, parts).is_some_and(|mac| mac.verify_truncated_left(proof).is_ok())
}

fn keyed(purpose: Purpose, parts: &[&[u8]]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&zone::secret()?).ok()?;
    mac.update(&[purpose as u8]);
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    Some(mac)
}

/// A number that a proof is given for once.
pub(super) fn nonce() -> Option<[u8; SIZE]> {
    random::secret().ok()?.first_chunk().copied()
}
