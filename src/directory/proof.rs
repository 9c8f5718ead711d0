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
    proof_of(&zone::secret()?, purpose, parts)
}

/// Whether `proof` is that of `parts`. It takes as long, right or wrong.
pub(super) fn holds(purpose: Purpose, parts: &[&[u8]], proof: &[u8]) -> bool {
    zone::secret().is_some_and(|secret| is_proof(&secret, purpose, parts, proof))
}

fn proof_of(secret: &[u8], purpose: Purpose, parts: &[&[u8]]) -> Option<[u8; SIZE]> {
    keyed(secret, purpose, parts)?.finalize().into_bytes().first_chunk().copied()
}

fn is_proof(secret: &[u8], purpose: Purpose, parts: &[&[u8]], proof: &[u8]) -> bool {
    let right = |mac: Hmac<Sha256>| proof.len() == SIZE && mac.verify_truncated_left(proof).is_ok();
    keyed(secret, purpose, parts).is_some_and(right)
}

fn keyed(secret: &[u8], purpose: Purpose, parts: &[&[u8]]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
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

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = &[7; 32];

    fn holds(purpose: Purpose, parts: &[&[u8]], proof: &[u8]) -> bool {
        is_proof(SECRET, purpose, parts, proof)
    }

    fn proof() -> [u8; SIZE] {
        proof_of(SECRET, Purpose::Pull, &[b"one", b"two"]).expect("a proof")
    }

    #[test]
    fn a_proof_holds_for_what_it_was_given() {
        assert!(holds(Purpose::Pull, &[b"one", b"two"], &proof()));
        assert!(!is_proof(&[8; 32], Purpose::Pull, &[b"one", b"two"], &proof()));
    }

    #[test]
    fn it_holds_for_nothing_else() {
        assert!(!holds(Purpose::Source, &[b"one", b"two"], &proof()));
        assert!(!holds(Purpose::Pull, &[b"one"], &proof()));
        // each part counts with its length
        assert!(!holds(Purpose::Pull, &[b"onet", b"wo"], &proof()));
        assert!(!holds(Purpose::Pull, &[b"two", b"one"], &proof()));
    }

    #[test]
    fn a_part_of_a_proof_is_none() {
        assert!(!holds(Purpose::Pull, &[b"one", b"two"], &proof()[..SIZE - 1]));
        assert!(!holds(Purpose::Pull, &[b"one", b"two"], b""));
        let mut wrong = proof();
        wrong[SIZE - 1] ^= 1;
        assert!(!holds(Purpose::Pull, &[b"one", b"two"], &wrong));
    }

    #[test]
    fn no_number_comes_twice() {
        assert_ne!(nonce(), nonce());
    }
}
