//! Things that are there as long as somebody holds them, by key.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::Hash;
use std::rc::{Rc, Weak};

/// A map that keeps nothing alive. What is dropped calls [`WeakMap::forget`] for its key.
pub struct WeakMap<K, V>(RefCell<HashMap<K, Weak<V>>>);

impl<K, V> Default for WeakMap<K, V> {
    fn default() -> Self {
        WeakMap(RefCell::default())
    }
}

impl<K: Eq + Hash, V> WeakMap<K, V> {
    /// What is there under that key.
    pub fn find(&self, key: &K) -> Option<Rc<V>> {
        self.0.borrow().get(key).and_then(Weak::upgrade)
    }

    /// Puts `value` there.
    pub fn insert(&self, key: K, value: &Rc<V>) {
        self.0.borrow_mut().insert(key, Rc::downgrade(value));
    }

    /// Forgets what was there, unless somebody holds it, or there is another one now.
    pub fn forget(&self, key: &K) {
        let mut all = self.0.borrow_mut();
        if all.get(key).is_some_and(|value| value.strong_count() == 0) {
            all.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_nothing_alive() {
        let map = WeakMap::default();
        let value = Rc::new(1);
        map.insert("a", &value);
        assert_eq!(map.find(&"a"), Some(value.clone()));
        assert_eq!(map.find(&"b"), None);
        drop(value);
        assert_eq!(map.find(&"a"), None);
    }

    #[test]
    fn what_is_held_or_replaced_is_not_forgotten() {
        let map = WeakMap::default();
        let (old, new) = (Rc::new(1), Rc::new(2));
        map.insert("a", &old);
        map.forget(&"a");
        assert_eq!(map.find(&"a"), Some(old.clone()));
        map.insert("a", &new);
        drop(old);
        map.forget(&"a");
        assert_eq!(map.find(&"a"), Some(new.clone()));
        drop(new);
        map.forget(&"a");
        assert!(map.0.borrow().is_empty());
    }
}
