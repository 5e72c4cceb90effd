//! Whether a connection of many streams still moves.
//!
//! # Why
//! A client of HTTP/2 can read its socket and yet take nothing: it grants no window. Then no write ever waits, and the
//! clock that watches writes never starts. So each request of such a connection tells here when a piece of its answer was
//! handed over and when the next is asked for; a connection on which pieces wait and nothing moves for the idle time is
//! broken off, and one without requests for as long is closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Of one connection.
#[derive(Debug)]
pub struct Flow {
    began: Instant,
    /// When something last moved, in milliseconds since the beginning.
    moved_ms: AtomicU64,
    /// Requests whose answer hasn't ended.
    under_way: AtomicUsize,
    /// Those of them whose client hasn't taken what it was given.
    waiting: AtomicUsize,
}

/// What is to be done with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Fine,
    /// It has been without a request for long.
    Idle,
    /// Its client takes nothing.
    Stalled,
}

impl Flow {
    /// Of a new connection.
    pub fn new() -> Arc<Flow> {
        let (moved_ms, under_way, waiting) = (AtomicU64::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Flow { began: Instant::now(), moved_ms, under_way, waiting })
    }

    /// A request came.
    pub fn request(self: &Arc<Self>) -> Passage {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        self.moved();
        Passage { flow: self.clone(), is_waiting: false }
    }

    /// Something moved.
    pub fn moved(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved_ms.store(now, Ordering::Relaxed);
    }

    /// What is to be done, when nothing may stand still for `idle`.
    pub fn verdict(&self, idle: Duration) -> Verdict {
        let still = self.began.elapsed().saturating_sub(Duration::from_millis(self.moved_ms.load(Ordering::Relaxed)));
        let (under_way, waiting) = (self.under_way.load(Ordering::Relaxed), self.waiting.load(Ordering::Relaxed));
        match (under_way, waiting) {
            _ if still < idle => Verdict::Fine,
            (0, _) => Verdict::Idle,
            // What is still being made isn't the client's fault.
            (_, 0) => Verdict::Fine,
            _ => Verdict::Stalled,
        }
    }
}

/// One request, until its answer has ended.
#[derive(Debug)]
pub struct Passage {
    flow: Arc<Flow>,
    is_waiting: bool,
}

impl Passage {
    /// A piece was handed over.
    pub fn gave(&mut self) {
        if !std::mem::replace(&mut self.is_waiting, true) {
            self.flow.waiting.fetch_add(1, Ordering::Relaxed);
        }
        self.flow.moved();
    }

    /// The next piece is asked for: the one before was taken.
    pub fn asked(&mut self) {
        if std::mem::replace(&mut self.is_waiting, false) {
            self.flow.waiting.fetch_sub(1, Ordering::Relaxed);
            self.flow.moved();
        }
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        self.asked();
        self.flow.under_way.fetch_sub(1, Ordering::Relaxed);
        self.flow.moved();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_stalls_when_pieces_wait_and_idles_when_nobody_asks() {
        let (flow, at_once, never) = (Flow::new(), Duration::ZERO, Duration::from_secs(3600));
        assert_eq!((flow.verdict(at_once), flow.verdict(never)), (Verdict::Idle, Verdict::Fine));
        let (mut one, mut other) = (flow.request(), flow.request());
        assert_eq!(flow.verdict(at_once), Verdict::Fine, "both are being answered");
        one.gave();
        assert_eq!((flow.verdict(at_once), flow.verdict(never)), (Verdict::Stalled, Verdict::Fine));
        other.gave();
        one.asked();
        assert_eq!(flow.verdict(at_once), Verdict::Stalled, "the other still waits");
        drop(other);
        assert_eq!(flow.verdict(at_once), Verdict::Fine);
        one.gave();
        drop(one);
        assert_eq!(flow.verdict(at_once), Verdict::Idle);
    }
}
