//! The task that finds out what is lost, and when that ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use artimesh_core::model::Space;
use tokio::task::spawn_blocking;

use super::Lost;
use super::examine::{ask, examine};
use super::ledger::{self, LOST, LostPage};
use crate::engine::bulk::{Reference, WHOLE_MAX};
use crate::engine::journal::{self, Line};
use crate::engine::lease::{self, Word};
use crate::engine::serve;
use crate::engine::shared::Shared;
use crate::store::{Batch, Priority, ReadError, RowWrite, Tree};

/// How often what is lost is asked about again though nobody has come.
pub(super) const REVIEW: Duration = Duration::from_secs(60);

/// A peer that has just come may have told only the half of what it knows.
const SETTLE: Duration = Duration::from_millis(500);

/// Why a blob isn't lost any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ended {
    Here,
    AtAMember,
    Unnamed,
}

impl Ended {
    fn event(self) -> &'static str {
        match self {
            Ended::Here => "found",
            Ended::AtAMember => "found at a member",
            Ended::Unnamed => "lost and given up",
        }
    }
}

/// Examines suspects, and reviews what is lost, until the engine stops.
pub(in crate::engine) async fn watch(shared: Arc<Shared>) {
    let mut arrivals = shared.arrivals.subscribe();
    loop {
        let is_review = tokio::select! {
            () = shared.lost.suspected.notified() => false,
            Ok(()) = arrivals.changed() => {
                tokio::time::sleep(SETTLE).await;
                true
            }
            () = tokio::time::sleep(REVIEW) => true,
            () = shared.stop.cancelled() => return,
        };
        let work = async {
            if is_review {
                lease::sweep(&shared, shared.started.elapsed()).await;
                review(&shared).await;
            }
            examine(&shared, shared.lost.take_suspects()).await;
        };
        tokio::select! {
            () = work => {}
            () = shared.stop.cancelled() => return,
        }
    }
}

/// Goes through what is lost once.
async fn review(shared: &Arc<Shared>) {
    let mut from = Some(LOST.to_vec()).filter(|_| shared.lost.has_any());
    while let Some(start) = from.take() {
        let task = shared.clone();
        let looked = spawn_blocking(move || look(&task, &start)).await;
        let (ended, still, next) = match looked {
            Ok(Ok(looked)) => looked,
            Ok(Err(error)) => return tracing::warn!(%error, "the list of lost blobs can't be read"),
            // The runtime is ending.
            Err(_) => return,
        };
        end(shared, ended).await;
        for (space, some) in still {
            for some in some.chunks(WHOLE_MAX) {
                let found = at_members(shared, &space, some).await;
                end(shared, found).await;
            }
        }
        from = next;
    }
}

type Looked = (Vec<(Vec<u8>, Option<Lost>, Ended)>, BTreeMap<Space, Vec<Lost>>, Option<Vec<u8>>);

/// What of a page has ended as far as this node can tell, and what is to be asked about. Blocks.
fn look(shared: &Shared, start: &[u8]) -> Result<Looked, ReadError> {
    let LostPage { rows, next } = ledger::page(&shared.store, LOST, start)?;
    let snapshot = shared.snapshot.borrow().clone();
    let (mut ended, mut still) = (Vec::new(), BTreeMap::<Space, Vec<Lost>>::new());
    for (key, lost) in rows {
        // One that makes no sense to this release is found out anew.
        let Some(lost) = lost else {
            ended.push((key, None, Ended::Unnamed));
            continue;
        };
        let is_shown = snapshot.repository_of(&lost.space).is_some();
        if shared.store.blob(&lost.digest)?.is_some() {
            ended.push((key, Some(lost), Ended::Here));
        } else if !is_shown || serve::dots(&shared.store, &lost.reference()).is_empty() {
            ended.push((key, Some(lost), Ended::Unnamed));
        } else {
            still.entry(lost.space).or_default().push(lost);
        }
    }
    Ok((ended, still, next))
}

/// Those that a member has after all.
async fn at_members(shared: &Arc<Shared>, space: &Space, some: &[Lost]) -> Vec<(Vec<u8>, Option<Lost>, Ended)> {
    let references: Vec<Reference> = some.iter().map(Lost::reference).collect();
    let (said, _) = ask(shared, space, &references).await;
    let has = |at: usize| {
        let words = said.iter().filter_map(|(_, words)| words.as_ref()?.get(at));
        words.into_iter().any(|word| matches!(word, Word::Here | Word::Leased(_)))
    };
    let found = some.iter().enumerate().filter(|(at, _)| has(*at));
    found.map(|(_, lost)| (ledger::key(space, &lost.digest), Some(lost.clone()), Ended::AtAMember)).collect()
}

async fn end(shared: &Arc<Shared>, ended: Vec<(Vec<u8>, Option<Lost>, Ended)>) {
    if ended.is_empty() {
        return;
    }
    let rows = ended.iter().map(|(key, ..)| RowWrite::delete(Tree::Meta, key.clone())).collect();
    let batch = Batch { rows, priority: Priority::Vital, ..Batch::default() };
    if let Err(error) = shared.store.commit(batch).await {
        return tracing::warn!(%error, "that blobs are found again could not be written down");
    }
    shared.lost.removed(ended.len());
    let now = shared.clock.now();
    let mut lines = String::new();
    for (_, lost, why) in &ended {
        let Some(lost) = lost else { continue };
        tracing::info!(digest = %lost.digest.short(), path = %lost.path, ?why, "a blob isn't lost any more");
        let path = Some(lost.path.as_str());
        lines += &Line { path, ..Line::of(now, why.event(), lost.digest, lost.size) }.to_text();
    }
    journal::append(shared, lines).await;
    if ended.iter().any(|(_, _, why)| *why == Ended::AtAMember) {
        shared.wanted.notify_one();
    }
}
