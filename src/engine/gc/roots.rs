//! What is in use: the registry of those who name blobs.

use artimesh_core::catalog::{Historic, Version, Versions};
use artimesh_core::model::Digest;
use artimesh_core::model::codec::DecodeError;
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
    vec![Box::new(Live), Box::new(Past), Box::new(WANTED), Box::new(AGAIN)]
}

/// Live versions and their siblings.
struct Live;

impl Roots for Live {
    fn name(&self) -> &'static str {
        "live"
    }

    fn visit(&self, store: &Store, see: &mut dyn FnMut(&Digest) -> bool) -> Result<(), CollectError> {
        visit(self, store, Tree::Catalog, (&[], &[u8::MAX; 34]), see)
    }

    fn named_by(&self, row: &RowWrite) -> Option<Result<Vec<Digest>, String>> {
        let value = row.value.as_ref().filter(|_| row.tree == Tree::Catalog)?;
        let versions = rows::read::<Versions>(value).map_err(|error| error.to_string());
        Some(versions.map(|versions| versions.iter().map(|version| version.content.digest).collect()))
    }

    fn visit_needed(
        &self,
        store: &Store,
        scope: &Scope,
        see: &mut dyn FnMut(&Digest) -> bool,
    ) -> Result<(), CollectError> {
        visit_scope(self, store, Tree::Catalog, scope, see)
    }

    fn needed_by(&self, row: &RowWrite, places: &Places) -> Option<Result<Vec<Digest>, String>> {
        if !places.caches(&row.key) {
            return self.named_by(row);
        }
        let value = row.value.as_ref().filter(|_| row.tree == Tree::Catalog)?;
        let versions = rows::read::<Versions>(value).map_err(|error| error.to_string());
        let is_own = |version: &&Version| version.dot.incarnation.node == places.me;
        Some(versions.map(|versions| versions.iter().filter(is_own).map(|version| version.content.digest).collect()))
    }
}

/// Versions that ended, for as long as they can be restored.
struct Past;

impl Roots for Past {
    fn name(&self) -> &'static str {
        "history"
    }

    fn visit(&self, store: &Store, see: &mut dyn FnMut(&Digest) -> bool) -> Result<(), CollectError> {
        visit(self, store, Tree::History, (&[], &[u8::MAX; 34]), see)
    }

    fn named_by(&self, row: &RowWrite) -> Option<Result<Vec<Digest>, String>> {
        let value = row.value.as_ref().filter(|_| row.tree == Tree::History)?;
        let historic = rows::historic(&row.key, value).map_err(|error| error.to_string());
        Some(historic.map(|historic| historic.into_iter().map(|past| past.version.content.digest).collect()))
    }

    fn visit_needed(
        &self,
        store: &Store,
        scope: &Scope,
        see: &mut dyn FnMut(&Digest) -> bool,
    ) -> Result<(), CollectError> {
        visit_scope(self, store, Tree::History, scope, see)
    }

    fn needed_by(&self, row: &RowWrite, places: &Places) -> Option<Result<Vec<Digest>, String>> {
        if !places.caches(&row.key) {
            return self.named_by(row);
        }
        let value = row.value.as_ref().filter(|_| row.tree == Tree::History)?;
        let historic = rows::historic(&row.key, value).map_err(|error| error.to_string());
        let is_own = |past: &Historic| past.version.dot.incarnation.node == places.me;
        Some(historic.map(|past| past.filter(is_own).map(|past| past.version.content.digest).into_iter().collect()))
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
