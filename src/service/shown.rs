//! The files that somebody asked for lately, as their rows say.
//!
//! # Why
//! Reading a row and decoding it costs more than everything else that a small download does. An item is true as long as no
//! row of the catalog has changed since its own was read; the store counts such changes, so that a put or delete that was
//! acknowledged is never answered with what was there before.

use std::sync::Arc;

use artimesh_core::model::ArtifactPath;
use artimesh_core::replica::{Repository, rows};

use super::artifacts::Item;
use super::error::ServiceError;
use super::handle::Service;
use super::recent::Recent;
use crate::store::{Account, Part, Tree};

/// How many items are kept at most.
const ITEMS_MAX: usize = 8192;

/// Shared by all requests.
#[derive(Debug)]
pub struct ShownLately(Recent<Vec<u8>, Seen>);

/// A file as it was seen at some moment.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The file.
    pub item: Arc<Item>,
    /// How often the catalog's rows had changed before its own was read.
    changes: u64,
}

impl Default for ShownLately {
    fn default() -> Self {
        ShownLately(Recent::new(ITEMS_MAX))
    }
}

impl Service {
    /// What is shown at a path, as of now.
    pub(super) fn shown_now(
        &self,
        repository: &Repository,
        path: &ArtifactPath,
        account: &Account,
    ) -> Result<Option<Seen>, ServiceError> {
        let key = rows::catalog_key(&repository.space, path);
        let store = self.engine().store();
        let changes = store.changes(Tree::Catalog);
        let lately = &self.shown_lately().0;
        let known = lately.find(key.as_slice()).filter(|seen| seen.changes == changes);
        if let Some(seen) = known.filter(|seen| seen.item.repo == repository.key) {
            return Ok(Some(seen));
        }
        let row = account.time(Part::Index, || store.get(Tree::Catalog, &key))?;
        let Some(row) = row else { return Ok(None) };
        let seen = self.item_of(repository, path.clone(), &row)?.map(|item| Seen { item: Arc::new(item), changes });
        // Sums that are confirmed, or found to be false, later change no row.
        if let Some(seen) = seen.as_ref().filter(|seen| seen.item.is_confirmed) {
            lately.keep(key, seen.clone(), 1);
        }
        Ok(seen)
    }

    /// Whether a file is still shown as it was seen.
    pub(super) fn is_current(&self, seen: &Seen) -> bool {
        let Seen { item, changes } = seen;
        let is_there = || self.snapshot().repository(&item.repo).is_some_and(|now| now.space == item.space);
        self.engine().store().changes(Tree::Catalog) == *changes && is_there()
    }
}
