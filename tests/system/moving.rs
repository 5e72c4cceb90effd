//! `artimesh store move`, interrupted and not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use hyper::StatusCode;
use serde_json::Value;

use crate::harness::{Circle, Dice, Node, REPO, Setup, binary};

fn path(name: &str) -> String {
    format!("/artifactory/{REPO}/{name}")
}

async fn filled(bytes_each: usize) -> (Circle, Vec<Vec<u8>>) {
    let circle = Circle::new(1, 0, Setup::default()).await;
    let mut dice = Dice(41);
    let mut contents = Vec::new();
    for number in 0..12 {
        let bytes = dice.bytes(if number % 3 == 0 { bytes_each } else { 20_000 });
        let answer = circle.nodes[0].client().put(&path(&format!("{number}")), bytes.clone()).await.expect("an answer");
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        contents.push(bytes);
    }
    (circle, contents)
}

async fn serves(node: &Node, contents: &[Vec<u8>]) {
    for (number, bytes) in contents.iter().enumerate() {
        let answer = node.client().get(&path(&format!("{number}"))).await.expect("an answer");
        assert_eq!((answer.status, answer.body.as_ref() == bytes.as_slice()), (StatusCode::OK, true), "{number}");
    }
}

async fn place(node: &Node) -> PathBuf {
    let status = node.status().await.expect("a status");
    status["store"]["folder"].as_str().expect("a folder").into()
}

async fn incarnation(node: &Node) -> Value {
    node.status().await.expect("a status")["node"]["incarnation"].clone()
}

fn refused(node: &Node, to: &Path) -> String {
    let output = node.try_cli(&["store", "move", &to.display().to_string()], "");
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_moves_and_moves_back_and_the_node_goes_on_as_itself() {
    let (mut circle, contents) = filled(1_500_000).await;
    let life = incarnation(&circle.nodes[0]).await;
    let root = circle.root.path().canonicalize().expect("it is there");
    let (big, usual) = (root.join("big"), root.join("site-0/store"));
    assert!(refused(&circle.nodes[0], &big).contains("stop it first"), "it runs");
    circle.nodes[0].stop();
    let node = &circle.nodes[0];
    assert!(refused(node, &usual).contains("already"));
    assert!(refused(node, &usual.join("deeper")).contains("lie in one another"));
    fs::create_dir(root.join("used")).expect("made");
    fs::write(root.join("used/mine"), "x").expect("written");
    assert!(refused(node, &root.join("used")).contains("mine is in it"));
    assert!(refused(node, &root.join("no/parent")).contains("make it first"));
    let told: Value =
        serde_json::from_str(&node.cli(&["store", "move", &big.display().to_string(), "--json"], "")).expect("JSON");
    assert_eq!(told["blobs"], contents.len(), "{told}");
    assert!(!usual.join("packs").exists() && big.join("packs").exists());
    circle.nodes[0].start();
    assert_eq!(place(&circle.nodes[0]).await, big);
    serves(&circle.nodes[0], &contents).await;
    assert_eq!(incarnation(&circle.nodes[0]).await, life, "it is no copy");
    circle.nodes[0].stop();
    // The disk isn't mounted.
    fs::rename(&big, root.join("away")).expect("renamed");
    let output = circle.nodes[0].try_cli(&["serve"], "");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && told.contains("is the disk mounted?"), "{told}");
    fs::rename(root.join("away"), &big).expect("renamed");
    circle.nodes[0].cli(&["store", "move", &usual.display().to_string(), "--keep"], "");
    assert!(big.join("packs").exists());
    circle.nodes[0].start();
    assert_eq!(place(&circle.nodes[0]).await, usual);
    serves(&circle.nodes[0], &contents).await;
    assert_eq!(incarnation(&circle.nodes[0]).await, life);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_is_killed_at_any_moment_leaves_one_whole_store() {
    let (mut circle, contents) = filled(6 << 20).await;
    circle.nodes[0].stop();
    let root = circle.root.path().canonicalize().expect("it is there");
    let (mut killed, mut moves) = (0, 0);
    let mut dice = Dice(42);
    let mut delay_ms = 5;
    for round in 0..14 {
        let to = root.join(format!("place-{moves}"));
        let mut child = Command::new(binary())
            .args(["store", "move"])
            .arg(&to)
            .arg("--data")
            .arg(&circle.nodes[0].folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary runs");
        std::thread::sleep(Duration::from_millis(delay_ms));
        let was_killed = child.try_wait().expect("a child").is_none();
        let _ = child.kill();
        let status = child.wait().expect("reaped");
        killed += u32::from(was_killed);
        assert!(was_killed || status.success(), "{status}");
        // Later and later, until one gets through; then anywhere.
        delay_ms = if was_killed { delay_ms * 8 / 5 + 5 } else { 5 + u64::from(dice.bytes(1)[0]) * delay_ms / 256 };
        if round % 3 == 2 || !was_killed {
            circle.nodes[0].start();
            serves(&circle.nodes[0], &contents).await;
            let place = place(&circle.nodes[0]).await;
            assert!(place.join("packs").exists(), "{}", place.display());
            moves += u32::from(place == to);
            circle.nodes[0].stop();
        } else if fs::read_to_string(circle.nodes[0].folder.join("store.location"))
            .is_ok_and(|text| text.contains(&format!("place-{moves}")))
        {
            moves += 1;
        }
    }
    assert!(killed > 3, "{killed} were killed, {moves} got through");
    let last = root.join("last");
    circle.nodes[0].cli(&["store", "move", &last.display().to_string()], "");
    circle.nodes[0].start();
    assert_eq!(place(&circle.nodes[0]).await, last);
    serves(&circle.nodes[0], &contents).await;
    let left: Vec<_> = fs::read_dir(&root)
        .expect("listed")
        .filter_map(|entry| Some(entry.ok()?.path()).filter(|path| path.join("packs").exists()))
        .filter(|path| *path != last)
        .collect();
    // An unfinished copy of a place that was given up may be left, and nothing else.
    assert!(left.iter().all(|path| path.join("store.moving").exists()), "{left:?}");
}
