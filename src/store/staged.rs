//! A blob that is whole but not committed.

use std::sync::Arc;

use artimesh_core::model::{Assurance, Checksums, Digest};
use bytes::Bytes;

use super::groups::GROUP_BYTES;
use super::large::Part;
use super::pack::record::Meta;
use super::scrub::Rotten;
use super::sums::has_md5;
use super::value::Place;

/// A blob that is whole but not committed: nobody sees it. Dropping it removes its file.
#[derive(Debug)]
pub struct Staged {
    pub(super) digest: Digest,
    pub(super) size_bytes: u64,
    pub(super) meta: Meta,
    pub(super) body: Body,
    pub(super) replaces: Option<Replaced>,
}

/// A stored copy of the same blob that isn't what it was: it goes with the commit that brings the new one.
#[derive(Debug)]
pub struct Replaced {
    /// Where it is; what lies elsewhere by then has been replaced already.
    pub place: Place,
    /// For whoever tells it.
    pub rotten: Rotten,
}

/// Where a staged blob's bytes are.
#[derive(Debug)]
pub enum Body {
    /// In memory, up to 1 MiB.
    Memory(Vec<Bytes>),
    /// In a sealed file of its own.
    Large(Arc<Part>),
}

impl Staged {
    /// A small blob that came whole from somebody else, if these are its bytes. `claimed` are the sums that its author
    /// stated. Hashes.
    pub fn verified(digest: Digest, bytes: Bytes, claimed: Checksums) -> Option<Staged> {
        if bytes.len() > GROUP_BYTES || Digest::of(&bytes) != digest {
            return None;
        }
        let meta = Meta { checksums: claimed, assurance: Assurance::Claimed };
        let size_bytes = bytes.len() as u64;
        Some(Staged { digest, size_bytes, meta, body: Body::Memory(vec![bytes]), replaces: None })
    }

    /// Its address.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.size_bytes
    }

    /// Its three sums.
    pub fn checksums(&self) -> Checksums {
        self.meta.checksums
    }

    /// Who vouches for them: uploads are confirmed, fills are claimed, and so are uploads whose MD5 was put off.
    pub fn assurance(&self) -> Assurance {
        self.meta.assurance
    }

    /// The stored copy of the same bytes that was found rotten when these came, and that they replace.
    pub fn replaces(&self) -> Option<&Rotten> {
        self.replaces.as_ref().map(|replaced| &replaced.rotten)
    }

    /// Whether its MD5 is still to be computed.
    pub(super) fn is_unsummed(&self) -> bool {
        !has_md5(&self.meta.checksums)
    }

    pub(super) fn memory_bytes(&self) -> u64 {
        match &self.body {
            Body::Memory(_) => self.size_bytes,
            Body::Large(_) => 0,
        }
    }
}
