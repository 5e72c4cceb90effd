//! The thread that brings committed rows from the overlay into the index.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::derived;
use super::error::IndexError;
use super::find::Finder;
use super::index::{BATCH_BYTES_MAX, BATCH_ROWS_MAX, Checkpoint, IndexRow};
use super::overlay::Taken;
use super::shared::Shared;
use super::value::Table;

/// After so many batches a checkpoint is written even when more is waiting.
const BATCHES_PER_CHECKPOINT: u32 = 64;

/// A checkpoint is written when so much more of a pack is in the index, however few derived keys came with it: the next open
/// after a kill reads that again.
const LAG_BYTES_MAX: u64 = 32 << 20;

/// Drains the overlay until it is stopped. A failing index fails the store: the packs have everything.
pub fn run(shared: &Arc<Shared>) {
    let drained = catch_unwind(AssertUnwindSafe(|| Indexer::new(shared).drain()));
    let error = match drained {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error,
        Err(_) => IndexError { reason: "the engine panicked".into(), is_damage: true },
    };
    shared.index_failed(&error);
    shared.overlay.fail();
}

struct Indexer<'a> {
    shared: &'a Shared,
    batch: Vec<(u64, IndexRow)>,
    batch_rows: usize,
    batch_bytes: usize,
    batches: u32,
    reached: Option<Checkpoint>,
    /// What holds and isn't written down.
    lagging: Option<Checkpoint>,
    /// The pack in which the last checkpoint is, 0 before there is one, and where it is there.
    noted: (u64, u64),
    /// Whether there are files that no checkpoint names yet: until then those that they replace stay, too.
    flushed: bool,
    deadline: Option<Instant>,
}

impl<'a> Indexer<'a> {
    fn new(shared: &'a Shared) -> Self {
        Indexer {
            shared,
            batch: Vec::new(),
            batch_rows: 0,
            batch_bytes: 0,
            batches: 0,
            reached: None,
            lagging: None,
            noted: (0, 0),
            flushed: false,
            deadline: None,
        }
    }

    fn drain(mut self) -> Result<(), IndexError> {
        // The first checkpoint of all doesn't wait: without any, an index is built anew.
        let noted = self.shared.index.checkpoint()?;
        self.noted = noted.map_or((0, 0), |noted| (noted.pack, noted.offset));
        loop {
            match self.shared.overlay.take(self.deadline) {
                Taken::Group(number, group) => {
                    for (number, row) in (number..).zip(group.rows) {
                        self.add(number, row)?;
                    }
                    self.reached = group.checkpoint.or(self.reached);
                    if self.batches >= BATCHES_PER_CHECKPOINT {
                        self.checkpoint()?;
                    }
                    let has_work = !self.batch.is_empty() || self.reached.is_some();
                    if has_work && self.deadline.is_none() {
                        self.deadline = Some(Instant::now() + self.shared.options.index_linger);
                    }
                    self.shared.remove_abandoned();
                }
                Taken::Nothing => self.checkpoint()?,
                Taken::Stopped => {
                    self.shared.remove_abandoned();
                    self.checkpoint()?;
                    self.note()?;
                    return self.shared.index.seal();
                }
            }
        }
    }

    fn add(&mut self, number: u64, row: IndexRow) -> Result<(), IndexError> {
        // Derived keys are small, and go with the row that they come from.
        if row.table != Table::Find {
            let bytes = row.bytes();
            if self.batch_rows == BATCH_ROWS_MAX || self.batch_bytes + bytes > BATCH_BYTES_MAX {
                self.apply()?;
            }
            self.batch_rows += 1;
            self.batch_bytes += bytes;
        }
        self.batch.push((number, row));
        Ok(())
    }

    fn apply(&mut self) -> Result<(), IndexError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let rows: Vec<IndexRow> = self.batch.iter().map(|(_, row)| row.clone()).collect();
        let rows = match self.shared.options.derivation {
            Some(derivation) => derived::without_former(self.shared, derivation, rows)?,
            None => rows,
        };
        if let Some(finder) = &self.shared.finder {
            finder.apply(rows.iter());
            if finder.is_overfull() {
                // The checkpoint names the former files, which stay until it is written: an open after a crash has these.
                finder.flush()?;
                self.flushed = true;
            }
        }
        let rows: Vec<IndexRow> = rows.into_iter().filter(|row| row.table != Table::Find).collect();
        self.shared.index.apply(&rows)?;
        self.shared.index.sync()?;
        self.shared.overlay.forget(&self.batch);
        self.batch.clear();
        (self.batch_rows, self.batch_bytes) = (0, 0);
        self.batches += 1;
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<(), IndexError> {
        self.apply()?;
        self.batches = 0;
        self.deadline = None;
        let Some(reached) = self.reached.take() else { return Ok(()) };
        // A checkpoint says that all derived keys are in the files that it names. They are written when there are many.
        let (pack, offset) = self.noted;
        let is_due = self.flushed
            || self.shared.finder.as_ref().is_none_or(Finder::is_full)
            || reached.pack != pack
            || reached.offset >= offset + LAG_BYTES_MAX;
        self.lagging = Some(reached);
        if is_due { self.note() } else { Ok(()) }
    }

    /// Writes the checkpoint.
    fn note(&mut self) -> Result<(), IndexError> {
        let Some(mut reached) = self.lagging.take() else { return Ok(()) };
        if let Some(finder) = &self.shared.finder {
            reached.runs = finder.flush()?;
        }
        self.shared.index.set_checkpoint(&reached)?;
        if let Some(finder) = &self.shared.finder {
            finder.tidy()?;
        }
        self.noted = (reached.pack, reached.offset);
        self.flushed = false;
        self.shared.indexed_pack.store(reached.pack, Ordering::Release);
        Ok(())
    }
}
