//! One blob on its way here, from as many sources as there are, shared by all who wait for it.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use artimesh_core::model::{Checksums, Digest, NodeId};
use bytes::Bytes;
use tokio::sync::{Notify, watch};

use super::bits::Bits;
use super::crew;
use super::reading::Reading;
use super::schedule::{Schedule, SourceId};
use crate::engine::bulk::Reference;
use crate::engine::cache::Incoming;
use crate::engine::error::FetchError;
use crate::engine::line::Urgency;
use crate::engine::shared::Shared;
use crate::store::{Batch, Fill, FillError, RowWrite, Tree};

/// How long a fetch that nobody waits for goes on, where it is to end then: the reader may come back at once.
const LINGER: Duration = Duration::from_secs(2);

/// A blob that somebody wants.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Wish {
    pub(super) reference: Reference,
    pub(super) size: u64,
    pub(super) checksums: Checksums,
    pub(super) author: NodeId,
    /// Deleted with the blob's commit.
    pub(super) rows: Vec<Vec<u8>>,
    /// Whether it is wanted here though nobody may read it now.
    pub(super) is_kept: bool,
}

/// One blob on its way here.
pub struct Flight {
    fill: Fill,
    reference: Reference,
    plan: Mutex<Schedule>,
    /// Something came, or is to come first now.
    pub(super) changed: Notify,
    readers: AtomicUsize,
    reader_ids: AtomicU64,
    /// A reader has left.
    left: Notify,
    is_kept: AtomicBool,
    /// Whether others fetch the same blob now, so that each had better begin elsewhere.
    is_spread: AtomicBool,
    dice: AtomicU32,
    start: Instant,
    outcome: watch::Sender<Option<Result<(), FetchError>>>,
}

impl Flight {
    fn new(fill: Fill, wish: &Wish) -> Flight {
        let plan = Schedule::new(fill.group_count(), &fill.missing());
        Flight {
            plan: Mutex::new(plan),
            fill,
            reference: wish.reference.clone(),
            changed: Notify::new(),
            readers: AtomicUsize::new(0),
            reader_ids: AtomicU64::new(0),
            left: Notify::new(),
            is_kept: AtomicBool::new(wish.is_kept),
            is_spread: AtomicBool::new(false),
            dice: AtomicU32::new(getrandom::u32().unwrap_or(1)),
            start: Instant::now(),
            outcome: watch::channel(None).0,
        }
    }

    /// The flight of a blob, if it is on its way within the space that it is asked for in: what was asked for in one
    /// space says nothing of who may have it in another.
    pub(in crate::engine) fn of(shared: &Shared, reference: &Reference) -> Option<Arc<Flight>> {
        let flights = shared.flights.lock().unwrap_or_else(PoisonError::into_inner);
        flights.get(&reference.digest).filter(|flight| flight.reference.space == reference.space).cloned()
    }

    /// How many groups the blob has.
    pub(in crate::engine) fn group_count(&self) -> u32 {
        self.fill.group_count()
    }

    /// Whether a group is here.
    pub(in crate::engine) fn has(&self, index: u32) -> bool {
        self.fill.has(index)
    }

    /// A group, if it is here.
    pub(in crate::engine) async fn arrived(&self, index: u32) -> Option<Bytes> {
        if self.fill.has(index) { self.fill.read_group(index).await.ok() } else { None }
    }

    /// The chaining values, once they are known.
    pub(in crate::engine) fn values(&self) -> Option<Arc<Vec<[u8; 32]>>> {
        self.fill.groups()
    }

    pub(super) fn fill(&self) -> &Fill {
        &self.fill
    }

    pub(super) fn reference(&self) -> &Reference {
        &self.reference
    }

    pub(super) fn plan(&self) -> MutexGuard<'_, Schedule> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_complete(&self) -> bool {
        self.plan().is_complete()
    }

    pub(super) fn age(&self) -> Duration {
        self.start.elapsed()
    }

    /// Where to begin when it doesn't matter: anywhere while others fetch the same, else at the start.
    pub(super) fn dice(&self) -> Option<u32> {
        if !self.is_spread.load(Ordering::Relaxed) {
            return None;
        }
        // A multiplicative generator is enough to be elsewhere than others are.
        let next = |dice: u32| Some(dice.wrapping_mul(747_796_405).wrapping_add(2_891_336_453));
        self.dice.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok().map(|dice| dice >> 3)
    }

    pub(super) fn spread(&self) {
        self.is_spread.store(true, Ordering::Relaxed);
    }

    pub(super) fn urgency(&self) -> Urgency {
        if self.readers.load(Ordering::Relaxed) > 0 { Urgency::Urgent } else { Urgency::Bulk }
    }

    /// A group is here; a source has just sent it.
    pub(super) fn came(&self, index: u32, source: SourceId) {
        let now = self.age();
        self.plan().arrived(index, source, now);
        self.changed.notify_waiters();
    }

    /// A source told what it has.
    pub(super) fn learnt(&self, source: SourceId, has: Bits) {
        let is_shared = {
            let mut plan = self.plan();
            plan.learn(source, has);
            plan.is_shared()
        };
        if is_shared {
            self.spread();
        }
        self.changed.notify_waiters();
    }

    /// One reader more; its number.
    pub(super) fn enter(&self) -> u64 {
        self.fill.will_be_read();
        self.readers.fetch_add(1, Ordering::Relaxed);
        self.reader_ids.fetch_add(1, Ordering::Relaxed)
    }

    /// One reader less.
    pub(super) fn leave(&self) {
        self.readers.fetch_sub(1, Ordering::Relaxed);
        self.left.notify_waiters();
    }

    /// Ends when nobody has waited for the blob for a while, and it isn't to be kept.
    async fn abandoned(&self) {
        loop {
            let left = self.left.notified();
            tokio::pin!(left);
            left.as_mut().enable();
            let is_unwanted = || self.readers.load(Ordering::Relaxed) == 0 && !self.is_kept.load(Ordering::Relaxed);
            if is_unwanted() {
                tokio::time::sleep(LINGER).await;
                if is_unwanted() {
                    return;
                }
            }
            left.await;
        }
    }

    /// Waits until the blob is stored, or can't be had now.
    pub(super) async fn landed(&self) -> Result<(), FetchError> {
        let mut outcome = self.outcome.subscribe();
        loop {
            if let Some(result) = outcome.borrow_and_update().clone() {
                return result;
            }
            if outcome.changed().await.is_err() {
                return Err(FetchError::NobodyHasIt("the node is stopping".into()));
            }
        }
    }
}

/// Joins the flight of a blob, or starts one.
pub(super) async fn depart(shared: &Arc<Shared>, wish: Wish) -> Result<Arc<Flight>, FetchError> {
    if let Some(flight) = join(shared, &wish) {
        return Ok(flight);
    }
    let Reference { space, digest, .. } = &wish.reference;
    let incoming = shared.cache.admit(&shared.store, space, *digest, wish.size).await;
    // That may have taken a while.
    if let Some(flight) = join(shared, &wish) {
        return Ok(flight);
    }
    let fill = shared.store.fill(wish.reference.digest, wish.size, wish.checksums).await?;
    let flight = {
        let mut flights = shared.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(&wish.reference.digest) {
            return Ok(flight.clone());
        }
        let flight = Arc::new(Flight::new(fill, &wish));
        flights.insert(wish.reference.digest, flight.clone());
        flight
    };
    shared.tracker.spawn(fly(shared.clone(), flight.clone(), wish, incoming));
    Ok(flight)
}

fn join(shared: &Shared, wish: &Wish) -> Option<Arc<Flight>> {
    let flights = shared.flights.lock().unwrap_or_else(PoisonError::into_inner);
    let flight = flights.get(&wish.reference.digest)?.clone();
    if wish.is_kept {
        flight.is_kept.store(true, Ordering::Relaxed);
    }
    Some(flight)
}

/// Joins or starts the flight of a blob as a reader.
pub(super) async fn board(shared: &Arc<Shared>, wish: Wish) -> Result<Reading, FetchError> {
    let hold = shared.cache.miss(&wish.reference.space, &wish.reference.digest);
    Ok(Reading::of(depart(shared, wish).await?, hold))
}

async fn fly(shared: Arc<Shared>, flight: Arc<Flight>, wish: Wish, incoming: Option<Incoming>) {
    let digest = wish.reference.digest;
    let result = tokio::select! {
        result = fetch_and_store(&shared, &flight, &wish) => result,
        () = flight.abandoned() => Err(FetchError::NobodyHasIt("nobody waits for it any more".into())),
        () = shared.stop.cancelled() => Err(FetchError::NobodyHasIt("the node is stopping".into())),
    };
    if let Err(error) = &result {
        shared.fetched.failed();
        tracing::info!(digest = %digest.short(), path = %wish.reference.path, %error, "a blob could not be fetched yet");
        flight.fill.fail(error.to_string());
    }
    if incoming.is_some() {
        let now_ms = shared.clock.now().0;
        match &result {
            Ok(()) => shared.cache.landed(digest, wish.size, now_ms),
            Err(_) => shared.cache.broke_off(&shared.store, digest, now_ms),
        }
    }
    drop(incoming);
    shared.flights.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest);
    flight.outcome.send_replace(Some(result));
}

async fn fetch_and_store(shared: &Arc<Shared>, flight: &Arc<Flight>, wish: &Wish) -> Result<(), FetchError> {
    crew::fetch(shared, flight, wish).await?;
    let staged = match flight.fill.finish().await {
        Ok(staged) => staged,
        // Somebody else sealed it and commits it.
        Err(FillError::Finished) => return Ok(()),
        Err(error) => return Err(FetchError::Store(error.to_string())),
    };
    let rows = wish.rows.iter().map(|key| RowWrite::delete(Tree::Meta, key.clone())).collect();
    shared.store.commit(Batch { rows, blobs: vec![staged], ..Batch::default() }).await?;
    shared.fetched.stored(1);
    Ok(())
}

/// The flights in the air.
pub(in crate::engine) type Flights = Mutex<std::collections::HashMap<Digest, Arc<Flight>>>;
