//! A full sync's last part: blobs that live versions name and this mirror lacks are wanted, whatever became of the wish
//! that was made when the version came.

use super::super::draft::stored;
use super::super::io::{Output, Table, View, ViewFault};
use super::super::rows;
use super::super::state::{Replica, Work};
use crate::catalog::Versions;
use crate::model::Space;

/// Catalog rows that are looked through at a time.
const ROWS_MAX: usize = 256;

impl Replica {
    /// Looks through the next rows of every space that is being swept.
    pub(super) fn sweep_some<V: View>(&mut self, work: &mut Work<'_, V>) -> Result<(), ViewFault> {
        for (space, from) in std::mem::take(&mut self.sweeps) {
            let page = work.draft.range(Table::Catalog, &from, &rows::end_of(&space.key()), ROWS_MAX)?;
            for (key, value) in &page {
                let path = rows::catalog_path(key).ok_or_else(|| ViewFault("a catalog row has a broken key".into()))?;
                let versions: Versions = stored(value)?;
                for version in versions.iter() {
                    self.want(work, space, &path, version)?;
                }
            }
            if let Some((last, _)) = page.last().filter(|_| page.len() == ROWS_MAX) {
                self.sweeps.insert(space, [last.as_slice(), &[0]].concat());
                work.out.push(Output::Continue);
            }
        }
        Ok(())
    }

    pub(super) fn begin_sweep<V>(&mut self, work: &mut Work<'_, V>, space: Space) {
        self.sweeps.insert(space, space.key().to_vec());
        work.out.push(Output::Continue);
    }
}
