//! The seam behind which the engine that answers look-ups can be replaced.

mod left;
mod memory;
mod sled;

pub use self::left::forget_how_left;
pub use self::memory::MemoryIndex;
pub use self::sled::SledIndex;

use bytes::Bytes;

use super::error::IndexError;
use super::find::RunSet;
use super::pack::record::Input;
use super::value::Table;

/// The most rows that one [`Index::apply`] gets.
pub const BATCH_ROWS_MAX: usize = 1000;
/// The most bytes that one [`Index::apply`] gets.
pub const BATCH_BYTES_MAX: usize = 256 << 10;

/// One write to the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexRow {
    /// Which map.
    pub table: Table,
    /// The key.
    pub key: Bytes,
    /// The encoded value; `None` deletes.
    pub value: Option<Bytes>,
}

impl IndexRow {
    /// What it costs to keep.
    pub fn bytes(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Bytes::len) + 96
    }
}

/// Key and value, in the order of the keys.
pub type Row = (Vec<u8>, Vec<u8>);

/// Ordered maps whose loss costs time, never data. Calls block.
pub trait Index: Send + Sync + 'static {
    /// The value of a key.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError>;
    /// At most `limit` rows from `from` up to but without `to`, in the order of their keys.
    fn range(&self, table: Table, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, IndexError>;
    /// The last row from `from` up to but without `to`.
    fn last(&self, table: Table, from: &[u8], to: &[u8]) -> Result<Option<Row>, IndexError>;
    /// Writes rows, at most [`BATCH_ROWS_MAX`] and [`BATCH_BYTES_MAX`], in order.
    fn apply(&self, rows: &[IndexRow]) -> Result<(), IndexError>;
    /// Makes what was applied durable.
    fn sync(&self) -> Result<(), IndexError>;
    /// The last checkpoint that was written.
    fn checkpoint(&self) -> Result<Option<Checkpoint>, IndexError>;
    /// Notes, durably, that everything up to a commit was applied and synced.
    fn set_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), IndexError>;
    /// Notes, durably, a digest of all rows: nothing more is applied before the next open, which compares it.
    fn seal(&self) -> Result<(), IndexError>;
    /// What it takes on the disk.
    fn size_bytes(&self) -> u64;
}

/// How far the index has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// The store whose packs were read.
    pub store_id: [u8; 16],
    /// The last commit that was applied; 0 for none.
    pub commit: u64,
    /// The pack it is in.
    pub pack: u64,
    /// Where its record ends.
    pub offset: u64,
    /// A number that no large file has had.
    pub next_file: u64,
    /// No file below this number was waiting for its commit.
    pub first_open_file: u64,
    /// How many blobs there are.
    pub blobs: u64,
    /// By which rules keys were derived; 0 for none.
    pub derivation: u32,
    /// The files that hold them.
    pub runs: RunSet,
}

impl Checkpoint {
    /// Fixed-width fields and a crc.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.store_id.to_vec();
        for number in [self.commit, self.pack, self.offset, self.next_file, self.first_open_file, self.blobs] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.derivation.to_le_bytes());
        for number in self.runs.numbers() {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    /// `None` when damaged. An earlier release derived nothing, and its checkpoint doesn't say so.
    pub fn decode(bytes: &[u8]) -> Option<Checkpoint> {
        let (covered, crc) = bytes.split_last_chunk()?;
        if u32::from_le_bytes(*crc) != crc32fast::hash(covered) {
            return None;
        }
        let mut input = Input(covered);
        let mut checkpoint = Checkpoint {
            store_id: input.array()?,
            commit: input.u64()?,
            pack: input.u64()?,
            offset: input.u64()?,
            next_file: input.u64()?,
            first_open_file: input.u64()?,
            blobs: input.u64()?,
            derivation: 0,
            runs: RunSet::default(),
        };
        if !input.0.is_empty() {
            checkpoint.derivation = input.u32()?;
            let mut numbers = Vec::new();
            while !input.0.is_empty() {
                numbers.push(input.u32()?);
            }
            checkpoint.runs = RunSet::new(&numbers)?;
        }
        Some(checkpoint)
    }
}
