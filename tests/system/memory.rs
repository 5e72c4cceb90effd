//! Large bodies stream through every node: none ever holds one.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use futures::future::join_all;
use hyper::StatusCode;

use crate::harness::{Circle, Content, Node, REPO, Raw, Setup, binary, is_long, until};

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

/// Anonymous memory that no node may exceed.
const PEAK_BYTES_MAX: u64 = 128 * MIB;

fn path(name: &str) -> String {
    format!("/artifactory/{REPO}/{name}")
}

/// Samples the anonymous memory of all nodes of a circle until it is told to stop.
struct Sampler {
    names: Vec<String>,
    peaks: Arc<Vec<AtomicU64>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Sampler {
    fn start(nodes: &[Node]) -> Sampler {
        let peaks: Arc<Vec<AtomicU64>> = Arc::new(nodes.iter().map(|_| AtomicU64::new(0)).collect());
        let stop = Arc::new(AtomicBool::new(false));
        let sample = |(index, node): (usize, &Node)| {
            let (peaks, stop) = (peaks.clone(), stop.clone());
            let status = PathBuf::from(format!("/proc/{}/status", node.pid()));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    peaks[index].fetch_max(anonymous_bytes(&status), Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(10));
                }
            })
        };
        let threads = nodes.iter().enumerate().map(sample).collect();
        Sampler { names: nodes.iter().map(|node| node.name.clone()).collect(), peaks, stop, threads }
    }

    /// The most that each node had, in the order of the nodes; printed.
    fn peaks(self, what: &str) -> Vec<u64> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("every process was there to the end");
        }
        let peaks: Vec<u64> = self.peaks.iter().map(|peak| peak.load(Ordering::Relaxed)).collect();
        for (name, peak) in self.names.iter().zip(&peaks) {
            println!("{what}: {name} had at most {:.1} MiB of anonymous memory", *peak as f64 / MIB as f64);
        }
        peaks
    }
}

fn anonymous_bytes(status: &PathBuf) -> u64 {
    let text = std::fs::read_to_string(status).expect("the process runs");
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("Linux 4.5 or later");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of KiB") * 1024
}

fn assert_bounded(circle: &Circle, peaks: &[u64]) {
    for (node, peak) in circle.nodes.iter().zip(peaks) {
        assert!(*peak < PEAK_BYTES_MAX, "{} held {peak} bytes of anonymous memory", node.name);
    }
}

async fn uploads(node: &Node, name: &str, content: Content) {
    let answer = node.client().put_streamed(&path(name), content).await.expect("an answer");
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    assert_eq!(answer.json()["checksums"]["sha256"], content.sha256(), "{name}");
}

/// Downloads as soon as the node knows of the artifact, whether it has the bytes or not.
async fn downloads(node: &Node, name: &str, content: Content) {
    until(&format!("{} knows {name}", node.name), || async {
        let answer = node.client().get(&format!("/artifactory/api/storage/{REPO}/{name}")).await?;
        if answer.status.is_success() { Ok(()) } else { Err(answer.text()) }
    })
    .await;
    let streamed = node.client().get_streamed(&path(name)).await.expect("a whole answer");
    assert_eq!(streamed.status, StatusCode::OK, "{name} at {}", node.name);
    assert_eq!(streamed.bytes, content.size, "{name} at {}", node.name);
    assert_eq!(streamed.sha256, content.sha256(), "{name} at {}", node.name);
}

/// Through the sender, both receivers, and the edge which fetches it because it is asked for it.
async fn one_upload(size: u64) {
    let circle = Circle::new(3, 1, Setup::default()).await;
    let content = Content { seed: size, size };
    let sampler = Sampler::start(&circle.nodes);
    uploads(&circle.nodes[0], "large", content).await;
    downloads(&circle.nodes[circle.fulls], "large", content).await;
    circle.converged().await;
    for node in &circle.nodes {
        downloads(node, "large", content).await;
    }
    assert_bounded(&circle, &sampler.peaks(&format!("{} MiB", size / MIB)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_upload_streams_through_all_four_nodes() {
    one_upload(GIB).await;
    if is_long() {
        // What waits for the disk doesn't grow with the body: the bound is the same.
        one_upload(4 * GIB).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_large_uploads_and_downloads_at_once_stay_within_the_bound() {
    let circle = Circle::new(3, 1, Setup::default()).await;
    let contents: Vec<Content> = (1..=8).map(|seed| Content { seed, size: 64 * MIB }).collect();
    let sampler = Sampler::start(&circle.nodes);
    let put = |(index, content): (usize, &Content)| {
        let (node, name, content) = (&circle.nodes[0], index.to_string(), *content);
        async move { uploads(node, &name, content).await }
    };
    join_all(contents.iter().enumerate().map(put)).await;
    // From a receiver, which may still be fetching, and through the edge.
    for node in [&circle.nodes[1], &circle.nodes[circle.fulls]] {
        let get = |(index, content): (usize, &Content)| {
            let (name, content) = (index.to_string(), *content);
            async move { downloads(node, &name, content).await }
        };
        join_all(contents.iter().enumerate().map(get)).await;
    }
    circle.converged().await;
    assert_bounded(&circle, &sampler.peaks("8 × 64 MiB at once"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_answers_many_first_downloads_at_once() {
    let circle = Circle::new(3, 1, Setup::default()).await;
    let contents: Vec<Content> = (0..60).map(|seed| Content { seed, size: (seed % 3 + 1) * 700_000 }).collect();
    for (index, content) in contents.iter().enumerate() {
        uploads(&circle.nodes[index % circle.fulls], &index.to_string(), *content).await;
    }
    let get = |(index, content): (usize, &Content)| {
        let (edge, name, content) = (&circle.nodes[circle.fulls], index.to_string(), *content);
        async move { downloads(edge, &name, content).await }
    };
    join_all(contents.iter().enumerate().map(get)).await;
}

/// What is measured about memory was measured with one arena; a build that lost the set-up would go on, and hold more.
#[test]
fn the_allocator_is_set_up() {
    let mut command = std::process::Command::new(binary());
    let told = command.arg("version").env("_RJEM_MALLOC_CONF", "confirm_conf:true").output().expect("it runs");
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    for set in ["Set conf value: narenas:1", "Set conf value: dirty_decay_ms:1000"] {
        assert!(told.contains(set), "{set} is missing: {told}");
    }
}

/// Who takes the head of an archive and then nothing more.
#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_is_not_read_is_not_gathered() {
    let setup = Setup::default().with("ARTIMESH_HTTP_IDLE_TIMEOUT", "1h");
    let circle = Circle::new(1, 0, setup).await;
    let node = &circle.nodes[0];
    for seed in 0..4 {
        uploads(node, &format!("folder/{seed}"), Content { seed, size: 32 * MIB }).await;
    }
    let client = node.client();
    let (status, token) =
        (PathBuf::from(format!("/proc/{}/status", node.pid())), client.token.as_deref().expect("a token"));
    for kind in ["zip", "tar", "tar.gz"] {
        let before = anonymous_bytes(&status);
        let mut waiting = Vec::new();
        for _ in 0..20 {
            let mut raw = Raw::connect(client.address).await;
            let target = format!("/artifactory/api/archive/download/{REPO}/folder?archiveType={kind}");
            let head = format!("GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
            raw.send(head).await.expect("sent");
            assert_eq!(raw.head().await.status, 200);
            raw.bytes(100_000).await;
            waiting.push(raw);
        }
        let each = anonymous_bytes(&status).saturating_sub(before) / 20;
        println!("{kind}: 20 readers who don't read cost {each} bytes each");
        assert!(each < 2 * MIB, "{kind}: {each} bytes of 128 MiB are held for each reader");
    }
}

/// Clients who take the head of a large answer and then nothing more.
#[tokio::test(flavor = "multi_thread")]
async fn readers_who_do_not_read_cost_a_small_constant() {
    // Each needs a descriptor here and one there.
    let readers = if is_long() { 9_500 } else { 1_000 };
    let setup =
        Setup::default().with("ARTIMESH_HTTP_MAX_CONNECTIONS", "20000").with("ARTIMESH_HTTP_IDLE_TIMEOUT", "1h");
    let circle = Circle::new(1, 0, setup).await;
    let node = &circle.nodes[0];
    let content = Content { seed: 1, size: 24 * MIB };
    uploads(node, "large", content).await;
    downloads(node, "large", content).await;
    let status = PathBuf::from(format!("/proc/{}/status", node.pid()));
    let before = anonymous_bytes(&status);
    let client = node.client();
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
        path("large"),
        client.token.as_deref().expect("a token")
    );
    let mut waiting = Vec::new();
    for _ in 0..readers {
        let mut raw = Raw::connect(client.address).await;
        raw.send(&request).await.expect("sent");
        assert_eq!(raw.head().await.status, 200);
        waiting.push(raw);
    }
    let each = anonymous_bytes(&status).saturating_sub(before) / readers as u64;
    println!("{readers} readers who don't read cost {each} bytes each");
    assert!(each < 30_000, "10,000 of them would take {} MB", each / 100);
    drop(waiting);
}
