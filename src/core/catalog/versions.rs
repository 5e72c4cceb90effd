//! The live versions of one path.

use serde::{Deserialize, Serialize};

use super::entry::{Content, Put};
use crate::clock::Timestamp;
use crate::model::{Digest, Dot};

/// One live version: a put that nothing killed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Version {
    /// The entry that put it.
    pub dot: Dot,
    /// That entry's hash.
    pub entry: Digest,
    /// Decides between concurrent versions, before the dot.
    pub timestamp: Timestamp,
    /// What.
    pub content: Content,
    /// When the path was first put.
    pub created: Timestamp,
    /// By whom then.
    pub created_by: String,
    /// Who put this version.
    pub modified_by: String,
}

impl Version {
    /// The version that the entry `dot` with hash `entry` puts.
    pub fn of(dot: Dot, entry: Digest, put: &Put) -> Version {
        Version {
            dot,
            entry,
            timestamp: put.timestamp,
            content: put.content.clone(),
            created: put.created,
            created_by: put.created_by.clone(),
            modified_by: put.modified_by.clone(),
        }
    }
}

/// All live versions of one path, the shown one first.
///
/// Invariant: sorted by (timestamp, dot), greatest first; no dot twice. So equal sets have equal bytes.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Versions(Vec<Version>);

impl Versions {
    /// The version that readers get.
    pub fn shown(&self) -> Option<&Version> {
        self.0.first()
    }

    /// All of them, the shown one first.
    pub fn iter(&self) -> impl Iterator<Item = &Version> {
        self.0.iter()
    }

    /// Whether the path has no live version.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The versions beside the shown one.
    pub fn siblings(&self) -> &[Version] {
        self.0.get(1..).unwrap_or_default()
    }

    /// Whether a sibling holds other bytes than the shown version: equal content is no conflict.
    pub fn is_conflict(&self) -> bool {
        let shown = self.shown().map(|version| version.content.digest);
        self.siblings().iter().any(|version| Some(version.content.digest) != shown)
    }

    /// What a write that replaces all of them must kill.
    pub fn dots(&self) -> Vec<Dot> {
        self.0.iter().map(|version| version.dot).collect()
    }

    /// Adds `version`, unless it is there.
    pub fn put(&mut self, version: Version) {
        if self.0.iter().any(|known| known.dot == version.dot) {
            return;
        }
        let rank = |v: &Version| (v.timestamp, v.dot);
        let at = self.0.partition_point(|known| rank(known) > rank(&version));
        self.0.insert(at, version);
    }

    /// Removes those that `kills` names; dots that live at other paths, or no more, make no difference.
    pub fn kill(&mut self, kills: &[Dot]) -> Vec<Version> {
        let (dead, live) = std::mem::take(&mut self.0).into_iter().partition(|version| kills.contains(&version.dot));
        self.0 = live;
        dead
    }
}
