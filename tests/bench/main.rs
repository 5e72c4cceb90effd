//! What merging, comparing and joining cost: `cargo bench --bench federation [-- TOPIC…] [--count N]`.
//!
//! Topics: `entries` (verified and merged per second, in memory and into a store), `compare` (state sync over a real
//! connection on loopback), `join` (a new member's way into a federation, as processes). Without one, all of them.
//! `--count N` is how many artifacts there are (1,000,000; for `join` a tenth of it). Results are kept in
//! `tests/bench/README.md`.

mod compare;
mod entries;
#[expect(dead_code, unused_imports, reason = "the system tests' harness, of which a benchmark needs a part")]
#[path = "../system/harness/mod.rs"]
mod harness;
mod join;
mod pair;
mod rows;
mod site;
mod table;

use table::Table;

/// What was asked for.
struct Wish {
    topics: Vec<String>,
    count: u64,
}

fn wish() -> Wish {
    let mut wish = Wish { topics: Vec::new(), count: 1_000_000 };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--count" => wish.count = args.next().and_then(|text| text.parse().ok()).expect("--count N"),
            // cargo says so itself.
            "--bench" => {}
            topic => wish.topics.push(topic.to_owned()),
        }
    }
    wish
}

fn main() {
    let Wish { topics, count } = wish();
    let is_wanted = |topic: &str| topics.is_empty() || topics.iter().any(|wanted| wanted == topic);
    let mut table = Table::default();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        if is_wanted("entries") {
            entries::run(count, &mut table).await;
        }
        if is_wanted("compare") {
            compare::run(count, &mut table).await;
        }
        if is_wanted("join") {
            join::run(count / 10, &mut table).await;
        }
    });
    println!("\n{table}");
}
