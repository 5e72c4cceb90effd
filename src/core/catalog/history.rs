//! Versions that were replaced or deleted, and what of them is still in dispute.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::versions::{Version, Versions};
use crate::clock::Timestamp;
use crate::model::{ArtifactPath, Digest, Dot};

/// The most versions of one path that are remembered as lost to concurrent ones, the latest.
const LOST_MAX: usize = 64;

/// How a version ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum End {
    /// By a put at its path.
    Replaced,
    /// By a delete of its path, or of a folder above.
    Deleted,
    /// By a delete that left another version of the path alive.
    Dismissed,
    /// It was moved to this path.
    Moved(ArtifactPath),
    /// Another member, whose state was taken over whole, had seen its end; no entry here says how.
    Unknown,
}

/// The end of a version.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ended {
    /// How.
    pub how: End,
    /// The entry that ended it, when one was applied here.
    pub dot: Option<Dot>,
    /// Whose wish it was.
    pub by: String,
    /// That entry's timestamp.
    pub timestamp: Timestamp,
    /// When this node learnt of it, by its own wall clock.
    pub at: Timestamp,
}

/// A version that was live here once.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Historic {
    /// As it was last.
    pub version: Version,
    /// How it ended.
    pub ended: Ended,
    /// Whether who ended it had a greater version of the path with other content beside it: then it was never shown
    /// there, and lost to a concurrent one.
    pub lost: bool,
}

/// What is in dispute at a path, beside what its live versions show. Local: no part of the state that members compare.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Dispute {
    /// Whether siblings differ.
    pub siblings: bool,
    /// Live versions that a delete would have ended, had its author seen them: version → the greatest such delete.
    pub survivors: BTreeMap<Dot, Dot>,
    /// Versions in the history that lost to concurrent ones, with their content.
    pub lost: BTreeMap<Dot, Digest>,
}

impl Dispute {
    /// Forgets what the live versions have settled: survivors that ended, and lost content that is live again.
    pub fn settle(&mut self, live: &Versions) {
        self.siblings = live.is_conflict();
        self.survivors.retain(|dot, _| live.iter().any(|version| version.dot == *dot));
        self.lost.retain(|_, digest| live.iter().all(|version| version.content.digest != *digest));
        while self.lost.len() > LOST_MAX {
            self.lost.pop_first();
        }
    }

    /// The version `dot` outlived `delete`.
    pub fn survived(&mut self, dot: Dot, delete: Dot) {
        let by = self.survivors.entry(dot).or_insert(delete);
        *by = (*by).max(delete);
    }

    /// Whether nothing is in dispute.
    pub fn is_settled(&self) -> bool {
        !self.siblings && self.survivors.is_empty() && self.lost.is_empty()
    }
}

/// A path whose versions contradict each other, or did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conflict {
    /// Where.
    pub path: ArtifactPath,
    /// What is live, the shown version first.
    pub live: Versions,
    /// Which of them outlived a delete that hadn't seen them: version → delete.
    pub survivors: BTreeMap<Dot, Dot>,
    /// Versions that lost to concurrent ones, as far as the history goes.
    pub lost: Vec<Historic>,
}
