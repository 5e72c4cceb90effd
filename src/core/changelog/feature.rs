//! Feature levels: which kinds of entries came after the first version, and the bit by which a node says that it knows one.
//!
//! # Why
//! An entry that some member can't read holds up its author's log there until that member is upgraded. So nobody
//! writes such an entry before all members have said that they know its kind.

use super::change::kind;

/// What a later version added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Feature {
    /// One bit of the mask that a node announces.
    pub bit: u64,
    /// For people.
    pub name: &'static str,
}

/// The one table: entry kind → feature. Kinds that aren't in it are of the first version.
const KINDS: [(u16, Feature); 6] = [
    (kind::PROPERTIES, Feature { bit: 1, name: "properties that change after the put" }),
    (kind::DELETE_PREFIX, Feature { bit: 1 << 1, name: "deletes of whole folders" }),
    (kind::CONFIGURE, Feature { bit: 1 << 2, name: "configuration that changes" }),
    (kind::REBORN, Feature { bit: 1 << 3, name: "repair of forked logs" }),
    (kind::REMOVE, Feature { bit: 1 << 4, name: "removal of members" }),
    (kind::FOLDER, Feature { bit: 1 << 5, name: "folders with nothing in them" }),
];

/// All that this version knows.
pub const FEATURES: u64 = (1 << KINDS.len()) - 1;

/// What a node must know to read entries of `kind`; `None` when every version does, or none yet.
pub fn feature_of(kind: u16) -> Option<Feature> {
    KINDS.iter().find(|(known, _)| *known == kind).map(|(_, feature)| *feature)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_has_a_bit_of_its_own() {
        let all = KINDS.iter().fold(0, |mask, (_, feature)| {
            assert_eq!(feature.bit.count_ones(), 1);
            assert_eq!(mask & feature.bit, 0);
            mask | feature.bit
        });
        assert_eq!(all, FEATURES);
    }
}
