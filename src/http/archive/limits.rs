//! What all archives together may take.

use std::sync::Arc;
use std::thread::available_parallelism;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::kind::Sums;
use super::zip::LINE_BYTES;
use crate::http::error::HttpError;
use crate::service::{Paths, ServiceError};

/// The largest directory of a zip: that of some 100,000 files.
const DIRECTORY_BYTES_MAX: u64 = 16 << 20;
/// All of them together.
const DIRECTORIES_BYTES_MAX: u64 = 64 << 20;
/// Above the names of a file, those of its sums: `.md5`, `.sha1` and `.sha256`.
const SUMS: (u64, u64) = (3, 16);

/// Shared by all archives.
///
/// # Why
/// A zip ends with a directory of all that is in it, which has to be kept meanwhile: the only part of an archive
/// that grows with what is in it. So the names in the folder are counted before the first byte, and room for them is taken out of
/// what there is for all.
#[derive(Debug)]
pub struct Limits {
    /// In KiB.
    directories: Arc<Semaphore>,
    /// Pieces that are compressed at the same time.
    pub turns: Arc<Semaphore>,
}

/// Room for a zip's directory, until it is dropped.
#[derive(Debug)]
pub struct Room {
    /// So much of it.
    pub bytes: usize,
    _permit: OwnedSemaphorePermit,
}

impl Default for Limits {
    fn default() -> Self {
        let processors = available_parallelism().map_or(1, usize::from);
        Limits {
            directories: Arc::new(Semaphore::new((DIRECTORIES_BYTES_MAX >> 10) as usize)),
            turns: Arc::new(Semaphore::new((processors / 2).max(1))),
        }
    }
}

impl Limits {
    /// The most files whose names need be counted: with one more there is no room.
    pub const FILES_MAX: u64 = DIRECTORY_BYTES_MAX / LINE_BYTES;

    /// Room for the directory of a zip with these names in it, and some more, for what is put meanwhile.
    pub fn room(&self, paths: Paths, sums: Sums) -> Result<Room, HttpError> {
        let (more, suffixes) = match sums {
            Sums::Beside => SUMS,
            Sums::Left => (0, 0),
        };
        let bytes = (paths.files * LINE_BYTES + paths.bytes) * (more + 1) + paths.files * suffixes;
        if bytes > DIRECTORY_BYTES_MAX {
            return Err(HttpError::Query {
                name: "archiveType",
                reason: "a zip can't have so many files here, for its directory is kept in memory: say tar or tar.gz",
            });
        }
        let bytes = bytes + bytes / 4 + (16 << 10);
        let permit = self.directories.clone().try_acquire_many_owned(bytes.div_ceil(1024) as u32);
        let busy = |_| {
            let text = "there is no room for another zip's directory: ask again in a while, or for archiveType=tar";
            ServiceError::Unavailable(text.into())
        };
        Ok(Room { bytes: bytes as usize, _permit: permit.map_err(busy)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::status::status_of;

    #[test]
    fn a_zip_of_too_many_files_is_refused_and_told_the_way_out() {
        let limits = Limits::default();
        let paths = |files, bytes| Paths { files, bytes };
        assert!(limits.room(paths(100_000, 6_000_000), Sums::Left).is_ok());
        for (paths, sums) in [(paths(100_000, 6_000_000), Sums::Beside), (paths(200_000, 200_000), Sums::Left)] {
            let error = limits.room(paths, sums).expect_err("too many");
            assert_eq!(status_of(&error).as_u16(), 400);
            assert!(error.to_string().contains("say tar"), "{error}");
        }
    }

    #[test]
    fn all_zips_together_have_a_bound_and_give_back_what_they_had() {
        let limits = Limits::default();
        let large = Paths { files: 100_000, bytes: 6_000_000 };
        let mut rooms: Vec<Room> = (0..3).map(|_| limits.room(large, Sums::Left).expect("room")).collect();
        let error = limits.room(large, Sums::Left).expect_err("no room");
        assert_eq!(status_of(&error).as_u16(), 503);
        limits.room(Paths { files: 1000, bytes: 60_000 }, Sums::Left).expect("small ones fit");
        rooms.pop();
        limits.room(large, Sums::Left).expect("room again");
    }
}
