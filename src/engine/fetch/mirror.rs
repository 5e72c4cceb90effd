//! The task that fetches what this node's mirrors lack. Its queue is the rows at rest, so nothing is forgotten.
//!
//! # Why
//! It reads ahead: batches of small blobs are under way, verified and committed at the same time, so that neither a round
//! trip nor a sync is waited for with nothing else to do. What bounds it is bytes, not batches. A pass goes through the
//! list once, as fast as blobs come; the next begins when it is over, so rows are looked at about twice.
//!
//! A blob that is here already may be so through another space only. Then it stays on the list, and isn't given to other
//! members of this one, until one of them has proved to have it, or sent it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use artimesh_core::catalog::Federation;
use artimesh_core::model::Dot;
use artimesh_core::replica::{Want, rows};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinSet, spawn_blocking};

use super::flight::{self, Wish};
use super::possession;
use super::small;
use crate::engine::bulk::{GROUP_BYTES, WHOLE_MAX};
use crate::engine::error::FetchError;
use crate::engine::shared::Shared;
use crate::engine::snapshot::Snapshot;
use crate::store::{Batch, Priority, Tree};

/// Rows looked at at once.
const PAGE: usize = 512;

/// Blobs up to this size travel many to a request.
const SMALL_BYTES_MAX: u64 = 256 * 1024;

/// Bytes of one batch of small blobs.
const BATCH_BYTES_MAX: u64 = GROUP_BYTES;

/// Small blobs in memory: asked for, verified or being committed. In KiB, and each batch counts at least one hundredth
/// of it, which bounds the batches too.
const SMALL_KIB_MAX: u32 = 32 * 1024;
const BATCH_KIB_MIN: u32 = 160;

/// How long to wait before trying again what nobody could give: from the first time on, doubling up to the last.
const RETRY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(16));

type Busy = Arc<Mutex<HashSet<Dot>>>;

/// What a pass needs beside the engine.
struct Mirror {
    shared: Arc<Shared>,
    /// Wants that are being seen to.
    busy: Busy,
    large: Arc<Semaphore>,
    small: Arc<Semaphore>,
    units: JoinSet<()>,
}

/// Why something is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lack {
    /// It isn't here.
    Bytes,
    /// It is here, perhaps through another space.
    Proof,
}

/// A page of the list, sorted by what there is to do.
#[derive(Default)]
struct Page {
    /// The blob has come, or was here before.
    here: Vec<Want>,
    /// It is here, perhaps through another space.
    unproven: Vec<Want>,
    missing: Vec<Want>,
    /// Where the next page begins.
    next: Option<Vec<u8>>,
}

/// Fetches wanted blobs until the engine stops.
pub(in crate::engine) async fn mirror(shared: Arc<Shared>) {
    let stop = shared.stop.clone();
    let large = Arc::new(Semaphore::new(shared.options.fetches.max(1)));
    let small = Arc::new(Semaphore::new(SMALL_KIB_MAX as usize));
    let mut mirror = Mirror { shared, busy: Busy::default(), large, small, units: JoinSet::new() };
    let mut wait = RETRY.0;
    loop {
        let before = mirror.shared.fetched.blobs();
        let left = tokio::select! {
            left = mirror.pass() => left,
            () = stop.cancelled() => return,
        };
        while mirror.units.try_join_next().is_some() {}
        let got_on = mirror.shared.fetched.blobs() != before;
        wait = if got_on { RETRY.0 } else { (wait * 2).min(RETRY.1) };
        tokio::select! {
            () = mirror.shared.wanted.notified() => wait = RETRY.0,
            () = tokio::time::sleep(wait), if left => {}
            () = stop.cancelled() => return,
        }
    }
}

impl Mirror {
    /// Goes through all wanted blobs once; says whether any was left wanting.
    async fn pass(&mut self) -> bool {
        let mut from = Some(rows::WANTS.to_vec());
        let mut left = false;
        while let Some(start) = from.take() {
            let (shared, busy) = (self.shared.clone(), self.busy.clone());
            let read = spawn_blocking(move || page(&shared, &busy, &start));
            let Ok(Some(page)) = read.await else { return true };
            left |= !page.missing.is_empty() || !page.unproven.is_empty();
            from = page.next;
            self.forget(page.here).await;
            for unit in units(page.missing) {
                self.spawn(unit, Lack::Bytes).await;
            }
            for unit in possession::units(page.unproven) {
                self.spawn(unit, Lack::Proof).await;
            }
        }
        left || !self.busy.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Takes off the list what is here.
    async fn forget(&self, here: Vec<Want>) {
        if !here.is_empty() {
            let rows = here.iter().map(small::done).collect();
            small::commit(&self.shared, Batch { rows, priority: Priority::Vital, ..Batch::default() }).await;
        }
    }

    /// Fetches some wants as soon as there is room for them, or has it proved that they needn't be.
    async fn spawn(&mut self, wants: Vec<Want>, lack: Lack) {
        while self.units.try_join_next().is_some() {}
        let Some(permit) = self.room(if lack == Lack::Proof { &[] } else { &wants }).await else { return };
        let dots: Vec<Dot> = wants.iter().map(|want| want.dot).collect();
        self.busy.lock().unwrap_or_else(PoisonError::into_inner).extend(dots.iter().copied());
        let (shared, busy) = (self.shared.clone(), self.busy.clone());
        self.units.spawn(async move {
            let wants = match lack {
                Lack::Bytes => wants,
                Lack::Proof => possession::prove(&shared, wants).await,
            };
            for unit in units(wants) {
                match unit.as_slice() {
                    [want] if want.size > SMALL_BYTES_MAX => large(&shared, want).await,
                    _ => small::fetch(&shared, unit).await,
                }
            }
            let mut busy = busy.lock().unwrap_or_else(PoisonError::into_inner);
            for dot in &dots {
                busy.remove(dot);
            }
            drop(permit);
        });
    }

    async fn room(&self, wants: &[Want]) -> Option<OwnedSemaphorePermit> {
        let bytes: u64 = wants.iter().map(|want| want.size).sum();
        if bytes > SMALL_BYTES_MAX && wants.len() == 1 {
            return self.large.clone().acquire_owned().await.ok();
        }
        let kib = u32::try_from(bytes / 1024).unwrap_or(SMALL_KIB_MAX).clamp(BATCH_KIB_MIN, SMALL_KIB_MAX);
        self.small.clone().acquire_many_owned(kib).await.ok()
    }
}

/// One page of the list from a key on; `None` when it can't be read. Blocks.
fn page(shared: &Shared, busy: &Busy, from: &[u8]) -> Option<Page> {
    let rows = match shared.store.range(Tree::Meta, from, &rows::end_of(rows::WANTS), PAGE) {
        Ok(rows) => rows,
        Err(error) => {
            tracing::error!(%error, "the list of wanted blobs cannot be read");
            return None;
        }
    };
    let snapshot = shared.snapshot.borrow().clone();
    let mut page = Page::default();
    if rows.len() == PAGE {
        page.next = rows.last().map(|(last, _)| [last.as_slice(), &[0]].concat());
    }
    for (_, value) in &rows {
        let Ok(want) = rows::read::<Want>(value) else { continue };
        // Nobody would read it here; when a repository shows the space again, this is looked at again.
        let is_shown = snapshot.repository_of(&want.space).is_some();
        if !is_shown || busy.lock().unwrap_or_else(PoisonError::into_inner).contains(&want.dot) {
            continue;
        }
        if !matches!(shared.store.blob(&want.digest), Ok(Some(_))) {
            page.missing.push(want);
        } else if is_rightly_here(shared, &snapshot, &want) {
            page.here.push(want);
        } else {
            page.unproven.push(want);
        }
    }
    Some(page)
}

/// Whether a blob that is here needs no proof: there is no other space that it could be here through, or nobody to prove
/// anything to, or this node named it itself.
fn is_rightly_here(shared: &Shared, snapshot: &Snapshot, want: &Want) -> bool {
    let me = shared.identity.node;
    let is_own = want.dot.incarnation.node == me;
    let has_others = |federation: &Federation| snapshot.members.keys().any(|node| federation.may_hold(node));
    let is_shared = snapshot.federations.get(&want.space).is_none_or(has_others);
    is_own || snapshot.federations.len() < 2 || !is_shared
}

/// What is fetched together: a large blob by itself, small ones of one space many at once.
fn units(wants: Vec<Want>) -> Vec<Vec<Want>> {
    let mut units: Vec<Vec<Want>> = Vec::new();
    let mut open: Vec<Want> = Vec::new();
    for want in wants {
        if want.size > SMALL_BYTES_MAX {
            units.push(vec![want]);
            continue;
        }
        let is_full = open.len() == WHOLE_MAX
            || open.iter().map(|want| want.size).sum::<u64>() + want.size > BATCH_BYTES_MAX
            || open.first().is_some_and(|first| first.space != want.space);
        if is_full {
            units.push(std::mem::take(&mut open));
        }
        open.push(want);
    }
    if !open.is_empty() {
        units.push(open);
    }
    units
}

async fn large(shared: &Arc<Shared>, want: &Want) {
    let wish = Wish {
        reference: small::reference(want),
        size: want.size,
        checksums: want.checksums,
        author: want.dot.incarnation.node,
        rows: vec![rows::want_key(&want.space, &want.dot)],
        is_kept: true,
    };
    match flight::depart(shared, wish).await {
        // What happened is logged by the flight; the row stays until the blob is here.
        Ok(flight) => {
            if let Err(FetchError::NobodyConnected | FetchError::NobodyHasIt(_)) = flight.landed().await {
                shared.lost.suspect([small::suspect(want)]);
            }
        }
        Err(error) => tracing::warn!(path = %want.path, %error, "a blob cannot be stored here"),
    }
}
