//! Collecting garbage and scrubbing, as an operator does it at a running node.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use hyper::StatusCode;
use serde_json::Value;

use crate::harness::{Circle, Dice, Node, REPO, Setup};

fn path(name: &str) -> String {
    format!("/artifactory/{REPO}/{name}")
}

fn files(node: &Node, folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(node.folder.join("store").join(folder)).expect("a folder");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

/// Spoils a byte of `bytes` wherever they lie in a node's store.
pub fn rot(node: &Node, bytes: &[u8]) {
    let mut spoilt = 0;
    for path in files(node, "packs").into_iter().chain(files(node, "large")) {
        let held = fs::read(&path).expect("a file");
        let Some(at) = held.windows(64).position(|window| window == &bytes[..64]) else { continue };
        let file = OpenOptions::new().write(true).open(&path).expect("it is there");
        file.write_all_at(&[!bytes[40]], at as u64 + 40).expect("written");
        spoilt += 1;
    }
    assert!(spoilt > 0, "the bytes are nowhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rotted_at_one_site_is_found_and_comes_back_from_another() {
    let circle = Circle::new(2, 0, Setup::default()).await;
    let mut dice = Dice(11);
    let contents = [dice.bytes(40_000), dice.bytes(3_000_000), dice.bytes(5_000)];
    for (number, bytes) in contents.iter().enumerate() {
        let answer = circle.nodes[0].client().put(&path(&format!("{number}")), bytes.clone()).await.expect("an answer");
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    }
    circle.converged().await;
    let node = &circle.nodes[1];
    node.cli(&["scrub"], "");
    contents[..2].iter().for_each(|bytes| rot(node, bytes));
    let output = node.try_cli(&["scrub", "--rate", "1GiB", "--json"], "");
    assert!(!output.status.success(), "a script sees that something was found");
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(told["rotten_blobs"], 2, "{told}");
    circle.converged().await;
    for (number, bytes) in contents.iter().enumerate() {
        let answer = node.client().get(&path(&format!("{number}"))).await.expect("an answer");
        assert_eq!((answer.status, answer.body.as_ref()), (StatusCode::OK, bytes.as_slice()), "{number}");
    }
    node.cli(&["scrub"], "");
    assert_eq!(node.status().await.expect("a status")["store"]["scrub"]["rotten_blobs"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_counted_by_a_dry_run_and_what_the_history_names_stays() {
    let circle = Circle::new(1, 0, Setup::default()).await;
    let node = &circle.nodes[0];
    let mut dice = Dice(12);
    for name in ["a", "b", "b"] {
        let answer = node.client().put(&path(name), dice.bytes(20_000)).await.expect("an answer");
        assert!(answer.status.is_success(), "{}", answer.text());
    }
    node.client().delete(&path("a")).await.expect("an answer");
    for args in [&["gc", "--dry-run", "--json"][..], &["gc", "--grace", "0s", "--json"]] {
        let told: Value = serde_json::from_str(&node.cli(args, "")).expect("JSON");
        assert_eq!(told["stored"]["blobs"], 3, "{told}");
        assert_eq!(told["in_use"]["live"]["blobs"], 1, "{told}");
        assert_eq!(told["in_use"]["history"]["blobs"], 2, "{told}");
        assert_eq!(told["removed"]["blobs"], 0, "{told}");
    }
    let page = node.cli(&["gc"], "");
    assert!(page.contains("in use: history"), "{page}");
}
