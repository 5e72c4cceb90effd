//! Building the index anew: everything that the packs say, sorted first.

use std::path::Path;
use std::sync::Arc;

use super::error::OpenError;
use super::files::FileSystem;
use super::found::Found;
use super::index::{BATCH_BYTES_MAX, BATCH_ROWS_MAX, Checkpoint, Index};
use super::index_recovery::engine;
use super::options::Options;
use super::recovery::{Recovery, replay_packs};
use super::replay::{Replay, Sink};
use super::sorter::{RUN, Sorted, Sorter};

/// So many rows are written before they are made durable.
const ROWS_PER_SYNC: u64 = 200_000;

/// Fills an empty index, as far as the packs go. Until that is done it has no checkpoint: the next open begins again.
pub fn from_packs(
    folder: &Path,
    options: &Options,
    files: &Arc<dyn FileSystem>,
    found: &Found,
    index: Box<dyn Index>,
    start: Checkpoint,
    recovery: &mut Recovery,
) -> Result<(Box<dyn Index>, Checkpoint), OpenError> {
    let mut sorter = Sorter::new(files, folder.join(RUN));
    let mut replay = Replay::new(Sink::Sorter(&mut sorter), start);
    replay_packs(files.as_ref(), found, &mut replay, &start)?;
    recovery.records_read = replay.records_read();
    recovery.damaged_blobs = replay.damaged_blobs();
    let reached = replay.reached();
    if reached.commit == 0 {
        return Ok((index, start));
    }
    let rows = load(index.as_ref(), sorter.finish()?)?;
    index.set_checkpoint(&reached)?;
    index.seal()?;
    tracing::info!(rows, records = recovery.records_read, "the index was built anew");
    // Closed and opened once, it starts fast even if the process is killed now.
    drop(index);
    Ok((engine(options, &folder.join("index"))?, reached))
}

fn load(index: &dyn Index, mut rows: Sorted) -> Result<u64, OpenError> {
    let (mut batch, mut batch_bytes, mut written, mut synced) = (Vec::new(), 0, 0, 0);
    while let Some(row) = rows.next()? {
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
