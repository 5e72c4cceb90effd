//! Proving that one has a blob without sending it.
//!
//! # Why
//! Who knows a digest may put it into a space of its own: were bytes that a node holds through another space enough, it
//! would hand them out there. So they satisfy a reference only after somebody in that space has shown to have them: by
//! sending them, or by BLAKE3, keyed with a fresh nonce, over groups that the nonce chooses. Sixteen groups at most, so
//! that a proof of a large blob costs no more than a moment; who lacks a part of it is caught with each that is chosen.

use artimesh_core::model::Digest;

use super::bulk::GROUP_BYTES;
use crate::store::{BlobReader, ReadError};

/// Groups that a proof covers.
const GROUPS_MAX: u32 = 16;

/// The proof for a nonce.
pub(super) async fn prove(reader: &BlobReader, nonce: &[u8; 32]) -> Result<[u8; 32], ReadError> {
    let mut hasher = blake3::Hasher::new_keyed(nonce);
    for index in chosen(nonce, reader.group_count()) {
        let group = reader.read_at(u64::from(index) * GROUP_BYTES, GROUP_BYTES as usize).await?;
        hasher.update(&index.to_le_bytes());
        hasher.update(&group);
    }
    Ok(*hasher.finalize().as_bytes())
}

/// What a proof reads of a blob of this size.
pub(super) fn bytes_read(size: u64) -> u64 {
    size.min(u64::from(GROUPS_MAX) * GROUP_BYTES)
}

/// A nonce that nobody has seen; `None` when the system has no randomness.
pub(super) fn nonce() -> Option<[u8; 32]> {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).ok().map(|()| nonce)
}

/// All groups of a small blob; of a larger one those that the nonce chooses.
fn chosen(nonce: &[u8; 32], count: u32) -> Vec<u32> {
    if count <= GROUPS_MAX {
        return (0..count).collect();
    }
    let pick = |number: u32| {
        let Digest(hash) = Digest::derived("artimesh/possession/v1", &[&nonce[..], &number.to_le_bytes()].concat());
        let draw = u64::from_le_bytes(hash.first_chunk().copied().unwrap_or_default());
        (draw % u64::from(count)) as u32
    };
    (0..GROUPS_MAX).map(pick).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn all_groups_of_a_small_blob_are_covered_and_other_ones_of_a_large_blob_by_each_nonce() {
        assert_eq!(chosen(&[1; 32], 16), (0..16).collect::<Vec<u32>>());
        let some: Vec<BTreeSet<u32>> = (0..4).map(|n| chosen(&[n; 32], 1_000_000).into_iter().collect()).collect();
        assert!(some.iter().all(|groups| groups.len() == 16 && groups.iter().all(|index| *index < 1_000_000)));
        assert_eq!(some.iter().flatten().collect::<BTreeSet<_>>().len(), 64);
    }
}
