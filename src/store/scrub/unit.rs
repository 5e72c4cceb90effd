//! Reads one pack or one large file as a whole.

use std::io;
use std::path::Path;
use std::time::Instant;

use artimesh_core::model::Digest;
use rustix::io::Errno;
use tokio::sync::oneshot;

use super::{Rotten, ScrubError, Unit};
use crate::store::batch::{Batch, Priority};
use crate::store::committer::{Request, Work};
use crate::store::compact::PackSource;
use crate::store::demand::Pace;
use crate::store::error::{CommitError, ReadError};
use crate::store::files::File;
use crate::store::groups::{self, GROUP_BYTES};
use crate::store::handle::Store;
use crate::store::large::{self, DATA_OFFSET};
use crate::store::pack;
use crate::store::pack::record::{Entry, HEADER_BYTES, META_BYTES, kind};
use crate::store::staged::{Body, Staged};
use crate::store::value::{BlobEntry, Place};

/// What was found in a unit.
#[derive(Default)]
pub struct Looked {
    /// Blobs that are lost here.
    pub rotten: Vec<Rotten>,
    /// Blobs that were mended.
    pub mended: u64,
    /// Other records that are unreadable.
    pub damaged_records: u64,
}

/// Verifies a unit; one that is gone meanwhile is right.
pub fn verify(store: &Store, unit: Unit, pace: &mut Pace<'_>) -> Result<Looked, ScrubError> {
    match unit {
        Unit::Pack(number) => verify_pack(store, number, pace),
        Unit::Large(number) => verify_large(store, number, pace),
    }
}

fn verify_pack(store: &Store, number: u64, pace: &mut Pace<'_>) -> Result<Looked, ScrubError> {
    let shared = store.shared();
    let mut looked = Looked::default();
    let path = pack::path(&shared.packs_folder(), number);
    let mark = shared.mark();
    let opened = if number < mark.pack {
        PackSource::open(shared, number)
    } else {
        PackSource::newest(shared, number, mark.offset)
    };
    let source = match opened {
        Ok(Some(source)) => source,
        Ok(None) => return Ok(looked),
        // It was compacted meanwhile, and merged with others.
        Err(_) if shared.is_hollow(number) => return Ok(looked),
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "a pack can't be read as a whole");
            looked.damaged_records += 1;
            return Ok(looked);
        }
    };
    for entry in &source.entries {
        if !is_right(&source, entry) {
            damaged(store, number, &path, entry, &mut looked)?;
        }
        if !pace.worked_a_little(HEADER_BYTES as u64 + u64::from(entry.payload_bytes)) {
            return Err(ScrubError::Stopping);
        }
    }
    Ok(looked)
}

fn is_right(source: &PackSource, entry: &Entry) -> bool {
    match source.payload(entry) {
        Ok(payload) if entry.kind == kind::BLOB => {
            payload.get(META_BYTES..).is_some_and(|bytes| Digest::of(bytes) == entry.key)
        }
        Ok(_) => true,
        Err(_) => false,
    }
}

/// What a damaged record means depends on whether it still counts.
fn damaged(store: &Store, pack: u64, path: &Path, entry: &Entry, looked: &mut Looked) -> Result<(), ScrubError> {
    let offset = entry.offset;
    if entry.kind != kind::BLOB {
        tracing::error!(
            path = %path.display(), offset, kind = entry.kind,
            "a record is damaged: the index has what it says, but it could not be built anew; back this node up, and restore it"
        );
        looked.damaged_records += 1;
        return Ok(());
    }
    let digest = entry.key;
    let Some(known) = store.shared().blob(&digest)? else { return Ok(()) };
    let bytes_at = entry.offset + (HEADER_BYTES + META_BYTES) as u64;
    match &known.place {
        Place::Pack(extent) if (extent.pack, extent.offset) == (pack, bytes_at) => {
            let size_bytes = known.size_bytes();
            looked.rotten.push(Rotten { digest, size_bytes, path: path.to_path_buf(), file: None });
        }
        Place::Inline(bytes) if Digest::of(bytes) == digest => {
            if store.shared().note_mended(pack, offset) {
                mend(store, &digest, &known)?;
                looked.mended += 1;
            }
        }
        Place::Inline(_) | Place::Pack(_) | Place::Large { .. } => {}
    }
    Ok(())
}

/// Writes a tiny blob once more, out of the index.
fn mend(store: &Store, digest: &Digest, known: &BlobEntry) -> Result<(), CommitError> {
    let Place::Inline(bytes) = &known.place else { return Ok(()) };
    let staged = Staged {
        digest: *digest,
        size_bytes: bytes.len() as u64,
        meta: known.meta,
        body: Body::Memory(vec![bytes.clone()]),
        replaces: None,
    };
    let (reply, answer) = oneshot::channel();
    let batch = Batch { blobs: vec![staged], dropped: vec![*digest], priority: Priority::Vital, ..Batch::default() };
    let work =
        Work::Commit(Request { batch, confirmed: Vec::new(), settled: Vec::new(), since: Instant::now(), reply });
    store.queue()?.blocking_send(work).map_err(|_| CommitError::Closed)?;
    answer.blocking_recv().map_err(|_| CommitError::Closed)??;
    Ok(())
}

fn verify_large(store: &Store, number: u64, pace: &mut Pace<'_>) -> Result<Looked, ScrubError> {
    let shared = store.shared();
    let path = large::path(&shared.large_folder(), number, "blob");
    let mut looked = Looked::default();
    let header = match shared.files.open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(looked),
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "a large file can't be opened");
            if !is_of_the_disk(&error) {
                looked.damaged_records += 1;
                return Ok(looked);
            }
            None
        }
        Ok(file) => match large::Header::read(file.as_ref()) {
            Some(header) if is_large_right(file.as_ref(), &header, pace)? => return Ok(looked),
            header => header,
        },
    };
    // A header that can't be read names nobody: then the index is gone through.
    let owner = match header {
        Some(header) if has(store, &header.digest, number)? => Some(header.digest),
        _ => owner_of(store, number)?,
    };
    if let Some(digest) = owner {
        let size_bytes = shared.blob(&digest)?.map_or(0, |known| known.size_bytes());
        looked.rotten.push(Rotten { digest, size_bytes, path, file: Some(number) });
    }
    Ok(looked)
}

/// Whether an error says that what the disk holds can't be had any more. Else it is the process that lacks something, such as
/// file descriptors or memory, and the bytes are as good as they were.
fn is_of_the_disk(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::IO | Errno::UCLEAN | Errno::BADMSG | Errno::NODATA))
}

fn is_large_right(file: &dyn File, header: &large::Header, pace: &mut Pace<'_>) -> Result<bool, ScrubError> {
    let table = large::read_table(file, &header.digest, header.size_bytes).ok().flatten();
    let Some(values) = table else { return Ok(false) };
    for index in 0..groups::count(header.size_bytes) {
        let mut group = vec![0; groups::length(index, header.size_bytes)];
        let read = file.read_at(&mut group, DATA_OFFSET + u64::from(index) * GROUP_BYTES as u64);
        if read.is_err() || !groups::matches(&header.digest, &values, index, &group) {
            return Ok(false);
        }
        if !pace.worked(group.len() as u64) {
            return Err(ScrubError::Stopping);
        }
    }
    Ok(true)
}

fn has(store: &Store, digest: &Digest, file: u64) -> Result<bool, ReadError> {
    let known = store.shared().blob(digest)?;
    Ok(known.is_some_and(|known| matches!(known.place, Place::Large { file: its, .. } if its == file)))
}

/// The blob that has this large file.
fn owner_of(store: &Store, file: u64) -> Result<Option<Digest>, ReadError> {
    const PAGE: usize = 1024;
    let mut from = Digest::ZERO;
    loop {
        let page = store.blobs(&from, PAGE)?;
        for (digest, size_bytes) in &page {
            if *size_bytes > GROUP_BYTES as u64 && has(store, digest, file)? {
                return Ok(Some(*digest));
            }
        }
        match page.last() {
            // The last one is looked at twice; a page of one alone is the end.
            Some((last, _)) if page.len() == PAGE => from = *last,
            _ => return Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_disk_lost_counts_as_rotten() {
        assert!([Errno::IO, Errno::UCLEAN, Errno::BADMSG].into_iter().all(|code| is_of_the_disk(&code.into())));
        let others = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::ACCESS];
        assert!(!others.into_iter().any(|code| is_of_the_disk(&code.into())));
        assert!(!is_of_the_disk(&io::Error::other("anything")));
    }
}
