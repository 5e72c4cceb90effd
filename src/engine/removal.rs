//! What the mind does about blobs: it removes them, and lists those that are missed.
//!
//! Both are messages to it like everything else, for what it decides holds only as long as nothing comes between.

use std::collections::HashSet;
use std::sync::PoisonError;

use artimesh_core::catalog::Versions;
use artimesh_core::model::Digest;
use artimesh_core::replica::{Placement, Table, View as _, ViewFault, Want, rows};
use tokio::sync::oneshot;

use super::cache;
use super::error::EngineFailed;
use super::gc::every_root;
use super::lease::{Removal, Rules, Ticket};
use super::mind::Mind;
use crate::store::{Batch, CommitError, Priority, RowWrite, Tree};

/// Why blobs go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum DropCause {
    /// A collection found that nothing named them.
    Garbage,
    /// Their bytes aren't what they were.
    Rotten,
    /// They were only a cache, and there is no room for them.
    Evicted,
    /// This node would do without them, and others keep them.
    LetGo(Ticket),
}

impl DropCause {
    fn as_removal(self) -> Removal {
        match self {
            // Nobody counts what is only a cache as a copy.
            DropCause::Garbage | DropCause::Evicted => Removal::Unneeded,
            DropCause::Rotten => Removal::Rotten,
            DropCause::LetGo(ticket) => Removal::LetGo(ticket),
        }
    }
}

impl Mind {
    /// Removes blobs. Nothing else is written by the mind meanwhile, so what wasn't named before this isn't until it is done;
    /// who names one of them later finds that it isn't here.
    pub(super) async fn drop_blobs(
        &mut self,
        mut blobs: Vec<Digest>,
        cause: DropCause,
        answer: oneshot::Sender<Result<HashSet<Digest>, String>>,
    ) -> Result<(), EngineFailed> {
        match cause {
            // Without notes nobody knows what was named.
            DropCause::Garbage => {
                blobs.retain(|digest| self.named.as_ref().is_some_and(|named| !named.contains(digest)));
            }
            DropCause::Evicted => blobs.retain(|digest| self.shared.cache.may_go(digest)),
            DropCause::Rotten | DropCause::LetGo(_) => {}
        }
        let now = self.shared.started.elapsed();
        self.rules(|rules| blobs.retain(|digest| rules.may_remove(digest, cause.as_removal(), now)));
        let going = blobs.clone();
        // Not behind the commit: from then on they may be fetched again, and then they count again.
        self.shared.cache.are_gone(&blobs);
        let batch = Batch { dropped: blobs.clone(), priority: Priority::Vital, ..Batch::default() };
        let committed = self.view.0.commit(batch).await;
        // Unless writing has failed, it is decided now; and then the node ends.
        self.rules(|rules| going.iter().for_each(|digest| rules.removed(digest)));
        let outcome = match committed {
            Ok(_) => Ok(blobs.into_iter().collect()),
            Err(error @ CommitError::NoSpace { .. }) => {
                cache::recount(&self.shared);
                Err(error.to_string())
            }
            Err(error) => return Err(EngineFailed { reason: error.to_string() }),
        };
        // Whoever asked may be gone.
        let _ = answer.send(outcome);
        Ok(())
    }

    /// Lists blobs that a live version names and that were here once.
    pub(super) async fn want(&mut self, wants: Vec<Want>) -> Result<(), EngineFailed> {
        let mut rows = Vec::new();
        for want in wants {
            let snapshot = self.shared.snapshot.borrow().clone();
            let is_mirrored = snapshot.repository_of(&want.space).is_some_and(|r| r.placement == Placement::Mirror);
            let failed = |ViewFault(reason)| EngineFailed { reason };
            let key = rows::catalog_key(&want.space, &want.path);
            let row = self.view.get(Table::Catalog, &key).map_err(failed)?;
            let versions = row.and_then(|row| rows::read::<Versions>(&row).ok()).unwrap_or_default();
            let is_live = versions.iter().any(|version| version.dot == want.dot);
            if is_mirrored && is_live && !self.view.has_blob(&want.digest).map_err(failed)? {
                rows.push(RowWrite::put(Tree::Meta, rows::want_key(&want.space, &want.dot), rows::write(&want)));
            }
        }
        let batch = Batch { rows, priority: Priority::Vital, ..Batch::default() };
        match self.view.0.commit(batch).await {
            Ok(_) => self.shared.wanted.notify_one(),
            Err(error @ CommitError::NoSpace { .. }) => tracing::warn!(%error, "missing blobs cannot be listed"),
            Err(error) => return Err(EngineFailed { reason: error.to_string() }),
        }
        Ok(())
    }

    fn rules<T>(&self, work: impl FnOnce(&mut Rules) -> T) -> T {
        work(&mut self.shared.leases.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes what rows name that are about to be written: for the collection that runs, and for what is being let go.
    pub(super) fn note_named(&mut self, rows: &[RowWrite]) {
        if let Some(named) = &mut self.named {
            rows.iter().for_each(|row| named.note(row));
        }
        if !self.rules(|rules| rules.has_intents()) {
            return;
        }
        let roots = every_root();
        let named = rows.iter().flat_map(|row| roots.iter().filter_map(|roots| roots.named_by(row)));
        for named in named.collect::<Vec<_>>() {
            self.rules(|rules| match &named {
                Ok(digests) => digests.iter().for_each(|digest| rules.named(Some(digest))),
                Err(_) => rules.named(None),
            });
        }
    }

    /// What leaves the history may soon be removed: the journal is to say where it was.
    pub(super) fn remember_paths(&self, rows: &[RowWrite]) {
        for row in rows.iter().filter(|row| row.tree == Tree::History && row.value.is_none()) {
            if let Ok(Some(value)) = self.view.get(Table::History, &row.key) {
                let mut paths = self.shared.last_paths.lock().unwrap_or_else(PoisonError::into_inner);
                paths.forget_row(&row.key, &value);
            }
        }
    }
}
