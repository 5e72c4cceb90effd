//! Bytes between nodes: sources that are killed, lie or are slow, and readers that can't wait.

#[path = "transfer/liar.rs"]
mod liar;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::future::join_all;
use hyper::{Method, StatusCode};
use rustix::fs::OFlags;

use self::liar::{Liar, Lie};
use crate::harness::{Circle, Content, Node, REPO, Setup, until};

const MIB: u64 = 1 << 20;

/// What may be under way when a source is killed, and what requests and their answers need beside the bytes asked for.
const UNDER_WAY: u64 = 5 * MIB;

fn path(name: &str) -> String {
    format!("/artifactory/{REPO}/{name}")
}

/// Every node sends each other at most so much a second: then a transfer lasts long enough to disturb it.
fn slow(rate: &str) -> Setup {
    Setup::default().with("ARTIMESH_TRANSFER_PEER_SEND_MAX", rate)
}

async fn uploads(node: &Node, name: &str, content: Content) {
    let answer = node.client().put_streamed(&path(name), content).await.expect("an answer");
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
}

async fn knows(node: &Node, name: &str) {
    until(&format!("{} knows {name}", node.name), || async {
        let answer = node.client().get(&format!("/artifactory/api/storage/{REPO}/{name}")).await?;
        if answer.status.is_success() { Ok(()) } else { Err(answer.text()) }
    })
    .await;
}

/// The sum over all lines of a metric.
async fn metric(node: &Node, name: &str) -> Result<u64, String> {
    let text = node.client().get("/metrics").await?.text();
    let of_it = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']));
    let lines = text.lines().filter(of_it).filter_map(|line| line.rsplit(' ').next());
    Ok(lines.filter_map(|number| number.parse::<u64>().ok()).sum())
}

async fn received(node: &Node) -> u64 {
    metric(node, "artimesh_peer_received_bytes_total").await.expect("metrics")
}

async fn has_received(node: &Node, bytes: u64) {
    until(&format!("{} has {bytes} bytes", node.name), || async {
        let count = metric(node, "artimesh_fetched_bytes_total").await?;
        if count >= bytes { Ok(()) } else { Err(count.to_string()) }
    })
    .await;
}

async fn reads(node: &Node, name: &str, content: Content) {
    let streamed = node.client().get_streamed(&path(name)).await.expect("a whole answer");
    assert_eq!((streamed.status, streamed.bytes), (StatusCode::OK, content.size), "{name} at {}", node.name);
    assert_eq!(streamed.sha256, content.sha256(), "{name} at {}", node.name);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_goes_on_where_it_was_when_either_end_is_killed() {
    let mut circle = Circle::new(2, 0, slow("8MiB")).await;
    let content = Content { seed: 3, size: 48 * MIB };
    uploads(&circle.nodes[0], "large", content).await;
    has_received(&circle.nodes[1], 8 * MIB).await;
    circle.nodes[0].kill();
    circle.nodes[0].start();
    has_received(&circle.nodes[1], 20 * MIB).await;
    let before = received(&circle.nodes[1]).await;
    assert!(before < content.size, "it was killed in the middle");
    circle.nodes[1].kill();
    circle.nodes[1].start();
    circle.converged().await;
    reads(&circle.nodes[1], "large", content).await;
    let in_all = before + received(&circle.nodes[1]).await;
    assert!(in_all >= content.size, "{in_all} bytes were received");
    assert!(in_all < content.size + 2 * UNDER_WAY, "{in_all} bytes were received for {}", content.size);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_of_wrong_bytes_is_named_and_the_blob_comes_from_another() {
    let mut circle = Circle::new(3, 0, slow("6MiB")).await;
    let content = Content { seed: 4, size: 24 * MIB };
    let bytes: Vec<u8> = content.pieces().flatten().collect();
    circle.nodes[2].stop();
    circle.nodes[1].stop();
    uploads(&circle.nodes[0], "large", content).await;
    let liar = Liar::start(&circle.nodes[1], &circle.nodes[2], Arc::new(bytes), Lie::Bytes).await;
    circle.nodes[2].start();
    circle.converged().await;
    let victim = &circle.nodes[2];
    reads(victim, "large", content).await;
    assert_eq!(liar.lies.load(Ordering::SeqCst).min(1), 1, "it was asked");
    assert_eq!(metric(victim, "artimesh_wrong_answers_total").await.expect("metrics"), 1, "and not asked again");
    let status = victim.status().await.expect("a status");
    let members = status["members"].as_array().expect("members");
    let named = members.iter().find(|member| member["name"] == "site-1").expect("it is a member");
    assert_eq!(named["last_error"]["code"], "wrong_bytes", "{named}");
    let log = std::fs::read_to_string(victim.log_path()).expect("a log");
    let node = named["node"].as_str().expect("an id");
    let line = log.lines().find(|line| line.contains("sent bytes that are not what it was asked for"));
    assert!(line.expect("it is logged").contains(&node[..8]), "{line:?} names {node}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_has_not_what_it_says_is_let_go_of_and_named() {
    let mut circle = Circle::new(3, 0, slow("6MiB")).await;
    let content = Content { seed: 9, size: 24 * MIB };
    let bytes: Vec<u8> = content.pieces().flatten().collect();
    circle.nodes[2].stop();
    circle.nodes[1].stop();
    uploads(&circle.nodes[0], "large", content).await;
    let liar = Liar::start(&circle.nodes[1], &circle.nodes[2], Arc::new(bytes), Lie::Possession).await;
    circle.nodes[2].start();
    circle.converged().await;
    let victim = &circle.nodes[2];
    let fetched = metric(victim, "artimesh_fetched_bytes_total").await.expect("metrics");
    assert_eq!(fetched, content.size, "all of it from the other");
    let lies = liar.lies.load(Ordering::SeqCst);
    assert!((1..=20).contains(&lies), "it was asked {lies} times for 24 groups");
    assert_eq!(metric(victim, "artimesh_wrong_answers_total").await.expect("metrics"), 0, "it may have lost them");
    let status = victim.status().await.expect("a status");
    let members = status["members"].as_array().expect("members");
    let named = members.iter().find(|member| member["name"] == "site-1").expect("it is a member");
    assert_eq!(named["last_error"]["code"], "transfer", "{named}");
    reads(victim, "large", content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_readers_share_one_fetch_and_have_the_first_byte_before_the_edge_has_the_last() {
    let circle = Circle::new(1, 1, slow("8MiB")).await;
    let (site, edge) = (&circle.nodes[0], &circle.nodes[1]);
    let content = Content { seed: 5, size: 24 * MIB };
    uploads(site, "large", content).await;
    knows(edge, "large").await;
    let overhead = received(edge).await;
    let first = edge.client().send(Method::GET, &path("large"), &[("range", "bytes=0-9")], "").await;
    let first = first.expect("an answer");
    assert_eq!((first.status, first.body.len()), (StatusCode::PARTIAL_CONTENT, 10));
    let so_far = metric(edge, "artimesh_fetched_bytes_total").await.expect("metrics");
    assert!(so_far < content.size, "{so_far} bytes were there when the first was read");
    join_all((0..100).map(|_| reads(edge, "large", content))).await;
    assert_eq!(metric(edge, "artimesh_fetched_bytes_total").await.expect("metrics"), content.size, "one copy");
    let in_all = received(edge).await - overhead;
    assert!(in_all < content.size + content.size / 50, "{in_all} bytes for {}", content.size);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_reader_asks_for_of_a_blob_that_is_on_its_way_comes_first() {
    let circle = Circle::new(1, 1, slow("6MiB")).await;
    let (site, edge) = (&circle.nodes[0], &circle.nodes[1]);
    let content = Content { seed: 6, size: 48 * MIB };
    uploads(site, "large", content).await;
    knows(edge, "large").await;
    let (client, whole) = (edge.client(), path("large"));
    let reader = tokio::spawn(async move { client.get_streamed(&whole).await });
    has_received(edge, 2 * MIB).await;
    let range = format!("bytes={}-{}", 40 * MIB + 5, 40 * MIB + 14);
    let part = edge.client().send(Method::GET, &path("large"), &[("range", &range)], "").await.expect("an answer");
    let so_far = metric(edge, "artimesh_fetched_bytes_total").await.expect("metrics");
    let bytes: Vec<u8> = content.pieces().flatten().collect();
    assert_eq!(part.body.as_ref(), &bytes[(40 * MIB + 5) as usize..(40 * MIB + 15) as usize]);
    assert!(so_far < 30 * MIB, "{so_far} bytes came before what was asked for");
    let streamed = reader.await.expect("no panic").expect("a whole answer");
    assert_eq!((streamed.bytes, streamed.sha256), (content.size, content.sha256()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_that_nobody_waits_for_ends_where_that_is_set_and_what_came_is_kept() {
    let setup = slow("6MiB").with("ARTIMESH_CACHE_FINISH_FETCHES", "false");
    let circle = Circle::new(1, 1, setup).await;
    let (site, edge) = (&circle.nodes[0], &circle.nodes[1]);
    let content = Content { seed: 7, size: 60 * MIB };
    uploads(site, "large", content).await;
    knows(edge, "large").await;
    let first = edge.client().send(Method::GET, &path("large"), &[("range", "bytes=0-9")], "").await;
    assert_eq!(first.expect("an answer").status, StatusCode::PARTIAL_CONTENT);
    until("the fetch ends", || async {
        let ended = metric(edge, "artimesh_fetch_failures_total").await?;
        if ended > 0 { Ok(()) } else { Err("it goes on".to_owned()) }
    })
    .await;
    let came = metric(edge, "artimesh_fetched_bytes_total").await.expect("metrics");
    assert!(came < content.size, "it didn't go on to the end");
    reads(edge, "large", content).await;
    let in_all = metric(edge, "artimesh_fetched_bytes_total").await.expect("metrics");
    assert!(in_all <= content.size + UNDER_WAY, "{in_all} bytes: {came} were kept");
}

/// Whether files there can be written past the page cache.
fn goes_past_cache(folder: &Path) -> bool {
    let direct = i32::try_from(OFlags::DIRECT.bits()).expect("a flag");
    let path = folder.join("direct");
    let is_possible =
        OpenOptions::new().create(true).write(true).truncate(true).custom_flags(direct).open(&path).is_ok();
    std::fs::remove_file(&path).ok();
    is_possible
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_reads_goes_past_the_page_cache_and_what_somebody_waits_for_does_not() {
    let circle = Circle::new(2, 1, Setup::default()).await;
    let (author, mirror, edge) = (&circle.nodes[0], &circle.nodes[1], &circle.nodes[2]);
    let past_cache = async |node: &Node| metric(node, "artimesh_store_past_cache_bytes_total").await.expect("metrics");
    let small = Content { seed: 11, size: 3 * MIB };
    uploads(author, "small", small).await;
    circle.converged().await;
    assert_eq!(past_cache(mirror).await, 0);
    let large = Content { seed: 12, size: 65 * MIB + 5 };
    uploads(author, "large", large).await;
    circle.converged().await;
    if goes_past_cache(circle.root.path()) {
        assert_eq!(past_cache(mirror).await, 65 * MIB, "all groups but the last, which ends within a page");
    }
    for node in [mirror, edge] {
        reads(node, "large", large).await;
    }
    assert_eq!(past_cache(edge).await, 0, "somebody waits for it");
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_small_artifacts_reach_the_others_each_once() {
    const COUNT: u64 = 2000;
    let circle = Circle::new(3, 0, Setup::default()).await;
    for batch in 0..COUNT / 50 {
        let put = |number: u64| {
            let node = &circle.nodes[(number % 2) as usize];
            async move { uploads(node, &format!("{}/{number}", number % 7), Content { seed: number, size: 4096 }).await }
        };
        join_all((batch * 50..batch * 50 + 50).map(put)).await;
    }
    assert_eq!(circle.converged().await.len() as u64, COUNT);
    let fetched = metric(&circle.nodes[2], "artimesh_fetched_bytes_total").await.expect("metrics");
    assert_eq!(fetched, COUNT * 4096, "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_sites_that_fetch_the_same_take_it_from_each_other() {
    let setup = Setup::default().with("ARTIMESH_TRANSFER_SEND_MAX", "3MiB");
    let circle = Circle::new(9, 0, setup).await;
    let content = Content { seed: 8, size: 48 * MIB };
    uploads(&circle.nodes[0], "large", content).await;
    circle.converged().await;
    let sent = metric(&circle.nodes[0], "artimesh_peer_sent_bytes_total").await.expect("metrics");
    let copies = sent as f64 / content.size as f64;
    println!("the source sent {copies:.2} copies to eight");
    assert!(copies < 1.6, "the source sent {copies:.2} copies");
    for node in &circle.nodes[1..] {
        let twice = metric(node, "artimesh_fetched_twice_bytes_total").await.expect("metrics");
        println!("{} received {} bytes, {twice} of them twice", node.name, received(node).await);
        reads(node, "large", content).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_held_through_one_repository_satisfy_another_once_their_author_has_proved_to_have_them() {
    let circle = Circle::new(2, 0, Setup::default()).await;
    let (author, other) = (&circle.nodes[0], &circle.nodes[1]);
    author.cli(&["repo", "create", "more", "--federated", "--member", &other.name], "");
    let contents = [(1, 3 * MIB + 5), (2, 4096), (3, 0)].map(|(seed, size)| Content { seed, size });
    let put = async |repo: &str, seed: usize, content: Content| {
        let answer = author.client().put_streamed(&format!("/artifactory/{repo}/{seed}"), content).await;
        assert_eq!(answer.expect("an answer").status, StatusCode::CREATED);
    };
    for (index, content) in contents.into_iter().enumerate() {
        put(REPO, index, content).await;
    }
    circle.converged().await;
    let once = metric(other, "artimesh_fetched_bytes_total").await.expect("metrics");
    for (index, content) in contents.into_iter().enumerate() {
        put("more", index, content).await;
    }
    until("nothing is wanted any more", || async {
        let proved = metric(other, "artimesh_possessions_proved_total").await?;
        if proved == contents.len() as u64 { Ok(()) } else { Err(proved.to_string()) }
    })
    .await;
    assert_eq!(metric(other, "artimesh_fetched_bytes_total").await.expect("metrics"), once, "nothing came twice");
    for (index, content) in contents.into_iter().enumerate() {
        let streamed = other.client().get_streamed(&format!("/artifactory/more/{index}")).await.expect("an answer");
        assert_eq!(streamed.sha256, content.sha256());
    }
}

/// A node whose requests and answers are those of an earlier release of this protocol: `ARTIMESH_OLDER_BINARY`.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_node_fetches_from_a_newer_one_and_the_other_way() {
    let Some(older) = std::env::var_os("ARTIMESH_OLDER_BINARY") else { return };
    let root = tempfile::tempdir().expect("a folder");
    let first = Node::init(root.path(), "site-0", Setup { new_circle: true, ..Setup::default() });
    let second = Node::init(root.path(), "site-1", Setup { binary: Some(older.into()), ..Setup::default() });
    let circle = Circle::of(vec![first, second], 2, root).await;
    for (node, name) in circle.nodes.iter().zip(["from-new", "from-old"]) {
        for (number, size) in [30 * MIB + 7, MIB, 70_000, 300, 0].into_iter().enumerate() {
            uploads(node, &format!("{name}/{number}"), Content { seed: size + number as u64, size }).await;
        }
    }
    assert_eq!(circle.converged().await.len(), 10);
    for node in &circle.nodes {
        for name in ["from-new", "from-old"] {
            let size = 30 * MIB + 7;
            reads(node, &format!("{name}/0"), Content { seed: size, size }).await;
        }
    }
}
