//! Scrubbing: all that is at rest is read and hashed again, before somebody needs it and finds that it rotted.
//!
//! Packs and large files are units; the one that was verified longest ago comes first, so that a pass that is cut short is
//! gone on with. When each was verified is written down ([`verified`]).
//!
//! What rotted is told to the caller, who knows whether others have it. A blob of which the index has a copy of its own is
//! mended here.

mod unit;
mod verified;

use std::path::PathBuf;
use std::sync::TryLockError;

use artimesh_core::model::Digest;

use super::demand::Pace;
use super::error::{CommitError, ReadError};
use super::handle::Store;
use super::pack;
use super::value::Place;
pub use verified::Unit;
pub(in crate::store) use verified::Verified;

/// What is scrubbed, and how fast.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scrub {
    /// At most so many bytes are read in a second.
    pub bytes_per_s: Option<u64>,
    /// Only what wasn't verified since this time, in milliseconds since 1970; else everything.
    pub due_before_ms: Option<u64>,
}

/// A blob whose bytes aren't what they were, or can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotten {
    /// Which.
    pub digest: Digest,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// The file that holds it.
    pub path: PathBuf,
    /// Its large file, if it has one.
    pub file: Option<u64>,
}

/// What a scrub has done, or is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// It runs.
    pub is_running: bool,
    /// When it began, in milliseconds since 1970.
    pub began_ms: u64,
    /// When it ended.
    pub ended_ms: Option<u64>,
    /// Bytes of packs and large files that it is to read.
    pub bytes: u64,
    /// Those that it has read.
    pub done_bytes: u64,
    /// Packs and large files that were verified.
    pub units: u64,
    /// Blobs that rotted.
    pub rotten: u64,
    /// Tiny blobs that were mended out of the index.
    pub mended: u64,
    /// Other records that are damaged: the index has what they say, but it can't be built anew without them.
    pub damaged_records: u64,
    /// When the unit that wasn't verified for longest was, as of the end; `None` when one never was.
    pub oldest_ms: Option<u64>,
}

/// A scrub came to no end.
#[derive(Debug, thiserror::Error)]
pub enum ScrubError {
    /// Another one runs.
    #[error("the store is being scrubbed already")]
    Busy,
    /// The store is being closed.
    #[error("the node is stopping")]
    Stopping,
    /// A folder or the index can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What was found can't be written down.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl Store {
    /// Verifies what is at rest, and tells `found` what rotted, unit by unit. Steps aside for commits and readers. Blocks; not
    /// to be called where futures run.
    pub fn scrub_here(&self, scrub: Scrub, found: &mut dyn FnMut(&[Rotten])) -> Result<Scrubbed, ScrubError> {
        let shared = self.shared();
        let turn = shared.scrubbing.try_lock();
        if matches!(turn, Err(TryLockError::WouldBlock)) {
            return Err(ScrubError::Busy);
        }
        self.scrub_begins();
        let outcome = self.scrub_all(scrub, found);
        shared.note_scrub(|now| {
            now.is_running = false;
            now.ended_ms = Some((shared.options.clock)());
        });
        outcome.map(|()| shared.scrubbed())
    }

    /// From now on it is told that a scrub runs, which is about to be started.
    pub fn scrub_begins(&self) {
        let began_ms = (self.shared().options.clock)();
        self.shared().note_scrub(|now| *now = Scrubbed { is_running: true, began_ms, ..Scrubbed::default() });
    }

    fn scrub_all(&self, scrub: Scrub, found: &mut dyn FnMut(&[Rotten])) -> Result<(), ScrubError> {
        self.release_spoiled()?;
        let mut units = self.units()?;
        units.sort_by_key(|(unit, _)| self.verified().of(*unit));
        let now_ms = (self.shared().options.clock)();
        let is_due = |(unit, _): &&(Unit, u64)| match (self.verified().of(*unit), scrub.due_before_ms) {
            // A time that is yet to come was written by a clock that was wrong.
            (Some(at_ms), Some(due_ms)) => at_ms < due_ms || at_ms > now_ms,
            (None, _) | (_, None) => true,
        };
        let due: Vec<(Unit, u64)> = units.iter().filter(is_due).copied().collect();
        let bytes = due.iter().map(|(_, bytes)| bytes).sum();
        self.shared().note_scrub(|now| now.bytes = bytes);
        let outcome = self.scrub_units(&due, scrub.bytes_per_s, found);
        self.save_verified(&units);
        let oldest = units.iter().map(|(unit, _)| self.verified().of(*unit)).min().flatten();
        self.shared().note_scrub(|now| now.oldest_ms = oldest);
        outcome
    }

    /// What the scrub that runs, or ran last since the start, has done.
    pub fn scrubbed(&self) -> Scrubbed {
        self.shared().scrubbed()
    }

    /// When the file that holds a blob was last verified as a whole, in milliseconds since 1970; `None` when it never was,
    /// or when the blob is in the index or isn't there.
    pub fn verified_ms(&self, digest: &Digest) -> Result<Option<u64>, ReadError> {
        let unit = match self.shared().blob(digest)?.map(|known| known.place) {
            Some(Place::Pack(extent)) => Unit::Pack(extent.pack),
            Some(Place::Large { file, .. }) => Unit::Large(file),
            Some(Place::Inline(_)) | None => return Ok(None),
        };
        Ok(self.verified().of(unit))
    }

    /// Packs and large files, with their sizes.
    fn units(&self) -> Result<Vec<(Unit, u64)>, ReadError> {
        let shared = self.shared();
        let mark = shared.mark();
        let (packs, large) = (shared.packs_folder(), shared.large_folder());
        let mut units = Vec::new();
        for file in shared.files.list(&packs).map_err(ReadError::io(&packs))? {
            let number = pack::number_of(&file.name, "pack").filter(|number| *number <= mark.pack);
            units.extend(number.map(|number| (Unit::Pack(number), file.bytes)));
        }
        for file in shared.files.list(&large).map_err(ReadError::io(&large))? {
            let number = pack::number_of(&file.name, "blob");
            let number = number.filter(|number| *number < mark.next_file && !mark.open_files.contains(number));
            units.extend(number.map(|number| (Unit::Large(number), file.bytes)));
        }
        Ok(units)
    }

    fn scrub_units(
        &self,
        units: &[(Unit, u64)],
        bytes_per_s: Option<u64>,
        found: &mut dyn FnMut(&[Rotten]),
    ) -> Result<(), ScrubError> {
        let shared = self.shared();
        let mut pace = Pace::new(&shared.demand, bytes_per_s);
        for (position, (unit, bytes)) in units.iter().enumerate() {
            let looked = unit::verify(self, *unit, &mut pace)?;
            let is_right = looked.rotten.is_empty() && looked.damaged_records == 0;
            shared.note_scrub(|now| {
                now.done_bytes += bytes;
                now.units += 1;
                now.rotten += looked.rotten.len() as u64;
                now.mended += looked.mended;
                now.damaged_records += looked.damaged_records;
            });
            if is_right {
                self.set_verified(*unit, (shared.options.clock)());
            } else if !looked.rotten.is_empty() {
                found(&looked.rotten);
            }
            if position % 256 == 255 {
                self.save_verified(&self.units()?);
            }
        }
        Ok(())
    }
}
