//! A table that strangers fill and that does not grow beyond its bound.

use std::collections::BTreeMap;
use std::ops::RangeBounds;
use std::time::Instant;

/// Entries with a time. When it is full, the oldest eighth makes room.
#[derive(Debug)]
pub(super) struct Table<K, V> {
    entries: BTreeMap<K, (Instant, V)>,
    bound: usize,
}

impl<K: Ord + Clone, V> Table<K, V> {
    /// Room for `bound` entries.
    pub(super) fn new(bound: usize) -> Self {
        Self { entries: BTreeMap::new(), bound }
    }

    pub(super) fn get(&self, key: &K) -> Option<&(Instant, V)> {
        self.entries.get(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &(Instant, V))> {
        self.entries.iter()
    }

    pub(super) fn range(&self, keys: impl RangeBounds<K>) -> impl Iterator<Item = (&K, &(Instant, V))> {
        self.entries.range(keys)
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<(Instant, V)> {
        self.entries.remove(key)
    }

    /// Puts an entry in, in place of one with the same key.
    pub(super) fn insert(&mut self, key: K, time: Instant, value: V) {
        self.make_room(&key);
        self.entries.insert(key, (time, value));
    }

    /// The entry of a key, made if need be, with this time from now on.
    pub(super) fn touch(&mut self, key: K, time: Instant, make: impl FnOnce() -> V) -> &mut V {
        self.make_room(&key);
        let entry = self.entries.entry(key).or_insert_with(|| (time, make()));
        entry.0 = time;
        &mut entry.1
    }

    /// Forgets what is not newer than this.
    pub(super) fn forget_until(&mut self, time: Instant) {
        self.entries.retain(|_, (own, _)| *own > time);
    }

    fn make_room(&mut self, key: &K) {
        if self.entries.len() < self.bound || self.entries.contains_key(key) {
            return;
        }
        let mut times: Vec<Instant> = self.entries.values().map(|(time, _)| *time).collect();
        let mut go = (self.bound / 8).max(1);
        let (_, oldest, _) = times.select_nth_unstable(go - 1);
        let oldest = *oldest;
        self.entries.retain(|_, (time, _)| {
            let goes = go > 0 && *time <= oldest;
            go -= usize::from(goes);
            !goes
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_oldest_make_room_and_the_bound_holds() {
        let (start, mut table) = (Instant::now(), Table::new(64));
        for at in 0..1000u32 {
            table.insert(at, start + Duration::from_secs(u64::from(at)), ());
            assert!(table.iter().count() <= 64);
            assert!(table.get(&at).is_some());
        }
        assert!(table.get(&990).is_some() && table.get(&900).is_none());
    }

    #[test]
    fn entries_of_one_moment_do_not_all_go_at_once() {
        let (start, mut table) = (Instant::now(), Table::new(64));
        (0..65u32).for_each(|at| table.insert(at, start, ()));
        assert_eq!(table.iter().count(), 64 - 8 + 1);
    }
}
