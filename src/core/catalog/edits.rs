//! Properties changed after the put: they belong to one version and die with it.
//!
//! # Why
//! Each name is a register of its own whose last writer wins, so that two sites that label the same artifact don't lose
//! each other's labels. A removal is kept like a value: it must win over what it hadn't seen. What is kept is bounded by
//! names, not by arrival: the least names of all that were ever written, which no order can change.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::entry::{EntryFault, check_user};
use crate::clock::Timestamp;
use crate::model::{ArtifactPath, BadProperty, Dot};

/// The most names that a version keeps edits of: the least ones.
pub const EDITED_NAMES_MAX: usize = 256;

/// The most names that one entry edits.
pub const EDITS_IN_ENTRY_MAX: usize = 128;

/// The most bytes of a name and its values in an edit.
pub const EDIT_BYTES_MAX: usize = 4096;

/// Changes properties of one version; names that aren't in it stay as they are.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EditProperties {
    /// Where the version is; at another path the entry has no effect.
    pub path: ArtifactPath,
    /// Which version. When it is gone, the entry has no effect.
    pub version: Dot,
    /// Name → values, or `None` to remove.
    pub set: BTreeMap<String, Option<Vec<String>>>,
    /// [`Timestamp::of_write`] over the edits it replaces.
    pub timestamp: Timestamp,
    /// Who.
    pub by: String,
}

impl EditProperties {
    /// Checks the bounds, and that the version is `seen` by the author.
    pub fn check(&self, seen: impl Fn(&Dot) -> bool) -> Result<(), EntryFault> {
        check_user(&self.by)?;
        if self.set.is_empty() || self.set.len() > EDITS_IN_ENTRY_MAX {
            return Err(EntryFault::Bounds("the number of properties"));
        }
        for (name, values) in &self.set {
            let values = values.as_deref().unwrap_or_default();
            BadProperty::check(name, values)?;
            if name.len() + values.iter().map(String::len).sum::<usize>() > EDIT_BYTES_MAX {
                let reason = "over 4 KiB of values: put them together with the artifact";
                return Err(BadProperty::new(name, reason).into());
            }
        }
        if seen(&self.version) { Ok(()) } else { Err(EntryFault::EditsUnseen(self.version)) }
    }
}

/// The last word on one property of a version.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Edit {
    /// Decides between concurrent edits, before the dot.
    pub timestamp: Timestamp,
    /// The entry that wrote it.
    pub dot: Dot,
    /// The values; `None` when it was removed.
    pub values: Option<Vec<String>>,
}

/// Per name the last edit.
///
/// Invariant: at most [`EDITED_NAMES_MAX`] names, the least of all that were merged into it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Edits(BTreeMap<String, Edit>);

impl Edits {
    /// Name → edit, in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Edit)> {
        self.0.iter()
    }

    /// The last edit of a name.
    pub fn get(&self, name: &str) -> Option<&Edit> {
        self.0.get(name)
    }

    /// Whether the version is as it was put.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all of `names` find room.
    pub fn has_room_for<'a>(&self, names: impl Iterator<Item = &'a String>) -> bool {
        self.0.len() + names.filter(|name| !self.0.contains_key(*name)).count() <= EDITED_NAMES_MAX
    }

    /// Takes over what is later. Law: commutative, associative, idempotent.
    pub fn merge(&mut self, others: impl IntoIterator<Item = (String, Edit)>) {
        for (name, edit) in others {
            let mine = self.0.get(&name);
            if mine.is_none_or(|mine| (mine.timestamp, mine.dot) < (edit.timestamp, edit.dot)) {
                self.0.insert(name, edit);
            }
        }
        while self.0.len() > EDITED_NAMES_MAX {
            self.0.pop_last();
        }
    }

    /// Takes over what the entry `dot` says.
    pub fn apply(&mut self, dot: Dot, entry: &EditProperties) {
        let edit = |values: &Option<Vec<String>>| Edit { timestamp: entry.timestamp, dot, values: values.clone() };
        self.merge(entry.set.iter().map(|(name, values)| (name.clone(), edit(values))));
    }
}

impl IntoIterator for Edits {
    type Item = (String, Edit);
    type IntoIter = std::collections::btree_map::IntoIter<String, Edit>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Incarnation;

    fn editing(names: usize) -> EditProperties {
        let incarnation = Incarnation { node: crate::model::NodeId([1; 32]), number: 0 };
        EditProperties {
            path: ArtifactPath::try_from("a".to_owned()).expect("a fine path"),
            version: Dot { incarnation, sequence: 1 },
            set: (0..names).map(|number| (format!("name{number}"), None)).collect(),
            timestamp: Timestamp(1),
            by: String::new(),
        }
    }

    #[test]
    fn an_entry_edits_at_least_one_property_and_at_most_its_bound() {
        let check = |names| editing(names).check(|_| true);
        assert_eq!(check(1), Ok(()));
        assert_eq!(check(EDITS_IN_ENTRY_MAX), Ok(()));
        for names in [0, EDITS_IN_ENTRY_MAX + 1] {
            assert_eq!(check(names), Err(EntryFault::Bounds("the number of properties")));
        }
    }
}
