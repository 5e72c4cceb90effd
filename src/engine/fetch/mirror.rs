//! The task that fetches what this node's mirrors lack. Its queue is the rows at rest, so nothing is forgotten.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use artimesh_core::model::Dot;
use artimesh_core::replica::{Want, rows};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::flight::{self, Wish};
use super::peer;
use crate::engine::bulk::{GROUP_BYTES, Reference, WHOLE_MAX};
use crate::engine::shared::Shared;
use crate::store::{Batch, FillError, Priority, RowWrite, Tree};

/// Rows looked at at once.
const PAGE: usize = 256;

/// Blobs up to this size travel many to a request.
const SMALL_BYTES_MAX: u64 = 256 * 1024;

/// How long to wait before trying again what nobody could give.
const RETRY: Duration = Duration::from_secs(2);

type Busy = Arc<Mutex<HashSet<Dot>>>;

/// Fetches wanted blobs until the engine stops.
pub(in crate::engine) async fn mirror(shared: Arc<Shared>) {
    let stop = shared.stop.clone();
    let busy: Busy = Arc::default();
    let permits = Arc::new(Semaphore::new(shared.options.fetches.max(1)));
    let mut units = JoinSet::new();
    loop {
        let pass = pass(&shared, &busy, &permits, &mut units);
        let left = tokio::select! {
            left = pass => left,
            () = stop.cancelled() => return,
        };
        while units.try_join_next().is_some() {}
        tokio::select! {
            () = shared.wanted.notified() => {}
            () = tokio::time::sleep(RETRY), if left => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Goes through all wanted blobs once; says whether any was left wanting.
async fn pass(shared: &Arc<Shared>, busy: &Busy, permits: &Arc<Semaphore>, units: &mut JoinSet<()>) -> bool {
    let (mut from, end) = (rows::WANTS.to_vec(), rows::end_of(rows::WANTS));
    let snapshot = shared.snapshot.borrow().clone();
    let mut left = false;
    loop {
        let page = match shared.store.range(Tree::Meta, &from, &end, PAGE) {
            Ok(page) => page,
            Err(error) => {
                tracing::error!(%error, "the list of wanted blobs cannot be read");
                return true;
            }
        };
        let mut small: Vec<Want> = Vec::new();
        for (_, value) in &page {
            let Ok(want) = rows::read::<Want>(value) else { continue };
            if snapshot.repository_of(&want.space).is_none() {
                // Nobody would read it here; when a repository shows the space again, this is looked at again.
                continue;
            }
            left = true;
            if busy.lock().unwrap_or_else(PoisonError::into_inner).contains(&want.dot) {
                continue;
            }
            let full = small.len() == WHOLE_MAX
                || small.iter().map(|want| want.size).sum::<u64>() + want.size > 4 * GROUP_BYTES
                || small.first().is_some_and(|first| first.space != want.space);
            if want.size <= SMALL_BYTES_MAX {
                if full {
                    spawn(shared, busy, permits, units, std::mem::take(&mut small)).await;
                }
                small.push(want);
            } else {
                spawn(shared, busy, permits, units, vec![want]).await;
            }
        }
        if !small.is_empty() {
            spawn(shared, busy, permits, units, small).await;
        }
        match page.last() {
            Some((last, _)) if page.len() == PAGE => from = [last.as_slice(), &[0]].concat(),
            _ => return left,
        }
    }
}

async fn spawn(shared: &Arc<Shared>, busy: &Busy, permits: &Arc<Semaphore>, units: &mut JoinSet<()>, wants: Vec<Want>) {
    let Ok(permit) = permits.clone().acquire_owned().await else { return };
    let dots: Vec<Dot> = wants.iter().map(|want| want.dot).collect();
    busy.lock().unwrap_or_else(PoisonError::into_inner).extend(dots.iter().copied());
    let (shared, busy) = (shared.clone(), busy.clone());
    units.spawn(async move {
        fetch(&shared, wants).await;
        let mut busy = busy.lock().unwrap_or_else(PoisonError::into_inner);
        for dot in &dots {
            busy.remove(dot);
        }
        drop(permit);
    });
}

fn done(want: &Want) -> RowWrite {
    RowWrite::delete(Tree::Meta, rows::want_key(&want.space, &want.dot))
}

fn reference(want: &Want) -> Reference {
    Reference { space: want.space, path: want.path.clone(), digest: want.digest }
}

async fn fetch(shared: &Arc<Shared>, wants: Vec<Want>) {
    let is_here = |want: &Want| matches!(shared.store.blob(&want.digest), Ok(Some(_)));
    let (here, missing): (Vec<Want>, Vec<Want>) = wants.into_iter().partition(is_here);
    if !here.is_empty() {
        let rows = here.iter().map(done).collect();
        commit(shared, Batch { rows, priority: Priority::Vital, ..Batch::default() }).await;
    }
    match missing.as_slice() {
        [] => {}
        [want] if want.size > SMALL_BYTES_MAX => large(shared, want).await,
        _ => small(shared, missing).await,
    }
}

async fn large(shared: &Arc<Shared>, want: &Want) {
    let wish = Wish {
        reference: reference(want),
        size: want.size,
        checksums: want.checksums,
        author: want.dot.incarnation.node,
        rows: vec![rows::want_key(&want.space, &want.dot)],
    };
    match flight::depart(shared, wish).await {
        // What happened is logged by the flight; the row stays until the blob is here.
        Ok(flight) => drop(flight.landed().await),
        Err(error) => tracing::warn!(path = %want.path, %error, "a blob cannot be stored here"),
    }
}

/// Asks one peer after the other for what is still missing of a batch.
async fn small(shared: &Arc<Shared>, mut missing: Vec<Want>) {
    let Some(first) = missing.first() else { return };
    let dice = getrandom::u32().unwrap_or_default() as usize;
    for (node, key) in peer::candidates(shared, &first.space.clone(), first.dot.incarnation.node, dice) {
        let references = missing.iter().map(reference).collect();
        let blobs = match peer::whole_from(shared, key, references).await {
            Ok(blobs) => blobs,
            Err(error) => {
                tracing::debug!(node = %node.short(), %error, "a peer was of no use");
                continue;
            }
        };
        let mut batch = Batch { priority: Priority::Normal, ..Batch::default() };
        let mut still = Vec::new();
        for (want, bytes) in missing.into_iter().zip(blobs) {
            match stage(shared, &want, bytes).await {
                Ok(Some(staged)) => {
                    batch.rows.push(done(&want));
                    batch.blobs.push(staged);
                }
                Ok(None) => still.push(want),
                Err(reason) => {
                    tracing::error!(node = %node.short(), path = %want.path, reason, "a peer sent wrong bytes");
                    still.push(want);
                }
            }
        }
        let count = batch.blobs.len() as u64;
        if count > 0 && commit(shared, batch).await {
            shared.fetched.stored(count);
        }
        missing = still;
        if missing.is_empty() {
            return;
        }
    }
    shared.fetched.failed();
}

async fn stage(
    shared: &Arc<Shared>,
    want: &Want,
    bytes: Option<bytes::Bytes>,
) -> Result<Option<crate::store::Staged>, String> {
    let Some(bytes) = bytes else { return Ok(None) };
    let fill = match shared.store.fill(want.digest, want.size, want.checksums).await {
        Ok(fill) => fill,
        Err(error) => {
            tracing::warn!(path = %want.path, %error, "a blob cannot be stored here");
            return Ok(None);
        }
    };
    match fill.write_group(0, bytes).await {
        Ok(()) => {}
        Err(error @ (FillError::BadGroup { .. } | FillError::OutOfRange { .. })) => return Err(error.to_string()),
        Err(_) => return Ok(None),
    }
    Ok(fill.finish().await.ok())
}

async fn commit(shared: &Arc<Shared>, batch: Batch) -> bool {
    match shared.store.commit(batch).await {
        Ok(_) => true,
        Err(error) => {
            tracing::warn!(%error, "fetched blobs could not be stored");
            false
        }
    }
}
