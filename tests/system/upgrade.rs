//! Yesterday's data folders under today's binary, and yesterday's binary beside it.
//!
//! `scripts/compat.sh` runs this with the previous release's binary, which it builds; the data folders that one left
//! are also in the repository, so that every run of the tests opens them.

mod beside;
mod lived;
mod protocol;

use std::path::{Path, PathBuf};
use std::process::Command;

use hyper::StatusCode;
use tempfile::TempDir;

use crate::harness::{Circle, Node, REPO, Setup, listing, repository, until};
use lived::Lived;

/// The previous release's binary, when somebody has built it.
fn previous() -> Option<PathBuf> {
    let binary = std::env::var_os("ARTIMESH_PREVIOUS_BINARY").map(PathBuf::from);
    if binary.is_none() {
        println!("not tried: no binary of the previous release; scripts/compat.sh builds one");
    }
    binary
}

fn archive() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/folders/protocol-1.tar.gz")
}

fn tar(args: &[&str], folder: &Path) {
    let status = Command::new("tar").args(args).current_dir(folder).status().expect("tar is installed");
    assert!(status.success(), "tar {args:?}");
}

/// The nodes of folders that stopped nodes left under `root`.
fn nodes_of(root: &Path, names: &[&str]) -> Vec<Node> {
    let numbered = names.iter().enumerate();
    let node =
        |(index, name): (usize, &&str)| Node::existing(root.join(name), name, lived::address(index), Setup::default());
    numbered.map(node).collect()
}

/// Starts what stopped nodes of the previous release left, with today's binary, and looks at all of it.
async fn upgraded(mut nodes: Vec<Node>, root: TempDir, lived: &Lived) -> Circle {
    for node in &mut nodes {
        node.upgrade();
        node.start();
    }
    let circle = Circle { nodes, fulls: 2, root };
    is_all_there(&circle, lived).await;
    goes_on(&circle, lived).await;
    circle
}

async fn is_all_there(circle: &Circle, lived: &Lived) {
    assert_eq!(circle.converged().await, lived.listing);
    for node in &circle.nodes {
        for (path, sha256) in &lived.contents {
            let got = node.client().get_streamed(&format!("/artifactory/{REPO}{path}")).await.expect("an answer");
            assert_eq!((got.status, &got.sha256), (StatusCode::OK, sha256), "{path} at {}", node.name);
        }
        for path in &lived.deleted {
            let answer = node.client().get(&format!("/artifactory/{REPO}{path}")).await.expect("an answer");
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path} at {}", node.name);
        }
        let status = node.status().await.expect("a status");
        let repo = repository(&status, REPO).expect("it has it");
        assert_eq!(repo["siblings"], lived.siblings, "at {}", node.name);
        for (author, sequence) in lived.heads.as_object().expect("heads") {
            assert_eq!(&repo["heads"][author], sequence, "{author} at {}", node.name);
        }
        assert_eq!(status["trust"]["revoked"], lived.revoked, "at {}", node.name);
    }
    let answer = circle.nodes[0].client().get(&format!("/artifactory/api/storage/{REPO}/lib/kept-0?properties")).await;
    assert_eq!(answer.expect("an answer").json()["properties"]["build"][0], "7");
}

async fn put(node: &Node, path: &str, text: &str) {
    let answer = node.client().put(&format!("/artifactory/{REPO}{path}"), text.to_owned()).await.expect("an answer");
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
}

async fn delete(node: &Node, path: &str) {
    let answer = node.client().delete(&format!("/artifactory/{REPO}{path}")).await.expect("an answer");
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.text());
}

/// Writes on, restarts, and lets a newcomer in that gets it all.
async fn goes_on(circle: &Circle, lived: &Lived) {
    put(&circle.nodes[1], "/lib/kept-0", "overwritten after the upgrade").await;
    put(&circle.nodes[0], lived::BOTH, "settled").await;
    put(&circle.nodes[0], "/lib/new", "new").await;
    delete(&circle.nodes[1], "/lib/kept-1").await;
    let listing = circle.converged().await;
    let mut expected: Vec<&String> = lived.listing.keys().filter(|path| *path != "/lib/kept-1").collect();
    let new = "/lib/new".to_owned();
    expected.push(&new);
    expected.sort();
    assert_eq!(listing.keys().collect::<Vec<_>>(), expected);
    let status = circle.nodes[0].status().await.expect("a status");
    assert_eq!(repository(&status, REPO).expect("libs")["siblings"], lived.siblings - 1);
}

/// Once more from what today's binary wrote into the upgraded folders; and what a newcomer's digest says, which has nothing
/// old in it.
async fn lasts(mut circle: Circle) {
    let before = circle.converged().await;
    for node in &mut circle.nodes {
        node.stop();
        node.start();
    }
    let mut newcomer = Node::init(circle.root.path(), "newcomer", Setup::default());
    newcomer.start();
    circle.pair(&newcomer, "edge");
    circle.nodes.push(newcomer);
    until("the newcomer follows", || async { repository(&circle.nodes[3].status().await?, REPO).map(|_| ()) }).await;
    assert_eq!(circle.converged().await, before);
    assert_eq!(listing(&circle.nodes[3]).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn data_folders_of_the_previous_release_are_upgraded_in_place() {
    let _turn = lived::turn().await;
    let root = tempfile::tempdir().expect("a folder");
    tar(&["-xzf", archive().to_str().expect("text")], root.path());
    let lived = Lived::read(&root.path().join("lived.json"));
    let nodes = nodes_of(root.path(), &lived::NAMES);
    lasts(upgraded(nodes, root, &lived).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_folders_that_the_previous_binary_just_wrote_are_upgraded_in_place() {
    let Some(binary) = previous() else { return };
    let _turn = lived::turn().await;
    let (mut circle, lived) = lived::live(binary).await;
    for node in &mut circle.nodes {
        node.stop();
    }
    if std::env::var("ARTIMESH_GOLDEN").is_ok_and(|value| value == "write") && !archive().exists() {
        lived.write(&circle.root.path().join("lived.json"));
        let archive = archive();
        let names = [&["-czf", archive.to_str().expect("text"), "lived.json"], &lived::NAMES[..]].concat();
        tar(&names, circle.root.path());
    }
    let Circle { nodes, root, .. } = circle;
    lasts(upgraded(nodes, root, &lived).await).await;
}
