//! Blobs that rotted: they count as absent from now on, and good bytes are fetched where somebody has them.
//!
//! The mind drops them, as it does garbage, so that whatever it decides while it holds that a blob is here is true when it
//! is written. Then the catalogs are gone through once: for each live version on a mirror that names one of them a row is
//! listed among the wanted blobs, unless the mind has done so itself meanwhile. Elsewhere a reader's request fetches them.
//! Of a large file what is left is kept under another name until its blob is whole again.

use std::collections::HashSet;
use std::sync::Arc;

use artimesh_core::catalog::Versions;
use artimesh_core::model::{Digest, Space};
use artimesh_core::replica::{Placement, Want, rows};
use tokio::sync::oneshot;

use super::journal;
use super::mind::Message;
use super::removal::DropCause;
use super::shared::Shared;
use crate::store::{ReadError, Rotten, Tree};

/// Rows read at once.
const PAGE_ROWS: usize = 512;
/// So many wanted blobs are handed to the mind at once.
const WANTS_TOGETHER: usize = 256;

/// Takes rotten blobs out of use and has them fetched. Blocks. What can't be done is logged, and found again by the next
/// scrub.
pub(super) fn quarantine(shared: &Arc<Shared>, rotten: &[Rotten]) {
    let mut lines = String::new();
    for blob in rotten {
        tracing::error!(
            digest = %blob.digest, bytes = blob.size_bytes, path = %blob.path.display(),
            "a blob rotted on this node's disk: it is taken out of use, and fetched from others that have it"
        );
        blob.file.into_iter().for_each(|file| shared.store.spoil(file));
        lines += &journal::rotten(shared.clock.now(), blob);
    }
    if let Err(error) = journal::append_here(shared, &lines) {
        tracing::warn!(%error, "the journal can't be written");
    }
    let (answer, dropped) = oneshot::channel();
    let blobs = rotten.iter().map(|blob| blob.digest).collect();
    let drop = Message::Drop { blobs, cause: DropCause::Rotten, answer };
    if shared.inbox.blocking_send(drop).is_err() {
        return;
    }
    match dropped.blocking_recv() {
        Ok(Ok(dropped)) => {
            if let Err(error) = want_again(shared, &dropped) {
                tracing::error!(%error, "who needs the blobs that rotted cannot be found out");
            }
        }
        Ok(Err(reason)) => tracing::error!(reason, "blobs that rotted cannot be taken out of use"),
        // The engine is stopping.
        Err(_) => {}
    }
}

/// Has everything fetched again that a live version names on a mirror. Blocks.
fn want_again(shared: &Arc<Shared>, gone: &HashSet<Digest>) -> Result<(), ReadError> {
    let snapshot = shared.snapshot.borrow().clone();
    for repository in snapshot.repositories.values().filter(|shown| shown.placement == Placement::Mirror) {
        want_in(shared, repository.space, gone)?;
    }
    Ok(())
}

fn want_in(shared: &Arc<Shared>, space: Space, gone: &HashSet<Digest>) -> Result<(), ReadError> {
    let mut wants = Vec::new();
    let mut from = rows::catalog_prefix(&space, "");
    let end = rows::end_of(&from);
    loop {
        let page = shared.store.range(Tree::Catalog, &from, &end, PAGE_ROWS)?;
        page.iter().for_each(|(key, value)| collect_wants(space, key, value, gone, &mut wants));
        if wants.len() >= WANTS_TOGETHER {
            send(shared, std::mem::take(&mut wants));
        }
        match page.last() {
            Some((last, _)) if page.len() == PAGE_ROWS && !shared.stop.is_cancelled() => {
                from = [last.as_slice(), &[0]].concat();
            }
            _ => break,
        }
    }
    send(shared, wants);
    Ok(())
}

fn send(shared: &Shared, wants: Vec<Want>) {
    if !wants.is_empty() {
        // An engine that is stopping finds them missing when a reader asks.
        let _ = shared.inbox.blocking_send(Message::Want(wants));
    }
}

fn collect_wants(space: Space, key: &[u8], value: &[u8], gone: &HashSet<Digest>, wants: &mut Vec<Want>) {
    let Ok(versions) = rows::read::<Versions>(value) else { return };
    let Some(path) = rows::catalog_path(key) else { return };
    for version in versions.iter().filter(|version| gone.contains(&version.content.digest)) {
        let content = &version.content;
        wants.push(Want {
            space,
            dot: version.dot,
            path: path.clone(),
            digest: content.digest,
            size: content.size,
            checksums: content.checksums,
        });
    }
}
