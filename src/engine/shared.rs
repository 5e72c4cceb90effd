//! What the engine's tasks share.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use artimesh_core::model::{CircleId, Incarnation, KeyPair, NodeId, PublicKey, Space};
use artimesh_core::replica::message::{FEATURES, PROTOCOL};
use artimesh_core::replica::{
    self, AcceptPolicy, Hello, Identity, LoadError, Output, Placement, Refusal, Replica, Retention, Waking,
};
use artimesh_core::trust::Addresses;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::cache::{Cache, Limits};
use super::claims;
use super::clock::WallClock;
use super::error::{CommandFailure, EngineFailed};
use super::fetch::{FetchCounts, Flights, Standings};
use super::gc::Collected;
use super::gc::paths::LastPaths;
use super::lease::Rules;
use super::line::Lines;
use super::lost::Ledger;
use super::mind::Message;
use super::snapshot::Snapshot;
use super::upkeep::Upkeep;
use super::view::StoreView;
use crate::store::Store;
use crate::swarm::{Member, Swarm};

/// How an engine is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whose federations become repositories here by themselves.
    pub accept: AcceptPolicy,
    /// How repositories keep their bytes; by role when `None`.
    pub placement: Option<Placement>,
    /// How often a random peer's heads are asked for.
    pub heads_interval: Duration,
    /// How long logs stay whole.
    pub retention: Retention,
    /// Blobs fetched at once for mirrors.
    pub fetches: usize,
    /// Whether what a reader began to fetch is fetched to its end when nobody waits for it any more.
    pub finishes_fetches: bool,
    /// Where peers are told to reach this node, instead of where it listens.
    pub advertise: Addresses,
    /// What this release calls itself to peers.
    pub version: String,
    /// Why this life of the node has ended: the store is older than it was, or a copy, so its next sequence numbers may
    /// be in use elsewhere.
    pub reborn: Option<String>,
    /// Whether nothing is written where others are members before one of them was heard: after what ends a life.
    pub asks_first: bool,
    /// What is done in the background, and how often.
    pub upkeep: Upkeep,
    /// How many mirrors beside this node must have what it wrote before it may do without it; at least 1 counts.
    pub min_copies: usize,
    /// How long versions that ended can be restored here.
    pub history: Duration,
    /// How much is kept of what was read where a repository is kept on demand.
    pub cache: Limits,
}

impl Options {
    /// How the replica wakes up under these options.
    fn waking(&self, fresh: u64) -> Waking {
        let (accept, placement) = (self.accept.clone(), self.placement);
        Waking { accept, placement, fresh, features: FEATURES, retention: self.retention, asks_first: self.asks_first }
    }

    /// The replica of a node that starts, or begins again, with these options.
    pub(super) fn wake(
        &self,
        view: &StoreView,
        identity: Identity,
        fresh: u64,
    ) -> Result<(Replica, Vec<Output>), LoadError> {
        let history_ms = u64::try_from(self.history.as_millis()).unwrap_or(u64::MAX);
        let limits = replica::Limits { history_ms, ..replica::Limits::default() };
        let (replica, outputs) = Replica::load(view, identity, self.waking(fresh))?;
        Ok((replica.with_limits(limits), outputs))
    }
}

/// What happened since the start, for status and metrics.
#[derive(Debug, Default)]
pub struct Counts {
    applied: AtomicU64,
    applied_by_gossip: AtomicU64,
    refused: AtomicU64,
    taken_over: AtomicU64,
    pruned: AtomicU64,
}

impl Counts {
    pub(super) fn applied(&self, entries: u32, gossip: bool) {
        self.applied.fetch_add(entries.into(), Ordering::Relaxed);
        if gossip {
            self.applied_by_gossip.fetch_add(entries.into(), Ordering::Relaxed);
        }
    }

    pub(super) fn pruned(&self, entries: u64) {
        self.pruned.fetch_add(entries, Ordering::Relaxed);
    }

    pub(super) fn took_over(&self) {
        self.taken_over.fetch_add(1, Ordering::Relaxed);
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

    /// Dead entries that went from the logs.
    pub fn entries_pruned(&self) -> u64 {
        self.pruned.load(Ordering::Relaxed)
    }

    /// States of spaces that were compared with another member's and taken over.
    pub fn states_taken_over(&self) -> u64 {
        self.taken_over.load(Ordering::Relaxed)
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
    pub(super) flights: Flights,
    pub(super) lines: Lines,
    /// What was held against peers as sources of bytes.
    pub(super) standings: Mutex<Standings>,
    /// Changes whenever a peer comes or goes.
    pub(super) arrivals: watch::Sender<u64>,
    /// Places for groups that are hashed and written.
    pub(super) groups_at_work: Semaphore,
    /// What durations are told from.
    pub(super) started: Instant,
    pub(super) addresses: Notify,
    pub(super) pairings: Mutex<Vec<u64>>,
    pub(super) errors: Mutex<BTreeMap<NodeId, String>>,
    /// The protocols of nodes that speak another than this one.
    pub(super) foreign: Mutex<BTreeMap<NodeId, u32>>,
    pub(super) failed: watch::Sender<Option<EngineFailed>>,
    pub(super) stop: CancellationToken,
    /// Flights in the air.
    pub(super) tracker: TaskTracker,
    pub(super) fresh_incarnation: u64,
    pub(super) last_paths: Mutex<LastPaths>,
    /// Held by the one collection that runs.
    pub(super) collecting: Mutex<()>,
    pub(super) collected: ArcSwapOption<Collected>,
    /// What was promised to keep, and what is on its way out.
    pub(super) leases: Mutex<Rules>,
    /// Held by who writes down promises; as a whole by who removes what was written down.
    pub(super) promises: tokio::sync::RwLock<()>,
    /// Held by who writes to the journal.
    pub(super) journal: Mutex<()>,
    /// What exists nowhere.
    pub(super) lost: Ledger,
    /// Which checksums that others claim are false.
    pub(super) claims: claims::Found,
    pub(super) cache: Cache,
}

impl Shared {
    pub(super) fn fail(&self, failed: EngineFailed) {
        self.failed.send_replace(Some(failed));
    }

    pub(super) fn load(&self, view: &StoreView) -> Result<(Replica, Vec<Output>), LoadError> {
        self.options.wake(view, self.identity.clone(), self.fresh_incarnation)
    }

    pub(super) fn transport_key(&self, node: &NodeId) -> Option<PublicKey> {
        self.keys.load().iter().find(|(_, known)| *known == node).map(|(key, _)| *key)
    }

    pub(super) fn node_of(&self, key: &PublicKey) -> Option<NodeId> {
        self.keys.load().get(key).copied()
    }

    /// The node of a peer that isn't known to speak another protocol.
    pub(super) fn understood(&self, key: &PublicKey) -> Option<NodeId> {
        let node = self.node_of(key)?;
        let foreign = self.foreign.lock().unwrap_or_else(PoisonError::into_inner);
        (!foreign.contains_key(&node)).then_some(node)
    }

    /// Remembers that a node speaks another protocol, for as long as it does; says what to do about it.
    pub(super) fn set_protocol(&self, node: &NodeId, other: Option<u32>) -> String {
        let mut foreign = self.foreign.lock().unwrap_or_else(PoisonError::into_inner);
        match other {
            Some(theirs) => foreign.insert(*node, theirs),
            None => foreign.remove(node),
        };
        other.map(speaks).unwrap_or_default()
    }

    pub(super) fn foreign(&self, node: &NodeId) -> Option<String> {
        let foreign = self.foreign.lock().unwrap_or_else(PoisonError::into_inner);
        foreign.get(node).copied().map(speaks)
    }

    pub(super) fn addresses_changed(&self) {
        self.addresses.notify_one();
    }

    pub(super) fn remember_refusal(&self, node: &NodeId, refusal: &Refusal) {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        errors.insert(*node, refusal.to_string());
    }

    pub(super) fn own_addresses(&self) -> Addresses {
        let listening = self.swarm.addresses();
        let advertise = &self.options.advertise;
        let or = |told: &Vec<String>, own: Vec<String>| if told.is_empty() { reachable(own) } else { told.clone() };
        Addresses { control: or(&advertise.control, listening.control), bulk: or(&advertise.bulk, listening.bulk) }
    }

    /// Tells the swarm who may talk, and where they can be reached.
    pub(super) async fn set_members(&self, peers: Vec<(NodeId, PublicKey, Addresses)>) {
        let member = |(_, peer, addresses): (_, _, Addresses)| {
            let Addresses { control, bulk } = addresses;
            Member { peer, control, bulk }
        };
        self.swarm.set_members(peers.into_iter().map(member).collect()).await;
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

/// What another protocol means, and whose turn it is.
fn speaks(theirs: u32) -> String {
    let turn = if theirs < PROTOCOL { "upgrade it" } else { "upgrade this node" };
    format!("speaks protocol {theirs}, this node speaks {PROTOCOL}: {turn}")
}

/// Without loopback addresses, when there are others: peers elsewhere would only reach themselves by those.
fn reachable(own: Vec<String>) -> Vec<String> {
    let is_loopback = |address: &String| address.starts_with("/ip4/127.") || address.starts_with("/ip6/::1/");
    let elsewhere: Vec<String> = own.iter().filter(|address| !is_loopback(address)).cloned().collect();
    if elsewhere.is_empty() { own } else { elsewhere }
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
