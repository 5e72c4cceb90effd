//! Whole folders by the command line: up at one site and down at another, each file once.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use hyper::Method;
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

#[tokio::test(flavor = "multi_thread")]
async fn many_files_are_meant_by_a_pattern() {
    let circle = Circle::new(2, 0, Setup::default()).await;
    let (here, there) = (&circle.nodes[0], &circle.nodes[1]);
    for name in ["a/x.jar", "a/b/y.jar", "a/b/y.pom", "a/b/c/z ü;1.jar", "ab.jar"] {
        let path = name.replace(' ', "%20").replace('ü', "%C3%BC").replace(';', "%3B");
        let answer = here
            .client()
            .put(&format!("/artifactory/{REPO}/{path}"), name.as_bytes().to_vec())
            .await
            .expect("an answer");
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    let listed = |node: &Node, what: &str| -> Vec<String> {
        let (list, _) = told(node, &["artifact", "ls", what]);
        let files = list["files"].as_array().expect("files").iter();
        files.map(|file| file["uri"].as_str().expect("a path").trim_start_matches('/').to_owned()).collect()
    };
    let all_jars = format!("{REPO}/a/**/*.jar");
    assert_eq!(listed(here, &all_jars), ["b/c/z ü;1.jar", "b/y.jar", "x.jar"]);
    assert_eq!(listed(here, REPO).len(), 5);
    assert!(here.cli(&["artifact", "ls", &all_jars], "").contains("b/c/z ü;1.jar"));

    assert_eq!(counts(&told(here, &["artifact", "prop", &all_jars, "--set", "kind=jar"]).0), [3, 0, 0]);
    let shown = here.cli(&["artifact", "prop", &format!("{REPO}/a/b/y.jar")], "");
    assert!(shown.contains("kind"), "{shown}");
    assert!(here.cli(&["artifact", "prop", &format!("{REPO}/a/b/y.pom")], "").contains("no properties"));

    let copies = format!("{REPO}/copies");
    let copy = |more: &[&str]| told(here, &[&["artifact", "cp", &all_jars, &copies], more].concat()).0;
    assert_eq!(counts(&copy(&["--dry-run"])), [3, 0, 0]);
    assert_eq!(listed(here, REPO).len(), 5, "a dry run changes nothing");
    assert_eq!(counts(&copy(&[])), [3, 0, 0]);
    assert_eq!(listed(here, &format!("{copies}/**")), ["b/c/z ü;1.jar", "b/y.jar", "x.jar"]);
    let moved = told(here, &["artifact", "mv", &format!("{copies}/*/y.*"), &format!("{REPO}/moved/")]).0;
    assert_eq!(counts(&moved), [1, 0, 0]);
    circle.converged().await;
    assert_eq!(listed(there, &format!("{REPO}/moved/**")), ["b/y.jar"]);

    let remove = |more: &[&str]| told(there, &[&["artifact", "rm", &all_jars], more].concat());
    assert_eq!(counts(&remove(&["--dry-run"]).0), [3, 0, 0]);
    assert_eq!(counts(&remove(&[]).0), [3, 0, 0]);
    let none = there.try_cli(&["artifact", "rm", &all_jars], "");
    assert!(!none.status.success());
    assert!(String::from_utf8_lossy(&none.stderr).contains("no file matches"), "{none:?}");
    circle.converged().await;
    assert_eq!(
        listed(here, &format!("{REPO}/**")),
        ["a/b/y.pom", "ab.jar", "copies/b/c/z ü;1.jar", "copies/x.jar", "moved/b/y.jar"]
    );
    assert_eq!(listed(here, &format!("{REPO}/*")), ["ab.jar"]);
    // Where it matches again, or into what isn't there, nothing goes.
    for to in [format!("{REPO}/a"), "nowhere".to_owned()] {
        let refused = here.try_cli(&["artifact", "mv", &format!("{REPO}/**"), &to], "");
        assert!(!refused.status.success(), "{refused:?}");
    }
    assert_eq!(listed(here, &format!("{REPO}/**")).len(), 5);
    // Whoever names what they mean hits nothing else.
    for (name, tag, status) in [("ab.jar", "00", 412), ("a", "00", 412), ("none", "00", 404)] {
        let tag = format!("\"{}\"", tag.repeat(20));
        let condition = [("if-match", tag.as_str())];
        for (method, path) in [
            (Method::DELETE, format!("/artifactory/{REPO}/{name}")),
            (Method::PUT, format!("/artifactory/api/storage/{REPO}/{name}?properties=k=v")),
            (Method::POST, format!("/artifactory/api/move/{REPO}/{name}?to=/{REPO}/other")),
        ] {
            let answer = here.client().send(method, &path, &condition, "").await.expect("an answer");
            assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.text());
        }
    }
    // A name may have what is a wildcard elsewhere.
    for name in ["what%3F", "whatX"] {
        here.client().put(&format!("/artifactory/{REPO}/{name}"), name.as_bytes().to_vec()).await.expect("an answer");
    }
    here.cli(&["artifact", "rm", &format!("{REPO}/what\\?")], "");
    assert_eq!(listed(here, &format!("{REPO}/what*")), ["whatX"]);
    // One file is no folder of them.
    let file = circle.root.path().join("file");
    fs::write(&file, "x").expect("written");
    let (one, place) = (file.to_str().expect("text"), format!("{REPO}/dry"));
    assert!(here.cli(&["artifact", "put", &place, one, "--dry-run"], "").contains(&place));
    assert_eq!(listed(here, &format!("{REPO}/d*")).len(), 0);
}
