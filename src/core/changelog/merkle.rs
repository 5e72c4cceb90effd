//! Merkle roots over the entries of a segment, in the tree shape of RFC 9162 §2.1.1, with BLAKE3.

use crate::model::Digest;

const LEAF: &str = "artimesh/merkle-leaf/v1";
const NODE: &str = "artimesh/merkle-node/v1";
const EMPTY: &str = "artimesh/merkle-empty/v1";

/// The root over `leaves` (each an entry's hash), left to right. The split is at the greatest power of two below the count.
pub fn root(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => Digest::derived(EMPTY, &[]),
        [leaf] => Digest::derived(LEAF, &leaf.0),
        _ => {
            let split = leaves.len().next_power_of_two() / 2;
            let (left, right) = leaves.split_at(split);
            Digest::derived(NODE, &[root(left).0, root(right).0].concat())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_count_matter() {
        let leaves: Vec<Digest> = (0..5u8).map(|n| Digest::of(&[n])).collect();
        let swapped = [leaves[1], leaves[0], leaves[2], leaves[3], leaves[4]];
        assert_ne!(root(&leaves), root(&swapped));
        assert_ne!(root(&leaves), root(&leaves[..4]));
        assert_ne!(root(&leaves[..1]), leaves[0]);
        assert_ne!(root(&leaves[..1]), root(&[]));
    }
}
