//! Keys of several sources in order; of one key the newest source tells whether it is there.

use std::sync::Arc;
use std::vec::IntoIter;

use super::run::{Cursor, Entry, Run};
use crate::store::error::IndexError;

/// Keys in order.
pub struct Source {
    keys: Keys,
    /// What comes before is left out.
    from: Vec<u8>,
    head: Option<Entry>,
}

enum Keys {
    Run(Cursor),
    Memory(IntoIter<Entry>),
}

impl Source {
    /// All of a file.
    pub fn run(run: Arc<Run>) -> Source {
        Source { keys: Keys::Run(Cursor::new(run, &[])), from: Vec::new(), head: None }
    }

    /// What a file has from `from` on.
    pub fn run_from(run: Arc<Run>, from: &[u8]) -> Result<Source, IndexError> {
        Ok(Source { keys: Keys::Run(Cursor::new(run, from)), from: from.to_vec(), head: None })
    }

    /// What is held.
    pub fn memory(keys: Vec<Entry>) -> Source {
        Source { keys: Keys::Memory(keys.into_iter()), from: Vec::new(), head: None }
    }

    fn advance(&mut self) -> Result<(), IndexError> {
        loop {
            self.head = match &mut self.keys {
                Keys::Run(cursor) => cursor.next()?,
                Keys::Memory(keys) => keys.next(),
            };
            if self.head.as_ref().is_none_or(|(key, _)| *key >= self.from) {
                return Ok(());
            }
        }
    }
}

/// Several sources, the oldest first.
pub struct Merge(Vec<Source>);

impl Merge {
    /// Reads the first of each.
    pub fn new(mut sources: Vec<Source>) -> Result<Merge, IndexError> {
        sources.iter_mut().try_for_each(Source::advance)?;
        Ok(Merge(sources))
    }

    /// The next key.
    pub fn next(&mut self) -> Result<Option<Entry>, IndexError> {
        let heads = self.0.iter().filter_map(|source| source.head.as_ref());
        let Some(key) = heads.map(|(key, _)| key).min().cloned() else { return Ok(None) };
        let mut is_there = false;
        for source in &mut self.0 {
            if let Some((_, now)) = source.head.as_ref().filter(|(head, _)| *head == key) {
                is_there = *now;
                source.advance()?;
            }
        }
        Ok(Some((key, is_there)))
    }
}
