//! Chaining values of 1 MiB groups: what lets each group of a blob be verified on its own.
//!
//! A blob's BLAKE3 digest is the root of a binary tree over its bytes. The values of that tree at the height of 1 MiB
//! merge to the ordinary digest, so that a table of them proves itself (BLAKE3 paper, section 2; `blake3::hazmat`).

use artimesh_core::model::Digest;
use blake3::Hasher;
use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};

/// The size of a group; only the last of a blob may be shorter.
pub const GROUP_BYTES: usize = 1 << 20;

/// The value of one group's subtree.
pub type ChainingValue = [u8; 32];

/// How many groups a blob of `size_bytes` has; the empty blob has one.
pub fn count(size_bytes: u64) -> u32 {
    size_bytes.div_ceil(GROUP_BYTES as u64).max(1).try_into().unwrap_or(u32::MAX)
}

/// The length of group `index` of a blob of `size_bytes`; 0 outside of the blob.
pub fn length(index: u32, size_bytes: u64) -> usize {
    let start = u64::from(index) * GROUP_BYTES as u64;
    size_bytes.saturating_sub(start).min(GROUP_BYTES as u64) as usize
}

/// The value of group `index`, which `pieces` hold one after the other. Only for blobs of more than one group.
pub fn chaining_value<'a>(index: u32, pieces: impl IntoIterator<Item = &'a [u8]>) -> ChainingValue {
    let mut hasher = Hasher::new();
    hasher.set_input_offset(u64::from(index) * GROUP_BYTES as u64);
    for piece in pieces {
        hasher.update(piece);
    }
    hasher.finalize_non_root()
}

/// The digest that the values of all groups merge to; `None` for fewer than two, whose digest isn't a merge.
pub fn root(values: &[ChainingValue]) -> Option<Digest> {
    if values.len() < 2 {
        return None;
    }
    let (left, right) = values.split_at(left_count(values.len()));
    Some(Digest(*merge_subtrees_root(&subtree(left), &subtree(right), Mode::Hash).as_bytes()))
}

/// Whether `bytes` are group `index` of the blob; `values` is empty for a blob of one group.
pub fn matches(digest: &Digest, values: &[ChainingValue], index: u32, bytes: &[u8]) -> bool {
    match values.get(index as usize) {
        Some(value) if values.len() > 1 => chaining_value(index, [bytes]) == *value,
        Some(_) => false,
        None => index == 0 && values.is_empty() && Digest::of(bytes) == *digest,
    }
}

fn subtree(values: &[ChainingValue]) -> ChainingValue {
    match values {
        [one] => *one,
        _ => {
            let (left, right) = values.split_at(left_count(values.len()));
            merge_subtrees_non_root(&subtree(left), &subtree(right), Mode::Hash)
        }
    }
}

/// The largest power of two below `count`, which is at least 2.
fn left_count(count: usize) -> usize {
    count.next_power_of_two() / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_chaining_values_are_the_plain_blake3_digest() {
        const MIB: usize = GROUP_BYTES;
        for size in [MIB + 1, 2 * MIB, 2 * MIB + 1, 3 * MIB + 5, 4 * MIB - 1, 5 * MIB, 7 * MIB, 8 * MIB + 1025] {
            let bytes: Vec<u8> = (0..size).map(|i| (i * 7 + i / 251) as u8).collect();
            let values: Vec<_> =
                bytes.chunks(MIB).enumerate().map(|(index, group)| chaining_value(index as u32, [group])).collect();
            assert_eq!(values.len(), count(size as u64) as usize);
            assert_eq!(root(&values), Some(Digest::of(&bytes)), "{size} bytes");
            for (index, group) in bytes.chunks(MIB).enumerate() {
                assert_eq!(length(index as u32, size as u64), group.len());
                assert!(matches(&Digest::of(&bytes), &values, index as u32, group));
            }
            let mut wrong = bytes[..MIB].to_vec();
            wrong[0] ^= 1;
            assert!(!matches(&Digest::of(&bytes), &values, 0, &wrong));
            assert!(!matches(&Digest::of(&bytes), &values, 1, &bytes[..MIB]), "a group in another's place is refused");
        }
    }

    #[test]
    fn a_blob_of_one_group_is_verified_by_its_digest() {
        for size in [0, 1, 1023, 1025, GROUP_BYTES - 1, GROUP_BYTES] {
            let bytes = vec![7u8; size];
            assert_eq!(count(size as u64), 1);
            assert!(matches(&Digest::of(&bytes), &[], 0, &bytes));
            assert!(!matches(&Digest::of(&bytes), &[], 0, b"another"));
            assert!(!matches(&Digest::of(&bytes), &[], 1, &bytes));
        }
        assert_eq!(root(&[]), None);
        assert_eq!(root(&[[1; 32]]), None);
    }
}
