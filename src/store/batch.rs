//! What is committed as one: row writes and staged blobs.

use artimesh_core::model::Digest;

use super::account::Account;
use super::staged::Staged;

/// Which ordered map a row lives in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tree {
    /// Few rows about the node and its spaces.
    Meta,
    /// The state of repositories.
    Catalog,
    /// Segments of change logs.
    Log,
    /// Versions that were replaced or deleted.
    History,
    /// The Merkle trie over what is live.
    Trie,
}

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 4096;
/// The longest value, in bytes: the codec's limit at rest and a little.
pub const VALUE_BYTES_MAX: usize = 8 << 20;

/// One row to put or delete. A later write of a batch wins over an earlier one of the same key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowWrite {
    /// The map.
    pub tree: Tree,
    /// At most [`KEY_BYTES_MAX`].
    pub key: Vec<u8>,
    /// At most [`VALUE_BYTES_MAX`]; `None` deletes.
    pub value: Option<Vec<u8>>,
}

impl RowWrite {
    /// A row with a value.
    pub fn put(tree: Tree, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> RowWrite {
        RowWrite { tree, key: key.into(), value: Some(value.into()) }
    }

    /// A row that goes.
    pub fn delete(tree: Tree, key: impl Into<Vec<u8>>) -> RowWrite {
        RowWrite { tree, key: key.into(), value: None }
    }
}

/// Who is served when space is short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Priority {
    /// Refused when the reserve or the quota would be touched.
    #[default]
    Normal,
    /// Deletes, revocations, garbage collection: taken as long as the device has space.
    Vital,
}

/// What becomes durable and visible as one, or not at all.
#[derive(Debug, Default)]
pub struct Batch {
    /// Applied in order.
    pub rows: Vec<RowWrite>,
    /// Blobs that were ingested or filled; one that is stored already is dropped.
    pub blobs: Vec<Staged>,
    /// Blobs that go; those that aren't there make no difference. They go before the batch's own blobs come, and batches
    /// count in the order in which they were handed over, so that a blob which comes later is there.
    pub dropped: Vec<Digest>,
    /// Who is served when space is short.
    pub priority: Priority,
    /// Those of the requests that wait for it.
    pub accounts: Vec<Account>,
}
