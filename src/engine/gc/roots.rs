//! What is in use: the registry of those who name blobs.

use artimesh_core::catalog::Versions;
use artimesh_core::model::Digest;
use artimesh_core::model::codec::DecodeError;
use artimesh_core::replica::{Want, rows};

use super::CollectError;
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
    (from, to): (&[u8], &[u8]),
    see: &mut dyn FnMut(&Digest) -> bool,
) -> Result<(), CollectError> {
    let mut from = from.to_vec();
    loop {
        let page = store.range(tree, &from, to, PAGE_ROWS)?;
        let is_last = page.len() < PAGE_ROWS;
        if let Some((last, _)) = page.last() {
            from = [last.as_slice(), &[0]].concat();
        }
        for (key, value) in page {
            let row = RowWrite { tree, key, value: Some(value) };
            let unreadable = |reason| CollectError::Unreadable { roots: roots.name(), reason };
            let named = roots.named_by(&row).unwrap_or_else(|| Ok(Vec::new())).map_err(unreadable)?;
            if !named.iter().all(&mut *see) {
                return Err(CollectError::Stopping);
            }
        }
        if is_last {
            return Ok(());
        }
    }
}
