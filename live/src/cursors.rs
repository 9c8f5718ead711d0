//! The subscribers of a stream, each at a number of its own.

use crate::cursor::Cursor;
use crate::members::Members;

/// The cursors of a stream. One that has left makes room for the next one.
#[derive(Default)]
pub(crate) struct Cursors {
    slots: Vec<Option<Cursor>>,
    free: Vec<u32>,
    generation: u32,
    /// How many of them are players.
    players: usize,
}

/// The slot of a cursor, which is a part of its id.
fn slot_of(id: u64) -> usize {
    id as u32 as usize
}

impl Cursors {
    /// Takes in the cursor that `make` makes of its id, and gives that.
    pub(crate) fn insert(&mut self, make: impl FnOnce(u64) -> Cursor) -> u64 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as u32
        });
        self.generation = self.generation.wrapping_add(1);
        let id = u64::from(self.generation) << 32 | u64::from(slot);
        let cursor = make(id);
        self.players += usize::from(cursor.player);
        if let Some(entry) = self.slots.get_mut(slot as usize) {
            *entry = Some(cursor);
        }
        id
    }

    /// Takes the cursor of this id out. It is not a member any more.
    pub(crate) fn remove(&mut self, id: u64) -> Option<Cursor> {
        let entry = self.slots.get_mut(slot_of(id))?;
        let cursor = entry.take_if(|cursor| cursor.id == id)?;
        self.free.push(id as u32);
        self.players -= usize::from(cursor.player);
        Some(cursor)
    }

    /// The cursor of this id.
    pub(crate) fn get(&self, id: u64) -> Option<&Cursor> {
        self.slots.get(slot_of(id))?.as_ref().filter(|cursor| cursor.id == id)
    }

    /// The cursor of this id, to be changed. Of a member, the position is not known here.
    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut Cursor> {
        self.slots.get_mut(slot_of(id))?.as_mut().filter(|cursor| cursor.id == id)
    }

    /// The same; one of `members` leaves them, so that its position is known.
    pub(crate) fn take_back(&mut self, id: u64, members: &mut Members) -> Option<&mut Cursor> {
        let moved = members.leave(self.get_mut(id)?);
        if let Some(moved) = moved {
            moved.tell(&mut self.slots);
        }
        self.get_mut(id)
    }

    /// All of them, each at its slot.
    pub(crate) fn slots(&mut self) -> &mut [Option<Cursor>] {
        &mut self.slots
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Cursor> {
        self.slots.iter().flatten()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// How many of them are players.
    pub(crate) fn players(&self) -> usize {
        self.players
    }
}
