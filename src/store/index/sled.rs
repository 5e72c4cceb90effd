//! sled 0.34.7 as the index: small rows, small batches, and the fsync that it doesn't issue itself.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use artimesh_core::model::Digest;

use super::{Checkpoint, Index, IndexRow, Row, left};
use crate::store::error::IndexError;
use crate::store::value::Table;

/// sled counts what pages take on the disk; in memory they take about twice as much. With 32 MiB nothing was faster.
const CACHE_BYTES: u64 = 8 << 20;
/// The cap that keeps sled's pages small: larger ones go to side files, which it never syncs.
const VALUE_BYTES_MAX: usize = 4096;
const CHECKPOINT_KEY: &[u8] = b"checkpoint";
/// The digest of all rows when the index was closed; absent while it is in use.
const SEAL_KEY: &[u8] = b"seal";

/// sled in a folder of its own.
pub struct SledIndex {
    db: sled::Db,
    tables: Vec<sled::Tree>,
    checkpoints: sled::Tree,
    file: File,
    /// Dropped last.
    closing: Closing,
}

/// sled writes down where its pages are only when it is opened, and looks at all that was written since to find them. Once so
/// many rows were, that is done at the end of a clean stop, so that the next start needn't: a million artifacts are 9 s.
const ROWS_UNTIL_REOPENED: u64 = 100_000;

/// Notes how the files were left, once nobody has them open.
struct Closing {
    folder: PathBuf,
    is_sealed: AtomicBool,
    /// Since it was opened.
    rows_written: AtomicU64,
}

impl Drop for Closing {
    fn drop(&mut self) {
        if !*self.is_sealed.get_mut() {
            return;
        }
        if *self.rows_written.get_mut() >= ROWS_UNTIL_REOPENED
            && let Err(error) = guarded(&self.folder, |folder| Ok(open_closed(folder).map(drop)?))
        {
            tracing::warn!(%error, "the index can't be opened once more: the next start will take longer");
        }
        if let Err(error) = left::note_closed(&self.folder) {
            tracing::warn!(%error, "how the index was left was not noted: the next start reads all of it");
        }
    }
}

fn config(folder: &Path) -> sled::Config {
    sled::Config::new().path(folder).cache_capacity(CACHE_BYTES).flush_every_ms(None)
}

/// sled's own threads may hold what was closed a moment ago, and its lock, until they have ended. Nobody else has it open: the
/// store's folder is locked.
const CLOSING_MAX: Duration = Duration::from_secs(30);

fn open_closed(folder: &Path) -> sled::Result<sled::Db> {
    let begun = Instant::now();
    loop {
        match config(folder).open() {
            // It tells the lock's error in words only.
            Err(sled::Error::Io(error))
                if error.to_string().contains("could not acquire lock") && begun.elapsed() < CLOSING_MAX =>
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            opened => return opened,
        }
    }
}

/// Opens in a thread of its own: sled may panic over damaged files.
fn guarded<T: Send + 'static>(
    folder: &Path,
    open: impl FnOnce(&Path) -> Result<T, IndexError> + Send + 'static,
) -> Result<T, IndexError> {
    let owned = folder.to_path_buf();
    let opened = std::thread::Builder::new().name("store-index-open".into()).spawn(move || open(&owned))?;
    opened.join().unwrap_or_else(|_| Err(IndexError { reason: "sled panicked while opening".into(), is_damage: true }))
}

impl SledIndex {
    /// Opens or makes the index in `folder`, and reads it once if anything may have happened to its files: sled notices
    /// damage only where it reads, and not always then, so what was closed in order is compared with its seal. It may panic
    /// over damaged files: that is an error here.
    pub fn open(folder: &Path) -> Result<SledIndex, IndexError> {
        guarded(folder, Self::open_here)
    }

    fn open_here(folder: &Path) -> Result<SledIndex, IndexError> {
        let is_untouched = left::is_untouched(folder);
        let db = open_closed(folder)?;
        let names = ["meta", "catalog", "log", "blobs", "history", "trie"];
        let tables = names.iter().map(|name| db.open_tree(name)).collect::<Result<_, _>>()?;
        let checkpoints = db.open_tree("checkpoint")?;
        let file = File::open(folder.join("db"))?;
        let seal = checkpoints.get(SEAL_KEY)?;
        let closing = Closing {
            folder: folder.to_path_buf(),
            is_sealed: AtomicBool::new(false),
            rows_written: AtomicU64::new(0),
        };
        let index = SledIndex { db, tables, checkpoints, file, closing };
        if !is_untouched {
            let contents = index.contents()?;
            if seal.as_ref().is_some_and(|seal| seal.as_ref() != contents.0) {
                return Err(IndexError { reason: "it does not hold what it was closed with".into(), is_damage: true });
            }
        }
        left::note_opened(folder);
        index.closing.is_sealed.store(seal.is_some(), Ordering::Release);
        Ok(index)
    }

    /// A digest of all rows; reads everything.
    fn contents(&self) -> Result<Digest, IndexError> {
        let mut hasher = blake3::Hasher::new_derive_key("artimesh/index-contents/v1");
        for (number, tree) in (0u8..).zip(&self.tables) {
            for row in tree {
                let (key, value) = row?;
                hasher.update(&[number]);
                for part in [&key, &value] {
                    hasher.update(&(part.len() as u64).to_le_bytes());
                    hasher.update(part);
                }
            }
        }
        Ok(Digest(*hasher.finalize().as_bytes()))
    }

    /// Takes the seal away, durably, before the first row changes what it stands for.
    fn unseal(&self) -> Result<(), IndexError> {
        if self.closing.is_sealed.load(Ordering::Acquire) {
            self.checkpoints.remove(SEAL_KEY)?;
            self.sync()?;
            self.closing.is_sealed.store(false, Ordering::Release);
        }
        Ok(())
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

    fn last(&self, table: Table, from: &[u8], to: &[u8]) -> Result<Option<Row>, IndexError> {
        if from >= to {
            return Ok(None);
        }
        let row = self.tree(table).range(from..to).next_back().transpose()?;
        Ok(row.map(|(key, value)| (key.to_vec(), value.to_vec())))
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
        self.unseal()?;
        self.closing.rows_written.fetch_add(rows.len() as u64, Ordering::Relaxed);
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

    fn seal(&self) -> Result<(), IndexError> {
        if !self.closing.is_sealed.load(Ordering::Acquire) {
            self.checkpoints.insert(SEAL_KEY, &self.contents()?.0)?;
            self.sync()?;
            self.closing.is_sealed.store(true, Ordering::Release);
        }
        Ok(())
    }

    fn size_bytes(&self) -> u64 {
        self.db.size_on_disk().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::store::index::BATCH_ROWS_MAX;

    fn is_snapshot(path: &Path) -> bool {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("snap."))
    }

    fn snapshots(folder: &Path) -> Vec<PathBuf> {
        let listed = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        listed.filter(|path| is_snapshot(path)).collect()
    }

    fn write(index: &SledIndex, rows: u64) {
        let rows: Vec<IndexRow> = (0..rows)
            .map(|number| {
                let key = Bytes::copy_from_slice(&number.to_be_bytes());
                IndexRow { table: Table::Blobs, key, value: Some(Bytes::from_static(b"value")) }
            })
            .collect();
        for batch in rows.chunks(BATCH_ROWS_MAX) {
            index.apply(batch).unwrap();
        }
        index.seal().unwrap();
    }

    #[test]
    fn where_pages_are_is_written_down_when_an_index_that_was_much_written_to_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        write(&SledIndex::open(folder.path()).unwrap(), 10);
        let few = snapshots(folder.path());
        write(&SledIndex::open(folder.path()).unwrap(), ROWS_UNTIL_REOPENED);
        let many = snapshots(folder.path());
        assert_ne!(few, many);
        assert!(left::is_untouched(folder.path()));
        let again = SledIndex::open(folder.path()).unwrap();
        assert_eq!(snapshots(folder.path()), many, "nothing was left to be found");
        assert!(again.get(Table::Blobs, &7_u64.to_be_bytes()).unwrap().is_some());
    }
}
