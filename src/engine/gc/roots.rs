//! What is in use: the registry of those who name blobs.

use artimesh_core::catalog::{Version, Versions};
use artimesh_core::model::codec::DecodeError;
use artimesh_core::model::{Digest, NodeId};
use artimesh_core::replica::{Want, rows};

use super::CollectError;
use crate::engine::cache::{Places, Scope};
use crate::store::{RowWrite, Store, Tree};

/// Rows read at once.
const PAGE_ROWS: usize = 512;

/// Somebody who names blobs.
pub trait Roots: Send + Sync {
    /// What they are called where it is told why a blob stays.
    fn name(&self) -> &'static str;

    /// Calls `see` with every digest that they name; it answers `false` when it wants no more. What is written while this
    /// runs may be left out: the mind notes it.
    fn visit(&self, store: &Store, see: &mut dyn FnMut(&Digest) -> bool) -> Result<(), CollectError>;

    /// The same for one row that is being written; `None` when it is of another kind.
    fn named_by(&self, row: &RowWrite) -> Option<Result<Vec<Digest>, String>>;

    /// As [`Roots::visit`], without what is named only where bytes are a mere cache. Who knows nothing of caches needs all
    /// that it names.
    fn visit_needed(
        &self,
        store: &Store,
        _scope: &Scope,
        see: &mut dyn FnMut(&Digest) -> bool,
    ) -> Result<(), CollectError> {
        self.visit(store, see)
    }

    /// As [`Roots::named_by`], without the same.
    fn needed_by(&self, row: &RowWrite, _places: &Places) -> Option<Result<Vec<Digest>, String>> {
        self.named_by(row)
    }
}

/// All of them, in the order in which they are told: a blob is counted for the first that names it. At most eight.
pub(in crate::engine) fn all() -> Vec<Box<dyn Roots>> {
    vec![Box::new(LIVE), Box::new(PAST), Box::new(WANTED), Box::new(AGAIN)]
}

/// A blob, and who put the version that names it.
type Named = (Digest, NodeId);

/// What the key and value of a row name.
type Names = fn(&[u8], &[u8]) -> Result<Vec<Named>, DecodeError>;

/// Versions in the rows of a tree.
struct Kept {
    name: &'static str,
    tree: Tree,
    named: Names,
}

/// Live versions and their siblings.
const LIVE: Kept = Kept {
    name: "live",
    tree: Tree::Catalog,
    named: |_, value| rows::read::<Versions>(value).map(|versions| versions.iter().map(of_version).collect()),
};

/// Versions that ended, for as long as they can be restored.
const PAST: Kept = Kept {
    name: "history",
    tree: Tree::History,
    named: |key, value| {
        rows::historic(key, value).map(|past| past.iter().map(|past| of_version(&past.version)).collect())
    },
};

fn of_version(version: &Version) -> Named {
    (version.content.digest, version.dot.incarnation.node)
}

impl Kept {
    /// What a row names by those who `counts` says.
    fn by(&self, row: &RowWrite, counts: impl Fn(&NodeId) -> bool) -> Option<Result<Vec<Digest>, String>> {
        let value = row.value.as_ref().filter(|_| row.tree == self.tree)?;
        let named = (self.named)(&row.key, value).map_err(|error| error.to_string());
        let counted = |named: Vec<Named>| {
            named.into_iter().filter(|(_, author)| counts(author)).map(|(digest, _)| digest).collect()
        };
        Some(named.map(counted))
    }
}

impl Roots for Kept {
    fn name(&self) -> &'static str {
        self.name
    }

    fn visit(&self, store: &Store, see: &mut dyn FnMut(&Digest) -> bool) -> Result<(), CollectError> {
        visit(self, store, self.tree, (&[], &[u8::MAX; 34]), see)
    }

    fn named_by(&self, row: &RowWrite) -> Option<Result<Vec<Digest>, String>> {
        self.by(row, |_| true)
    }

    fn visit_needed(
        &self,
        store: &Store,
        scope: &Scope,
        see: &mut dyn FnMut(&Digest) -> bool,
    ) -> Result<(), CollectError> {
        visit_scope(self, store, self.tree, scope, see)
    }

    fn needed_by(&self, row: &RowWrite, places: &Places) -> Option<Result<Vec<Digest>, String>> {
        let is_cache = places.caches(&row.key);
        self.by(row, |author| !is_cache || *author == places.me)
    }
}

/// Rows of one prefix that name a blob each.
struct Listed {
    name: &'static str,
    prefix: &'static [u8],
    digest: fn(&[u8]) -> Result<Digest, DecodeError>,
}

/// Blobs that are to be fetched: one that arrives is in use at once.
const WANTED: Listed =
    Listed { name: "wanted", prefix: rows::WANTS, digest: |row| rows::read::<Want>(row).map(|want| want.digest) };

/// Versions of this node's own that it is to write again in another life.
const AGAIN: Listed = Listed {
    name: "to be written again",
    prefix: rows::AGAIN,
    digest: |row| rows::read::<rows::Unwritten>(row).map(|unwritten| unwritten.version.content.digest),
};

impl Roots for Listed {
    fn name(&self) -> &'static str {
        self.name
    }

    fn visit(&self, store: &Store, see: &mut dyn FnMut(&Digest) -> bool) -> Result<(), CollectError> {
        visit(self, store, Tree::Meta, (self.prefix, &rows::end_of(self.prefix)), see)
    }

    fn named_by(&self, row: &RowWrite) -> Option<Result<Vec<Digest>, String>> {
        let is_listed = row.tree == Tree::Meta && row.key.starts_with(self.prefix);
        let value = row.value.as_ref().filter(|_| is_listed)?;
        Some((self.digest)(value).map(|digest| vec![digest]).map_err(|error| error.to_string()))
    }
}

fn visit(
    roots: &dyn Roots,
    store: &Store,
    tree: Tree,
    range: (&[u8], &[u8]),
    see: &mut dyn FnMut(&Digest) -> bool,
) -> Result<(), CollectError> {
    visit_rows(store, tree, range, &mut |row| see_all(roots, roots.named_by(row), see))
}

/// Goes through the ranges of a tree in which something may be more than cached.
fn visit_scope(
    roots: &dyn Roots,
    store: &Store,
    tree: Tree,
    scope: &Scope,
    see: &mut dyn FnMut(&Digest) -> bool,
) -> Result<(), CollectError> {
    for (from, to) in &scope.ranges {
        let mut look = |row: &RowWrite| see_all(roots, roots.needed_by(row, &scope.places), see);
        visit_rows(store, tree, (from, to), &mut look)?;
    }
    Ok(())
}

/// Shows what a row names; an error when it can't be read, or nobody wants more.
fn see_all(
    roots: &dyn Roots,
    named: Option<Result<Vec<Digest>, String>>,
    see: &mut dyn FnMut(&Digest) -> bool,
) -> Result<(), CollectError> {
    let unreadable = |reason| CollectError::Unreadable { roots: roots.name(), reason };
    let named = named.unwrap_or_else(|| Ok(Vec::new())).map_err(unreadable)?;
    if named.iter().all(see) { Ok(()) } else { Err(CollectError::Stopping) }
}

/// Goes through the rows of a range, a page at a time. Blocks.
pub fn visit_rows(
    store: &Store,
    tree: Tree,
    (from, to): (&[u8], &[u8]),
    look: &mut dyn FnMut(&RowWrite) -> Result<(), CollectError>,
) -> Result<(), CollectError> {
    let mut from = from.to_vec();
    loop {
        let page = store.range(tree, &from, to, PAGE_ROWS)?;
        let is_last = page.len() < PAGE_ROWS;
        if let Some((last, _)) = page.last() {
            from = [last.as_slice(), &[0]].concat();
        }
        for (key, value) in page {
            look(&RowWrite { tree, key, value: Some(value) })?;
        }
        if is_last {
            return Ok(());
        }
    }
}
