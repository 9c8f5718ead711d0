//! The stamp that every coded audio and video message carries, and the check made from it.
//!
//! A stamp sits where decoders skip it, so a stamped stream plays as before:
//!
//! - AVC: a SEI NAL unit of one "user data unregistered" message (H.264 D.1.7), put right before the first
//!   coded slice, so that a buffering period SEI keeps its place at the front.
//! - AAC: a byte aligned data_stream_element (ISO/IEC 14496-3, 4.4.2.7) before the raw data block.
//!
//! Every byte of it has its top bit set: numbers are written seven bits a byte. No three bytes can then look like a
//! start code, so the SEI needs no emulation prevention (H.264 7.4.1) and the stamp has one size.

use crate::flv;

/// How much of a message's start the players keep to find the stamp in. NAL units before the first slice
/// (AUD, buffering period, picture timing) take some 60 bytes.
pub const HEAD: usize = 192;

const MAGIC: [u8; 4] = [0xd2, 0xd4, 0xcd, 0xd0];
const STREAM: usize = 3;
const SEQUENCE: usize = 6;
const TIME: usize = 9;
const CRC: usize = 5;
pub const LEN: usize = MAGIC.len() + STREAM + SEQUENCE + TIME + CRC;
const CRC_AT: usize = LEN - CRC;

/// Streams are told apart by 21 bits.
pub const MAX_STREAM: u32 = (1 << (7 * STREAM)) - 1;

const UUID: [u8; 16] = *b"ngx-rtmp bench01";
const NAL_SEI: u8 = 6;
const SEI_USER_DATA_UNREGISTERED: u8 = 5;
const SEI_PAYLOAD: u8 = (UUID.len() + LEN) as u8;
/// Size of the SEI NAL unit: header, payload type, payload size, payload, stop bit.
const NAL_LEN: u32 = 3 + SEI_PAYLOAD as u32 + 1;
/// Where the stamp begins, counted from the NAL unit's length field.
const NAL_TO_STAMP: usize = 4 + 3 + UUID.len();

/// syntactic_element ID_DSE (100), instance tag 0000, data_byte_align_flag 1.
const DSE: u8 = 0b1000_0001;

/// What a message says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub stream: u32,
    /// Counts audio and video messages of one stream together, from 0.
    pub sequence: u64,
    /// CLOCK_MONOTONIC when it was handed to the socket, in ns.
    pub time: u64,
    /// CRC-32 of the message without these bytes: what follows them first, then what precedes them.
    pub crc: u32,
}

/// What it takes to fill the stamp of one message again and again.
#[derive(Clone, Debug)]
pub struct Stamper {
    /// The message up to the stamp.
    before: Vec<u8>,
    /// Length and CRC-32 of what follows the stamp.
    after_len: u64,
    after_crc: u32,
}

/// Puts room for a stamp into a coded message; `None` if it is of a form that cannot carry one.
pub fn embed(kind: u8, message: &[u8]) -> Option<(Vec<u8>, Stamper)> {
    let mut payload = Vec::with_capacity(message.len() + 64);
    let at = match kind {
        flv::AUDIO => {
            let (header, block) = message.split_at_checked(flv::AAC_HEADER)?;
            payload.extend_from_slice(header);
            payload.extend_from_slice(&[DSE, LEN as u8]);
            let at = payload.len();
            payload.resize(at + LEN, 0x80);
            payload.extend_from_slice(block);
            at
        }
        flv::VIDEO => {
            let (header, units) = message.split_at_checked(flv::AVC_HEADER)?;
            payload.extend_from_slice(header);
            let mut rest = units;
            loop {
                let (unit, after) = nal_unit(rest)?;
                match unit.first()? & 0x1f {
                    1..=5 => break,
                    // an encoder's note about itself: large, and of no use to a player
                    NAL_SEI if unit.get(1) == Some(&SEI_USER_DATA_UNREGISTERED) => {}
                    _ => payload.extend_from_slice(rest.get(..4 + unit.len())?),
                }
                rest = after;
            }
            payload.extend_from_slice(&NAL_LEN.to_be_bytes());
            payload.extend_from_slice(&[NAL_SEI, SEI_USER_DATA_UNREGISTERED, SEI_PAYLOAD]);
            payload.extend_from_slice(&UUID);
            let at = payload.len();
            payload.resize(at + LEN, 0x80);
            payload.push(0x80); // rbsp_stop_one_bit
            payload.extend_from_slice(rest);
            at
        }
        _ => return None,
    };
    if at + LEN > HEAD {
        return None;
    }
    let after = &payload[at + LEN..];
    let stamper = Stamper {
        before: payload[..at].to_vec(),
        after_len: after.len() as u64,
        after_crc: crc32fast::hash(after),
    };
    Some((payload, stamper))
}

impl Stamper {
    /// Where the stamp begins in the message.
    pub fn at(&self) -> usize {
        self.before.len()
    }

    /// The bytes to put there.
    pub fn stamp(&self, stream: u32, sequence: u64, time: u64) -> [u8; LEN] {
        let mut stamp = [0; LEN];
        let (magic, rest) = stamp.split_at_mut(MAGIC.len());
        magic.copy_from_slice(&MAGIC);
        let (field, rest) = rest.split_at_mut(STREAM);
        put(field, stream.into());
        let (field, rest) = rest.split_at_mut(SEQUENCE);
        put(field, sequence);
        put(&mut rest[..TIME], time);
        let mut crc = crc32fast::Hasher::new_with_initial_len(self.after_crc, self.after_len);
        crc.update(&self.before);
        crc.update(&stamp[..CRC_AT]);
        put(&mut stamp[CRC_AT..], crc.finalize().into());
        stamp
    }
}

/// Finds the stamp in the first bytes of a message.
pub fn find(kind: u8, head: &[u8]) -> Option<usize> {
    let at = match kind {
        flv::AUDIO => (head.get(flv::AAC_HEADER..)?.starts_with(&[DSE, LEN as u8]))
            .then_some(flv::AAC_HEADER + 2)?,
        flv::VIDEO => {
            let mut at = flv::AVC_HEADER;
            loop {
                let len = u32::from_be_bytes(head.get(at..at + 4)?.try_into().ok()?);
                let unit = head.get(at + 4..)?;
                let start = [NAL_SEI, SEI_USER_DATA_UNREGISTERED, SEI_PAYLOAD];
                if len == NAL_LEN && unit.starts_with(&start) && unit[3..].starts_with(&UUID) {
                    break at + NAL_TO_STAMP;
                }
                if matches!(unit.first()? & 0x1f, 1..=5) {
                    return None;
                }
                at = at.checked_add(4)?.checked_add(len as usize)?;
            }
        }
        _ => return None,
    };
    head.get(at..at + LEN)?.starts_with(&MAGIC).then_some(at)
}

/// Reads the stamp that `find` found; `None` if it cannot be one.
pub fn read(head: &[u8], at: usize) -> Option<Stamp> {
    let fields = head.get(at + MAGIC.len()..at + LEN)?;
    let (stream, rest) = fields.split_at(STREAM);
    let (sequence, rest) = rest.split_at(SEQUENCE);
    let (time, crc) = rest.split_at(TIME);
    Some(Stamp {
        stream: get(stream)?.try_into().ok()?,
        sequence: get(sequence)?,
        time: get(time)?,
        crc: get(crc)?.try_into().ok()?,
    })
}

/// CRC of a message whose bytes arrive piece by piece.
#[derive(Debug)]
pub struct Check {
    at: usize,
    crc: crc32fast::Hasher,
}

impl Check {
    /// Begins with the first `HEAD` bytes of a message (or all of a shorter one), in which the stamp is at `at`.
    pub fn new(head: &[u8], at: usize) -> Self {
        let mut crc = crc32fast::Hasher::new();
        crc.update(head.get(at + LEN..).unwrap_or_default());
        Self { at, crc }
    }

    /// Takes the bytes that follow.
    pub fn update(&mut self, bytes: &[u8]) {
        self.crc.update(bytes);
    }

    /// Ends with the same head as in `new`; the result is to equal the stamp's.
    pub fn finish(mut self, head: &[u8]) -> u32 {
        self.crc.update(head.get(..self.at + CRC_AT).unwrap_or_default());
        self.crc.finalize()
    }
}

/// Splits an AVCC byte string with 4-byte lengths after its first NAL unit.
fn nal_unit(units: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = units.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_be_bytes(*len) as usize)
}

fn put(field: &mut [u8], mut value: u64) {
    for byte in field.iter_mut().rev() {
        *byte = 0x80 | (value & 0x7f) as u8;
        value >>= 7;
    }
}

fn get(field: &[u8]) -> Option<u64> {
    field.iter().try_fold(0, |value, byte| {
        let digit = byte.checked_sub(0x80)?;
        Some(value << 7 | u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An access unit with AUD, buffering period SEI, x264's note and one slice.
    pub fn video(len: usize) -> Vec<u8> {
        let mut message = vec![0x17, 1, 0, 0, 0];
        let slice: Vec<u8> = [0x65].into_iter().chain((0..len).map(|i| i as u8)).collect();
        let note = [&[6, 5, 200][..], &[b'x'; 200], &[0x80]].concat();
        for unit in [&[9, 0xf0][..], &[6, 0, 1, 0x80, 0x80], &note, &slice] {
            message.extend((unit.len() as u32).to_be_bytes());
            message.extend(unit);
        }
        message
    }

    fn stamped(kind: u8, message: &[u8], stream: u32, sequence: u64, time: u64) -> Vec<u8> {
        let (mut payload, stamper) = embed(kind, message).unwrap();
        let stamp = stamper.stamp(stream, sequence, time);
        payload[stamper.at()..stamper.at() + LEN].copy_from_slice(&stamp);
        payload
    }

    fn check(kind: u8, payload: &[u8], piece: usize) -> (Stamp, u32) {
        let (head, tail) = payload.split_at(payload.len().min(HEAD));
        let at = find(kind, head).unwrap();
        let mut check = Check::new(head, at);
        tail.chunks(piece).for_each(|bytes| check.update(bytes));
        (read(head, at).unwrap(), check.finish(head))
    }

    #[test]
    fn fields_come_back() {
        for (stream, sequence, time) in
            [(0, 0, 0), (7, 1 << 40, u64::MAX >> 1), (MAX_STREAM, 1, 99)]
        {
            for (kind, message) in
                [(flv::VIDEO, video(3000)), (flv::AUDIO, [&[0xaf, 1][..], &[7; 300]].concat())]
            {
                let payload = stamped(kind, &message, stream, sequence, time);
                let (stamp, crc) = check(kind, &payload, 100);
                assert_eq!((stamp.stream, stamp.sequence, stamp.time), (stream, sequence, time));
                assert_eq!(stamp.crc, crc);
            }
        }
    }

    #[test]
    fn nal_units_keep_their_order_and_the_note_goes() {
        let payload = stamped(flv::VIDEO, &video(50), 1, 2, 3);
        let mut rest = &payload[flv::AVC_HEADER..];
        let mut kinds = Vec::new();
        while let Some((unit, after)) = nal_unit(rest) {
            kinds.push((unit[0] & 0x1f, unit.get(1).copied()));
            rest = after;
        }
        assert!(rest.is_empty());
        assert_eq!(kinds, [(9, Some(0xf0)), (6, Some(0)), (6, Some(5)), (5, Some(0))]);
    }

    #[test]
    fn a_stamp_needs_no_emulation_prevention() {
        for value in [0, 1, 127, 128, 0x00_00_01_00_00_02, u64::MAX >> 1] {
            let (_, stamper) = embed(flv::AUDIO, &[0xaf, 1, 0, 0]).unwrap();
            let stamp = stamper.stamp(value as u32, value, value);
            assert!(stamp.iter().all(|byte| byte & 0x80 != 0));
        }
        assert!(UUID.iter().all(|byte| *byte != 0));
    }

    #[test]
    fn any_flipped_bit_is_seen() {
        let payload = stamped(flv::VIDEO, &video(400), 3, 5, 9);
        for i in 0..payload.len() {
            let mut bad = payload.clone();
            bad[i] ^= 1 << (i % 8);
            let (head, tail) = bad.split_at(HEAD);
            let seen = match find(flv::VIDEO, head) {
                None => true,
                Some(at) => {
                    let mut check = Check::new(head, at);
                    check.update(tail);
                    let crc = check.finish(head);
                    read(head, at).is_none_or(|stamp| stamp.crc != crc)
                }
            };
            assert!(seen, "bit in byte {i}");
        }
    }

    #[test]
    fn what_cannot_carry_a_stamp_is_refused() {
        assert!(embed(flv::VIDEO, &[0x17, 1, 0, 0, 0]).is_none());
        assert!(embed(flv::VIDEO, &[0x17, 1, 0, 0, 0, 0, 0, 0, 9, 0x65]).is_none());
        assert!(embed(flv::AUDIO, &[0xaf]).is_none());
        assert!(find(flv::VIDEO, &[0x17, 1, 0, 0, 0, 255, 255, 255, 255, 9]).is_none());
        assert!(find(flv::AUDIO, &[0xaf, 1, 0x21]).is_none());
    }
}
