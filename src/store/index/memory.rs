//! An index in memory: the model that tests hold sled against, and an index that can be as stale as a test wants.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Checkpoint, Index, IndexRow, Row};
use crate::store::error::IndexError;
use crate::store::value::Table;

/// Maps in memory; clones share them.
#[derive(Clone, Default)]
pub struct MemoryIndex(Arc<Mutex<State>>);

type Maps = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

#[derive(Clone, Default)]
struct State {
    maps: Maps,
    checkpoint: Option<Checkpoint>,
    history: Vec<(Checkpoint, Arc<Maps>)>,
    keeps_history: bool,
}

impl MemoryIndex {
    /// One that remembers how it was at each checkpoint, for [`MemoryIndex::earlier`].
    pub fn with_history() -> MemoryIndex {
        MemoryIndex(Arc::new(Mutex::new(State { keeps_history: true, ..State::default() })))
    }

    /// How many checkpoints it remembers.
    pub fn checkpoints(&self) -> usize {
        self.state().history.len()
    }

    /// A copy as it was at checkpoint `number`, from 0; an empty one when there is no such.
    pub fn earlier(&self, number: usize) -> MemoryIndex {
        let (checkpoint, maps) = match self.state().history.get(number) {
            Some((checkpoint, maps)) => (Some(*checkpoint), Maps::clone(maps)),
            None => (None, Maps::new()),
        };
        MemoryIndex(Arc::new(Mutex::new(State { maps, checkpoint, ..State::default() })))
    }

    /// A copy with today's rows but the checkpoint `number`: rows that ran ahead.
    pub fn ahead_of(&self, number: usize) -> MemoryIndex {
        let state = self.state();
        let checkpoint = state.history.get(number).map(|(checkpoint, _)| *checkpoint);
        let maps = if checkpoint.is_some() { state.maps.clone() } else { Maps::new() };
        MemoryIndex(Arc::new(Mutex::new(State { maps, checkpoint, ..State::default() })))
    }

    /// The same, and it remembers the first `count` checkpoints of another.
    pub fn remembering(self, other: &MemoryIndex, count: usize) -> MemoryIndex {
        let history = other.state().history.iter().take(count).cloned().collect();
        {
            let mut state = self.state();
            state.history = history;
            state.keeps_history = true;
        }
        self
    }

    /// Forgets everything.
    pub fn clear(&self) {
        let mut state = self.state();
        *state = State { keeps_history: state.keeps_history, ..State::default() };
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index for MemoryIndex {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        Ok(self.state().maps.get(&(table, key.to_vec())).cloned())
    }

    fn range(&self, table: Table, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, IndexError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let bounds = (Bound::Included((table, from.to_vec())), Bound::Excluded((table, to.to_vec())));
        let rows =
            self.state().maps.range(bounds).take(limit).map(|((_, key), value)| (key.clone(), value.clone())).collect();
        Ok(rows)
    }

    fn last(&self, table: Table, from: &[u8], to: &[u8]) -> Result<Option<Row>, IndexError> {
        if from >= to {
            return Ok(None);
        }
        let bounds = (Bound::Included((table, from.to_vec())), Bound::Excluded((table, to.to_vec())));
        Ok(self.state().maps.range(bounds).next_back().map(|((_, key), value)| (key.clone(), value.clone())))
    }

    fn apply(&self, rows: &[IndexRow]) -> Result<(), IndexError> {
        let mut state = self.state();
        for row in rows {
            let key = (row.table, row.key.to_vec());
            match &row.value {
                Some(value) => state.maps.insert(key, value.to_vec()),
                None => state.maps.remove(&key),
            };
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), IndexError> {
        Ok(())
    }

    fn checkpoint(&self) -> Result<Option<Checkpoint>, IndexError> {
        Ok(self.state().checkpoint)
    }

    fn seal(&self) -> Result<(), IndexError> {
        Ok(())
    }

    fn set_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), IndexError> {
        let mut state = self.state();
        state.checkpoint = Some(*checkpoint);
        if state.keeps_history {
            let maps = Arc::new(state.maps.clone());
            state.history.push((*checkpoint, maps));
        }
        Ok(())
    }

    fn size_bytes(&self) -> u64 {
        0
    }
}
