//! What a repository is set to: each field a register of its own, whose last writer wins.

use serde::{Deserialize, Serialize};

use super::entry::{EntryFault, check_user};
use super::federation::Founding;
use crate::clock::Timestamp;
use crate::model::{Dot, Incarnation, NodeId};

/// What a repository is set to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RepositoryConfig {
    /// `generic`, `maven`, …, at most 64 bytes: kept and returned.
    pub package_type: String,
    /// For people, at most 1,024 bytes.
    pub description: String,
}

impl RepositoryConfig {
    /// Checks the bounds.
    pub fn check(&self) -> Result<(), EntryFault> {
        check_package_type(&self.package_type)?;
        check_description(&self.description)
    }
}

fn check_package_type(text: &str) -> Result<(), EntryFault> {
    if text.len() > 64 { Err(EntryFault::Bounds("the package type")) } else { Ok(()) }
}

fn check_description(text: &str) -> Result<(), EntryFault> {
    if text.len() > 1024 { Err(EntryFault::Bounds("the description")) } else { Ok(()) }
}

/// New values of some fields; `None` leaves a field as it is.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ConfigChange {
    /// Of [`RepositoryConfig::package_type`].
    pub package_type: Option<String>,
    /// Of [`RepositoryConfig::description`].
    pub description: Option<String>,
}

/// The entry that changes some fields.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Configure {
    /// Which, and to what.
    pub set: ConfigChange,
    /// [`Timestamp::of_write`] over the fields it replaces.
    pub timestamp: Timestamp,
    /// Who.
    pub by: String,
}

impl Configure {
    /// Checks the bounds.
    pub fn check(&self) -> Result<(), EntryFault> {
        check_user(&self.by)?;
        if self.set == ConfigChange::default() {
            return Err(EntryFault::Bounds("the number of fields"));
        }
        self.set.package_type.as_deref().map_or(Ok(()), check_package_type)?;
        self.set.description.as_deref().map_or(Ok(()), check_description)
    }
}

/// A value with the entry that wrote it last.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Register<T> {
    /// What.
    pub value: T,
    /// Decides between concurrent writes, before the dot.
    pub timestamp: Timestamp,
    /// The entry.
    pub dot: Dot,
}

impl<T: Clone> Register<T> {
    /// Takes over what is later. Law: commutative, associative, idempotent.
    pub fn merge(&mut self, other: &Register<T>) {
        if (self.timestamp, self.dot) < (other.timestamp, other.dot) {
            self.clone_from(other);
        }
    }
}

/// The fields of a [`RepositoryConfig`], each with its last writer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Configuration {
    /// See [`RepositoryConfig::package_type`].
    pub package_type: Register<String>,
    /// See [`RepositoryConfig::description`].
    pub description: Register<String>,
}

impl Configuration {
    /// As the founding says. It bears the least dot of its founder's, so that every other entry of the same time wins.
    pub fn founded(founder: NodeId, founding: &Founding) -> Configuration {
        let dot = Dot { incarnation: Incarnation { node: founder, number: 0 }, sequence: 0 };
        let register = |value: &String| Register { value: value.clone(), timestamp: founding.founded, dot };
        Configuration {
            package_type: register(&founding.config.package_type),
            description: register(&founding.config.description),
        }
    }

    /// The values alone.
    pub fn config(&self) -> RepositoryConfig {
        RepositoryConfig { package_type: self.package_type.value.clone(), description: self.description.value.clone() }
    }

    /// When the fields that `set` names were last written.
    pub fn written(&self, set: &ConfigChange) -> impl Iterator<Item = Timestamp> {
        let package_type = set.package_type.as_ref().map(|_| self.package_type.timestamp);
        let description = set.description.as_ref().map(|_| self.description.timestamp);
        package_type.into_iter().chain(description)
    }

    /// Takes over what the entry `dot` says.
    pub fn apply(&mut self, dot: Dot, entry: &Configure) {
        let register = |value: &String| Register { value: value.clone(), timestamp: entry.timestamp, dot };
        let set = &entry.set;
        set.package_type.iter().for_each(|value| self.package_type.merge(&register(value)));
        set.description.iter().for_each(|value| self.description.merge(&register(value)));
    }

    /// Takes over what is later, field by field, of what those entries wrote that count.
    pub fn merge_some(&mut self, other: &Configuration, counts: impl Fn(&Dot) -> bool) {
        for (mine, theirs) in
            [(&mut self.package_type, &other.package_type), (&mut self.description, &other.description)]
        {
            if counts(&theirs.dot) {
                mine.merge(theirs);
            }
        }
    }
}
