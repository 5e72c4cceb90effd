//! Whole folders by the command line: up at one site and down at another, each file once.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::Value;

use crate::harness::{Circle, Dice, Node, REPO, Setup};

/// What is told of a transfer that may have left something out.
fn told(node: &Node, words: &[&str]) -> (Value, bool) {
    let output = node.try_cli(&[words, &["--json"]].concat(), "");
    let value = serde_json::from_slice(&output.stdout);
    (value.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr))), output.status.success())
}

fn counts(told: &Value) -> [u64; 3] {
    ["files", "there_already", "failed"].map(|name| told[name].as_u64().expect("a number"))
}

/// Paths and bytes of all files below a folder.
fn contents(root: &Path) -> Vec<(String, Vec<u8>)> {
    let (mut found, mut folders) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).expect("below").display().to_string();
                found.push((name, fs::read(&path).expect("a file")));
            }
        }
    }
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_goes_up_at_one_site_and_down_at_another_and_nothing_goes_twice() {
    let circle = Circle::new(2, 0, Setup::default()).await;
    let (here, there) = (&circle.nodes[0], &circle.nodes[1]);
    let (from, to) = (circle.root.path().join("from"), circle.root.path().join("to"));
    let names = ["a", "b/c/x.jar", "b/c/y ü%41.jar", "b/z;k=v", "empty", "large"];
    for (seed, name) in names.iter().enumerate() {
        let path = from.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        let bytes =
            [3_000_000, 0, 5000][usize::from(*name != "large") + usize::from(!["empty", "large"].contains(name))];
        fs::write(path, Dice(seed as u64 + 1).bytes(bytes)).expect("a file");
    }
    let (from_text, to_text) = (from.to_str().expect("text"), to.to_str().expect("text"));
    let place = format!("{REPO}/up");
    let up = |more: &[&str]| told(here, &[&["artifact", "put", &place, from_text], more].concat());
    assert_eq!(counts(&up(&["--dry-run"]).0), [6, 0, 0]);
    assert_eq!(counts(&up(&["--include", "**/*.jar", "--exclude", "**/x*"]).0), [1, 0, 0]);
    assert_eq!(counts(&up(&["--jobs", "3"]).0), [5, 1, 0]);
    assert_eq!(counts(&up(&[]).0), [0, 6, 0], "nothing goes twice");
    fs::write(from.join("a"), Dice(99).bytes(5000)).expect("a file");
    assert_eq!(counts(&up(&[]).0), [1, 5, 0], "as many bytes, and others");
    circle.converged().await;

    let folder = format!("{place}/");
    let down = |more: &[&str]| told(there, &[&["artifact", "get", &folder, to_text], more].concat());
    assert_eq!(counts(&down(&["--dry-run"]).0), [6, 0, 0]);
    assert!(!to.exists());
    assert_eq!(counts(&down(&[]).0), [6, 0, 0]);
    assert_eq!(contents(&to), contents(&from));
    assert_eq!(counts(&down(&[]).0), [0, 6, 0]);
    fs::write(to.join("large"), b"other").expect("a file");
    fs::remove_file(to.join("empty")).expect("it was there");
    assert_eq!(counts(&down(&[]).0), [2, 4, 0]);
    let some = circle.root.path().join("some");
    let pattern = format!("{place}/**/*.jar");
    let (jars, _) = told(there, &["artifact", "get", &pattern, some.to_str().expect("text")]);
    assert_eq!(counts(&jars), [2, 0, 0]);
    assert_eq!(
        contents(&some).iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["b/c/x.jar", "b/c/y ü%41.jar"]
    );
    // Without its slash it is one artifact, which isn't there.
    assert!(!there.try_cli(&["artifact", "get", &place, to_text], "").status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_stays_in_its_folder_and_no_file_takes_the_place_of_another() {
    let circle = Circle::new(1, 0, Setup::default()).await;
    let node = &circle.nodes[0];
    for name in ["x/One", "x/one", "x/two", "link/inside", "taken", "folder"] {
        let answer =
            node.client().put(&format!("/artifactory/{REPO}/{name}"), b"new".to_vec()).await.expect("an answer");
        assert_eq!(answer.status, 201);
    }
    let (to, outside) = (circle.root.path().join("to"), circle.root.path().join("outside"));
    fs::create_dir_all(to.join("folder")).expect("made");
    fs::create_dir(&outside).expect("made");
    fs::write(outside.join("inside"), b"old").expect("written");
    symlink(&outside, to.join("link")).expect("a link");
    symlink(outside.join("inside"), to.join("taken")).expect("a link");
    let (report, is_whole) = told(node, &["artifact", "get", REPO, to.to_str().expect("text")]);
    assert_eq!((counts(&report), is_whole), ([1, 0, 5], false), "{report}");
    assert_eq!(fs::read(to.join("x/two")).expect("a file"), b"new");
    assert!(!to.join("x/one").exists() && !to.join("x/One").exists());
    assert_eq!(contents(&outside), [("inside".to_owned(), b"old".to_vec())]);
    assert!(fs::symlink_metadata(to.join("taken")).expect("it is there").is_symlink());
}
