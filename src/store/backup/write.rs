//! Streams a plan's files into an archive.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use tar::{Builder, EntryType, Header};

use super::manifest::Line;
use super::plan::{Plan, Planned, Source};
use crate::store::files::{File, FileSystem};

/// Writes the archive: exactly [`Plan::archive_bytes`]. Blocks for as long as reading all of it takes.
///
/// # Errors
/// What was planned can't be read, naming the file, or the sink takes no more. What the sink has then isn't a backup.
pub fn write(plan: &Plan, files: &dyn FileSystem, sink: impl Write) -> io::Result<()> {
    let mut archive = Builder::new(sink);
    let mut manifest = Vec::new();
    for file in &plan.files {
        let digest = match &file.source {
            Source::Memory(bytes) => append(&mut archive, plan, file, bytes.as_slice())?,
            Source::File(path) => append(&mut archive, plan, file, Window::open(files, path, file.bytes)?)
                .map_err(|error| naming(path, error))?,
        };
        manifest.extend_from_slice(Line::encode(&file.path, file.bytes, &digest).as_bytes());
    }
    let mut header = header(plan, manifest.len() as u64, 0o644);
    archive.append_data(&mut header, plan.manifest_name(), manifest.as_slice())?;
    archive.into_inner()?.flush()
}

fn append(
    archive: &mut Builder<impl Write>,
    plan: &Plan,
    file: &Planned,
    bytes: impl Read,
) -> io::Result<blake3::Hash> {
    let mut hashing = Hashing { bytes, hasher: blake3::Hasher::new() };
    let mut header = header(plan, file.bytes, file.mode);
    archive.append_data(&mut header, &file.path, &mut hashing)?;
    Ok(hashing.hasher.finalize())
}

fn header(plan: &Plan, bytes: u64, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_size(bytes);
    header.set_mode(mode);
    header.set_mtime(plan.about.made_ms / 1000);
    header
}

fn naming(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Hashes what is read through it.
struct Hashing<R> {
    bytes: R,
    hasher: blake3::Hasher,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.read(into)?;
        self.hasher.update(&into[..count]);
        Ok(count)
    }
}

/// The first bytes of a file that may be longer, and may grow.
struct Window {
    file: Arc<dyn File>,
    at: u64,
    end: u64,
    ahead: Vec<u8>,
    taken: usize,
}

/// How much is read from a file at once.
const AHEAD_BYTES: u64 = 256 << 10;

impl Window {
    fn open(files: &dyn FileSystem, path: &Path, bytes: u64) -> io::Result<Window> {
        let file = files.open(path).map_err(|error| naming(path, error))?;
        Ok(Window { file, at: 0, end: bytes, ahead: Vec::new(), taken: 0 })
    }
}

impl Read for Window {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.ahead.len() {
            self.ahead.resize((self.end - self.at).min(AHEAD_BYTES) as usize, 0);
            self.taken = 0;
            self.file.read_at(&mut self.ahead, self.at)?;
            self.at += self.ahead.len() as u64;
        }
        let count = into.len().min(self.ahead.len() - self.taken);
        into[..count].copy_from_slice(&self.ahead[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }
}
