//! The bounded cache of an edge: what is read stays within the limit, comes again when it is asked for, and is served as it
//! was put.

use std::fs;
use std::path::Path;

use hyper::StatusCode;
use serde_json::Value;

use crate::harness::{Circle, Dice, Node, REPO, Setup, until};

const MIB: usize = 1 << 20;
/// A few blobs fit, not all.
const LIMIT: u64 = 8 << 20;

fn path(name: &str) -> String {
    format!("/artifactory/{REPO}/{name}")
}

async fn put(node: &Node, name: &str, bytes: &[u8]) {
    let answer = node.client().put(&path(name), bytes.to_vec()).await.expect("an answer");
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
}

async fn read(node: &Node, name: &str, expected: &[u8]) {
    let answer = node.client().get(&path(name)).await.expect("an answer");
    assert_eq!(answer.status, StatusCode::OK, "{name}: {}", answer.text());
    assert!(answer.body.as_ref() == expected, "{name}: {} bytes that aren't those that were put", answer.body.len());
}

fn cache(node: &Node) -> Value {
    serde_json::from_str(&node.cli(&["cache", "status", "--json"], "")).expect("JSON")
}

fn held(node: &Node) -> u64 {
    cache(node)["held"]["bytes"].as_u64().expect("a number")
}

/// Waits until nothing is on its way any more (a reader has the last bytes before they are stored), and all of it fits.
async fn within_limit(node: &Node) {
    until("the cache is within its limit", || async {
        let told = cache(node);
        let fits = told["held"]["bytes"].as_u64().is_some_and(|bytes| bytes <= LIMIT);
        if fits && told["incoming_bytes"] == 0 { Ok(()) } else { Err(told.to_string()) }
    })
    .await;
}

/// What the files of large blobs take, those that are on their way and those that are about to go included.
fn large_bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder.join("store/large")).expect("a folder");
    // One that goes between the two calls is gone.
    entries.filter_map(|entry| entry.ok()?.metadata().ok()).map(|metadata| metadata.len()).sum()
}

/// A full member with `contents` as 0, 1, … and an edge with a cache of [`LIMIT`].
async fn edge_of(contents: &[Vec<u8>]) -> Circle {
    let root = tempfile::tempdir().expect("a folder");
    let site = Node::init(root.path(), "site-0", Setup { new_circle: true, ..Setup::default() });
    let small = Setup::default().with("ARTIMESH_CACHE_MAX_SIZE", &LIMIT.to_string());
    let edge = Node::init(root.path(), "edge-0", small);
    let circle = Circle::of(vec![site, edge], 1, root).await;
    for (number, bytes) in contents.iter().enumerate() {
        put(&circle.nodes[0], &format!("all/{number}"), bytes).await;
    }
    circle.converged().await;
    circle
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_reads_more_than_fits_stays_within_its_limit_and_serves_everything() {
    let mut dice = Dice(31);
    let sizes = (0..24).map(|number| if number % 3 == 0 { 300_000 } else { MIB + 1000 * number });
    let contents: Vec<Vec<u8>> = sizes.map(|size| dice.bytes(size)).collect();
    let circle = edge_of(&contents).await;
    let edge = &circle.nodes[1];
    for round in 0..2 {
        for (number, bytes) in contents.iter().enumerate() {
            read(edge, &format!("all/{number}"), bytes).await;
            // What is about to be removed, and the one that came just now.
            let most = LIMIT + 4 * (MIB as u64);
            assert!(large_bytes(&edge.folder) <= most, "round {round}: {} bytes", large_bytes(&edge.folder));
        }
    }
    within_limit(edge).await;
    let told = cache(edge);
    let evicted = told["evicted"]["blobs"].as_u64().expect("a number");
    assert!(evicted >= 24, "{told}");
    assert!(told["misses"].as_u64().is_some_and(|misses| misses >= 24 + 16), "{told}");
    let journal = fs::read_to_string(edge.folder.join("store/gc.log")).expect("a journal");
    assert_eq!(journal.matches("\"evicted\"").count() as u64, evicted, "a line for each");
    // The ones that were read last are here.
    let before = cache(edge)["misses"].clone();
    for number in (20..24).rev() {
        read(edge, &format!("all/{number}"), &contents[number]).await;
    }
    assert_eq!(cache(edge)["misses"], before, "{}", cache(edge));
    let page = edge.cli(&["cache", "status"], "");
    assert!(page.contains("cache.max_size 8.00 MiB"), "{page}");
    assert!(edge.cli(&["status"], "").contains("cache "));
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_at_the_same_time_get_whole_bytes_while_everything_is_evicted_all_the_time() {
    let mut dice = Dice(32);
    let contents: Vec<Vec<u8>> = (0..16).map(|number| dice.bytes(MIB + 200_000 * (number % 4))).collect();
    let circle = edge_of(&contents).await;
    let edge = &circle.nodes[1];
    let mut readers = tokio::task::JoinSet::new();
    for reader in 0..6_usize {
        let (client, contents) = (edge.client(), contents.clone());
        readers.spawn(async move {
            for turn in 0..30 {
                let number = (turn * (2 * reader + 1) + reader) % contents.len();
                let answer = client.get(&path(&format!("all/{number}"))).await.expect("an answer");
                assert_eq!(answer.status, StatusCode::OK, "{number}: {}", answer.text());
                assert!(answer.body.as_ref() == contents[number].as_slice(), "{number}");
            }
        });
    }
    while let Some(done) = readers.join_next().await {
        done.expect("no reader fails");
    }
    within_limit(edge).await;
    assert!(cache(edge)["evicted"]["blobs"].as_u64().is_some_and(|blobs| blobs > 10), "{}", cache(edge));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pinned_stays_also_over_a_restart_and_goes_when_it_is_unpinned() {
    let mut dice = Dice(33);
    let contents: Vec<Vec<u8>> = (0..16).map(|_| dice.bytes(MIB + 5)).collect();
    let mut circle = edge_of(&contents).await;
    for name in ["kept/a", "kept/deeper/b"] {
        put(&circle.nodes[0], name, &dice.bytes(MIB + 7)).await;
    }
    circle.converged().await;
    let kept = |name: &str| format!("{REPO}/{name}");
    let edge = &circle.nodes[1];
    let mut bodies = Vec::new();
    for name in ["kept/a", "kept/deeper/b"] {
        bodies.push(edge.client().get(&path(name)).await.expect("an answer").body);
    }
    edge.cli(&["cache", "pin", &kept("kept")], "");
    let told = edge.try_cli(&["cache", "pin", "nowhere"], "");
    assert!(String::from_utf8_lossy(&told.stderr).contains("does not exist"));
    assert!(edge.cli(&["cache", "list"], "").contains("kept"));
    for (number, bytes) in contents.iter().enumerate() {
        read(edge, &format!("all/{number}"), bytes).await;
    }
    within_limit(edge).await;
    // kill -9: the list of what is cached is minutes old, or there is none; the pins are durable.
    circle.nodes[1].kill();
    circle.nodes[1].start();
    let edge = &circle.nodes[1];
    circle.converged().await;
    for (number, bytes) in contents.iter().enumerate().rev() {
        read(edge, &format!("all/{number}"), bytes).await;
    }
    within_limit(edge).await;
    let before = cache(edge)["misses"].clone();
    for (name, body) in ["kept/a", "kept/deeper/b"].iter().zip(&bodies) {
        read(edge, name, body).await;
    }
    assert_eq!(cache(edge)["misses"], before, "both are here still");
    edge.cli(&["cache", "unpin", &kept("kept")], "");
    assert!(edge.cli(&["cache", "list"], "").contains("nothing is pinned"));
    assert!(!edge.try_cli(&["cache", "unpin", &kept("kept")], "").status.success());
    for _ in 0..2 {
        for (number, bytes) in contents.iter().enumerate() {
            read(edge, &format!("all/{number}"), bytes).await;
        }
        within_limit(edge).await;
    }
    read(edge, "kept/a", &bodies[0]).await;
    assert_ne!(cache(edge)["misses"], before, "it had gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_the_order_and_counts_nothing_twice() {
    let mut dice = Dice(34);
    let contents: Vec<Vec<u8>> = (0..12).map(|_| dice.bytes(MIB + 5)).collect();
    let mut circle = edge_of(&contents).await;
    for (number, bytes) in contents[..6].iter().enumerate() {
        read(&circle.nodes[1], &format!("all/{number}"), bytes).await;
    }
    // The first one is the one that was read last: behind the arrival of all.
    within_limit(&circle.nodes[1]).await;
    read(&circle.nodes[1], "all/0", &contents[0]).await;
    within_limit(&circle.nodes[1]).await;
    let before = held(&circle.nodes[1]);
    circle.nodes[1].stop();
    circle.nodes[1].start();
    circle.converged().await;
    assert_eq!(held(&circle.nodes[1]), before);
    for (number, bytes) in contents.iter().enumerate().skip(6).take(3) {
        read(&circle.nodes[1], &format!("all/{number}"), bytes).await;
    }
    within_limit(&circle.nodes[1]).await;
    let misses = cache(&circle.nodes[1])["misses"].clone();
    read(&circle.nodes[1], "all/0", &contents[0]).await;
    assert_eq!(cache(&circle.nodes[1])["misses"], misses, "it was read later than others before the restart");
    // After a kill what is here is found, and what went is not counted.
    let before = held(&circle.nodes[1]);
    circle.nodes[1].kill();
    circle.nodes[1].start();
    circle.converged().await;
    until("what is here is counted again", || async {
        let now = held(&circle.nodes[1]);
        if now == before { Ok(()) } else { Err(format!("{now} bytes instead of {before}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_larger_than_the_cache_is_served_and_not_kept() {
    let mut dice = Dice(35);
    let small: Vec<Vec<u8>> = (0..3).map(|_| dice.bytes(MIB + 5)).collect();
    let mut contents = small.clone();
    contents.push(dice.bytes(LIMIT as usize + 3 * MIB));
    let circle = edge_of(&contents).await;
    let edge = &circle.nodes[1];
    for (number, bytes) in contents.iter().enumerate() {
        read(edge, &format!("all/{number}"), bytes).await;
    }
    until("what is too large has gone", || async {
        let told = cache(edge);
        let is_small = told["held"]["bytes"].as_u64().is_some_and(|bytes| bytes < 4 * MIB as u64);
        if is_small && told["evicted"]["blobs"] == 1 { Ok(()) } else { Err(told.to_string()) }
    })
    .await;
    let misses = cache(edge)["misses"].clone();
    for (number, bytes) in small.iter().enumerate() {
        read(edge, &format!("all/{number}"), bytes).await;
    }
    assert_eq!(cache(edge)["misses"], misses, "the others did not make room for it");
    read(edge, "all/3", &contents[3]).await;
}
