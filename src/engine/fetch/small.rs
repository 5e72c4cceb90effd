//! Small blobs, many to a request, verified and committed a batch at a time.

use std::sync::{Arc, PoisonError};

use artimesh_core::model::{NodeId, PublicKey};
use artimesh_core::replica::{Want, rows};
use bytes::Bytes;
use tokio::task::spawn_blocking;

use super::peer::{self, PeerError};
use crate::engine::bulk::{Answer, Reference, Request};
use crate::engine::line::{Expected, Urgency};
use crate::engine::lost::Suspect;
use crate::engine::shared::Shared;
use crate::store::{Batch, RowWrite, Staged, Tree};

/// What became of a batch that was asked of one peer.
struct Verified {
    staged: Vec<(Want, Staged)>,
    wrong: Vec<Want>,
    missing: Vec<Want>,
}

pub(super) fn reference(want: &Want) -> Reference {
    Reference { space: want.space, path: want.path.clone(), digest: want.digest }
}

/// The row of a want that isn't one any more.
pub(super) fn done(want: &Want) -> RowWrite {
    RowWrite::delete(Tree::Meta, rows::want_key(&want.space, &want.dot))
}

/// Asks one peer after the other for what is still missing of a batch, all of one space.
pub(super) async fn fetch(shared: &Arc<Shared>, mut missing: Vec<Want>) {
    let Some(first) = missing.first() else { return };
    let dice = getrandom::u32().unwrap_or_default() as usize;
    let author = first.dot.incarnation.node;
    for (node, key) in peer::candidates(shared, &first.space.clone(), author, None, dice) {
        let blobs = match whole_from(shared, key, &missing).await {
            Ok(blobs) => blobs,
            Err(error) => {
                let Some(want) = missing.first() else { return };
                peer::note(shared, node, want.digest, want.path.as_str(), &error);
                continue;
            }
        };
        missing = keep(shared, node, missing, blobs).await;
        if missing.is_empty() {
            return;
        }
    }
    shared.fetched.failed();
    shared.lost.suspect(missing.iter().map(suspect));
}

/// What nobody gave may be lost.
pub(super) fn suspect(want: &Want) -> Suspect {
    Suspect { reference: reference(want), size: want.size }
}

/// Asks for several small blobs at once; `None` for those that the peer doesn't have.
async fn whole_from(shared: &Arc<Shared>, peer: PublicKey, wants: &[Want]) -> Result<Vec<Option<Bytes>>, PeerError> {
    let line = shared.lines.of(&peer);
    let bytes = wants.iter().map(|want| want.size).sum();
    let permit = line.admit(shared, bytes, Urgency::Bulk).await;
    let request = Request::Whole(wants.iter().map(reference).collect());
    let expected = Expected { answers: wants.len(), ends_when_not_found: false };
    let mut answers = line.ask(shared, &request, expected, permit).await?;
    let mut blobs = Vec::with_capacity(wants.len());
    for want in wants {
        match answers.next().await? {
            Answer::Whole(bytes) => {
                shared.fetched.received(bytes.len() as u64);
                if bytes.len() as u64 != want.size {
                    return Err(PeerError::Wrong(format!("{} bytes instead of {}", bytes.len(), want.size)));
                }
                blobs.push(Some(bytes));
            }
            Answer::NotFound => blobs.push(None),
            _ => return Err(PeerError::Wrong("not a blob".into())),
        }
    }
    Ok(blobs)
}

/// Commits what is right of a batch; what is still missing of it.
async fn keep(shared: &Arc<Shared>, node: NodeId, wants: Vec<Want>, blobs: Vec<Option<Bytes>>) -> Vec<Want> {
    let before = wants.clone();
    let Ok(verified) = spawn_blocking(move || verify(wants, blobs)).await else { return before };
    let Verified { staged, wrong, mut missing } = verified;
    for want in &wrong {
        let error = PeerError::Wrong("its bytes have another digest".into());
        peer::note(shared, node, want.digest, want.path.as_str(), &error);
    }
    missing.extend(wrong);
    let (wants, blobs): (Vec<Want>, Vec<Staged>) = staged.into_iter().unzip();
    let count = blobs.len() as u64;
    if count == 0 {
        return missing;
    }
    let batch = Batch { rows: wants.iter().map(done).collect(), blobs, ..Batch::default() };
    if commit(shared, batch).await {
        shared.fetched.stored(count);
        shared.standings.lock().unwrap_or_else(PoisonError::into_inner).praise(&node);
    }
    missing
}

/// Hashes.
fn verify(wants: Vec<Want>, blobs: Vec<Option<Bytes>>) -> Verified {
    let mut verified = Verified { staged: Vec::with_capacity(wants.len()), wrong: Vec::new(), missing: Vec::new() };
    for (want, bytes) in wants.into_iter().zip(blobs) {
        match bytes {
            None => verified.missing.push(want),
            Some(bytes) => match Staged::verified(want.digest, bytes, want.checksums) {
                Some(staged) => verified.staged.push((want, staged)),
                None => verified.wrong.push(want),
            },
        }
    }
    verified
}

pub(super) async fn commit(shared: &Arc<Shared>, batch: Batch) -> bool {
    match shared.store.commit(batch).await {
        Ok(_) => true,
        Err(error) => {
            tracing::warn!(%error, "fetched blobs could not be stored");
            false
        }
    }
}
