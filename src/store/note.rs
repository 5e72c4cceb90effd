//! A small file beside the packs: what can be lost, and is done without when it isn't whole.
//!
//! It is written anew as a whole and never synced. A magic number of its writer stands at its beginning and a checksum at
//! its end, so one that is torn or damaged reads as none.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files::{File, FileSystem};
use super::handle::Store;
use super::shared::Shared;

const BUFFER_BYTES: usize = 64 << 10;
const SUM_BYTES: usize = 4;
/// No note is longer; one that claims to be isn't read.
const BYTES_MAX: u64 = 1 << 30;

/// A note that is being written; it takes its name in [`NoteWriter::finish`].
pub struct NoteWriter {
    files: Arc<dyn FileSystem>,
    file: Arc<dyn File>,
    path: PathBuf,
    to: PathBuf,
    buffer: Vec<u8>,
    at: u64,
    crc: crc32fast::Hasher,
}

impl Shared {
    /// Begins a note; the last one of this name stays until it is whole. Blocks.
    pub fn write_note(&self, name: &str, magic: &[u8; 8]) -> io::Result<NoteWriter> {
        NoteWriter::create(self.files.clone(), &self.folder, name, magic)
    }

    /// What stands behind the magic number of a note that is whole; `None` when there is none. Blocks.
    pub fn read_note(&self, name: &str, magic: &[u8; 8]) -> Option<Vec<u8>> {
        read(self.files.as_ref(), &self.folder.join(name), magic)
    }
}

impl Store {
    /// Begins a note; the last one of this name stays until it is whole. Blocks.
    pub fn write_note(&self, name: &str, magic: &[u8; 8]) -> io::Result<NoteWriter> {
        self.shared().write_note(name, magic)
    }

    /// What stands behind the magic number of a note that is whole; `None` when there is none. Blocks.
    pub fn read_note(&self, name: &str, magic: &[u8; 8]) -> Option<Vec<u8>> {
        self.shared().read_note(name, magic)
    }
}

fn read(files: &dyn FileSystem, path: &Path, magic: &[u8; 8]) -> Option<Vec<u8>> {
    let file = files.open(path).ok()?;
    let size = file.size().ok().filter(|size| *size <= BYTES_MAX)?;
    let mut bytes = vec![0; size as usize];
    file.read_at(&mut bytes, 0).ok()?;
    let sum = bytes.split_off(bytes.len().checked_sub(SUM_BYTES)?);
    let is_whole = bytes.starts_with(magic) && sum == crc32fast::hash(&bytes).to_le_bytes();
    is_whole.then(|| bytes.split_off(magic.len()))
}

impl NoteWriter {
    fn create(files: Arc<dyn FileSystem>, folder: &Path, name: &str, magic: &[u8; 8]) -> io::Result<NoteWriter> {
        let (path, to) = (folder.join(format!("{name}.new")), folder.join(name));
        match files.remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = files.create(&path)?;
        let mut note = NoteWriter { files, file, path, to, buffer: Vec::new(), at: 0, crc: crc32fast::Hasher::new() };
        note.write_all(magic)?;
        Ok(note)
    }

    /// Puts the note in the place of the last one.
    pub fn finish(mut self) -> io::Result<()> {
        let sum = self.crc.clone().finalize();
        self.buffer.extend_from_slice(&sum.to_le_bytes());
        self.flush()?;
        self.files.rename(&self.path, &self.to)
    }
}

impl Write for NoteWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.crc.update(bytes);
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_at(&self.buffer, self.at)?;
        self.at += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::files::{Loss, SimulatedFiles};

    const MAGIC: [u8; 8] = *b"ArtiTest";

    fn write(files: &SimulatedFiles, bytes: &[u8]) -> io::Result<()> {
        let mut note = NoteWriter::create(Arc::new(files.clone()), Path::new("/"), "note", &MAGIC)?;
        for piece in bytes.chunks(1000) {
            note.write_all(piece)?;
        }
        note.finish()
    }

    #[test]
    fn a_note_reads_as_it_was_written_or_as_none() {
        let files = SimulatedFiles::new(Path::new("/"));
        let path = Path::new("/note");
        assert_eq!(read(&files, path, &MAGIC), None);
        write(&files, b"first").unwrap();
        assert_eq!(read(&files, path, &MAGIC).unwrap(), b"first");
        assert_eq!(read(&files, path, b"ArtiElse"), None);
        let file = files.open(path).unwrap();
        file.write_at(b"X", 9).unwrap();
        assert_eq!(read(&files, path, &MAGIC), None, "damaged");
        file.set_size(3).unwrap();
        assert_eq!(read(&files, path, &MAGIC), None, "torn");
    }

    #[test]
    fn whenever_the_power_fails_there_is_the_last_note_or_this_one_or_none() {
        let long = vec![7; 3 * BUFFER_BYTES];
        let whole = SimulatedFiles::new(Path::new("/"));
        write(&whole, b"before").unwrap();
        write(&whole, &long).unwrap();
        for off_at in 0..whole.operations() {
            for loss in [Loss::Everything, Loss::Nothing, Loss::Bytes, Loss::Names, Loss::Dice(1), Loss::Dice(2)] {
                let files = SimulatedFiles::new(Path::new("/"));
                files.turn_off_at(off_at);
                let _ = write(&files, b"before").and_then(|()| write(&files, &long));
                let found = read(&files.after_power_loss(loss), Path::new("/note"), &MAGIC);
                assert!(found.is_none_or(|found| found == b"before" || found == long), "{off_at} {loss:?}");
            }
        }
    }
}
