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

/// Some leaves of a tree, sorted: index and the entry's hash.
pub type Leaves<'a> = &'a [(usize, Digest)];

fn node(left: Digest, right: Digest) -> Digest {
    Digest::derived(NODE, &[left.0, right.0].concat())
}

/// The leaves left and right of the split of `count` leaves from `start` on.
fn split<'a>(start: usize, count: usize, leaves: Leaves<'a>) -> (usize, Leaves<'a>, Leaves<'a>) {
    let left = count.next_power_of_two() / 2;
    let at = leaves.partition_point(|(index, _)| *index < start + left);
    (left, &leaves[..at], &leaves[at..])
}

/// The root over `count` leaves from `start` on, of which `leaves` are at hand; for each greatest subtree without any of
/// them `proof` gives the hash, from left to right. `None` when the proof is too short or a leaf repeats.
pub fn root_from(
    start: usize,
    count: usize,
    leaves: Leaves<'_>,
    proof: &mut impl Iterator<Item = Digest>,
) -> Option<Digest> {
    match leaves {
        [] => proof.next(),
        [(_, leaf)] if count == 1 => Some(Digest::derived(LEAF, &leaf.0)),
        _ if count <= 1 => None,
        _ => {
            let (left, in_left, in_right) = split(start, count, leaves);
            let first = root_from(start, left, in_left, proof)?;
            Some(node(first, root_from(start + left, count - left, in_right, proof)?))
        }
    }
}

/// The proof that `kept` needs, a part of `leaves`, whose own proof is `proof`. Appends it, and returns the root.
pub fn narrow(
    start: usize,
    count: usize,
    leaves: Leaves<'_>,
    proof: &mut impl Iterator<Item = Digest>,
    kept: Leaves<'_>,
    out: &mut Vec<Digest>,
) -> Option<Digest> {
    match kept {
        [] => {
            let hash = root_from(start, count, leaves, proof)?;
            out.push(hash);
            Some(hash)
        }
        _ if count <= 1 => root_from(start, count, leaves, proof),
        _ => {
            let (left, in_left, in_right) = split(start, count, leaves);
            let (_, kept_left, kept_right) = split(start, count, kept);
            let first = narrow(start, left, in_left, proof, kept_left, out)?;
            Some(node(first, narrow(start + left, count - left, in_right, proof, kept_right, out)?))
        }
    }
}

/// The proof for the leaves of two parts of one tree taken together, each part with its own proof. Appends it.
pub fn unite(
    start: usize,
    count: usize,
    one: (Leaves<'_>, &mut impl Iterator<Item = Digest>),
    other: (Leaves<'_>, &mut impl Iterator<Item = Digest>),
    out: &mut Vec<Digest>,
) -> Option<Digest> {
    let ((mine, proof), (theirs, their_proof)) = (one, other);
    match (mine, theirs) {
        (_, []) => {
            their_proof.next()?;
            narrow(start, count, mine, proof, mine, out)
        }
        ([], _) => {
            proof.next()?;
            narrow(start, count, theirs, their_proof, theirs, out)
        }
        _ if count <= 1 => root_from(start, count, mine, proof),
        _ => {
            let (left, mine_left, mine_right) = split(start, count, mine);
            let (_, theirs_left, theirs_right) = split(start, count, theirs);
            let first = unite(start, left, (mine_left, proof), (theirs_left, their_proof), out)?;
            let (from, rest) = (start + left, count - left);
            Some(node(first, unite(from, rest, (mine_right, proof), (theirs_right, their_proof), out)?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(count: usize) -> Vec<(usize, Digest)> {
        (0..count).map(|index| (index, Digest::of(&[index as u8]))).collect()
    }

    fn some(count: usize, bits: usize) -> Vec<(usize, Digest)> {
        all(count).into_iter().filter(|(index, _)| bits >> index & 1 == 1).collect()
    }

    fn proof(count: usize, kept: Leaves<'_>) -> Vec<Digest> {
        let mut out = Vec::new();
        narrow(0, count, &all(count), &mut std::iter::empty(), kept, &mut out).expect("all leaves are at hand");
        out
    }

    #[test]
    fn any_part_of_a_tree_proves_its_root_and_parts_of_it_and_unions_too() {
        for count in 1..=6 {
            let leaves: Vec<Digest> = all(count).into_iter().map(|(_, leaf)| leaf).collect();
            let root = root(&leaves);
            for bits in 0..1 << count {
                let kept = some(count, bits);
                let proven = proof(count, &kept);
                assert_eq!(root_from(0, count, &kept, &mut proven.iter().copied()), Some(root));
                for other in 0..1 << count {
                    let (part, mut out) = (some(count, bits & other), Vec::new());
                    narrow(0, count, &kept, &mut proven.iter().copied(), &part, &mut out).expect("a part");
                    assert_eq!(out, proof(count, &part), "{count} leaves, {bits:b} narrowed to {other:b}");
                    let (theirs, mut out) = (some(count, other), Vec::new());
                    let their_proof = proof(count, &theirs);
                    let one = (&kept[..], &mut proven.iter().copied());
                    unite(0, count, one, (&theirs, &mut their_proof.iter().copied()), &mut out).expect("a union");
                    assert_eq!(out, proof(count, &some(count, bits | other)), "{count} leaves, {bits:b} and {other:b}");
                }
            }
        }
    }

    #[test]
    fn a_wrong_leaf_or_a_short_proof_proves_nothing() {
        let kept = some(5, 0b1_0010);
        let (proven, root) = (proof(5, &kept), root(&all(5).into_iter().map(|(_, leaf)| leaf).collect::<Vec<_>>()));
        assert_eq!(root_from(0, 5, &kept, &mut proven[1..].iter().copied()), None);
        let moved = vec![(0, kept[0].1), kept[1]];
        assert_ne!(root_from(0, 5, &moved, &mut proven.iter().copied()), Some(root));
        assert_eq!(root_from(0, 1, &[(0, kept[0].1), (0, kept[0].1)], &mut std::iter::empty()), None);
    }

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
