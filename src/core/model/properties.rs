//! Properties: names with lists of values, attached to a version of an artifact.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Name → values. At most 128 names, 64 values each, 255 bytes a name, 2,400 a value (Artifactory's own limit),
/// 32 KiB in all.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, Vec<String>>", into = "BTreeMap<String, Vec<String>>")]
pub struct Properties(BTreeMap<String, Vec<String>>);

/// The properties break a bound, or a name holds a character that the wire syntax uses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("property '{name}': {reason}")]
pub struct BadProperty {
    /// Which one, cut to 80 characters.
    pub name: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Properties {
    /// Name → values, in the order of names.
    pub fn as_map(&self) -> &BTreeMap<String, Vec<String>> {
        &self.0
    }

    /// As many of `map`, whose names and values are each within their bounds, as the bounds of all allow, in the order
    /// of names: what edits that didn't see each other add up to may be more.
    pub fn within_bounds(map: BTreeMap<String, Vec<String>>) -> Properties {
        let mut bytes = 0;
        let fits = |(name, values): &(String, Vec<String>)| {
            bytes += property_bytes(name, values);
            bytes <= BYTES_MAX
        };
        Properties(map.into_iter().take(NAMES_MAX).take_while(fits).collect())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The most names.
const NAMES_MAX: usize = 128;

/// The most bytes of all names and values.
const BYTES_MAX: usize = 32 * 1024;

/// What a name and its values count towards the bound of all.
pub fn property_bytes(name: &str, values: &[String]) -> usize {
    name.len() + values.iter().map(String::len).sum::<usize>()
}

impl BadProperty {
    /// `reason` is wrong with the property `name`.
    pub fn new(name: &str, reason: &'static str) -> BadProperty {
        BadProperty { name: name.chars().take(80).collect(), reason }
    }

    /// Checks a name.
    pub fn check_name(name: &str) -> Result<(), BadProperty> {
        let forbidden = |c: char| c.is_control() || "(){}[]*+^$/~`!@#%&<>;=,±§\\".contains(c);
        if name.is_empty() || name.len() > 255 || name.contains(forbidden) {
            return Err(BadProperty::new(name, "the name is empty, over 255 bytes, or has a special character"));
        }
        Ok(())
    }

    /// Checks a name with its values.
    pub fn check(name: &str, values: &[String]) -> Result<(), BadProperty> {
        BadProperty::check_name(name)?;
        if values.len() > 64 || values.iter().any(|value| value.len() > 2400) {
            return Err(BadProperty::new(name, "over 64 values, or a value over 2400 bytes"));
        }
        Ok(())
    }
}

impl TryFrom<BTreeMap<String, Vec<String>>> for Properties {
    type Error = BadProperty;

    fn try_from(map: BTreeMap<String, Vec<String>>) -> Result<Self, BadProperty> {
        if map.len() > NAMES_MAX {
            return Err(BadProperty::new("*", "more than 128 properties"));
        }
        map.iter().try_for_each(|(name, values)| BadProperty::check(name, values))?;
        if map.iter().map(|(name, values)| property_bytes(name, values)).sum::<usize>() > BYTES_MAX {
            return Err(BadProperty::new("*", "over 32 KiB of properties"));
        }
        Ok(Properties(map))
    }
}

impl From<Properties> for BTreeMap<String, Vec<String>> {
    fn from(properties: Properties) -> Self {
        properties.0
    }
}
