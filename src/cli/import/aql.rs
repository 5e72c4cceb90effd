//! The query that lists all files below a folder, and its rows.
//!
//! # Why
//! One query without order and limit: a server that pages counts rows of properties where files are meant, and reads all again
//! for each page; without, it tells them as it finds them. JFrog's own command line asks so, too.

use std::borrow::Cow;

use artimesh_core::model::ArtifactPath;
use serde::Deserialize;
use serde_json::{Value, json};

use super::listed::{Properties, Sums};
use super::provenance::Provenance;
use crate::cli::location::Folder;

const INCLUDE: &str = r#".include("repo","path","name","size","created","created_by","modified","modified_by","actual_sha1","sha256","property")"#;

/// One file, as it is told.
#[derive(Debug, Deserialize)]
pub(in crate::cli) struct Row {
    path: String,
    name: String,
    pub(in crate::cli) size: u64,
    sha256: Option<String>,
    actual_sha1: Option<String>,
    created: Option<String>,
    created_by: Option<String>,
    modified: Option<String>,
    modified_by: Option<String>,
    #[serde(default)]
    properties: Vec<Pair>,
}

#[derive(Debug, Deserialize)]
struct Pair {
    key: String,
    value: Option<String>,
}

/// Of all files below `folder`.
pub(in crate::cli) fn query(folder: &Folder) -> String {
    let criteria = match &folder.prefix {
        None => json!({"repo": folder.repo}),
        Some(prefix) => json!({"repo": folder.repo, "$or": [
            {"path": {"$eq": prefix.as_str()}}, {"path": {"$match": format!("{prefix}/*")}},
        ]}),
    };
    format!("items.find({criteria}){INCLUDE}")
}

/// Of the file at one place.
pub(in crate::cli) fn query_one(repo: &str, path: &ArtifactPath) -> String {
    let (folder, name) = path.as_str().rsplit_once('/').unwrap_or((".", path.as_str()));
    let criteria = json!({"repo": repo, "path": folder, "name": name});
    format!("items.find({criteria}){INCLUDE}")
}

/// Why the answer isn't all, if the server says so.
pub(in crate::cli) fn is_trimmed(beside: &Value) -> Option<String> {
    let notification = beside["notification"].as_str()?;
    Some(notification.to_owned())
}

impl Row {
    /// Its path in the repository; nobody has checked it.
    pub(in crate::cli) fn full_path(&self) -> Cow<'_, str> {
        if self.path == "." || self.path.is_empty() {
            Cow::Borrowed(&self.name)
        } else {
            Cow::Owned(format!("{}/{}", self.path, self.name))
        }
    }

    pub(in crate::cli) fn sums(&self) -> Sums {
        Sums::of(self.sha256.as_deref(), self.actual_sha1.as_deref())
    }

    pub(in crate::cli) fn provenance(&self) -> Provenance {
        Provenance {
            created: self.created.clone(),
            created_by: self.created_by.clone(),
            modified: self.modified.clone(),
            modified_by: self.modified_by.clone(),
        }
    }

    pub(in crate::cli) fn properties(&self) -> Properties {
        let mut properties = Properties::new();
        for Pair { key, value } in &self.properties {
            let (values, value) = (properties.entry(key.clone()).or_default(), value.clone().unwrap_or_default());
            if !values.contains(&value) {
                values.push(value);
            }
        }
        properties
    }
}

/// What follows the folder's path in `full`; nothing if it isn't below.
pub(in crate::cli) fn below<'path>(full: &'path str, prefix: Option<&ArtifactPath>) -> Option<&'path str> {
    match prefix {
        None => Some(full),
        Some(prefix) => full.strip_prefix(prefix.as_str())?.strip_prefix('/'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_can_not_be_broken_out_of() {
        let folder: Folder = "libs/a\"}).x/*".parse().unwrap();
        let query = query(&folder);
        assert!(query.starts_with(r#"items.find({"#) && query.contains(r#"{"path":{"$eq":"a\"}).x/*"}}"#), "{query}");
    }

    #[test]
    fn a_row_tells_a_file() {
        let text = r#"{"repo":"libs","path":"a/b","name":"c","size":3,"sha256":"x","created_by":"alice",
            "properties":[{"key":"k","value":"1"},{"key":"k","value":"2"},{"key":"empty"}],"more":[]}"#;
        let row: Row = serde_json::from_str(text).unwrap();
        assert_eq!((row.full_path().as_ref(), row.size, row.sums()), ("a/b/c", 3, Sums::default()));
        assert_eq!(row.properties()["k"], ["1", "2"]);
        assert_eq!(row.properties()["empty"], [""]);
        let root: Row = serde_json::from_str(r#"{"path":".","name":"c","size":0}"#).unwrap();
        assert_eq!(root.full_path(), "c");
    }

    #[test]
    fn what_only_looks_as_if_it_were_below_is_not() {
        let prefix: ArtifactPath = "a/b".parse().unwrap();
        assert_eq!(below("a/b/c/d", Some(&prefix)), Some("c/d"));
        assert_eq!((below("a/bc", Some(&prefix)), below("a/b", Some(&prefix))), (None, None));
        assert_eq!(below("x", None), Some("x"));
    }
}
