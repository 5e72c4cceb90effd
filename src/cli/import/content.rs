//! The bytes of a file on their way, piece by piece, hashed as they pass.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use artimesh_core::model::ArtifactPath;
use bytes::Bytes;
use futures::{Stream, stream};
use http_body_util::BodyExt as _;
use hyper::Response;
use hyper::body::Incoming;
use rustix::fs::{CWD, Mode, OFlags, openat};
use sha2::{Digest as _, Sha256};

use super::failure::{Failure, Remedy};
use crate::cli::client::ANSWER_TIMEOUT;

/// Pieces of it.
pub(in crate::cli) type Pieces = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send + Sync>>;

/// What is sent.
pub(in crate::cli) struct Content {
    /// Bytes, if that is known beforehand.
    pub(in crate::cli) size: Option<u64>,
    pub(in crate::cli) pieces: Pieces,
    pub(in crate::cli) witness: Witness,
}

/// What is known of the bytes that passed.
#[derive(Clone, Default)]
pub(in crate::cli) struct Witness(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    hasher: Sha256,
    broken: Option<Failure>,
}

impl Witness {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn breaks(&self, failure: Failure) -> io::Error {
        let error = io::Error::other(failure.reason.clone());
        self.seen().broken = Some(failure);
        error
    }

    /// Why no more came, if it broke off.
    pub(in crate::cli) fn broken(&self) -> Option<Failure> {
        self.seen().broken.clone()
    }

    /// The SHA-256 of all that passed, in hexadecimal.
    pub(in crate::cli) fn sha256(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.seen().hasher.clone().finalize())
    }
}

impl Content {
    /// Lets all pass that is left, for the sake of its sum.
    pub(in crate::cli) async fn drain(mut self) -> Result<String, Failure> {
        while let Some(piece) = futures::StreamExt::next(&mut self.pieces).await {
            if let Err(error) = piece {
                return Err(self.witness.broken().unwrap_or_else(|| Failure::new(Remedy::Leave, error)));
            }
        }
        Ok(self.witness.sha256())
    }

    /// What a server answers: so many bytes as it listed, or a failure.
    pub(in crate::cli) fn of_response(response: Response<Incoming>, size: u64) -> Content {
        let witness = Witness::default();
        let start = (response.into_body(), witness.clone(), size);
        let pieces = stream::try_unfold(start, |(mut body, witness, left)| async move {
            loop {
                let frame = match tokio::time::timeout(ANSWER_TIMEOUT, body.frame()).await {
                    Ok(frame) => frame.transpose().map_err(|error| error.to_string()),
                    Err(_) => Err("nothing came for a minute".to_owned()),
                };
                let broke_off =
                    |why: String| witness.breaks(Failure::new(Remedy::Wait, format!("the source broke off: {why}")));
                let Some(frame) = frame.map_err(broke_off)? else {
                    if left == 0 {
                        return Ok::<_, io::Error>(None);
                    }
                    let reason = format!("{left} bytes less came from the source than it listed");
                    return Err(witness.breaks(Failure::new(Remedy::Again, reason)));
                };
                if let Ok(piece) = frame.into_data()
                    && !piece.is_empty()
                {
                    let Some(left) = left.checked_sub(piece.len() as u64) else {
                        let reason = "it is longer at the source than it was listed";
                        return Err(witness.breaks(Failure::new(Remedy::Leave, reason)));
                    };
                    witness.seen().hasher.update(&piece);
                    return Ok(Some((piece, (body, witness, left))));
                }
            }
        });
        Content { size: Some(size), pieces: Box::pin(pieces), witness }
    }

    /// A file of a tree, and when it was modified. Its last piece comes only if it hasn't changed meanwhile: a node never gets
    /// the whole of a mixture.
    pub(in crate::cli) async fn of_file(
        root: &Path,
        path: &ArtifactPath,
        piece_bytes: usize,
    ) -> Result<(Content, SystemTime), Failure> {
        let (root, path) = (root.to_owned(), path.clone());
        let opened = tokio::task::spawn_blocking(move || Reader::open(&root, &path, piece_bytes)).await;
        let reader = opened.map_err(|error| Failure::new(Remedy::Leave, error))??;
        let (size, modified, witness) = (reader.size, reader.modified, reader.witness.clone());
        let pieces = stream::try_unfold(reader, |reader| async move {
            let (reader, piece) = match reader {
                Reader { ready: Some(_), .. } | Reader { left: 0, .. } => reader.step(),
                _ => tokio::task::spawn_blocking(move || reader.step()).await.map_err(io::Error::other)?,
            };
            Ok::<_, io::Error>(piece?.map(|piece| (piece, reader)))
        });
        Ok((Content { size: Some(size), pieces: Box::pin(pieces), witness }, modified))
    }
}

/// The SHA-256 of a file, in hexadecimal. Blocks.
pub(in crate::cli) fn sum_of_file(root: &Path, path: &ArtifactPath, piece_bytes: usize) -> Result<String, Failure> {
    let mut reader = Reader::open(root, path, piece_bytes)?;
    let witness = reader.witness.clone();
    loop {
        let (next, piece) = reader.step();
        reader = next;
        match piece {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(witness.sha256()),
            Err(error) => return Err(witness.broken().unwrap_or_else(|| Failure::new(Remedy::Leave, error))),
        }
    }
}

/// Opens a file that is below a folder. Where a link stands by now, on any level, it isn't followed: who may write in the tree
/// could make anything an artifact. Nor is a pipe waited for.
fn open_beneath(root: &Path, path: &ArtifactPath) -> io::Result<File> {
    let folder = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = openat(CWD, root, folder, Mode::empty())?;
    let (folders, name) = path.as_str().rsplit_once('/').unwrap_or(("", path.as_str()));
    for segment in folders.split('/').filter(|segment| !segment.is_empty()) {
        at = openat(&at, segment, folder | OFlags::NOFOLLOW, Mode::empty())?;
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(openat(&at, name, flags, Mode::empty())?))
}

/// Reads a file from its beginning to the size that it had then.
struct Reader {
    file: File,
    size: u64,
    modified: SystemTime,
    left: u64,
    piece_bytes: usize,
    /// What was read already.
    ready: Option<Bytes>,
    witness: Witness,
}

impl Reader {
    /// Opens it, and reads the first piece: most files have no more.
    fn open(root: &Path, path: &ArtifactPath, piece_bytes: usize) -> Result<Reader, Failure> {
        let unreadable = |error: io::Error| Failure::new(Remedy::Leave, error);
        let file = open_beneath(root, path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(Failure::new(Remedy::Leave, "it is no file any more"));
        }
        let modified = metadata.modified().map_err(unreadable)?;
        let (size, witness) = (metadata.len(), Witness::default());
        let mut reader = Reader { file, size, modified, left: size, piece_bytes, ready: None, witness };
        let first = reader.read().map_err(|error| reader.witness.broken().unwrap_or_else(|| unreadable(error)))?;
        reader.ready = first;
        Ok(reader)
    }

    fn step(mut self) -> (Reader, io::Result<Option<Bytes>>) {
        let piece = match self.ready.take() {
            Some(ready) => Ok(Some(ready)),
            None => self.read(),
        };
        (self, piece)
    }

    fn read(&mut self) -> io::Result<Option<Bytes>> {
        let wanted = self.left.min(self.piece_bytes as u64);
        if wanted == 0 {
            return Ok(None);
        }
        let mut piece = Vec::with_capacity(wanted as usize);
        let read = (&self.file).take(wanted).read_to_end(&mut piece);
        let read = read.map_err(|error| self.witness.breaks(Failure::new(Remedy::Leave, error)))?;
        self.left -= read as u64;
        if read as u64 != wanted || (self.left == 0 && self.has_changed()?) {
            return Err(self.witness.breaks(Failure::new(Remedy::Again, "it changed while it was read")));
        }
        self.witness.seen().hasher.update(&piece);
        Ok(Some(piece.into()))
    }

    fn has_changed(&self) -> io::Result<bool> {
        let metadata = self.file.metadata()?;
        Ok(metadata.len() != self.size || metadata.modified()? != self.modified)
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;

    use super::*;

    #[tokio::test]
    async fn a_file_passes_whole_and_is_hashed_on_the_way() {
        let folder = tempfile::tempdir().unwrap();
        for size in [0, 1, 10_000, 65_536] {
            let bytes: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
            std::fs::write(folder.path().join(format!("{size}")), &bytes).unwrap();
            let path = format!("{size}").parse().unwrap();
            let (content, _) = Content::of_file(folder.path(), &path, 4096).await.unwrap();
            assert_eq!(content.size, Some(size));
            let expected = data_encoding::HEXLOWER.encode(&Sha256::digest(&bytes));
            assert_eq!(content.drain().await.unwrap(), expected, "{size}");
        }
    }

    #[tokio::test]
    async fn the_last_piece_of_a_file_that_changes_never_comes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        for change in [&b"shorter"[..], &[7; 20_000]] {
            std::fs::write(&path, [1; 10_000]).unwrap();
            let (mut content, _) = Content::of_file(folder.path(), &"x".parse().unwrap(), 4096).await.unwrap();
            std::fs::write(&path, change).unwrap();
            let mut came = 0;
            let error = loop {
                match content.pieces.next().await.expect("no clean end") {
                    Ok(piece) => came += piece.len(),
                    Err(error) => break error,
                }
            };
            assert!(came < 10_000 && error.to_string().contains("changed"), "{came} bytes, then {error}");
            assert_eq!(content.witness.broken().unwrap().remedy, Remedy::Again);
        }
    }

    #[tokio::test]
    async fn a_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("link");
        std::os::unix::fs::symlink("/etc/hostname", path).unwrap();
        std::os::unix::fs::symlink("/etc", folder.path().join("etc")).unwrap();
        for path in ["link", "etc/hostname"] {
            assert!(Content::of_file(folder.path(), &path.parse().unwrap(), 4096).await.is_err());
        }
    }
}
