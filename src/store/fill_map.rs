//! Which groups of a fill have arrived: an append-only log beside the `.part`.
//!
//! It is only a hint, never synced: what it lists is hashed again before it is trusted.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use artimesh_core::model::Digest;

use super::files::{File, FileSystem};

/// Group index and crc.
pub const RECORD_BYTES: usize = 8;

/// The log of one fill.
pub struct FillMap {
    file: Arc<dyn File>,
    digest: Digest,
    end: Mutex<u64>,
}

impl FillMap {
    /// An empty one.
    pub fn create(files: &dyn FileSystem, path: &Path, digest: Digest) -> io::Result<FillMap> {
        let file = files.create(path)?;
        Ok(FillMap { file, digest, end: Mutex::new(0) })
    }

    /// The one that is there, or an empty one, and the groups that it lists.
    pub fn open(files: &dyn FileSystem, path: &Path, digest: Digest) -> io::Result<(FillMap, Vec<u32>)> {
        let file = match files.open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => files.create(path)?,
            other => other?,
        };
        let mut bytes = vec![0; file.size()? as usize];
        file.read_at(&mut bytes, 0)?;
        let records = bytes.as_chunks::<RECORD_BYTES>().0;
        let listed: Vec<u32> = records.iter().map_while(|record| decode(record, &digest)).collect();
        let end = (listed.len() * RECORD_BYTES) as u64;
        file.set_size(end)?;
        Ok((FillMap { file, digest, end: Mutex::new(end) }, listed))
    }

    /// Lists a group.
    pub fn append(&self, index: u32) -> io::Result<()> {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        self.file.write_at(&encode(index, &self.digest), *end)?;
        *end += RECORD_BYTES as u64;
        Ok(())
    }
}

fn encode(index: u32, digest: &Digest) -> [u8; RECORD_BYTES] {
    let mut record = [0; RECORD_BYTES];
    record[..4].copy_from_slice(&index.to_le_bytes());
    let crc = crc(index, digest);
    record[4..].copy_from_slice(&crc.to_le_bytes());
    record
}

fn decode(record: &[u8; RECORD_BYTES], digest: &Digest) -> Option<u32> {
    let index = u32::from_le_bytes([record[0], record[1], record[2], record[3]]);
    (encode(index, digest) == *record).then_some(index)
}

fn crc(index: u32, digest: &Digest) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&digest.0);
    crc.update(&index.to_le_bytes());
    crc.finalize()
}
