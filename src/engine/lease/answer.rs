//! The side that is asked: what this node says of blobs, and which of them it binds itself to keep.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use artimesh_core::model::{NodeId, Space};
use artimesh_core::replica::Placement;
use artimesh_core::trust::Role;
use tokio::task::spawn_blocking;

use super::kept;
use super::rules::{Steady, Verdict};
use super::statement::{Lease, LeaseBody, Terms, Word};
use crate::engine::bulk::{Answer, Reference, WHOLE_MAX};
use crate::engine::proof;
use crate::engine::serve;
use crate::engine::shared::Shared;
use crate::engine::snapshot::Snapshot;
use crate::store::{BlobReader, Store};

/// What there is of a blob here.
enum Held {
    Unknown,
    Absent,
    Stored(BlobReader),
}

/// A promise that isn't durable yet.
struct Promise {
    /// Which of the references.
    at: usize,
    until: Steady,
    proof: [u8; 32],
}

/// Answers what a peer asks about some blobs.
pub(in crate::engine) async fn answer(
    shared: &Arc<Shared>,
    asker: NodeId,
    mut references: Vec<Reference>,
    terms: Terms,
) -> Answer {
    references.truncate(WHOLE_MAX);
    let spaces = serve::shared_spaces(shared, asker, &references).await;
    let (store, asked, me) = (shared.store.clone(), references.clone(), shared.identity.node);
    let held = spawn_blocking(move || asked.iter().map(|reference| held(&store, &spaces, reference, me)).collect());
    let held: Vec<Held> = held.await.unwrap_or_default();
    let mut words: Vec<Word> = held.iter().map(without_promise).collect();
    words.resize(references.len(), Word::Unknown);
    if terms.term_ms > 0 {
        let promises = promises(shared, asker, &references, &held, &terms).await;
        tell(shared, asker, &references, promises, &terms, &mut words).await;
    }
    Answer::Words(words)
}

/// Blocks.
fn held(store: &Store, spaces: &HashSet<Space>, reference: &Reference, me: NodeId) -> Held {
    let dots = if spaces.contains(&reference.space) { serve::dots(store, reference) } else { Vec::new() };
    if dots.is_empty() {
        return Held::Unknown;
    }
    // Bytes that are here through another space only aren't here in this one, and nobody is told of them. What this node
    // wrote itself it has, though it may still be listed as wanted for a moment.
    let is_own = dots.iter().any(|dot| dot.incarnation.node == me);
    if !is_own && !serve::is_possessed(store, &reference.space, &dots) {
        return Held::Absent;
    }
    match store.reader(&reference.digest) {
        Ok(Some(reader)) => Held::Stored(reader),
        Ok(None) => Held::Absent,
        Err(_) => Held::Unknown,
    }
}

/// What is only on its way isn't here: it comes from somebody who can be asked as well, or it doesn't come.
fn without_promise(held: &Held) -> Word {
    match held {
        Held::Unknown => Word::Unknown,
        Held::Stored(_) => Word::Here,
        Held::Absent => Word::Absent,
    }
}

/// Whether this node and the asker are such that the one may promise the other anything in a space: a mirror, to a full
/// member.
fn may_promise(snapshot: &Snapshot, asker: &NodeId, space: &Space) -> bool {
    let is_mirror = snapshot.repository_of(space).is_some_and(|shown| shown.placement == Placement::Mirror);
    let is_full = snapshot.members.get(asker).is_some_and(|(_, role, _)| *role == Role::Full);
    let is_member = snapshot.federations.get(space).is_some_and(|federation| federation.is_member(asker));
    is_mirror && is_full && is_member
}

async fn promises(
    shared: &Shared,
    asker: NodeId,
    references: &[Reference],
    held: &[Held],
    terms: &Terms,
) -> Vec<Promise> {
    let snapshot = shared.snapshot.borrow().clone();
    let term = Duration::from_millis(terms.term_ms.into());
    let mut left = serve::PROVED_BYTES;
    let mut promises = Vec::new();
    for (at, (reference, held)) in references.iter().zip(held).enumerate() {
        let Held::Stored(reader) = held else { continue };
        let bytes = proof::bytes_read(reader.info().size);
        if !may_promise(&snapshot, &asker, &reference.space) || bytes > left {
            continue;
        }
        left -= bytes;
        // What can't be read can't be promised.
        let Ok(proof) = proof::prove(reader, &terms.nonce).await else { continue };
        let verdict = {
            let mut rules = shared.leases.lock().unwrap_or_else(PoisonError::into_inner);
            rules.request(asker, reference.digest, term, shared.started.elapsed())
        };
        // Only now nobody here removes it any more; it may have gone just before.
        match (verdict, shared.store.blob(&reference.digest)) {
            (Verdict::Granted(until), Ok(Some(_))) => promises.push(Promise { at, until, proof }),
            (Verdict::TooMany, _) => tracing::warn!(asker = %asker.short(), "a member holds too many leases"),
            _ => {}
        }
    }
    promises
}

/// Makes promises durable, and tells them.
async fn tell(
    shared: &Shared,
    asker: NodeId,
    references: &[Reference],
    promises: Vec<Promise>,
    terms: &Terms,
    words: &mut [Word],
) {
    let circle = shared.snapshot.borrow().circle;
    let (Some(circle), false) = (circle, promises.is_empty()) else { return };
    let (wall_ms, now) = (shared.clock.now().0, shared.started.elapsed());
    let left_ms = |promise: &Promise| promise.until.saturating_sub(now).as_millis() as u64;
    let rows: Vec<_> = promises
        .iter()
        .map(|promise| (references[promise.at].digest, asker, wall_ms.saturating_add(left_ms(promise))))
        .collect();
    if let Err(error) = kept::promise(shared, &rows).await {
        return tracing::warn!(%error, "a lease could not be made durable, so it is not granted");
    }
    for promise in promises {
        let reference = &references[promise.at];
        let body = LeaseBody {
            holder: shared.identity.node,
            asker,
            space: reference.space,
            digest: reference.digest,
            granted_ms: wall_ms,
            term_ms: u32::try_from(left_ms(&promise)).unwrap_or(u32::MAX),
            nonce: terms.nonce,
            proof: promise.proof,
        };
        words[promise.at] = Word::Leased(Lease::sign(&body, &shared.identity.log_key, &circle));
    }
}
