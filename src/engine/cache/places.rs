//! Where what is fetched is a mere cache, and what of it is pinned.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use artimesh_core::model::{ArtifactPath, NodeId, RepoKey, Space};
use artimesh_core::replica::{Placement, Repository, rows};

use crate::store::{ReadError, Store, Tree};

/// The first bytes of a row's key: its space.
pub type SpaceKey = [u8; 33];

/// A repository, or what is below a path of it, that stays once it is here.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Pin {
    /// The repository.
    pub repo: RepoKey,
    /// A file or folder in it; `None`: all.
    pub prefix: Option<ArtifactPath>,
}

/// What a pin means for rows of the catalog.
#[derive(Clone, PartialEq, Eq, Debug)]
struct PinnedRows {
    /// The key of the file itself, or the start of all keys of the repository.
    key: Vec<u8>,
    is_all: bool,
}

/// Which repositories keep only what was read, and what is pinned, as of one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Places {
    /// This node: what it wrote itself is never a mere cache.
    pub me: NodeId,
    on_demand: BTreeSet<SpaceKey>,
    pinned: Vec<PinnedRows>,
}

/// What has to be gone through to find all that is more than cached.
pub struct Scope {
    /// Where it isn't.
    pub places: Arc<Places>,
    /// Ranges of the catalog, and of the history; what is left out are repositories that keep only what was read and in
    /// which this node never wrote.
    pub ranges: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Places {
    /// As repositories (by folded key) and pins tell.
    pub fn of(me: NodeId, repositories: &BTreeMap<String, Repository>, pins: &BTreeSet<Pin>) -> Places {
        let shown = || repositories.values();
        let mut on_demand: BTreeSet<SpaceKey> =
            shown().filter(|shown| shown.placement == Placement::OnDemand).map(|shown| shown.space.key()).collect();
        let mirrored = shown().filter(|shown| shown.placement == Placement::Mirror).map(|shown| shown.space.key());
        for space in mirrored {
            on_demand.remove(&space);
        }
        let rows_of = |pin: &Pin| {
            let space = repositories.get(&pin.repo.folded())?.space;
            let path = pin.prefix.as_ref().map_or("", |prefix| prefix.as_str().trim_end_matches('/'));
            Some(PinnedRows { key: rows::catalog_prefix(&space, path), is_all: path.is_empty() })
        };
        Places { me, on_demand, pinned: pins.iter().filter_map(rows_of).collect() }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.on_demand.is_empty()
    }

    /// Whether what a row of the catalog or the history names is a mere cache, as far as that row goes.
    pub fn caches(&self, key: &[u8]) -> bool {
        key.first_chunk::<33>().is_some_and(|space| self.on_demand.contains(space))
    }

    /// Whether what is fetched within a space is a mere cache.
    pub fn caches_in(&self, space: &Space) -> bool {
        self.on_demand.contains(&space.key())
    }

    /// The spaces in which it is.
    pub fn spaces(&self) -> impl Iterator<Item = &SpaceKey> {
        self.on_demand.iter()
    }

    /// Whether a row of the catalog is pinned.
    pub fn pins(&self, key: &[u8]) -> bool {
        let covers = |pinned: &PinnedRows| match key.strip_prefix(pinned.key.as_slice()) {
            Some(rest) => pinned.is_all || rest.is_empty() || rest.starts_with(b"/"),
            None => false,
        };
        self.pinned.iter().any(covers)
    }

    /// The ranges of the catalog in which rows are pinned; not all that is in them is.
    pub fn pinned_ranges(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.pinned.iter().map(|pinned| (pinned.key.clone(), rows::end_of(&pinned.key))).collect()
    }
}

impl Scope {
    /// Of these places. Blocks for one look-up a space.
    pub fn of(places: Arc<Places>, store: &Store) -> Result<Scope, ReadError> {
        let mut ranges = Vec::new();
        let mut from = Vec::new();
        for space in places.spaces() {
            let own = [rows::HEADS, space, &places.me.0].concat();
            if store.range(Tree::Meta, &own, &rows::end_of(&own), 1)?.is_empty() {
                ranges.push((std::mem::replace(&mut from, rows::end_of(space)), space.to_vec()));
            }
        }
        ranges.push((from, vec![u8::MAX; 34]));
        Ok(Scope { places, ranges })
    }
}

#[cfg(test)]
mod tests {
    use artimesh_core::clock::Timestamp;
    use artimesh_core::model::FederationId;

    use super::*;

    fn space(seed: u8) -> Space {
        Space::Federation(FederationId([seed; 32]))
    }

    fn repositories(shown: &[(&str, u8, Placement)]) -> BTreeMap<String, Repository> {
        let repository = |(key, seed, placement): &(&str, u8, Placement)| {
            let key: RepoKey = key.parse().unwrap();
            (key.folded(), Repository { key, space: space(*seed), placement: *placement, created: Timestamp(0) })
        };
        shown.iter().map(repository).collect()
    }

    fn pin(repo: &str, prefix: Option<&str>) -> Pin {
        Pin { repo: repo.parse().unwrap(), prefix: prefix.map(|prefix| prefix.parse().unwrap()) }
    }

    #[test]
    fn what_is_mirrored_under_any_key_or_not_shown_is_no_cache() {
        let shown = [
            ("a", 1, Placement::OnDemand),
            ("b", 2, Placement::Mirror),
            ("c", 1, Placement::Mirror),
            ("d", 3, Placement::OnDemand),
        ];
        let places = Places::of(NodeId([9; 32]), &repositories(&shown), &BTreeSet::new());
        let key = |seed| rows::catalog_prefix(&space(seed), "x");
        assert!(
            !places.caches(&key(1)) && !places.caches(&key(2)) && places.caches(&key(3)) && !places.caches(&key(4))
        );
        assert!(!places.caches(b"short") && places.caches_in(&space(3)) && !places.is_empty());
    }

    #[test]
    fn a_pin_covers_a_file_a_folder_or_all_and_nothing_beside_it() {
        let shown = [("a", 1, Placement::OnDemand), ("b", 2, Placement::OnDemand)];
        let pins = BTreeSet::from([pin("A", Some("x/y")), pin("b", None), pin("gone", None)]);
        let places = Places::of(NodeId([9; 32]), &repositories(&shown), &pins);
        let is_pinned = |seed, path: &str| places.pins(&rows::catalog_prefix(&space(seed), path));
        for path in ["x/y", "x/y/z", "x/y/z/w"] {
            assert!(is_pinned(1, path), "{path}");
        }
        for path in ["x", "x/z", "x/yz", "x/y.jar"] {
            assert!(!is_pinned(1, path), "{path}");
        }
        assert!(is_pinned(2, "anything") && !is_pinned(3, "x/y"));
        assert_eq!(places.pinned_ranges().len(), 2);
    }
}
