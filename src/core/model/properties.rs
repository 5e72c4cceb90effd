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

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryFrom<BTreeMap<String, Vec<String>>> for Properties {
    type Error = BadProperty;

    fn try_from(map: BTreeMap<String, Vec<String>>) -> Result<Self, BadProperty> {
        let bad = |name: &str, reason| BadProperty { name: name.chars().take(80).collect(), reason };
        if map.len() > 128 {
            return Err(bad("*", "more than 128 properties"));
        }
        for (name, values) in &map {
            let forbidden = |c: char| c.is_control() || "(){}[]*+^$/~`!@#%&<>;=,±§\\".contains(c);
            if name.is_empty() || name.len() > 255 || name.contains(forbidden) {
                return Err(bad(name, "the name is empty, over 255 bytes, or has a special character"));
            }
            if values.len() > 64 || values.iter().any(|value| value.len() > 2400) {
                return Err(bad(name, "over 64 values, or a value over 2400 bytes"));
            }
        }
        let bytes: usize =
            map.iter().map(|(name, values)| name.len() + values.iter().map(String::len).sum::<usize>()).sum();
        if bytes > 32 * 1024 {
            return Err(bad("*", "over 32 KiB of properties"));
        }
        Ok(Properties(map))
    }
}

impl From<Properties> for BTreeMap<String, Vec<String>> {
    fn from(properties: Properties) -> Self {
        properties.0
    }
}
