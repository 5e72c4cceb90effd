//! Backups of running and stopped nodes, what is made of them, and folders that were copied.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::{Method, StatusCode};
use serde_json::Value;

use crate::harness::{Circle, Client, Dice, Node, REPO, Setup, until};

fn path(name: &str) -> String {
    format!("/artifactory/{REPO}/{name}")
}

async fn put(node: &Node, name: &str, bytes: Vec<u8>) {
    let answer = node.client().put(&path(name), bytes).await.expect("an answer");
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
}

async fn incarnation(node: &Node) -> String {
    let status = node.status().await.expect("a status");
    status["node"]["incarnation"].as_str().expect("one").to_owned()
}

fn refused(node: &Node, args: &[&str]) -> String {
    let output = node.try_cli(args, "");
    assert_eq!(output.status.code(), Some(1), "{args:?}: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp runs");
    assert!(status.success());
}

/// Goes on with another folder.
fn adopt(node: &mut Node, folder: &Path) {
    let _ = std::fs::remove_file(folder.join("http.addr"));
    node.folder = folder.to_owned();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_restored_while_others_went_on_loses_nothing_and_forks_nothing() {
    let mut circle = Circle::new(3, 0, Setup::default()).await;
    let mut dice = Dice(3);
    for index in 0..20 {
        let size = if index % 5 == 0 { 1_500_000 } else { 2_000 };
        put(&circle.nodes[0], &format!("before/{index}"), dice.bytes(size)).await;
    }
    let ended = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn(write_until(circle.nodes[0].client(), ended.clone()));
    until("writes go on", || async {
        let answer = circle.nodes[0].client().get(&path("during/5")).await?;
        if answer.status.is_success() { Ok(()) } else { Err(answer.text()) }
    })
    .await;
    let file = circle.root.path().join("berlin.tar");
    let shown = file.display().to_string();
    let made: Value =
        serde_json::from_str(&circle.nodes[0].cli(&["backup", "--to", &shown, "--json"], "")).expect("JSON");
    assert!(made["about"]["commit"].as_u64().is_some_and(|commit| commit > 20), "{made}");
    // What comes after the backup is known to the others only.
    put(&circle.nodes[0], "after", b"after the backup".to_vec()).await;
    ended.store(true, Ordering::Relaxed);
    let written = writer.await.expect("it ends");
    circle.converged().await;
    let last = incarnation(&circle.nodes[0]).await;
    circle.nodes[0].kill();
    circle.nodes[1].client().put(&path("elsewhere"), b"x".to_vec()).await.expect("an answer");

    let folder = circle.root.path().join("restored");
    adopt(&mut circle.nodes[0], &folder);
    let told = circle.nodes[0].cli(&["restore", "--from", &shown], "");
    assert!(told.contains("new incarnation"), "{told}");
    circle.nodes[0].start();
    assert_ne!(incarnation(&circle.nodes[0]).await, last);
    let listing = circle.converged().await;
    for name in ["/after", "/elsewhere", "/before/19"] {
        assert!(listing.contains_key(name), "{name} is missing");
    }
    assert!((0..written).all(|index| listing.contains_key(&format!("/during/{index}"))), "{written} were acknowledged");
    put(&circle.nodes[0], "again", b"again".to_vec()).await;
    assert!(circle.converged().await.contains_key("/again"));
    for node in &circle.nodes {
        let log = std::fs::read_to_string(node.log_path()).expect("a log");
        assert!(!log.contains("two different logs"), "{} saw a fork", node.name);
    }
}

/// Returns how many puts were acknowledged.
async fn write_until(client: Client, ended: Arc<AtomicBool>) -> usize {
    let mut count = 0;
    while !ended.load(Ordering::Relaxed) {
        let answer = client.put(&path(&format!("during/{count}")), vec![7; 3_000]).await.expect("an answer");
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        count += 1;
    }
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_folder_and_a_store_that_was_set_back_go_on_in_a_new_incarnation() {
    let mut circle = Circle::new(2, 0, Setup::default()).await;
    put(&circle.nodes[0], "first", b"1".to_vec()).await;
    let first = incarnation(&circle.nodes[0]).await;
    circle.nodes[0].stop();
    let original = circle.nodes[0].folder.clone();
    let moved = circle.root.path().join("moved");
    let old = circle.root.path().join("old");
    copy(&original, &old);
    std::fs::rename(&original, &moved).expect("renamed");
    adopt(&mut circle.nodes[0], &moved);
    circle.nodes[0].start();
    assert_eq!(incarnation(&circle.nodes[0]).await, first, "a folder that was moved is the same");
    put(&circle.nodes[0], "second", b"2".to_vec()).await;
    circle.converged().await;
    circle.nodes[0].stop();

    adopt(&mut circle.nodes[0], &old);
    circle.nodes[0].start();
    assert_ne!(incarnation(&circle.nodes[0]).await, first);
    until("a peer was asked", || async {
        let answer = circle.nodes[0].client().put(&path("third"), b"3".to_vec()).await?;
        if answer.status == StatusCode::CREATED { Ok(()) } else { Err(answer.text()) }
    })
    .await;
    let listing = circle.converged().await;
    assert_eq!(listing.keys().map(String::as_str).collect::<Vec<_>>(), ["/first", "/second", "/third"]);
    let log = std::fs::read_to_string(circle.nodes[0].log_path()).expect("a log");
    assert!(log.contains("is a copy"), "it says why");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_node_asks_a_peer_before_it_writes_unless_it_is_told_not_to() {
    let mut circle = Circle::new(2, 0, Setup::default()).await;
    put(&circle.nodes[0], "first", b"1".to_vec()).await;
    circle.converged().await;
    circle.nodes[0].stop();
    circle.nodes[1].stop();
    let old = circle.root.path().join("old");
    copy(&circle.nodes[0].folder, &old);
    adopt(&mut circle.nodes[0], &old);
    circle.nodes[0].start();
    let answer = circle.nodes[0].client().put(&path("second"), b"2".to_vec()).await.expect("an answer");
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text());
    assert!(answer.text().contains("--alone"), "{}", answer.text());
    circle.nodes[0].stop();
    circle.nodes[0].start();
    let answer = circle.nodes[0].client().put(&path("second"), b"2".to_vec()).await.expect("an answer");
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "it asks until it was answered");
    circle.nodes[0].stop();
    circle.nodes[0].say("--alone");
    circle.nodes[0].start();
    put(&circle.nodes[0], "second", b"2".to_vec()).await;
    circle.nodes[1].start();
    assert_eq!(circle.converged().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_that_can_not_be_made_or_used_are_refused_and_leave_nothing_behind() {
    let root = tempfile::tempdir().expect("a folder");
    let mut node = Node::init(root.path(), "berlin", Setup { new_circle: true, ..Setup::default() });
    node.start();
    node.cli(&["repo", "create", REPO], "");
    put(&node, "a", vec![1; 2_000_000]).await;
    let stranger = Client { token: None, ..node.client() };
    let answer = stranger.send(Method::GET, "/artifactory/api/mesh/backup", &[], "").await.expect("an answer");
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);

    let file = root.path().join("b.tar").display().to_string();
    node.cli(&["backup", "--to", &file], "");
    assert!(refused(&node, &["backup", "--to", &file]).contains("exists"));
    assert!(refused(&node, &["restore", "--from", &file]).contains("data folder of a node already"));
    let whole = std::fs::read(&file).expect("the backup");
    let bad = root.path().join("bad.tar").display().to_string();
    std::fs::write(&bad, &whole[..whole.len() / 2]).expect("written");
    let mut other = Node::init(root.path(), "tokyo", Setup::default());
    other.folder = root.path().join("empty");
    std::fs::create_dir(&other.folder).expect("made");
    assert!(refused(&other, &["restore", "--from", &bad]).contains("cut off"));
    let mut altered = whole;
    altered[1_000_000] ^= 1;
    std::fs::write(&bad, &altered).expect("written");
    assert!(refused(&other, &["restore", "--from", &bad, "--dry-run"]).contains("damaged"));
    assert!(refused(&other, &["restore", "--from", &bad]).contains("damaged"));
    assert_eq!(std::fs::read_dir(&other.folder).expect("there").count(), 0, "nothing half done");

    // Of the folder, when nobody runs on it; also after a kill, which leaves the address behind.
    node.kill();
    let offline = root.path().join("offline.tar").display().to_string();
    node.cli(&["backup", "--to", &offline], "");
    other.cli(&["restore", "--from", &offline], "");
    other.start();
    let answer = other.client().get(&path("a")).await.expect("an answer");
    assert_eq!((answer.status, answer.body.len()), (StatusCode::OK, 2_000_000));
    assert!(!Path::new(&format!("{}/circle-root.key", other.folder.display())).exists());
}
