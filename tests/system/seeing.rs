//! Seeing what a node does: what requests wait for, how long syncs take, and who downloaded what.

use std::fs;

use hyper::StatusCode;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Answer, Client, Dice, Node, Raw, Setup, until};

const MIB: usize = 1 << 20;

/// One node with the repository `libs`, which tells its log as JSON.
fn site(setup: Setup) -> (Node, TempDir) {
    let root = tempfile::tempdir().expect("a folder");
    let setup = Setup { new_circle: true, ..setup.with("ARTIMESH_LOG_FORMAT", "json") };
    let mut node = Node::init(root.path(), "site", setup);
    node.start();
    node.cli(&["repo", "create", "libs"], "");
    (node, root)
}

async fn put(client: &Client, path: &str, bytes: Vec<u8>) -> Answer {
    let answer = client.put(path, bytes).await.expect("an answer");
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    answer
}

/// What a `Server-Timing` header says of `name`, in milliseconds.
fn timing(header: &str, name: &str) -> f64 {
    let entry = header.split(", ").find_map(|entry| entry.strip_prefix(name)?.strip_prefix(";dur="));
    entry.and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("no {name} in {header:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_know_is_told_what_a_request_waited_for() {
    let setup =
        Setup::default().with("ARTIMESH_HTTP_SERVER_TIMING", "admin").with("ARTIMESH_HTTP_ANONYMOUS_READ", "true");
    let (node, _root) = site(setup);
    let client = node.client();
    let answer = put(&client, "/artifactory/libs/a", Dice(1).bytes(3 * MIB)).await;
    let told = answer.header("server-timing");
    for name in ["queue", "index", "disk", "hash", "sync", "peer", "client", "total"] {
        assert!(timing(told, name) >= 0.0);
    }
    assert!(timing(told, "hash") > 0.0 && timing(told, "total") >= timing(told, "hash"), "{told}");
    let got = client.get("/artifactory/libs/a").await.expect("an answer");
    assert!(timing(got.header("server-timing"), "total") > 0.0);
    let missing = client.get("/artifactory/libs/none").await.expect("an answer");
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    assert!(timing(missing.header("server-timing"), "total") > 0.0);
    let stranger = Client { token: None, ..client };
    let got = stranger.get("/artifactory/libs/a").await.expect("an answer");
    assert_eq!((got.status, got.header("server-timing")), (StatusCode::OK, ""));
}

/// The lines of the slow log about `path`.
fn slow_lines(node: &Node, path: &str) -> Vec<Value> {
    let log = fs::read_to_string(node.log_path()).expect("a log");
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["target"] == "slow" && line["path"] == path).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_requests_are_told_and_a_slow_reader_is_no_slow_node() {
    let (node, _root) = site(Setup::default().with("ARTIMESH_HTTP_SLOW_LOG", "1ms"));
    let (client, path) = (node.client(), "/artifactory/libs/large");
    put(&client, path, Dice(2).bytes(32 * MIB)).await;
    let mut raw = Raw::connect(client.address).await;
    let bearer = node.token();
    let id = "slow-reader.1";
    raw.send(format!(
        "GET {path}?x=secret HTTP/1.1\r\nHost: x\r\nX-Request-Id: {id}\r\nAuthorization: Bearer {bearer}\r\n\r\n"
    ))
    .await
    .expect("sent");
    assert_eq!(raw.head().await.status, 200);
    // Nobody reads meanwhile, and all of it doesn't fit into the sockets.
    put(&client, "/artifactory/libs/other", Dice(3).bytes(3 * MIB)).await;
    raw.bytes(32 * MIB).await;
    let lines = until("both are told", || async {
        let lines = slow_lines(&node, path);
        if lines.len() >= 2 { Ok(lines) } else { Err(node.log_tail()) }
    })
    .await;
    let of = |method: &str| lines.iter().find(|line| line["method"] == method).expect("told").clone();
    let (upload, download) = (of("PUT"), of("GET"));
    assert_eq!((&upload["status"], &upload["received"]), (&201.into(), &(32 * MIB).into()), "{upload}");
    assert!(upload["hash_ms"].as_f64() > Some(0.0), "{upload}");
    assert_eq!((&download["status"], &download["bytes"]), (&200.into(), &(32 * MIB).into()), "{download}");
    assert_eq!((&download["who"], &download["from"]), (&"admin".into(), &"127.0.0.1".into()), "{download}");
    assert_eq!(download["request"], id);
    assert!(download["client_ms"].as_f64() > Some(0.0), "{download}");
    assert!(!download.to_string().contains("secret") && !download.to_string().contains(&bearer), "{download}");
    let metrics = client.get("/metrics").await.expect("metrics").text();
    assert!(metrics.contains("artimesh_http_slow_requests_total"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn syncs_are_counted_by_how_long_they_took() {
    let (node, _root) = site(Setup::default());
    put(&node.client(), "/artifactory/libs/a", Dice(4).bytes(2 * MIB)).await;
    let metrics = node.client().get("/metrics").await.expect("metrics").text();
    for of in ["commit", "large"] {
        let count = format!("artimesh_store_sync_seconds_count{{of=\"{of}\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(count.as_str()));
        let counted: u64 =
            line.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("no {count} in {metrics}"));
        assert!(counted > 0);
        let all = format!("artimesh_store_sync_seconds_bucket{{le=\"+Inf\",of=\"{of}\"}} {counted}");
        assert!(metrics.contains(&all), "{all} isn't in {metrics}");
    }
    let status = node.status().await.expect("a status");
    assert!(status["syncs"]["commit"]["count"].as_u64() > Some(0), "{status}");
    assert_eq!(status["audit"]["lost"], 0);
    assert!(node.cli(&["status"], "").contains("\nsyncs       commit "));
}

/// What the audit log says of `path`: who, result, status and bytes.
fn audited(node: &Node, path: &str) -> Vec<(String, String, u64, u64)> {
    let told: Value = serde_json::from_str(&node.cli(&["audit", "--json", "--path", path], "")).expect("JSON");
    let lines = told["records"].as_array().expect("lines").iter().filter(|line| line["what"] == "download");
    let text = |line: &Value, name: &str| line[name].as_str().expect("text").to_owned();
    let number = |line: &Value, name: &str| line[name].as_u64().unwrap_or(0);
    lines.map(|line| (text(line, "who"), text(line, "result"), number(line, "status"), number(line, "bytes"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_download_is_a_line_of_the_audit_log() {
    let (mut node, _root) = site(Setup::default());
    let client = node.client();
    put(&client, "/artifactory/libs/a%20b", Dice(5).bytes(1000)).await;
    client.get("/artifactory/libs/a%20b").await.expect("an answer");
    let part = [("range", "bytes=10-19")];
    client.send(hyper::Method::GET, "/artifactory/libs/a%20b", &part, "").await.expect("an answer");
    client.get("/artifactory/libs/a%20bc").await.expect("an answer");
    let stranger = Client { token: None, ..client.clone() };
    stranger.get("/artifactory/libs/a%20b").await.expect("an answer");
    client.send(hyper::Method::HEAD, "/artifactory/libs/a%20b", &[], "").await.expect("an answer");
    let line = |who: &str, result: &str, status: u64, bytes: u64| (who.to_owned(), result.to_owned(), status, bytes);
    let expected = [
        line("admin", "done", 200, 1000),
        line("admin", "done", 206, 10),
        line("admin", "refused", 404, 0),
        line("anonymous", "refused", 401, 0),
    ];
    let found = until("all four are there", || async {
        let mut found = audited(&node, "libs/a b");
        // Of those of one moment any may be first. What a refusal says has no set length.
        found.sort();
        found.iter_mut().filter(|line| line.1 == "refused").for_each(|line| line.3 = 0);
        if found.len() == 4 { Ok(found) } else { Err(format!("{found:?}")) }
    })
    .await;
    assert_eq!(found, expected);
    let puts = node.cli(&["audit", "--user", "admin", "--path", "libs/a b"], "");
    assert!(puts.lines().any(|line| line.contains(" put ") && line.contains("127.0.0.1")), "{puts}");
    assert!(!node.cli(&["audit", "--since", "0s"], "").contains("libs/a b"));
    node.stop();
    node.set("ARTIMESH_AUDIT_DOWNLOADS", "false");
    node.start();
    node.client().get("/artifactory/libs/a%20b").await.expect("an answer");
    assert_eq!(audited(&node, "libs/a b").len(), 4, "what was told stays, and no more is told");
    assert_eq!(node.status().await.expect("a status")["audit"]["recorded"], 0);
}
