//! Rows at rest: an ordered map that survives a crash.

use std::collections::BTreeMap;

use artimesh_core::model::Digest;
use artimesh_core::replica::{KeyValue, Page, Row, Table, View, ViewFault, rows};

type Slot = (Table, Vec<u8>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    rows: BTreeMap<Slot, Vec<u8>>,
    /// Whether every blob is at hand; else none is, and every version is wanted.
    pub has_blobs: bool,
    /// A mutation: this many more catalog writes until one is dropped.
    pub drops_write_after: Option<u32>,
    /// A mutation: what is said to be durable is lost with the power, as far as it is of the last write.
    pub lies: bool,
    /// What the last write replaced, if the disk lies.
    unsynced: Vec<(Slot, Option<Vec<u8>>)>,
}

impl Disk {
    /// An empty one, that has every blob.
    pub fn new() -> Disk {
        Disk { rows: BTreeMap::new(), has_blobs: true, drops_write_after: None, lies: false, unsynced: Vec::new() }
    }

    pub fn apply(&mut self, rows: &[Row]) {
        self.unsynced.clear();
        for row in rows {
            if row.table == Table::Catalog && self.drops_this_write() {
                continue;
            }
            let slot = (row.table, row.key.clone());
            let before = match &row.value {
                Some(value) => self.rows.insert(slot.clone(), value.clone()),
                None => self.rows.remove(&slot),
            };
            if self.lies {
                self.unsynced.push((slot, before));
            }
        }
    }

    /// The power is gone. A write is atomic and durable before the next output is performed, so there is nothing to lose,
    /// unless the disk lies.
    pub fn lose_power(&mut self) {
        while let Some((slot, before)) = self.unsynced.pop() {
            match before {
                Some(value) => self.rows.insert(slot, value),
                None => self.rows.remove(&slot),
            };
        }
    }

    fn drops_this_write(&mut self) -> bool {
        let left = self.drops_write_after;
        self.drops_write_after = left.and_then(|left| left.checked_sub(1));
        left == Some(0)
    }

    /// What restoring a backup must do: the next start begins a new incarnation.
    pub fn forget_incarnation(&mut self) {
        self.rows.remove(&(Table::Meta, rows::INCARNATION.to_vec()));
    }

    pub fn table(&self, table: Table) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mine = self.rows.range((table, Vec::new())..).take_while(move |((t, _), _)| *t == table);
        mine.map(|((_, key), value)| (key.as_slice(), value.as_slice()))
    }
}

impl View for Disk {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, ViewFault> {
        Ok(self.rows.get(&(table, key.to_vec())).cloned())
    }

    fn range(&self, table: Table, from: &[u8], to: &[u8], limit: usize) -> Result<Page, ViewFault> {
        let page = self.rows.range((table, from.to_vec())..(table, to.to_vec())).take(limit);
        Ok(page.map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }

    fn last(&self, table: Table, from: &[u8], to: &[u8]) -> Result<Option<KeyValue>, ViewFault> {
        let last = self.rows.range((table, from.to_vec())..(table, to.to_vec())).next_back();
        Ok(last.map(|((_, key), value)| (key.clone(), value.clone())))
    }

    fn has_blob(&self, _: &Digest) -> Result<bool, ViewFault> {
        Ok(self.has_blobs)
    }
}
