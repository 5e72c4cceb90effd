//! Who was revoked is cut off from everybody, at once and for good; who only follows can't write.

use std::fs;
use std::path::Path;

use hyper::{Method, StatusCode};
use serde_json::Value;

use crate::harness::{Circle, Dice, Node, REPO, Setup, repository, until};

fn path(name: &str) -> String {
    format!("/artifactory/{REPO}/{name}")
}

async fn put(node: &Node, name: &str, body: &[u8]) -> StatusCode {
    node.client().put(&path(name), body.to_vec()).await.expect("an answer").status
}

async fn status_of(node: &Node, name: &str) -> StatusCode {
    node.client().get(&path(name)).await.expect("an answer").status
}

/// How `node` sees the member `name`.
async fn state_at(node: &Node, name: &str) -> Result<String, String> {
    let trust = node.client().get("/artifactory/api/mesh/trust").await?.json();
    let members = trust["members"].as_array().ok_or_else(|| trust.to_string())?;
    let found = members.iter().find(|member| member["name"] == name);
    found.and_then(|member| member["state"].as_str()).map(str::to_owned).ok_or_else(|| format!("no {name} in {trust}"))
}

async fn sees(node: &Node, name: &str, state: &str) {
    until(&format!("{} sees {name} as {state}", node.name), || async {
        match state_at(node, name).await? {
            seen if seen == state => Ok(()),
            seen => Err(seen),
        }
    })
    .await;
}

/// Waits until these nodes agree on the repository, whatever others do.
async fn agree(nodes: &[&Node]) {
    until("those who are left agree", || async {
        let mut seen: Vec<(Value, Value, Value)> = Vec::new();
        for node in nodes {
            let status = node.status().await?;
            let libs = repository(&status, REPO)?;
            seen.push((libs["heads"].clone(), libs["state_digest"].clone(), status["trust"]["digest"].clone()));
        }
        if seen.windows(2).all(|pair| pair[0] == pair[1]) { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_node_is_cut_off_everywhere_and_stays_so() {
    let mut circle = Circle::new(3, 1, Setup::default()).await;
    assert_eq!(put(&circle.nodes[2], "before", b"before").await, StatusCode::CREATED);
    circle.converged().await;

    let told = circle.nodes[0].cli(&["trust", "revoke", "site-2", "--wait", "10s"], "");
    let pending = told.lines().find(|line| line.starts_with("pending")).expect("a line").to_owned();
    assert_eq!(pending.split_whitespace().collect::<Vec<_>>(), ["pending", "-"], "{told}");
    // Acknowledged by all: no waiting from here on.
    for index in [0, 1, 3] {
        let node = &circle.nodes[index];
        assert_eq!(state_at(node, "site-2").await.as_deref(), Ok("revoked"), "at {}", node.name);
        assert!(node.cli(&["trust", "list"], "").contains("revoked"));
    }
    let late = put(&circle.nodes[2], "late", b"written after").await;
    assert!(matches!(late, StatusCode::CREATED | StatusCode::FORBIDDEN), "{late}");
    assert_eq!(put(&circle.nodes[0], "after", b"after").await, StatusCode::CREATED);
    agree(&[&circle.nodes[0], &circle.nodes[1], &circle.nodes[3]]).await;

    // It can't come back by starting again.
    circle.nodes[2].stop();
    circle.nodes[2].start();
    let _ = put(&circle.nodes[2], "later", b"after a restart").await;
    for round in 0..3 {
        let name = format!("round-{round}");
        assert_eq!(put(&circle.nodes[1], &name, &Dice(round).bytes(100_000)).await, StatusCode::CREATED);
        agree(&[&circle.nodes[0], &circle.nodes[1], &circle.nodes[3]]).await;
        assert_eq!(status_of(&circle.nodes[2], &name).await, StatusCode::NOT_FOUND, "it still hears of news");
    }
    for index in [0, 1, 3] {
        let node = &circle.nodes[index];
        for name in ["late", "later"] {
            assert_eq!(status_of(node, name).await, StatusCode::NOT_FOUND, "{name} at {}", node.name);
        }
        assert_eq!(status_of(node, "before").await, StatusCode::OK, "what it wrote before stays");
        assert_eq!(state_at(node, "site-2").await.as_deref(), Ok("revoked"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_node_reads_no_blobs() {
    let mut circle = Circle::new(2, 1, Setup::default()).await;
    let secret = Dice(4).bytes(2_000_000);
    assert_eq!(put(&circle.nodes[0], "secret", &secret).await, StatusCode::CREATED);
    // The edge fetches on demand: it knows of the artifact and lacks its bytes.
    let edge = circle.nodes.pop().expect("an edge");
    until("the edge knows of it", || async {
        let item = edge.client().get(&format!("/artifactory/api/storage/{REPO}/secret")).await?;
        if item.status.is_success() { Ok(()) } else { Err(item.text()) }
    })
    .await;
    circle.nodes[0].cli(&["trust", "revoke", "edge-0", "--wait", "10s"], "");
    let answer = edge.client().get(&path("secret")).await.expect("an answer");
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text());
    assert!(answer.text().contains("secret"), "{}", answer.text());
    assert_eq!(status_of(&circle.nodes[1], "secret").await, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_heard_of_a_revocation_at_different_times_agree_in_the_end() {
    let mut circle = Circle::new(4, 1, Setup::default()).await;
    assert_eq!(put(&circle.nodes[3], "before", b"before").await, StatusCode::CREATED);
    circle.converged().await;
    // While the revoker is alone, the others take more from the one that it revokes; one hears of nothing at all.
    for index in [1, 2, 3, 4] {
        circle.nodes[index].stop();
    }
    circle.nodes[0].cli(&["trust", "revoke", "site-3"], "");
    circle.nodes[0].stop();
    for index in [1, 3, 4] {
        circle.nodes[index].start();
    }
    assert_eq!(put(&circle.nodes[3], "relayed", b"by those who don't know").await, StatusCode::CREATED);
    agree(&[&circle.nodes[1], &circle.nodes[3], &circle.nodes[4]]).await;
    circle.nodes[3].stop();
    circle.nodes[0].start();
    circle.nodes[2].start();
    let left = [&circle.nodes[0], &circle.nodes[1], &circle.nodes[2], &circle.nodes[4]];
    for node in left {
        sees(node, "site-3", "revoked").await;
    }
    agree(&left).await;
    let relayed = status_of(&circle.nodes[0], "relayed").await;
    for node in left {
        assert_eq!(status_of(node, "relayed").await, relayed, "at {}", node.name);
    }
    // And what it writes from now on is nobody's.
    circle.nodes[3].start();
    let _ = put(&circle.nodes[3], "afterwards", b"x").await;
    assert_eq!(put(&circle.nodes[1], "news", b"x").await, StatusCode::CREATED);
    let left = [&circle.nodes[0], &circle.nodes[1], &circle.nodes[2], &circle.nodes[4]];
    agree(&left).await;
    for node in left {
        assert_eq!(status_of(node, "afterwards").await, StatusCode::NOT_FOUND, "at {}", node.name);
    }
}

/// Every file below `folder`.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").filter_map(Result::ok) {
        match entry.path() {
            path if path.is_dir() => found.extend(files(&path)),
            path => found.extend(fs::read(&path).ok().map(|bytes| (path.display().to_string(), bytes))),
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_takes_no_writes_and_holds_nobodys_secrets() {
    let circle = Circle::new(2, 1, Setup::default()).await;
    assert_eq!(put(&circle.nodes[0], "a/x", b"x").await, StatusCode::CREATED);
    circle.converged().await;
    let edge = &circle.nodes[2];
    let text = "Deployment to an Edge Artifactory node is not supported.";
    for (method, name) in [
        (Method::PUT, "a/x"),
        (Method::PUT, "a/"),
        (Method::PUT, "a/x.sha1"),
        (Method::PUT, "y;k=v"),
        (Method::DELETE, "a/x"),
        (Method::DELETE, "a/"),
        (Method::DELETE, "none"),
        (Method::POST, "a/x"),
        (Method::PATCH, "a/x"),
    ] {
        let answer = edge.client().send(method.clone(), &path(name), &[], "y").await.expect("an answer");
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {name}: {}", answer.text());
        assert_eq!(answer.json()["errors"][0]["message"], text, "{method} {name}");
    }
    let made = edge.try_cli(&["repo", "create", "mine"], "");
    assert_eq!(made.status.code(), Some(1), "{}", String::from_utf8_lossy(&made.stdout));
    assert_eq!(edge.client().get(&path("a/x")).await.expect("an answer").text(), "x");
    circle.converged().await;

    let held = files(&edge.folder);
    for node in &circle.nodes[..2] {
        let mut secrets = vec![node.token().into_bytes()];
        for name in ["log", "transport", "pairing"] {
            let text = fs::read_to_string(node.folder.join(format!("keys/{name}.key"))).expect("a key");
            let raw = data_encoding::HEXLOWER_PERMISSIVE.decode(text.trim().as_bytes()).expect("hexadecimal");
            secrets.extend([text.trim().as_bytes().to_vec(), raw]);
        }
        for (file, bytes) in &held {
            let leaked = secrets.iter().any(|secret| bytes.windows(secret.len()).any(|window| window == secret));
            assert!(!leaked, "{file} holds a secret of {}", node.name);
        }
    }
}

async fn has_repository(node: &Node, key: &str) -> bool {
    let answer = node.client().get(&format!("/artifactory/api/repositories/{key}")).await.expect("an answer");
    answer.status.is_success()
}

#[tokio::test(flavor = "multi_thread")]
async fn invitations_are_followed_only_where_the_operator_allows_it() {
    let mut circle = Circle::new(3, 0, Setup::default()).await;
    for (index, accepts) in [(1, "none"), (2, "site-1")] {
        circle.nodes[index].stop();
        circle.nodes[index].set("ARTIMESH_REPLICATION_ACCEPT_FEDERATIONS", accepts);
        circle.nodes[index].start();
    }
    let members = ["--member", "site-1", "--member", "site-2"];
    circle.nodes[0].cli(&[&["repo", "create", "wanted", "--federated"][..], &members].concat(), "");
    let put = circle.nodes[0].client().put("/artifactory/wanted/x", "x").await.expect("an answer");
    assert_eq!(put.status, StatusCode::CREATED);
    // What comes after the invitation in the logs has arrived: so the invitation has.
    assert_eq!(self::put(&circle.nodes[0], "marker", b"x").await, StatusCode::CREATED);
    agree(&[&circle.nodes[0], &circle.nodes[1], &circle.nodes[2]]).await;
    for index in [1, 2] {
        assert!(!has_repository(&circle.nodes[index], "wanted").await, "at {}", circle.nodes[index].name);
    }
    for (index, accepts) in [(1, "any"), (2, "site-1,site-0")] {
        circle.nodes[index].stop();
        circle.nodes[index].set("ARTIMESH_REPLICATION_ACCEPT_FEDERATIONS", accepts);
        circle.nodes[index].start();
        let node = &circle.nodes[index];
        until(&format!("{} follows the invitation", node.name), || async {
            let answer = node.client().get("/artifactory/wanted/x").await?;
            if answer.status.is_success() { Ok(()) } else { Err(answer.text()) }
        })
        .await;
    }
}
