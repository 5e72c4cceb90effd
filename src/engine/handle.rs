//! The engine's handle: starting, asking, commanding, stopping.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arc_swap::{ArcSwap, ArcSwapOption};
use artimesh_core::model::{KeyPair, NodeId, PublicKey};
use artimesh_core::replica::{Command, Identity, Output, Receipt, Replica, rows};
use artimesh_core::trust::Addresses;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::cache::{self, Cache};
use super::claims;
use super::clock::WallClock;
use super::error::{CommandFailure, EngineFailed};
use super::events;
use super::fetch::{self, FetchCounts, SourceError};
use super::lease;
use super::line::Lines;
use super::lost::{self, Ledger};
use super::mind::{Message, Mind};
use super::shared::{Counts, Options, Shared};
use super::snapshot::Snapshot;
use super::summing;
use super::upkeep::{self, Upkeep};
use super::view::{StoreView, row_write};
use crate::store::{Account, Batch, Priority, ReadError, RowWrite, Staged, Store, Tree};
use crate::swarm::{self, Swarm};

/// Messages that wait for the mind at most; whoever brings more waits too.
const INBOX: usize = 1024;

/// Groups from peers that are hashed and written at once.
const GROUPS_AT_WORK: usize = 8;

/// A running engine. Cheap to clone; [`Engine::stop`] ends it.
#[derive(Clone)]
pub struct Engine {
    pub(super) shared: Arc<Shared>,
    tasks: Arc<Mutex<Option<JoinSet<()>>>>,
}

impl Engine {
    /// Wakes the replica up from the store and starts the engine's tasks.
    ///
    /// `fresh_incarnation` is 64 random bits, used when the store has no incarnation yet.
    #[expect(clippy::too_many_arguments, reason = "called once, by the composition root, with everything there is")]
    pub async fn start(
        identity: Identity,
        pairing_key: KeyPair,
        store: Store,
        swarm: Swarm,
        events: mpsc::Receiver<swarm::Event>,
        clock: Arc<dyn WallClock>,
        options: Options,
        fresh_incarnation: u64,
    ) -> Result<Engine, EngineFailed> {
        let (inbox, messages) = mpsc::channel(INBOX);
        let view = StoreView(store.clone());
        let failed = |reason: String| EngineFailed { reason };
        if let Some(reason) = &options.reborn {
            tracing::warn!(reason, "{reason}: this node goes on under a new incarnation");
            let row = RowWrite::put(Tree::Meta, rows::INCARNATION, rows::write(&fresh_incarnation));
            let batch = Batch { rows: vec![row], priority: Priority::Vital, ..Batch::default() };
            store.commit(batch).await.map_err(|error| failed(error.to_string()))?;
        }
        let loaded = options.wake(&view, identity.clone(), fresh_incarnation);
        let (replica, outputs) = loaded.map_err(|error| failed(error.to_string()))?;
        for output in outputs {
            let Output::Persist(rows) = output else { continue };
            let rows = rows.into_iter().map(row_write).collect();
            let batch = Batch { rows, priority: Priority::Vital, ..Batch::default() };
            store.commit(batch).await.map_err(|error| failed(error.to_string()))?;
        }
        let unreadable = |error: ReadError| failed(error.to_string());
        let leases = lease::wake(identity.node, &store, clock.now(), options.reborn.is_some()).map_err(unreadable)?;
        let lost = Ledger::wake(&store).map_err(unreadable)?;
        let snapshot = Snapshot::of(&replica);
        let cache = Cache::open(&store, options.cache, identity.node, &snapshot);
        let cache = cache.map_err(|error| failed(error.to_string()))?;
        let shared = Arc::new(Shared {
            clock,
            identity,
            pairing_key,
            options,
            swarm,
            store,
            inbox,
            snapshot: watch::channel(Arc::new(snapshot)).0,
            keys: ArcSwap::default(),
            topics: ArcSwap::default(),
            wanted: Notify::new(),
            counts: Counts::default(),
            fetched: FetchCounts::default(),
            flights: Mutex::default(),
            lines: Lines::default(),
            standings: Mutex::default(),
            arrivals: watch::channel(0).0,
            groups_at_work: Semaphore::new(GROUPS_AT_WORK),
            started: Instant::now(),
            addresses: Notify::new(),
            pairings: Mutex::default(),
            errors: Mutex::default(),
            foreign: Mutex::default(),
            failed: watch::channel(None).0,
            stop: CancellationToken::new(),
            tracker: TaskTracker::new(),
            fresh_incarnation,
            last_paths: Mutex::default(),
            collecting: Mutex::default(),
            collected: ArcSwapOption::empty(),
            leases: Mutex::new(leases),
            promises: tokio::sync::RwLock::default(),
            journal: Mutex::default(),
            lost,
            claims: claims::Found::default(),
            cache,
        });
        let mind = Mind {
            replica,
            view,
            shared: shared.clone(),
            inbox: messages,
            topics: BTreeMap::new(),
            has_more: true,
            named: None,
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(mind_until_stopped(mind, shared.clone()));
        tasks.spawn(events::pump(shared.clone(), events));
        tasks.spawn(events::tick(shared.clone()));
        tasks.spawn(fetch::mirror(shared.clone()));
        tasks.spawn(upkeep::collecting(shared.clone()));
        tasks.spawn(upkeep::scrubbing(shared.clone()));
        tasks.spawn(summing::summing(shared.clone()));
        tasks.spawn(lost::watch(shared.clone()));
        tasks.spawn(claims::watch(shared.clone()));
        tasks.spawn(cache::keeping(shared.clone()));
        Ok(Engine { shared, tasks: Arc::new(Mutex::new(Some(tasks))) })
    }

    /// Does a command, with the blob that it refers to if it is new here. Durable when it returns.
    pub async fn command(&self, command: Command, staged: Option<Staged>) -> Result<Receipt, CommandFailure> {
        self.command_noting(command, staged, Account::default()).await
    }

    /// The same, and what its request waits for is noted there.
    pub async fn command_noting(
        &self,
        command: Command,
        staged: Option<Staged>,
        account: Account,
    ) -> Result<Receipt, CommandFailure> {
        let (answer, result) = oneshot::channel();
        let message = Message::Command { command: Box::new(command), staged, account, since: Instant::now(), answer };
        let stopped = || CommandFailure::Stopped("the engine has ended".into());
        self.shared.inbox.send(message).await.map_err(|_| stopped())?;
        result.await.map_err(|_| stopped())?
    }

    /// Asks the replica something.
    pub async fn inspect<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Replica, &StoreView) -> T + Send + 'static,
    ) -> Result<T, CommandFailure> {
        self.shared.inspect(question).await
    }

    /// What readers need, as of the last change.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.snapshot.borrow().clone()
    }

    /// Follows the snapshots.
    pub fn watch(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.shared.snapshot.subscribe()
    }

    /// The rows at rest, as the replica reads them.
    pub fn view(&self) -> StoreView {
        StoreView(self.shared.store.clone())
    }

    /// What is done in the background, and how often.
    pub fn upkeep(&self) -> Upkeep {
        self.shared.options.upkeep
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// The swarm.
    pub fn swarm(&self) -> &Swarm {
        &self.shared.swarm
    }

    /// Who this node is.
    pub fn identity(&self) -> &Identity {
        &self.shared.identity
    }

    /// The wall clock.
    pub fn clock(&self) -> &dyn WallClock {
        self.shared.clock.as_ref()
    }

    /// What was applied and refused.
    pub fn counts(&self) -> &Counts {
        &self.shared.counts
    }

    /// What was fetched.
    pub fn fetched(&self) -> &FetchCounts {
        &self.shared.fetched
    }

    /// Signs this node's pairing tokens.
    pub fn pairing_key(&self) -> &KeyPair {
        &self.shared.pairing_key
    }

    /// Where peers are told to reach this node.
    pub fn addresses(&self) -> Addresses {
        self.shared.own_addresses()
    }

    /// Why something that this node sent was last refused here, per node.
    pub fn last_refusal(&self, node: &NodeId) -> Option<String> {
        self.shared.errors.lock().unwrap_or_else(PoisonError::into_inner).get(node).cloned()
    }

    /// What was last held against a node as a source of bytes.
    pub fn source_error(&self, node: &NodeId) -> Option<SourceError> {
        self.shared.standings.lock().unwrap_or_else(PoisonError::into_inner).error(node)
    }

    /// How fast bytes came from a peer when they did last, in bytes a second.
    pub fn receiving_rate(&self, peer: &PublicKey) -> Option<u64> {
        self.shared.lines.rate(peer)
    }

    /// What to do about a node that speaks another protocol; `None` when it speaks ours, or hasn't spoken.
    pub fn foreign_protocol(&self, node: &NodeId) -> Option<String> {
        self.shared.foreign(node)
    }

    /// Ends when the engine has failed: the node must stop then.
    pub async fn failed(&self) -> EngineFailed {
        let mut failed = self.shared.failed.subscribe();
        loop {
            if let Some(reason) = failed.borrow_and_update().clone() {
                return reason;
            }
            if failed.changed().await.is_err() {
                return EngineFailed { reason: "the engine has ended".into() };
            }
        }
    }

    /// Whether it has failed already, and why.
    pub fn failure(&self) -> Option<EngineFailed> {
        self.shared.failed.borrow().clone()
    }

    /// Ends the engine's tasks; what waits unanswered is dropped. The store and the swarm are the caller's to close.
    pub async fn stop(&self) {
        self.shared.stop.cancel();
        self.shared.store.end_background();
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut tasks) = tasks {
            while tasks.join_next().await.is_some() {}
        }
        self.shared.tracker.close();
        self.shared.tracker.wait().await;
        let shared = self.shared.clone();
        // Nothing comes or goes any more. What fails is logged there.
        let _ = tokio::task::spawn_blocking(move || cache::save(&shared, cache::State::Final)).await;
    }
}

async fn mind_until_stopped(mind: Mind, shared: Arc<Shared>) {
    tokio::select! {
        () = mind.run() => {}
        () = shared.stop.cancelled() => {}
    }
}
