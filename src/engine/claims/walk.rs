//! One walk through all that is named and here.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use artimesh_core::catalog::Versions;
use artimesh_core::model::{ArtifactPath, Assurance, Checksums, Digest, NodeId, Space};
use artimesh_core::replica::rows;
use tokio::task::spawn_blocking;

use super::{Claims, FIRST_MAX, FalseClaim, false_sums};
use crate::engine::shared::Shared;
use crate::engine::snapshot::Snapshot;
use crate::store::{ConfirmError, ReadError, Store, Tree, has_md5};

/// Rows read at once.
const PAGE_ROWS: usize = 256;

/// What a version says.
struct Stated {
    path: ArtifactPath,
    digest: Digest,
    author: NodeId,
    claimed: Checksums,
}

/// Some of what is named and here.
struct Page {
    stated: Vec<Stated>,
    /// Blobs among them whose sums nobody has computed.
    claimed: Vec<Digest>,
    /// Whether sums of others were put off, and are computed elsewhere.
    waits: bool,
    next: Option<Vec<u8>>,
}

/// A walk that came to its end.
pub(super) struct Walked {
    /// How many versions it went through.
    pub versions: u32,
    /// Whether another one is needed, since sums that were put off couldn't be compared.
    pub waits: bool,
}

/// Why a walk came to no end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfinished {
    /// The node stops, or the store can't be read or written.
    #[error(transparent)]
    Store(#[from] ConfirmError),
    /// The node stops.
    #[error("the node is stopping")]
    Stopping,
}

impl From<ReadError> for Unfinished {
    fn from(error: ReadError) -> Self {
        Unfinished::Store(error.into())
    }
}

/// Confirms and compares all there is. What is found is told at once, what has ended at the end.
pub(super) async fn walk(shared: &Arc<Shared>) -> Result<Walked, Unfinished> {
    let snapshot = shared.snapshot.borrow().clone();
    let (mut found, mut walked) = (Claims::default(), Walked { versions: 0, waits: false });
    for repository in snapshot.repositories.values().filter(|repository| is_shared(&snapshot, &repository.space)) {
        let mut from = Some(rows::catalog_prefix(&repository.space, ""));
        while let Some(start) = from {
            let (store, space) = (shared.store.clone(), repository.space);
            let page = spawn_blocking(move || page(&store, &space, &start)).await;
            let Page { stated, claimed, waits, next } = page.map_err(|_| Unfinished::Stopping)??;
            walked.versions = walked.versions.saturating_add(stated.len() as u32);
            walked.waits |= waits;
            found.unreadable += confirm(shared, claimed).await?;
            let store = shared.store.clone();
            let compared = spawn_blocking(move || compare(&store, space, stated)).await;
            for claim in compared.map_err(|_| Unfinished::Stopping)?? {
                note(shared, &mut found, claim);
            }
            from = next;
        }
    }
    found.walked = Some(shared.clock.now());
    shared.claims.tell(found);
    Ok(walked)
}

/// Whether anybody else is a member of a repository's federation, or was: else there is nobody's word but this node's own.
pub(super) fn is_shared(snapshot: &Snapshot, space: &Space) -> bool {
    snapshot.federations.get(space).is_some_and(|federation| federation.members.len() > 1)
}

/// Reads some rows, when nobody waits for anything else. Blocks.
fn page(store: &Store, space: &Space, from: &[u8]) -> Result<Page, Unfinished> {
    if !store.step_aside() {
        return Err(Unfinished::Stopping);
    }
    let rows = store.range(Tree::Catalog, from, &rows::end_of(&rows::catalog_prefix(space, "")), PAGE_ROWS)?;
    let next = rows.last().filter(|_| rows.len() == PAGE_ROWS).map(|(last, _)| [last.as_slice(), &[0]].concat());
    let (mut stated, mut claimed, mut waits) = (Vec::new(), HashSet::new(), false);
    for (key, value) in &rows {
        // What makes no sense here is told where it is shown.
        let (Some(path), Ok(versions)) = (rows::catalog_path(key), rows::read::<Versions>(value)) else { continue };
        for version in versions.iter().filter(|_| !path.is_folder()) {
            let content = &version.content;
            let Some(info) = store.blob(&content.digest)? else { continue };
            match info.assurance {
                Assurance::Confirmed => {}
                Assurance::Claimed if has_md5(&info.checksums) => {
                    claimed.insert(content.digest);
                }
                // Whoever computes what was put off computes the others with it.
                Assurance::Claimed => waits = true,
            }
            let (digest, author) = (content.digest, version.dot.incarnation.node);
            stated.push(Stated { path: path.clone(), digest, author, claimed: content.checksums });
        }
    }
    Ok(Page { stated, claimed: claimed.into_iter().collect(), waits, next })
}

/// Computes what nobody has computed; how much of it can't be.
async fn confirm(shared: &Shared, mut blobs: Vec<Digest>) -> Result<u64, Unfinished> {
    let rate = shared.options.upkeep.scrub_bytes_per_s;
    let mut unreadable = 0;
    while !blobs.is_empty() {
        let before = blobs.len();
        let summed = shared.store.confirm_some(&mut blobs, rate).await?;
        shared.claims.confirmed.fetch_add(summed.confirmed, Ordering::Relaxed);
        for (digest, error) in summed.failed {
            match error {
                // Who claims it is found below, with whoever else does.
                ConfirmError::Mismatch { .. } => {}
                _ => {
                    unreadable += 1;
                    tracing::warn!(%digest, %error, "the checksums of a blob cannot be computed: {error}; scrub the store");
                }
            }
        }
        if blobs.len() == before {
            return Err(Unfinished::Stopping);
        }
    }
    Ok(unreadable)
}

/// Those whose claim is false. Blocks.
fn compare(store: &Store, space: Space, stated: Vec<Stated>) -> Result<Vec<FalseClaim>, Unfinished> {
    let mut claims = Vec::new();
    for Stated { path, digest, author, claimed } in stated {
        let Some(computed) = store.confirmed_sums(&digest)? else { continue };
        if !false_sums(&claimed, &computed).is_empty() {
            claims.push(FalseClaim { space, path, digest, author, claimed, computed });
        }
    }
    Ok(claims)
}

/// Adds a false claim to what this walk found, and tells it now if it is news.
fn note(shared: &Shared, found: &mut Claims, claim: FalseClaim) {
    found.count += 1;
    if found.first.len() >= FIRST_MAX {
        return;
    }
    let known = shared.claims.claims.load_full();
    if !known.first.contains(&claim) && known.first.len() < FIRST_MAX {
        let snapshot = shared.snapshot.borrow().clone();
        let repository = snapshot.repository_of(&claim.space).map(|repository| repository.key.to_string());
        let (repository, sums) = (repository.unwrap_or_default(), claim.sums().join(", "));
        tracing::error!(
            repository, path = %claim.path, author = %claim.author, digest = %claim.digest, sums,
            "the author of an artifact claims other checksums than its bytes have: answers say what was computed here"
        );
        let mut told = Claims::clone(&known);
        told.count += 1;
        told.first.push(claim.clone());
        shared.claims.tell(told);
    }
    found.first.push(claim);
}
