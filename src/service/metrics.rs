//! The one metrics registry: rooms register at start, `/metrics` encodes.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::engine::Engine;

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
        let counters = [
            ("entries_applied", "Entries of other nodes that were applied", counts.entries_applied()),
            ("entries_applied_by_gossip", "Those that gossip brought first", counts.entries_applied_by_gossip()),
            ("entries_pruned", "Dead entries that went from the logs", counts.entries_pruned()),
            ("states_taken_over", "States of repositories compared and taken over", counts.states_taken_over()),
            ("refusals", "What peers sent and was refused", counts.refusals()),
            ("blobs_fetched", "Blobs fetched from peers and stored", fetched.blobs()),
            ("fetched_bytes", "Bytes of blobs received from peers", fetched.bytes()),
            ("fetch_failures", "Fetches that failed at all peers asked", fetched.failures()),
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
        let usage = self.0.store().usage();
        let gauges = [
            ("store_pack_bytes", "Bytes in packs", usage.pack_bytes),
            ("store_large_bytes", "Bytes in large blob files", usage.large_bytes),
            ("store_index_bytes", "Bytes of the index", usage.index_bytes),
            ("store_overlay_bytes", "Bytes of rows that wait for the index", usage.overlay_bytes),
            ("store_blobs", "Blobs stored", usage.blobs),
            ("peers_connected", "Peers connected", self.0.swarm().connected().len() as u64),
        ];
        for (name, help, value) in gauges {
            let metric = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)?;
        }
        Ok(())
    }
}
