//! Building the index anew: everything that the packs say, sorted first.

use std::path::Path;
use std::sync::Arc;

use artimesh_core::model::Digest;

use super::derived::Derivation;
use super::error::{IndexError, OpenError};
use super::files::{File, FileSystem};
use super::find::{self, Finder, RunSet};
use super::found::Found;
use super::index::{BATCH_BYTES_MAX, BATCH_ROWS_MAX, Index, IndexRow};
use super::index_recovery::{self, Ready, engine};
use super::options::Options;
use super::recovery::{Recovery, replay_packs};
use super::replay::{Replay, Sink};
use super::sorter::{RUN, Sorted, Sorter};
use super::value::{BlobEntry, Extent, RowValue, Table};

/// So many rows are written before they are made durable.
const ROWS_PER_SYNC: u64 = 200_000;

/// Fills an empty index, as far as the packs go. Until that is done it has no checkpoint: the next open begins again.
pub fn from_packs(
    folder: &Path,
    options: &Options,
    files: &Arc<dyn FileSystem>,
    found: &Found,
    empty: Ready,
    recovery: &mut Recovery,
) -> Result<Ready, OpenError> {
    let start = empty.checkpoint;
    let mut sorter = Sorter::new(files, folder.join(RUN));
    let mut replay = Replay::new(Sink::Sorter(&mut sorter), start);
    replay_packs(files.as_ref(), found, &mut replay, &start)?;
    recovery.records_read = replay.records_read();
    recovery.damaged_blobs = replay.damaged_blobs();
    let mut reached = replay.reached();
    if reached.commit == 0 {
        return Ok(empty);
    }
    let Ready { index, finder, .. } = empty;
    let mut sorted = sorter.finish()?;
    let rows = match options.derivation {
        Some(derivation) => {
            let sorter = Sorter::new(files, folder.join(RUN));
            let files = files.as_ref();
            let mut derived = Deriving { derivation, sorter, rows: Vec::new(), files, found, pack: None };
            let rows = load(index.as_ref(), || sorted.next()?.map(|row| derived.noting(row)).transpose())?;
            drop(sorted);
            reached.runs = keep(&find::folder(folder), derived.sorter.finish()?)?;
            rows
        }
        None => load(index.as_ref(), || sorted.next())?,
    };
    index.set_checkpoint(&reached)?;
    index.seal()?;
    tracing::info!(rows, records = recovery.records_read, "the index was built anew");
    // Closed and opened once, it starts fast even if the process is killed now.
    drop((index, finder));
    let index = engine(options, &folder.join("index"))?;
    Ok(Ready { index, finder: index_recovery::finder(folder, options, &reached)?, checkpoint: reached })
}

/// Writes derived keys to a file of their own.
fn keep(folder: &Path, mut sorted: Sorted) -> Result<RunSet, OpenError> {
    let mut unreadable = None;
    let next = || match sorted.next() {
        Ok(row) => Ok(row.map(|row| row.key)),
        Err(error) => {
            let reason = error.to_string();
            unreadable = Some(error);
            Err(IndexError { reason, is_damage: false })
        }
    };
    let kept = Finder::build(folder, next);
    unreadable.map_or_else(|| kept.map_err(OpenError::from), Err)
}

/// What is derived from rows on their way into the index: sorted, to follow them.
struct Deriving<'a> {
    derivation: Derivation,
    sorter: Sorter,
    rows: Vec<IndexRow>,
    files: &'a dyn FileSystem,
    found: &'a Found,
    pack: Option<(u64, Arc<dyn File>)>,
}

impl Deriving<'_> {
    fn noting(&mut self, row: IndexRow) -> Result<IndexRow, OpenError> {
        if let (Some(tree), Some(value)) = (row.table.tree(), &row.value) {
            match RowValue::decode(value) {
                Some(RowValue::Inline(value)) => self.derivation.append(tree, &row.key, &value, &mut self.rows),
                Some(RowValue::Pointer(extent, _)) if self.derivation.reads(tree) => {
                    let value = self.read(extent)?;
                    self.derivation.append(tree, &row.key, &value, &mut self.rows);
                }
                _ => {}
            }
        } else if let (Table::Blobs, Some(value)) = (row.table, &row.value)
            && let (Ok(digest), Some(entry)) = (row.key.as_ref().try_into(), BlobEntry::decode(value))
        {
            self.derivation.append_blob(&Digest(digest), &entry, &mut self.rows);
        }
        self.rows.drain(..).try_for_each(|derived| self.sorter.add(&derived))?;
        Ok(row)
    }

    /// A value that stands in a pack only. Most that follow each other are in the same.
    fn read(&mut self, extent: Extent) -> Result<Vec<u8>, OpenError> {
        let path = self.found.path(extent.pack);
        let file = match self.pack.take() {
            Some((number, file)) if number == extent.pack => file,
            _ => self.files.open(&path).map_err(OpenError::io(&path))?,
        };
        let mut value = vec![0; extent.bytes as usize];
        file.read_at(&mut value, extent.offset).map_err(OpenError::io(&path))?;
        self.pack = Some((extent.pack, file));
        Ok(value)
    }
}

fn load(index: &dyn Index, mut rows: impl FnMut() -> Result<Option<IndexRow>, OpenError>) -> Result<u64, OpenError> {
    let (mut batch, mut batch_bytes, mut written, mut synced) = (Vec::new(), 0, 0, 0);
    while let Some(row) = rows()? {
        let bytes = row.bytes();
        if batch.len() == BATCH_ROWS_MAX || batch_bytes + bytes > BATCH_BYTES_MAX {
            index.apply(&batch)?;
            written += batch.len() as u64;
            batch.clear();
            batch_bytes = 0;
        }
        if written - synced >= ROWS_PER_SYNC {
            index.sync()?;
            synced = written;
        }
        batch_bytes += bytes;
        batch.push(row);
    }
    index.apply(&batch)?;
    index.sync()?;
    Ok(written + batch.len() as u64)
}
