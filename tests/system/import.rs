//! What a tree or another server holds is imported once, whatever interrupts it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};

use data_encoding::HEXLOWER;
use futures::{StreamExt as _, stream};
use hyper::StatusCode;
use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};
use tempfile::TempDir;

use crate::harness::{DEADLINE, Dice, Node, REPO, Setup, binary, is_long, listing};

/// A node alone, with the repository `libs`.
struct World {
    node: Node,
    root: TempDir,
}

impl World {
    fn new() -> World {
        let root = tempfile::tempdir().expect("a folder");
        World { node: World::another(root.path(), "site"), root }
    }

    fn another(root: &Path, name: &str) -> Node {
        let mut node = Node::init(root, name, Setup { new_circle: true, ..Setup::default() });
        node.start();
        node.cli(&["repo", "create", REPO], "");
        node
    }

    fn tree(&self) -> std::path::PathBuf {
        self.root.path().join("tree")
    }

    /// Imports the tree; what is told on standard output.
    fn import(&self, more: &[&str]) -> Value {
        told(&self.try_import(more), true)
    }

    fn try_import(&self, more: &[&str]) -> Output {
        let tree = self.tree();
        let words = ["import", "tree", tree.to_str().expect("text"), REPO, "--json"];
        self.node.try_cli(&[&words, more].concat(), "")
    }

    /// Begins to import the tree.
    fn begin(&self, more: &[&str]) -> Child {
        let mut command = Command::new(binary());
        command.args(["import", "tree"]).arg(self.tree()).args([REPO, "--data"]).arg(&self.node.folder).args(more);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("the binary runs")
    }

    /// How many uploads the node has acknowledged since it started.
    async fn uploads(&self) -> u64 {
        let text = self.node.client().get("/metrics").await.expect("metrics").text();
        let line = r#"artimesh_http_requests_total{route="artifact_put",class="2xx"} "#;
        text.lines().find_map(|found| found.strip_prefix(line)?.parse().ok()).unwrap_or(0)
    }

    /// How many versions of the file at `path` there ever were.
    async fn versions(&self, path: &str) -> usize {
        let path = percent_encoding::utf8_percent_encode(path, percent_encoding::NON_ALPHANUMERIC).to_string();
        let path = path.replace("%2F", "/");
        let answer = self.node.client().get(&format!("/artifactory/api/mesh/history/{REPO}{path}")).await;
        let history = answer.expect("an answer").json();
        let count = |name: &str| history[name].as_array().map_or(0, Vec::len);
        count("live") + count("history")
    }

    /// The node has all of these files, and each was written once.
    async fn has_once(&self, files: &BTreeMap<String, String>) {
        let there = listing(&self.node).await;
        assert_eq!(there.len(), files.len());
        assert!(there == *files, "what is there differs from the tree");
        let counts = stream::iter(files.keys()).map(|path| async move { (path, self.versions(path).await) });
        let twice: Vec<_> =
            counts.buffer_unordered(16).filter(|(_, count)| std::future::ready(*count != 1)).collect().await;
        assert!(twice.is_empty(), "not written once: {twice:?}");
    }
}

fn told(output: &Output, success: bool) -> Value {
    let complained = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.success(), success, "{complained}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {complained}"))
}

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(path, bytes).expect("written");
}

fn sha1(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha1::digest(bytes))
}

/// Makes a tree; path → SHA-1, as a listing has it.
fn grow(tree: &Path, count: usize) -> BTreeMap<String, String> {
    let mut dice = Dice(77);
    let mut files = BTreeMap::new();
    for number in 0..count {
        let size = dice.below(3000) as usize;
        let bytes = dice.bytes(size);
        let path = format!("/group-{}/a{}/file {number};v=1.bin", number % 17, number % 101);
        write(&tree.join(&path[1..]), &bytes);
        files.insert(path, sha1(&bytes));
    }
    files
}

fn touch(path: &Path, modified: SystemTime) {
    File::options().append(true).open(path).and_then(|file| file.set_modified(modified)).expect("touched");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_is_killed_five_times_is_complete_in_the_end_and_wrote_nothing_twice() {
    let world = World::new();
    let count = if is_long() { 100_000 } else { 2_000 };
    let files = grow(&world.tree(), count);
    // So slow that there is time to kill it.
    let limit = if is_long() { "200MiB" } else { "1MiB" };
    for round in 1..=5 {
        let mut import = world.begin(&["--rate-limit", limit]);
        let (start, enough) = (Instant::now(), (round * count / 6) as u64);
        while world.uploads().await < enough {
            assert!(import.try_wait().expect("a child").is_none(), "round {round}: it ended before it was killed");
            assert!(start.elapsed() < 5 * DEADLINE, "round {round}: no progress");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        import.kill().expect("killed");
        import.wait().expect("reaped");
    }
    let start = Instant::now();
    let last = world.import(&[]);
    let (there, came) = (last["there_already"].as_u64().expect("a count"), last["files"].as_u64().expect("a count"));
    println!("the last of six runs imported {came} files in {:?}", start.elapsed());
    assert_eq!((there + came, last["failed"].as_u64()), (count as u64, Some(0)), "{last}");
    assert!(there >= (5 * count / 6) as u64, "what was acknowledged wasn't taken for done: {last}");
    world.has_once(&files).await;

    let (start, uploads) = (Instant::now(), world.uploads().await);
    let again = world.import(&[]);
    println!("a second pass took {:?}", start.elapsed());
    assert_eq!((again["files"].as_u64(), again["there_already"].as_u64()), (Some(0), Some(count as u64)), "{again}");
    assert_eq!(world.uploads().await, uploads);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_pass_transfers_what_has_changed_and_nothing_else() {
    let world = World::new();
    let mut files = grow(&world.tree(), 40);
    let rehearsal = world.import(&["--dry-run"]);
    assert_eq!((rehearsal["files"].as_u64(), rehearsal["dry_run"].as_bool()), (Some(40), Some(true)));
    assert_eq!(world.uploads().await, 0, "a dry run changes nothing");
    assert_eq!(world.import(&[])["files"], 40);

    let paths: Vec<String> = files.keys().cloned().collect();
    let local = |path: &str| world.tree().join(&path[1..]);
    let new = "/new/one".to_owned();
    write(&local(&new), b"new");
    files.insert(new, sha1(b"new"));
    let same_size = vec![9; fs::metadata(local(&paths[0])).expect("there").len() as usize];
    write(&local(&paths[0]), &same_size);
    touch(&local(&paths[0]), SystemTime::now() + Duration::from_secs(5));
    files.insert(paths[0].clone(), sha1(&same_size));
    touch(&local(&paths[1]), SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_297_642_005));

    let delta = world.import(&[]);
    let counts = ["files", "properties_only", "there_already"].map(|name| delta[name].as_u64());
    assert_eq!(counts, [Some(2), Some(1), Some(38)], "{delta}");
    assert_eq!(listing(&world.node).await, files);
    assert_eq!(world.uploads().await, 42);
    let path = paths[1].replace(' ', "%20").replace(';', "%3B");
    let properties = world.node.client().get(&format!("/artifactory/api/storage/{REPO}{path}?properties")).await;
    let expected = json!({"import.modified": ["2026-11-21T21:47:22.005Z"]});
    assert_eq!(properties.expect("an answer").json()["properties"], expected);

    // Bytes that changed behind an unchanged time are found by their sum.
    let modified = fs::metadata(local(&paths[2])).and_then(|there| there.modified()).expect("there");
    let same_size = vec![8; fs::metadata(local(&paths[2])).expect("there").len() as usize];
    write(&local(&paths[2]), &same_size);
    touch(&local(&paths[2]), modified);
    assert_eq!(world.import(&[])["files"], 0);
    assert_eq!(world.import(&["--checksum"])["files"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_names_come_and_impossible_ones_are_told() {
    let world = World::new();
    let tree = world.tree();
    let odd = ["a b/c;d=e&f", "%41/%2e%2e", "ü/日本", "#?/+", "'\"$(x)", ".hidden/..x", "empty", "j.jar"];
    for name in odd {
        write(&tree.join(name), if name == "empty" { b"" } else { name.as_bytes() });
    }
    let longest = "x".repeat(255);
    write(&tree.join(&longest), b"1");
    write(&tree.join("j.jar.sha1"), b"computed there");
    for impossible in ["line\nbreak", "back\\slash"] {
        write(&tree.join(impossible), b"1");
    }
    write(&tree.join(OsStr::from_bytes(b"not-\xff-text")), b"1");
    std::os::unix::fs::symlink("/etc", tree.join("etc")).expect("linked");
    std::os::unix::fs::symlink(&tree, tree.join("a b/round")).expect("linked");
    let fifo = Command::new("mkfifo").arg(tree.join("pipe")).status().expect("mkfifo runs");
    assert!(fifo.success());

    let output = world.try_import(&[]);
    let summary = told(&output, false);
    let counts =
        ["files", "failed", "symbolic_links", "special_files", "checksum_files"].map(|name| summary[name].as_u64());
    assert_eq!(counts, [Some(9), Some(3), Some(2), Some(1), Some(1)], "{summary}");
    let complained = String::from_utf8_lossy(&output.stderr).into_owned();
    for reason in ["not UTF-8", "back\\slash: ", "control character"] {
        assert!(complained.contains(reason), "{reason:?} isn't in {complained}");
    }
    let there = listing(&world.node).await;
    let mut expected: Vec<String> = odd.iter().map(|name| format!("/{name}")).collect();
    expected.push(format!("/{longest}"));
    expected.sort();
    assert_eq!(there.keys().cloned().collect::<Vec<_>>(), expected);
    assert_eq!(there["/empty"], sha1(b""));
    assert_eq!(told(&world.try_import(&[]), false)["files"], 0, "nor does it come twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_servers_repository_comes_with_its_properties_dates_and_creators() {
    let world = World::new();
    let old = World::another(world.root.path(), "old");
    let put = async |path: &str, body: Vec<u8>| {
        let answer = old.client().put(&format!("/artifactory/{REPO}/{path}"), body).await.expect("an answer");
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        answer.json()
    };
    let item = put("team/a%20b/x.jar;build=7;env=test;env=live;odd=a%3Bb%3D", Dice(5).bytes(3_000_000)).await;
    for number in 0..30 {
        put(&format!("team/many/{number}"), vec![number; 10]).await;
    }
    put("other/y", vec![1]).await;
    let (from, token) =
        (format!("http://{}/artifactory/{REPO}/team/", old.client().address), old.folder.join("admin.token"));
    let token = token.to_str().expect("text").to_owned();
    let into = format!("{REPO}/from/old");
    let import = |more: &[&str]| {
        let words = ["import", "server", &from, &into, "--json", "--source-token-file", &token];
        told(&world.node.try_cli(&[&words, more].concat(), ""), true)
    };
    let summary = import(&["--jobs", "3"]);
    assert_eq!((summary["files"].as_u64(), summary["failed"].as_u64()), (Some(31), Some(0)), "{summary}");
    let at = |path: &str| format!("/artifactory/api/storage/{REPO}/from/old/{path}");
    let get = async |path: String| world.node.client().get(&path).await.expect("an answer").json();
    assert_eq!(get(at("a%20b/x.jar")).await["checksums"]["sha256"], item["checksums"]["sha256"]);
    let expected = json!({
        "build": ["7"], "env": ["test", "live"], "odd": ["a;b="],
        "import.created": [item["created"]], "import.created-by": [item["createdBy"]],
        "import.modified": [item["lastModified"]], "import.modified-by": [item["modifiedBy"]],
    });
    assert_eq!(get(at("a%20b/x.jar?properties")).await["properties"], expected);
    assert_eq!(listing(&world.node).await.len(), 31, "what is beside the folder stays there");

    assert_eq!(import(&[])["there_already"], 31);
    put("team/many/3", b"changed".to_vec()).await;
    put("team/new", b"new".to_vec()).await;
    old.cli(&["artifact", "properties", &format!("{REPO}/team/many/5"), "--set", "tested=yes"], "");
    let delta = import(&[]);
    let counts = ["files", "properties_only", "there_already"].map(|name| delta[name].as_u64());
    assert_eq!(counts, [Some(2), Some(1), Some(29)], "{delta}");
    assert_eq!(get(at("many/5?properties")).await["properties"]["tested"], json!(["yes"]));
    assert_eq!(import(&[])["there_already"], 32);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_begin_changes_nothing_and_says_why() {
    let world = World::new();
    grow(&world.tree(), 3);
    let tree = world.tree();
    let tree = tree.to_str().expect("text");
    let gone = format!("http://{}/artifactory/none", world.node.client().address);
    let token = world.node.folder.join("admin.token");
    let token = token.to_str().expect("text");
    for (words, reason) in [
        (&["import", "tree", tree, "nowhere"][..], "nowhere"),
        (&["import", "tree", "/no/such/folder", REPO], "is not a folder"),
        (&["import", "server", "http://127.0.0.1:1/artifactory/x", REPO], "nobody answers"),
        (&["import", "server", &gone, REPO, "--source-token-file", token], "none"),
        (&["import", "server", &gone, REPO], "source"),
    ] {
        let output = world.node.try_cli(words, "");
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && complained.contains(reason), "{words:?}: {complained}");
    }
    assert_eq!(listing(&world.node).await.len(), 0);
}
