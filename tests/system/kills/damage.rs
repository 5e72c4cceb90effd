//! Ways to spoil the index, which is no truth and may be lost at any time.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Dice, Node};

/// What is done to the folder of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    Removed,
    Truncated,
    Noise,
}

impl Damage {
    pub const ALL: [Damage; 3] = [Damage::Removed, Damage::Truncated, Damage::Noise];

    /// Damages the index of a node that doesn't run.
    pub fn strike(self, node: &Node, dice: &mut Dice) {
        let folder = node.folder.join("store/index");
        match self {
            Damage::Removed => fs::remove_dir_all(&folder).expect("it is there"),
            Damage::Truncated => each_file(&folder, &mut |file| {
                let bytes = fs::metadata(file).expect("a file").len();
                let kept = if bytes == 0 { 0 } else { dice.below(bytes) };
                fs::File::options().write(true).open(file).and_then(|file| file.set_len(kept)).expect("truncated");
            }),
            // Now the whole of each file, now any part of it.
            Damage::Noise => each_file(&folder, &mut |file| {
                let mut bytes = fs::read(file).expect("a file");
                let start = if dice.below(2) == 0 { 0 } else { dice.below(bytes.len() as u64 + 1) as usize };
                let noise = dice.bytes(bytes.len() - start);
                bytes[start..].copy_from_slice(&noise);
                fs::write(file, bytes).expect("overwritten");
            }),
        }
    }
}

fn each_file(folder: &Path, act: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(folder).expect("it is there") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { each_file(&path, act) } else { act(&path) }
    }
}

/// All that a node must know again after its index was lost.
pub async fn essence(node: &Node) -> Value {
    let status = node.status().await.expect("a status");
    let repositories = status["repositories"].as_array().expect("repositories").iter().map(|repository| {
        let kept = ["key", "federation", "state_digest", "heads", "artifacts", "siblings", "missing_blobs"];
        kept.iter().map(|name| ((*name).to_owned(), repository[*name].clone())).collect::<Value>()
    });
    json!({
        "incarnation": status["node"]["incarnation"],
        "trust": status["trust"],
        "repositories": repositories.collect::<Vec<Value>>(),
    })
}

/// Blobs and commits at rest. They may grow at any time: an edge keeps what it fetched after its client has it all.
pub async fn holdings(node: &Node) -> [u64; 2] {
    let status = node.status().await.expect("a status");
    ["blobs", "last_commit"].map(|name| status["store"][name].as_u64().expect("a number"))
}
