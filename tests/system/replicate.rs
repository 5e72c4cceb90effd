//! Whatever is put, overwritten or deleted at any member appears at all others.

use hyper::StatusCode;

use crate::harness::{Circle, Dice, Node, REPO, Setup, repository, until};

fn path(name: &str) -> String {
    format!("/artifactory/{REPO}/{name}")
}

async fn put(node: &Node, name: &str, bytes: Vec<u8>) {
    let answer = node.client().put(&path(name), bytes).await.expect("an answer");
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
}

async fn delete(node: &Node, name: &str) {
    let answer = node.client().delete(&path(name)).await.expect("an answer");
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.text());
}

async fn reads_everywhere(circle: &Circle, name: &str, bytes: &[u8]) {
    for node in circle.nodes.iter().filter(|node| node.is_running()) {
        let answer = node.client().get(&path(name)).await.expect("an answer");
        assert_eq!(answer.status, StatusCode::OK, "{} at {}: {}", name, node.name, answer.text());
        assert_eq!(answer.body.as_ref(), bytes, "{name} at {}", node.name);
    }
}

async fn put_overwrite_delete(circle: &Circle) {
    let mut dice = Dice(7);
    let (small, large, newer) = (dice.bytes(300), dice.bytes(5_000_000), dice.bytes(70_000));
    put(&circle.nodes[0], "a/small", small.clone()).await;
    put(&circle.nodes[1], "a/large", large.clone()).await;
    put(&circle.nodes[2], "a/gone", b"soon gone".to_vec()).await;
    put(&circle.nodes[2], "empty", Vec::new()).await;
    assert_eq!(circle.converged().await.len(), 4);
    put(&circle.nodes[2], "a/small", newer.clone()).await;
    delete(&circle.nodes[0], "a/gone").await;
    let listing = circle.converged().await;
    assert_eq!(listing.keys().map(String::as_str).collect::<Vec<_>>(), ["/a/large", "/a/small", "/empty"]);
    reads_everywhere(circle, "a/small", &newer).await;
    reads_everywhere(circle, "a/large", &large).await;
    reads_everywhere(circle, "empty", b"").await;
    for node in &circle.nodes {
        let answer = node.client().get(&path("a/gone")).await.expect("an answer");
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "at {}", node.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn puts_overwrites_and_deletes_reach_every_member_and_the_edge() {
    let circle = Circle::new(3, 1, Setup::default()).await;
    put_overwrite_delete(&circle).await;
    let gossiped = until("gossip brought something first", || async {
        let metrics = circle.nodes[1].client().get("/metrics").await?.text();
        let line = metrics.lines().find(|line| line.starts_with("artimesh_entries_applied_by_gossip_total"));
        let count = line.and_then(|line| line.rsplit(' ').next()).and_then(|count| count.parse::<u64>().ok());
        count.filter(|count| *count > 0).ok_or(metrics)
    })
    .await;
    println!("gossip delivered {gossiped} entries first");
}

#[tokio::test(flavor = "multi_thread")]
async fn they_do_with_gossip_switched_off() {
    let circle = Circle::new(3, 1, Setup::default().with("ARTIMESH_SWARM_GOSSIP", "false")).await;
    put_overwrite_delete(&circle).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_was_stopped_killed_or_frozen_catches_up() {
    let mut circle = Circle::new(3, 1, Setup::default()).await;
    put(&circle.nodes[0], "before", b"before".to_vec()).await;
    circle.converged().await;
    for victim in 0..circle.nodes.len() {
        for way in ["stop", "kill", "freeze"] {
            match way {
                "stop" => circle.nodes[victim].stop(),
                "kill" => circle.nodes[victim].kill(),
                _ => circle.nodes[victim].freeze(),
            }
            let writer = (victim + 1) % circle.fulls;
            let other = (0..circle.fulls).find(|index| *index != victim && *index != writer).unwrap_or(writer);
            put(&circle.nodes[writer], &format!("{victim}/{way}"), Dice(victim as u64).bytes(2_000_000)).await;
            put(&circle.nodes[other], "before", format!("{victim} {way}").into_bytes()).await;
            match way {
                "freeze" => circle.nodes[victim].thaw(),
                _ => circle.nodes[victim].start(),
            }
            circle.converged().await;
        }
    }
    assert_eq!(circle.converged().await.len(), 1 + 3 * circle.nodes.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_writes_of_one_path_have_one_winner_everywhere_and_lose_nothing() {
    let mut circle = Circle::new(3, 0, Setup::default()).await;
    put(&circle.nodes[0], "x", b"first".to_vec()).await;
    circle.converged().await;
    circle.nodes[1].stop();
    circle.nodes[2].stop();
    put(&circle.nodes[0], "x", b"from site 0".to_vec()).await;
    circle.nodes[0].stop();
    circle.nodes[1].start();
    put(&circle.nodes[1], "x", b"from site 1".to_vec()).await;
    circle.nodes[0].start();
    circle.nodes[2].start();
    circle.converged().await;
    reads_everywhere(&circle, "x", b"from site 1").await;
    for node in &circle.nodes {
        let status = node.status().await.expect("a status");
        assert_eq!(repository(&status, REPO).expect("libs")["siblings"], 1, "at {}", node.name);
    }
    put(&circle.nodes[2], "x", b"seen both".to_vec()).await;
    circle.converged().await;
    reads_everywhere(&circle, "x", b"seen both").await;
    let status = circle.nodes[0].status().await.expect("a status");
    assert_eq!(repository(&status, REPO).expect("libs")["siblings"], 0);
}
