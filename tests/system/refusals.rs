//! What can't be stored is refused with a clear reason, and leaves nothing behind.

use std::fs;
use std::sync::Arc;

use futures::StreamExt as _;
use hyper::{Method, StatusCode};
use tokio::sync::Mutex;

use crate::harness::{Client, Dice, Disk, Node, Raw, Setup, bytes_on_disk, exchange, status_of, until};
use crate::http::Site;

async fn is_absent(site: &Site, name: &str) {
    let answer = site.client().get(&format!("/artifactory/libs/{name}")).await.expect("an answer");
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "{name}: {}", answer.text());
}

async fn blobs(node: &Node) -> u64 {
    node.status().await.expect("a status")["store"]["blobs"].as_u64().expect("a number")
}

/// Where, with which headers, what, and with which status and words it is refused.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [u8], u16, &'a str);

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_upload_names_its_reason_and_stores_nothing() {
    let site = Site::new(Setup::default().with("ARTIMESH_HTTP_MAX_UPLOAD", "2MiB"));
    let client = site.client();
    let body = Dice(5).bytes(1_500_000);
    let wrong = "0".repeat(64);
    let large = vec![0; (2 << 20) + 1];
    let cases: [Case<'_>; 9] = [
        ("/artifactory/libs/x", &[("x-checksum-sha256", &wrong)], &body, 409, &wrong),
        ("/artifactory/libs/x", &[("x-checksum-sha1", &wrong[..40])], &body, 409, "SHA-1"),
        ("/artifactory/libs/x", &[("x-checksum-md5", &wrong[..32])], b"small", 409, "MD5"),
        ("/artifactory/libs/x", &[("x-checksum-md5", "zz")], b"small", 400, "X-Checksum-Md5"),
        ("/artifactory/libs/x", &[("x-checksum", "12")], b"small", 400, "X-Checksum"),
        ("/artifactory/none/x", &[], &body, 404, "'none'"),
        ("/artifactory/libs/a/../x", &[], &body, 400, "'..'"),
        ("/artifactory/libs/x;a%00=b", &[], &body, 400, ""),
        ("/artifactory/libs/x", &[], &large, 413, "2097152"),
    ];
    for (path, headers, body, status, reason) in cases {
        let answer = client.send(Method::PUT, path, headers, body.to_vec()).await.expect("an answer");
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert_eq!(answer.header("content-type"), "application/json");
        let message = answer.json()["errors"][0]["message"].as_str().expect("a message").to_owned();
        assert!(message.contains(reason), "{path}: {message}");
    }
    is_absent(&site, "x").await;
    assert_eq!(blobs(&site.node).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stands_still_is_given_up_and_one_that_creeps_is_served() {
    let setup = Setup::default().with("ARTIMESH_HTTP_IDLE_TIMEOUT", "1s").with("ARTIMESH_HTTP_HEADER_TIMEOUT", "1s");
    let site = Site::new(setup);
    let address = site.client().address;
    let put = |name: &str, framing: &str| {
        format!("PUT /artifactory/libs/{name} HTTP/1.1\r\n{}Connection: close\r\n{framing}\r\n\r\n", site.bearer())
    };
    let head = exchange(address, "GET /healthz HTTP/1.1\r\nHost:").await;
    assert!(head.is_empty() || status_of(&head) == 408, "{head}");
    let silent = exchange(address, "").await;
    assert!(silent.is_empty() || status_of(&silent) == 408, "{silent}");
    for framing in ["Content-Length: 3000000", "Transfer-Encoding: chunked"] {
        let mut raw = Raw::connect(address).await;
        raw.send(put("still", framing) + "5\r\nhello\r\n").await.expect("sent");
        let answer = raw.rest().await;
        assert_eq!(status_of(&answer), 408, "{answer}");
        assert!(answer.contains("1 s"), "{answer}");
    }
    is_absent(&site, "still").await;

    let mut creeping = Raw::connect(address).await;
    creeping.send(put("creeping", "Content-Length: 8")).await.expect("sent");
    for byte in b"creeping" {
        // Time that passes is the point: each byte comes within the idle time, all together don't.
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
        creeping.send([*byte]).await.expect("sent");
    }
    assert_eq!(creeping.head().await.status, 201);

    let large = Dice(6).bytes(48 << 20);
    let stored = site.client().put("/artifactory/libs/large", large.clone()).await.expect("an answer");
    assert_eq!(stored.status, StatusCode::CREATED);
    let mut deaf = Raw::connect(address).await;
    deaf.send(format!("GET /artifactory/libs/large HTTP/1.1\r\n{}\r\n", site.bearer())).await.expect("sent");
    until("the download that nobody reads is broken off", || async {
        let metrics = site.client().get("/metrics").await?.text();
        let open = metrics.lines().find(|line| line.starts_with("artimesh_http_connections "));
        // The one that asks is counted too.
        if open == Some("artimesh_http_connections 1") { Ok(()) } else { Err(format!("{open:?}")) }
    })
    .await;
    assert!(deaf.rest_bytes().await.len() < large.len());
}

/// How one of the thousand goes wrong.
async fn go_wrong(client: &Client, bearer: &str, dice: &Mutex<Dice>, number: u64) {
    let (body, cut) = {
        let mut dice = dice.lock().await;
        let most = [1 << 10, 100 << 10, 2 << 20][(number / 6 % 3) as usize];
        let size = 1 + dice.below(most) as usize;
        (dice.bytes(size), dice.below(size as u64) as usize)
    };
    let head = |framing: &str| format!("PUT /artifactory/libs/{number} HTTP/1.1\r\n{bearer}{framing}\r\n\r\n");
    let length = format!("Content-Length: {}", body.len());
    let zeros = "0".repeat(40);
    match number % 6 {
        0 => {
            let wrong = [("x-checksum-sha1", zeros.as_str())];
            let path = format!("/artifactory/libs/{number}");
            let answer = client.send(Method::PUT, &path, &wrong, body).await.expect("an answer");
            assert_eq!(answer.status, StatusCode::CONFLICT, "{}", answer.text());
        }
        1 => {
            let mut raw = Raw::connect(client.address).await;
            let _ = raw.send(head(&length)).await;
            let _ = raw.send(&body[..cut]).await;
            raw.reset();
        }
        2 => {
            let mut raw = Raw::connect(client.address).await;
            let _ = raw.send(head(&length)).await;
            let _ = raw.send(&body[..cut]).await;
        }
        3 => {
            let mut raw = Raw::connect(client.address).await;
            let _ = raw.send(head("Transfer-Encoding: chunked")).await;
            let _ = raw.send(format!("{:x}\r\n", body.len())).await;
            let _ = raw.send(&body[..cut]).await;
        }
        4 => {
            let mut raw = Raw::connect(client.address).await;
            let _ = raw.send(head("Transfer-Encoding: chunked")).await;
            let _ = raw.send(format!("{:x}\r\n", body.len())).await;
            let _ = raw.send(&body).await;
            let _ = raw.send("\r\nnot a chunk\r\n").await;
            let answer = raw.rest().await;
            assert!(answer.is_empty() || status_of(&answer) == 400, "{answer}");
        }
        _ => {
            let path = format!("/artifactory/none/{number}");
            let answer = client.put(&path, body).await.expect("an answer");
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{}", answer.text());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_refused_and_aborted_uploads_leave_nothing() {
    let mut site = Site::new(Setup::default());
    let dice = Arc::new(Mutex::new(Dice::fresh("a thousand uploads")));
    let store = site.node.folder.clone();
    let before = bytes_on_disk(&store);
    let (client, bearer) = (site.client(), site.bearer());
    let attempts = futures::stream::iter(0..1000).map(|number| go_wrong(&client, &bearer, &dice, number));
    attempts.buffer_unordered(8).collect::<Vec<()>>().await;
    let settled = until("what was under way has ended", || async {
        let after = bytes_on_disk(&store);
        if after <= before + (1 << 20) { Ok(after) } else { Err(format!("{before} bytes became {after}")) }
    })
    .await;
    println!("{before} bytes before, {settled} after");
    assert_eq!(blobs(&site.node).await, 0);
    let list = client.get("/artifactory/api/storage/libs?list&deep=1").await.expect("an answer").json();
    assert_eq!(list["files"].as_array().map(Vec::len), Some(0), "{list}");
    site.node.stop();
    site.node.start();
    assert!(bytes_on_disk(&store) <= before + (1 << 20));
    let stored = site.client().put("/artifactory/libs/x", "fine").await.expect("an answer");
    assert_eq!(stored.status, StatusCode::CREATED);
}

/// Sends `bytes` zeros in chunks until the node has had enough; its answer.
async fn chunked(client: &Client, bearer: &str, name: &str, bytes: usize) -> String {
    let mut raw = Raw::connect(client.address).await;
    let head = format!(
        "PUT /artifactory/libs/{name} HTTP/1.1\r\n{bearer}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    );
    raw.send(head).await.expect("sent");
    let piece = [format!("{:x}\r\n", 1 << 20).into_bytes(), vec![7; 1 << 20], b"\r\n".to_vec()].concat();
    let mut left = bytes;
    while left > 0 && raw.send(&piece).await.is_ok() {
        left = left.saturating_sub(1 << 20);
    }
    let _ = raw.send("0\r\n\r\n").await;
    raw.rest().await
}

/// An upload that can't fit is refused before its body when its length is known, and in the middle when it isn't.
async fn no_space_for(client: &Client, bearer: &str, bytes: usize) {
    let mut raw = Raw::connect(client.address).await;
    let head = format!(
        "PUT /artifactory/libs/big HTTP/1.1\r\n{bearer}Expect: 100-continue\r\nContent-Length: {bytes}\r\n\r\n"
    );
    raw.send(head).await.expect("sent");
    assert_eq!(raw.head().await.status, 507);
    let told = raw.rest().await;
    assert!(told.contains("no space is left"), "{told}");
    let answer = chunked(client, bearer, "big", bytes).await;
    assert_eq!(status_of(&answer), 507, "{answer}");
    assert!(answer.contains("no space is left"), "{answer}");
}

async fn put(client: &Client, name: &str, body: Vec<u8>) -> StatusCode {
    client.put(&format!("/artifactory/libs/{name}"), body).await.expect("an answer").status
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_uploads_and_nothing_else() {
    let root = tempfile::tempdir().expect("a folder");
    let Some(disk) = Disk::new(&root.path().join("site"), 48) else { return };
    let setup = Setup { new_circle: true, ..Setup::default() }.with("ARTIMESH_STORE_RESERVE", "4MiB");
    let mut node = Node::init(root.path(), "site", setup);
    node.start();
    node.cli(&["repo", "create", "libs"], "");
    let site = Site { node, root };
    let (client, bearer) = (site.client(), site.bearer());
    let kept = Dice(1).bytes(3_000_000);
    assert_eq!(put(&client, "kept", kept.clone()).await, StatusCode::CREATED);
    assert_eq!(put(&client, "gone", b"soon".to_vec()).await, StatusCode::CREATED);
    no_space_for(&client, &bearer, 64 << 20).await;
    is_absent(&site, "big").await;

    let ballast = disk.0.join("ballast");
    let filled = until("what was aborted is gone", || async {
        let room = 48_u64 << 20;
        let free = room.saturating_sub(bytes_on_disk(&disk.0));
        if free > 40 << 20 { Ok(free) } else { Err(format!("{free} bytes are free")) }
    })
    .await;
    // More than is free: every last block is taken, the reserve too.
    let outcome = fs::write(&ballast, vec![1; filled as usize + (1 << 20)]);
    assert!(outcome.is_err(), "the disk is full");
    for (name, bytes) in [("small", 10), ("medium", 500_000), ("large", 2_000_000)] {
        assert_eq!(put(&client, name, vec![2; bytes]).await, StatusCode::INSUFFICIENT_STORAGE, "{name}");
        is_absent(&site, name).await;
    }
    let got = client.get("/artifactory/libs/kept").await.expect("an answer");
    assert_eq!(got.body.as_ref(), kept);

    // The reserve is there again: deletes go on, uploads don't.
    let file = fs::File::options().write(true).open(&ballast).expect("ballast");
    let length = file.metadata().expect("a length").len();
    file.set_len(length - (2 << 20)).expect("shorter");
    drop(file);
    assert_eq!(put(&client, "small", vec![2; 10]).await, StatusCode::INSUFFICIENT_STORAGE);
    let deleted = client.delete("/artifactory/libs/gone").await.expect("an answer");
    assert_eq!(deleted.status, StatusCode::NO_CONTENT, "{}", deleted.text());
    is_absent(&site, "gone").await;

    fs::remove_file(&ballast).expect("removed");
    assert_eq!(put(&client, "small", vec![2; 10]).await, StatusCode::CREATED);
    assert_eq!(put(&client, "large", vec![2; 2_000_000]).await, StatusCode::CREATED);
    let mut site = site;
    site.node.stop();
    site.node.start();
    let got = site.client().get("/artifactory/libs/kept").await.expect("an answer");
    assert_eq!(got.body.as_ref(), kept);
    is_absent(&site, "gone").await;
    site.node.stop();
    drop(disk);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_refuses_uploads_and_nothing_else() {
    let site =
        Site::new(Setup::default().with("ARTIMESH_STORE_QUOTA", "16MiB").with("ARTIMESH_STORE_PACK_SIZE", "4MiB"));
    let (client, bearer) = (site.client(), site.bearer());
    assert_eq!(put(&client, "kept", vec![3; 2_000_000]).await, StatusCode::CREATED);
    no_space_for(&client, &bearer, 32 << 20).await;
    is_absent(&site, "big").await;
    // The bytes of the upload that broke off are given back when the disk is done with them.
    until("there is room for a small one again", || async {
        let status = put(&client, "fill-0", Dice(0).bytes(1 << 20)).await;
        if status == StatusCode::CREATED { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    let mut taken = 1;
    while put(&client, &format!("fill-{taken}"), Dice(taken).bytes(1 << 20)).await == StatusCode::CREATED {
        taken += 1;
        assert!(taken < 16, "the quota doesn't hold");
    }
    assert!(taken > 2, "{taken} MiB fit beside 2 MB");
    let deleted = client.delete("/artifactory/libs/kept").await.expect("an answer");
    assert_eq!(deleted.status, StatusCode::NO_CONTENT, "{}", deleted.text());
    let got = client.get("/artifactory/libs/fill-0").await.expect("an answer");
    assert_eq!(got.body.as_ref(), Dice(0).bytes(1 << 20));
}
