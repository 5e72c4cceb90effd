//! The files of the log, and the one thread that writes them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::buffers::Buffers;
use super::{AuditOptions, Line, now_ms};

/// How often what was taken is written.
const TICK: Duration = Duration::from_millis(200);
/// How often what was written is made durable.
const SYNC: Duration = Duration::from_secs(1);

/// The writer's state.
pub struct Files {
    folder: PathBuf,
    options: AuditOptions,
    file: File,
    number: u64,
    bytes: u64,
    is_dirty: bool,
    synced: Instant,
    is_failing: bool,
    /// Of the lines that were lost, those that a line tells of.
    told_lost: u64,
}

/// The files in `folder`, by number.
pub fn numbered(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let digits = name.strip_prefix("audit-").and_then(|rest| rest.strip_suffix(".jsonl"));
        if let Some(number) = digits.and_then(|digits| digits.parse().ok()) {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found)
}

fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("audit-{number:08}.jsonl"))
}

/// Opens a file to append to it; behind a line that a crash has torn a new one begins.
fn open(path: &Path) -> io::Result<(File, u64)> {
    let mut file = OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(path)?;
    let bytes = file.seek(SeekFrom::End(0))?;
    if bytes == 0 {
        return Ok((file, 0));
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    if last == *b"\n" {
        return Ok((file, bytes));
    }
    file.write_all(b"\n")?;
    Ok((file, bytes + 1))
}

impl Files {
    /// Goes on with the newest file.
    pub fn open(folder: &Path, options: AuditOptions) -> io::Result<Files> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let number = numbered(folder)?.last().map_or(1, |(number, _)| *number);
        let (file, bytes) = open(&path(folder, number))?;
        let (is_dirty, synced, is_failing, told_lost) = (false, Instant::now(), false, 0);
        let folder = folder.to_owned();
        Ok(Files { folder, options, file, number, bytes, is_dirty, synced, is_failing, told_lost })
    }

    /// Writes until the buffers are closed.
    pub fn run(mut self, buffers: &Buffers) {
        let mut out = Vec::new();
        loop {
            let is_last = buffers.await_round(TICK);
            buffers.drain(&mut out, is_last);
            let lines = out.iter().filter(|byte| **byte == b'\n').count() as u64;
            let told = self.tell_lost(buffers, &mut out);
            let written = self.write(&out).and_then(|()| self.sync(is_last));
            if let Err(error) = &written {
                buffers.lost.inc_by(lines);
                if !self.is_failing {
                    tracing::error!(%error, "the audit log cannot be written, and lines of it are lost: {error}");
                }
            } else {
                buffers.recorded.inc_by(lines);
            }
            if !out.is_empty() || written.is_err() {
                self.is_failing = written.is_err();
            }
            if written.is_ok() {
                self.told_lost = told;
            }
            out.clear();
            out.shrink_to(1 << 20);
            buffers.end_round(is_last);
            if is_last {
                return;
            }
        }
    }

    /// Says how many lines are missing here; returns how many are told of when that is written.
    fn tell_lost(&self, buffers: &Buffers, out: &mut Vec<u8>) -> u64 {
        let lost = buffers.lost.get();
        if lost == self.told_lost || self.is_failing && out.is_empty() {
            return self.told_lost;
        }
        let result = format!("{} lines were lost", lost - self.told_lost);
        let line = Line {
            at: now_ms(),
            who: "",
            what: "lose",
            object: "audit log",
            result: &result,
            status: None,
            bytes: None,
            from: None,
            request: "",
            ms: None,
        };
        let end = out.len();
        match serde_json::to_writer(&mut *out, &line) {
            Ok(()) => {
                out.push(b'\n');
                lost
            }
            Err(_) => {
                out.truncate(end);
                self.told_lost
            }
        }
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        if self.bytes >= self.options.file_bytes {
            self.roll()?;
        }
        self.is_dirty = true;
        if let Err(error) = self.file.write_all(lines) {
            // Half a line may stand there now: what comes next begins behind it.
            let (file, bytes) = open(&path(&self.folder, self.number))?;
            (self.file, self.bytes) = (file, bytes);
            return Err(error);
        }
        self.bytes += lines.len() as u64;
        Ok(())
    }

    fn sync(&mut self, is_last: bool) -> io::Result<()> {
        if !self.is_dirty || !is_last && self.synced.elapsed() < SYNC {
            return Ok(());
        }
        self.synced = Instant::now();
        self.is_dirty = false;
        self.file.sync_data()
    }

    /// Begins the next file, and removes those that are too many.
    fn roll(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        let next = path(&self.folder, self.number + 1);
        (self.file, self.bytes) = open(&next)?;
        self.number += 1;
        for (number, old) in numbered(&self.folder)? {
            if number + self.options.files.max(1) <= self.number {
                fs::remove_file(old)?;
            }
        }
        File::open(&self.folder)?.sync_all()
    }
}
