//! What a swarm has done since it started, for metrics and tests.

use std::sync::atomic::{AtomicU64, Ordering};

/// One number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(super) fn increment(&self) {
        self.add(1);
    }
}

/// All counters of a swarm. Bytes are payload, without framing and encryption.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections established, members and strangers, both swarms.
    pub connections: Counter,
    /// Sessions that reached `Connected`.
    pub sessions: Counter,
    /// Control frames received.
    pub frames_in: Counter,
    /// Control frames sent.
    pub frames_out: Counter,
    /// Bytes of control frames received.
    pub control_bytes_in: Counter,
    /// Bytes of control frames sent.
    pub control_bytes_out: Counter,
    /// Bytes of bulk frames received.
    pub bulk_bytes_in: Counter,
    /// Bytes of bulk frames sent.
    pub bulk_bytes_out: Counter,
    /// Gossip messages received for the first time.
    pub gossip_received: Counter,
    /// Gossip messages that the caller accepted.
    pub gossip_accepted: Counter,
    /// Gossip messages dropped because the caller was slow.
    pub gossip_dropped: Counter,
    /// Connections refused to strangers: too many of them, or on the bulk swarm.
    pub stranger_refusals: Counter,
    /// Handshakes that weren't begun because too many were under way.
    pub handshake_refusals: Counter,
    /// Streams that a peer opened over its limit.
    pub stream_refusals: Counter,
    /// Pairing requests handed to the caller.
    pub pairings: Counter,
    /// Dials that failed.
    pub dial_failures: Counter,
}
