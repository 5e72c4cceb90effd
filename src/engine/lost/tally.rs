//! What is lost of a repository, for the status.

use artimesh_core::model::{Digest, Space};

use super::Lost;
use super::ledger::{self, LOST};
use crate::engine::view::StoreView;
use crate::store::ReadError;

/// So many are told one by one.
const TOLD_MAX: usize = 5;

/// What is lost of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// How many blobs.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The first few.
    pub first: Vec<Lost>,
}

impl Losses {
    /// Counts what is lost of a space and isn't here again. Blocks.
    pub fn of(view: &StoreView, space: &Space) -> Result<Losses, ReadError> {
        let store = &view.0;
        let prefix = [LOST, &space.key()].concat();
        let mut losses = Losses::default();
        let mut from = Some(prefix.clone());
        let is_here = |digest: &Digest| store.blob(digest).map(|blob| blob.is_some());
        while let Some(start) = from {
            let page = ledger::page(store, &prefix, &start)?;
            for lost in page.rows.into_iter().filter_map(|(_, lost)| lost) {
                if is_here(&lost.digest)? {
                    continue;
                }
                losses.blobs += 1;
                losses.bytes += lost.size;
                if losses.first.len() < TOLD_MAX {
                    losses.first.push(lost);
                }
            }
            from = page.next;
        }
        Ok(losses)
    }
}
