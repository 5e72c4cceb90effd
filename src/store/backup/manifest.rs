//! What a backup says of itself: the page before the files, and the list behind them.

use artimesh_core::model::{NodeId, NodeName};
use serde::{Deserialize, Serialize};

/// The format that this release writes, and the newest that it reads.
pub const FORMAT: u32 = 1;
/// The name of the first file in the archive.
pub const ABOUT: &str = "about.json";
/// The name of the last.
pub const MANIFEST: &str = "manifest.jsonl";

/// Whose backup it is, and what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// [`FORMAT`].
    pub format: u32,
    /// The release that made it.
    pub made_by: String,
    /// When, by the node's clock, in milliseconds since 1970.
    pub made_ms: u64,
    /// The node's id.
    pub node: String,
    /// What it is called.
    pub name: String,
    /// The last commit that is in it; `None` when it was made of a stopped node's folder, whose last one counts.
    pub commit: Option<u64>,
    /// How many files follow, the manifest apart.
    pub files: u64,
    /// Their bytes together.
    pub bytes: u64,
}

impl About {
    /// About a backup of this node, made now; what it holds is told later.
    pub fn new(node: &NodeId, name: &NodeName, made_ms: u64) -> About {
        About {
            format: FORMAT,
            made_by: concat!("artimesh ", env!("CARGO_PKG_VERSION")).to_owned(),
            made_ms,
            node: node.to_string(),
            name: name.to_string(),
            commit: None,
            files: 0,
            bytes: 0,
        }
    }
}

/// One line of the manifest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Line {
    /// The file's place in the archive, and below the data folder.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// The BLAKE3 of its bytes, in hexadecimal.
    pub blake3: String,
}

impl Line {
    /// The line of a file, with its end of line. As long for every digest.
    pub fn encode(path: &str, bytes: u64, digest: &blake3::Hash) -> String {
        let line = Line { path: path.to_owned(), bytes, blake3: digest.to_hex().to_string() };
        serde_json::to_string(&line).expect("text and a number are JSON") + "\n"
    }
}
