//! The table, against a map of the standard library and against processes that die.

use std::collections::HashMap;
use std::sync::atomic::AtomicU32;

use proptest::prelude::*;
use shared_table::{cost, Cell, Class, Full, Root, Table, SPARE};

struct Memory {
    root: Root,
    slots: Vec<AtomicU32>,
    cells: Vec<Cell>,
}

impl Memory {
    fn new(cells: u32) -> Self {
        let cells = (0..cells + SPARE).map(|_| Cell::default()).collect();
        Memory { root: Root::default(), slots: (0..8).map(|_| AtomicU32::new(0)).collect(), cells }
    }

    fn table(&self) -> Table<'_> {
        Table::new(&self.root, &self.slots, &self.cells)
    }
}

fn put(table: &Table<'_>, key: &[u8], value: &[u8], class: Class) -> Result<(), Full> {
    table.update(key, |old| {
        *old = value.to_vec();
        ((), class)
    })
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8, Vec<u8>, bool),
    RemoveAll(u8),
    Sweep,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (any::<u8>(), proptest::collection::vec(any::<u8>(), 0..200), any::<bool>())
            .prop_map(|(key, value, reserved)| Step::Put(key, value, reserved)),
        1 => any::<u8>().prop_map(Step::RemoveAll),
        1 => Just(Step::Sweep),
    ]
}

fn key_of(n: u8) -> Vec<u8> {
    vec![n; usize::from(n % 90) + 1]
}

proptest! {
    #[test]
    fn is_a_map(steps in proptest::collection::vec(step(), 0..200)) {
        let memory = Memory::new(400);
        let table = memory.table();
        table.set_key(*b"0123456789abcdef");
        table.set_limit(400 * 64);
        let mut map: HashMap<Vec<u8>, (Vec<u8>, Class)> = HashMap::new();
        for step in steps {
            match step {
                Step::Put(n, value, reserved) => {
                    let class = if reserved { Class::Reserved } else { Class::Open };
                    let key = key_of(n);
                    if put(&table, &key, &value, class).is_ok() {
                        match value.is_empty() {
                            true => drop(map.remove(&key)),
                            false => drop(map.insert(key, (value, class))),
                        }
                    }
                }
                Step::RemoveAll(n) => {
                    table.update_all(|key, value| {
                        if key.len() % 7 == usize::from(n) % 7 {
                            value.clear();
                        }
                        map.get(key).map_or(Class::Open, |(_, class)| *class)
                    });
                    map.retain(|key, _| key.len() % 7 != usize::from(n) % 7);
                }
                Step::Sweep => table.sweep(),
            }
            let bytes = |class: Option<Class>| -> usize {
                let of_class = map.iter().filter(|(_, value)| class.is_none_or(|c| c == value.1));
                of_class.map(|(key, value)| cost(key.len(), value.0.len())).sum()
            };
            prop_assert_eq!(table.used(), (bytes(None), bytes(Some(Class::Open))));
        }
        for (key, (value, _)) in &map {
            prop_assert_eq!(&table.get(key), value);
        }
        let mut seen = 0;
        table.update_all(|key, _| {
            seen += 1;
            map[key].1
        });
        prop_assert_eq!(seen, map.len());
    }
}

#[test]
fn open_entries_leave_half_to_the_reserved() {
    let memory = Memory::new(600);
    let table = memory.table();
    table.set_limit(600 * 64);
    let name = |kind: &str, n: usize| format!("{kind} {n}").into_bytes();
    let fill = |kind: &str, class| {
        (0..).take_while(|&n| put(&table, &name(kind, n), b"here", class).is_ok()).count()
    };
    assert_eq!(fill("player", Class::Open), 100);
    assert_eq!(fill("source", Class::Reserved), 100);
    assert_eq!(fill("late", Class::Reserved), 0);
    // one that is a source's no more counts among the others, and there are too many of those
    put(&table, &name("source", 0), b"gone", Class::Open).unwrap();
    put(&table, &name("source", 1), b"", Class::Open).unwrap();
    assert_eq!(fill("next", Class::Open), 0);
    assert_eq!(fill("next", Class::Reserved), 1);
}

#[test]
fn a_full_table_lets_go() {
    let memory = Memory::new(60);
    let table = memory.table();
    table.set_limit(60 * 64);
    put(&table, b"a", &[1; 3000], Class::Reserved).unwrap();
    assert_eq!(put(&table, b"b", &[1; 3000], Class::Reserved), Err(Full));
    assert_eq!(table.get(b"b"), b"");
    put(&table, b"a", &[2; 2900], Class::Reserved).unwrap();
    assert_eq!(table.get(b"a"), [2; 2900]);
    table.set_limit(0);
    put(&table, b"a", &[3; 100], Class::Open).unwrap();
    put(&table, b"a", b"", Class::Open).unwrap();
    assert_eq!(table.used(), (0, 0));
}

#[test]
fn a_table_grows_in_its_place() {
    let memory = Memory::new(100);
    let small = Table::new(&memory.root, &memory.slots, &memory.cells[..30]);
    small.set_limit(usize::MAX);
    put(&small, b"key", b"value", Class::Reserved).unwrap();
    assert_eq!(put(&small, b"long", &[1; 3000], Class::Reserved), Err(Full));
    let large = memory.table();
    large.set_limit(100 * 64);
    put(&large, b"long", &[1; 3000], Class::Reserved).unwrap();
    assert_eq!(large.get(b"key"), b"value");
    assert_eq!(large.get(b"long"), [1; 3000]);
}
