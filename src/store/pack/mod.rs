//! Packs: append-only files of records, which are the journal and the truth.

pub mod footer;
pub mod reader;
pub mod record;
pub mod writer;

use std::io;
use std::path::{Path, PathBuf};

use record::{Input, Seal};

use super::files::File;

/// The size of a pack's header.
pub const PACK_HEADER_BYTES: usize = 64;
/// The newest format that this release reads: a hollow pack that stands for several. A release that doesn't know it would
/// miss the others.
pub const FORMAT_MERGED: u32 = 3;
/// Packs in which records may be void because of later ones. A release that doesn't know those would bring back what was
/// deleted, so it must refuse the store.
pub const FORMAT: u32 = 2;
/// The format of packs in a store from which nothing was removed yet: earlier releases read it.
pub const FORMAT_PLAIN: u32 = 1;
const MAGIC: [u8; 8] = *b"ArtiPack";

/// The first bytes of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackHeader {
    /// The format version.
    pub format: u32,
    /// The store that it belongs to.
    pub store_id: [u8; 16],
    /// Its own number, from 1.
    pub number: u64,
    /// The number of the first commit that is written into it.
    pub first_commit: u64,
    /// The number of the last pack that it stands for: its own, unless it is hollow and was merged with those behind it.
    pub until: u64,
}

impl PackHeader {
    /// Magic, format, store id, number, first commit, the last number if it is merged, padding, crc.
    pub fn encode(&self) -> [u8; PACK_HEADER_BYTES] {
        let mut bytes = [0; PACK_HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&self.format.to_le_bytes());
        bytes[12..28].copy_from_slice(&self.store_id);
        bytes[28..36].copy_from_slice(&self.number.to_le_bytes());
        bytes[36..44].copy_from_slice(&self.first_commit.to_le_bytes());
        if self.format >= FORMAT_MERGED {
            bytes[44..52].copy_from_slice(&self.until.to_le_bytes());
        }
        let crc = crc32fast::hash(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `None` when damaged.
    pub fn decode(bytes: &[u8; PACK_HEADER_BYTES]) -> Option<PackHeader> {
        let mut input = Input(bytes);
        let magic: [u8; 8] = input.array()?;
        let (format, store_id, number, first_commit) = (input.u32()?, input.array()?, input.u64()?, input.u64()?);
        let until = if format >= FORMAT_MERGED { input.u64()? } else { number };
        let header = PackHeader { format, store_id, number, first_commit, until };
        let crc = Input(&bytes[60..]).u32()?;
        (magic == MAGIC && crc == crc32fast::hash(&bytes[..60])).then_some(header)
    }

    /// The header of a pack file; `None` when it is damaged, or shorter.
    pub fn read(file: &dyn File) -> io::Result<Option<PackHeader>> {
        let mut bytes = [0; PACK_HEADER_BYTES];
        match file.read_at(&mut bytes, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            other => other.map(|()| PackHeader::decode(&bytes)),
        }
    }

    /// What its records are sealed with.
    pub fn seal(&self) -> Seal {
        Seal::of(&self.store_id)
    }
}

/// The size of a pack that was compacted away: no pack that holds anything is as small.
pub const HOLLOW_PACK_BYTES: u64 = (PACK_HEADER_BYTES + record::HEADER_BYTES + 8 + footer::TRAILER_BYTES) as u64;

/// What a pack is called that is to replace another, until it does.
pub const HOLLOW: &str = "hollow";

/// Where pack `number` lies.
pub fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:016x}.pack"))
}

/// The number in a file name of 16 hexadecimal digits and `.extension`.
pub fn number_of(name: &str, extension: &str) -> Option<u64> {
    let digits = name.strip_suffix(extension)?.strip_suffix('.')?;
    (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok())?
}
