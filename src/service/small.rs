//! The bodies of small artifacts that somebody read lately, in memory.
//!
//! # Why
//! Most downloads are of small files, and most of those of a few: metadata, indexes, checksums. Out of memory they cost
//! neither a look-up of their place nor a call of the system. They are found by their digest and verified when they enter,
//! so that nothing that changes at a path can make them wrong.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use artimesh_core::model::Digest;
use bytes::Bytes;
use prometheus_client::metrics::counter::Counter;

use super::metrics::Metrics;

/// The largest body that is kept, in bytes.
pub const SMALL_BYTES_MAX: u64 = 32 << 10;
/// What all bodies may take together.
const BYTES_MAX: usize = 32 << 20;
/// So many locks share the work, by the digest.
const SHARDS: usize = 16;
/// What an entry takes besides its body.
const ENTRY_BYTES: usize = 128;

/// Shared by all requests.
#[derive(Debug)]
pub struct SmallBodies {
    shards: [Mutex<Shard>; SHARDS],
    hits: Counter,
    misses: Counter,
}

/// Those that came or were found lately, and those before; the latter go when the former are half of what is allowed.
#[derive(Debug, Default)]
struct Shard {
    young: HashMap<Digest, Bytes>,
    old: HashMap<Digest, Bytes>,
    young_bytes: usize,
}

impl SmallBodies {
    /// None yet; `/metrics` shows how often one is found.
    pub fn registered(metrics: &Metrics) -> SmallBodies {
        let bodies = SmallBodies { shards: Default::default(), hits: Counter::default(), misses: Counter::default() };
        metrics.register(|registry| {
            registry.register("small_body_hits", "Small bodies that were found in memory", bodies.hits.clone());
            registry.register("small_body_misses", "Small bodies that were not", bodies.misses.clone());
        });
        bodies
    }

    /// The body of this digest, if it is here.
    pub fn find(&self, digest: &Digest) -> Option<Bytes> {
        let found = self.shard(digest).lock().unwrap_or_else(PoisonError::into_inner).find(digest);
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.inc();
        found
    }

    /// Keeps a body for a while; the one that is not what its digest says is given back.
    pub fn keep(&self, digest: &Digest, body: Bytes) -> Result<(), Bytes> {
        if Digest::of(&body) != *digest {
            return Err(body);
        }
        // Its own bytes, whatever larger buffer it was cut from.
        let body = Bytes::copy_from_slice(&body);
        self.shard(digest).lock().unwrap_or_else(PoisonError::into_inner).insert(*digest, body);
        Ok(())
    }

    fn shard(&self, digest: &Digest) -> &Mutex<Shard> {
        &self.shards[usize::from(digest.0[0]) % SHARDS]
    }
}

impl Shard {
    fn find(&mut self, digest: &Digest) -> Option<Bytes> {
        if let Some(body) = self.young.get(digest) {
            return Some(body.clone());
        }
        let body = self.old.remove(digest)?;
        self.insert(*digest, body.clone());
        Some(body)
    }

    fn insert(&mut self, digest: Digest, body: Bytes) {
        let bytes = body.len() + ENTRY_BYTES;
        if self.young_bytes + bytes > BYTES_MAX / SHARDS / 2 {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        if self.young.insert(digest, body).is_none() {
            self.young_bytes += bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_found_by_its_digest_and_only_if_it_is_that() {
        let bodies = SmallBodies::registered(&Metrics::default());
        let digest = Digest::of(b"abc");
        assert_eq!(bodies.find(&digest), None);
        assert_eq!(bodies.keep(&digest, Bytes::from_static(b"abd")), Err(Bytes::from_static(b"abd")));
        assert_eq!(bodies.find(&digest), None);
        bodies.keep(&digest, Bytes::from_static(b"abc")).expect("its own");
        assert_eq!(bodies.find(&digest).expect("kept"), "abc");
        assert_eq!((bodies.hits.get(), bodies.misses.get()), (1, 2));
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_is_used_stays() {
        let bodies = SmallBodies::registered(&Metrics::default());
        let wanted = Digest::of(b"wanted");
        bodies.keep(&wanted, Bytes::from_static(b"wanted")).expect("its own");
        for number in 0..3000_u32 {
            let mut body = vec![0; SMALL_BYTES_MAX as usize];
            body[..4].copy_from_slice(&number.to_le_bytes());
            bodies.keep(&Digest::of(&body), body.into()).expect("its own");
            assert!(bodies.find(&wanted).is_some(), "it is asked for all the time");
        }
        let kept: usize = bodies
            .shards
            .iter()
            .map(|shard| {
                let shard = shard.lock().expect("unpoisoned");
                shard.young.values().chain(shard.old.values()).map(|body| body.len() + ENTRY_BYTES).sum::<usize>()
            })
            .sum();
        assert!(kept <= BYTES_MAX, "{kept} bytes are kept");
        assert!(kept > BYTES_MAX / 4, "most of what is allowed is used: {kept}");
    }
}
