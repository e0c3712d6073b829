//! A bounded map that forgets what was not used for longest.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// A bounded map of shared values.
#[derive(Debug)]
pub(super) struct Cache<K, V> {
    entries: HashMap<K, Entry<V>>,
    entries_max: usize,
    /// Counts uses, as a clock would.
    uses: u64,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    last_use: u64,
    /// It is never forgotten.
    is_kept: bool,
}

impl<K: Clone + Eq + Hash, V: Clone> Cache<K, V> {
    /// An empty cache of at least one entry.
    pub(super) fn new(entries_max: usize) -> Self {
        Cache { entries: HashMap::new(), entries_max: entries_max.max(1), uses: 0 }
    }

    /// The value of `key`, which counts as a use.
    pub(super) fn find<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.uses += 1;
        let entry = self.entries.get_mut(key)?;
        entry.last_use = self.uses;
        Some(entry.value.clone())
    }

    /// Keeps `value` unless there is one of `key` already, and returns the one that is kept.
    pub(super) fn insert(&mut self, key: K, value: V) -> V {
        if let Some(kept) = self.find(&key) {
            return kept;
        }
        while self.entries.len() >= self.entries_max {
            let Some(oldest) = self.oldest() else { break };
            self.entries.remove(&oldest);
        }
        let last_use = self.uses;
        let entry = Entry { value: value.clone(), last_use, is_kept: false };
        self.entries.insert(key, entry);
        value
    }

    /// Never forgets what is there, and has room for `others_max` more.
    pub(super) fn keep_all(&mut self, others_max: usize) {
        self.entries.values_mut().for_each(|entry| entry.is_kept = true);
        self.entries_max = self.entries.len() + others_max.max(1);
    }

    /// All that is kept.
    pub(super) fn snapshot(&self) -> HashMap<K, V> {
        self.entries.iter().map(|(key, entry)| (key.clone(), entry.value.clone())).collect()
    }

    fn oldest(&self) -> Option<K> {
        let others = self.entries.iter().filter(|(_, entry)| !entry.is_kept);
        let oldest = others.min_by_key(|(_, entry)| entry.last_use)?;
        Some(oldest.0.clone())
    }
}
