//! What the server counts. Labels are route names and status classes only: paths and users have no bound.

use std::sync::Arc;

use hyper::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::endings::Endings;
use crate::service::Metrics;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    route: &'static str,
    class: &'static str,
}

/// The server's counters. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Meter(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    counters: Counters,
    endings: Endings,
}

#[derive(Debug, Default)]
struct Counters {
    requests: Family<Labels, Counter>,
    at_hand: Counter,
    received: Counter,
    sent: Counter,
    broken: Counter,
    sendfile: Counter,
    written: Counter,
    in_flight: Gauge,
    slow: Counter,
    connections: Gauge,
}

impl Meter {
    /// Counters that `/metrics` shows. `endings` says what is written about requests.
    pub fn registered(metrics: &Metrics, endings: Endings) -> Meter {
        let meter = Meter(Arc::new(Inner { counters: Counters::default(), endings }));
        let counters = &meter.0.counters;
        metrics.register(|registry| {
            let registry = registry.sub_registry_with_prefix("http");
            registry.register("requests", "Requests answered, by route and status class", counters.requests.clone());
            registry.register(
                "answered_at_hand",
                "Downloads whose answer was at hand, of the requests above",
                counters.at_hand.clone(),
            );
            registry.register("received_bytes", "Bytes of request bodies", counters.received.clone());
            registry.register("sent_bytes", "Bytes of answers' bodies", counters.sent.clone());
            registry.register("broken_answers", "Answers that broke off in their body", counters.broken.clone());
            registry.register(
                "sendfile_bytes",
                "Bytes that the kernel sent from stored files",
                counters.sendfile.clone(),
            );
            registry.register("written_bytes", "Bytes that were written to sockets", counters.written.clone());
            registry.register("slow_requests", "Requests that took longer than http.slow_log", counters.slow.clone());
            registry.register("requests_in_flight", "Requests being answered now", counters.in_flight.clone());
            registry.register("connections", "Connections open now", counters.connections.clone());
        });
        meter
    }

    /// Counts a connection until the guard is dropped.
    pub fn connection(&self) -> Counted {
        self.0.counters.connections.inc();
        Counted(self.0.counters.connections.clone())
    }

    /// Bytes went out by ordinary writes: heads, and bodies that aren't sent from files.
    pub fn wrote(&self, bytes: usize) {
        self.0.counters.written.inc_by(bytes as u64);
    }

    /// Bytes went out by sendfile.
    pub fn sent_from_file(&self, bytes: usize) {
        self.0.counters.sendfile.inc_by(bytes as u64);
    }

    /// What is written about requests.
    pub fn endings(&self) -> &Endings {
        &self.0.endings
    }

    /// A request has begun.
    pub fn begun(&self) {
        self.0.counters.in_flight.inc();
    }

    /// It has ended.
    pub fn ended(&self) {
        self.0.counters.in_flight.dec();
    }

    /// More of answers' bodies went out.
    pub fn sent(&self, bytes: usize) {
        self.0.counters.sent.inc_by(bytes as u64);
    }

    /// More of requests' bodies came in.
    pub fn received(&self, bytes: usize) {
        self.0.counters.received.inc_by(bytes as u64);
    }

    /// An answer broke off in its body.
    pub fn broke(&self) {
        self.0.counters.broken.inc();
    }

    /// A request took long.
    pub fn was_slow(&self) {
        self.0.counters.slow.inc();
    }

    /// Notes a download whose answer was at hand.
    pub fn answered_at_hand(&self, route: &'static str, status: StatusCode) {
        self.0.counters.at_hand.inc();
        self.answered(route, status);
    }

    /// Notes how a request was answered.
    pub fn answered(&self, route: &'static str, status: StatusCode) {
        self.0.counters.requests.get_or_create(&Labels { route, class: class_of(status) }).inc();
    }
}

fn class_of(status: StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}

/// One of a gauge, until it is dropped.
#[derive(Debug)]
pub struct Counted(Gauge);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_route_and_class_only() {
        let metrics = Metrics::default();
        let meter = Meter::registered(&metrics, Endings::default());
        meter.begun();
        meter.sent(5);
        meter.answered("artifact_get", StatusCode::PARTIAL_CONTENT);
        let text = metrics.encode();
        for line in [
            "artimesh_http_requests_total{route=\"artifact_get\",class=\"2xx\"} 1",
            "artimesh_http_sent_bytes_total 5",
            "artimesh_http_requests_in_flight 1",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
        meter.ended();
        assert!(metrics.encode().contains("artimesh_http_requests_in_flight 0"));
    }
}
