//! A file as a list tells of it, at the source or at the node.

use std::collections::{BTreeMap, BTreeSet};

use artimesh_core::model::ArtifactPath;
use serde::{Deserialize, Serialize};

/// Name → values.
pub(in crate::cli) type Properties = BTreeMap<String, Vec<String>>;

/// One file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::cli) struct Listed {
    /// Below the folder that is imported, and likewise below the one that it is imported into.
    pub(in crate::cli) path: ArtifactPath,
    /// Bytes.
    pub(in crate::cli) size: u64,
    /// What is known of its content; nothing of a file in a tree.
    pub(in crate::cli) sums: Sums,
    /// At the source: what it shall have at the node, or `None` if that was not told and has to be asked for.
    pub(in crate::cli) properties: Option<Properties>,
}

/// Checksums in lowercase hexadecimal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::cli) struct Sums {
    pub(in crate::cli) sha256: Option<String>,
    pub(in crate::cli) sha1: Option<String>,
}

impl Listed {
    /// Roughly what it takes in memory.
    pub(in crate::cli) fn weight(&self) -> usize {
        let pair = |(name, values): (&String, &Vec<String>)| {
            name.len() + 96 + values.iter().map(|value| text(value)).sum::<usize>()
        };
        let properties = self.properties.iter().flatten().map(pair).sum::<usize>();
        size_of::<Listed>() + self.path.as_str().len() + 160 + properties
    }

    /// Whether all of `wanted` is among its properties, with exactly these values.
    pub(in crate::cli) fn has(&self, wanted: &Properties) -> bool {
        let values = |values: &Vec<String>| values.iter().cloned().collect::<BTreeSet<String>>();
        let has = self.properties.as_ref();
        wanted.iter().all(|(name, wished)| {
            has.and_then(|has| has.get(name)).is_some_and(|these| values(these) == values(wished))
        })
    }
}

fn text(text: &str) -> usize {
    size_of::<String>() + text.len()
}

impl Sums {
    /// Only what is hexadecimal of the right length: the texts may come from anywhere, and go into headers.
    pub(in crate::cli) fn of(sha256: Option<&str>, sha1: Option<&str>) -> Sums {
        let sum = |text: Option<&str>, digits: usize| {
            let text = text?.to_ascii_lowercase();
            (text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(text)
        };
        Sums { sha256: sum(sha256, 64), sha1: sum(sha1, 40) }
    }

    /// Whether both are of the same bytes, by the strongest sum that both have; `None` if they have none in common.
    pub(in crate::cli) fn agree(&self, other: &Sums) -> Option<bool> {
        let by = |one: &Option<String>, other: &Option<String>| Some(one.as_ref()? == other.as_ref()?);
        by(&self.sha256, &other.sha256).or_else(|| by(&self.sha1, &other.sha1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_that_are_none_are_dropped() {
        let good = "AB".repeat(32);
        assert_eq!(Sums::of(Some(&good), Some("xyz")), Sums { sha256: Some("ab".repeat(32)), sha1: None });
        assert_eq!(Sums::of(Some("x\r\nHost: y"), None), Sums::default());
    }

    #[test]
    fn sums_agree_by_the_strongest_in_common() {
        let of = |sha256: Option<char>, sha1: Option<char>| Sums {
            sha256: sha256.map(String::from),
            sha1: sha1.map(String::from),
        };
        assert_eq!(of(Some('a'), Some('x')).agree(&of(Some('a'), Some('y'))), Some(true));
        assert_eq!(of(None, Some('x')).agree(&of(Some('a'), Some('y'))), Some(false));
        assert_eq!(of(None, Some('x')).agree(&of(Some('a'), None)), None);
    }

    #[test]
    fn properties_are_compared_regardless_of_the_order_of_values() {
        let map = |values: &[&str]| Properties::from([("k".into(), values.iter().map(ToString::to_string).collect())]);
        let path = "a".parse().unwrap();
        let listed = Listed { path, size: 0, sums: Sums::default(), properties: Some(map(&["a", "b"])) };
        assert!(listed.has(&map(&["b", "a"])) && listed.has(&Properties::new()));
        assert!(!listed.has(&map(&["a"])) && !listed.has(&Properties::from([("other".into(), vec![])])));
    }
}
