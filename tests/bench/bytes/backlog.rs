//! What a reader waits for, and what bulk keeps of the link, while a node fetches a backlog over it.
//!
//! The backlog is smaller than what takes a node days, but there is some of it left in the end, which is checked: more of
//! it would only wait longer in the list at rest. A read each second is what 1 MiB artifacts may take of 100 Mbit/s if bulk
//! is to keep four fifths of it.

use std::fs::File;
use std::time::{Duration, Instant};

use super::Wish;
use super::harness::{Circle, Dice, Hub, Node, REPO, Setup, repository, until};
use super::load::Target;
use super::machine::{Disturbance, random_file};
use super::report::{Report, Row};
use super::shape::limit;

const MBIT: u64 = 100;

/// Bytes of an artifact that is read.
const READ_BYTES: usize = 1 << 20;

/// Bytes of an artifact of the backlog.
const PIECE_BYTES: u64 = 64 << 20;

/// Artifacts that are read with and without a backlog: so many that the hundredth part is one.
const READS_MAX: u64 = 100;

const INTERVAL: Duration = Duration::from_secs(1);

/// How long bulk is measured alone.
const ALONE: Duration = Duration::from_secs(10);

/// The repository that the second node doesn't mirror.
const READ: &str = "reads";

pub async fn run(wish: &Wish, report: &mut Report) {
    let mbit = wish.mbit.unwrap_or(MBIT);
    let Some((hub, circle)) = two_sites().await else {
        println!("backlog: not measured: network namespaces need root and ip");
        return;
    };
    let (author, reader) = (&circle.nodes[0], &circle.nodes[1]);
    let reads = wish.count.min(READS_MAX);
    offer(author, reader, reads * 2 + 1).await;
    if !limit(&hub, 2, mbit) {
        println!("backlog: not measured: limits need tc");
        return;
    }
    let watch = Disturbance::watch();
    // The first opens the connection's stream for readers, and isn't counted.
    read(reader, reads * 2..reads * 2 + 1, Duration::ZERO);
    let idle = read(reader, 0..reads, Duration::ZERO);
    let bytes_per_second = mbit as f64 * 1e6 / 8.0;
    let lasts = (ALONE + INTERVAL * reads as u32).as_secs_f64() + 10.0;
    pile_up(author, circle.root.path(), (bytes_per_second * lasts * 1.2) as u64);
    let fetches = async || if fetched(reader).await > 0 { Ok(()) } else { Err("not yet".to_owned()) };
    until("the backlog is being fetched", fetches).await;
    let alone = bulk_rate(reader, async || tokio::time::sleep(ALONE).await, 0).await;
    let mut busy = Vec::new();
    let reading = async || busy = tokio::task::block_in_place(|| read(reader, reads..reads * 2, INTERVAL));
    let beside = bulk_rate(reader, reading, reads * READ_BYTES as u64).await;
    for (what, took) in [("idle", &idle), ("beside bulk", &busy)] {
        let slowest: Vec<String> = took.iter().rev().take(5).map(|ms| format!("{ms:.0}")).collect();
        println!("{what}: the slowest took {} ms", slowest.join(", "));
    }
    let status = reader.status().await.expect("a status");
    let left = repository(&status, REPO).expect("it has it")["missing_blobs"].as_u64().unwrap_or_default();
    assert!(left > 0, "the backlog ran dry: what was measured means nothing");
    let asked_for = percentile(&idle, 99) * 2.0 + 200.0;
    for (share, note) in [(50, String::new()), (99, format!("at most {asked_for:.0} ms asked for; {}", watch.note()))] {
        report.push(Row {
            what: format!("first byte of a 1 MiB read-through beside bulk, {mbit} Mbit/s, p{share} of {reads}"),
            unit: "ms",
            ours: percentile(&busy, share),
            peer: "idle link".into(),
            theirs: Some(percentile(&idle, share)),
            floor: None,
            aim: None,
            note,
        });
    }
    report.push(Row {
        what: "– what bulk fetches meanwhile".into(),
        unit: "Mbit/s",
        ours: beside * 8.0 / 1e6,
        peer: "no reads".into(),
        theirs: Some(alone * 8.0 / 1e6),
        floor: Some(0.8),
        aim: None,
        note: format!(
            "{:.0} % of the link; {left} artifacts of {} MiB left",
            beside / bytes_per_second * 100.0,
            PIECE_BYTES >> 20
        ),
    });
}

/// Two nodes that mirror `libs`; what appears from now on, the second keeps on demand.
async fn two_sites() -> Option<(Hub, Circle)> {
    let hub = Hub::with_places(2)?;
    let root = tempfile::tempdir().expect("a folder");
    let node = |index: usize| {
        let setup = Setup { new_circle: index == 0, place: Some(hub.place(index)), ..Setup::default() };
        Node::init(root.path(), &format!("site-{index}"), setup.with("ARTIMESH_LOG", "warn"))
    };
    let nodes = (0..2).map(node).collect();
    let mut circle = Circle::of(nodes, 2, root).await;
    circle.nodes[1].stop();
    circle.nodes[1].set("ARTIMESH_REPLICATION_PLACEMENT", "on-demand");
    circle.nodes[1].start();
    circle.nodes[0].cli(&["repo", "create", READ, "--federated", "--member", &circle.nodes[1].name], "");
    Some((hub, circle))
}

fn target(node: &Node) -> Target {
    Target { base: format!("/artifactory/{READ}"), ..Target::of(node) }
}

/// Writes what will be read, and waits until the reader knows of it.
async fn offer(author: &Node, reader: &Node, count: u64) {
    let (mut connection, mut dice) = (target(author).connect(), Dice(7));
    (0..count).for_each(|number| connection.put(&format!("/{number}"), &dice.bytes(READ_BYTES)));
    until("the reader knows all", || async {
        let here = repository(&reader.status().await?, READ)?;
        let is_right = here["artifacts"] == count && here["placement"] == "on-demand";
        if is_right { Ok(()) } else { Err(here.to_string()) }
    })
    .await;
}

/// Writes at least so many bytes that the reader's node will fetch by itself.
fn pile_up(author: &Node, folder: &std::path::Path, bytes: u64) {
    let path = folder.join("piece");
    random_file(&path, PIECE_BYTES);
    let file = File::open(&path).expect("just written");
    let mut connection = Target::of(author).connect();
    for number in 0..bytes.div_ceil(PIECE_BYTES) {
        connection.put_file(&format!("/backlog/{number}"), &number.to_le_bytes(), &file, PIECE_BYTES);
    }
}

/// Milliseconds until the first byte of each, in order of size. One is begun each interval, or when the last is over.
fn read(node: &Node, numbers: std::ops::Range<u64>, interval: Duration) -> Vec<f64> {
    let (mut connection, begun) = (target(node).connect(), Instant::now());
    let mut took = Vec::new();
    for (turn, number) in (0..).zip(numbers) {
        std::thread::sleep((interval * turn).saturating_sub(begun.elapsed()));
        took.push(connection.first_byte(&format!("/{number}")) * 1000.0);
    }
    std::thread::sleep((interval * took.len() as u32).saturating_sub(begun.elapsed()));
    took.sort_by(f64::total_cmp);
    took
}

async fn fetched(node: &Node) -> u64 {
    let text = node.client().get("/metrics").await.expect("metrics").text();
    let line = text.lines().find_map(|line| line.strip_prefix("artimesh_fetched_bytes_total "));
    line.and_then(|number| number.trim().parse().ok()).expect("a number")
}

/// Bytes a second that a node fetches beside `others` while something happens.
async fn bulk_rate(node: &Node, happens: impl AsyncFnOnce(), others: u64) -> f64 {
    let (begun, before) = (Instant::now(), fetched(node).await);
    happens().await;
    (fetched(node).await - before).saturating_sub(others) as f64 / begun.elapsed().as_secs_f64()
}

/// Of values in order of size.
fn percentile(values: &[f64], share: usize) -> f64 {
    values[(values.len() * share).div_ceil(100).saturating_sub(1)]
}
