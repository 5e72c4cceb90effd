//! What is written about a request at its end: a line of the slow log, and a line of the audit log.
//!
//! # Why
//! - A slow request is rarely seen twice, so what it waited for is always noted, and told when it took long. Noting costs
//!   nothing where nothing is waited for: see [`Account`].
//! - A slow *client* makes requests long, too. What was waited for it is a column of its own, so that nobody searches the
//!   node for what the network does.
//! - When everything is slow, a few lines say as much as a million: there are at most so many in a minute, and the next
//!   one tells how many were left out.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use artimesh_core::access::Principal;
use hyper::Method;
use percent_encoding::percent_decode_str;

use super::tally::Tally;
use super::timing::Audience;
use crate::service::{Account, Audit, Part, Served};

/// Lines of the slow log in a minute.
const LINES_MAX: u64 = 60;

/// Where archives are asked for.
const ARCHIVES: &str = "/artifactory/api/archive/download/";

/// What is written about requests.
#[derive(Debug)]
pub struct Endings {
    /// Requests that took as long are told; `None` for none.
    slow: Option<Duration>,
    /// Who is told what its request waited for.
    audience: Audience,
    /// Where downloads are noted.
    audit: Option<Audit>,
    ration: Ration,
}

impl Default for Endings {
    fn default() -> Self {
        Endings::new(Duration::ZERO, Audience::Nobody, None)
    }
}

impl Endings {
    /// Requests that take as long as `slow` are told, unless it is zero; downloads are noted in `audit`.
    pub fn new(slow: Duration, audience: Audience, audit: Option<Audit>) -> Endings {
        let audit = audit.filter(Audit::notes_downloads);
        Endings { slow: Some(slow).filter(|slow| !slow.is_zero()), audience, audit, ration: Ration::new() }
    }

    /// An account for a request, if anybody will ask for it.
    pub fn account(&self) -> Account {
        let is_told = self.slow.is_some() || self.audience != Audience::Nobody;
        if is_told { Account::open() } else { Account::default() }
    }

    /// Who is told what its request waited for.
    pub fn audience(&self) -> Audience {
        self.audience
    }

    /// Writes what is to be written about a request that has ended; whether it was slow.
    pub fn note(&self, tally: &Tally, took: Duration) -> bool {
        if let Some(audit) =
            self.audit.as_ref().filter(|_| tally.asked.is_download && tally.asked.method == Method::GET)
        {
            note_download(audit, tally, took);
        }
        let is_slow = self.slow.is_some_and(|slow| took >= slow);
        if is_slow && let Some(left_out) = self.ration.take() {
            tell_slow(tally, took, left_out);
        }
        is_slow
    }
}

/// Who asked; what was refused before that was found out is nobody's.
fn name(tally: &Tally) -> &str {
    tally.who().map_or("-", Principal::name)
}

fn note_download(audit: &Audit, tally: &Tally, took: Duration) {
    let (answer, (bytes, _)) = (tally.answer(), tally.moved());
    let path = tally.asked.uri.path();
    // An archive is one line, and has the path of what was packed.
    let below = [ARCHIVES, "/artifactory/"].iter().find_map(|base| path.strip_prefix(base));
    let path = below.unwrap_or(path);
    audit.served(&Served {
        who: name(tally),
        object: &percent_decode_str(path).decode_utf8_lossy(),
        status: answer.map_or(0, |answer| answer.status.as_u16()),
        bytes,
        is_whole: tally.is_whole(),
        from: tally.asked.from,
        request: &tally.asked.id,
        took,
    });
}

fn tell_slow(tally: &Tally, took: Duration, left_out: u64) {
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    let of = |part| ms(tally.account.of(part));
    let (bytes, received) = tally.moved();
    let waits = Part::ALL.map(|part| (part.name(), tally.account.of(part)));
    let client = ("client", tally.client());
    let known: Duration = waits.iter().chain([&client]).map(|(_, time)| *time).sum();
    let other = ("other", took.saturating_sub(known));
    let (most, _) = waits.into_iter().chain([client, other]).max_by_key(|(_, time)| *time).unwrap_or(other);
    tracing::warn!(
        target: "slow",
        method = %tally.asked.method,
        path = tally.asked.uri.path(),
        status = tally.answer().map_or(0, |answer| answer.status.as_u16()),
        bytes,
        received,
        who = name(tally),
        from = %tally.asked.from,
        request = &*tally.asked.id.0,
        total_ms = ms(took),
        queue_ms = of(Part::Queue),
        index_ms = of(Part::Index),
        disk_ms = of(Part::Disk),
        hash_ms = of(Part::Hash),
        sync_ms = of(Part::Sync),
        peer_ms = of(Part::Peer),
        client_ms = ms(client.1),
        other_ms = ms(other.1),
        left_out,
        "slow request, most of it {most}"
    );
}

/// So many in a minute.
#[derive(Debug)]
struct Ration {
    began: Instant,
    minute: AtomicU64,
    used: AtomicU64,
    left_out: AtomicU64,
}

impl Ration {
    fn new() -> Ration {
        Ration {
            began: Instant::now(),
            minute: AtomicU64::new(0),
            used: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
        }
    }

    /// Takes one, and how many were left out since the last that was taken; `None` when there is none left.
    fn take(&self) -> Option<u64> {
        self.take_at(self.began.elapsed().as_secs() / 60)
    }

    /// Two threads that begin a minute together may take one too many.
    fn take_at(&self, minute: u64) -> Option<u64> {
        if self.minute.swap(minute, Ordering::Relaxed) != minute {
            self.used.store(0, Ordering::Relaxed);
        }
        if self.used.fetch_add(1, Ordering::Relaxed) < LINES_MAX {
            return Some(self.left_out.swap(0, Ordering::Relaxed));
        }
        self.left_out.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::field::{Field, Visit};
    use tracing::span;
    use tracing::subscriber::{Subscriber, with_default};

    use super::super::meter::Meter;
    use super::super::tally::samples::{asked, tally};
    use super::super::tally::{Answered, Asked, ClientWait};
    use super::*;
    use crate::service::{AuditOptions, AuditQuery, Metrics};

    /// Keeps the fields of the events of the slow log.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<String>>>);

    struct Text(String);

    impl Visit for Text {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            self.0 += &format!("{field}={value:?} ");
        }
    }

    impl Subscriber for Lines {
        fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
            metadata.target() == "slow"
        }
        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn event(&self, event: &tracing::Event<'_>) {
            let mut text = Text(String::new());
            event.record(&mut text);
            self.0.lock().unwrap().push(text.0);
        }
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    #[test]
    fn a_slow_request_is_told_with_its_parts_and_a_quick_one_is_not() {
        let lines = Lines::default();
        let told = |slow: Duration| {
            let metrics = Metrics::default();
            let meter = Meter::registered(&metrics, Endings::new(slow, Audience::Nobody, None));
            let tally = tally(&meter);
            tally.account.add(Part::Disk, Duration::from_millis(7_000));
            drop(ClientWait::begin(&tally));
            tally.answered(Answered { status: hyper::StatusCode::OK, length: Some(0) });
            with_default(lines.clone(), || drop(tally));
            metrics.encode().contains("artimesh_http_slow_requests_total 1")
        };
        assert!(!told(Duration::ZERO) && !told(Duration::from_secs(3600)));
        assert!(lines.0.lock().unwrap().is_empty());
        assert!(told(Duration::from_nanos(1)));
        let line = lines.0.lock().unwrap()[0].clone();
        for part in
            ["most of it disk", "path=\"/artifactory/libs/a%20b.jar\"", "status=200", "disk_ms=7000.0", "client_ms="]
        {
            assert!(line.contains(part), "{part} is not in {line}");
        }
        assert!(!line.contains("secret"), "{line}");
    }

    #[test]
    fn a_storm_of_slow_requests_is_told_in_few_lines() {
        let ration = Ration::new();
        let taken = (0..1000).filter(|_| ration.take_at(0).is_some()).count();
        assert_eq!(taken as u64, LINES_MAX);
        assert_eq!(ration.take_at(1), Some(1000 - LINES_MAX));
        assert_eq!(ration.take_at(1), Some(0));
    }

    #[test]
    fn a_download_is_a_line_of_the_audit_log_however_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let options = AuditOptions { downloads: true, file_bytes: 1 << 20, files: 2 };
        let audit = Audit::open(folder.path(), options).unwrap();
        let endings = Endings::new(Duration::ZERO, Audience::Nobody, Some(audit.clone()));
        let meter = Meter::registered(&Metrics::default(), endings);
        let ask = |sent: usize, status: Option<u16>| {
            let tally = tally(&meter);
            tally.recognised(&Principal::Administrator);
            tally.sent(sent);
            if let Some(status) = status {
                let status = hyper::StatusCode::from_u16(status).unwrap();
                tally.answered(Answered { status, length: Some(12) });
            }
        };
        ask(12, Some(200));
        ask(5, Some(200));
        ask(12, Some(404));
        ask(0, None);
        let found = audit.find(&AuditQuery { limit: 10, ..AuditQuery::default() }).unwrap();
        let results = ["done", "broken off", "refused", "left"];
        assert_eq!(found.len(), results.len());
        for (line, result) in found.iter().zip(results) {
            assert!(line.contains(&format!("\"result\":\"{result}\"")), "{line}");
            assert!(line.contains("\"object\":\"libs/a b.jar\"") && line.contains("\"who\":\"admin\""), "{line}");
        }
    }

    #[test]
    fn an_archive_is_one_line_and_whole_when_its_end_was_reached() {
        let folder = tempfile::tempdir().unwrap();
        let options = AuditOptions { downloads: true, file_bytes: 1 << 20, files: 2 };
        let audit = Audit::open(folder.path(), options).unwrap();
        let endings = Endings::new(Duration::ZERO, Audience::Nobody, Some(audit.clone()));
        let meter = Meter::registered(&Metrics::default(), endings);
        for is_whole in [false, true] {
            let uri = hyper::Uri::from_static("/artifactory/api/archive/download/libs/a%20b?archiveType=zip");
            let tally = Tally::begin(&meter, Asked { uri, ..asked() }, tracing::Span::none());
            tally.answered(Answered { status: hyper::StatusCode::OK, length: None });
            tally.sent(12);
            if is_whole {
                tally.reached_end();
            }
        }
        let found = audit.find(&AuditQuery { limit: 10, ..AuditQuery::default() }).unwrap();
        for (line, result) in found.iter().zip(["broken off", "done"]) {
            assert!(line.contains(&format!("\"result\":\"{result}\"")), "{line}");
            assert!(line.contains("\"object\":\"libs/a b\""), "{line}");
        }
        assert_eq!(found.len(), 2);
    }
}
