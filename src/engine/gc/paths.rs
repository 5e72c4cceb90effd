//! Where blobs were last known to be, for the journal: told when a version leaves the history.

use std::collections::{HashMap, VecDeque};

use artimesh_core::model::Digest;
use artimesh_core::replica::rows;

use super::names::prefix;

/// So many are remembered; older ones are forgotten, and then the journal doesn't say.
const PATHS_MAX: usize = 20_000;

/// Digest → path, the latest.
#[derive(Default)]
pub struct LastPaths {
    paths: HashMap<u64, String>,
    order: VecDeque<u64>,
}

impl LastPaths {
    /// A row of the history is about to go.
    pub fn forget_row(&mut self, key: &[u8], value: &[u8]) {
        let Ok(Some(past)) = rows::historic(key, value) else { return };
        // The key of an ended version: its space, one byte that says so, its path, a zero.
        let Some(path) = key.get(34..).and_then(|rest| rest.split(|byte| *byte == 0).next()) else { return };
        self.remember(&past.version.content.digest, String::from_utf8_lossy(path).into_owned());
    }

    fn remember(&mut self, digest: &Digest, path: String) {
        if self.order.len() >= PATHS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.paths.remove(&oldest);
        }
        if self.paths.insert(prefix(digest), path).is_none() {
            self.order.push_back(prefix(digest));
        }
    }

    /// Where a blob was.
    pub fn of(&self, digest: &Digest) -> Option<String> {
        self.paths.get(&prefix(digest)).cloned()
    }
}
