//! What a group of batches does: the records that say so, and what holds once they are durable.

use std::collections::{HashMap, HashSet};

use artimesh_core::model::{Assurance, Digest};
use bytes::Bytes;

use super::batch::{RowWrite, Tree};
use super::derived::Derivation;
use super::error::ReadError;
use super::index::IndexRow;
use super::pack::record::{Large, META_BYTES, Meta, encode_deleted, encode_row, kind};
use super::pack::writer::Group;
use super::shared::Shared;
use super::staged::{Body, Staged};
use super::unsummed;
use super::value::{BlobEntry, Extent, INLINE_BYTES_MAX, Place, RowValue, Table};

/// A record of rows is closed when it has so many bytes.
const ROWS_BYTES: usize = 256 << 10;

/// A group in the making.
pub struct Effects<'a> {
    shared: &'a Shared,
    /// The pack that the group is written to.
    pack: u64,
    /// Its records.
    pub group: Group,
    /// For the index, in order.
    pub rows: Vec<IndexRow>,
    /// Large files that belong to a blob from now on.
    pub taken: HashSet<u64>,
    /// Large files whose blob goes, with its size.
    pub gone: Vec<(u64, u64)>,
    /// By how much the number of blobs changes.
    pub change: i64,
    blobs: HashMap<Digest, Option<BlobEntry>>,
    needs_count: bool,
}

impl<'a> Effects<'a> {
    /// Of an empty group that will be written to `pack`.
    pub fn new(shared: &'a Shared, pack: u64, group: Group) -> Effects<'a> {
        Effects {
            shared,
            pack,
            group,
            rows: Vec::new(),
            taken: HashSet::new(),
            gone: Vec::new(),
            change: 0,
            blobs: HashMap::new(),
            needs_count: false,
        }
    }

    /// A blob comes. One that is there already is left as it is, unless its sums were only claimed so far, or its bytes were
    /// found to have rotted.
    pub fn put(&mut self, staged: &Staged) -> Result<(), ReadError> {
        let Some(known) = self.known(&staged.digest)? else {
            self.put_anew(staged, staged.meta);
            return Ok(());
        };
        if staged.replaces.as_ref().is_some_and(|replaced| replaced.place == known.place) {
            self.drop_blob(&staged.digest)?;
            let is_confirmed = known.meta.assurance == Assurance::Confirmed;
            self.put_anew(staged, if is_confirmed { known.meta } else { staged.meta });
            return Ok(());
        }
        match (known.meta.assurance, staged.assurance()) {
            (Assurance::Claimed, Assurance::Confirmed) => self.confirm(&staged.digest, staged.meta)?,
            (Assurance::Claimed, Assurance::Claimed) => self.list(staged),
            (Assurance::Confirmed, _) => {}
        }
        Ok(())
    }

    fn put_anew(&mut self, staged: &Staged, meta: Meta) {
        let place = match &staged.body {
            Body::Memory(pieces) => {
                let mut payload = vec![Bytes::copy_from_slice(&meta.encode())];
                payload.extend(pieces.iter().cloned());
                let payload_at = self.group.push(kind::BLOB, &staged.digest, &payload);
                let offset = payload_at + META_BYTES as u64;
                place_small(pieces, Extent { pack: self.pack, offset, bytes: staged.size_bytes as u32 })
            }
            Body::Large(part) => {
                let large = Large { meta, size_bytes: staged.size_bytes, file: part.number };
                self.group.push(kind::LARGE, &staged.digest, &[large.encode().into()]);
                self.taken.insert(part.number);
                Place::Large { file: part.number, size_bytes: staged.size_bytes }
            }
        };
        self.change += 1;
        self.set(&staged.digest, Some(BlobEntry { meta, place }));
        self.list(staged);
    }

    /// A blob whose MD5 nobody has computed is listed with the commit that brings it, so that a crash can't lose that.
    fn list(&mut self, staged: &Staged) {
        if staged.is_unsummed() {
            self.write_rows(&[RowWrite::put(Tree::Meta, unsummed::key(&staged.digest), b"1")]);
        }
    }

    /// A blob leaves that list, unless its sums still wait to be confirmed.
    pub fn settle(&mut self, digest: &Digest) -> Result<(), ReadError> {
        let waits = self.known(digest)?.is_some_and(|known| known.meta.assurance == Assurance::Claimed);
        let row = RowWrite::delete(Tree::Meta, unsummed::key(digest));
        if !waits && self.lookup(&row)?.is_some() {
            self.write_rows(&[row]);
        }
        Ok(())
    }

    /// A blob's sums are known to be right.
    pub fn confirm(&mut self, digest: &Digest, meta: Meta) -> Result<(), ReadError> {
        if let Some(known) = self.known(digest)? {
            self.group.push(kind::CONFIRMED, digest, &[Bytes::copy_from_slice(&meta.encode())]);
            self.set(digest, Some(BlobEntry { meta, place: known.place }));
        }
        Ok(())
    }

    /// A blob goes; one that isn't there makes no difference.
    pub fn drop_blob(&mut self, digest: &Digest) -> Result<(), ReadError> {
        let Some(known) = self.known(digest)? else { return Ok(()) };
        let file = match known.place {
            Place::Large { file, size_bytes } => {
                self.gone.push((file, size_bytes));
                Some(file)
            }
            Place::Inline(_) | Place::Pack(_) => None,
        };
        self.group.push(kind::DELETED, digest, &[encode_deleted(file).into()]);
        self.change -= 1;
        self.needs_count = true;
        self.set(digest, None);
        Ok(())
    }

    /// Rows come and go.
    pub fn write_rows(&mut self, mut rows: &[RowWrite]) {
        while !rows.is_empty() {
            rows = self.write_some_rows(rows);
        }
    }

    /// Writes as many rows as fit into one record; returns the others.
    fn write_some_rows<'r>(&mut self, rows: &'r [RowWrite]) -> &'r [RowWrite] {
        let mut payload = Vec::new();
        let mut values_at = Vec::new();
        let mut count = 0;
        while count < rows.len() && payload.len() < ROWS_BYTES {
            encode_row(&rows[count], &mut payload);
            values_at.push(payload.len() - rows[count].value.as_ref().map_or(0, Vec::len));
            count += 1;
        }
        let payload_at = self.group.push(kind::ROWS, &Digest::ZERO, &[payload.into()]);
        for (row, value_at) in rows.iter().zip(values_at) {
            let at = payload_at + value_at as u64;
            let value = row.value.as_ref().map(|value| RowValue::new(value, self.pack, at).encode());
            let key = Bytes::copy_from_slice(&row.key);
            self.rows.push(IndexRow { table: row.tree.into(), key, value });
            if let (Some(derivation), Some(value)) = (self.shared.options.derivation, &row.value) {
                derivation.append(row.tree, &row.key, value, &mut self.rows);
            }
        }
        &rows[count..]
    }

    /// Ends the group: `blobs_before` is how many there were.
    pub fn close(&mut self, blobs_before: u64) {
        if self.needs_count {
            let blobs = blobs_before.saturating_add_signed(self.change);
            self.group.push(kind::COUNT, &Digest::ZERO, &[Bytes::copy_from_slice(&blobs.to_le_bytes())]);
        }
    }

    /// The number of blobs is written down with this group.
    pub fn count_anew(&mut self) {
        self.needs_count = true;
    }

    /// The pack that the group is written to.
    pub fn pack(&self) -> u64 {
        self.pack
    }

    /// Whether the group says something of this blob already.
    pub fn has_changed(&self, digest: &Digest) -> bool {
        self.blobs.contains_key(digest)
    }

    /// What the index has of a row's key, before this group.
    pub fn lookup(&self, row: &RowWrite) -> Result<Option<Bytes>, ReadError> {
        self.shared.lookup(row.tree.into(), &row.key)
    }

    /// What is known of a blob behind what the group says so far.
    pub fn known(&self, digest: &Digest) -> Result<Option<BlobEntry>, ReadError> {
        match self.blobs.get(digest) {
            Some(known) => Ok(known.clone()),
            None => self.shared.blob(digest),
        }
    }

    /// What holds of a blob from here on.
    pub fn set(&mut self, digest: &Digest, entry: Option<BlobEntry>) {
        match &entry {
            Some(entry) => push_blob(digest, entry, self.shared.options.derivation, &mut self.rows),
            None => {
                let key = Bytes::copy_from_slice(&digest.0);
                self.rows.push(IndexRow { table: Table::Blobs, key, value: None });
            }
        }
        self.blobs.insert(*digest, entry);
    }
}

/// The place of a blob in a pack: in the index as well when it is tiny.
pub fn place_small(pieces: &[Bytes], extent: Extent) -> Place {
    if extent.bytes as usize > INLINE_BYTES_MAX {
        return Place::Pack(extent);
    }
    Place::Inline(pieces.concat().into())
}

/// Adds the index row of a blob, and what is derived from it.
pub fn push_blob(digest: &Digest, entry: &BlobEntry, derivation: Option<Derivation>, rows: &mut Vec<IndexRow>) {
    rows.push(blob_row(digest, entry));
    if let Some(derivation) = derivation {
        derivation.append_blob(digest, entry, rows);
    }
}

/// The index row of a blob.
pub fn blob_row(digest: &Digest, entry: &BlobEntry) -> IndexRow {
    IndexRow { table: Table::Blobs, key: Bytes::copy_from_slice(&digest.0), value: Some(entry.encode()) }
}
