//! The one metrics registry: rooms register at start, `/metrics` encodes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use artimesh_core::model::PublicKey;

use crate::engine::{Engine, Vitals};
use crate::store::Latencies;

/// Shared by everybody who counts something.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Mutex<Registry>>);

impl Default for Metrics {
    fn default() -> Self {
        Metrics(Arc::new(Mutex::new(Registry::with_prefix("artimesh"))))
    }
}

impl Metrics {
    /// Registers metrics.
    pub fn register(&self, with: impl FnOnce(&mut Registry)) {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// All metrics in the OpenMetrics text format.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        let registry = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("a String takes whatever is written");
        text
    }
}

/// Registers what the engine, the swarm and the store count.
pub(super) fn register(metrics: &Metrics, engine: &Engine) {
    let engine = engine.clone();
    metrics.register(|registry| registry.register_collector(Box::new(EngineCollector(engine))));
}

struct EngineCollector(Engine);

impl std::fmt::Debug for EngineCollector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EngineCollector")
    }
}

impl Collector for EngineCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let (counts, fetched) = (self.0.counts(), self.0.fetched());
        let swarm = self.0.swarm().counters();
        let cache = self.0.cache_status();
        let usage = self.0.store().usage();
        let counters = [
            ("entries_applied", "Entries of other nodes that were applied", counts.entries_applied()),
            ("entries_applied_by_gossip", "Those that gossip brought first", counts.entries_applied_by_gossip()),
            ("entries_pruned", "Dead entries that went from the logs", counts.entries_pruned()),
            ("states_taken_over", "States of repositories compared and taken over", counts.states_taken_over()),
            ("refusals", "What peers sent and was refused", counts.refusals()),
            ("blobs_fetched", "Blobs fetched from peers and stored", fetched.blobs()),
            ("fetched_bytes", "Bytes of blobs received from peers", fetched.bytes()),
            ("fetched_twice_bytes", "Bytes that another source had sent before", fetched.repeated_bytes()),
            ("possessions_proved", "Blobs held through another space that a member proved to have", fetched.proved()),
            ("wrong_answers", "Answers of peers that were not what was asked for", fetched.wrong()),
            ("fetch_failures", "Fetches that failed at all peers asked", fetched.failures()),
            ("cache_hits", "Downloads whose bytes were here where what was read is kept", cache.hits),
            ("cache_misses", "Downloads whose bytes had to be fetched there", cache.misses),
            ("cache_evicted_blobs", "Blobs that went from the cache", cache.evicted_blobs),
            ("cache_evicted_bytes", "What they took", cache.evicted_bytes),
            ("store_past_cache_bytes", "Bytes from peers written past the page cache", usage.past_cache_bytes),
            ("swarm_control_received_bytes", "Bytes received on control streams", swarm.control_bytes_in.get()),
            ("swarm_control_sent_bytes", "Bytes sent on control streams", swarm.control_bytes_out.get()),
            ("swarm_bulk_received_bytes", "Bytes received on bulk streams", swarm.bulk_bytes_in.get()),
            ("swarm_bulk_sent_bytes", "Bytes sent on bulk streams", swarm.bulk_bytes_out.get()),
            ("swarm_stranger_refusals", "Strangers that were refused", swarm.stranger_refusals.get()),
            ("swarm_dial_failures", "Dials that failed", swarm.dial_failures.get()),
        ];
        for (name, help, value) in counters {
            let metric = ConstCounter::new(value);
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)?;
        }
        let gauges = [
            ("store_pack_bytes", "Bytes in packs", usage.pack_bytes),
            ("store_large_bytes", "Bytes in large blob files", usage.large_bytes),
            ("store_index_bytes", "Bytes of the index", usage.index_bytes),
            ("store_overlay_bytes", "Bytes of rows that wait for the index", usage.overlay_bytes),
            ("store_blobs", "Blobs stored", usage.blobs),
            ("cache_limit_bytes", "What the cache of what was read may take", cache.limit_bytes),
            ("cache_held_bytes", "What it takes", cache.held.bytes),
            ("cache_held_blobs", "Blobs in it", cache.held.blobs),
            ("cache_pinned_bytes", "What of it is pinned", cache.held.pinned_bytes),
            ("peers_connected", "Peers connected", self.0.swarm().connected().len() as u64),
        ];
        for (name, help, value) in gauges {
            let metric = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)?;
        }
        encode_syncs(&self.0, &mut encoder)?;
        encode_peers(&self.0, &mut encoder)
    }
}

/// How long syncs took, by what was made durable.
fn encode_syncs(engine: &Engine, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
    let help = "How long it took to make something durable";
    let mut family = encoder.encode_descriptor("store_sync", help, Some(&Unit::Seconds), MetricType::Histogram)?;
    for (of, Latencies { count, sum, classes }) in engine.store().syncs() {
        let bound = |bound: Option<Duration>| bound.map_or(f64::INFINITY, |bound| bound.as_secs_f64());
        let buckets: Vec<(f64, u64)> = classes.into_iter().map(|(upper, count)| (bound(upper), count)).collect();
        let labels = [("of", of)];
        let mut metric = family.encode_family(&labels)?;
        metric.encode_histogram::<NoLabelSet>(sum.as_secs_f64(), count, &buckets, None)?;
    }
    Ok(())
}

/// What is known of the way to one peer, as a number; nothing where it isn't known.
type OfPeer = fn(&Engine, &PublicKey, &Vitals) -> Option<u64>;

/// One line for each peer that was ever connected, by its name.
fn encode_peers(engine: &Engine, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
    let counters: [(&str, &str, OfPeer); 2] = [
        ("peer_received_bytes", "Bytes of artifacts received from a peer", |_, _, v| Some(v.bulk_bytes_in.get())),
        ("peer_sent_bytes", "Bytes of artifacts sent to a peer", |_, _, v| Some(v.bulk_bytes_out.get())),
    ];
    let gauges: [(&str, &str, OfPeer); 3] = [
        ("peer_round_trip_us", "Round trip to a peer, in microseconds", |_, _, v| {
            v.round_trip().and_then(|time| u64::try_from(time.as_micros()).ok())
        }),
        ("peer_receiving_bytes_per_s", "How fast bytes last came from a peer", |e, key, _| e.receiving_rate(key)),
        ("peer_bulk_connections", "Connections with a peer for artifacts", |_, _, v| Some(v.bulk_connections())),
    ];
    let snapshot = engine.snapshot();
    let peers: Vec<_> = snapshot
        .members
        .values()
        .filter_map(|(name, _, key)| Some((name.as_str(), key, engine.swarm().vitals(key)?)))
        .collect();
    for (name, help, value) in counters {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (peer, key, vitals) in &peers {
            if let Some(value) = value(engine, key, vitals) {
                ConstCounter::new(value).encode(family.encode_family(&[("peer", *peer)])?)?;
            }
        }
    }
    for (name, help, value) in gauges {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (peer, key, vitals) in &peers {
            if let Some(value) = value(engine, key, vitals) {
                let value = i64::try_from(value).unwrap_or(i64::MAX);
                ConstGauge::new(value).encode(family.encode_family(&[("peer", *peer)])?)?;
            }
        }
    }
    Ok(())
}
