//! A member that was away while the others forgot what was replaced and deleted: it compares states with them.

use hyper::StatusCode;

use crate::harness::{Circle, Node, REPO, Setup, until};

fn path(name: &str) -> String {
    format!("/artifactory/{REPO}/{name}")
}

async fn put(node: &Node, name: &str, text: &str) {
    let answer = node.client().put(&path(name), text.as_bytes().to_vec()).await.expect("an answer");
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
}

async fn counted(node: &Node, name: &str) -> Result<u64, String> {
    let metrics = node.client().get("/metrics").await?.text();
    let line = metrics.lines().find(|line| line.starts_with(&format!("artimesh_{name}_total")));
    let count = line.and_then(|line| line.rsplit(' ').next()).and_then(|count| count.parse::<u64>().ok());
    count.ok_or(metrics)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_away_while_logs_were_pruned_gets_the_state_and_nothing_deleted_returns() {
    let setup =
        Setup::default().with("ARTIMESH_REPLICATION_LOG_WHOLE", "0s").with("ARTIMESH_REPLICATION_LOG_DELETES", "0s");
    let mut circle = Circle::new(3, 1, setup).await;
    for number in 0..12 {
        put(&circle.nodes[0], &format!("old/{number}"), "old").await;
    }
    circle.converged().await;
    circle.nodes[1].kill();
    for number in 0..10 {
        let answer = circle.nodes[0].client().delete(&path(&format!("old/{number}"))).await.expect("an answer");
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.text());
        put(&circle.nodes[2], &format!("new/{number}"), "first").await;
        put(&circle.nodes[2], &format!("new/{number}"), "second").await;
    }
    circle.converged().await;
    // What was deleted, the deletes, and what was replaced.
    for member in [0, 2] {
        until("the logs are pruned", || async {
            let pruned = counted(&circle.nodes[member], "entries_pruned").await?;
            if pruned >= 30 { Ok(()) } else { Err(format!("{pruned} entries pruned")) }
        })
        .await;
    }
    circle.nodes[1].start();
    put(&circle.nodes[1], "mine", "written before it heard of anything").await;
    let listing = circle.converged().await;
    assert_eq!(listing.len(), 2 + 10 + 1, "{listing:?}");
    assert!(!listing.contains_key("/old/3"), "a deleted artifact is back");
    assert_eq!(counted(&circle.nodes[1], "states_taken_over").await, Ok(1));
    for node in &circle.nodes {
        let answer = node.client().get(&path("new/7")).await.expect("an answer");
        assert_eq!(answer.body.as_ref(), b"second", "at {}", node.name);
    }
}
