//! A repository that is there already joins a federation: what both had is there at both, and nothing is displaced.

use hyper::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Circle, Node, Setup, until};

const DOCS: &str = "docs";

fn json_of(node: &Node, args: &[&str]) -> Value {
    let args: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
    serde_json::from_str(&node.cli(&args, "")).expect("JSON")
}

async fn put(node: &Node, name: &str, text: &str) {
    let answer = node.client().put(&format!("/artifactory/{DOCS}/{name}"), text.as_bytes().to_vec()).await;
    let answer = answer.expect("an answer");
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
}

async fn reads(node: &Node, name: &str, text: &str) {
    until(&format!("{} has {text} at {name}", node.name), || async {
        let answer = node.client().get(&format!("/artifactory/{DOCS}/{name}")).await?;
        if answer.status.is_success() && answer.text() == text { Ok(()) } else { Err(answer.text()) }
    })
    .await;
}

/// Content and node of all live versions of a path.
fn versions(node: &Node, name: &str) -> Vec<(String, String)> {
    let shown = json_of(node, &["conflict", "show", &format!("{DOCS}/{name}")]);
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let live = shown["live"].as_array().expect("a list").iter();
    live.map(|version| (text(&version["sha256"]), text(&version["node_name"]))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_repositories_of_one_key_become_one_and_both_contents_stay() {
    let circle = Circle::new(2, 0, Setup::default()).await;
    let (berlin, tokyo) = (&circle.nodes[0], &circle.nodes[1]);
    for (node, own) in [(berlin, "berlin"), (tokyo, "tokyo")] {
        node.cli(&["repo", "create", DOCS], "");
        put(node, own, own).await;
        put(node, "same", "equal").await;
        put(node, "other", own).await;
        node.cli(&["artifact", "mkdir", &format!("{DOCS}/empty-{own}")], "");
    }
    let early = tokyo.try_cli(&["federation", "adopt", DOCS], "");
    assert!(!early.status.success(), "nobody has invited it: {early:?}");
    berlin.cli(&["federation", "invite", DOCS, "site-1"], "");
    until("tokyo says that an invitation waits, and what to do", || async {
        let status = tokyo.cli(&["status"], "");
        if status.contains("federation adopt docs") { Ok(()) } else { Err(status) }
    })
    .await;
    // Until its own operator says so nothing of it is touched.
    reads(tokyo, "other", "tokyo").await;
    let told = tokyo.cli(&["federation", "adopt", DOCS], "");
    assert!(told.contains("docs is part of") && told.contains("conflict list docs"), "{told}");

    for node in [berlin, tokyo] {
        for own in ["berlin", "tokyo"] {
            reads(node, own, own).await;
            let target = format!("/artifactory/api/storage/{DOCS}/empty-{own}");
            assert!(node.client().get(&target).await.expect("an answer").status.is_success(), "{own} at {}", node.name);
        }
        reads(node, "same", "equal").await;
        let listed = json_of(node, &["conflict", "list", DOCS]);
        let paths: Vec<_> = listed["conflicts"].as_array().expect("a list").iter().map(|c| c["path"].clone()).collect();
        assert_eq!(paths, ["other"], "at {}", node.name);
    }
    let live = versions(berlin, "other");
    assert_eq!(live.len(), 2, "{live:?}");
    assert_eq!(versions(tokyo, "other"), live);
    let whole = berlin.cli(&["federation", "checkpoint", DOCS, "--wait"], "");
    assert!(whole.contains("has it"), "{whole}");
    // From now on they are one.
    put(tokyo, "after", "after").await;
    reads(berlin, "after", "after").await;
    berlin.cli(&["conflict", "dismiss", &format!("{DOCS}/other")], "");
    until("the conflict is settled at both", || async {
        let listed = json_of(tokyo, &["conflict", "list", DOCS]);
        if listed["conflicts"] == json!([]) { Ok(()) } else { Err(listed.to_string()) }
    })
    .await;
}
