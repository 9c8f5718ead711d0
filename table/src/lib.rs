//! A table of keys and values in memory that several processes share, whatever the address at which
//! each has mapped it.
//!
//! All of it is cells of 64 bytes, so nothing is ever too scattered to be used. A key takes one cell
//! for its place in the table, and its bytes and its value a chain of cells each, 60 bytes a cell.
//! Whoever changes the table holds a lock over it. Where that process dies with the lock held, every
//! chain is whole: a part is complete before one word links it in, and what was lost between two
//! words is found again by [`Table::sweep`].
//!
//! Some entries are [`Class::Reserved`]: they may fill the table, and the others together no more
//! than half of it.
#![forbid(unsafe_code)]
#![warn(unreachable_pub)]

use std::hash::Hasher;
use std::sync::atomic::{AtomicU32, Ordering};

use siphasher::sip::SipHasher24;

/// 32-bit words of a cell.
const WORDS: usize = 16;
/// Bytes of a key or a value in one cell; the rest of it is the link to the next.
const BYTES: usize = (WORDS - 1) * 4;
/// Cells beyond the limit, so that a list that gets shorter can always be written anew.
pub const SPARE: u32 = 256;

/// The unit of memory. All zeroes is a cell that was never used.
#[repr(C, align(64))]
#[derive(Debug, Default)]
pub struct Cell([AtomicU32; WORDS]);

/// What the table knows of itself. All zeroes is the empty table without room.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Root {
    /// The secret of the hash.
    key: [AtomicU32; 4],
    /// Cells that may be in use.
    limit: AtomicU32,
    /// Cells in use, and those of them that are in open entries.
    used: AtomicU32,
    open: AtomicU32,
    /// Cells from here on were never used; the first is none, as 0 is the end of a chain.
    fresh: AtomicU32,
    /// The first of those that were used and are free.
    free: AtomicU32,
}

/// What an entry may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// All that is left.
    Reserved,
    /// What is left of the half that is for all entries of this class.
    Open,
}

/// There is no room for the change, and it was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Bytes that an entry of this size takes.
pub fn cost(key: usize, value: usize) -> usize {
    (1 + cells_for(key) + cells_for(value)) as usize * size_of::<Cell>()
}

/// The table, with the lock over it held.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    root: &'a Root,
    slots: &'a [AtomicU32],
    cells: &'a [Cell],
}

// the words of an entry's first cell
const NEXT: usize = 0;
const HASH: usize = 1;
const KEY: usize = 3;
const VALUE: usize = 4;
const CLASS: usize = 5;

impl<'a> Table<'a> {
    /// A table over memory of zeroes, or over what was a table before.
    pub fn new(root: &'a Root, slots: &'a [AtomicU32], cells: &'a [Cell]) -> Self {
        Table { root, slots, cells }
    }

    /// Sets the secret of the hash, in a table that has nothing in it yet.
    pub fn set_key(&self, key: [u8; 16]) {
        for (word, bytes) in self.root.key.iter().zip(key.chunks_exact(4)) {
            word.store(little_endian(bytes), Ordering::Relaxed);
        }
    }

    /// Sets how many bytes may be in use. What is in use stays, if it is more.
    pub fn set_limit(&self, bytes: usize) {
        let cells = (bytes / size_of::<Cell>()).min(self.cells.len());
        set(&self.root.limit, cells as u32);
    }

    /// Bytes in use, and those of them that are in entries of [`Class::Open`].
    pub fn used(&self) -> (usize, usize) {
        let bytes = |cells: &AtomicU32| get(cells) as usize * size_of::<Cell>();
        (bytes(&self.root.used), bytes(&self.root.open))
    }

    /// The value of `key`; empty if it has none.
    pub fn get(&self, key: &[u8]) -> Vec<u8> {
        let entry = get(self.find(self.hash(key), key));
        self.value(entry)
    }

    /// Changes the value of `key` in one step: `f` makes it what it is to be, and says of what class
    /// the entry is. Empty is none.
    pub fn update<R>(
        &self,
        key: &[u8],
        f: impl FnOnce(&mut Vec<u8>) -> (R, Class),
    ) -> Result<R, Full> {
        let hash = self.hash(key);
        let link = self.find(hash, key);
        let before = self.value(get(link));
        let mut value = before.clone();
        let (result, class) = f(&mut value);
        self.write(link, hash, key, &before, &value, class)?;
        Ok(result)
    }

    /// Changes all values: a change for which there is no room is left out.
    pub fn update_all(&self, mut f: impl FnMut(&[u8], &mut Vec<u8>) -> Class) {
        for slot in self.slots {
            let mut link = slot;
            for _ in 0..self.cells.len() {
                let entry = get(link);
                let Some(cell) = self.cell(entry) else { break };
                let key = self.bytes(word(cell, KEY));
                let before = self.value(entry);
                let mut value = before.clone();
                let class = f(&key, &mut value);
                let hash = hash_of(cell);
                let _ = self.write(link, hash, &key, &before, &value, class);
                // a removed one has left its place to the next
                if get(link) == entry {
                    link = &cell.0[NEXT];
                }
            }
        }
    }

    /// Finds what was lost when a process died while it held the lock.
    pub fn sweep(&self) {
        let mut live = vec![false; self.cells.len()];
        let mut open = 0;
        for slot in self.slots {
            let mut entry = get(slot);
            while let Some(cell) = self.cell(entry) {
                if std::mem::replace(&mut live[entry as usize], true) {
                    break;
                }
                let mut cells = 1;
                for chain in [KEY, VALUE] {
                    let mut at = word(cell, chain);
                    while let Some(part) = self.cell(at) {
                        if std::mem::replace(&mut live[at as usize], true) {
                            break;
                        }
                        cells += 1;
                        at = word(part, NEXT);
                    }
                }
                if word(cell, CLASS) == 0 {
                    open += cells;
                }
                entry = word(cell, NEXT);
            }
        }
        let fresh = self.fresh();
        let (mut used, mut free) = (0, 0);
        for at in 1..fresh {
            match self.cell(at) {
                Some(_) if live[at as usize] => used += 1,
                Some(cell) => {
                    set(&cell.0[NEXT], free);
                    free = at;
                }
                None => (),
            }
        }
        set(&self.root.free, free);
        set(&self.root.used, used);
        set(&self.root.open, open);
    }

    fn write(
        &self,
        link: &AtomicU32,
        hash: u64,
        key: &[u8],
        before: &[u8],
        value: &[u8],
        class: Class,
    ) -> Result<(), Full> {
        let entry = get(link);
        let Some(cell) = self.cell(entry) else {
            return match value.is_empty() {
                true => Ok(()),
                false => self.insert(link, hash, key, value, class),
            };
        };
        let key_cells = cells_for(key.len());
        if value.is_empty() {
            self.count(entry_class(cell), 0, 1 + key_cells + cells_for(before.len()));
            set(link, word(cell, NEXT));
            self.release(word(cell, KEY));
            self.release(word(cell, VALUE));
            set(&cell.0[NEXT], 0);
            self.release(entry);
            return Ok(());
        }
        let (old, new) = (cells_for(before.len()), cells_for(value.len()));
        if before.len() != value.len() {
            self.check_room(class, old, new)?;
            let chain = self.chain(value)?;
            let replaced = word(cell, VALUE);
            set(&cell.0[VALUE], chain);
            self.release(replaced);
        } else if before != value {
            self.overwrite(word(cell, VALUE), value);
        }
        let whole = 1 + key_cells;
        self.count(entry_class(cell), 0, whole + old);
        self.count(class, whole + new, 0);
        set(&cell.0[CLASS], class_word(class));
        Ok(())
    }

    fn insert(
        &self,
        link: &AtomicU32,
        hash: u64,
        key: &[u8],
        value: &[u8],
        class: Class,
    ) -> Result<(), Full> {
        let cells = 1 + cells_for(key.len()) + cells_for(value.len());
        self.check_room(class, 0, cells)?;
        let entry = self.take()?;
        let Some(cell) = self.cell(entry) else { return Err(Full) };
        let key = self.chain(key).inspect_err(|_| self.release(entry))?;
        let value = self.chain(value).inspect_err(|_| {
            self.release(key);
            self.release(entry);
        })?;
        set(&cell.0[HASH], hash as u32);
        set(&cell.0[HASH + 1], (hash >> 32) as u32);
        set(&cell.0[KEY], key);
        set(&cell.0[VALUE], value);
        set(&cell.0[CLASS], class_word(class));
        set(&cell.0[NEXT], get(link));
        self.count(class, cells, 0);
        set(link, entry);
        Ok(())
    }

    /// Whether there is room for `new` cells in the place of `old`. What gets shorter always has.
    fn check_room(&self, class: Class, old: u32, new: u32) -> Result<(), Full> {
        let more = new.saturating_sub(old);
        let limit = get(&self.root.limit);
        let fits = get(&self.root.used).saturating_add(more) <= limit;
        let open = get(&self.root.open).saturating_add(more) <= limit / 2;
        match more == 0 || fits && (class == Class::Reserved || open) {
            true => Ok(()),
            false => Err(Full),
        }
    }

    fn count(&self, class: Class, more: u32, less: u32) {
        let change = |n: &AtomicU32| set(n, get(n).saturating_add(more).saturating_sub(less));
        change(&self.root.used);
        if class == Class::Open {
            change(&self.root.open);
        }
    }

    fn hash(&self, key: &[u8]) -> u64 {
        let [a, b, c, d] = &self.root.key;
        let half =
            |low: &AtomicU32, high: &AtomicU32| u64::from(get(low)) | u64::from(get(high)) << 32;
        let mut hasher = SipHasher24::new_with_keys(half(a, b), half(c, d));
        hasher.write(key);
        hasher.finish()
    }

    /// The link to the entry of `key`, or the null one where it would be.
    fn find(&self, hash: u64, key: &[u8]) -> &'a AtomicU32 {
        let mut link = &self.slots[(hash % self.slots.len() as u64) as usize];
        // no chain is longer than the table
        for _ in 0..self.cells.len() {
            let Some(cell) = self.cell(get(link)) else { break };
            if hash_of(cell) == hash && self.bytes(word(cell, KEY)) == key {
                break;
            }
            link = &cell.0[NEXT];
        }
        link
    }

    fn cell(&self, at: u32) -> Option<&'a Cell> {
        match at {
            0 => None,
            at => self.cells.get(at as usize),
        }
    }

    fn value(&self, entry: u32) -> Vec<u8> {
        self.cell(entry).map(|cell| self.bytes(word(cell, VALUE))).unwrap_or_default()
    }

    /// The bytes in a chain, which begins with their number.
    fn bytes(&self, chain: u32) -> Vec<u8> {
        let Some(first) = self.cell(chain) else { return Vec::new() };
        let len = (word(first, 1) as usize).min(self.cells.len() * BYTES);
        let mut words = Vec::with_capacity(len.div_ceil(4));
        let (mut at, mut skip) = (chain, 2);
        while let Some(cell) = self.cell(at).filter(|_| words.len() * 4 < len) {
            words.extend(cell.0.iter().skip(skip).map(get));
            (at, skip) = (word(cell, NEXT), 1);
        }
        let mut bytes: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
        bytes.truncate(len);
        bytes
    }

    /// A new chain of `bytes`.
    fn chain(&self, bytes: &[u8]) -> Result<u32, Full> {
        // built from its end, so that it is whole at any time
        let mut next = 0;
        for _ in 0..cells_for(bytes.len()) {
            let Ok(at) = self.take() else {
                self.release(next);
                return Err(Full);
            };
            if let Some(cell) = self.cell(at) {
                set(&cell.0[NEXT], next);
            }
            next = at;
        }
        if let Some(cell) = self.cell(next) {
            set(&cell.0[1], bytes.len() as u32);
        }
        self.overwrite(next, bytes);
        Ok(next)
    }

    /// Writes `bytes` over a chain of as many.
    fn overwrite(&self, chain: u32, bytes: &[u8]) {
        let mut words = bytes.chunks(4).map(little_endian);
        let (mut at, mut skip) = (chain, 2);
        while let Some(cell) = self.cell(at) {
            for to in cell.0.iter().skip(skip) {
                let Some(word) = words.next() else { return };
                set(to, word);
            }
            (at, skip) = (word(cell, NEXT), 1);
        }
    }

    fn fresh(&self) -> u32 {
        get(&self.root.fresh).max(1)
    }

    /// A cell that is not in use.
    fn take(&self) -> Result<u32, Full> {
        let free = get(&self.root.free);
        if let Some(cell) = self.cell(free) {
            set(&self.root.free, word(cell, NEXT));
            return Ok(free);
        }
        let fresh = self.fresh();
        self.cell(fresh).ok_or(Full)?;
        set(&self.root.fresh, fresh + 1);
        Ok(fresh)
    }

    /// Gives a chain of cells back.
    fn release(&self, chain: u32) {
        let mut at = chain;
        while let Some(cell) = self.cell(at) {
            let next = word(cell, NEXT);
            set(&cell.0[NEXT], get(&self.root.free));
            set(&self.root.free, at);
            at = next;
        }
    }
}

/// Cells of a chain of `len` bytes; the first one holds their number, too.
fn cells_for(len: usize) -> u32 {
    (len + 4).div_ceil(BYTES) as u32
}

fn little_endian(bytes: &[u8]) -> u32 {
    let mut word = [0; 4];
    for (to, from) in word.iter_mut().zip(bytes) {
        *to = *from;
    }
    u32::from_le_bytes(word)
}

fn hash_of(cell: &Cell) -> u64 {
    u64::from(word(cell, HASH)) | u64::from(word(cell, HASH + 1)) << 32
}

fn class_word(class: Class) -> u32 {
    match class {
        Class::Open => 0,
        Class::Reserved => 1,
    }
}

fn entry_class(cell: &Cell) -> Class {
    match word(cell, CLASS) {
        0 => Class::Open,
        _ => Class::Reserved,
    }
}

fn word(cell: &Cell, at: usize) -> u32 {
    get(&cell.0[at])
}

fn get(word: &AtomicU32) -> u32 {
    word.load(Ordering::Relaxed)
}

/// Later than every word that was set before it, as a process that is killed leaves them.
fn set(word: &AtomicU32, value: u32) {
    word.store(value, Ordering::Release);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process that is killed leaves cells that nothing leads to, and counts that are wrong.
    #[test]
    fn sweep_finds_lost_cells() {
        const CELLS: usize = 200;
        let root = Root::default();
        let slots: Vec<AtomicU32> = (0..4).map(|_| AtomicU32::new(0)).collect();
        let cells: Vec<Cell> = (0..CELLS).map(|_| Cell::default()).collect();
        let table = Table::new(&root, &slots, &cells);
        table.set_limit(CELLS * size_of::<Cell>());
        let put = |key: &str, value: &[u8], class| {
            table.update(key.as_bytes(), |old| {
                *old = value.to_vec();
                ((), class)
            })
        };
        put("reserved", &[1; 300], Class::Reserved).unwrap();
        put("open", &[2; 300], Class::Open).unwrap();
        put("gone", &[3; 300], Class::Open).unwrap();
        put("gone", b"", Class::Open).unwrap();
        let used = table.used();

        // dead between the making of a chain and its use, and before it had counted
        table.chain(&[4; 1000]).unwrap();
        let free = get(&root.free);
        set(&root.free, word(&cells[free as usize], NEXT));
        set(&root.used, 7);
        set(&root.open, 0);
        table.sweep();
        assert_eq!(table.used(), used);
        assert_eq!(table.get(b"reserved"), [1; 300]);
        assert_eq!(table.get(b"open"), [2; 300]);
        let left = CELLS - used.0 / size_of::<Cell>() - 1;
        let taken = (0..).take_while(|_| table.take().is_ok()).count();
        assert_eq!(taken, left, "every cell that is not in use can be taken");
    }
}
