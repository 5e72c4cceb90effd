//! Reads a pack from front to back, as far as its commits go.

use std::io;
use std::sync::Arc;

use artimesh_core::model::Digest;

use super::record::{COMMIT_BYTES, Commit, Entry, HEADER_BYTES, Header, Seal, find_magic, kind};
use crate::store::files::File;

/// One record that a commit covers.
pub struct Record {
    /// Where it stands.
    pub entry: Entry,
    /// Its payload, checked.
    pub payload: Vec<u8>,
}

/// The records of one commit.
pub struct Committed {
    /// The commit.
    pub commit: Commit,
    /// Where its record ends.
    pub end: u64,
    /// What it covers, in order.
    pub records: Vec<Record>,
}

/// Walks over the commits of a pack.
pub struct Reader {
    file: Arc<dyn File>,
    seal: Seal,
    size: u64,
    end: u64,
    is_sealed: bool,
}

impl Reader {
    /// Starts at `start`, where a commit ends or the header does.
    pub fn new(file: Arc<dyn File>, seal: Seal, start: u64) -> io::Result<Reader> {
        let size = file.size()?;
        Ok(Reader { file, seal, size, end: start, is_sealed: false })
    }

    /// Where the last commit that was returned ends.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The size of the file.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether a footer follows the last commit.
    pub fn is_sealed(&self) -> bool {
        self.is_sealed
    }

    /// The next commit with its records, or `None` when no further one is whole.
    pub fn next(&mut self) -> io::Result<Option<Committed>> {
        let mut at = self.end;
        let mut records = Vec::new();
        let mut headers = self.seal.hasher();
        while let Some((header, encoded)) = self.header(at)? {
            let Some(payload) = self.payload(&header, at)? else { break };
            let entry =
                Entry { kind: header.kind, key: Digest(header.key), offset: at, payload_bytes: header.payload_bytes };
            at += header.record_bytes();
            match header.kind {
                kind::FOOTER => {
                    self.is_sealed = records.is_empty();
                    break;
                }
                kind::COMMIT => {
                    let Some(commit) = Commit::decode(&payload) else { break };
                    if commit.records as usize != records.len() || commit.crc != headers.finalize() {
                        break;
                    }
                    self.end = at;
                    return Ok(Some(Committed { commit, end: at, records }));
                }
                _ => {
                    headers.update(&encoded);
                    records.push(Record { entry, payload });
                }
            }
        }
        Ok(None)
    }

    /// Whether a whole commit with at least this number stands anywhere behind the last one: then what lies between
    /// is damage and no torn tail, since a commit is written only after the one before it was synced.
    pub fn finds_commit_from(&self, number: u64) -> io::Result<bool> {
        const WINDOW: usize = 1 << 20;
        let mut at = self.end;
        while at + (COMMIT_BYTES as u64) <= self.size {
            let bytes = (self.size - at).min(WINDOW as u64) as usize;
            let mut window = vec![0; bytes];
            self.file.read_at(&mut window, at)?;
            let mut from = 0;
            while let Some(found) = find_magic(&window, from) {
                if self.commit_at(at + found as u64)?.is_some_and(|commit| commit.number >= number) {
                    return Ok(true);
                }
                from = found + 1;
            }
            if bytes < WINDOW {
                break;
            }
            at += (WINDOW - COMMIT_BYTES) as u64;
        }
        Ok(false)
    }

    /// The commit record at `at`, if a whole one stands there.
    pub fn commit_at(&self, at: u64) -> io::Result<Option<Commit>> {
        let Some((header, _)) = self.header(at)? else { return Ok(None) };
        if header.kind != kind::COMMIT {
            return Ok(None);
        }
        Ok(self.payload(&header, at)?.and_then(|payload| Commit::decode(&payload)))
    }

    /// The entries of all records from the front up to `until`, without their payloads; `None` when a header is bad.
    pub fn entries(&self, from: u64, until: u64) -> io::Result<Option<Vec<Entry>>> {
        let mut entries = Vec::new();
        let mut at = from;
        while at < until {
            let Some((header, _)) = self.header(at)? else { return Ok(None) };
            if header.kind != kind::COMMIT {
                let key = Digest(header.key);
                entries.push(Entry { kind: header.kind, key, offset: at, payload_bytes: header.payload_bytes });
            }
            at += header.record_bytes();
        }
        Ok((at == until).then_some(entries))
    }

    /// The checked payload of a record that a footer listed; `None` when damaged.
    pub fn record(&self, entry: &Entry) -> io::Result<Option<Vec<u8>>> {
        match self.header(entry.offset)? {
            Some((header, _)) => self.payload(&header, entry.offset),
            None => Ok(None),
        }
    }

    fn header(&self, at: u64) -> io::Result<Option<(Header, [u8; HEADER_BYTES])>> {
        if at + HEADER_BYTES as u64 > self.size {
            return Ok(None);
        }
        let mut bytes = [0; HEADER_BYTES];
        self.file.read_at(&mut bytes, at)?;
        let header = Header::decode(&bytes, self.seal).filter(|header| at + header.record_bytes() <= self.size);
        Ok(header.map(|header| (header, bytes)))
    }

    fn payload(&self, header: &Header, at: u64) -> io::Result<Option<Vec<u8>>> {
        let mut payload = vec![0; header.payload_bytes as usize];
        self.file.read_at(&mut payload, at + HEADER_BYTES as u64)?;
        Ok((self.seal.sum(&payload) == header.payload_crc).then_some(payload))
    }
}
