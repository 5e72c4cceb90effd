//! Records of a pack that is to go: which of them still count is decided, and they are repeated, in one commit.
//!
//! The one who compacts reads and checks the records; the committer decides, for only there nothing can come between the
//! decision and the commit.

use artimesh_core::model::Digest;
use bytes::Bytes;
use tokio::sync::oneshot;

use super::batch::RowWrite;
use super::effects::{Effects, place_small};
use super::error::{CommitError, ReadError};
use super::pack::record::{HEADER_BYTES, Large, META_BYTES, Meta, encode_deleted, kind};
use super::value::{BlobEntry, Extent, Place, RowValue};

/// One thing that a pack says.
pub enum Item {
    /// A blob in the pack: where its bytes start, and they.
    Blob { digest: Digest, offset: u64, bytes: Bytes },
    /// A blob in a file of its own.
    Large { digest: Digest, file: u64, size_bytes: u64 },
    /// Sums that were confirmed.
    Confirmed { digest: Digest, meta: Meta },
    /// A row write, and where its value stands.
    Row { write: RowWrite, value_at: u64 },
    /// A blob that went, and the large file that it had.
    Deleted { digest: Digest, file: Option<u64> },
}

impl Item {
    fn bytes(&self) -> u64 {
        let payload = match self {
            Item::Blob { bytes, .. } => bytes.len(),
            Item::Row { write, .. } => write.key.len() + write.value.as_ref().map_or(0, Vec::len),
            Item::Large { .. } | Item::Confirmed { .. } | Item::Deleted { .. } => 16,
        };
        (payload + META_BYTES + HEADER_BYTES) as u64
    }
}

/// Some of a pack's records.
pub struct Carry {
    /// The pack.
    pub pack: u64,
    /// In the order of the pack.
    pub items: Vec<Item>,
    /// An older pack may hold what these records delete, so the deletes must stay.
    pub keeps_deletes: bool,
    /// Gets what was repeated.
    pub reply: oneshot::Sender<Result<Carried, CommitError>>,
}

impl Carry {
    /// An upper bound of what repeating all of it takes.
    pub fn bytes(&self) -> u64 {
        self.items.iter().map(Item::bytes).sum::<u64>() + 4 * HEADER_BYTES as u64
    }
}

/// What was repeated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Carried {
    /// Records, rows one by one.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Effects<'_> {
    /// Repeats what is current. Whatever comes of it, the number of blobs is written down: records that counted are
    /// about to vanish.
    pub fn carry(&mut self, carry: &Carry) -> Result<Carried, ReadError> {
        let mut carried = Carried::default();
        let mut rows = Vec::new();
        self.count_anew();
        for item in &carry.items {
            let is_current = match item {
                Item::Blob { digest, offset, bytes } => self.carry_blob(carry.pack, digest, *offset, bytes)?,
                Item::Large { digest, file, size_bytes } => self.carry_large(digest, *file, *size_bytes)?,
                Item::Confirmed { digest, meta } => self.carry_confirmed(carry.pack, digest, *meta)?,
                Item::Row { write, value_at } => {
                    let is_current = self.is_current(write, carry.pack, *value_at, carry.keeps_deletes)?;
                    rows.extend(is_current.then(|| write.clone()));
                    is_current
                }
                Item::Deleted { digest, file } => {
                    let is_current = carry.keeps_deletes && self.known(digest)?.is_none();
                    if is_current {
                        self.group.push(kind::DELETED, digest, &[encode_deleted(*file).into()]);
                    }
                    is_current
                }
            };
            if is_current {
                carried.records += 1;
                carried.bytes += item.bytes();
            }
        }
        self.write_rows(&rows);
        Ok(carried)
    }

    fn carry_blob(&mut self, pack: u64, digest: &Digest, offset: u64, bytes: &Bytes) -> Result<bool, ReadError> {
        let Some(known) = self.known(digest)? else { return Ok(false) };
        let is_current = match &known.place {
            Place::Pack(extent) => (extent.pack, extent.offset) == (pack, offset),
            // Which record the bytes in the index came from nobody knows; this one will do, once.
            Place::Inline(inline) => inline == bytes && !self.has_changed(digest),
            Place::Large { .. } => false,
        };
        if is_current {
            let meta = Bytes::copy_from_slice(&known.meta.encode());
            let payload_at = self.group.push(kind::BLOB, digest, &[meta, bytes.clone()]);
            let extent =
                Extent { pack: self.pack(), offset: payload_at + META_BYTES as u64, bytes: bytes.len() as u32 };
            let place = place_small(std::slice::from_ref(bytes), extent);
            self.set(digest, Some(BlobEntry { meta: known.meta, place }));
        }
        Ok(is_current)
    }

    fn carry_large(&mut self, digest: &Digest, file: u64, size_bytes: u64) -> Result<bool, ReadError> {
        let Some(known) = self.known(digest)? else { return Ok(false) };
        let is_current = known.place == Place::Large { file, size_bytes };
        if is_current {
            let large = Large { meta: known.meta, size_bytes, file };
            self.group.push(kind::LARGE, digest, &[large.encode().into()]);
        }
        Ok(is_current)
    }

    /// A blob that is in the same pack has been repeated with these sums.
    fn carry_confirmed(&mut self, pack: u64, digest: &Digest, meta: Meta) -> Result<bool, ReadError> {
        let Some(known) = self.known(digest)? else { return Ok(false) };
        let is_repeated = self.has_changed(digest) || matches!(known.place, Place::Pack(extent) if extent.pack == pack);
        let is_current = known.meta == meta && !is_repeated;
        if is_current {
            self.group.push(kind::CONFIRMED, digest, &[Bytes::copy_from_slice(&meta.encode())]);
        }
        Ok(is_current)
    }

    fn is_current(&self, write: &RowWrite, pack: u64, at: u64, keeps_deletes: bool) -> Result<bool, ReadError> {
        let indexed = self.lookup(write)?;
        Ok(match (&write.value, indexed) {
            (Some(value), Some(indexed)) => RowValue::new(value, pack, at).encode() == indexed,
            (None, None) => keeps_deletes,
            _ => false,
        })
    }
}
