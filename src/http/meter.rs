//! What the server counts. Labels are route names and status classes only: paths and users have no bound.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::routes::ARTIFACT_GET;
use crate::service::{Metrics, RequestId};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    route: &'static str,
    class: &'static str,
}

/// The server's counters. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Meter(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    requests: Family<Labels, Counter>,
    /// The one of them that is needed most often.
    at_once: OnceLock<Counter>,
    received: Counter,
    sent: Counter,
    broken: Counter,
    sendfile: Counter,
    written: Counter,
    in_flight: Gauge,
    connections: Gauge,
}

impl Meter {
    /// Counters that `/metrics` shows.
    pub fn registered(metrics: &Metrics) -> Meter {
        let meter = Meter::default();
        metrics.register(|registry| {
            let registry = registry.sub_registry_with_prefix("http");
            registry.register("requests", "Requests answered, by route and status class", meter.0.requests.clone());
            registry.register("received_bytes", "Bytes of request bodies", meter.0.received.clone());
            registry.register("sent_bytes", "Bytes of answers' bodies", meter.0.sent.clone());
            registry.register("broken_answers", "Answers that broke off in their body", meter.0.broken.clone());
            registry.register(
                "sendfile_bytes",
                "Bytes that the kernel sent from stored files",
                meter.0.sendfile.clone(),
            );
            registry.register("written_bytes", "Bytes that were written to sockets", meter.0.written.clone());
            registry.register("requests_in_flight", "Requests being answered now", meter.0.in_flight.clone());
            registry.register("connections", "Connections open now", meter.0.connections.clone());
        });
        meter
    }

    /// Counts a connection until the guard is dropped.
    pub fn connection(&self) -> Counted {
        self.0.connections.inc();
        Counted(self.0.connections.clone())
    }

    /// Bytes went out by ordinary writes: heads, and bodies that aren't sent from files.
    pub fn wrote(&self, bytes: usize) {
        self.0.written.inc_by(bytes as u64);
    }

    /// Bytes went out by sendfile.
    pub fn sent_from_file(&self, bytes: usize) {
        self.0.sendfile.inc_by(bytes as u64);
    }

    /// Starts counting a request.
    pub fn request(&self, id: RequestId, span: tracing::Span) -> Arc<Tally> {
        self.0.in_flight.inc();
        Arc::new(Tally {
            meter: self.clone(),
            id,
            span,
            started: Instant::now(),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
        })
    }

    /// Counts a download that was answered where it arrived.
    pub fn answered_at_once(&self, bytes: usize) {
        let labels = Labels { route: ARTIFACT_GET, class: "2xx" };
        self.0.at_once.get_or_init(|| self.0.requests.get_or_create(&labels).clone()).inc();
        self.0.sent.inc_by(bytes as u64);
    }

    /// Notes how a request was answered.
    pub fn answered(&self, route: &'static str, status: StatusCode) {
        self.0.requests.get_or_create(&Labels { route, class: class_of(status) }).inc();
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

/// One request, from its headers to the last byte of its answer. Dropping it writes the request's one log line.
#[derive(Debug)]
pub struct Tally {
    meter: Meter,
    id: RequestId,
    span: tracing::Span,
    started: Instant,
    sent: AtomicU64,
    received: AtomicU64,
}

impl Tally {
    /// More of the answer's body went out.
    pub fn sent(&self, bytes: usize) {
        self.meter.0.sent.inc_by(bytes as u64);
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// More of the request's body came in.
    pub fn received(&self, bytes: usize) {
        self.meter.0.received.inc_by(bytes as u64);
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The answer's body failed: the connection is broken off.
    pub fn broke(&self, why: &dyn std::error::Error) {
        self.meter.0.broken.inc();
        let id = &self.id;
        self.span.in_scope(|| tracing::warn!(%id, error = %why, "the answer to request {id} broke off: {why}"));
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.meter.0.in_flight.dec();
        let elapsed: Duration = self.started.elapsed();
        let (sent, received) = (self.sent.load(Ordering::Relaxed), self.received.load(Ordering::Relaxed));
        let ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        self.span.in_scope(|| tracing::debug!(ms, sent, received, "request ended after {ms} ms"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_route_and_class_only() {
        let metrics = Metrics::default();
        let meter = Meter::registered(&metrics);
        let tally = meter.request(RequestId("r1".into()), tracing::Span::none());
        tally.sent(5);
        meter.answered("artifact_get", StatusCode::PARTIAL_CONTENT);
        let text = metrics.encode();
        for line in [
            "artimesh_http_requests_total{route=\"artifact_get\",class=\"2xx\"} 1",
            "artimesh_http_sent_bytes_total 5",
            "artimesh_http_requests_in_flight 1",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
        drop(tally);
        assert!(metrics.encode().contains("artimesh_http_requests_in_flight 0"));
    }
}
