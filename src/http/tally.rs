//! One request, from its head to the last byte of its answer: what it moved, what it waited for, and how it ended.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use artimesh_core::access::Principal;
use hyper::{Method, StatusCode, Uri};

use super::meter::Meter;
use crate::service::{Account, RequestId};

/// What is known of a request when its head has come.
#[derive(Debug)]
pub struct Asked {
    /// Its name.
    pub id: RequestId,
    /// How it asks.
    pub method: Method,
    /// For what.
    pub uri: Uri,
    /// The other end of the connection.
    pub from: IpAddr,
    /// Whether it asks for an artifact, or for an archive of some.
    pub is_download: bool,
}

/// How a request was answered.
#[derive(Debug, Clone, Copy)]
pub struct Answered {
    /// The status code.
    pub status: StatusCode,
    /// What was promised of the body; `None` when nobody knew.
    pub length: Option<u64>,
}

/// One request. Dropping it writes what is to be written about it.
#[derive(Debug)]
pub struct Tally {
    pub(super) asked: Asked,
    pub(super) account: Account,
    meter: Meter,
    span: tracing::Span,
    started: Instant,
    sent: AtomicU64,
    received: AtomicU64,
    client_ns: AtomicU64,
    is_at_end: AtomicBool,
    who: OnceLock<Principal>,
    answered: OnceLock<Answered>,
}

impl Tally {
    /// Begins to count.
    pub fn begin(meter: &Meter, asked: Asked, span: tracing::Span) -> Arc<Tally> {
        meter.begun();
        Arc::new(Tally {
            asked,
            account: meter.endings().account(),
            meter: meter.clone(),
            span,
            started: Instant::now(),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            client_ns: AtomicU64::new(0),
            is_at_end: AtomicBool::new(false),
            who: OnceLock::new(),
            answered: OnceLock::new(),
        })
    }

    /// More of the answer's body went out.
    pub fn sent(&self, bytes: usize) {
        self.meter.sent(bytes);
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// More of the request's body came in.
    pub fn received(&self, bytes: usize) {
        self.meter.received(bytes);
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The answer's body, of whatever length, was asked for more than there is.
    pub fn reached_end(&self) {
        self.is_at_end.store(true, Ordering::Relaxed);
    }

    /// The answer's body failed: the connection is broken off.
    pub fn broke(&self, why: &dyn std::error::Error) {
        self.meter.broke();
        let id = &self.asked.id;
        self.span.in_scope(|| tracing::warn!(%id, error = %why, "the answer to request {id} broke off: {why}"));
    }

    /// It is known who asks.
    pub fn recognised(&self, principal: &Principal) {
        // A request is recognised once.
        let _ = self.who.set(principal.clone());
    }

    /// It is known what goes back.
    pub fn answered(&self, answered: Answered) {
        // And answered once.
        let _ = self.answered.set(answered);
    }

    /// Who asks, if that was found out.
    pub fn who(&self) -> Option<&Principal> {
        self.who.get()
    }

    /// What went back, if that came to it.
    pub fn answer(&self) -> Option<Answered> {
        self.answered.get().copied()
    }

    /// Bytes of the bodies, of the answer and of the request.
    pub fn moved(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.received.load(Ordering::Relaxed))
    }

    /// Whether all of the answer was handed to the connection.
    pub fn is_whole(&self) -> bool {
        let is_at_end = self.is_at_end.load(Ordering::Relaxed);
        let sent = self.sent.load(Ordering::Relaxed);
        self.answer().is_some_and(|answer| answer.length.map_or(is_at_end, |length| length == sent))
    }

    /// How long the client was waited for: until it sent more of its body, or took more of the answer's.
    pub fn client(&self) -> Duration {
        Duration::from_nanos(self.client_ns.load(Ordering::Relaxed))
    }

    /// How long it has taken so far.
    pub fn took(&self) -> Duration {
        self.started.elapsed()
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        let took = self.took();
        self.meter.ended();
        if self.meter.endings().note(self, took) {
            self.meter.was_slow();
        }
        let (sent, received) = self.moved();
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.span.in_scope(|| tracing::debug!(ms, sent, received, "request ended after {ms} ms"));
    }
}

/// The client is waited for until this is dropped.
#[derive(Debug)]
pub struct ClientWait {
    tally: Arc<Tally>,
    since: Instant,
}

impl ClientWait {
    /// From now on.
    pub fn begin(tally: &Arc<Tally>) -> ClientWait {
        ClientWait { tally: tally.clone(), since: Instant::now() }
    }
}

impl Drop for ClientWait {
    fn drop(&mut self) {
        let waited = u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.tally.client_ns.fetch_add(waited, Ordering::Relaxed);
    }
}

#[cfg(test)]
pub mod samples {
    //! Requests for the tests of this room.

    use std::net::Ipv4Addr;

    use super::*;

    /// An anonymous download of `libs/a.jar`.
    pub fn asked() -> Asked {
        Asked {
            id: RequestId("r1".into()),
            method: Method::GET,
            uri: Uri::from_static("/artifactory/libs/a%20b.jar?secret=1"),
            from: Ipv4Addr::LOCALHOST.into(),
            is_download: true,
        }
    }

    /// The same, under way.
    pub fn tally(meter: &Meter) -> Arc<Tally> {
        Tally::begin(meter, asked(), tracing::Span::none())
    }
}
