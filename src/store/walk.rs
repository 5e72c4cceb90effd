//! A look at a store from outside: what its packs and large files say, without its index and without its recovery.
//!
//! It is the witness that tests, and whoever doubts a store, hold the store against, so it shares nothing with what it
//! judges but the format of a record. It reads every byte, and keeps a line per blob in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use artimesh_core::model::Digest;

use super::files::{File, FileSystem};
use super::groups::{self, GROUP_BYTES};
use super::large::{self, DATA_OFFSET};
use super::pack::reader::{Reader, Record};
use super::pack::record::{Large, META_BYTES, kind};
use super::pack::{self, PACK_HEADER_BYTES, PackHeader};

/// Where the walk found a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spot {
    /// In this pack.
    Pack(u64),
    /// In the large file of this number.
    File(u64),
}

/// A blob as the walk found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walked {
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Where its newest record is, or says it is.
    pub spot: Spot,
    /// Its bytes are there and have its digest.
    pub is_whole: bool,
}

/// What a store holds.
#[derive(Debug, Clone, Default)]
pub struct Walk {
    /// The blobs that no record says are gone.
    pub blobs: BTreeMap<Digest, Walked>,
    /// Large files that no such blob has.
    pub orphans: BTreeSet<u64>,
    /// Bytes of packs and large files on the disk.
    pub disk_bytes: u64,
    /// Bytes of these that are blobs.
    pub blob_bytes: u64,
    /// The last commit.
    pub last_commit: u64,
}

/// How a store differs from what it should hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Named, and not there or not whole.
    pub missing: Vec<Digest>,
    /// There, and not named.
    pub leaked: Vec<Digest>,
    /// Large files of no blob.
    pub orphans: Vec<u64>,
}

impl Walk {
    /// Walks through the store in `folder`, which nobody has open. Blocks for as long as reading all of it takes.
    pub fn of(folder: &Path, files: &dyn FileSystem) -> io::Result<Walk> {
        let mut walk = Walk::default();
        let mut packs: Vec<u64> = Vec::new();
        for listed in files.list(&folder.join("packs"))? {
            walk.disk_bytes += listed.bytes;
            packs.extend(pack::number_of(&listed.name, "pack"));
        }
        for number in packs {
            let file = files.open(&pack::path(&folder.join("packs"), number))?;
            walk.pack(number, file)?;
        }
        let large = folder.join("large");
        for listed in files.list(&large)? {
            walk.disk_bytes += listed.bytes;
            walk.orphans.extend(pack::number_of(&listed.name, "blob"));
        }
        walk.large_files(&large, files)?;
        walk.blob_bytes = walk.blobs.values().map(|blob| blob.size_bytes).sum();
        Ok(walk)
    }

    /// Holds it against what should be there.
    pub fn judge(&self, named: &BTreeSet<Digest>) -> Verdict {
        let is_here = |digest: &&Digest| self.blobs.get(*digest).is_some_and(|blob| blob.is_whole);
        Verdict {
            missing: named.iter().filter(|digest| !is_here(digest)).copied().collect(),
            leaked: self.blobs.keys().filter(|digest| !named.contains(*digest)).copied().collect(),
            orphans: self.orphans.iter().copied().collect(),
        }
    }

    fn pack(&mut self, number: u64, file: Arc<dyn File>) -> io::Result<()> {
        let mut header = [0; PACK_HEADER_BYTES];
        file.read_at(&mut header, 0)?;
        let Some(header) = PackHeader::decode(&header) else { return Err(io::ErrorKind::InvalidData.into()) };
        let mut reader = Reader::new(file, header.seal(), PACK_HEADER_BYTES as u64)?;
        while let Some(committed) = reader.next()? {
            self.last_commit = committed.commit.number;
            committed.records.iter().for_each(|record| self.record(number, record));
        }
        Ok(())
    }

    fn record(&mut self, pack: u64, record: &Record) {
        let digest = record.entry.key;
        match record.entry.kind {
            kind::BLOB => {
                let bytes = record.payload.get(META_BYTES..).unwrap_or_default();
                let is_whole = Digest::of(bytes) == digest;
                self.blobs.insert(digest, Walked { size_bytes: bytes.len() as u64, spot: Spot::Pack(pack), is_whole });
            }
            kind::LARGE => {
                if let Some(Large { size_bytes, file, .. }) = Large::decode(&record.payload) {
                    self.blobs.insert(digest, Walked { size_bytes, spot: Spot::File(file), is_whole: false });
                }
            }
            kind::DELETED => {
                self.blobs.remove(&digest);
            }
            _ => {}
        }
    }

    fn large_files(&mut self, folder: &Path, files: &dyn FileSystem) -> io::Result<()> {
        for (digest, blob) in &mut self.blobs {
            let Spot::File(number) = blob.spot else { continue };
            if self.orphans.remove(&number) {
                let file = files.open(&large::path(folder, number, "blob"))?;
                blob.is_whole = is_whole(file.as_ref(), digest, blob.size_bytes)?;
            }
        }
        Ok(())
    }
}

fn is_whole(file: &dyn File, digest: &Digest, size_bytes: u64) -> io::Result<bool> {
    let mut values = Vec::new();
    for index in 0..groups::count(size_bytes) {
        let mut group = vec![0; groups::length(index, size_bytes)];
        match file.read_at(&mut group, DATA_OFFSET + u64::from(index) * GROUP_BYTES as u64) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            other => other?,
        }
        values.push(groups::chaining_value(index, [group.as_slice()]));
    }
    Ok(groups::root(&values) == Some(*digest))
}
