//! The chunk reader and writer, against each other and against an independent chunker.

mod limits;
mod peer;
mod reader;
mod writer;

use rtmp_protocol::chunk::{ChunkError, ChunkReader, MAX_HEADER};

/// A message that outlives the reader's buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    pub csid: u32,
    pub timestamp: u32,
    pub kind: u8,
    pub stream_id: u32,
    pub payload: Vec<u8>,
}

/// Presents pieces as a session would: what a read leaves over stands in front of the next piece.
#[derive(Default)]
pub struct Feeder {
    leftover: Vec<u8>,
    pub messages: Vec<Owned>,
}

impl Feeder {
    pub fn feed(&mut self, reader: &mut ChunkReader, piece: &[u8]) -> Result<(), ChunkError> {
        self.leftover.extend_from_slice(piece);
        let mut input = &self.leftover[..];
        while let Some(message) = reader.read(&mut input)? {
            self.messages.push(Owned {
                csid: message.csid,
                timestamp: message.timestamp,
                kind: message.kind,
                stream_id: message.stream_id,
                payload: message.payload.to_vec(),
            });
        }
        assert!(input.len() < MAX_HEADER, "{} bytes left over", input.len());
        self.leftover = input.to_vec();
        Ok(())
    }
}

/// All messages in `bytes`, presented at once.
pub fn read_all(reader: &mut ChunkReader, bytes: &[u8]) -> Result<Vec<Owned>, ChunkError> {
    read_pieces(reader, [bytes])
}

/// All messages in these pieces.
pub fn read_pieces<'a>(
    reader: &mut ChunkReader,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<Owned>, ChunkError> {
    let mut feeder = Feeder::default();
    for piece in pieces {
        feeder.feed(reader, piece)?;
    }
    Ok(feeder.messages)
}

/// Cuts `bytes` at these positions, which may be in any order and too large.
pub fn cut<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.sort_unstable();
    let mut from = 0;
    let mut pieces = Vec::new();
    for to in cuts.into_iter().chain([bytes.len()]) {
        pieces.push(&bytes[from..to]);
        from = to;
    }
    pieces
}
