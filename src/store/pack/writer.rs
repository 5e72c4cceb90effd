//! Appends records to the newest pack.

use std::io;
use std::path::Path;
use std::sync::Arc;

use artimesh_core::model::Digest;
use bytes::{Bytes, BytesMut};

use super::footer::{ENTRIES_MAX, Footer};
use super::record::{Commit, Entry, HEADER_BYTES, Header, Seal, kind};
use super::{PACK_HEADER_BYTES, PackHeader};
use crate::store::files::{File, FileSystem, SyncPoint};

/// Pieces at least this large are written as they are; smaller ones are gathered first.
const GATHER_BYTES: usize = 64 << 10;
/// How far ahead blocks are reserved, so that a full disk shows before a commit counts.
const ALLOCATE_BYTES: u64 = 4 << 20;

/// The newest pack.
pub struct Writer {
    file: Arc<dyn File>,
    header: PackHeader,
    end: u64,
    allocated: u64,
    entries: Vec<Entry>,
}

/// The records of one commit, before they are written.
pub struct Group {
    seal: Seal,
    start: u64,
    bytes: u64,
    pieces: Vec<Bytes>,
    gathered: BytesMut,
    headers: crc32fast::Hasher,
    entries: Vec<Entry>,
}

impl Writer {
    /// Makes pack `header.number` in `folder` and syncs its header and its name.
    pub fn create(files: &dyn FileSystem, folder: &Path, header: PackHeader) -> io::Result<Writer> {
        let path = super::path(folder, header.number);
        let file = files.create(&path)?;
        let end = PACK_HEADER_BYTES as u64;
        let written = file.allocate(0, end + ALLOCATE_BYTES).and_then(|()| file.write_at(&header.encode(), 0));
        if let Err(error) = written {
            files.remove(&path)?;
            return Err(error);
        }
        file.sync(SyncPoint::PackHeader)?;
        files.sync_folder(folder, SyncPoint::PackFolder)?;
        Ok(Writer { file, header, end, allocated: end, entries: Vec::new() })
    }

    /// The header of the pack after this one.
    pub fn next_header(&self, format: u32, first_commit: u64) -> PackHeader {
        let number = self.header.number + 1;
        PackHeader { format, number, until: number, first_commit, ..self.header }
    }

    /// Goes on with a pack whose last commit ends at `end`.
    pub fn resume(file: Arc<dyn File>, header: PackHeader, end: u64, entries: Vec<Entry>) -> Writer {
        Writer { file, header, end, allocated: end, entries }
    }

    /// The pack's number.
    pub fn number(&self) -> u64 {
        self.header.number
    }

    /// The pack's format.
    pub fn format(&self) -> u32 {
        self.header.format
    }

    /// Where the last commit ends.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Whether a group of `bytes` in `records` belongs into the next pack.
    pub fn is_full(&self, bytes: u64, records: usize, pack_bytes: u64) -> bool {
        let is_empty = self.end == PACK_HEADER_BYTES as u64;
        !is_empty && (self.end + bytes > pack_bytes || self.entries.len() + records > ENTRIES_MAX)
    }

    /// An empty group that will stand at the end of this pack.
    pub fn group(&self) -> Group {
        let seal = self.header.seal();
        Group {
            seal,
            start: self.end,
            bytes: 0,
            pieces: Vec::new(),
            gathered: BytesMut::new(),
            headers: seal.hasher(),
            entries: Vec::new(),
        }
    }

    /// Writes a group and its commit record, without a sync and without counting it: see [`Writer::accept`].
    pub fn write(&mut self, group: &mut Group, number: u64, wall_ms: u64) -> io::Result<()> {
        group.close(number, wall_ms);
        let end = group.start + group.bytes;
        if end > self.allocated {
            self.file.allocate(self.allocated, end + ALLOCATE_BYTES - self.allocated)?;
            self.allocated = end + ALLOCATE_BYTES;
        }
        let mut at = group.start;
        for piece in &group.pieces {
            self.file.write_at(piece, at)?;
            at += piece.len() as u64;
        }
        Ok(())
    }

    /// Makes what was written durable.
    pub fn sync(&self, point: SyncPoint) -> io::Result<()> {
        self.file.sync(point)
    }

    /// Counts a group that was written and synced.
    pub fn accept(&mut self, mut group: Group) {
        self.end = group.start + group.bytes;
        self.entries.append(&mut group.entries);
    }

    /// Takes back whatever was written behind the last commit.
    pub fn cut(&mut self) -> io::Result<()> {
        self.allocated = self.end;
        self.file.set_size(self.end)
    }

    /// Ends the pack with a footer; without a sync, for a scan can replace it.
    pub fn seal(&mut self, last_commit: u64) -> io::Result<u64> {
        let entries = std::mem::take(&mut self.entries);
        let footer = Footer { last_commit, end: self.end, entries };
        let bytes = footer.encode(self.header.seal());
        let written = self.file.write_at(&bytes, self.end);
        let written = written.and_then(|()| self.file.set_size(self.end + bytes.len() as u64));
        self.entries = footer.entries;
        written.map(|()| bytes.len() as u64)
    }
}

impl Group {
    /// Appends a record whose payload is `pieces`, one after the other; returns where the payload starts in the pack.
    pub fn push(&mut self, kind: u16, key: &Digest, pieces: &[Bytes]) -> u64 {
        let mut crc = self.seal.hasher();
        pieces.iter().for_each(|piece| crc.update(piece));
        let payload_bytes = pieces.iter().map(Bytes::len).sum::<usize>() as u32;
        let header = Header { kind, payload_bytes, payload_crc: crc.finalize(), key: key.0 };
        let offset = self.start + self.bytes;
        let encoded = header.encode(self.seal);
        if kind != kind::COMMIT {
            self.headers.update(&encoded);
            self.entries.push(Entry { kind, key: *key, offset, payload_bytes });
        }
        self.gathered.extend_from_slice(&encoded);
        pieces.iter().for_each(|piece| self.append(piece));
        self.bytes += header.record_bytes();
        offset + HEADER_BYTES as u64
    }

    /// The size of all its records.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn append(&mut self, piece: &Bytes) {
        if piece.len() < GATHER_BYTES {
            self.gathered.extend_from_slice(piece);
            if self.gathered.len() < 16 * GATHER_BYTES {
                return;
            }
            self.pieces.push(self.gathered.split().freeze());
        } else {
            if !self.gathered.is_empty() {
                self.pieces.push(self.gathered.split().freeze());
            }
            self.pieces.push(piece.clone());
        }
    }

    fn close(&mut self, number: u64, wall_ms: u64) {
        let commit =
            Commit { number, records: self.entries.len() as u32, crc: self.headers.clone().finalize(), wall_ms };
        self.push(kind::COMMIT, &Digest::ZERO, &[Bytes::copy_from_slice(&commit.encode())]);
        if !self.gathered.is_empty() {
            self.pieces.push(self.gathered.split().freeze());
        }
    }
}
