//! A bounded map of what was used lately.
//!
//! # Why
//! Two generations instead of a list in the order of use: what is found moves to the young one, and when that holds half of
//! what is allowed it becomes the old one, whose predecessor goes. So finding costs one look-up and a short lock, and what is
//! asked for all the time never goes. Several locks share the keys, since all threads that serve come here.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// So many locks share the work.
const SHARDS: usize = 16;

/// Shared by all requests.
#[derive(Debug)]
pub struct Recent<K, V> {
    shards: [Mutex<Shard<K, V>>; SHARDS],
    hasher: RandomState,
    weight_max: usize,
}

#[derive(Debug)]
struct Shard<K, V> {
    young: HashMap<K, (V, usize)>,
    old: HashMap<K, (V, usize)>,
    young_weight: usize,
}

impl<K, V> Default for Shard<K, V> {
    fn default() -> Self {
        Shard { young: HashMap::new(), old: HashMap::new(), young_weight: 0 }
    }
}

impl<K: Hash + Eq, V: Clone> Recent<K, V> {
    /// An empty map whose values may weigh `weight_max` together.
    pub fn new(weight_max: usize) -> Recent<K, V> {
        Recent { shards: Default::default(), hasher: RandomState::new(), weight_max }
    }

    /// The value of a key, if it is here.
    pub fn find<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let mut shard = self.shard(key);
        if let Some((value, _)) = shard.young.get(key) {
            return Some(value.clone());
        }
        let (key, (value, weight)) = shard.old.remove_entry(key)?;
        shard.insert(key, value.clone(), weight, self.weight_max / SHARDS / 2);
        Some(value)
    }

    /// Keeps a value for a while.
    pub fn keep(&self, key: K, value: V, weight: usize) {
        let mut shard = self.shard(&key);
        shard.old.remove(&key);
        shard.insert(key, value, weight, self.weight_max / SHARDS / 2);
    }

    fn shard<Q: Hash + ?Sized>(&self, key: &Q) -> MutexGuard<'_, Shard<K, V>> {
        let number = self.hasher.hash_one(key) as usize % SHARDS;
        self.shards[number].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq, V> Shard<K, V> {
    fn insert(&mut self, key: K, value: V, weight: usize, generation_max: usize) {
        if self.young_weight + weight > generation_max {
            self.old = std::mem::take(&mut self.young);
            self.young_weight = 0;
            self.old.remove(&key);
        }
        self.young_weight += weight;
        if let Some((_, replaced)) = self.young.insert(key, (value, weight)) {
            self.young_weight -= replaced;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_value_of_a_key_is_found_from_whichever_generation() {
        let recent = Recent::new(SHARDS * 20);
        for round in 0..5 {
            recent.keep("key".to_owned(), round, 1);
            assert_eq!(recent.find("key"), Some(round));
            for other in 0..400 {
                recent.keep(format!("{round}/{other}"), 0, 1);
                assert_eq!(recent.find("key"), Some(round), "it is asked for all the time");
            }
        }
        assert_eq!(recent.find("0/0"), None);
    }

    #[test]
    fn what_is_kept_is_bounded_by_its_weight() {
        let recent = Recent::new(SHARDS * 1000);
        for number in 0..10_000_usize {
            recent.keep(number, number, 1 + number % 7);
        }
        let weight: usize = recent
            .shards
            .iter()
            .map(|shard| {
                let shard = shard.lock().expect("unpoisoned");
                let weights = shard.young.values().chain(shard.old.values()).map(|(_, weight)| weight);
                weights.sum::<usize>()
            })
            .sum();
        assert!(weight <= SHARDS * 1000 && weight > SHARDS * 400, "{weight}");
    }
}
