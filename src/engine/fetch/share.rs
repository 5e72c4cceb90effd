//! Who of several that fetch the same blob takes which groups from the one that has it, and who after it should it not do
//! so, without a word between them: highest random weight ("rendezvous hashing", Thaler and Ravishankar 1998).

use artimesh_core::model::NodeId;

use super::bits::Bits;

/// How a node shares a blob with others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Share {
    /// For each group how many others come before this node: 0 is its own share; those with 1 are its own should the first
    /// not bring them, and so on.
    ranks: Vec<u8>,
    sharers: u8,
}

impl Share {
    /// The share of `me` in a blob of `count` groups; `None` when nobody else fetches it.
    pub fn of(me: &NodeId, others: &[NodeId], count: u32) -> Option<Share> {
        if others.is_empty() {
            return None;
        }
        // More than these never fetch one blob at once; if they do, the rest is anybody's.
        let most = usize::from(u8::MAX) - 1;
        let (own, others) = (seed(me), others.iter().take(most).map(seed).collect::<Vec<u64>>());
        let rank = |index: u32| {
            let own = weight(own, index);
            others.iter().filter(|other| weight(**other, index) > own).count() as u8
        };
        Some(Share { ranks: (0..count).map(rank).collect(), sharers: others.len() as u8 + 1 })
    }

    /// Of two; these groups are its own.
    #[cfg(test)]
    pub fn of_two(own: &Bits, count: u32) -> Share {
        Share { ranks: (0..count).map(|index| u8::from(!own.has(index))).collect(), sharers: 2 }
    }

    /// How many share it.
    pub fn sharers(&self) -> u8 {
        self.sharers
    }

    /// The groups that fewer than `reach` others come before this node for.
    pub fn within(&self, reach: u8) -> Bits {
        let mut groups = Bits::none(self.ranks.len() as u32);
        for (index, _) in (0..).zip(&self.ranks).filter(|(_, rank)| **rank < reach) {
            groups.set(index);
        }
        groups
    }
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
    fn each_group_is_in_one_share_of_each_rank_and_shares_are_about_equal() {
        let nodes: Vec<NodeId> = (0..8).map(node).collect();
        let shares: Vec<Share> = nodes
            .iter()
            .map(|me| {
                let others: Vec<NodeId> = nodes.iter().filter(|other| *other != me).copied().collect();
                Share::of(me, &others, 1000).unwrap()
            })
            .collect();
        for reach in 1..=8 {
            let within: Vec<Bits> = shares.iter().map(|share| share.within(reach)).collect();
            for index in 0..1000 {
                assert_eq!(within.iter().filter(|bits| bits.has(index)).count(), usize::from(reach), "group {index}");
            }
        }
        assert!(shares.iter().all(|share| (80..170).contains(&share.within(1).count()) && share.sharers() == 8));
        assert_eq!(Share::of(&nodes[0], &[], 1000), None);
    }
}
