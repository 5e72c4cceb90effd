//! Bytes at rest.

mod batch;
mod committer;
mod confirm;
mod error;
pub mod files;
mod fill;
mod fill_map;
pub mod groups;
mod index;
mod indexer;
mod ingest;
mod large;
mod options;
mod overlay;
mod pack;
mod reader;
mod recovery;
mod replay;
mod shared;
mod staged;
mod store;
mod sums;
#[cfg(test)]
mod tests;
mod value;

pub use batch::{Batch, KEY_BYTES_MAX, Priority, RowWrite, Tree, VALUE_BYTES_MAX};
pub use error::{BadGroups, CommitError, ConfirmError, FillError, IndexError, OpenError, ReadError};
pub use files::RealFiles;
pub use fill::Fill;
pub use groups::GROUP_BYTES;
pub use index::MemoryIndex;
pub use ingest::Ingest;
pub use options::{IndexKind, Options};
pub use reader::{BlobInfo, BlobReader};
pub use recovery::{IndexRecovery, Recovery};
pub use staged::Staged;
pub use store::{Store, Usage};
