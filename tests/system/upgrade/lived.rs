//! A small life that the previous release's binary leads, and what must be left of it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{delete, put};
use crate::harness::{Circle, Node, REPO, Setup, repository, sha256_hex, until};

/// Two members and an edge.
pub const NAMES: [&str; 3] = ["berlin", "tokyo", "lisbon"];
/// A path that two members wrote at the same time.
pub const BOTH: &str = "/lib/both";

/// The addresses stand in the folders, so they are the same in every run.
pub fn address(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 250, 83, 1 + index as u8)
}

/// Whoever holds this has the addresses for itself: tests that use them take turns, also those of other processes.
pub async fn turn() -> TcpListener {
    until("the addresses are free", || async {
        TcpListener::bind((address(100), 8083)).await.map_err(|error| error.to_string())
    })
    .await
}

/// What was there at the end.
pub struct Lived {
    /// path → SHA-1.
    pub listing: BTreeMap<String, String>,
    /// path → SHA-256 of what was put.
    pub contents: BTreeMap<String, String>,
    pub deleted: Vec<String>,
    pub siblings: u64,
    pub heads: Value,
    pub revoked: Value,
}

fn texts(value: &Value) -> BTreeMap<String, String> {
    serde_json::from_value(value.clone()).expect("texts")
}

impl Lived {
    pub fn read(file: &Path) -> Lived {
        let value: Value = serde_json::from_slice(&std::fs::read(file).expect("it is there")).expect("JSON");
        Lived {
            listing: texts(&value["listing"]),
            contents: texts(&value["contents"]),
            deleted: serde_json::from_value(value["deleted"].clone()).expect("texts"),
            siblings: value["siblings"].as_u64().expect("a count"),
            heads: value["heads"].clone(),
            revoked: value["revoked"].clone(),
        }
    }

    pub fn write(&self, file: &Path) {
        let value = json!({
            "listing": self.listing, "contents": self.contents, "deleted": self.deleted,
            "siblings": self.siblings, "heads": self.heads, "revoked": self.revoked,
        });
        std::fs::write(file, serde_json::to_vec_pretty(&value).expect("JSON")).expect("written");
    }
}

/// A circle of `binary`, still running: puts, overwrites, deletes, siblings, a file of its own, an author that was revoked.
pub async fn live(binary: PathBuf) -> (Circle, Lived) {
    let root = tempfile::tempdir().expect("a folder");
    let names = ["berlin", "tokyo", "austin", "lisbon"];
    let addresses = [0, 1, 3, 2].map(address);
    let node = |(name, address): (&str, Ipv4Addr)| {
        let setup = Setup { new_circle: name == "berlin", binary: Some(binary.clone()), ..Setup::default() };
        let mut node = Node::init(root.path(), name, setup);
        node.address = address;
        node
    };
    let nodes = names.into_iter().zip(addresses).map(node).collect();
    let mut circle = Circle::of(nodes, 3, root).await;
    let mut contents = write(&circle).await;

    circle.nodes[0].cli(&["trust", "revoke", "austin", "--wait", "60s"], "");
    circle.nodes[2].stop();
    circle.nodes.remove(2);
    circle.fulls = 2;
    circle.converged().await;
    write_apart(&mut circle).await;

    let listing = circle.converged().await;
    for path in [BOTH, "/lib/back"] {
        let got = circle.nodes[0].client().get_streamed(&format!("/artifactory/{REPO}{path}")).await;
        contents.insert(path.to_owned(), got.expect("an answer").sha256);
    }
    let status = circle.nodes[0].status().await.expect("a status");
    let repo = repository(&status, REPO).expect("libs");
    let lived = Lived {
        listing,
        contents,
        deleted: vec!["/lib/deleted".into(), "/lib/deleted-by-another".into()],
        siblings: repo["siblings"].as_u64().expect("a count"),
        heads: repo["heads"].clone(),
        revoked: status["trust"]["revoked"].clone(),
    };
    assert_eq!(lived.siblings, 1);
    assert_eq!(lived.revoked.as_array().map(Vec::len), Some(1));
    (circle, lived)
}

/// What all saw as it came; path → SHA-256.
async fn write(circle: &Circle) -> BTreeMap<String, String> {
    let mut contents = BTreeMap::new();
    let mut wrote = |path: &str, text: &str| contents.insert(path.to_owned(), sha256_hex(text.as_bytes()));
    // Over 1 MiB, and so a file of its own; of one byte, so that it compresses to nothing.
    let large = "l".repeat((1 << 20) + 4321);
    put(&circle.nodes[1], "/lib/large", &large).await;
    wrote("/lib/large", &large);
    for number in 0..4 {
        let (path, text) = (format!("/lib/kept-{number}"), format!("content {number}"));
        put(&circle.nodes[number % 3], &format!("{path};build=7;level=a,b"), &text).await;
        wrote(&path, &text);
    }
    for (path, text) in [("/lib/deleted", "1"), ("/lib/deleted-by-another", "2"), ("/lib/overwritten", "old")] {
        put(&circle.nodes[0], path, text).await;
    }
    circle.converged().await;
    put(&circle.nodes[2], "/lib/overwritten", "new").await;
    wrote("/lib/overwritten", "new");
    put(&circle.nodes[2], "/lib/by-the-revoked", "still there").await;
    wrote("/lib/by-the-revoked", "still there");
    delete(&circle.nodes[0], "/lib/deleted").await;
    delete(&circle.nodes[1], "/lib/deleted-by-another").await;
    put(&circle.nodes[0], "/lib/back", "before").await;
    circle.converged().await;
    contents
}

/// Two members write while the other is away.
async fn write_apart(circle: &mut Circle) {
    circle.nodes[1].stop();
    put(&circle.nodes[0], BOTH, "berlin's").await;
    delete(&circle.nodes[0], "/lib/back").await;
    circle.nodes[0].stop();
    circle.nodes[1].start();
    put(&circle.nodes[1], BOTH, "tokyo's").await;
    put(&circle.nodes[1], "/lib/back", "after").await;
    circle.nodes[0].start();
    circle.converged().await;
}
