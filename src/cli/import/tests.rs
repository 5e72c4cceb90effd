//! Tests of imports between servers on the loopback that misbehave.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::options::Options;
use super::origin::Origin;
use super::plan::Sameness;
use super::report::Words;
use super::run::Import;
use super::source::{Source, Tree};
use crate::cli::artifact::glob::Filter;
use crate::cli::client::Client;
use crate::cli::fake_node::{Asked, FakeNode, answer};

const AQL: &str = "/artifactory/api/search/aql";

fn sha256(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
}

fn stored(asked: &Asked) -> String {
    json!({"checksums": {"sha256": sha256(&asked.body)}}).to_string()
}

fn row(path: &str, name: &str, bytes: &[u8]) -> Value {
    json!({"repo": "old", "path": path, "name": name, "size": bytes.len(), "sha256": sha256(bytes),
        "created": "2020-01-01T00:00:00.000Z", "created_by": "alice", "properties": [{"key": "k", "value": "v"}]})
}

/// A node with nothing in it, which stores what it gets; `refuse` says which uploads it doesn't take, and how.
async fn node(refuse: impl Fn(&Asked) -> Option<u16> + Send + Sync + Clone + 'static) -> FakeNode {
    FakeNode::start(move |asked| match (asked.method.as_str(), refuse(asked)) {
        ("POST", _) => answer(200, &[], r#"{"results":[],"range":{"total":0}}"#),
        ("PUT", Some(status)) => answer(status, &[], r#"{"errors":[{"message":"not this"}]}"#),
        ("PUT", None) => answer(201, &[], stored(asked)),
        _ => answer(200, &[], "{}"),
    })
    .await
}

/// A server whose list has these rows, and whose files all are `hello`.
async fn server(rows: Vec<Value>) -> FakeNode {
    FakeNode::start(move |asked| match asked.target.as_str() {
        AQL => answer(200, &[], json!({"results": rows, "range": {"total": 1}}).to_string()),
        target if target.starts_with("/artifactory/api/storage") => answer(200, &[], "{}"),
        _ => answer(200, &[], "hello"),
    })
    .await
}

async fn import(source: Source, into: &FakeNode) -> anyhow::Result<()> {
    let options = Options { rate_limit: None, jobs: 4, dry_run: false };
    let sameness = Sameness::Time;
    let import =
        Import { source, into: "libs/x".parse().unwrap(), sameness, options, json: true, words: Words::IMPORT };
    import.run(&Client::new(into.target())).await
}

fn origin(server: &FakeNode) -> Source {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    crate::config::write_new(&file, b"geheim\n", 0o600).unwrap();
    let address = format!("{}/artifactory/old", server.base).parse().unwrap();
    Source::Server(Box::new(Origin::new(address, Some("bob"), Some(&file), None).unwrap()))
}

fn tree(root: &Path) -> Source {
    Source::Tree(Tree { root: root.to_owned(), filter: Filter::default(), keeps_times: true })
}

fn puts(node: &FakeNode) -> Vec<Asked> {
    node.asked().into_iter().filter(|asked| asked.method == "PUT").collect()
}

#[tokio::test]
async fn hostile_names_of_a_server_do_no_harm() {
    let rows = vec![
        row("../..", "etc", b"hello"),
        row(".", "..", b"hello"),
        row("a", "b\u{1b}[31m", b"hello"),
        row("good", "x.bin", b"hello"),
        row("/etc", "passwd", b"hello"),
    ];
    let (server, node) = (server(rows).await, node(|_| None).await);
    let error = import(origin(&server), &node).await.unwrap_err().to_string();
    assert!(error.starts_with("4 files were not imported"), "{error}");
    let puts = puts(&node);
    assert_eq!(puts.len(), 1);
    assert_eq!(
        puts[0].target,
        "/artifactory/libs/x/good/x.bin;import.created=2020-01-01T00%3A00%3A00.000Z;import.created-by=alice;k=v"
    );
    assert_eq!(puts[0].header("x-checksum-sha256"), sha256(b"hello"), "other bytes would be refused");
    assert_eq!(puts[0].header("content-length"), "5");
    assert!(server.asked().iter().all(|asked| asked.header("authorization") == "Basic Ym9iOmdlaGVpbQ=="));
    assert!(node.asked().iter().all(|asked| asked.header("authorization") == "Bearer amt_secret"));
}

#[tokio::test]
async fn a_server_that_answers_no_query_is_asked_file_by_file() {
    let server = FakeNode::start(|asked| match asked.target.as_str() {
        AQL => answer(403, &[], r#"{"errors":[{"message":"no queries"}]}"#),
        "/artifactory/api/storage/old?list&deep=1&listFolders=0" => {
            let files = json!([{"uri": "/a/b", "size": 5, "folder": false, "sha1": "ab".repeat(20)},
                {"uri": "/a", "size": -1, "folder": true}]);
            answer(200, &[], json!({"uri": "x", "files": files}).to_string())
        }
        "/artifactory/api/storage/old/a/b?properties" => {
            answer(200, &[], json!({"properties": {"k": ["v", "w"]}}).to_string())
        }
        "/artifactory/api/storage/old/a/b" => {
            answer(200, &[], json!({"createdBy": "alice", "lastModified": "then"}).to_string())
        }
        _ => answer(200, &[], "hello"),
    })
    .await;
    let node = node(|_| None).await;
    import(origin(&server), &node).await.unwrap();
    let puts = puts(&node);
    assert_eq!(puts[0].target, "/artifactory/libs/x/a/b;import.created-by=alice;import.modified=then;k=v;k=w");
    assert_eq!(puts[0].header("x-checksum-sha1"), "ab".repeat(20));
}

#[tokio::test]
async fn a_list_that_was_trimmed_is_not_taken_for_the_whole() {
    let server = FakeNode::start(|asked| match asked.target.as_str() {
        AQL => {
            let range = json!({"total": 1, "notification": "results are trimmed"});
            answer(200, &[], json!({"results": [row(".", "a", b"hello")], "range": range}).to_string())
        }
        target if target.contains("?list") => {
            let file = |name: &str| json!({"uri": format!("/{name}"), "size": 5, "sha2": sha256(b"hello")});
            answer(200, &[], json!({"files": [file("a"), file("b")]}).to_string())
        }
        target if target.contains("?properties") => answer(404, &[], ""),
        target if target.starts_with("/artifactory/api/storage") => answer(200, &[], "{}"),
        _ => answer(200, &[], "hello"),
    })
    .await;
    let node = node(|_| None).await;
    import(origin(&server), &node).await.unwrap();
    assert_eq!(puts(&node).len(), 2);
}

#[tokio::test]
async fn a_list_that_broke_off_imports_nothing() {
    let server = FakeNode::start(|asked| match asked.target.as_str() {
        AQL => answer(200, &[], format!(r#"{{"results":[{}"#, row(".", "a", b"hello"))),
        _ => answer(200, &[], "hello"),
    })
    .await;
    let node = node(|_| None).await;
    assert!(import(origin(&server), &node).await.is_err());
    assert!(puts(&node).is_empty());
}

#[tokio::test]
async fn what_passes_is_tried_again_and_asked_for_before() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a"), b"hello").unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let node = node(move |asked| {
        let is_early = asked.method == "PUT" && count.fetch_add(1, Ordering::Relaxed) < 2;
        is_early.then_some(503)
    })
    .await;
    import(tree(folder.path()), &node).await.unwrap();
    assert_eq!(puts(&node).len(), 3);
    let looked = node.asked().iter().filter(|asked| asked.target == AQL).count();
    assert_eq!(looked, 4, "the list, and once before each upload");
}

#[tokio::test]
async fn a_refused_file_is_left_and_the_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c"] {
        std::fs::write(folder.path().join(name), name).unwrap();
    }
    let node = node(|asked| asked.target.contains("/b;").then_some(400)).await;
    let error = import(tree(folder.path()), &node).await.unwrap_err().to_string();
    assert!(error.starts_with("1 files were not imported, the first: b: not this"), "{error}");
    assert_eq!(puts(&node).len(), 3);
}

#[tokio::test]
async fn a_full_disk_ends_it_at_once() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..100 {
        std::fs::write(folder.path().join(number.to_string()), b"x").unwrap();
    }
    let node = node(|_| Some(507)).await;
    let error = format!("{:#}", import(tree(folder.path()), &node).await.unwrap_err());
    assert!(error.contains("goes on from here") && error.contains("not this"), "{error}");
    assert!(puts(&node).len() <= 4);
}

#[tokio::test]
async fn a_node_that_stores_something_else_is_sent_the_sum_and_told_of() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a"), b"hello").unwrap();
    let node = FakeNode::start(|asked| match asked.method.as_str() {
        "POST" => answer(200, &[], r#"{"results":[]}"#),
        "PUT" => answer(201, &[], json!({"checksums": {"sha256": "00".repeat(32)}}).to_string()),
        _ => answer(200, &[], "{}"),
    })
    .await;
    let error = import(tree(folder.path()), &node).await.unwrap_err().to_string();
    assert!(error.contains("stored something else"), "{error}");
    let sums: Vec<String> = puts(&node).iter().map(|put| put.header("x-checksum-sha256").to_owned()).collect();
    assert_eq!(sums, ["".to_owned(), sha256(b"hello")]);
}

/// A server that tells no length of what it sends, and closes the connection behind it.
#[tokio::test]
async fn more_or_less_than_was_listed_is_not_imported() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let mut rows: Vec<Value> = ["less", "more", "same"].map(|name| row(".", name, b"hello")).into();
    // Nothing but the length tells.
    rows.iter_mut().for_each(|row| row["sha256"] = Value::Null);
    let list = json!({"results": rows, "range": {"total": 3}}).to_string();
    let server = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 4096];
            let count = stream.read(&mut head).await.unwrap();
            let line = String::from_utf8_lossy(&head[..count]).lines().next().unwrap_or_default().to_owned();
            let body = match line.split(' ').nth(1).unwrap_or_default() {
                AQL => list.as_str(),
                target if target.ends_with("less") => "hell",
                target if target.ends_with("more") => "hello and more",
                target if target.ends_with("same") => "hello",
                _ => "{}",
            };
            let text = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{body}");
            stream.write_all(text.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    let node = node(|_| None).await;
    let address = format!("{base}/artifactory/old").parse().unwrap();
    let source = Source::Server(Box::new(Origin::new(address, None, None, None).unwrap()));
    let error = import(source, &node).await.unwrap_err().to_string();
    assert!(error.starts_with("2 files were not imported"), "{error}");
    let whole = |asked: &Asked| asked.body.as_ref() == b"hello";
    assert_eq!(puts(&node).iter().filter(|asked| whole(asked)).count(), 1);
    server.abort();
}
