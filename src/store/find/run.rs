//! A file of sorted keys, written once.
//!
//! ```text
//! block*     keys, each: bytes shared with the one before u16, own bytes u16 (top bit: it isn't there), own bytes; crc32
//! index      for each block: its first key's length u16 and bytes, its length u32
//! tail       length of the index u64, number of keys u64, crc32 of both and of the index, magic
//! ```
//!
//! Numbers are little-endian.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::store::error::IndexError;
use crate::store::pack::record::Input;

/// A block is closed when it has so many bytes.
const BLOCK_BYTES: usize = 16 << 10;
const MAGIC: [u8; 8] = *b"amkeys1\n";
const TAIL_BYTES: usize = 28;
/// Keys are shorter: lengths are 15 bits.
const GONE: u16 = 1 << 15;

/// A key, and whether it is there.
pub type Entry = (Vec<u8>, bool);

/// One that is open for reading.
pub struct Run {
    number: u32,
    path: PathBuf,
    file: File,
    keys: u64,
    blocks: Vec<Block>,
    bytes: u64,
}

/// Where a block is.
struct Block {
    first: Box<[u8]>,
    at: u64,
    bytes: u32,
}

/// One that is written.
pub struct Writer {
    path: PathBuf,
    file: BufWriter<File>,
    block: Vec<u8>,
    last: Vec<u8>,
    index: Vec<u8>,
    keys: u64,
}

impl Writer {
    /// An empty one, in place of what a crash may have left there.
    pub fn create(path: PathBuf) -> std::io::Result<Writer> {
        let file = BufWriter::with_capacity(256 << 10, File::create(&path)?);
        Ok(Writer { path, file, block: Vec::new(), last: Vec::new(), index: Vec::new(), keys: 0 })
    }

    /// The next key: greater than the one before.
    pub fn push(&mut self, key: &[u8], is_there: bool) -> std::io::Result<()> {
        if self.block.is_empty() {
            self.index.extend_from_slice(&(key.len() as u16).to_le_bytes());
            self.index.extend_from_slice(key);
            self.last.clear();
        }
        let shared = self.last.iter().zip(key).take_while(|(a, b)| a == b).count();
        let own = &key[shared..];
        let flag = if is_there { 0 } else { GONE };
        self.block.extend_from_slice(&(shared as u16).to_le_bytes());
        self.block.extend_from_slice(&(own.len() as u16 | flag).to_le_bytes());
        self.block.extend_from_slice(own);
        self.last.truncate(shared);
        self.last.extend_from_slice(own);
        self.keys += 1;
        if self.block.len() >= BLOCK_BYTES { self.close_block() } else { Ok(()) }
    }

    fn close_block(&mut self) -> std::io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let crc = crc32fast::hash(&self.block);
        self.block.extend_from_slice(&crc.to_le_bytes());
        self.file.write_all(&self.block)?;
        self.index.extend_from_slice(&(self.block.len() as u32).to_le_bytes());
        self.block.clear();
        Ok(())
    }

    /// Makes it durable, but for its name.
    pub fn finish(mut self) -> std::io::Result<PathBuf> {
        self.close_block()?;
        let mut tail = (self.index.len() as u64).to_le_bytes().to_vec();
        tail.extend_from_slice(&self.keys.to_le_bytes());
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&tail);
        hasher.update(&self.index);
        tail.extend_from_slice(&hasher.finalize().to_le_bytes());
        tail.extend_from_slice(&MAGIC);
        self.file.write_all(&self.index)?;
        self.file.write_all(&tail)?;
        let file = self.file.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        file.sync_all()?;
        Ok(self.path)
    }
}

fn damaged(path: &Path) -> IndexError {
    IndexError { reason: format!("{} is damaged", path.display()), is_damage: true }
}

impl Run {
    /// Opens one; reads where its blocks are.
    pub fn open(path: PathBuf, number: u32) -> Result<Run, IndexError> {
        let failed = |error: std::io::Error| IndexError {
            reason: format!("{}: {error}", path.display()),
            is_damage: matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::UnexpectedEof),
        };
        let file = File::open(&path).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        let tail_at = bytes.checked_sub(TAIL_BYTES as u64).ok_or_else(|| damaged(&path))?;
        let mut tail = [0; TAIL_BYTES];
        file.read_exact_at(&mut tail, tail_at).map_err(failed)?;
        let mut input = Input(&tail);
        let numbers = (input.u64(), input.u64(), input.u32(), input.array());
        let (Some(index_bytes), Some(keys), Some(crc), Some(MAGIC)) = numbers else { return Err(damaged(&path)) };
        let index_at = tail_at.checked_sub(index_bytes).ok_or_else(|| damaged(&path))?;
        let mut index = vec![0; index_bytes as usize];
        file.read_exact_at(&mut index, index_at).map_err(failed)?;
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&tail[..16]);
        hasher.update(&index);
        if hasher.finalize() != crc {
            return Err(damaged(&path));
        }
        let blocks = blocks(&index).ok_or_else(|| damaged(&path))?;
        Ok(Run { number, path, file, keys, blocks, bytes })
    }

    /// In its name.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// How many keys it has, those that aren't there too.
    pub fn keys(&self) -> u64 {
        self.keys
    }

    /// What it takes.
    pub fn size_bytes(&self) -> u64 {
        self.bytes
    }

    fn block(&self, number: usize) -> Result<Option<Vec<u8>>, IndexError> {
        let Some(block) = self.blocks.get(number) else { return Ok(None) };
        let mut bytes = vec![0; block.bytes as usize];
        let failed = |error| IndexError { reason: format!("{}: {error}", self.path.display()), is_damage: false };
        self.file.read_exact_at(&mut bytes, block.at).map_err(failed)?;
        let (entries, crc) = bytes.split_at(bytes.len() - 4);
        if crc32fast::hash(entries).to_le_bytes() != crc {
            return Err(damaged(&self.path));
        }
        bytes.truncate(bytes.len() - 4);
        Ok(Some(bytes))
    }
}

fn blocks(index: &[u8]) -> Option<Vec<Block>> {
    let (mut input, mut at, mut blocks) = (Input(index), 0, Vec::new());
    while !input.0.is_empty() {
        let length = usize::from(u16::from_le_bytes(input.array()?));
        let (first, rest) = input.0.split_at_checked(length)?;
        input.0 = rest;
        let bytes = input.u32().filter(|bytes| *bytes >= 4)?;
        blocks.push(Block { first: first.into(), at, bytes });
        at += u64::from(bytes);
    }
    Some(blocks)
}

/// Reads a run's keys in order.
pub struct Cursor {
    run: Arc<Run>,
    next_block: usize,
    block: Vec<u8>,
    at: usize,
    key: Vec<u8>,
}

impl Cursor {
    /// From the block on in which the first key from `from` on is; what comes before that is told as well.
    pub fn new(run: Arc<Run>, from: &[u8]) -> Cursor {
        let behind = run.blocks.partition_point(|block| block.first.as_ref() <= from);
        Cursor { run, next_block: behind.saturating_sub(1), block: Vec::new(), at: 0, key: Vec::new() }
    }

    /// The next key, and whether it is there.
    pub fn next(&mut self) -> Result<Option<Entry>, IndexError> {
        if self.at == self.block.len() {
            let Some(block) = self.run.block(self.next_block)? else { return Ok(None) };
            (self.block, self.at) = (block, 0);
            self.next_block += 1;
            self.key.clear();
        }
        let mut input = Input(&self.block[self.at..]);
        let entry = read(&mut input, &mut self.key).ok_or_else(|| damaged(&self.run.path))?;
        self.at = self.block.len() - input.0.len();
        Ok(Some(entry))
    }
}

fn read(input: &mut Input<'_>, key: &mut Vec<u8>) -> Option<Entry> {
    let shared = usize::from(u16::from_le_bytes(input.array()?));
    let own = u16::from_le_bytes(input.array()?);
    let (suffix, rest) = input.0.split_at_checked(usize::from(own & !GONE))?;
    if shared > key.len() {
        return None;
    }
    key.truncate(shared);
    key.extend_from_slice(suffix);
    input.0 = rest;
    Some((key.clone(), own & GONE == 0))
}
