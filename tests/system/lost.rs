//! Bytes that exist nowhere any more: readers are told so at once, and it ends when they come back.

use hyper::{Method, StatusCode};
use serde_json::Value;

use crate::harness::{Circle, Dice, Node, REPO, Setup, repository, until};
use crate::upkeep::rot;

fn path(name: &str) -> String {
    format!("/artifactory/{REPO}/{name}")
}

async fn put(node: &Node, name: &str, bytes: &[u8]) {
    let answer = node.client().put(&path(name), bytes.to_vec()).await.expect("an answer");
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
}

async fn status_of(node: &Node, method: Method, name: &str) -> Result<StatusCode, String> {
    Ok(node.client().send(method, &path(name), &[], "").await?.status)
}

/// How many blobs of the repository are lost, as a node says.
async fn lost(node: &Node) -> Result<Value, String> {
    Ok(repository(&node.status().await?, REPO)?["lost"].clone())
}

async fn until_lost(node: &Node, count: u64) {
    until(&format!("{count} blobs are lost at {}", node.name), || async {
        let lost = lost(node).await?;
        if lost["blobs"] == count { Ok(()) } else { Err(lost.to_string()) }
    })
    .await;
}

async fn until_read(node: &Node, name: &str, bytes: &[u8]) {
    until(&format!("{} gives {name} again", node.name), || async {
        let answer = node.client().get(&path(name)).await?;
        let is_it = answer.status == StatusCode::OK && answer.body.as_ref() == bytes;
        if is_it { Ok(()) } else { Err(format!("{}: {}", answer.status, answer.text())) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rotted_everywhere_is_gone_with_the_reason_until_it_is_uploaded_again() {
    let mut circle = Circle::new(2, 0, Setup::default()).await;
    let mut dice = Dice(21);
    let contents = [("small", dice.bytes(40_000)), ("large", dice.bytes(3_000_000))];
    let well = dice.bytes(20_000);
    for (name, bytes) in &contents {
        put(&circle.nodes[0], name, bytes).await;
    }
    put(&circle.nodes[0], "well", &well).await;
    circle.converged().await;

    circle.nodes[0].stop();
    contents.iter().for_each(|(_, bytes)| rot(&circle.nodes[1], bytes));
    assert!(!circle.nodes[1].try_cli(&["scrub"], "").status.success(), "a script sees that something was found");
    for (name, _) in &contents {
        // The other may have it.
        assert_eq!(status_of(&circle.nodes[1], Method::GET, name).await, Ok(StatusCode::SERVICE_UNAVAILABLE));
        assert_eq!(status_of(&circle.nodes[1], Method::HEAD, name).await, Ok(StatusCode::OK));
    }
    assert_eq!(lost(&circle.nodes[1]).await.expect("a status")["blobs"], 0);

    contents.iter().for_each(|(_, bytes)| rot(&circle.nodes[0], bytes));
    circle.nodes[0].start();
    circle.nodes[0].try_cli(&["scrub"], "");
    for node in &circle.nodes {
        until_lost(node, 2).await;
        for (name, _) in &contents {
            let answer = node.client().get(&path(name)).await.expect("an answer");
            assert_eq!(answer.status, StatusCode::GONE, "{}", answer.text());
            let other = circle.nodes.iter().find(|other| other.name != node.name).expect("two");
            let text = answer.text();
            assert!(text.contains(name) && text.contains(&other.name) && text.contains("since 20"), "{text}");
            let ranged = node.client().send(Method::GET, &path(name), &[("range", "bytes=0-9")], "").await;
            assert_eq!(ranged.expect("an answer").status, StatusCode::GONE);
            assert_eq!(status_of(node, Method::HEAD, name).await, Ok(StatusCode::GONE));
        }
        assert_eq!(status_of(node, Method::HEAD, "well").await, Ok(StatusCode::OK));
        let status = node.status().await.expect("a status");
        let attention = status["attention"].as_array().expect("lines");
        assert!(attention.iter().any(|line| line["code"] == "lost"), "{attention:?}");
        assert!(node.cli(&["status"], "").contains("lost: 2 blobs"));
        let journal = std::fs::read_to_string(node.folder.join("store/gc.log")).expect("a journal");
        assert_eq!(journal.matches("\"event\":\"lost\"").count(), 2, "{journal}");
    }

    // It outlives the process.
    circle.nodes[1].kill();
    circle.nodes[1].start();
    assert_eq!(status_of(&circle.nodes[1], Method::GET, "large").await, Ok(StatusCode::GONE));
    let copies = tempfile::tempdir().expect("a folder");
    for (name, bytes) in contents.iter().chain([&("well", well)]) {
        std::fs::write(copies.path().join(name), bytes).expect("a file");
    }
    for (sent, there) in [(2, 1), (0, 3)] {
        let folder = copies.path().to_str().expect("UTF-8");
        let told = circle.nodes[1].cli(&["--json", "artifact", "put", REPO, folder], "");
        let told: Value = serde_json::from_str(&told).expect("JSON");
        assert_eq!((&told["files"], &told["there_already"]), (&Value::from(sent), &Value::from(there)), "{told}");
    }
    for (name, bytes) in &contents {
        let answer = circle.nodes[1].client().get(&path(name)).await.expect("an answer");
        assert_eq!((answer.status, answer.body.as_ref()), (StatusCode::OK, bytes.as_slice()));
    }
    for node in &circle.nodes {
        for (name, bytes) in &contents {
            until_read(node, name, bytes).await;
        }
        until_lost(node, 0).await;
    }
    circle.converged().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_comes_back_with_the_bytes_ends_it() {
    let mut circle = Circle::new(2, 0, Setup::default()).await;
    let bytes = Dice(22).bytes(50_000);
    put(&circle.nodes[0], "a", &bytes).await;
    circle.converged().await;
    circle.nodes[1].stop();
    rot(&circle.nodes[0], &bytes);
    circle.nodes[0].try_cli(&["scrub"], "");
    assert_eq!(status_of(&circle.nodes[0], Method::GET, "a").await, Ok(StatusCode::SERVICE_UNAVAILABLE));
    // Nobody waits for a member that was given up.
    let member = circle.nodes[1].name.clone();
    circle.nodes[0].cli(&["federation", "remove", REPO, &member], "");
    until("it is lost", || async {
        match status_of(&circle.nodes[0], Method::GET, "a").await? {
            StatusCode::GONE => Ok(()),
            other => Err(other.to_string()),
        }
    })
    .await;
    let answer = circle.nodes[0].client().get(&path("a")).await.expect("an answer");
    assert!(answer.text().contains("no other site has the repository"), "{}", answer.text());
    circle.nodes[1].start();
    circle.nodes[0].cli(&["federation", "invite", REPO, &member], "");
    until_read(&circle.nodes[0], "a", &bytes).await;
    until_lost(&circle.nodes[0], 0).await;
}
