//! The previous release and this one in one circle: they refuse each other, and say why.

use super::{lived, previous, put};
use crate::harness::{Node, listing, until};

async fn says(node: &Node, what: &str) {
    until(&format!("{} says '{what}' in its log", node.name), || async {
        let log = std::fs::read_to_string(node.log_path()).map_err(|error| error.to_string())?;
        if log.contains(what) { Ok(()) } else { Err(node.log_tail()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_previous_release_and_this_one_refuse_each_other_and_agree_once_both_are_upgraded() {
    let Some(binary) = previous() else { return };
    let _turn = lived::turn().await;
    let (mut circle, lived) = lived::live(binary).await;
    circle.nodes[1].stop();
    circle.nodes[1].upgrade();
    circle.nodes[1].start();
    for node in &circle.nodes[..2] {
        says(node, "speaks another version of the protocol").await;
    }
    until("the upgraded node's status says it", || async {
        let status = circle.nodes[1].status().await?;
        let member = status["members"].as_array().into_iter().flatten().find(|member| member["name"] == "berlin");
        let error = member.map(|member| member["last_error"]["message"].to_string()).unwrap_or_default();
        let expected = "speaks protocol 1, this node speaks 2: upgrade it";
        if error.contains(expected) { Ok(()) } else { Err(format!("{error}: {status}")) }
    })
    .await;
    let shown = circle.nodes[1].cli(&["status"], "");
    assert!(shown.contains("speaks protocol 1"), "{shown}");
    // Each site still works for its own users meanwhile, and neither takes anything from the other.
    put(&circle.nodes[0], "/meanwhile/berlin", "old").await;
    put(&circle.nodes[1], "/meanwhile/tokyo", "new").await;
    for (node, path) in [(&circle.nodes[1], "/meanwhile/berlin"), (&circle.nodes[0], "/meanwhile/tokyo")] {
        assert!(!listing(node).await.contains_key(path), "{} has {path}", node.name);
    }
    for index in [0, 2] {
        circle.nodes[index].stop();
        circle.nodes[index].upgrade();
        circle.nodes[index].start();
    }
    let listing = circle.converged().await;
    assert!(listing.contains_key("/meanwhile/berlin") && listing.contains_key("/meanwhile/tokyo"), "{listing:?}");
    assert_eq!(listing.len(), lived.listing.len() + 2);
}
