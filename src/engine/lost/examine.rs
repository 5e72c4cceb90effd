//! Asking everybody whether anything is left of a blob.

use std::collections::BTreeMap;
use std::sync::Arc;

use artimesh_core::model::{NodeId, PublicKey, Space};
use artimesh_core::trust::Role;
use futures::future::join_all;
use tokio::task::spawn_blocking;

use super::Lost;
use super::ledger::{self, Suspect};
use crate::engine::bulk::{Reference, WHOLE_MAX};
use crate::engine::journal::{self, Line};
use crate::engine::lease::{self, NOTHING_PROMISED, Word};
use crate::engine::serve;
use crate::engine::shared::Shared;
use crate::engine::snapshot::Snapshot;
use crate::store::{Batch, Priority, Tree};

/// The other full members of a space's federation in good standing.
fn others<'a>(snapshot: &'a Snapshot, space: &Space) -> impl Iterator<Item = (NodeId, PublicKey)> + use<'a> {
    let federation = snapshot.federations.get(space);
    let members = snapshot.members.iter().filter(move |(node, (_, role, _))| {
        *role == Role::Full && federation.is_some_and(|federation| federation.is_member(node))
    });
    members.map(|(node, (_, _, key))| (*node, *key))
}

/// What one member says of some blobs; `None` when it says nothing.
type Said = Option<Vec<Word>>;

/// What the members that are connected now say, and whether those are all.
pub(super) async fn ask(shared: &Arc<Shared>, space: &Space, references: &[Reference]) -> (Vec<(NodeId, Said)>, bool) {
    let snapshot = shared.snapshot.borrow().clone();
    let connected = shared.swarm.connected();
    let (near, far): (Vec<_>, Vec<_>) =
        others(&snapshot, space).partition(|(_, key)| connected.contains(key) && shared.understood(key).is_some());
    let asked = near.iter().map(|(node, key)| async move {
        let terms = lease::terms(NOTHING_PROMISED)?;
        Some((*node, lease::words(shared, key, references, terms).await))
    });
    let said: Vec<_> = join_all(asked).await.into_iter().flatten().collect();
    let is_all = far.is_empty() && said.len() == near.len();
    (said, is_all)
}

/// Finds out which of some blobs are lost, and writes that down.
pub(super) async fn examine(shared: &Arc<Shared>, suspects: Vec<Suspect>) {
    let mut by_space: BTreeMap<Space, Vec<Suspect>> = BTreeMap::new();
    for suspect in suspects {
        by_space.entry(suspect.reference.space).or_default().push(suspect);
    }
    for (space, suspects) in by_space {
        for some in suspects.chunks(WHOLE_MAX) {
            let some = missing(shared, some.to_vec()).await;
            if !some.is_empty() {
                examine_some(shared, &space, some).await;
            }
        }
    }
}

/// Those that aren't here, aren't known to be lost, and are named by a version that is shown here.
async fn missing(shared: &Arc<Shared>, mut suspects: Vec<Suspect>) -> Vec<Suspect> {
    let (store, snapshot) = (shared.store.clone(), shared.snapshot.borrow().clone());
    let looked = spawn_blocking(move || {
        suspects.retain(|Suspect { reference, .. }| {
            snapshot.repository_of(&reference.space).is_some()
                && matches!(store.blob(&reference.digest), Ok(None))
                && matches!(store.get(Tree::Meta, &ledger::key(&reference.space, &reference.digest)), Ok(None))
                && !serve::dots(&store, reference).is_empty()
        });
        suspects
    });
    looked.await.unwrap_or_default()
}

async fn examine_some(shared: &Arc<Shared>, space: &Space, suspects: Vec<Suspect>) {
    let references: Vec<Reference> = suspects.iter().map(|suspect| suspect.reference.clone()).collect();
    let (said, is_all) = ask(shared, space, &references).await;
    if !is_all || said.iter().any(|(_, words)| words.is_none()) {
        return;
    }
    let since = shared.clock.now();
    let asked: Vec<NodeId> = said.iter().map(|(node, _)| *node).collect();
    let is_nowhere = |at: usize| said.iter().flat_map(|(_, words)| words).all(|words| words[at] == Word::Absent);
    let lost: Vec<Lost> = suspects
        .into_iter()
        .enumerate()
        .filter(|(at, _)| is_nowhere(*at))
        .map(|(_, Suspect { reference: Reference { space, path, digest }, size })| Lost {
            space,
            path,
            digest,
            size,
            since,
            asked: asked.clone(),
        })
        .collect();
    write_down(shared, &lost).await;
}

async fn write_down(shared: &Arc<Shared>, lost: &[Lost]) {
    if lost.is_empty() {
        return;
    }
    let rows = lost.iter().map(ledger::row).collect();
    let batch = Batch { rows, priority: Priority::Vital, ..Batch::default() };
    if let Err(error) = shared.store.commit(batch).await {
        return tracing::warn!(%error, "that blobs are lost could not be written down");
    }
    shared.lost.added(lost.len());
    let mut lines = String::new();
    for lost in lost {
        tracing::error!(
            digest = %lost.digest.short(), path = %lost.path, members = lost.asked.len(),
            "a blob is lost: it isn't here, and no other member has it; upload it again, or bring back a node that has it"
        );
        let nodes = Some(lost.asked.iter().map(ToString::to_string).collect());
        let path = Some(lost.path.as_str());
        lines += &Line { path, nodes, ..Line::of(lost.since, "lost", lost.digest, lost.size) }.to_text();
    }
    journal::append(shared, lines).await;
}
