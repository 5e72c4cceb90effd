//! Folders as archives: written at one site, packed at the other, unpacked by the tools that people have.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use hyper::Method;
use serde_json::Value;

use crate::harness::{Answer, Circle, Dice, Node, REPO, Setup};
use crate::http::Site;

const KINDS: [&str; 4] = ["zip", "tar", "tar.gz", "tgz"];

type Files = BTreeMap<String, Vec<u8>>;

/// Files of each kind that has a way of its own, by their paths.
fn files() -> Files {
    let long = format!("{}deep.bin", "a-folder-with-a-long-name/".repeat(12));
    let sizes = [
        ("large.bin", 5_000_003),
        ("empty", 0),
        ("a b/grün & schön ß.txt", 1000),
        ("nested/folder/x.jar", 70_000),
        ("nested/folder/y.jar", 65_535),
        ("nested/z;k=v", 1),
        (&long, 333),
    ];
    let file = |(seed, (path, size)): (usize, (&str, usize))| (path.to_owned(), Dice(seed as u64 + 1).bytes(size));
    sizes.into_iter().enumerate().map(file).collect()
}

fn write(root: &Path, files: &Files) {
    for (name, bytes) in files {
        let path = root.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, bytes).expect("a file");
    }
}

/// All files below a folder, and folders in which nothing is, with their slash.
fn read(root: &Path) -> Files {
    let (mut found, mut folders) = (Files::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        let inside: Vec<PathBuf> =
            fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
        if inside.is_empty() {
            found.insert(format!("{}/", folder.strip_prefix(root).expect("below").display()), Vec::new());
        }
        for path in inside {
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).expect("below").display().to_string();
                found.insert(name, fs::read(&path).expect("a file"));
            }
        }
    }
    found
}

fn target(path: &str, kind: &str) -> String {
    format!("/artifactory/api/archive/download/{path}?archiveType={kind}")
}

async fn archive(node: &Node, path: &str, kind: &str) -> Answer {
    let answer = node.client().get(&target(path, kind)).await.expect("a whole answer");
    assert_eq!(answer.status, 200, "{kind} of {path}: {}", answer.text());
    answer
}

/// Unpacks by the tool that belongs to the kind.
fn unpack(folder: &Path, kind: &str, bytes: &[u8]) -> Files {
    let (file, to) = (folder.join(format!("archive.{kind}")), folder.join(format!("from-{kind}")));
    let _ = fs::remove_dir_all(&to);
    fs::create_dir_all(&to).expect("made");
    fs::write(&file, bytes).expect("written");
    let mut command = match kind {
        "zip" => Command::new("python3"),
        _ => Command::new("tar"),
    };
    match kind {
        "zip" => command.args(["-m", "zipfile", "-e"]).arg(&file).arg(&to),
        _ => command.arg("-xf").arg(&file).arg("-C").arg(&to),
    };
    let output = command.output().expect("the tool is there");
    assert!(output.status.success(), "{kind}: {}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{kind}: {}", String::from_utf8_lossy(&output.stderr));
    read(&to)
}

fn assert_same(found: &Files, expected: &Files, what: &str) {
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{what}");
    for (name, bytes) in expected {
        assert!(found[name] == *bytes, "{what}: {name} differs");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_packed_at_another_site_and_unpacked_by_common_tools() {
    let circle = Circle::new(2, 0, Setup::default()).await;
    let (here, there, root) = (&circle.nodes[0], &circle.nodes[1], circle.root.path());
    let mut files = files();
    let from = root.join("from");
    write(&from, &files);
    here.cli(&["artifact", "put", &format!("{REPO}/up"), from.to_str().expect("text")], "");
    here.cli(&["artifact", "mkdir", &format!("{REPO}/up/nothing/in here")], "");
    files.insert("nothing/in here/".into(), Vec::new());
    circle.converged().await;
    for kind in KINDS {
        let answer = archive(there, &format!("{REPO}/up"), kind).await;
        let disposition = answer.header("content-disposition");
        assert!(disposition.starts_with(&format!("attachment; filename=\"up.{kind}\"")), "{disposition}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        let media_type = match kind {
            "zip" => "application/zip",
            "tar" => "application/x-tar",
            _ => "application/gzip",
        };
        assert_eq!(answer.header("content-type"), media_type);
        assert_same(&unpack(root, kind, &answer.body), &files, kind);

        // With its slash; of the whole repository; of one file.
        let again = archive(there, &format!("{REPO}/up/"), kind).await;
        assert_same(&unpack(root, kind, &again.body), &files, kind);
        let all = unpack(root, kind, &archive(there, REPO, kind).await.body);
        assert_eq!(all.len(), files.len());
        assert!(all["up/large.bin"] == files["large.bin"]);
        let one = unpack(root, kind, &archive(there, &format!("{REPO}/up/nested/folder/x.jar"), kind).await.body);
        assert_same(&one, &Files::from([("x.jar".into(), files["nested/folder/x.jar"].clone())]), kind);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_stand_beside_their_files_and_times_are_those_of_the_files() {
    let site = Site::new(Setup::default());
    for (path, bytes) in [("a/hello", &b"hello world"[..]), ("a/b/empty", b"")] {
        assert_eq!(site.put(&format!("/artifactory/libs/{path}"), bytes).status, 201);
    }
    let expected = Files::from(
        [
            ("hello", "hello world"),
            ("hello.md5", "5eb63bbbe01eeed093cb22bb8f5acdc3"),
            ("hello.sha1", "2aae6c35c94fcfb415dbe95f408b9ce91ee846ed"),
            ("hello.sha256", "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"),
            ("b/empty", ""),
            ("b/empty.md5", "d41d8cd98f00b204e9800998ecf8427e"),
            ("b/empty.sha1", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
            ("b/empty.sha256", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ]
        .map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())),
    );
    let stat = site.curl("/artifactory/libs/a/hello", &["-I"]);
    let date = httpdate::parse_http_date(stat.header("last-modified")).expect("a date");
    for kind in KINDS {
        let path = format!("{}&includeChecksumFiles=true", target("libs/a", kind));
        let answer = site.client().get(&path).await.expect("an answer");
        assert_same(&unpack(site.root.path(), kind, &answer.body), &expected, kind);
        if kind != "zip" {
            let unpacked = fs::metadata(site.root.path().join(format!("from-{kind}/hello"))).expect("a file");
            assert_eq!(unpacked.modified().expect("a time"), date);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_packed_is_refused_before_the_first_byte() {
    let site = Site::new(Setup::default());
    assert_eq!(site.put("/artifactory/libs/a/hello", b"hello world").status, 201);
    for query in ["", "?archiveType=", "?archiveType=rar", "?archivetype=zip"] {
        let refused = site.curl(&format!("/artifactory/api/archive/download/libs/a{query}"), &[]);
        assert_eq!(refused.status, 400, "{query}");
        assert!(KINDS.iter().all(|kind| refused.message().contains(kind)), "{}", refused.text());
    }
    for path in ["libs/none", "libs/a/hello/", "other", "other/a"] {
        assert_eq!(site.curl(&target(path, "zip"), &[]).status, 404, "{path}");
    }
    assert_eq!(site.curl(&target("libs/a/../b", "zip"), &["--path-as-is"]).status, 400);
    assert_eq!(site.stranger(&target("libs/a", "zip"), &[]).status, 401);
    assert_eq!(site.curl(&target("libs/a", "zip"), &["-X", "PUT"]).status, 405);
    for kind in KINDS {
        let head = site.client().send(Method::HEAD, &target("libs", kind), &[], "").await.expect("an answer");
        assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
        assert!(head.header("content-disposition").contains(&format!("\"libs.{kind}\"")));
    }
    // An empty repository is an empty archive.
    site.node.cli(&["repo", "create", "bare"], "");
    for kind in ["zip", "tar"] {
        let answer = site.client().get(&target("bare", kind)).await.expect("an answer");
        assert_eq!(answer.status, 200);
        assert!(answer.body.iter().skip(4).all(|byte| *byte == 0) && !answer.body.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_is_one_line_of_the_audit_log_and_each_file_counts_as_downloaded() {
    let site = Site::new(Setup::default());
    for name in ["x", "y"] {
        assert_eq!(site.put(&format!("/artifactory/libs/a/{name}"), &Dice(3).bytes(100_000)).status, 201);
    }
    for kind in ["zip", "tar.gz"] {
        site.client().get(&target("libs/a", kind)).await.expect("an answer");
    }
    let told: Value = serde_json::from_str(&site.node.cli(&["audit", "--json", "--path", "libs/a"], "")).expect("JSON");
    let lines = told["records"].as_array().expect("lines").iter().filter(|line| line["what"] == "download");
    let objects: Vec<(&str, &str)> =
        lines.map(|line| (line["object"].as_str().expect("text"), line["result"].as_str().expect("text"))).collect();
    assert_eq!(objects, [("libs/a", "done"), ("libs/a", "done")], "{told:#}");
    for name in ["x", "y"] {
        let stats = site.curl(&format!("/artifactory/api/storage/libs/a/{name}?stats"), &[]).json();
        assert_eq!(stats["downloadCount"], 2, "{stats}");
    }
}

/// At a site that has one of two files, when nobody is there who has the other.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_nobody_has_break_the_archive_off() {
    let mut circle = Circle::new(1, 1, Setup::default()).await;
    for (seed, name) in ["a", "b"].into_iter().enumerate() {
        let body = Dice(seed as u64).bytes(300_000);
        circle.nodes[0].client().put(&format!("/artifactory/{REPO}/x/{name}"), body).await.expect("an answer");
    }
    circle.converged().await;
    let edge = circle.nodes[1].client();
    assert_eq!(edge.get(&format!("/artifactory/{REPO}/x/a")).await.expect("an answer").status, 200);
    circle.nodes[0].kill();
    for kind in KINDS {
        let answer = edge.get(&target(&format!("{REPO}/x"), kind)).await;
        assert!(answer.is_err(), "{kind}: a part was sent for the whole");
        let answer = edge.get(&target(&format!("{REPO}/x/b"), kind)).await.expect("an answer");
        assert_eq!(answer.status, 503, "{kind}: {}", answer.text());
        assert!(answer.text().contains("x/b"), "{}", answer.text());
        assert_eq!(archive(&circle.nodes[1], &format!("{REPO}/x/a"), kind).await.status, 200);
    }
}
