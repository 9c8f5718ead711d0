//! What becomes of valid bytes.

use fastrand::Rng;

/// Values at which readers of lengths and numbers turn.
const EDGES: [u32; 12] =
    [0, 1, 2, 127, 128, 255, 0xffff, 0xff_fffe, 0xff_ffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];

/// Changes a few bytes; the longer they are, the fewer of them.
pub fn bytes(random: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..random.usize(1..4) {
        let at = random.usize(..=bytes.len());
        match random.u8(..8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.u8(..8),
            1 if at < bytes.len() => bytes[at] = random.u8(..),
            2 => bytes.truncate(at),
            3 => {
                let end = (at + random.usize(..9)).min(bytes.len());
                bytes.drain(at..end);
            }
            4 => {
                let new: Vec<u8> = (0..random.usize(1..9)).map(|_| random.u8(..)).collect();
                bytes.splice(at..at, new);
            }
            5 => {
                let end = (at + random.usize(..64)).min(bytes.len());
                let again = bytes[at..end].repeat(random.usize(1..4));
                bytes.splice(at..at, again);
            }
            _ => {
                let edge = random.choice(EDGES).unwrap_or(0).to_be_bytes();
                let from = random.usize(..4);
                for (byte, new) in bytes.iter_mut().skip(at).zip(&edge[from..]) {
                    *byte = *new;
                }
            }
        }
    }
}

/// Leaves out, repeats and exchanges steps of a session, and changes some of them.
pub fn steps(random: &mut Rng, steps: &mut Vec<Vec<u8>>) {
    for _ in 0..random.usize(..4) {
        if steps.is_empty() {
            return;
        }
        let (a, b) = (random.usize(..steps.len()), random.usize(..steps.len()));
        match random.u8(..6) {
            0 => {
                steps.remove(a);
            }
            1 => steps.swap(a, b),
            2 => {
                let step = steps[a].clone();
                for _ in 0..random.usize(1..40) {
                    steps.insert(b, step.clone());
                }
            }
            3 => steps.truncate(a),
            _ => bytes(random, &mut steps[a]),
        }
    }
}
