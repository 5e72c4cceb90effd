//! One record of a pack: a header of fixed size, then a payload.

use artimesh_core::model::{Assurance, Checksums, Digest};

use crate::store::batch::{RowWrite, Tree};

/// The size of a record's header.
pub const HEADER_BYTES: usize = 52;
/// The size of what stands before the bytes in the payload of a blob.
pub const META_BYTES: usize = 76;
/// The size of a whole commit record.
pub const COMMIT_BYTES: usize = HEADER_BYTES + 24;
/// No payload is larger: the footer of a pack with the most records.
pub const PAYLOAD_BYTES_MAX: u32 = 16 << 20;
const MAGIC: [u8; 4] = *b"\xA7Rec";

/// What a record holds. Numbers are for ever; unknown ones are skipped.
pub mod kind {
    /// A blob of up to 1 MiB: [`super::Meta`], then its bytes; the key is its digest.
    pub const BLOB: u16 = 1;
    /// A reference to a large file; the key is its digest.
    pub const LARGE: u16 = 2;
    /// Row writes.
    pub const ROWS: u16 = 3;
    /// Makes the records before it count.
    pub const COMMIT: u16 = 4;
    /// Checksums that were confirmed; the key is the blob's digest.
    pub const CONFIRMED: u16 = 5;
    /// The list of a sealed pack's records.
    pub const FOOTER: u16 = 6;
    /// The blob of this key is gone; the payload is the number of the large file that it had, as a little-endian u64, or
    /// empty. Since format 2.
    pub const DELETED: u16 = 7;
    /// How many blobs there are with this commit, as a little-endian u64: it follows whatever makes records before it
    /// void or repeats them, so that counting records is right again from here on. Since format 2.
    pub const COUNT: u16 = 8;
}

/// Mixed into every checksum, so that bytes of another store, or of an upload that imitates a record, are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seal(u32);

impl Seal {
    /// The seal of the store with this id.
    pub fn of(store_id: &[u8; 16]) -> Seal {
        Seal(crc32fast::hash(store_id))
    }

    /// A checksum in the making.
    pub fn hasher(self) -> crc32fast::Hasher {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.0.to_le_bytes());
        hasher
    }

    /// The checksum of `bytes`.
    pub fn sum(self, bytes: &[u8]) -> u32 {
        let mut hasher = self.hasher();
        hasher.update(bytes);
        hasher.finalize()
    }
}

/// A record's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// One of [`kind`], or unknown.
    pub kind: u16,
    /// How many bytes follow the header.
    pub payload_bytes: u32,
    /// Their [`Seal`]ed crc32.
    pub payload_crc: u32,
    /// A digest, or zeros.
    pub key: [u8; 32],
}

impl Header {
    /// Magic, kind, flags (none yet), payload length, payload crc, key, header crc.
    pub fn encode(&self, seal: Seal) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..6].copy_from_slice(&self.kind.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.payload_bytes.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.payload_crc.to_le_bytes());
        bytes[16..48].copy_from_slice(&self.key);
        let crc = seal.sum(&bytes[..48]);
        bytes[48..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `None` when these aren't the bytes of a header of this store.
    pub fn decode(bytes: &[u8], seal: Seal) -> Option<Header> {
        let mut input = Input(bytes.get(..HEADER_BYTES)?);
        let whole = input.0;
        if input.array()? != MAGIC {
            return None;
        }
        let kind = u16::from_le_bytes(input.array()?);
        let _flags: [u8; 2] = input.array()?;
        let header = Header { kind, payload_bytes: input.u32()?, payload_crc: input.u32()?, key: input.array()? };
        (input.u32()? == seal.sum(&whole[..48]) && header.payload_bytes <= PAYLOAD_BYTES_MAX).then_some(header)
    }

    /// Header and payload together.
    pub fn record_bytes(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.payload_bytes)
    }
}

/// Where `magic` of a record next occurs in `bytes`, from `start`.
pub fn find_magic(bytes: &[u8], start: usize) -> Option<usize> {
    let found = bytes.get(start..)?.windows(MAGIC.len()).position(|window| window == MAGIC)?;
    Some(start + found)
}

/// What is known of a blob beside its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// The three sums.
    pub checksums: Checksums,
    /// Who vouches for them.
    pub assurance: Assurance,
}

impl Meta {
    /// The three sums, the assurance, padding, and a crc of its own, for it is read without the blob's bytes.
    pub fn encode(&self) -> [u8; META_BYTES] {
        let mut bytes = [0; META_BYTES];
        bytes[..32].copy_from_slice(&self.checksums.sha256);
        bytes[32..52].copy_from_slice(&self.checksums.sha1);
        bytes[52..68].copy_from_slice(&self.checksums.md5);
        bytes[68] = match self.assurance {
            Assurance::Confirmed => 1,
            Assurance::Claimed => 2,
        };
        let crc = crc32fast::hash(&bytes[..72]);
        bytes[72..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `None` when damaged.
    pub fn decode(bytes: &[u8]) -> Option<Meta> {
        let mut input = Input(bytes.get(..META_BYTES)?);
        let whole = input.0;
        let checksums = Checksums { sha256: input.array()?, sha1: input.array()?, md5: input.array()? };
        let assurance = match input.array::<4>()?[0] {
            1 => Assurance::Confirmed,
            2 => Assurance::Claimed,
            _ => return None,
        };
        (input.u32()? == crc32fast::hash(&whole[..72])).then_some(Meta { checksums, assurance })
    }
}

/// The payload of [`kind::LARGE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Large {
    /// What is known beside the bytes.
    pub meta: Meta,
    /// The blob's size.
    pub size_bytes: u64,
    /// The number in its file's name.
    pub file: u64,
}

impl Large {
    /// Meta, size, file number.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.meta.encode().to_vec();
        bytes.extend_from_slice(&self.size_bytes.to_le_bytes());
        bytes.extend_from_slice(&self.file.to_le_bytes());
        bytes
    }

    /// `None` when malformed.
    pub fn decode(bytes: &[u8]) -> Option<Large> {
        let meta = Meta::decode(bytes)?;
        let mut input = Input(&bytes[META_BYTES..]);
        Some(Large { meta, size_bytes: input.u64()?, file: input.u64()? })
    }
}

/// The payload of [`kind::DELETED`]: the number of the large file that goes with the blob.
pub fn encode_deleted(file: Option<u64>) -> Vec<u8> {
    file.map_or_else(Vec::new, |file| file.to_le_bytes().to_vec())
}

/// What that says; `None` when malformed.
pub fn decode_deleted(payload: &[u8]) -> Option<Option<u64>> {
    if payload.is_empty() { Some(None) } else { Some(Some(u64::from_le_bytes(payload.try_into().ok()?))) }
}

/// The payload of [`kind::COMMIT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit {
    /// One more than the commit before it, over all packs, from 1.
    pub number: u64,
    /// How many records before it belong to it.
    pub records: u32,
    /// The sealed crc32 over their headers.
    pub crc: u32,
    /// The wall clock, milliseconds since 1970; for people.
    pub wall_ms: u64,
}

impl Commit {
    /// Number, records, crc, wall clock.
    pub fn encode(&self) -> [u8; COMMIT_BYTES - HEADER_BYTES] {
        let mut bytes = [0; COMMIT_BYTES - HEADER_BYTES];
        bytes[..8].copy_from_slice(&self.number.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.records.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.crc.to_le_bytes());
        bytes[16..].copy_from_slice(&self.wall_ms.to_le_bytes());
        bytes
    }

    /// `None` when malformed.
    pub fn decode(bytes: &[u8]) -> Option<Commit> {
        let mut input = Input(bytes);
        Some(Commit { number: input.u64()?, records: input.u32()?, crc: input.u32()?, wall_ms: input.u64()? })
    }
}

/// One row write as the payload of [`kind::ROWS`] has it; many stand one after the other.
pub fn encode_row(row: &RowWrite, out: &mut Vec<u8>) {
    out.push(match row.tree {
        Tree::Meta => 1,
        Tree::Catalog => 2,
        Tree::Log => 3,
        Tree::History => 4,
        Tree::Trie => 5,
    });
    out.push(u8::from(row.value.is_some()));
    out.extend_from_slice(&(row.key.len() as u16).to_le_bytes());
    out.extend_from_slice(&(row.value.as_ref().map_or(0, Vec::len) as u32).to_le_bytes());
    out.extend_from_slice(&row.key);
    if let Some(value) = &row.value {
        out.extend_from_slice(value);
    }
}

/// A row write where it stands in a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowAt<'a> {
    /// The map.
    pub tree: Tree,
    /// The key.
    pub key: &'a [u8],
    /// The value; `None` deletes.
    pub value: Option<&'a [u8]>,
    /// Where the value starts in the payload.
    pub value_at: usize,
}

/// All row writes of a payload, or `None` when malformed.
pub fn decode_rows(payload: &[u8]) -> Option<Vec<RowAt<'_>>> {
    let mut rows = Vec::new();
    let mut input = Input(payload);
    while !input.0.is_empty() {
        let tree = match input.array::<1>()?[0] {
            1 => Tree::Meta,
            2 => Tree::Catalog,
            3 => Tree::Log,
            4 => Tree::History,
            5 => Tree::Trie,
            _ => return None,
        };
        let is_put = input.array::<1>()?[0] == 1;
        let key_bytes = u16::from_le_bytes(input.array()?);
        let value_bytes = input.u32()?;
        let key = input.take(usize::from(key_bytes))?;
        let value_at = payload.len() - input.0.len();
        let value = input.take(value_bytes as usize)?;
        rows.push(RowAt { tree, key, value: is_put.then_some(value), value_at });
    }
    Some(rows)
}

/// Where a record stands: a line of the footer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its kind.
    pub kind: u16,
    /// Its key.
    pub key: Digest,
    /// Where its header starts in the pack.
    pub offset: u64,
    /// Its payload's length.
    pub payload_bytes: u32,
}

/// Bytes being read from the front.
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    /// A little-endian number.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// A little-endian number.
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}
