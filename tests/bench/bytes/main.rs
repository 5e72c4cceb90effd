//! How fast bytes come in, go out and travel, each beside what people would use instead, in the same run:
//! `cargo bench --bench bytes [-- TOPIC…] [--size BYTES] [--rounds N] [--mbit N] [--json FILE]`.
//!
//! Topics: `ingest` (nginx DAV, MD5 alone), `download` and `https` (nginx), `cold` (a download from the disk, and small ones
//! beside it; nginx; root), `transfer` (rsync's daemon, libp2p as it comes, plain TCP), `wan` (iperf3, over a shaped link;
//! root), `loss` (the same with 1 % loss), `fan` (one site to eight over limited links, beside one to one; root), `backlog`
//! (what readers wait for, and what bulk keeps of a limited link; root), `small` (100,000 artifacts of 4 KiB; rsync's
//! daemon), `start` (how soon
//! a node serves again). Without one, all of them. `--size` is what a large artifact has (1073741824), `--count` how many
//! small ones there are (100000), `--mbit` what limited links carry (200 and 100), `--rounds` how often each side takes its
//! turn (5): what is shown is the median. Needs nginx, wrk, rsync, iperf3, curl, ip and tc; what is missing is said and left
//! out. What is measured is the binary built with the bench, or the one that `ARTIMESH_TEST_BINARY` names (`--profile dist`
//! builds what is shipped). Results are kept in `tests/bench/README.md`.

mod backlog;
mod cold;
mod download;
mod fan;
#[expect(dead_code, unused_imports, reason = "the system tests' harness, of which a benchmark needs a part")]
#[path = "../../system/harness/mod.rs"]
mod harness;
mod ingest;
mod link;
mod load;
mod machine;
mod nginx;
mod report;
mod rsync;
mod shape;
mod small;
mod start;
mod stock;
mod transfer;
mod wan;

use std::path::PathBuf;

use report::Report;

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Wish {
    topics: Vec<String>,
    /// Bytes of a large artifact.
    size: u64,
    /// Small artifacts.
    count: u64,
    /// Turns of each side.
    rounds: usize,
    /// What limited links carry, in Mbit/s.
    mbit: Option<u64>,
    json: Option<PathBuf>,
}

fn wish() -> Wish {
    let mut wish = Wish { topics: Vec::new(), size: 1 << 30, count: 100_000, rounds: 5, mbit: None, json: None };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut number = || args.next().and_then(|text| text.parse::<u64>().ok());
        match arg.as_str() {
            "--size" => wish.size = number().expect("--size BYTES"),
            "--count" => wish.count = number().expect("--count N"),
            "--rounds" => wish.rounds = number().expect("--rounds N") as usize,
            "--mbit" => wish.mbit = Some(number().expect("--mbit N")),
            "--json" => wish.json = Some(args.next().expect("--json FILE").into()),
            // cargo says so itself.
            "--bench" => {}
            topic => wish.topics.push(topic.to_owned()),
        }
    }
    wish
}

fn main() {
    let wish = wish();
    let is_wanted = |topic: &str| wish.topics.is_empty() || wish.topics.iter().any(|wanted| wanted == topic);
    let mut report = Report::default();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        if is_wanted("ingest") {
            ingest::run(&wish, &mut report).await;
        }
        if is_wanted("download") {
            download::run(&wish, &mut report).await;
        }
        if is_wanted("https") {
            download::run_secured(&wish, &mut report).await;
        }
        if is_wanted("cold") {
            cold::run(&wish, &mut report).await;
        }
        if is_wanted("transfer") {
            transfer::run(&wish, &mut report).await;
        }
        if is_wanted("wan") {
            wan::run(&wish, &mut report).await;
        }
        if is_wanted("loss") {
            wan::run_lossy(&wish, &mut report).await;
        }
        if is_wanted("fan") {
            fan::run(&wish, &mut report).await;
        }
        if is_wanted("backlog") {
            backlog::run(&wish, &mut report).await;
        }
        if is_wanted("small") {
            small::run(&wish, &mut report).await;
        }
        if is_wanted("start") {
            start::run(&wish, &mut report).await;
        }
    });
    println!("\n{report}");
    if let Some(file) = &wish.json {
        std::fs::write(file, report.json()).expect("a file that can be written");
    }
}
