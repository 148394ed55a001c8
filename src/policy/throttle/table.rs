//! A table that strangers fill and that does not grow beyond its bound.

use std::collections::BTreeMap;
use std::ops::RangeBounds;
use std::time::Instant;

/// What an entry holds beside itself.
pub(super) trait Weigh {
    /// How many of what is bounded in all.
    fn weight(&self) -> usize;
}

/// Entries with a time. When it is full, or they hold too much together, the oldest eighth makes room.
#[derive(Debug)]
pub(super) struct Table<K, V> {
    entries: BTreeMap<K, (Instant, V)>,
    bound: usize,
    weight: usize,
    heaviest: usize,
}

impl<K: Ord + Clone, V: Weigh> Table<K, V> {
    /// Room for `bound` entries, which hold `heaviest` together.
    pub(super) fn new(bound: usize, heaviest: usize) -> Self {
        Self { entries: BTreeMap::new(), bound, weight: 0, heaviest }
    }

    /// What all entries hold together.
    #[cfg(test)]
    pub(super) fn weight(&self) -> usize {
        self.weight
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
        let removed = self.entries.remove(key);
        self.weight -= removed.as_ref().map_or(0, |(_, value)| value.weight());
        removed
    }

    /// Puts an entry in, in place of one with the same key.
    pub(super) fn insert(&mut self, key: K, time: Instant, value: V) {
        self.make_room(&key);
        self.weight += value.weight();
        let replaced = self.entries.insert(key, (time, value));
        self.weight -= replaced.map_or(0, |(_, value)| value.weight());
    }

    /// Changes the entry of a key, made if need be, which has this time from now on.
    pub(super) fn change<T>(&mut self, key: &K, time: Instant, act: impl FnOnce(&mut V) -> T) -> T
    where
        V: Default,
    {
        self.make_room(key);
        let entry = self.entries.entry(key.clone()).or_insert_with(|| (time, V::default()));
        let before = entry.1.weight();
        entry.0 = time;
        let outcome = act(&mut entry.1);
        self.weight = self.weight - before + entry.1.weight();
        if self.weight > self.heaviest {
            self.lighten(key);
        }
        outcome
    }

    /// Forgets what is not newer than this.
    pub(super) fn forget_until(&mut self, time: Instant) {
        self.entries.retain(|_, (own, _)| *own > time);
        self.weigh();
    }

    fn weigh(&mut self) {
        self.weight = self.entries.values().map(|(_, value)| value.weight()).sum();
    }

    /// The oldest go, but for one, until an eighth of the weight is free.
    fn lighten(&mut self, stays: &K) {
        let others = self.entries.iter().filter(|(key, _)| *key != stays);
        let mut oldest: Vec<(Instant, K)> = others.map(|(key, (time, _))| (*time, key.clone())).collect();
        oldest.sort_unstable();
        for (_, key) in oldest {
            if self.weight <= self.heaviest - self.heaviest / 8 {
                break;
            }
            self.remove(&key);
        }
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
        self.weigh();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const NO_WEIGHT: usize = 0;

    impl Weigh for Vec<u8> {
        fn weight(&self) -> usize {
            self.len()
        }
    }

    #[test]
    fn the_oldest_go_when_all_are_too_heavy_and_the_weight_is_right_throughout() {
        let (start, mut table) = (Instant::now(), Table::<u32, Vec<u8>>::new(64, 200));
        for at in 0..5000u32 {
            let (key, time) = (at * 7 % 50, start + Duration::from_secs(u64::from(at)));
            match at % 11 {
                0 => drop(table.remove(&key)),
                1 => table.insert(key, time, vec![0; 9]),
                2 => table.forget_until(time - Duration::from_secs(300)),
                _ => {
                    table.change(&key, time, |value| value.push(0));
                    assert!(table.get(&key).is_some(), "what was changed last stays");
                }
            }
            assert_eq!(table.weight(), table.iter().map(|(_, (_, value))| value.len()).sum::<usize>());
            assert!(table.weight() <= 200 + 9);
        }
    }

    #[test]
    fn the_oldest_make_room_and_the_bound_holds() {
        let (start, mut table) = (Instant::now(), Table::new(64, NO_WEIGHT));
        for at in 0..1000u32 {
            table.insert(at, start + Duration::from_secs(u64::from(at)), ());
            assert!(table.iter().count() <= 64);
            assert!(table.get(&at).is_some());
        }
        assert!(table.get(&990).is_some() && table.get(&900).is_none());
    }

    #[test]
    fn entries_of_one_moment_do_not_all_go_at_once() {
        let (start, mut table) = (Instant::now(), Table::new(64, NO_WEIGHT));
        (0..65u32).for_each(|at| table.insert(at, start, ()));
        assert_eq!(table.iter().count(), 64 - 8 + 1);
    }
}
