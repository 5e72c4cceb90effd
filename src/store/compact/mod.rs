//! Compaction: what packs hold that nothing refers to any more gives its space back.
//!
//! A sealed pack of which little is live is read; what is live of it is repeated in the newest pack, by the committer, so
//! that the decision is one with the commit; and when that is durable a *hollow* pack takes the old one's place: the same
//! header, and a footer that lists nothing but says which commit was the last. So the rule by which an open notices that
//! a pack is missing or ends early, consecutive commits, holds without an exception, and readers that have the old file
//! open go on with it.
//!
//! Hollow packs that follow each other are *merged* once they are [`RUN_MIN`]: one of them says that it stands for the
//! others, which are removed. So there are at most a few for each pack that holds anything, and not one for each that there
//! ever was.
//!
//! # Why
//! - **Deletes are repeated, too,** as long as an older pack is there that could bring back what they deleted, when the
//!   index is built anew from the packs. In the oldest pack that still holds anything they have done their work.
//! - **Only packs before the index's checkpoint.** An index that is found after a crash is at that checkpoint or earlier. If
//!   it is in a pack that is hollow now, the index is built anew; else every pack before that one is as it was, or what
//!   it said is repeated behind the checkpoint.
//! - **Less than half live** means that each byte that is copied frees more than one; a store takes at most twice what it
//!   holds.

mod hollow;
mod source;
mod survey;

use std::sync::TryLockError;
use std::sync::atomic::Ordering;

use artimesh_core::model::Digest;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use super::carry::{Carried, Carry, Item};
use super::committer::Work;
use super::demand::Pace;
use super::error::{CommitError, CompactError, ReadError};
use super::handle::Store;
use super::pack::record::{Entry, HEADER_BYTES, META_BYTES, kind};
use super::pack::{self, HOLLOW_PACK_BYTES};
use super::value::Place;
pub(in crate::store) use source::PackSource;

/// So much is read and repeated at a time: commits wait no longer than that takes.
const PIECE_BYTES: u64 = 2 << 20;
/// So many records are.
const PIECE_ITEMS: usize = 1000;

/// So many hollow packs that follow each other become one. Each merge costs two syncs, and a store in which none was merged
/// can be opened by earlier releases.
const RUN_MIN: usize = 8;

/// What is compacted, and how fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compaction {
    /// Packs of which less than this is live.
    pub live_percent: u8,
    /// At most so many bytes are read in a second.
    pub bytes_per_s: Option<u64>,
    /// Nothing is changed: only what would be is counted.
    pub is_dry: bool,
}

impl Default for Compaction {
    fn default() -> Self {
        Compaction { live_percent: 50, bytes_per_s: None, is_dry: false }
    }
}

/// What a compaction found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Sealed packs that were looked at, hollow ones apart.
    pub packs: u64,
    /// Their bytes.
    pub pack_bytes: u64,
    /// How many of these are live.
    pub live_bytes: u64,
    /// Packs that were, or would be, compacted.
    pub compacted: u64,
    /// The space that gave back, or would, apart from what was repeated.
    pub freed_bytes: u64,
    /// What was repeated.
    pub carried: Carried,
    /// Files of packs that hold nothing, fewer than there were before they were merged.
    pub merged: u64,
    /// Packs that can't be compacted, with the place of the record that is damaged.
    pub damaged: Vec<(u64, u64)>,
    /// A backup is being made: packs wait for its end.
    pub waits_for_backup: bool,
}

impl Store {
    /// Compacts what is worth it, one pack after the other. Steps aside for commits and readers. A dropped call goes on in
    /// the background until the store is closed; only one runs at a time.
    pub async fn compact(&self, compaction: Compaction) -> Result<Compacted, CompactError> {
        let store = self.clone();
        spawn_blocking(move || store.compact_here(compaction)).await.map_err(|_| CommitError::Closed)?
    }

    /// The same, in this thread. Blocks; not to be called where futures run.
    pub fn compact_here(&self, compaction: Compaction) -> Result<Compacted, CompactError> {
        let turn = self.shared().compacting.try_lock();
        if matches!(turn, Err(TryLockError::WouldBlock)) {
            return Err(CompactError::Busy);
        }
        Compactor { store: self, compaction }.run()
    }
}

struct Compactor<'a> {
    store: &'a Store,
    compaction: Compaction,
}

/// By the size of its file: no pack that holds anything is as small.
fn is_hollow(bytes: u64) -> bool {
    bytes <= HOLLOW_PACK_BYTES
}

impl Compactor<'_> {
    fn run(&self) -> Result<Compacted, CompactError> {
        let shared = self.store.shared();
        let mut done = Compacted::default();
        let mut pace = Pace::new(&shared.demand, self.compaction.bytes_per_s);
        let mut is_oldest = true;
        for (number, _) in self.packs()? {
            let Some(source) = PackSource::open(shared, number)? else { continue };
            let survey = match survey::look(shared, &source, !is_oldest, &mut pace) {
                Err(CompactError::Damaged { pack, offset }) => {
                    tracing::error!(pack, offset, "a record is damaged: its pack is not compacted");
                    done.damaged.push((pack, offset));
                    is_oldest = false;
                    continue;
                }
                other => other?,
            };
            done.packs += 1;
            done.pack_bytes += survey.bytes;
            done.live_bytes += survey.live_bytes;
            let is_worth_it = survey.live_bytes * 100 < survey.bytes * u64::from(self.compaction.live_percent);
            let was_compacted = is_worth_it && self.compact(&source, !is_oldest, &mut pace, &mut done)?;
            is_oldest &= was_compacted;
        }
        if !self.compaction.is_dry {
            self.merge(&mut pace, &mut done)?;
        }
        Ok(done)
    }

    /// The packs that may be compacted, with their sizes.
    fn packs(&self) -> Result<Vec<(u64, u64)>, ReadError> {
        let shared = self.store.shared();
        let (folder, end) = (shared.packs_folder(), shared.indexed_pack.load(Ordering::Acquire));
        let listed = shared.files.list(&folder).map_err(ReadError::io(&folder))?;
        let packs = listed.iter().filter_map(|file| Some((pack::number_of(&file.name, "pack")?, file.bytes)));
        Ok(packs.filter(|(number, _)| *number < end).collect())
    }

    /// Merges what is hollow.
    fn merge(&self, pace: &mut Pace<'_>, done: &mut Compacted) -> Result<(), CompactError> {
        let packs = self.packs()?;
        for run in packs.chunk_by(|(_, one), (_, other)| is_hollow(*one) == is_hollow(*other)) {
            if run.len() < RUN_MIN || !is_hollow(run[0].1) {
                continue;
            }
            match hollow::merge(self.store.shared(), run)? {
                0 => done.waits_for_backup = true,
                fewer => done.merged += fewer,
            }
            if !pace.worked(run.len() as u64 * HOLLOW_PACK_BYTES) {
                return Err(CommitError::Closed.into());
            }
        }
        Ok(())
    }

    /// Says whether the pack is hollow now, or would be.
    fn compact(
        &self,
        source: &PackSource,
        keeps_deletes: bool,
        pace: &mut Pace<'_>,
        done: &mut Compacted,
    ) -> Result<bool, CompactError> {
        let shared = self.store.shared();
        if !self.compaction.is_dry {
            if *shared.removal.pins() > 0 {
                done.waits_for_backup = true;
                return Ok(false);
            }
            match self.carry(source, keeps_deletes, pace) {
                Ok(carried) => {
                    done.carried.records += carried.records;
                    done.carried.bytes += carried.bytes;
                }
                Err(CompactError::Damaged { pack, offset }) => {
                    tracing::error!(pack, offset, "a record is damaged: its pack is not compacted");
                    done.damaged.push((pack, offset));
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
            if !hollow::replace(shared, source)? {
                done.waits_for_backup = true;
                return Ok(false);
            }
            tracing::debug!(pack = source.number, "compacted");
        }
        done.compacted += 1;
        done.freed_bytes += source.file_bytes;
        Ok(true)
    }

    /// Reads the pack and has what is current repeated, a piece at a time.
    fn carry(&self, source: &PackSource, keeps_deletes: bool, pace: &mut Pace<'_>) -> Result<Carried, CompactError> {
        let mut carried = Carried::default();
        let (mut items, mut bytes) = (Vec::new(), 0);
        for entry in &source.entries {
            bytes += entry.payload_bytes as u64;
            match source.items(entry, &mut items) {
                Err(CompactError::Damaged { pack, offset }) if entry.kind == kind::BLOB => {
                    let saved = self.save(pack, entry)?.ok_or(CompactError::Damaged { pack, offset })?;
                    items.extend(saved);
                }
                other => other?,
            }
            if bytes >= PIECE_BYTES || items.len() >= PIECE_ITEMS {
                self.hand_over(source.number, std::mem::take(&mut items), keeps_deletes, &mut carried)?;
                if !pace.worked(std::mem::take(&mut bytes)) {
                    return Err(CommitError::Closed.into());
                }
            }
        }
        // Even when nothing is left: the number of blobs must be written down behind the pack.
        self.hand_over(source.number, items, keeps_deletes, &mut carried)?;
        Ok(carried)
    }

    /// What is to be repeated of a blob whose record is damaged: nothing when it doesn't count, what the index has of a
    /// tiny one; `None` when the blob is lost with it.
    fn save(&self, pack: u64, entry: &Entry) -> Result<Option<Option<Item>>, CompactError> {
        let digest = entry.key;
        let offset = entry.offset + (HEADER_BYTES + META_BYTES) as u64;
        Ok(match self.store.shared().blob(&digest)?.map(|known| known.place) {
            Some(Place::Pack(extent)) if (extent.pack, extent.offset) == (pack, offset) => None,
            Some(Place::Inline(bytes)) if Digest::of(&bytes) == digest => {
                Some(Some(Item::Blob { digest, offset, bytes }))
            }
            Some(Place::Inline(_)) => None,
            Some(Place::Pack(_) | Place::Large { .. }) | None => Some(None),
        })
    }

    fn hand_over(
        &self,
        pack: u64,
        items: Vec<Item>,
        keeps_deletes: bool,
        carried: &mut Carried,
    ) -> Result<(), CompactError> {
        let (reply, answer) = oneshot::channel();
        let queue = self.store.queue()?;
        let carry = Work::Carry(Carry { pack, items, keeps_deletes, reply });
        queue.blocking_send(carry).map_err(|_| CommitError::Closed)?;
        drop(queue);
        let more = answer.blocking_recv().map_err(|_| CommitError::Closed)??;
        carried.records += more.records;
        carried.bytes += more.bytes;
        Ok(())
    }
}
