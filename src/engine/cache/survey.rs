//! Looking who needs what is held as a cache: before anything goes of which that isn't known.
//!
//! Digests have no list of who names them, so the rows are gone through that could make a blob more than cached: all but
//! those of repositories that keep only what was read and in which this node never wrote. At an edge that is next to
//! nothing. A *census* goes through those as well and enters what is here and isn't in the ledger; it is made where the
//! ledger may be wrong: when there is none, and when the node that wrote it was killed.
//!
//! # Why nothing is missed
//! A blob is looked for from the moment at which it stands in the ledger. A row that names it was at rest before that, and
//! is seen here; or it came later, and the mind took the blob out of the ledger right behind the commit of that row
//! ([`super::Cache::note`]), before it drops anything: it does one thing at a time.

use std::collections::HashSet;
use std::sync::Arc;

use artimesh_core::catalog::Versions;
use artimesh_core::model::Digest;
use artimesh_core::replica::rows;

use super::super::gc::roots;
use super::super::shared::Shared;
use super::ledger::Line;
use super::places::{Places, Scope};
use crate::engine::gc::CollectError;
use crate::store::{RowWrite, Tree, stored_bytes};

/// So many rows are read between two looks at whoever waits.
const PIECE_ROWS: u64 = 4096;

/// How thoroughly it is looked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Survey {
    /// Who needs what is in the ledger.
    Needs,
    /// What is here, too.
    Census,
}

/// Steps aside now and then, and ends when the node stops.
struct Steps<'a> {
    shared: &'a Shared,
    rows: u64,
}

impl Steps<'_> {
    fn step(&mut self) -> Result<(), CollectError> {
        self.rows += 1;
        let is_due = self.rows.is_multiple_of(PIECE_ROWS);
        if self.shared.stop.is_cancelled() || (is_due && !self.shared.store.step_aside()) {
            return Err(CollectError::Stopping);
        }
        Ok(())
    }
}

/// Looks once. Blocks. After an error nothing more is known than before, and nothing goes that wasn't known to be needless.
pub(super) fn look(shared: &Arc<Shared>, survey: Survey) -> Result<(), CollectError> {
    let places = shared.cache.places();
    if survey == Survey::Census {
        forget_absent(shared)?;
        enter_present(shared, &places)?;
    }
    let ledger = shared.cache.ledger();
    ledger.begin_look();
    let looked = forget_needed(shared, &places).and_then(|()| note_pinned(shared, &places));
    // Who came to need everything under other rules isn't known.
    ledger.end_look(looked.is_ok() && Arc::ptr_eq(&places, &shared.cache.places()));
    looked
}

fn forget_needed(shared: &Shared, places: &Arc<Places>) -> Result<(), CollectError> {
    let scope = Scope::of(places.clone(), &shared.store)?;
    let mut steps = Steps { shared, rows: 0 };
    for roots in roots::all() {
        let mut see = |digest: &Digest| {
            shared.cache.ledger().remove(digest);
            steps.step().is_ok()
        };
        roots.visit_needed(&shared.store, &scope, &mut see)?;
    }
    Ok(())
}

fn note_pinned(shared: &Shared, places: &Places) -> Result<(), CollectError> {
    let mut steps = Steps { shared, rows: 0 };
    for (from, to) in places.pinned_ranges() {
        let mut look = |row: &RowWrite| {
            pinned_by(places, row).iter().for_each(|digest| shared.cache.ledger().pin(digest));
            steps.step()
        };
        roots::visit_rows(&shared.store, Tree::Catalog, (&from, &to), &mut look)?;
    }
    Ok(())
}

/// The blobs that stay because a row of the catalog is pinned.
pub(super) fn pinned_by(places: &Places, row: &RowWrite) -> Vec<Digest> {
    let value = row.value.as_ref().filter(|_| row.tree == Tree::Catalog && places.pins(&row.key));
    let versions = value.and_then(|value| rows::read::<Versions>(value).ok()).unwrap_or_default();
    versions.iter().map(|version| version.content.digest).collect()
}

/// Which of some blobs are pinned, whatever the places of their rows keep. Blocks.
pub(in crate::engine) fn pinned(shared: &Shared, blobs: &HashSet<Digest>) -> Result<HashSet<Digest>, CollectError> {
    let places = shared.cache.places();
    let mut found = HashSet::new();
    for (from, to) in places.pinned_ranges() {
        let mut look = |row: &RowWrite| {
            found.extend(pinned_by(&places, row).into_iter().filter(|digest| blobs.contains(digest)));
            Ok(())
        };
        roots::visit_rows(&shared.store, Tree::Catalog, (&from, &to), &mut look)?;
    }
    Ok(found)
}

/// What is in the ledger and not here: it went before the end that the ledger doesn't tell of.
fn forget_absent(shared: &Shared) -> Result<(), CollectError> {
    let mut steps = Steps { shared, rows: 0 };
    let parts: HashSet<Digest> = shared.store.fills_at_rest().into_iter().map(|(digest, _)| digest).collect();
    for line in shared.cache.ledger().lines() {
        let is_here =
            if line.is_partial { parts.contains(&line.digest) } else { shared.store.blob(&line.digest)?.is_some() };
        if !is_here {
            shared.cache.ledger().remove(&line.digest);
        }
        steps.step()?;
    }
    Ok(())
}

/// What is here and not in the ledger. When it was read nobody knows: it counts as read now.
fn enter_present(shared: &Shared, places: &Places) -> Result<(), CollectError> {
    let read_ms = shared.clock.now().0;
    for (digest, bytes) in shared.store.fills_at_rest() {
        if !shared.cache.is_on_its_way(&digest) {
            shared.cache.ledger().insert_found(Line { digest, bytes, read_ms, is_partial: true });
        }
    }
    let mut steps = Steps { shared, rows: 0 };
    for space in places.spaces() {
        for tree in [Tree::Catalog, Tree::History] {
            let mut look = |row: &RowWrite| {
                for digest in named_by(row) {
                    if let Some(info) = shared.store.blob(&digest)? {
                        let bytes = stored_bytes(info.size);
                        shared.cache.ledger().insert_found(Line { digest, bytes, read_ms, is_partial: false });
                    }
                }
                steps.step()
            };
            roots::visit_rows(&shared.store, tree, (space, &rows::end_of(space)), &mut look)?;
        }
    }
    Ok(())
}

/// What a row of the catalog or the history names; one that can't be read makes the look behind this end.
fn named_by(row: &RowWrite) -> Vec<Digest> {
    let Some(value) = &row.value else { return Vec::new() };
    if row.tree == Tree::History {
        let past = rows::historic(&row.key, value).ok().flatten();
        return past.map(|past| past.version.content.digest).into_iter().collect();
    }
    let versions = rows::read::<Versions>(value).unwrap_or_default();
    versions.iter().map(|version| version.content.digest).collect()
}
