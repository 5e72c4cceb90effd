//! The one audit log: who did what, when, from where, with which outcome; each download is a line of it.
//!
//! Lines of JSON in `audit/` of the data folder, in files that are numbered and of bounded size, the oldest of which go.
//!
//! # Why
//! - A download must not wait for a disk to be noted. So its line goes into a buffer of the thread that served it, under a
//!   lock that nobody else wants, and one thread brings all buffers to the file five times a second, and makes them durable
//!   once a second.
//! - When the disk can't follow, a line is lost rather than every reader made to wait; but never silently: lost lines
//!   are counted, shown by the status and `/metrics`, and told by a line of their own as soon as one can be written.
//! - Changes are in the log of their federation as well, with their author: a lost line loses no change.

mod buffers;
mod files;
mod search;

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::caller::{Caller, RequestId};
use super::metrics::Metrics;
use buffers::Buffers;
use files::Files;
pub use search::AuditQuery;

/// What is kept, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditOptions {
    /// Whether each download is a line.
    pub downloads: bool,
    /// A file of so many bytes is followed by the next.
    pub file_bytes: u64,
    /// So many files are kept.
    pub files: u64,
}

/// A body that was asked for, and how that ended.
#[derive(Clone, Copy, Debug)]
pub struct Served<'a> {
    /// Who asked.
    pub who: &'a str,
    /// `REPO/PATH`.
    pub object: &'a str,
    /// The status code of the answer; 0 when the client left before there was one.
    pub status: u16,
    /// Bytes of the body that were handed to the connection.
    pub bytes: u64,
    /// Whether that was all of it.
    pub is_whole: bool,
    /// The other end of the connection.
    pub from: IpAddr,
    /// The request.
    pub request: &'a RequestId,
    /// From its head to its end.
    pub took: Duration,
}

/// One line.
#[derive(Serialize)]
struct Line<'a> {
    at: u64,
    who: &'a str,
    what: &'a str,
    object: &'a str,
    result: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<IpAddr>,
    #[serde(skip_serializing_if = "str::is_empty")]
    request: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ms: Option<u64>,
}

/// Writes the audit log. Cheap to clone; dropping the last one writes what is left, and blocks meanwhile.
#[derive(Clone, Debug)]
pub struct Audit(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: AuditOptions,
    buffers: Arc<Buffers>,
    folder: Box<Path>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Audit {
    /// Goes on with the log in `folder`, or begins one.
    ///
    /// # Errors
    /// The folder can't be made, read or written.
    pub fn open(folder: &Path, options: AuditOptions) -> io::Result<Audit> {
        let buffers = Arc::new(Buffers::default());
        let files = Files::open(folder, options)?;
        let shared = buffers.clone();
        let thread = Builder::new().name("audit".into()).spawn(move || files.run(&shared))?;
        Ok(Audit(Arc::new(Inner { options, buffers, folder: folder.into(), thread: Mutex::new(Some(thread)) })))
    }

    /// One record. `what` is a verb, `object` names what it was done to, `outcome` is `done` or the reason why not.
    pub fn record(&self, caller: &Caller, what: &str, object: &str, outcome: &str) {
        let (who, request) = (caller.principal.name(), &*caller.request.0);
        tracing::info!(target: "audit", who, request, what, object, outcome, "{who} {what} {object}: {outcome}");
        let (at, from) = (now_ms(), Some(caller.from));
        self.0.buffers.append(&Line {
            at,
            who,
            what,
            object,
            result: outcome,
            status: None,
            bytes: None,
            from,
            request,
            ms: None,
        });
    }

    /// Whether downloads are lines.
    pub fn notes_downloads(&self) -> bool {
        self.0.options.downloads
    }

    /// One download.
    pub fn served(&self, served: &Served<'_>) {
        let result = match served.status {
            0 => "left",
            400.. => "refused",
            _ if served.is_whole => "done",
            _ => "broken off",
        };
        self.0.buffers.append(&Line {
            at: now_ms(),
            who: served.who,
            what: "download",
            object: served.object,
            result,
            status: Some(served.status).filter(|status| *status != 0),
            bytes: Some(served.bytes),
            from: Some(served.from),
            request: &served.request.0,
            ms: u64::try_from(served.took.as_millis()).ok(),
        });
    }

    /// Lines since the start: written, and lost.
    pub fn counts(&self) -> (u64, u64) {
        (self.0.buffers.recorded.get(), self.0.buffers.lost.get())
    }

    /// The newest lines that match, oldest first, as JSON. Blocks.
    ///
    /// # Errors
    /// The files can't be read.
    pub fn find(&self, query: &AuditQuery) -> io::Result<Vec<String>> {
        self.0.buffers.flush();
        search::find(&self.0.folder, query)
    }

    /// Writes what is left, and ends. What comes later is lost. Blocks.
    pub fn close(&self) {
        self.0.close();
    }

    pub(super) fn register(&self, metrics: &Metrics) {
        let (recorded, lost) = (self.0.buffers.recorded.clone(), self.0.buffers.lost.clone());
        metrics.register(|registry| {
            registry.register("audit_records", "Lines of the audit log that were written", recorded);
            registry.register("audit_lost", "Lines that could not be written", lost);
        });
    }
}

impl Inner {
    fn close(&self) {
        self.buffers.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of the audit log panicked");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use serde_json::Value;

    use super::*;

    pub(super) const OPTIONS: AuditOptions = AuditOptions { downloads: true, file_bytes: 2000, files: 3 };

    fn served<'a>(object: &'a str, request: &'a RequestId) -> Served<'a> {
        let from = Ipv4Addr::new(192, 0, 2, 7).into();
        let took = Duration::from_millis(3);
        Served { who: "admin", object, status: 200, bytes: 5, is_whole: true, from, request, took }
    }

    fn query(path: &str, limit: usize) -> AuditQuery {
        AuditQuery { path: Some(path.into()), limit, ..AuditQuery::default() }
    }

    #[test]
    fn what_was_served_is_found_again_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let request = RequestId("r1".into());
        {
            let audit = Audit::open(folder.path(), OPTIONS).unwrap();
            audit.served(&served("libs/a.jar", &request));
            audit.served(&Served { status: 404, ..served("libs/b.jar", &request) });
            let found = audit.find(&query("libs/a", 10)).unwrap();
            let line: Value = serde_json::from_str(&found[0]).unwrap();
            assert_eq!((found.len(), &line["who"], &line["from"]), (1, &"admin".into(), &"192.0.2.7".into()));
            assert_eq!((&line["bytes"], &line["result"], &line["request"]), (&5.into(), &"done".into(), &"r1".into()));
        }
        let audit = Audit::open(folder.path(), OPTIONS).unwrap();
        audit.served(&Served { is_whole: false, ..served("libs/c.jar", &request) });
        let results: Vec<Value> = audit
            .find(&query("libs/", 10))
            .unwrap()
            .iter()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["result"].clone())
            .collect();
        assert_eq!(results, ["done", "refused", "broken off"]);
        assert_eq!(audit.find(&query("libs/", 1)).unwrap().len(), 1);
        assert_eq!(audit.counts(), (1, 0));
    }

    #[test]
    fn old_files_go_and_the_newest_lines_stay() {
        let folder = tempfile::tempdir().unwrap();
        let request = RequestId("r1".into());
        let audit = Audit::open(folder.path(), OPTIONS).unwrap();
        for number in 0..200 {
            audit.served(&served(&format!("libs/{number:03}"), &request));
            if number % 5 == 0 {
                audit.find(&query("none", 1)).unwrap();
            }
        }
        let found = audit.find(&query("libs/", 1000)).unwrap();
        assert!(found.last().unwrap().contains("libs/199"));
        assert!(found.len() < 60, "{} lines of about 150 bytes", found.len());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_line_that_was_torn_by_a_crash_spoils_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let request = RequestId("r1".into());
        {
            let audit = Audit::open(folder.path(), OPTIONS).unwrap();
            audit.served(&served("libs/a.jar", &request));
        }
        let file = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
        let mut text = std::fs::read_to_string(&file).unwrap();
        text.push_str("{\"at\":17,\"who\":\"ad");
        std::fs::write(&file, text).unwrap();
        let audit = Audit::open(folder.path(), OPTIONS).unwrap();
        audit.served(&served("libs/b.jar", &request));
        assert_eq!(audit.find(&query("libs/", 10)).unwrap().len(), 2);
    }

    #[test]
    fn what_could_not_be_written_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let request = RequestId("r1".into());
        let audit = Audit::open(folder.path(), OPTIONS).unwrap();
        audit.close();
        audit.served(&served("libs/a.jar", &request));
        assert_eq!(audit.counts(), (0, 1));
    }
}
