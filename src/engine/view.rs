//! The store as the replica sees it.

use artimesh_core::model::Digest;
use artimesh_core::replica::{KeyValue, Page, Row, Table, View, ViewFault};

use crate::store::{RowWrite, Store, Tree};

/// Rows at rest, as of all commits so far.
#[derive(Clone)]
pub struct StoreView(pub(super) Store);

impl StoreView {
    /// The rows of `store`.
    pub fn of(store: Store) -> StoreView {
        StoreView(store)
    }
}

pub(super) fn tree(table: Table) -> Tree {
    match table {
        Table::Meta => Tree::Meta,
        Table::Catalog => Tree::Catalog,
        Table::Log => Tree::Log,
        Table::History => Tree::History,
        Table::Trie => Tree::Trie,
    }
}

pub(super) fn row_write(row: Row) -> RowWrite {
    RowWrite { tree: tree(row.table), key: row.key, value: row.value }
}

impl View for StoreView {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, ViewFault> {
        self.0.get(tree(table), key).map_err(|error| ViewFault(error.to_string()))
    }

    fn range(&self, table: Table, from: &[u8], to: &[u8], limit: usize) -> Result<Page, ViewFault> {
        self.0.range(tree(table), from, to, limit).map_err(|error| ViewFault(error.to_string()))
    }

    fn last(&self, table: Table, from: &[u8], to: &[u8]) -> Result<Option<KeyValue>, ViewFault> {
        self.0.last(tree(table), from, to).map_err(|error| ViewFault(error.to_string()))
    }

    fn has_blob(&self, digest: &Digest) -> Result<bool, ViewFault> {
        self.0.blob(digest).map(|blob| blob.is_some()).map_err(|error| ViewFault(error.to_string()))
    }
}

/// The rows as the mind shows them to the replica. Where there are several federations, no blob counts as here: it may be
/// so through another one only, and the replica then lists it as wanted. The mirror takes off the list what is here
/// rightly.
pub(super) struct MindView<'a> {
    pub(super) rows: &'a StoreView,
    /// Whether there is but one federation, so that what is here is here through it.
    pub(super) is_of_one: bool,
}

impl View for MindView<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, ViewFault> {
        self.rows.get(table, key)
    }

    fn range(&self, table: Table, from: &[u8], to: &[u8], limit: usize) -> Result<Page, ViewFault> {
        self.rows.range(table, from, to, limit)
    }

    fn last(&self, table: Table, from: &[u8], to: &[u8]) -> Result<Option<KeyValue>, ViewFault> {
        self.rows.last(table, from, to)
    }

    fn has_blob(&self, digest: &Digest) -> Result<bool, ViewFault> {
        Ok(self.is_of_one && self.rows.has_blob(digest)?)
    }
}
