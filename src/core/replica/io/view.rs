//! The rows at rest, as the replica reads and writes them.

use crate::model::Digest;

/// A table of rows at rest; each is ordered by key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Table {
    /// Few and small: heads, federations, repositories, statements, wanted blobs.
    Meta,
    /// One row per path: its live versions.
    Catalog,
    /// One row per segment.
    Log,
    /// One row per version that was replaced or deleted, for a time.
    History,
    /// The Merkle trie over what is live in a space: what is compared with other members.
    Trie,
}

/// One row to write; `None` removes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// Where.
    pub table: Table,
    /// See [`super::super::rows`].
    pub key: Vec<u8>,
    /// See [`super::super::rows`].
    pub value: Option<Vec<u8>>,
}

/// Rows can't be read: the node must stop, or rebuild its index.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the store cannot be read: {0}")]
pub struct ViewFault(pub String);

/// A row's key and value.
pub type KeyValue = (Vec<u8>, Vec<u8>);

/// Keys and values, in the order of keys.
pub type Page = Vec<KeyValue>;

/// The rows at rest, as of all outputs performed so far.
pub trait View {
    /// One row's value.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, ViewFault>;
    /// Up to `limit` rows with `from <= key < to`, in order.
    fn range(&self, table: Table, from: &[u8], to: &[u8], limit: usize) -> Result<Page, ViewFault>;
    /// The last row with `from <= key < to`.
    fn last(&self, table: Table, from: &[u8], to: &[u8]) -> Result<Option<KeyValue>, ViewFault>;
    /// Whether the blob's bytes are all here.
    fn has_blob(&self, digest: &Digest) -> Result<bool, ViewFault>;
}
