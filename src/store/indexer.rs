//! The thread that brings committed rows from the overlay into the index.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::error::IndexError;
use super::index::{BATCH_BYTES_MAX, BATCH_ROWS_MAX, Checkpoint, IndexRow};
use super::shared::Shared;

/// After so many batches a checkpoint is written even when more is waiting.
const BATCHES_PER_CHECKPOINT: u32 = 64;

/// Drains the overlay until it is stopped. A failing index fails the store: the packs have everything.
pub fn run(shared: &Arc<Shared>) {
    let drained = catch_unwind(AssertUnwindSafe(|| Indexer::new(shared).drain()));
    let reason = match drained {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "index: the engine panicked".to_owned(),
    };
    shared.fail(reason);
    shared.overlay.fail();
}

struct Indexer<'a> {
    shared: &'a Shared,
    batch: Vec<(u64, IndexRow)>,
    batch_bytes: usize,
    batches: u32,
    reached: Option<Checkpoint>,
}

impl<'a> Indexer<'a> {
    fn new(shared: &'a Shared) -> Self {
        Indexer { shared, batch: Vec::new(), batch_bytes: 0, batches: 0, reached: None }
    }

    fn drain(mut self) -> Result<(), IndexError> {
        while let Some(mut next) = self.shared.overlay.take() {
            loop {
                let (number, group) = next;
                for row in group.rows {
                    self.add(number, row)?;
                }
                self.reached = group.checkpoint.or(self.reached);
                if self.batches >= BATCHES_PER_CHECKPOINT {
                    self.checkpoint()?;
                }
                match self.shared.overlay.try_take() {
                    Some(more) => next = more,
                    None => break,
                }
            }
            self.checkpoint()?;
            self.shared.remove_abandoned();
        }
        self.shared.remove_abandoned();
        Ok(())
    }

    fn add(&mut self, number: u64, row: IndexRow) -> Result<(), IndexError> {
        let bytes = row.bytes();
        if self.batch.len() == BATCH_ROWS_MAX || self.batch_bytes + bytes > BATCH_BYTES_MAX {
            self.apply()?;
        }
        self.batch_bytes += bytes;
        self.batch.push((number, row));
        Ok(())
    }

    fn apply(&mut self) -> Result<(), IndexError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let rows: Vec<IndexRow> = self.batch.iter().map(|(_, row)| row.clone()).collect();
        self.shared.index.apply(&rows)?;
        self.shared.index.sync()?;
        self.shared.overlay.forget(&self.batch);
        self.batch.clear();
        self.batch_bytes = 0;
        self.batches += 1;
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<(), IndexError> {
        self.apply()?;
        self.batches = 0;
        match self.reached.take() {
            Some(checkpoint) => self.shared.index.set_checkpoint(&checkpoint),
            None => Ok(()),
        }
    }
}
