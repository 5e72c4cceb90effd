//! How the way to each member fares: its round trip, its bytes, its bulk connections.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use artimesh_core::model::PublicKey;

use super::counters::Counter;

/// No round trip was measured yet.
const UNKNOWN: u64 = u64::MAX;

/// What is known of the way to one peer. It outlives connections, so that bytes add up.
#[derive(Debug)]
pub struct Vitals {
    /// Bytes of bulk frames received from it.
    pub bulk_bytes_in: Counter,
    /// Bytes of bulk frames sent to it.
    pub bulk_bytes_out: Counter,
    round_trip_us: AtomicU64,
    bulk_connections: AtomicU64,
}

impl Default for Vitals {
    fn default() -> Vitals {
        Vitals {
            bulk_bytes_in: Counter::default(),
            bulk_bytes_out: Counter::default(),
            round_trip_us: AtomicU64::new(UNKNOWN),
            bulk_connections: AtomicU64::new(0),
        }
    }
}

impl Vitals {
    /// How long a ping takes there and back on the control connection, where it waits behind no data. It follows a faster
    /// answer at once and a slower one by an eighth, because what is added on the way is a queue, not distance.
    pub fn round_trip(&self) -> Option<Duration> {
        let us = self.round_trip_us.load(Ordering::Relaxed);
        (us != UNKNOWN).then(|| Duration::from_micros(us))
    }

    /// Connections of the bulk swarm with it now.
    pub fn bulk_connections(&self) -> u64 {
        self.bulk_connections.load(Ordering::Relaxed)
    }

    pub(super) fn answered(&self, took: Duration) {
        let new = u64::try_from(took.as_micros()).unwrap_or(UNKNOWN - 1);
        let old = self.round_trip_us.load(Ordering::Relaxed);
        let next = if old == UNKNOWN || new <= old { new } else { old + (new - old).div_ceil(8) };
        self.round_trip_us.store(next, Ordering::Relaxed);
    }

    pub(super) fn set_bulk_connections(&self, count: usize) {
        self.bulk_connections.store(count as u64, Ordering::Relaxed);
    }
}

/// The vitals of all who are or were members since the start.
#[derive(Debug, Default)]
pub(super) struct AllVitals(RwLock<HashMap<PublicKey, Arc<Vitals>>>);

impl AllVitals {
    /// Those of a member; made when it is met first.
    pub(super) fn of(&self, peer: &PublicKey) -> Arc<Vitals> {
        if let Some(known) = self.known(peer) {
            return known;
        }
        self.0.write().unwrap_or_else(PoisonError::into_inner).entry(*peer).or_default().clone()
    }

    pub(super) fn known(&self, peer: &PublicKey) -> Option<Arc<Vitals>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(peer).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_trip_falls_at_once_and_rises_slowly() {
        let vitals = Vitals::default();
        assert_eq!(vitals.round_trip(), None);
        let after = |ms| {
            vitals.answered(Duration::from_millis(ms));
            vitals.round_trip().unwrap().as_millis()
        };
        assert_eq!([after(50), after(130), after(130), after(20)], [50, 60, 68, 20]);
    }
}
