//! Keys that are derived from rows and blobs, so that these can be found by what they hold.
//!
//! What is derived is the opener's to say ([`Derivation`]). It is no data: it is in no pack, nobody writes it, and an index
//! that is built anew has it again.
//!
//! # Why
//! - **New keys are shown with the row they come from; former ones go when the row reaches the index**, by the thread that
//!   brings it there, which looks up what was there before. So a commit looks up nothing, and a key may be found a little
//!   longer than its row has what it says. Whoever finds one looks at the row in any case.
//! - **An index says by which rules it was derived**: one that was kept by others, or by a release that derived nothing, is
//!   built anew.

use std::collections::HashMap;

use artimesh_core::model::Digest;
use bytes::Bytes;

use super::batch::Tree;
use super::error::IndexError;
use super::index::IndexRow;
use super::reader::BlobInfo;
use super::shared::Shared;
use super::value::{BlobEntry, Table};

/// The rules.
#[derive(Debug, Clone, Copy)]
pub struct Derivation {
    /// Of the rules; at least 1. Whoever changes them counts on.
    pub version: u32,
    /// The tree that rows are derived from.
    pub tree: Tree,
    /// Adds the keys that come from a row's key and value. What it doesn't understand has none.
    pub of_row: fn(&[u8], &[u8], &mut Vec<Vec<u8>>),
    /// Adds the keys that come from a blob.
    pub of_blob: fn(&Digest, &BlobInfo, &mut Vec<Vec<u8>>),
}

impl Derivation {
    /// 0 for none.
    pub(super) fn version(derivation: Option<Derivation>) -> u32 {
        derivation.map_or(0, |derivation| derivation.version)
    }

    /// Whether anything comes from the rows of a tree.
    pub(super) fn reads(&self, tree: Tree) -> bool {
        self.tree == tree
    }

    /// Adds what comes from a row.
    pub(super) fn append(&self, tree: Tree, key: &[u8], value: &[u8], rows: &mut Vec<IndexRow>) {
        if self.reads(tree) {
            rows.extend(self.keys_of_row(key, value).into_iter().map(|key| row(key, Some(Bytes::new()))));
        }
    }

    /// Adds what comes from a blob.
    pub(super) fn append_blob(&self, digest: &Digest, entry: &BlobEntry, rows: &mut Vec<IndexRow>) {
        rows.extend(self.keys_of_blob(digest, entry).into_iter().map(|key| row(key, Some(Bytes::new()))));
    }

    fn keys_of_row(&self, key: &[u8], value: &[u8]) -> Vec<Vec<u8>> {
        let mut keys = Vec::new();
        (self.of_row)(key, value, &mut keys);
        keys
    }

    fn keys_of_blob(&self, digest: &Digest, entry: &BlobEntry) -> Vec<Vec<u8>> {
        let mut keys = Vec::new();
        (self.of_blob)(digest, &BlobInfo::of(entry), &mut keys);
        keys
    }

    /// What came from the value that a row of the index had.
    fn former(&self, shared: &Shared, row: &IndexRow, value: &[u8]) -> Vec<Vec<u8>> {
        match row.table {
            Table::Blobs => {
                let digest = row.key.as_ref().try_into().ok().map(Digest);
                digest
                    .zip(BlobEntry::decode(value))
                    .map_or(Vec::new(), |(digest, entry)| self.keys_of_blob(&digest, &entry))
            }
            // One that can't be read any more leaves keys behind that nobody minds.
            _ => match shared.resolve(value) {
                Ok(Some(value)) => self.keys_of_row(&row.key, &value),
                _ => Vec::new(),
            },
        }
    }
}

fn row(key: Vec<u8>, value: Option<Bytes>) -> IndexRow {
    IndexRow { table: Table::Find, key: key.into(), value }
}

/// Rows for the index, each behind the end of what was derived from its former value. What comes from the new one follows
/// them already.
pub(super) fn without_former(
    shared: &Shared,
    derivation: Derivation,
    rows: Vec<IndexRow>,
) -> Result<Vec<IndexRow>, IndexError> {
    let mut all = Vec::with_capacity(rows.len());
    let mut written: HashMap<(Table, Bytes), Option<Bytes>> = HashMap::new();
    for written_row in rows {
        let is_blob = written_row.table == Table::Blobs;
        if is_blob || written_row.table.tree().is_some_and(|tree| derivation.reads(tree)) {
            let place = (written_row.table, written_row.key.clone());
            let former = match written.get(&place) {
                // A blob's sums don't change once anything is derived from them.
                _ if is_blob && written_row.value.is_some() => None,
                Some(former) => former.clone(),
                None => shared.index.get(written_row.table, &written_row.key)?.map(Bytes::from),
            };
            if let Some(former) = former.filter(|former| written_row.value.as_ref() != Some(former)) {
                let keys = derivation.former(shared, &written_row, &former);
                all.extend(keys.into_iter().map(|key| row(key, None)));
            }
            written.insert(place, written_row.value.clone());
        }
        all.push(written_row);
    }
    Ok(all)
}
