//! The bodies of small artifacts that somebody read lately, in memory.
//!
//! # Why
//! Most downloads are of small files, and most of those of a few: metadata, indexes, checksums. Out of memory they cost
//! neither a look-up of their place nor a call of the system. They are found by their digest and verified when they enter,
//! so that nothing that changes at a path can make them wrong.

use artimesh_core::model::Digest;
use bytes::Bytes;
use prometheus_client::metrics::counter::Counter;

use super::metrics::Metrics;
use super::recent::Recent;

/// The largest body that is kept, in bytes.
pub const SMALL_BYTES_MAX: u64 = 32 << 10;
/// What all bodies may take together.
const BYTES_MAX: usize = 32 << 20;
/// What an entry takes besides its body.
const ENTRY_BYTES: usize = 128;

/// Shared by all requests.
#[derive(Debug)]
pub struct SmallBodies {
    bodies: Recent<Digest, Bytes>,
    hits: Counter,
    misses: Counter,
}

impl SmallBodies {
    /// None yet; `/metrics` shows how often one is found.
    pub fn registered(metrics: &Metrics) -> SmallBodies {
        let (hits, misses) = (Counter::default(), Counter::default());
        metrics.register(|registry| {
            registry.register("small_body_hits", "Small bodies that were found in memory", hits.clone());
            registry.register("small_body_misses", "Small bodies that were not", misses.clone());
        });
        SmallBodies { bodies: Recent::new(BYTES_MAX), hits, misses }
    }

    /// The body of this digest, if it is here.
    pub fn find(&self, digest: &Digest) -> Option<Bytes> {
        let found = self.bodies.find(digest);
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.inc();
        found
    }

    /// The body of this digest, if it is here; who asks goes on to look for it otherwise.
    pub fn at_hand(&self, digest: &Digest) -> Option<Bytes> {
        self.bodies.find(digest).inspect(|_| {
            self.hits.inc();
        })
    }

    /// Keeps a body for a while, and returns it; `None` when it is not what its digest says.
    pub fn keep(&self, digest: &Digest, body: &[u8]) -> Option<Bytes> {
        if Digest::of(body) != *digest {
            return None;
        }
        // Its own bytes, whatever larger buffer they stood in.
        let body = Bytes::copy_from_slice(body);
        self.bodies.keep(*digest, body.clone(), body.len() + ENTRY_BYTES);
        Some(body)
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
        assert_eq!(bodies.keep(&digest, b"abd"), None);
        assert_eq!(bodies.find(&digest), None);
        assert_eq!(bodies.keep(&digest, b"abc").expect("its own"), "abc");
        assert_eq!(bodies.find(&digest).expect("kept"), "abc");
        assert_eq!((bodies.hits.get(), bodies.misses.get()), (1, 2));
    }
}
