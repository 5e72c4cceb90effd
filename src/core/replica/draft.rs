//! Row writes being prepared: read through to the view, so that one input can build on its own rows.

use std::collections::BTreeMap;

use super::io::{Page, Row, Table, View, ViewFault};
use crate::catalog::Versions;
use crate::model::{ArtifactPath, Digest, Space};

use super::rows;

type Slot = (Table, Vec<u8>);

pub(super) struct Draft<'a, V> {
    view: &'a V,
    rows: BTreeMap<Slot, Option<Vec<u8>>>,
    /// What each write since the last mark replaced, newest last.
    undo: Vec<(Slot, Option<Option<Vec<u8>>>)>,
}

impl<'a, V: View> Draft<'a, V> {
    pub(super) fn new(view: &'a V) -> Self {
        Draft { view, rows: BTreeMap::new(), undo: Vec::new() }
    }

    pub(super) fn view(&self) -> &'a V {
        self.view
    }

    /// From here on, [`Draft::roll_back`] returns to here.
    pub(super) fn mark(&mut self) {
        self.undo.clear();
    }

    pub(super) fn roll_back(&mut self) {
        while let Some((slot, before)) = self.undo.pop() {
            match before {
                Some(value) => self.rows.insert(slot, value),
                None => self.rows.remove(&slot),
            };
        }
    }

    fn write(&mut self, slot: Slot, value: Option<Vec<u8>>) {
        let before = self.rows.insert(slot.clone(), value);
        self.undo.push((slot, before));
    }

    pub(super) fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, ViewFault> {
        match self.rows.get(&(table, key.to_vec())) {
            Some(written) => Ok(written.clone()),
            None => self.view.get(table, key),
        }
    }

    /// Up to `limit` rows with `from <= key < to`, in order, those written here included.
    pub(super) fn range(&self, table: Table, from: &[u8], to: &[u8], limit: usize) -> Result<Page, ViewFault> {
        let (mut from, mut merged) = (from.to_vec(), Page::new());
        while merged.len() < limit && from.as_slice() < to {
            let page = self.view.range(table, &from, to, limit)?;
            let next = page.last().filter(|_| page.len() == limit).map(|(last, _)| [last.as_slice(), &[0]].concat());
            let end = next.unwrap_or_else(|| to.to_vec());
            let mut rows: BTreeMap<Vec<u8>, Vec<u8>> = page.into_iter().collect();
            for ((_, key), value) in self.rows.range((table, from)..(table, end.clone())) {
                match value {
                    Some(value) => rows.insert(key.clone(), value.clone()),
                    None => rows.remove(key),
                };
            }
            merged.extend(rows);
            from = end;
        }
        merged.truncate(limit);
        Ok(merged)
    }

    pub(super) fn has_blob(&self, digest: &Digest) -> Result<bool, ViewFault> {
        self.view.has_blob(digest)
    }

    pub(super) fn set<T: rows::Stored>(&mut self, table: Table, key: Vec<u8>, value: &T) {
        self.set_bytes(table, key, rows::write(value));
    }

    pub(super) fn set_bytes(&mut self, table: Table, key: Vec<u8>, value: Vec<u8>) {
        self.write((table, key), Some(value));
    }

    pub(super) fn remove(&mut self, table: Table, key: Vec<u8>) {
        self.write((table, key), None);
    }

    pub(super) fn versions(&self, space: &Space, path: &ArtifactPath) -> Result<Versions, ViewFault> {
        let key = rows::catalog_key(space, path);
        self.get(Table::Catalog, &key)?.map_or(Ok(Versions::default()), |value| stored(&value))
    }

    /// Makes `after` the versions of a path that has had `before`.
    pub(super) fn set_versions(&mut self, space: &Space, path: &ArtifactPath, before: &Versions, after: &Versions) {
        if before == after {
            return;
        }
        let key = rows::catalog_key(space, path);
        if after.is_empty() {
            self.remove(Table::Catalog, key);
        } else {
            self.set(Table::Catalog, key, after);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn into_rows(self) -> Vec<Row> {
        self.rows.into_iter().map(|((table, key), value)| Row { table, key, value }).collect()
    }
}

/// A row of our own that doesn't decode is a fault of the store.
pub(super) fn stored<T: rows::Stored>(value: &[u8]) -> Result<T, ViewFault> {
    rows::read(value).map_err(|error| ViewFault(error.to_string()))
}
