//! sled 0.34.7 as the index: small rows, small batches, and the fsync that it doesn't issue itself.

use std::fs::File;
use std::path::Path;

use super::{Checkpoint, Index, IndexRow, Row};
use crate::store::error::IndexError;
use crate::store::value::Table;

const CACHE_BYTES: u64 = 64 << 20;
/// The cap that keeps sled's pages small: larger ones go to side files, which it never syncs.
const VALUE_BYTES_MAX: usize = 4096;
const CHECKPOINT_KEY: &[u8] = b"checkpoint";

/// sled in a folder of its own.
pub struct SledIndex {
    db: sled::Db,
    tables: Vec<sled::Tree>,
    checkpoints: sled::Tree,
    file: File,
}

impl SledIndex {
    /// Opens or makes the index in `folder`, and reads it once: sled notices damage only where it reads. It may panic
    /// over damaged files: that is an error here.
    pub fn open(folder: &Path) -> Result<SledIndex, IndexError> {
        let owned = folder.to_path_buf();
        let opened =
            std::thread::Builder::new().name("store-index-open".into()).spawn(move || Self::open_here(&owned))?;
        opened
            .join()
            .unwrap_or_else(|_| Err(IndexError { reason: "sled panicked while opening".into(), is_damage: true }))
    }

    fn open_here(folder: &Path) -> Result<SledIndex, IndexError> {
        let db = sled::Config::new().path(folder).cache_capacity(CACHE_BYTES).flush_every_ms(None).open()?;
        let tables =
            ["meta", "catalog", "log", "blobs"].iter().map(|name| db.open_tree(name)).collect::<Result<_, _>>()?;
        let checkpoints = db.open_tree("checkpoint")?;
        let file = File::open(folder.join("db"))?;
        let index = SledIndex { db, tables, checkpoints, file };
        index.read_all()?;
        Ok(index)
    }

    fn read_all(&self) -> Result<(), IndexError> {
        self.tables.iter().flat_map(sled::Tree::iter).try_for_each(|row| Ok(row.map(drop)?))
    }

    fn tree(&self, table: Table) -> &sled::Tree {
        &self.tables[table as usize]
    }
}

impl Index for SledIndex {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        Ok(self.tree(table).get(key)?.map(|value| value.to_vec()))
    }

    fn range(&self, table: Table, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, IndexError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let rows = self.tree(table).range(from..to).take(limit);
        rows.map(|row| row.map(|(key, value)| (key.to_vec(), value.to_vec())).map_err(IndexError::from)).collect()
    }

    fn apply(&self, rows: &[IndexRow]) -> Result<(), IndexError> {
        let mut batches: [sled::Batch; Table::ALL.len()] = Default::default();
        for row in rows {
            let batch = &mut batches[row.table as usize];
            match &row.value {
                Some(value) if value.len() > VALUE_BYTES_MAX => {
                    let reason = format!("a row of {} bytes is too large for it", value.len());
                    return Err(IndexError { reason, is_damage: false });
                }
                Some(value) => batch.insert(row.key.as_ref(), value.as_ref()),
                None => batch.remove(row.key.as_ref()),
            }
        }
        for (tree, batch) in self.tables.iter().zip(batches) {
            tree.apply_batch(batch)?;
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), IndexError> {
        self.db.flush()?;
        Ok(self.file.sync_all()?)
    }

    fn checkpoint(&self) -> Result<Option<Checkpoint>, IndexError> {
        Ok(self.checkpoints.get(CHECKPOINT_KEY)?.and_then(|bytes| Checkpoint::decode(&bytes)))
    }

    fn set_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), IndexError> {
        self.checkpoints.insert(CHECKPOINT_KEY, checkpoint.encode())?;
        self.sync()
    }

    fn size_bytes(&self) -> u64 {
        self.db.size_on_disk().unwrap_or(0)
    }
}
