//! The engine's handle, and what its tasks share.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use artimesh_core::model::{CircleId, Digest, Incarnation, KeyPair, NodeId, PublicKey, Space};
use artimesh_core::replica::message::{FEATURES, PROTOCOL};
use artimesh_core::replica::{
    AcceptPolicy, Command, Hello, Identity, LoadError, Output, Placement, Receipt, Refusal, Replica, rows,
};
use artimesh_core::trust::Addresses;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::clock::WallClock;
use super::error::{CommandFailure, EngineFailed};
use super::events;
use super::fetch::{self, FetchCounts, Flight};
use super::mind::{Message, Mind};
use super::pool::Pool;
use super::snapshot::Snapshot;
use super::view::{StoreView, row_write};
use crate::store::{Batch, Priority, RowWrite, Staged, Store, Tree};
use crate::swarm::{self, Swarm};

/// Messages that wait for the mind at most; whoever brings more waits too.
const INBOX: usize = 1024;

/// How an engine is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whose federations become repositories here by themselves.
    pub accept: AcceptPolicy,
    /// How repositories keep their bytes; by role when `None`.
    pub placement: Option<Placement>,
    /// How often a random peer's heads are asked for.
    pub heads_interval: Duration,
    /// Blobs fetched at once for mirrors.
    pub fetches: usize,
    /// Where peers are told to reach this node, instead of where it listens.
    pub advertise: Addresses,
    /// What this release calls itself to peers.
    pub version: String,
    /// The store is older than it was: its next sequence numbers may be in use, so this life of the node has ended.
    pub rolled_back: bool,
}

/// What happened since the start, for status and metrics.
#[derive(Debug, Default)]
pub struct Counts {
    applied: AtomicU64,
    applied_by_gossip: AtomicU64,
    refused: AtomicU64,
}

impl Counts {
    pub(super) fn applied(&self, entries: u32, gossip: bool) {
        self.applied.fetch_add(entries.into(), Ordering::Relaxed);
        if gossip {
            self.applied_by_gossip.fetch_add(entries.into(), Ordering::Relaxed);
        }
    }

    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Entries of other nodes that were applied.
    pub fn entries_applied(&self) -> u64 {
        self.applied.load(Ordering::Relaxed)
    }

    /// Those of them that gossip brought first.
    pub fn entries_applied_by_gossip(&self) -> u64 {
        self.applied_by_gossip.load(Ordering::Relaxed)
    }

    /// Segments, messages and statements of peers that were refused.
    pub fn refusals(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

/// A space and the key that its gossip is sealed with.
type SpaceKey = (Space, [u8; 32]);

/// What the engine's tasks share.
pub(super) struct Shared {
    pub(super) clock: Arc<dyn WallClock>,
    pub(super) identity: Identity,
    pub(super) pairing_key: KeyPair,
    pub(super) options: Options,
    pub(super) swarm: Swarm,
    pub(super) store: Store,
    pub(super) inbox: mpsc::Sender<Message>,
    pub(super) snapshot: watch::Sender<Arc<Snapshot>>,
    pub(super) keys: ArcSwap<HashMap<PublicKey, NodeId>>,
    /// By topic name: the space and the key that its gossip is sealed with.
    pub(super) topics: ArcSwap<HashMap<[u8; 32], SpaceKey>>,
    pub(super) wanted: Notify,
    pub(super) counts: Counts,
    pub(super) fetched: FetchCounts,
    pub(super) flights: Mutex<HashMap<Digest, Arc<Flight>>>,
    pub(super) pool: Pool,
    pub(super) addresses: Notify,
    pub(super) pairings: Mutex<Vec<u64>>,
    errors: Mutex<BTreeMap<NodeId, String>>,
    failed: watch::Sender<Option<EngineFailed>>,
    pub(super) stop: CancellationToken,
    /// Flights in the air.
    pub(super) tracker: TaskTracker,
    fresh_incarnation: u64,
}

impl Shared {
    pub(super) fn fail(&self, failed: EngineFailed) {
        self.failed.send_replace(Some(failed));
    }

    pub(super) fn load(&self, view: &StoreView) -> Result<(Replica, Vec<Output>), LoadError> {
        let Options { accept, placement, .. } = &self.options;
        Replica::load(view, self.identity.clone(), accept.clone(), *placement, self.fresh_incarnation)
    }

    pub(super) fn transport_key(&self, node: &NodeId) -> Option<PublicKey> {
        self.keys.load().iter().find(|(_, known)| *known == node).map(|(key, _)| *key)
    }

    pub(super) fn node_of(&self, key: &PublicKey) -> Option<NodeId> {
        self.keys.load().get(key).copied()
    }

    pub(super) fn addresses_changed(&self) {
        self.addresses.notify_one();
    }

    pub(super) fn remember_refusal(&self, node: &NodeId, refusal: &Refusal) {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        errors.insert(*node, refusal.to_string());
    }

    fn own_addresses(&self) -> Addresses {
        let listening = self.swarm.addresses();
        let advertise = &self.options.advertise;
        let or = |told: &Vec<String>, own: Vec<String>| if told.is_empty() { own } else { told.clone() };
        Addresses { control: or(&advertise.control, listening.control), bulk: or(&advertise.bulk, listening.bulk) }
    }

    /// What peers are told of this node from now on.
    pub(super) fn renew_hello(&self, circle: Option<CircleId>, incarnation: Incarnation) {
        let Some(circle) = circle else { return };
        let hello = Hello {
            protocol: PROTOCOL,
            features: FEATURES,
            circle,
            incarnation,
            wall: self.clock.now(),
            addresses: self.own_addresses(),
            version: self.options.version.clone(),
        };
        if let Err(error) = self.swarm.set_hello(hello.to_bytes()) {
            tracing::error!(%error, "this node's own hello is too long: advertise fewer addresses");
        }
    }
}

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
        if options.rolled_back {
            tracing::warn!("the store was rolled back: this node goes on under a new incarnation");
            let row = RowWrite::put(Tree::Meta, rows::INCARNATION, rows::write(&fresh_incarnation));
            let batch = Batch { rows: vec![row], blobs: Vec::new(), priority: Priority::Vital };
            store.commit(batch).await.map_err(|error| failed(error.to_string()))?;
        }
        let (accept, placement) = (options.accept.clone(), options.placement);
        let loaded = Replica::load(&view, identity.clone(), accept, placement, fresh_incarnation);
        let (replica, outputs) = loaded.map_err(|error| failed(error.to_string()))?;
        for output in outputs {
            let Output::Persist(rows) = output else { continue };
            let rows = rows.into_iter().map(row_write).collect();
            let batch = Batch { rows, blobs: Vec::new(), priority: Priority::Vital };
            store.commit(batch).await.map_err(|error| failed(error.to_string()))?;
        }
        let shared = Arc::new(Shared {
            clock,
            identity,
            pairing_key,
            options,
            swarm,
            store,
            inbox,
            snapshot: watch::channel(Arc::new(Snapshot::of(&replica))).0,
            keys: ArcSwap::default(),
            topics: ArcSwap::default(),
            wanted: Notify::new(),
            counts: Counts::default(),
            fetched: FetchCounts::default(),
            flights: Mutex::default(),
            pool: Pool::default(),
            addresses: Notify::new(),
            pairings: Mutex::default(),
            errors: Mutex::default(),
            failed: watch::channel(None).0,
            stop: CancellationToken::new(),
            tracker: TaskTracker::new(),
            fresh_incarnation,
        });
        let mind = Mind { replica, view, shared: shared.clone(), inbox: messages, topics: BTreeMap::new() };
        let mut tasks = JoinSet::new();
        tasks.spawn(mind_until_stopped(mind, shared.clone()));
        tasks.spawn(events::pump(shared.clone(), events));
        tasks.spawn(events::tick(shared.clone()));
        tasks.spawn(fetch::mirror(shared.clone()));
        Ok(Engine { shared, tasks: Arc::new(Mutex::new(Some(tasks))) })
    }

    /// Does a command, with the blob that it refers to if it is new here. Durable when it returns.
    pub async fn command(&self, command: Command, staged: Option<Staged>) -> Result<Receipt, CommandFailure> {
        let (answer, result) = oneshot::channel();
        let message = Message::Command { command: Box::new(command), staged, answer };
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
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut tasks) = tasks {
            while tasks.join_next().await.is_some() {}
        }
        self.shared.tracker.close();
        self.shared.tracker.wait().await;
    }
}

impl Shared {
    pub(super) async fn inspect<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Replica, &StoreView) -> T + Send + 'static,
    ) -> Result<T, CommandFailure> {
        let (answer, result) = oneshot::channel();
        let question = Box::new(move |replica: &Replica, view: &StoreView| {
            let _ = answer.send(question(replica, view));
        });
        let stopped = || CommandFailure::Stopped("the engine has ended".into());
        self.inbox.send(Message::Inspect(question)).await.map_err(|_| stopped())?;
        result.await.map_err(|_| stopped())
    }
}

async fn mind_until_stopped(mind: Mind, shared: Arc<Shared>) {
    tokio::select! {
        () = mind.run() => {}
        () = shared.stop.cancelled() => {}
    }
}
