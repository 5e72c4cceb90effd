//! Blobs whose MD5 was put off, or not claimed by whoever put it off: listed, and completed one after the other.
//!
//! # Why
//! - A blob enters the list with the commit that brings it, and leaves it with the one that confirms its sums. So neither
//!   a crash nor a full queue can forget it, and an open store knows without looking at all its blobs.
//! - What was removed or confirmed otherwise stays listed until somebody looks: the removal of blobs needs no look-up for it.
//!   Whether it may leave the list is decided by the committer, behind whom nothing changes.
//! - One thread at a time hashes, and steps aside for commits and readers: who put MD5 off wants the processor for them.

use std::collections::HashSet;

use artimesh_core::model::{Assurance, Checksums, Digest};
use tokio::task::spawn_blocking;

use super::batch::Tree;
use super::confirm::{compare, computed_here};
use super::demand::Pace;
use super::error::{ConfirmError, ReadError};
use super::handle::Store;
use super::pack::record::Meta;

/// Prefix of the list's keys, among the rows about the node. A digest follows.
const PREFIX: &[u8] = b"unsummed/";
/// Behind all of them.
const END: &[u8] = b"unsummed0";
/// Blobs that are looked at in one go.
const BLOBS_MAX: usize = 64;
/// After so many bytes what was computed is committed.
const BYTES_MAX: u64 = 64 << 20;

/// The key under which a blob is listed.
pub(super) fn key(digest: &Digest) -> Vec<u8> {
    [PREFIX, &digest.0].concat()
}

/// What looking for one blob costs, in bytes read: tiny ones would else not count.
const LOOK_BYTES: u64 = 16 << 10;

/// What came of one go.
#[derive(Debug, Default)]
pub struct Summed {
    /// Blobs whose sums are confirmed from now on.
    pub confirmed: u64,
    /// Blobs that can't be read, or whose claimed sums are wrong; these were confirmed as they are.
    pub failed: Vec<(Digest, ConfirmError)>,
    /// Where to go on; `None` behind the last.
    pub next: Option<Digest>,
}

/// What is to be committed.
#[derive(Default)]
struct Work {
    confirmed: Vec<(Digest, Meta)>,
    settled: Vec<Digest>,
    summed: Summed,
}

impl Store {
    /// Computes the sums of some listed blobs behind `after`, without those in `skip`, and commits them.
    pub async fn sum_some(&self, after: Option<Digest>, skip: HashSet<Digest>) -> Result<Summed, ConfirmError> {
        let store = self.clone();
        let work = spawn_blocking(move || store.sum_here(after, &skip)).await.map_err(|_| ReadError::Cancelled)??;
        self.commit_work(work).await
    }

    /// Computes the sums of some of these blobs, those that are somebody's word so far, at most so many bytes a second, and
    /// commits them. Takes those off the list that had their turn. A dropped call goes on in the background for a while.
    pub async fn confirm_some(&self, blobs: &mut Vec<Digest>, bytes_per_s: u64) -> Result<Summed, ConfirmError> {
        let (store, mut left) = (self.clone(), std::mem::take(blobs));
        let confirm = move || {
            let mut work = Work::default();
            let mut pace = Pace::new(&store.shared().demand, Some(bytes_per_s));
            let mut bytes = 0;
            while bytes < BYTES_MAX && !store.shared().demand.is_closing() {
                let Some(digest) = left.pop() else { break };
                bytes += LOOK_BYTES + store.sum_one(digest, &mut pace, &mut work);
                pace.worked_a_little(LOOK_BYTES);
            }
            (work, left)
        };
        let (work, left) = spawn_blocking(confirm).await.map_err(|_| ReadError::Cancelled)?;
        *blobs = left;
        self.commit_work(work).await
    }

    async fn commit_work(&self, work: Work) -> Result<Summed, ConfirmError> {
        let Work { confirmed, settled, summed } = work;
        if !settled.is_empty() {
            self.commit_confirmed(confirmed, settled).await?;
        }
        Ok(summed)
    }

    fn sum_here(&self, after: Option<Digest>, skip: &HashSet<Digest>) -> Result<Work, ReadError> {
        let from = after.map_or_else(|| PREFIX.to_vec(), |digest| [&key(&digest)[..], &[0]].concat());
        let rows = self.range(Tree::Meta, &from, END, BLOBS_MAX)?;
        let listed = rows.iter().filter_map(|(key, _)| key.strip_prefix(PREFIX)?.try_into().ok().map(Digest));
        let mut work = Work::default();
        let mut pace = Pace::new(&self.shared().demand, None);
        let mut bytes = 0;
        for digest in listed {
            work.summed.next = Some(digest);
            if !skip.contains(&digest) {
                bytes += self.sum_one(digest, &mut pace, &mut work);
            }
            if bytes >= BYTES_MAX || self.shared().demand.is_closing() {
                break;
            }
        }
        Ok(work)
    }

    /// Returns how many bytes were read.
    fn sum_one(&self, digest: Digest, pace: &mut Pace<'_>, work: &mut Work) -> u64 {
        let reader = match self.reader(&digest) {
            Ok(Some(reader)) if reader.info().assurance == Assurance::Claimed => reader,
            Ok(_) => {
                work.settled.push(digest);
                return 0;
            }
            Err(error) => {
                work.summed.failed.push((digest, error.into()));
                return 0;
            }
        };
        match computed_here(&reader, pace) {
            Ok(meta) => {
                if let Err(wrong) = compare(&reader.info().checksums, &meta.checksums) {
                    work.summed.failed.push((digest, wrong));
                }
                work.confirmed.push((digest, meta));
                work.settled.push(digest);
                work.summed.confirmed += 1;
            }
            Err(ConfirmError::Read(ReadError::Cancelled)) => {}
            Err(error) => work.summed.failed.push((digest, error)),
        }
        reader.info().size
    }

    /// The sums of a blob, if they were computed here.
    pub fn confirmed_sums(&self, digest: &Digest) -> Result<Option<Checksums>, ReadError> {
        let info = self.blob(digest)?.filter(|info| info.assurance == Assurance::Confirmed);
        Ok(info.map(|info| info.checksums))
    }
}
