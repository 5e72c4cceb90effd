//! Who of several that fetch the same blob takes which groups from the one that has it, without a word between them:
//! highest random weight ("rendezvous hashing", Thaler and Ravishankar 1998).

use artimesh_core::model::NodeId;

use super::bits::Bits;

/// The share of `me` in a blob of `count` groups; `None` when nobody else fetches it.
pub(super) fn of(me: &NodeId, others: &[NodeId], count: u32) -> Option<Bits> {
    if others.is_empty() {
        return None;
    }
    let (own, others) = (seed(me), others.iter().map(seed).collect::<Vec<u64>>());
    let mut share = Bits::none(count);
    for index in 0..count {
        let weight = weight(own, index);
        if others.iter().all(|other| weight > self::weight(*other, index)) {
            share.set(index);
        }
    }
    Some(share)
}

/// A node's id is a hash: any part of it will do.
fn seed(node: &NodeId) -> u64 {
    let bytes = node.0.first_chunk().copied().unwrap_or_default();
    u64::from_le_bytes(bytes)
}

/// The finaliser of SplitMix64.
fn weight(seed: u64, index: u32) -> u64 {
    let mut z = seed ^ u64::from(index).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use artimesh_core::model::Digest;

    use super::*;

    fn node(name: u8) -> NodeId {
        NodeId(Digest::of(&[name]).0)
    }

    #[test]
    fn each_group_is_in_one_share_and_shares_are_about_equal() {
        let nodes: Vec<NodeId> = (0..8).map(node).collect();
        let shares: Vec<Bits> = nodes
            .iter()
            .map(|me| {
                let others: Vec<NodeId> = nodes.iter().filter(|other| *other != me).copied().collect();
                of(me, &others, 1000).unwrap()
            })
            .collect();
        for index in 0..1000 {
            assert_eq!(shares.iter().filter(|share| share.has(index)).count(), 1, "group {index}");
        }
        assert!(shares.iter().all(|share| (80..170).contains(&share.count())));
        assert_eq!(of(&nodes[0], &[], 1000), None);
    }
}
