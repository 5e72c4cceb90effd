//! The brake on mass deletes, through the binary: what one node ends at once waits at the others for their operators.

use serde_json::{Value, json};

use crate::harness::{Circle, Clock, Node, REPO, Setup, listing, repository, until};

/// More than one author may end at a time.
const FILES: usize = 1_100;
/// What the first entry of a folder's delete ends, and that much is let through.
const THROUGH: usize = 1_000;

fn json_of(node: &Node, args: &[&str]) -> Value {
    let args: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
    serde_json::from_str(&node.cli(&args, "")).expect("JSON")
}

async fn has_files(node: &Node, count: usize) {
    until(&format!("{} has {count} files", node.name), || async {
        let found = listing(node).await.len();
        if found == count { Ok(()) } else { Err(found.to_string()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mass_delete_waits_at_the_others_until_their_operators_release_it() {
    let root = tempfile::tempdir().expect("a folder");
    let Some(clock) = Clock::in_file(&root.path().join("clock")) else {
        println!("not tried: clocks of their own need libfaketime (Debian: libfaketime)");
        return;
    };
    let circle = Circle::new(2, 0, Setup { clock: Some(clock.clone()), ..Setup::default() }).await;
    let (berlin, tokyo) = (&circle.nodes[0], &circle.nodes[1]);
    for file in 0..FILES {
        let answer = berlin.client().put(&format!("/artifactory/{REPO}/{file:04}"), "x").await.expect("an answer");
        assert!(answer.status.is_success(), "{}", answer.text());
    }
    assert_eq!(circle.converged().await.len(), FILES);
    let nothing = berlin.cli(&["federation", "holds", REPO], "");
    assert!(nothing.contains("nothing is held"), "{nothing}");
    let early = berlin.try_cli(&["federation", "release", REPO], "");
    assert!(String::from_utf8_lossy(&early.stderr).contains("nothing is held"), "{early:?}");
    // What a node does just after it joined, or to what it has just written itself, is no damage.
    clock.set(3_600);

    tokyo.cli(&["artifact", "rm", "--recursive", REPO], "");
    assert_eq!(listing(tokyo).await.len(), 0);
    let holds = until("berlin holds it", || async {
        let holds = json_of(berlin, &["federation", "holds", REPO]);
        if holds["holds"] != json!([]) { Ok(holds) } else { Err(holds.to_string()) }
    })
    .await;
    let hold = &holds["holds"][0];
    assert_eq!((&hold["name"], &hold["paths"], &hold["allowed"]), (&json!("site-1"), &json!(FILES), &json!(THROUGH)));
    has_files(berlin, FILES - THROUGH).await;
    let shown = berlin.cli(&["federation", "holds", REPO], "");
    assert!(shown.contains("site-1") && shown.contains("federation release libs --author NODE"), "{shown}");
    let status = berlin.cli(&["status"], "");
    assert!(status.contains("federation release"), "{status}");
    // It isn't acknowledged either: who asks is told who lacks what.
    let lagging = tokyo.try_cli(&["federation", "checkpoint", REPO, "--wait", "--timeout", "1s"], "");
    assert_eq!(lagging.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&lagging.stdout).contains("lacks 1 entries"), "{lagging:?}");

    let other = berlin.try_cli(&["federation", "release", REPO, "--author", "nobody"], "");
    assert!(String::from_utf8_lossy(&other.stderr).contains("nobody"), "{other:?}");
    has_files(berlin, FILES - THROUGH).await;
    berlin.cli(&["federation", "release", REPO, "--author", "site-1"], "");
    has_files(berlin, 0).await;
    circle.converged().await;
    assert_eq!(json_of(berlin, &["federation", "holds", REPO])["holds"], json!([]));
    let siblings = repository(&berlin.status().await.expect("a status"), REPO).expect("libs")["siblings"].clone();
    assert_eq!(siblings, json!(0));
}
