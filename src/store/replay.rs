//! Turns committed records into index rows once more.

use std::io;
use std::path::Path;

use artimesh_core::model::Digest;
use bytes::Bytes;

use super::derived::Derivation;
use super::effects::{place_small, push_blob};
use super::error::OpenError;
use super::files::File;
use super::index::{Checkpoint, IndexRow};
use super::overlay::Group;
use super::pack::footer::Footer;
use super::pack::reader::{Reader, Record};
use super::pack::record::{
    Commit, Entry, HEADER_BYTES, Input, Large, META_BYTES, Meta, decode_deleted, decode_rows, kind,
};
use super::shared::Shared;
use super::sorter::Sorter;
use super::value::{BlobEntry, Extent, INLINE_BYTES_MAX, Place, RowValue, Table};

/// So many rows of a sealed pack are published at a time.
const CHUNK_ROWS: usize = 4096;

/// Where the rows go.
pub enum Sink<'a> {
    /// To an index that is in use.
    Overlay(&'a Shared),
    /// To be sorted for an index that is built anew.
    Sorter(&'a mut Sorter),
}

/// A replay in progress, from a checkpoint on.
pub struct Replay<'a> {
    sink: Sink<'a>,
    at: Checkpoint,
    rows: Vec<IndexRow>,
    records_read: u64,
    damaged_blobs: u64,
}

/// Why a record can't be replayed.
pub enum Fault {
    /// The file can't be read.
    Io(io::Error),
    /// The record at this offset is damaged.
    Damaged(u64),
    /// The rows can't be put where they go.
    Sink(OpenError),
}

impl Fault {
    /// The error that names the file.
    pub fn at(self, path: &Path) -> OpenError {
        match self {
            Fault::Io(source) => OpenError::Io { path: path.to_path_buf(), source },
            Fault::Sink(error) => error,
            Fault::Damaged(offset) => {
                OpenError::Damaged { file: path.to_path_buf(), offset, reason: "a committed record is unreadable" }
            }
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Fault::Io(error)
    }
}

impl<'a> Replay<'a> {
    /// From `checkpoint` on.
    pub fn new(sink: Sink<'a>, checkpoint: Checkpoint) -> Replay<'a> {
        Replay { sink, at: checkpoint, rows: Vec::new(), records_read: 0, damaged_blobs: 0 }
    }

    /// The last commit that was replayed.
    pub fn last_commit(&self) -> u64 {
        self.at.commit
    }

    /// Where that ends in its pack.
    pub fn end(&self) -> u64 {
        self.at.offset
    }

    /// How many records were read.
    pub fn records_read(&self) -> u64 {
        self.records_read
    }

    /// How many blobs couldn't be read.
    pub fn damaged_blobs(&self) -> u64 {
        self.damaged_blobs
    }

    /// Replays one commit that was read with all its records.
    pub fn commit(&mut self, pack: u64, commit: &Commit, end: u64, records: &[Record]) -> Result<(), Fault> {
        for Record { entry, payload } in records {
            self.record(pack, entry, payload)?.ok_or(Fault::Damaged(entry.offset))?;
        }
        self.reach(pack, commit.number, end)
    }

    /// Replays a sealed pack from `start` by its footer: blobs by their meta alone, the others as a whole.
    pub fn footer(
        &mut self,
        reader: &Reader,
        file: &dyn File,
        pack: u64,
        start: u64,
        footer: &Footer,
    ) -> Result<(), Fault> {
        for entry in footer.entries.iter().filter(|entry| entry.offset >= start) {
            let is_large_blob =
                entry.kind == kind::BLOB && entry.payload_bytes as usize > META_BYTES + INLINE_BYTES_MAX;
            if is_large_blob {
                self.blob_unread(file, pack, entry)?;
            } else {
                let payload = reader.record(entry)?;
                let replayed = payload.map(|payload| self.record(pack, entry, &payload)).transpose()?.flatten();
                match replayed {
                    Some(()) => {}
                    None if entry.kind == kind::BLOB => self.damaged_blobs += 1,
                    None => return Err(Fault::Damaged(entry.offset)),
                }
            }
            if self.rows.len() >= CHUNK_ROWS {
                self.publish(None)?;
            }
        }
        if footer.is_hollow() {
            // No checkpoint may point into it: whoever compares that with the pack finds no commit there.
            self.at.commit = footer.last_commit;
            return Ok(());
        }
        self.reach(pack, footer.last_commit, footer.end)
    }

    /// What holds now that everything was replayed.
    pub fn reached(&self) -> Checkpoint {
        self.at
    }

    fn reach(&mut self, pack: u64, commit: u64, end: u64) -> Result<(), Fault> {
        self.at.pack = pack;
        self.at.commit = commit;
        self.at.offset = end;
        // Until the files were looked at, any of them may be waiting for its commit.
        let checkpoint = self.at;
        self.publish(Some(checkpoint))
    }

    fn publish(&mut self, checkpoint: Option<Checkpoint>) -> Result<(), Fault> {
        let rows = std::mem::take(&mut self.rows);
        match &mut self.sink {
            Sink::Overlay(shared) => shared.overlay.publish(Group { rows, checkpoint }),
            Sink::Sorter(sorter) => {
                for row in &rows {
                    sorter.add(row).map_err(Fault::Sink)?;
                }
            }
        }
        Ok(())
    }

    /// Sums that were confirmed for a blob that an earlier record brought.
    fn confirmed(&mut self, digest: &Digest, meta: Meta) -> Result<(), Fault> {
        self.publish(None)?;
        match &mut self.sink {
            Sink::Overlay(shared) => {
                if let Ok(Some(known)) = shared.blob(digest) {
                    let entry = BlobEntry { meta, place: known.place };
                    push_blob(digest, &entry, shared.options.derivation, &mut self.rows);
                }
                Ok(())
            }
            Sink::Sorter(sorter) => sorter.confirm(digest, &meta).map_err(Fault::Sink),
        }
    }

    /// `None` when the payload is malformed.
    fn record(&mut self, pack: u64, entry: &Entry, payload: &[u8]) -> Result<Option<()>, Fault> {
        self.records_read += 1;
        if entry.kind == kind::CONFIRMED {
            return Meta::decode(payload).map(|meta| self.confirmed(&entry.key, meta)).transpose();
        }
        Ok(self.effects(pack, entry, payload))
    }

    fn effects(&mut self, pack: u64, entry: &Entry, payload: &[u8]) -> Option<()> {
        let payload_at = entry.offset + HEADER_BYTES as u64;
        match entry.kind {
            kind::BLOB => {
                let meta = Meta::decode(payload)?;
                let bytes = &payload[META_BYTES..];
                let extent = Extent { pack, offset: payload_at + META_BYTES as u64, bytes: bytes.len() as u32 };
                let place = place_small(&[Bytes::copy_from_slice(bytes)], extent);
                self.blob(entry, &BlobEntry { meta, place });
            }
            kind::LARGE => {
                let large = Large::decode(payload)?;
                self.at.next_file = self.at.next_file.max(large.file + 1);
                let place = Place::Large { file: large.file, size_bytes: large.size_bytes };
                self.blob(entry, &BlobEntry { meta: large.meta, place });
            }
            kind::ROWS => {
                for row in decode_rows(payload)? {
                    let offset = payload_at + row.value_at as u64;
                    let value = row.value.map(|value| RowValue::new(value, pack, offset).encode());
                    let key = Bytes::copy_from_slice(row.key);
                    self.rows.push(IndexRow { table: row.tree.into(), key, value });
                    if let (Some(derivation), Some(value)) = (self.derivation(), row.value) {
                        derivation.append(row.tree, row.key, value, &mut self.rows);
                    }
                }
            }
            kind::DELETED => {
                if let Some(file) = decode_deleted(payload)? {
                    // It may not have been removed yet, and the next open may begin behind this commit.
                    self.at.first_open_file = self.at.first_open_file.min(file);
                }
                let key = Bytes::copy_from_slice(&entry.key.0);
                self.rows.push(IndexRow { table: Table::Blobs, key, value: None });
            }
            kind::COUNT => self.at.blobs = Input(payload).u64()?,
            _ => {}
        }
        Some(())
    }

    fn blob(&mut self, entry: &Entry, blob: &BlobEntry) {
        self.at.blobs += 1;
        push_blob(&entry.key, blob, self.derivation(), &mut self.rows);
    }

    /// What is derived as rows come; from sorted ones when they are all there.
    fn derivation(&self) -> Option<Derivation> {
        match &self.sink {
            Sink::Overlay(shared) => shared.options.derivation,
            Sink::Sorter(_) => None,
        }
    }

    fn blob_unread(&mut self, file: &dyn File, pack: u64, entry: &Entry) -> Result<(), Fault> {
        self.records_read += 1;
        let mut meta = [0; META_BYTES];
        let payload_at = entry.offset + HEADER_BYTES as u64;
        file.read_at(&mut meta, payload_at)?;
        match Meta::decode(&meta) {
            Some(meta) => {
                let bytes = entry.payload_bytes - META_BYTES as u32;
                let extent = Extent { pack, offset: payload_at + META_BYTES as u64, bytes };
                self.blob(entry, &BlobEntry { meta, place: Place::Pack(extent) });
            }
            None => self.damaged_blobs += 1,
        }
        Ok(())
    }
}
