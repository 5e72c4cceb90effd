//! Artifacts: put, get, stat, list, delete.

use artimesh_core::catalog::Version;
use artimesh_core::clock::Timestamp;
use artimesh_core::model::{ArtifactPath, Checksums, Digest, Properties, RepoKey};
use bytes::Bytes;

use super::caller::Caller;
use super::error::ServiceError;
use super::service::Service;

/// One file of a repository, as its shown version has it.
#[derive(Clone, Debug)]
pub struct Item {
    /// The repository's key here.
    pub repo: RepoKey,
    /// The file's path in it.
    pub path: ArtifactPath,
    /// The blob's address.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// For clients.
    pub checksums: Checksums,
    /// By name, or as the author was told.
    pub media_type: String,
    /// Set with the put.
    pub properties: Properties,
    /// When the path was first put.
    pub created: Timestamp,
    /// By whom then.
    pub created_by: String,
    /// When the shown version was put.
    pub modified: Timestamp,
    /// By whom.
    pub modified_by: String,
    /// How many siblings the shown version has.
    pub siblings: usize,
}

/// One row of a folder.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A folder of this name.
    Folder(String),
    /// A file.
    File(Item),
}

/// A folder: derived from the paths below it.
#[derive(Clone, Debug)]
pub struct Folder {
    /// The repository's key here.
    pub repo: RepoKey,
    /// `None` for the repository's root.
    pub path: Option<ArtifactPath>,
    /// When the repository appeared here.
    pub created: Timestamp,
    /// By name; files directly inside, and folders.
    pub children: Vec<Entry>,
}

/// What stands at a path.
#[derive(Clone, Debug)]
pub enum Found {
    /// A file.
    File(Item),
    /// A folder.
    Folder(Folder),
}

/// What the client's headers say of the body.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// `X-Checksum-Sha256`.
    pub sha256: Option<[u8; 32]>,
    /// `X-Checksum-Sha1`.
    pub sha1: Option<[u8; 20]>,
    /// `X-Checksum-Md5`.
    pub md5: Option<[u8; 16]>,
}

/// A body on its way in. Dropping it leaves nothing behind.
#[derive(Debug)]
pub struct Upload {
    _private: (),
}

#[allow(missing_docs, unused_variables, clippy::todo)]
impl Upload {
    /// Takes the next piece; waits when the disk is slower than the network.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), ServiceError> { todo!() }
    /// Checks the sums, makes bytes and entry durable, and tells what was put (and whether it replaced a version).
    pub async fn finish(self, expected: &Expected, media_type: &str, properties: Properties) -> Result<Item, ServiceError> { todo!() }
}

/// A body on its way out.
#[derive(Debug)]
pub struct Download {
    _private: (),
}

#[allow(missing_docs, unused_variables, clippy::todo)]
impl Download {
    /// The next piece, up to 1 MiB; `None` at the end. An error in the middle must break the connection off.
    pub async fn next(&mut self) -> Option<Result<Bytes, ServiceError>> { todo!() }
}
