//! Row writes being prepared: read through to the view, so that one input can build on its own rows.

use std::collections::{BTreeMap, BTreeSet};

use super::io::{KeyValue, Page, Row, Table, View, ViewFault};
use super::{rows, trie};
use crate::catalog::Versions;
use crate::model::{ArtifactPath, Digest, Space};

type Slot = (Table, Vec<u8>);

pub(super) struct Draft<'a, V> {
    view: &'a V,
    rows: BTreeMap<Slot, Option<Vec<u8>>>,
    /// What each write since the last mark replaced, newest last.
    undo: Vec<(Slot, Option<Option<Vec<u8>>>)>,
    /// Spaces in which something live changed, or nearly did.
    touched: BTreeSet<Space>,
    /// Paths at which something ended since the last mark, but what its author had put itself just before.
    ended: u64,
}

impl<'a, V: View> Draft<'a, V> {
    pub(super) fn new(view: &'a V) -> Self {
        Draft { view, rows: BTreeMap::new(), undo: Vec::new(), touched: BTreeSet::new(), ended: 0 }
    }

    pub(super) fn view(&self) -> &'a V {
        self.view
    }

    /// From here on, [`Draft::roll_back`] returns to here.
    pub(super) fn mark(&mut self) {
        self.undo.clear();
        self.ended = 0;
    }

    /// At one more path something ended.
    pub(super) fn count_end(&mut self) {
        self.ended += 1;
    }

    /// At how many paths something ended since the mark.
    pub(super) fn ended(&self) -> u64 {
        self.ended
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

    /// Up to `limit` rows with `from <= key < to`, in order, as they will be.
    pub(super) fn range(&self, table: Table, from: &[u8], to: &[u8], limit: usize) -> Result<Page, ViewFault> {
        let (mut found, mut start) = (Page::new(), from.to_vec());
        while found.len() < limit && start.as_slice() < to {
            let page = self.view.range(table, &start, to, limit)?;
            // Beyond the page's last key nothing is known of the view yet.
            let end = match page.last() {
                Some((last, _)) if page.len() == limit => [last.as_slice(), &[0]].concat(),
                _ => to.to_vec(),
            };
            let mut merged: BTreeMap<Vec<u8>, Option<Vec<u8>>> =
                page.into_iter().map(|(key, value)| (key, Some(value))).collect();
            let written = self.rows.range((table, start)..(table, end.clone()));
            merged.extend(written.map(|((_, key), value)| (key.clone(), value.clone())));
            found.extend(merged.into_iter().filter_map(|(key, value)| Some((key, value?))));
            start = end;
        }
        found.truncate(limit);
        Ok(found)
    }

    pub(super) fn has_blob(&self, digest: &Digest) -> Result<bool, ViewFault> {
        self.view.has_blob(digest)
    }

    /// The last row with `from <= key < to`, as it will be.
    pub(super) fn last(&self, table: Table, from: &[u8], to: &[u8]) -> Result<Option<KeyValue>, ViewFault> {
        let written = self.rows.range((table, from.to_vec())..(table, to.to_vec())).rev();
        let newest = written.filter_map(|((_, key), value)| Some((key, value.as_ref()?))).next();
        let mut end = to.to_vec();
        while let Some((key, value)) = self.view.last(table, from, &end)? {
            match (self.rows.get(&(table, key.clone())), newest) {
                (Some(None), _) => end = key,
                (_, Some((newer, value))) if *newer >= key => return Ok(Some((newer.clone(), value.clone()))),
                _ => return Ok(Some((key, value))),
            }
        }
        Ok(newest.map(|(key, value)| (key.clone(), value.clone())))
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
    pub(super) fn set_versions(
        &mut self,
        space: &Space,
        path: &ArtifactPath,
        before: &Versions,
        after: &Versions,
    ) -> Result<(), ViewFault> {
        if before == after {
            return Ok(());
        }
        if before.is_empty() != after.is_empty() {
            let count = self.live_paths(space)?;
            let count = if after.is_empty() { count.saturating_sub(1) } else { count + 1 };
            self.set(Table::Meta, rows::count_key(space), &count);
        }
        trie::changed(self, space, path, before, after);
        self.touched.insert(*space);
        let key = rows::catalog_key(space, path);
        if after.is_empty() {
            self.remove(Table::Catalog, key);
        } else {
            self.set(Table::Catalog, key, after);
        }
        Ok(())
    }

    /// How many paths of a space have live versions.
    pub(super) fn live_paths(&self, space: &Space) -> Result<u64, ViewFault> {
        self.get(Table::Meta, &rows::count_key(space))?.map_or(Ok(0), |value| stored(&value))
    }

    /// Spaces whose tries aren't settled any more.
    pub(super) fn touched(&self) -> &BTreeSet<Space> {
        &self.touched
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn into_rows(self) -> Vec<Row> {
        self.rows.into_iter().map(|((table, key), value)| Row { table, key, value }).collect()
    }
}

impl<V: View> View for Draft<'_, V> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, ViewFault> {
        Draft::get(self, table, key)
    }

    fn range(&self, table: Table, from: &[u8], to: &[u8], limit: usize) -> Result<Page, ViewFault> {
        Draft::range(self, table, from, to, limit)
    }

    fn last(&self, table: Table, from: &[u8], to: &[u8]) -> Result<Option<KeyValue>, ViewFault> {
        Draft::last(self, table, from, to)
    }

    fn has_blob(&self, digest: &Digest) -> Result<bool, ViewFault> {
        Draft::has_blob(self, digest)
    }
}

/// A row of our own that doesn't decode is a fault of the store.
pub(super) fn stored<T: rows::Stored>(value: &[u8]) -> Result<T, ViewFault> {
    rows::read(value).map_err(|error| ViewFault(error.to_string()))
}
