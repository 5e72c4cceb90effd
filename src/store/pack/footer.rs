//! The end of a sealed pack: a record that lists the others, and a trailer that finds it from behind.
//!
//! Both are written without a sync of their own: a pack whose footer is missing or bad is scanned instead, and whether
//! all commits are there is told by the number that the next pack starts with.

use std::io;

use artimesh_core::model::Digest;

use super::PACK_HEADER_BYTES;
use super::record::{Entry, HEADER_BYTES, Header, Input, Seal, kind};
use crate::store::files::File;

const ENTRY_BYTES: usize = 46;
/// What finds a footer from behind.
pub const TRAILER_BYTES: usize = 24;
const MAGIC: [u8; 4] = *b"\xA7End";

/// The most records a pack may list, so that its writer's memory and its footer stay small.
pub const ENTRIES_MAX: usize = 262_144;

/// What a footer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footer {
    /// The last commit of the pack.
    pub last_commit: u64,
    /// Where the last commit record ends, which is where the footer starts.
    pub end: u64,
    /// All records but the commits, in the order of the pack.
    pub entries: Vec<Entry>,
}

impl Footer {
    /// The footer of a pack without commits: there never were any, or the pack was compacted away.
    pub fn hollow(last_commit: u64) -> Footer {
        Footer { last_commit, end: PACK_HEADER_BYTES as u64, entries: Vec::new() }
    }

    /// Whether it is one.
    pub fn is_hollow(&self) -> bool {
        self.end == PACK_HEADER_BYTES as u64
    }

    /// The footer record and the trailer.
    pub fn encode(&self, seal: Seal) -> Vec<u8> {
        let mut payload = Vec::with_capacity(8 + self.entries.len() * ENTRY_BYTES);
        payload.extend_from_slice(&self.last_commit.to_le_bytes());
        for entry in &self.entries {
            payload.extend_from_slice(&entry.kind.to_le_bytes());
            payload.extend_from_slice(&entry.key.0);
            payload.extend_from_slice(&entry.offset.to_le_bytes());
            payload.extend_from_slice(&entry.payload_bytes.to_le_bytes());
        }
        let header = Header {
            kind: kind::FOOTER,
            payload_bytes: payload.len() as u32,
            payload_crc: seal.sum(&payload),
            key: [0; 32],
        };
        let mut bytes = header.encode(seal).to_vec();
        bytes.append(&mut payload);
        let mut trailer = [0; TRAILER_BYTES];
        trailer[..4].copy_from_slice(&MAGIC);
        trailer[4..12].copy_from_slice(&self.end.to_le_bytes());
        trailer[12..20].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
        let crc = seal.sum(&trailer[..20]);
        trailer[20..].copy_from_slice(&crc.to_le_bytes());
        bytes.extend_from_slice(&trailer);
        bytes
    }

    /// The footer of a pack, or `None` when it has none that is whole. Fails only when the file can't be read.
    pub fn read(file: &dyn File, seal: Seal) -> io::Result<Option<Footer>> {
        let size = file.size()?;
        let Some(trailer_at) = size.checked_sub(TRAILER_BYTES as u64) else { return Ok(None) };
        let mut trailer = [0; TRAILER_BYTES];
        file.read_at(&mut trailer, trailer_at)?;
        let Some((end, bytes)) = decode_trailer(&trailer, seal) else { return Ok(None) };
        if end.checked_add(bytes) != Some(trailer_at) || bytes > u64::from(u32::MAX) {
            return Ok(None);
        }
        let mut record = vec![0; bytes as usize];
        file.read_at(&mut record, end)?;
        Ok(decode(&record, end, seal))
    }
}

fn decode_trailer(trailer: &[u8; TRAILER_BYTES], seal: Seal) -> Option<(u64, u64)> {
    let mut input = Input(trailer);
    let magic: [u8; 4] = input.array()?;
    let (end, bytes) = (input.u64()?, input.u64()?);
    (magic == MAGIC && input.u32()? == seal.sum(&trailer[..20])).then_some((end, bytes))
}

fn decode(record: &[u8], end: u64, seal: Seal) -> Option<Footer> {
    let header = Header::decode(record, seal)?;
    let payload = &record[HEADER_BYTES..];
    if header.kind != kind::FOOTER || header.payload_crc != seal.sum(payload) {
        return None;
    }
    let mut input = Input(payload);
    let last_commit = input.u64()?;
    let mut entries = Vec::with_capacity(input.0.len() / ENTRY_BYTES);
    while !input.0.is_empty() {
        entries.push(Entry {
            kind: u16::from_le_bytes(input.array()?),
            key: Digest(input.array()?),
            offset: input.u64()?,
            payload_bytes: input.u32()?,
        });
    }
    Some(Footer { last_commit, end, entries })
}
