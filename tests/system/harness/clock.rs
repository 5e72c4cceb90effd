//! A wall clock that a test sets, for one process alone: libfaketime, which reads its offset from a file at every call.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Where Debian and its relatives keep the library; the second is for programs with threads.
const LIBRARIES: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
];

/// How far a process's wall clock is off ours. Clones are the same clock.
#[derive(Clone, Debug)]
pub struct Clock {
    library: &'static str,
    file: PathBuf,
    ahead_s: Arc<AtomicI64>,
}

impl Clock {
    /// A right clock, kept in `file`; `None` where libfaketime isn't installed.
    pub fn in_file(file: &Path) -> Option<Clock> {
        let library = LIBRARIES.into_iter().find(|library| Path::new(library).exists())?;
        let clock = Clock { library, file: file.to_owned(), ahead_s: Arc::default() };
        clock.set(0);
        Some(clock)
    }

    /// Jumps to `ahead_s` seconds ahead of the true time.
    pub fn set(&self, ahead_s: i64) {
        // A name is changed at once: no reader meets half a number.
        let new = self.file.with_extension("new");
        fs::write(&new, format!("{ahead_s:+}\n")).expect("a file of ours");
        fs::rename(&new, &self.file).expect("a file of ours");
        self.ahead_s.store(ahead_s, Ordering::SeqCst);
    }

    /// How far it is ahead of the true time, in seconds.
    pub fn ahead_s(&self) -> i64 {
        self.ahead_s.load(Ordering::SeqCst)
    }

    /// What the process's environment needs.
    pub fn variables(&self) -> [(&'static str, PathBuf); 5] {
        [
            ("LD_PRELOAD", self.library.into()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.clone()),
            ("FAKETIME_NO_CACHE", "1".into()),
            // Timers go on as they do when an administrator sets the clock.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
            ("NO_FAKE_STAT", "1".into()),
        ]
    }
}
