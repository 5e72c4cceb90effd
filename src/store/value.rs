//! What the index holds: small things themselves, large ones as pointers.

use bytes::Bytes;

use super::batch::Tree;
use super::pack::record::{Input, META_BYTES, Meta};

/// Row values and blobs up to this stand in the index itself.
pub const INLINE_BYTES_MAX: usize = 1024;

/// The index's own maps: one for each tree, and one for the blobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// [`Tree::Meta`].
    Meta,
    /// [`Tree::Catalog`].
    Catalog,
    /// [`Tree::Log`].
    Log,
    /// Digest → [`BlobEntry`].
    Blobs,
    /// [`Tree::History`].
    History,
    /// [`Tree::Trie`].
    Trie,
    /// Keys that were [derived](super::derived) from the others, without values.
    Find,
}

impl Table {
    /// All of them, in the order of their discriminants.
    pub const ALL: [Table; 7] =
        [Table::Meta, Table::Catalog, Table::Log, Table::Blobs, Table::History, Table::Trie, Table::Find];

    /// The tree whose rows it has.
    pub fn tree(self) -> Option<Tree> {
        match self {
            Table::Meta => Some(Tree::Meta),
            Table::Catalog => Some(Tree::Catalog),
            Table::Log => Some(Tree::Log),
            Table::History => Some(Tree::History),
            Table::Trie => Some(Tree::Trie),
            Table::Blobs | Table::Find => None,
        }
    }
}

impl From<Tree> for Table {
    fn from(tree: Tree) -> Table {
        match tree {
            Tree::Meta => Table::Meta,
            Tree::Catalog => Table::Catalog,
            Tree::Log => Table::Log,
            Tree::History => Table::History,
            Tree::Trie => Table::Trie,
        }
    }
}

/// A range of bytes in a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The pack's number.
    pub pack: u64,
    /// Where the bytes start.
    pub offset: u64,
    /// How many.
    pub bytes: u32,
}

/// A row's value as the index has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowValue {
    /// The value.
    Inline(Bytes),
    /// Where it is, and its crc32.
    Pointer(Extent, u32),
}

impl RowValue {
    /// The value itself when it is small, else the pointer to where it stands in a pack.
    pub fn new(value: &[u8], pack: u64, offset: u64) -> RowValue {
        if value.len() <= INLINE_BYTES_MAX {
            RowValue::Inline(Bytes::copy_from_slice(value))
        } else {
            RowValue::Pointer(Extent { pack, offset, bytes: value.len() as u32 }, crc32fast::hash(value))
        }
    }

    /// A tag, then the value or the pointer.
    pub fn encode(&self) -> Bytes {
        let mut bytes = Vec::new();
        match self {
            RowValue::Inline(value) => {
                bytes.push(0);
                bytes.extend_from_slice(value);
            }
            RowValue::Pointer(extent, crc) => {
                bytes.push(1);
                extent.append_to(&mut bytes);
                bytes.extend_from_slice(&crc.to_le_bytes());
            }
        }
        bytes.into()
    }

    /// `None` when malformed.
    pub fn decode(bytes: &[u8]) -> Option<RowValue> {
        let (tag, rest) = bytes.split_first()?;
        let mut input = Input(rest);
        match tag {
            0 => Some(RowValue::Inline(Bytes::copy_from_slice(rest))),
            1 => Some(RowValue::Pointer(Extent::read_from(&mut input)?, input.u32()?)),
            _ => None,
        }
    }
}

impl Extent {
    fn append_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.pack.to_le_bytes());
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.extend_from_slice(&self.bytes.to_le_bytes());
    }

    fn read_from(input: &mut Input<'_>) -> Option<Extent> {
        Some(Extent { pack: input.u64()?, offset: input.u64()?, bytes: input.u32()? })
    }
}

/// Where a blob's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Here.
    Inline(Bytes),
    /// In a pack.
    Pack(Extent),
    /// In a large file of its own.
    Large {
        /// The number in its name.
        file: u64,
        /// The blob's size.
        size_bytes: u64,
    },
}

/// What the index knows of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobEntry {
    /// The sums and who vouches for them.
    pub meta: Meta,
    /// Where its bytes are.
    pub place: Place,
}

impl BlobEntry {
    /// The blob's size.
    pub fn size_bytes(&self) -> u64 {
        match &self.place {
            Place::Inline(bytes) => bytes.len() as u64,
            Place::Pack(extent) => u64::from(extent.bytes),
            Place::Large { size_bytes, .. } => *size_bytes,
        }
    }

    /// A tag, the meta, then the place.
    pub fn encode(&self) -> Bytes {
        let mut bytes = vec![match &self.place {
            Place::Inline(_) => 0,
            Place::Pack(_) => 1,
            Place::Large { .. } => 2,
        }];
        bytes.extend_from_slice(&self.meta.encode());
        match &self.place {
            Place::Inline(inline) => bytes.extend_from_slice(inline),
            Place::Pack(extent) => extent.append_to(&mut bytes),
            Place::Large { file, size_bytes } => {
                bytes.extend_from_slice(&file.to_le_bytes());
                bytes.extend_from_slice(&size_bytes.to_le_bytes());
            }
        }
        bytes.into()
    }

    /// `None` when malformed.
    pub fn decode(bytes: &[u8]) -> Option<BlobEntry> {
        let (tag, rest) = bytes.split_first()?;
        let meta = Meta::decode(rest)?;
        let mut input = Input(&rest[META_BYTES..]);
        let place = match tag {
            0 => Place::Inline(Bytes::copy_from_slice(input.0)),
            1 => Place::Pack(Extent::read_from(&mut input)?),
            2 => Place::Large { file: input.u64()?, size_bytes: input.u64()? },
            _ => return None,
        };
        Some(BlobEntry { meta, place })
    }
}
