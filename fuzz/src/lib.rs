//! What the fuzz targets share.

use libfuzzer_sys::arbitrary::{self, Arbitrary};

/// Where a byte stream is cut: the lengths of the first pieces, used in turn.
#[derive(Arbitrary, Debug)]
pub struct Cuts([u8; 4]);

impl Cuts {
    /// `bytes` in pieces; after each round of pieces as told, one is ten times as long, so that
    /// long inputs stay cheap.
    pub fn pieces<'a>(&self, mut bytes: &'a [u8]) -> Vec<&'a [u8]> {
        let mut pieces = Vec::new();
        let mut scale = 1;
        while !bytes.is_empty() {
            for cut in self.0 {
                let (piece, rest) = bytes.split_at(bytes.len().min(usize::from(cut) * scale));
                pieces.push(piece);
                bytes = rest;
            }
            scale *= 10;
            if self.0 == [0; 4] {
                pieces.push(std::mem::take(&mut bytes));
            }
        }
        pieces
    }
}
