//! What has been applied: per incarnation a contiguous prefix of its log.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Digest, Dot, Incarnation};

/// The last applied sequence of one log, and the hash of the segment header that ended there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Head {
    /// From 1; 0 stands for nothing yet.
    pub sequence: u64,
    /// The chain hash (`changelog::header_hash`) of the segment that ends with `sequence`.
    pub chain: Digest,
}

impl Head {
    /// Before the first segment.
    pub const NONE: Head = Head { sequence: 0, chain: Digest::ZERO };
}

/// Incarnation → last applied sequence and chain hash, kept for ever: the memory of deletes (a version vector).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Heads(pub BTreeMap<Incarnation, Head>);

impl Heads {
    /// What is applied of one log.
    pub fn of(&self, incarnation: &Incarnation) -> Head {
        self.0.get(incarnation).copied().unwrap_or(Head::NONE)
    }

    /// Whether the entry `dot` has been applied.
    pub fn cover(&self, dot: &Dot) -> bool {
        self.of(&dot.incarnation).sequence >= dot.sequence
    }

    /// Whether everything that `context` names has been applied.
    pub fn cover_context(&self, context: &Context) -> bool {
        context.0.iter().all(|(incarnation, sequence)| self.of(incarnation).sequence >= *sequence)
    }

    /// The sequences alone.
    pub fn to_context(&self) -> Context {
        Context(self.0.iter().map(|(incarnation, head)| (*incarnation, head.sequence)).collect())
    }
}

/// Incarnation → sequence: what an author had applied when it wrote.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Context(pub BTreeMap<Incarnation, u64>);

impl Context {
    /// Whether the author had applied the entry `dot`.
    pub fn cover(&self, dot: &Dot) -> bool {
        self.0.get(&dot.incarnation).is_some_and(|sequence| *sequence >= dot.sequence)
    }

    /// What must be merged into `earlier` to give `self`; contexts of one author only grow.
    pub fn since(&self, earlier: &Context) -> Context {
        let grown = |(incarnation, sequence): &(&Incarnation, &u64)| earlier.0.get(incarnation) != Some(*sequence);
        Context(self.0.iter().filter(grown).map(|(i, s)| (*i, *s)).collect())
    }

    /// Takes over all that `other` has more.
    pub fn merge(&mut self, other: &Context) {
        for (incarnation, sequence) in &other.0 {
            let mine = self.0.entry(*incarnation).or_default();
            *mine = (*mine).max(*sequence);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::NodeId;

    #[test]
    fn a_difference_merged_gives_the_whole_again() {
        let at = |n: u8| Incarnation { node: NodeId([n; 32]), number: 1 };
        let earlier = Context(BTreeMap::from([(at(1), 3), (at(2), 5)]));
        let later = Context(BTreeMap::from([(at(1), 3), (at(2), 6), (at(3), 1)]));
        let difference = later.since(&earlier);
        assert_eq!(difference.0.len(), 2);
        let mut merged = earlier;
        merged.merge(&difference);
        assert_eq!(merged, later);
    }
}
