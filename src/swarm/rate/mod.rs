//! How many bytes of bulk may pass in a second: for this node in all and for each peer, in either direction.
//!
//! # Why
//! The limit is kept where bytes pass, in pieces of 64 KiB, and not where they are asked for: so it holds whoever asks,
//! and a receiver's limit reaches the sender through the stream's window. Control traffic is never limited.

mod bucket;
mod plan;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use artimesh_core::model::PublicKey;
use bucket::Bucket;
pub use bucket::Class;
pub use plan::{Hours, Plan, Zone};

/// What passes at once, bytes: at least so often in a mebibyte others get their turn.
pub(super) const PIECE_BYTES: usize = 64 << 10;

const PIECE_BYTES_MIN: usize = 1 << 10;

/// The limits of a node. Each is a plan: a rate for each time of the day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Received from all peers together.
    pub node_in: Plan,
    /// Sent to all peers together.
    pub node_out: Plan,
    /// Received from any one peer.
    pub peer_in: Plan,
    /// Sent to any one peer.
    pub peer_out: Plan,
}

/// One plan at work.
#[derive(Debug)]
pub(super) struct Gate {
    plan: Plan,
    start: Instant,
    bucket: Mutex<Bucket>,
}

impl Gate {
    pub(super) fn new(plan: Plan) -> Gate {
        Gate { plan, start: Instant::now(), bucket: Mutex::default() }
    }

    fn rate(&self) -> Option<u64> {
        if self.plan.is_open() {
            return None;
        }
        self.plan.rate_at(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
    }

    /// Lets bytes pass; how long whoever moves them has to pause then.
    fn pause(&self, bytes: usize, class: Class) -> Duration {
        let Some(rate) = self.rate() else { return Duration::ZERO };
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.take(self.start.elapsed(), bytes as u64, rate, class)
    }
}

/// The gates of one peer, and the node's own.
#[derive(Debug)]
pub(super) struct PeerGates {
    /// In and out, all peers together.
    pub(super) node: Arc<(Gate, Gate)>,
    pub(super) received: Gate,
    pub(super) sent: Gate,
}

/// The gates of all who are or were members since the start.
#[derive(Debug)]
pub(super) struct Gates {
    rates: Rates,
    node: Arc<(Gate, Gate)>,
    peers: Mutex<HashMap<PublicKey, Arc<PeerGates>>>,
}

impl Gates {
    pub(super) fn new(rates: Rates) -> Gates {
        let node = Arc::new((Gate::new(rates.node_in.clone()), Gate::new(rates.node_out.clone())));
        Gates { rates, node, peers: Mutex::default() }
    }

    pub(super) fn of(&self, peer: &PublicKey) -> Arc<PeerGates> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || PeerGates {
            node: self.node.clone(),
            received: Gate::new(self.rates.peer_in.clone()),
            sent: Gate::new(self.rates.peer_out.clone()),
        };
        peers.entry(*peer).or_insert_with(|| Arc::new(new())).clone()
    }
}

/// How much passes at once: no more than a second's worth, so that a slow stream never looks like a dead one.
pub(super) fn piece_bytes(gates: [&Gate; 2]) -> usize {
    let slowest = gates.iter().filter_map(|gate| gate.rate()).min();
    let a_second = slowest.map_or(PIECE_BYTES, |rate| usize::try_from(rate).unwrap_or(PIECE_BYTES));
    a_second.clamp(PIECE_BYTES_MIN, PIECE_BYTES)
}

/// Pauses as long as the strictest of the gates says.
pub(super) async fn pass(gates: [&Gate; 2], bytes: usize, class: Class) {
    let pause = gates.map(|gate| gate.pause(bytes, class)).into_iter().max().unwrap_or_default();
    if pause > Duration::ZERO {
        tokio::time::sleep(pause).await;
    }
}
