//! Tests of transfers against a server on the loopback.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::get::get_file;
use super::list::Printed;
use super::put::{put_file, put_stream};
use super::selection::Selection;
use crate::cli::client::{CallError, Client};
use crate::cli::fake_node::{FakeNode, answer};
use crate::cli::location::Location;
use crate::cli::tls::Tls;

fn sha256(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
}

fn place() -> Location {
    "libs/a b/x.bin".parse().unwrap()
}

/// A node that says it stored what it got.
async fn honest() -> FakeNode {
    FakeNode::start(|asked| {
        let item = json!({"size": asked.body.len().to_string(), "checksums": {"sha256": sha256(&asked.body)}});
        answer(201, &[], item.to_string())
    })
    .await
}

#[tokio::test]
async fn a_file_is_sent_with_its_length_checksum_and_token() {
    let node = honest().await;
    let bytes = vec![7; 700_000];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    std::fs::write(&path, &bytes).unwrap();
    let item = put_file(&Client::new(node.target()), &place(), &path).await.unwrap();
    assert_eq!(item["size"], "700000");
    let asked = &node.asked()[0];
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("PUT", "/artifactory/libs/a%20b/x.bin"));
    assert_eq!(asked.header("content-length"), "700000");
    assert_eq!(asked.header("x-checksum-sha256"), sha256(&bytes));
    assert_eq!(asked.header("authorization"), "Bearer amt_secret");
    assert!(asked.body == bytes);
}

#[tokio::test]
async fn an_empty_file_is_sent_too() {
    let node = honest().await;
    let empty = tempfile::NamedTempFile::new().unwrap();
    let item = put_file(&Client::new(node.target()), &place(), empty.path()).await.unwrap();
    assert_eq!(item["size"], "0");
    assert_eq!(node.asked()[0].header("content-length"), "0");
}

#[tokio::test]
async fn a_stream_is_verified_against_what_the_node_stored() {
    let node = honest().await;
    let client = Client::new(node.target());
    let item = put_stream(&client, &place(), std::io::Cursor::new(vec![1; 300_000])).await.unwrap();
    assert_eq!(item["checksums"]["sha256"], sha256(&vec![1; 300_000]));
    let liar = FakeNode::start(|_| answer(201, &[], json!({"checksums": {"sha256": "00"}}).to_string())).await;
    let error = put_stream(&Client::new(liar.target()), &place(), std::io::Cursor::new(b"x")).await.unwrap_err();
    assert!(error.to_string().contains("stored something else"), "{error}");
}

#[tokio::test]
async fn a_download_is_verified_and_takes_its_name_at_the_end() {
    let bytes: Vec<u8> = (0..=255).cycle().take(600_000).collect();
    let (body, sum) = (bytes.clone(), sha256(&bytes));
    let node = FakeNode::start(move |_| answer(200, &[("X-Checksum-Sha256", &sum)], body.clone())).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.bin");
    std::fs::write(&path, "old").unwrap();
    let received = get_file(&Client::new(node.target()), &place(), &path).await.unwrap();
    assert_eq!((received.size, received.sha256), (600_000, sha256(&bytes)));
    assert!(std::fs::read(&path).unwrap() == bytes);
    assert_eq!(folder.path().read_dir().unwrap().count(), 1);
}

#[tokio::test]
async fn a_download_that_is_wrong_leaves_the_old_file_and_nothing_else() {
    let node = FakeNode::start(|_| answer(200, &[("X-Checksum-Sha256", &"0".repeat(64))], "new")).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.bin");
    std::fs::write(&path, "old").unwrap();
    let error = get_file(&Client::new(node.target()), &place(), &path).await.err().unwrap();
    assert!(error.to_string().contains("not what the node announced"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
    assert_eq!(folder.path().read_dir().unwrap().count(), 1);
}

#[tokio::test]
async fn a_refusal_is_told_in_the_words_of_the_node() {
    let body =
        json!({"errors": [{"status": 404, "message": "no x.bin in libs"}, {"status": 404, "message": "look again"}]});
    let node = FakeNode::start(move |_| answer(404, &[], body.to_string())).await;
    let client = Client::new(node.target());
    let folder = tempfile::tempdir().unwrap();
    let error = get_file(&client, &place(), &folder.path().join("x")).await.err().unwrap();
    assert_eq!(error.to_string(), "no x.bin in libs\nlook again");
    assert_eq!(error.downcast_ref::<CallError>().and_then(CallError::status), Some(404));
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);
}

#[test]
fn a_listing_is_printed_row_by_row() {
    let rows = [
        r#"{"uri":"/a","folder":true,"size":-1,"lastModified":"2026-01-01T00:00:00.000Z"}"#,
        r#"{"uri":"/a/b","folder":false,"size":2048,"lastModified":"2026-01-01T00:00:00.000Z"}"#,
        r#"{"uri":"/\u001b[2Jc","folder":false,"size":0,"lastModified":"2026-01-01T00:00:00.000Z"}"#,
    ];
    let printed = |rows: &[&str], pattern: Option<&str>, json: bool| {
        let pattern = pattern.map(|pattern| match pattern.parse() {
            Ok(Selection::Matching(pattern)) => pattern,
            other => panic!("{other:?}"),
        });
        let mut out = Vec::new();
        let mut list = Printed::new(&mut out, pattern.as_ref(), json);
        rows.iter().for_each(|row| list.row(&serde_json::from_str(row).unwrap()).unwrap());
        list.end().unwrap();
        String::from_utf8(out).unwrap()
    };
    let golden = "       SIZE  LAST MODIFIED             PATH
          -  2026-01-01T00:00:00.000Z  a/
   2.00 KiB  2026-01-01T00:00:00.000Z  a/b
        0 B  2026-01-01T00:00:00.000Z  \u{fffd}[2Jc
";
    assert_eq!(printed(&rows, None, false), golden);
    assert_eq!(printed(&rows, Some("libs/?/b"), false).lines().count(), 2);
    assert_eq!(printed(&rows, Some("libs/none*"), false), "no files\n");
    for (pattern, count) in [(None, 3), (Some("libs/**/b"), 1), (Some("libs/x*"), 0)] {
        let listed: Value = serde_json::from_str(&printed(&rows, pattern, true)).unwrap();
        assert_eq!(listed["files"].as_array().unwrap().len(), count);
    }
}

/// A node that refuses by the head of a request must be heard although megabytes are still unsent.
#[tokio::test]
async fn a_refusal_before_the_body_was_sent_is_heard() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let node = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = vec![0; 16];
        stream.read_exact(&mut head).await.unwrap();
        let body = r#"{"errors":[{"status":507,"message":"the quota is used up"}]}"#;
        let head = format!("HTTP/1.1 507 No\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.ok();
    });
    let target = crate::cli::target::Target { base, token: None, tls: Tls::none(), nobody: String::new() };
    let body = std::io::Cursor::new(vec![0; 32 << 20]);
    let error = put_stream(&Client::new(target), &place(), body).await.unwrap_err();
    assert_eq!(error.to_string(), "the quota is used up");
    node.await.unwrap();
}
