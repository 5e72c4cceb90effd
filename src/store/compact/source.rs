//! A sealed pack that is read in order to be compacted.

use std::sync::Arc;

use artimesh_core::model::Digest;
use bytes::Bytes;

use crate::store::RowWrite;
use crate::store::carry::Item;
use crate::store::error::{CompactError, ReadError};
use crate::store::files::File;
use crate::store::pack::footer::Footer;
use crate::store::pack::reader::Reader;
use crate::store::pack::record::{Entry, HEADER_BYTES, Large, META_BYTES, Meta, decode_deleted, decode_rows, kind};
use crate::store::pack::{self, PACK_HEADER_BYTES, PackHeader};
use crate::store::shared::Shared;

/// A sealed pack, open.
pub struct PackSource {
    /// Its number.
    pub number: u64,
    /// Its header.
    pub header: PackHeader,
    /// The last commit in it.
    pub last_commit: u64,
    /// Where that ends.
    pub end: u64,
    /// The length of the file.
    pub file_bytes: u64,
    /// All its records but the commits.
    pub entries: Vec<Entry>,
    reader: Reader,
}

impl PackSource {
    /// Opens a pack behind which another follows; `None` for a hollow one.
    pub fn open(shared: &Shared, number: u64) -> Result<Option<PackSource>, CompactError> {
        let path = pack::path(&shared.packs_folder(), number);
        let file = shared.files.open(&path).map_err(ReadError::io(&path))?;
        let file_bytes = file.size().map_err(ReadError::io(&path))?;
        let header = header_of(shared, number)?;
        if header.until > number {
            return Ok(None);
        }
        let next = header_of(shared, number + 1)?;
        let reader =
            Reader::new(file.clone(), header.seal(), PACK_HEADER_BYTES as u64).map_err(ReadError::io(&path))?;
        let footer = Footer::read(file.as_ref(), header.seal()).map_err(ReadError::io(&path))?;
        let footer = match footer.filter(|footer| footer.last_commit + 1 == next.first_commit) {
            Some(footer) => footer,
            None => scanned(file, &header, next.first_commit - 1).map_err(|fault| fault.at(number, &path))?,
        };
        if footer.is_hollow() {
            return Ok(None);
        }
        let Footer { last_commit, end, entries } = footer;
        Ok(Some(PackSource { number, header, last_commit, end, file_bytes, entries, reader }))
    }

    /// The newest pack, as far as the commit that ends at `end`.
    pub fn newest(shared: &Shared, number: u64, end: u64) -> Result<Option<PackSource>, CompactError> {
        let path = pack::path(&shared.packs_folder(), number);
        let file = shared.files.open(&path).map_err(ReadError::io(&path))?;
        let header = header_of(shared, number)?;
        let start = PACK_HEADER_BYTES as u64;
        let reader = Reader::new(file, header.seal(), start).map_err(ReadError::io(&path))?;
        let entries = reader.entries(start, end).map_err(ReadError::io(&path))?;
        let entries = entries.ok_or(CompactError::Damaged { pack: number, offset: start })?;
        Ok(Some(PackSource { number, header, last_commit: 0, end, file_bytes: end, entries, reader }))
    }

    /// The checked payload of a record.
    pub fn payload(&self, entry: &Entry) -> Result<Vec<u8>, CompactError> {
        let payload = self.reader.record(entry).ok().flatten();
        payload.ok_or(CompactError::Damaged { pack: self.number, offset: entry.offset })
    }

    /// Appends what a record says to `items`. Those of unknown kinds are an error: nobody knows whether they may go.
    pub fn items(&self, entry: &Entry, items: &mut Vec<Item>) -> Result<(), CompactError> {
        let digest = entry.key;
        let damaged = || CompactError::Damaged { pack: self.number, offset: entry.offset };
        let payload_at = entry.offset + HEADER_BYTES as u64;
        let payload = self.payload(entry)?;
        match entry.kind {
            kind::BLOB => {
                let whole = Bytes::from(payload);
                let bytes = if whole.len() < META_BYTES { Bytes::new() } else { whole.slice(META_BYTES..) };
                if Digest::of(&bytes) != digest {
                    return Err(damaged());
                }
                items.push(Item::Blob { digest, offset: payload_at + META_BYTES as u64, bytes });
            }
            kind::LARGE => {
                let Large { file, size_bytes, .. } = Large::decode(&payload).ok_or_else(damaged)?;
                items.push(Item::Large { digest, file, size_bytes });
            }
            kind::CONFIRMED => {
                items.push(Item::Confirmed { digest, meta: Meta::decode(&payload).ok_or_else(damaged)? });
            }
            kind::ROWS => {
                for row in decode_rows(&payload).ok_or_else(damaged)? {
                    let value = row.value.map(<[u8]>::to_vec);
                    let write = RowWrite { tree: row.tree, key: row.key.to_vec(), value };
                    items.push(Item::Row { write, value_at: payload_at + row.value_at as u64 });
                }
            }
            kind::DELETED => {
                items.push(Item::Deleted { digest, file: decode_deleted(&payload).ok_or_else(damaged)? });
            }
            kind::COUNT => {}
            kind => return Err(CompactError::Unknown { pack: self.number, kind }),
        }
        Ok(())
    }
}

/// The header of a pack that was opened before.
pub fn header_of(shared: &Shared, number: u64) -> Result<PackHeader, CompactError> {
    let path = pack::path(&shared.packs_folder(), number);
    let file = shared.files.open(&path).map_err(ReadError::io(&path))?;
    let header = PackHeader::read(file.as_ref()).map_err(ReadError::io(&path))?;
    header.ok_or(CompactError::Damaged { pack: number, offset: 0 })
}

enum Fault {
    Io(std::io::Error),
    Damaged(u64),
}

impl Fault {
    fn at(self, pack: u64, path: &std::path::Path) -> CompactError {
        match self {
            Fault::Io(error) => ReadError::io(path)(error).into(),
            Fault::Damaged(offset) => CompactError::Damaged { pack, offset },
        }
    }
}

/// What the footer would say, for a pack that has lost it.
fn scanned(file: Arc<dyn File>, header: &PackHeader, last_commit: u64) -> Result<Footer, Fault> {
    let mut reader = Reader::new(file, header.seal(), PACK_HEADER_BYTES as u64).map_err(Fault::Io)?;
    let mut entries = Vec::new();
    let mut reached = header.first_commit - 1;
    while let Some(committed) = reader.next().map_err(Fault::Io)? {
        reached = committed.commit.number;
        entries.extend(committed.records.into_iter().map(|record| record.entry));
    }
    if reached != last_commit {
        return Err(Fault::Damaged(reader.end()));
    }
    Ok(Footer { last_commit, end: reader.end(), entries })
}
