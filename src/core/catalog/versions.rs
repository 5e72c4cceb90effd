//! The live versions of one path.

use serde::{Deserialize, Serialize};

use super::edits::{EditProperties, Edits};
use super::entry::{Content, Put};
use crate::clock::Timestamp;
use crate::model::{ArtifactPath, Digest, Dot, Properties, codec};

/// Nothing is put beside what is at a path, nor are its properties edited, when its versions would then take more bytes:
/// one version with all that it may have takes less than this. A row has room for several times as much, for a state
/// sync unites what two members have.
pub const PATH_BYTES_MAX: usize = 2 << 20;

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
    /// The path it was moved from.
    pub moved_from: Option<ArtifactPath>,
    /// Properties changed since.
    pub edits: Edits,
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
            moved_from: put.moved_from.clone(),
            edits: Edits::default(),
        }
    }

    /// The properties as they are now: those of the put, changed by the edits since.
    pub fn properties(&self) -> Properties {
        let mut all = self.content.properties.as_map().clone();
        for (name, edit) in self.edits.iter() {
            match &edit.values {
                Some(values) => all.insert(name.clone(), values.clone()),
                None => all.remove(name),
            };
        }
        Properties::within_bounds(all)
    }

    /// Its content with the properties as they are now: what a new version of the same begins with.
    pub fn content_now(&self) -> Content {
        Content { properties: self.properties(), ..self.content.clone() }
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

    /// Whether this fits a row although several members' versions may have come together in it.
    pub fn fits_a_row(&self) -> bool {
        self.is_small() || self.bytes() < codec::ROW_BYTES_MAX
    }

    /// Whether these, which come after `before`, are more than may be beside each other at one path.
    pub fn crowds(&self, before: &Versions) -> bool {
        !self.is_small() && self.bytes() > PATH_BYTES_MAX.max(before.bytes())
    }

    /// A few versions are within all bounds, whatever they hold.
    fn is_small(&self) -> bool {
        let edits = self.0.iter().filter(|version| !version.edits.is_empty()).count();
        self.0.len() <= 8 && edits <= 1
    }

    fn bytes(&self) -> usize {
        codec::encode(self).len()
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

    /// Takes over what the entry `dot` says of one of them; false when that one isn't here.
    pub fn edit(&mut self, dot: Dot, entry: &EditProperties) -> bool {
        let version = self.0.iter_mut().find(|version| version.dot == entry.version);
        version.map(|version| version.edits.apply(dot, entry)).is_some()
    }

    /// Removes those that `kills` names; dots that live at other paths, or no more, make no difference.
    pub fn kill(&mut self, kills: &[Dot]) -> Vec<Version> {
        self.kill_where(|dot| kills.contains(dot))
    }

    /// Removes those that `dies` says.
    pub fn kill_where(&mut self, dies: impl Fn(&Dot) -> bool) -> Vec<Version> {
        let (dead, live) = std::mem::take(&mut self.0).into_iter().partition(|version| dies(&version.dot));
        self.0 = live;
        dead
    }
}

/// A version as rows of version 1 hold it.
#[derive(Deserialize)]
struct VersionV1 {
    dot: Dot,
    entry: Digest,
    timestamp: Timestamp,
    content: Content,
    created: Timestamp,
    created_by: String,
    modified_by: String,
}

/// The versions of a path as rows of version 1 hold them.
#[derive(Deserialize)]
pub struct VersionsV1(Vec<VersionV1>);

impl From<VersionsV1> for Versions {
    fn from(old: VersionsV1) -> Versions {
        let upgrade = |old: VersionV1| Version {
            dot: old.dot,
            entry: old.entry,
            timestamp: old.timestamp,
            content: old.content,
            created: old.created,
            created_by: old.created_by,
            modified_by: old.modified_by,
            moved_from: None,
            edits: Edits::default(),
        };
        Versions(old.0.into_iter().map(upgrade).collect())
    }
}
