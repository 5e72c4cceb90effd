//! Since when what garbage there is has been garbage, in a file beside the packs.
//!
//! It is a hint that errs on the side of keeping: a collection reads the list that the last one wrote, and writes the
//! next. A list that is lost, torn or damaged says nothing, so everything becomes garbage only now, and stays for another
//! grace period. So it needs no sync: it is a [note](super::note). It is in the order of the digests, and neither reader nor writer holds more of it than
//! a buffer.

use std::io::{self, Write as _};
use std::sync::Arc;

use artimesh_core::model::Digest;

use super::files::File;
use super::handle::Store;
use super::note::NoteWriter;
use super::pack::record::Input;

const NAME: &str = "garbage";
const MAGIC: [u8; 8] = *b"ArtiGarb";
const FORMAT: u32 = 1;
const HEADER_BYTES: usize = 12;
const BUFFER_BYTES: usize = 64 << 10;
/// No path is longer.
const PATH_BYTES_MAX: usize = 4096;

/// A blob that nothing named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Garbage {
    /// Which.
    pub digest: Digest,
    /// When that was first seen, in milliseconds since 1970.
    pub since_ms: u64,
    /// Where it was last known to be, if anybody remembers.
    pub path: Option<String>,
}

/// Reads the list from front to back.
pub struct GarbageReader {
    bytes: Option<Buffered>,
    next: Option<Garbage>,
}

/// Writes the next list.
pub struct GarbageWriter(NoteWriter);

impl Store {
    /// The list that the last collection wrote; empty when there is none that is whole.
    pub fn garbage(&self) -> GarbageReader {
        let shared = self.shared();
        let opened = shared.files.open(&shared.folder.join(NAME));
        GarbageReader::new(opened.ok().and_then(|file| Buffered::open(file).ok().flatten()))
    }

    /// Begins the next list; the last one stays until it is whole.
    pub fn write_garbage(&self) -> io::Result<GarbageWriter> {
        let mut note = self.write_note(NAME, &MAGIC)?;
        note.write_all(&FORMAT.to_le_bytes())?;
        Ok(GarbageWriter(note))
    }
}

impl GarbageReader {
    fn new(bytes: Option<Buffered>) -> GarbageReader {
        let mut reader = GarbageReader { bytes, next: None };
        reader.advance();
        reader
    }

    fn advance(&mut self) {
        self.next = self.bytes.as_mut().and_then(Buffered::entry);
    }

    /// What the list says of a blob. Ask in the order of the digests.
    pub fn find(&mut self, digest: &Digest) -> Option<Garbage> {
        while self.next.as_ref().is_some_and(|next| next.digest < *digest) {
            self.advance();
        }
        self.next.clone().filter(|next| next.digest == *digest)
    }
}

impl GarbageWriter {
    /// Adds a blob, behind all whose digests are smaller.
    pub fn push(&mut self, garbage: &Garbage) -> io::Result<()> {
        let path = garbage.path.as_deref().unwrap_or_default().as_bytes();
        let path = if path.len() > PATH_BYTES_MAX { &[] } else { path };
        self.0.write_all(&garbage.digest.0)?;
        self.0.write_all(&garbage.since_ms.to_le_bytes())?;
        self.0.write_all(&(path.len() as u16).to_le_bytes())?;
        self.0.write_all(path)
    }

    /// Puts the list in the place of the last one.
    pub fn finish(self) -> io::Result<()> {
        self.0.finish()
    }
}

/// The entries of a whole list.
struct Buffered {
    file: Arc<dyn File>,
    at: u64,
    end: u64,
    buffer: Vec<u8>,
    taken: usize,
}

impl Buffered {
    /// `None` when it isn't whole.
    fn open(file: Arc<dyn File>) -> io::Result<Option<Buffered>> {
        let Some(end) = file.size()?.checked_sub(4).filter(|end| *end >= HEADER_BYTES as u64) else { return Ok(None) };
        let mut crc = crc32fast::Hasher::new();
        let mut at = 0;
        let mut buffer = Vec::new();
        let mut head = Vec::new();
        while at < end {
            buffer.resize((end - at).min(BUFFER_BYTES as u64) as usize, 0);
            file.read_at(&mut buffer, at)?;
            crc.update(&buffer);
            if at == 0 {
                head = buffer[..HEADER_BYTES].to_vec();
            }
            at += buffer.len() as u64;
        }
        let mut sum = [0; 4];
        file.read_at(&mut sum, end)?;
        let is_whole = u32::from_le_bytes(sum) == crc.finalize();
        let is_known = head == [&MAGIC[..], &FORMAT.to_le_bytes()].concat();
        let buffered = Buffered { file, at: HEADER_BYTES as u64, end, buffer: Vec::new(), taken: 0 };
        Ok((is_whole && is_known).then_some(buffered))
    }

    /// The next entry; `None` at the end, or when what comes makes no sense.
    fn entry(&mut self) -> Option<Garbage> {
        let mut fixed = Input(self.take(42)?);
        let (digest, since_ms, path_bytes) = (Digest(fixed.array()?), fixed.u64()?, u16::from_le_bytes(fixed.array()?));
        let path = String::from_utf8(self.take(usize::from(path_bytes))?.to_vec()).ok()?;
        Some(Garbage { digest, since_ms, path: (!path.is_empty()).then_some(path) })
    }

    fn take(&mut self, bytes: usize) -> Option<&[u8]> {
        if self.buffer.len() - self.taken < bytes {
            let kept = self.buffer.split_off(self.taken);
            let more = (self.end - self.at).min(BUFFER_BYTES as u64) as usize;
            self.buffer = kept;
            self.taken = 0;
            let filled = self.buffer.len();
            self.buffer.resize(filled + more, 0);
            self.file.read_at(&mut self.buffer[filled..], self.at).ok()?;
            self.at += more as u64;
        }
        let taken = self.buffer.get(self.taken..self.taken + bytes)?;
        self.taken += bytes;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_list_is_read_as_it_was_written_and_a_damaged_one_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) =
            Store::open(folder.path(), crate::store::Options::default(), Arc::new(crate::store::RealFiles), [1; 16])
                .unwrap();
        let garbage = |i: u32| Garbage {
            digest: Digest([&i.to_be_bytes()[..], &[7; 28]].concat().try_into().unwrap()),
            since_ms: u64::from(i) * 1000,
            path: i.is_multiple_of(3).then(|| format!("libs/{i}/{}", "x".repeat(i as usize % 300))),
        };
        assert!(store.garbage().find(&garbage(0).digest).is_none());
        let mut writer = store.write_garbage().unwrap();
        (0..5000).for_each(|i| writer.push(&garbage(i)).unwrap());
        writer.finish().unwrap();
        let mut reader = store.garbage();
        for i in (0..5000_u32).filter(|i| !i.is_multiple_of(7)) {
            assert_eq!(reader.find(&garbage(i).digest), Some(garbage(i)));
            assert_eq!(reader.find(&Digest([&i.to_be_bytes()[..], &[8; 28]].concat().try_into().unwrap())), None);
        }
        let path = folder.path().join("garbage");
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert!(store.garbage().find(&garbage(1).digest).is_none());
        bytes[middle] ^= 1;
        bytes.pop();
        std::fs::write(&path, &bytes).unwrap();
        assert!(store.garbage().find(&garbage(1).digest).is_none());
    }
}
