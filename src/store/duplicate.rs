//! An upload of bytes that the store has already.
//!
//! # Why
//! Equal bytes are stored once: a second upload is acknowledged for what the first one stored. Should that have rotted
//! meanwhile, unnoticed, the acknowledged bytes would exist nowhere, though they were just here. So a stored copy that wasn't
//! verified within `verify_max_age`, by a download or a scrub, is read and hashed before it stands for an upload; and one
//! that isn't what it was goes, with the commit that brings the new bytes. Whoever uploads the same again and again waits
//! for that once.

use std::sync::Arc;

use artimesh_core::model::Digest;
use tokio::task::spawn_blocking;

use super::account::{Account, Part};
use super::error::{CommitError, ReadError};
use super::large;
use super::pack;
use super::reader::BlobReader;
use super::scrub::{Rotten, Unit};
use super::shared::Shared;
use super::staged::Replaced;
use super::value::{BlobEntry, Place};

/// The stored copy of a blob, if there is one that isn't what it was.
pub async fn find_rotten(
    shared: &Arc<Shared>,
    digest: &Digest,
    account: &Account,
) -> Result<Option<Replaced>, CommitError> {
    let failed = |error: ReadError| CommitError::Failed { reason: error.to_string() };
    let Some((entry, opened)) = shared.settled(|| open(shared, digest)).map_err(failed)? else { return Ok(None) };
    let verified = match opened {
        Ok(reader) if was_verified_lately(shared, &entry, &reader) => return Ok(None),
        Ok(reader) => {
            let permit = account.during(Part::Queue, shared.outflow.permit()).await.map_err(failed)?;
            let verify = move || {
                let _permit = permit;
                reader.verify_whole()
            };
            account.during(Part::Disk, spawn_blocking(verify)).await.map_err(|_| CommitError::Closed)?
        }
        Err(error) => Err(error),
    };
    match verified {
        Ok(()) => Ok(None),
        Err(error @ ReadError::Index(_)) => Err(failed(error)),
        Err(error) => {
            tracing::error!(%digest, %error, "a stored blob rotted: what was just uploaded takes its place");
            Ok(Some(replaced(shared, digest, entry)))
        }
    }
}

type Opened = (BlobEntry, Result<BlobReader, ReadError>);

/// The copy that counts now; `None` when it has just moved.
fn open(shared: &Shared, digest: &Digest) -> Result<Option<Option<Opened>>, ReadError> {
    let Some(entry) = shared.blob(digest)? else { return Ok(Some(None)) };
    let opened = BlobReader::new(shared, digest, &entry).transpose();
    Ok(opened.map(|opened| Some((entry, opened))))
}

fn was_verified_lately(shared: &Shared, entry: &BlobEntry, reader: &BlobReader) -> bool {
    let scrubbed_ms = match entry.place {
        Place::Pack(extent) => shared.verified().of(Unit::Pack(extent.pack)),
        Place::Large { file, .. } => shared.verified().of(Unit::Large(file)),
        Place::Inline(_) => None,
    };
    let now_ms = (shared.options.clock)();
    // A time that is yet to come was written by a clock that was wrong.
    let age_ms = scrubbed_ms.and_then(|scrubbed_ms| now_ms.checked_sub(scrubbed_ms));
    let is_young = age_ms.is_some_and(|age_ms| u128::from(age_ms) < shared.options.verify_max_age.as_millis());
    is_young || reader.was_verified_lately()
}

fn replaced(shared: &Shared, digest: &Digest, entry: BlobEntry) -> Replaced {
    let (path, file) = match &entry.place {
        Place::Inline(_) => ("index".into(), None),
        Place::Pack(extent) => (pack::path(&shared.packs_folder(), extent.pack), None),
        Place::Large { file, .. } => (large::path(&shared.large_folder(), *file, "blob"), Some(*file)),
    };
    let rotten = Rotten { digest: *digest, size_bytes: entry.size_bytes(), path, file };
    Replaced { place: entry.place, rotten }
}
