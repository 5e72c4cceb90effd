//! Rows at rest: a map in memory, or a store in a folder.

use std::collections::BTreeMap;
use std::ops::Bound;

use artimesh::engine::StoreView;
use artimesh::store::{Batch, Priority, RowWrite, Store, Tree};
use artimesh_core::model::Digest;
use artimesh_core::replica::{KeyValue, Page, Row, Table, View, ViewFault};

pub enum Rows {
    Memory(BTreeMap<(Table, Vec<u8>), Vec<u8>>),
    Stored(Store, StoreView),
}

impl Rows {
    pub fn stored(store: Store) -> Rows {
        Rows::Stored(store.clone(), StoreView::of(store))
    }

    /// Durable when it returns, if there is a disk.
    pub async fn persist(&mut self, rows: Vec<Row>) {
        match self {
            Rows::Memory(map) => {
                for Row { table, key, value } in rows {
                    match value {
                        Some(value) => drop(map.insert((table, key), value)),
                        None => drop(map.remove(&(table, key))),
                    }
                }
            }
            Rows::Stored(store, _) => {
                let rows = rows.into_iter().map(write).collect();
                let batch = Batch { rows, priority: Priority::Vital, ..Batch::default() };
                store.commit(batch).await.expect("room on the disk");
            }
        }
    }
}

fn write(row: Row) -> RowWrite {
    let tree = match row.table {
        Table::Meta => Tree::Meta,
        Table::Catalog => Tree::Catalog,
        Table::Log => Tree::Log,
        Table::History => Tree::History,
        Table::Trie => Tree::Trie,
    };
    RowWrite { tree, key: row.key, value: row.value }
}

/// Blobs are no part of this: all are said to be here, so that none is wanted.
impl View for Rows {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, ViewFault> {
        match self {
            Rows::Memory(map) => Ok(map.get(&(table, key.to_vec())).cloned()),
            Rows::Stored(_, view) => view.get(table, key),
        }
    }

    fn range(&self, table: Table, from: &[u8], to: &[u8], limit: usize) -> Result<Page, ViewFault> {
        match self {
            Rows::Memory(map) => {
                let rows = map.range((table, from.to_vec())..(table, to.to_vec())).take(limit);
                Ok(rows.map(|((_, key), value)| (key.clone(), value.clone())).collect())
            }
            Rows::Stored(_, view) => view.range(table, from, to, limit),
        }
    }

    fn last(&self, table: Table, from: &[u8], to: &[u8]) -> Result<Option<KeyValue>, ViewFault> {
        match self {
            Rows::Memory(map) => {
                let within = (Bound::Included((table, from.to_vec())), Bound::Excluded((table, to.to_vec())));
                Ok(map.range(within).next_back().map(|((_, key), value)| (key.clone(), value.clone())))
            }
            Rows::Stored(_, view) => view.last(table, from, to),
        }
    }

    fn has_blob(&self, _: &Digest) -> Result<bool, ViewFault> {
        Ok(true)
    }
}
