//! Checksums that other nodes claim: confirmed here behind the transfer, and told where they are false.
//!
//! A put names SHA-256, SHA-1 and MD5 beside the blob's address. The address is verified with every group that arrives; the
//! sums are the author's word, until this node has computed them. A *walk* goes through what the catalogs name and is here:
//! sums that nobody has computed yet are computed ([`Store::confirm_some`](crate::store::Store::confirm_some)), and each
//! version's claim is compared with them. From then on answers say what was computed, whatever was claimed.
//!
//! # Why it is a walk
//! - **Nothing is added to the transfer:** MD5 alone takes longer than all else that happens to a fetched blob, and a list of
//!   what is to be confirmed would cost a row for each. What is confirmed already is a record of the store, so a walk after
//!   a restart, or a crash, hashes nothing twice; and blobs that an earlier release fetched have their turn, too.
//! - **It finds every claim.** A blob that is here already isn't fetched again when somebody else names it, with other sums.
//! - **Nothing of it is written down:** what is claimed is in the catalog, what is true in the store. A version that was
//!   replaced isn't told any more after the next walk.
//!
//! # Bounds
//! A walk steps aside for commits and readers, and reads at most as much in a second as a scrub may. The next one comes when
//! something has changed, behind a pause of [`PAUSE_EACH`](watch::PAUSE_EACH) for each version. The first [`FIRST_MAX`] false
//! claims are told one by one.

mod walk;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use artimesh_core::clock::Timestamp;
use artimesh_core::model::{ArtifactPath, Checksums, Digest, NodeId, Space};
use tokio::sync::Notify;

use super::handle::Engine;
use crate::store::has_md5;
pub(super) use watch::watch;

/// So many false claims are told one by one.
pub const FIRST_MAX: usize = 20;

/// A live version whose author claims other sums than its bytes have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FalseClaim {
    /// Where.
    pub space: Space,
    /// At which path.
    pub path: ArtifactPath,
    /// The bytes.
    pub digest: Digest,
    /// Who put the version.
    pub author: NodeId,
    /// What it says.
    pub claimed: Checksums,
    /// What the bytes have.
    pub computed: Checksums,
}

impl FalseClaim {
    /// The names of the sums that are false.
    pub fn sums(&self) -> Vec<&'static str> {
        false_sums(&self.claimed, &self.computed)
    }
}

/// Which of the claimed sums are false. Of an MD5 that was put off nothing was claimed.
fn false_sums(claimed: &Checksums, computed: &Checksums) -> Vec<&'static str> {
    let sums = [
        ("SHA-256", claimed.sha256 != computed.sha256),
        ("SHA-1", claimed.sha1 != computed.sha1),
        ("MD5", has_md5(claimed) && claimed.md5 != computed.md5),
    ];
    sums.into_iter().filter(|(_, is_false)| *is_false).map(|(name, _)| name).collect()
}

/// What walks found.
#[derive(Clone, Default, Debug)]
pub struct Claims {
    /// When the last one ended.
    pub walked: Option<Timestamp>,
    /// How many blobs it couldn't confirm, since they can't be read or rotted.
    pub unreadable: u64,
    /// How many false claims there are.
    pub count: u64,
    /// The first [`FIRST_MAX`] of them.
    pub first: Vec<FalseClaim>,
}

/// What the engine knows of claims.
#[derive(Default)]
pub(super) struct Found {
    claims: ArcSwap<Claims>,
    /// Blobs whose sums were confirmed since the start.
    confirmed: AtomicU64,
    /// Somebody came upon a false claim that isn't told yet.
    doubted: Notify,
}

impl Found {
    fn compare(&self, space: &Space, path: &ArtifactPath, claimed: &Checksums, computed: &Checksums) {
        if claimed == computed || false_sums(claimed, computed).is_empty() {
            return;
        }
        let known = self.claims.load();
        let is_told = known.first.iter().any(|claim| claim.space == *space && claim.path == *path);
        if !is_told && known.count <= FIRST_MAX as u64 {
            self.doubted.notify_one();
        }
    }

    fn tell(&self, claims: Claims) {
        self.claims.store(Arc::new(claims));
    }
}

impl Engine {
    /// What is known of false claims.
    pub fn claims(&self) -> Arc<Claims> {
        self.shared.claims.claims.load_full()
    }

    /// How many blobs had sums that were claimed and are confirmed since the start.
    pub fn claims_confirmed(&self) -> u64 {
        self.shared.claims.confirmed.load(Ordering::Relaxed)
    }

    /// Whoever shows a version compares its claim with what was computed: a false one that isn't told has a walk come.
    pub fn compare_claim(&self, space: &Space, path: &ArtifactPath, claimed: &Checksums, computed: &Checksums) {
        self.shared.claims.compare(space, path, claimed, computed);
    }
}

#[cfg(test)]
mod tests;
