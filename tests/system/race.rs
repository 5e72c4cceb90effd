//! Removing bytes races everything else that nodes do, and nothing is missing or left behind: what is there afterwards is
//! judged by a [walker](walker) that shares no code with the store.

mod evict;
mod flips;
mod load;
pub mod walker;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use tokio::task::JoinSet;

use crate::harness::{Circle, Clock, DEADLINE, Dice, Node, Setup, is_long, until};
use load::{Body, Fate, Load, Target, collect, uri};
use walker::Walk;

/// How much of it there is.
struct Scale {
    sites: usize,
    writers: usize,
    /// Artifacts that stay.
    steady: u64,
    pack_bytes: u64,
    /// So many blobs are removed by collections.
    removed: u64,
    /// For so long it goes on at least, before the kill and after it together.
    lasts: Duration,
}

impl Scale {
    fn of_this_run() -> Scale {
        if is_long() {
            let lasts = Duration::from_secs(600);
            Scale { sites: 3, writers: 5, steady: 300, pack_bytes: 8 << 20, removed: 50_000, lasts }
        } else {
            let lasts = Duration::ZERO;
            Scale { sites: 2, writers: 3, steady: 48, pack_bytes: 1 << 20, removed: 1_500, lasts }
        }
    }

    /// What takes longer than this is stuck.
    fn deadline(&self) -> Duration {
        DEADLINE + 3 * self.lasts
    }
}

/// Sites and an edge with a cache that is too small for what is read, where what ended is garbage within a minute.
async fn circle(scale: &Scale, clock: &Clock) -> Circle {
    let setup = Setup { clock: Some(clock.clone()), ..Setup::default() }
        .with("ARTIMESH_STORE_HISTORY", "0s")
        .with("ARTIMESH_STORE_PACK_SIZE", &scale.pack_bytes.to_string())
        .with("ARTIMESH_STORE_COMPACT_BELOW", "75")
        .with("ARTIMESH_CACHE_MAX_SIZE", "8MiB")
        .with("ARTIMESH_REPLICATION_HEADS_INTERVAL", "200ms")
        .with("ARTIMESH_LOG", "info");
    Circle::new(scale.sites, 1, setup).await
}

async fn put_steady(circle: &Circle, count: u64, dice: &mut Dice) -> Vec<(String, Body)> {
    let mut steady = Vec::new();
    for number in 0..count {
        let size = if number % 12 == 0 { (1 << 20) + dice.below(2 << 20) } else { 300_000 + dice.below(700_000) };
        let (name, body) = (format!("steady/{number}"), Body { seed: dice.next(), size: size as usize });
        let node = &circle.nodes[number as usize % circle.fulls];
        let answer = node.client().put(&uri(&name), body.bytes()).await.expect("an answer");
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        steady.push((name, body));
    }
    circle.converged().await;
    steady
}

/// One of the two halves of it.
struct Stage<'a> {
    scale: &'a Scale,
    clock: &'a Clock,
    /// It goes on until collections have removed so many blobs since the beginning.
    removed: u64,
    /// The node that is killed at its end.
    victim: Option<usize>,
}

/// Everything at once, until so many blobs were removed and so much time has passed; then the victim is killed, if there is
/// one, in the middle of it all.
async fn rage(circle: &mut Circle, load: &Arc<Load>, stage: &Stage<'_>, dice: &mut Dice) {
    let Stage { scale, clock, removed, victim } = *stage;
    load.stop.store(false, Ordering::Relaxed);
    let mut tasks = JoinSet::new();
    for (index, node) in circle.nodes.iter().enumerate() {
        let target = Target { client: node.client(), is_doomed: victim == Some(index) };
        let writers = if index < circle.fulls { scale.writers } else { 0 };
        for writer in 0..writers {
            let writer = format!("{}-{writer}", node.name);
            tasks.spawn(load.clone().write(target.clone(), writer, Dice(dice.next())));
        }
        for _ in 0..2 {
            tasks.spawn(load.clone().read(target.clone(), Dice(dice.next())));
        }
        tasks.spawn(load.clone().keep_up(target));
    }
    tasks.spawn(load.clone().pass_time(clock.clone()));
    let began = Instant::now();
    while load.counts.removed.load(Ordering::Relaxed) < removed || began.elapsed() < scale.lasts / 2 {
        assert!(began.elapsed() < scale.deadline(), "it doesn't get on: {:?}", load.counts);
        tokio::select! {
            Some(ended) = tasks.join_next() => ended.expect("nobody saw anything wrong"),
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
        }
    }
    if let Some(victim) = victim {
        circle.nodes[victim].kill();
    }
    load.stop.store(true, Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        ended.expect("nobody saw anything wrong");
    }
    println!("after {:?}: {:?}", began.elapsed(), load.counts);
}

/// Every path shows at every node what its writer knows.
async fn check_all(circle: &Circle, load: &Load) {
    let steady = load.steady.iter().map(|(name, body)| (name.clone(), Fate::Is(Some(*body))));
    let fates: Vec<(String, Fate)> = load.fates().clone().into_iter().chain(steady).collect();
    for node in &circle.nodes {
        let client = node.client();
        for (name, fate) in &fates {
            let answer = client.get(&uri(name)).await.expect("an answer");
            let shown = match answer.status {
                StatusCode::OK => Some(Body::of(&answer.body).unwrap_or_else(|| panic!("{name}: foreign bytes"))),
                StatusCode::NOT_FOUND => None,
                other => panic!("{name} at {}: {other}: {}", node.name, answer.text()),
            };
            assert!(*fate == Fate::Unknown || *fate == Fate::Is(shown), "{name} at {}: {shown:?}, {fate:?}", node.name);
        }
    }
}

/// Collects until nothing is garbage or in the history any more.
async fn collect_all(node: &Node, clock: &Clock) {
    let client = node.client();
    until(&format!("{} has no garbage", node.name), || async {
        clock.set(clock.ahead_s() + 61);
        let Some(done) = collect(&client).await? else { return Err("somebody else collects".to_owned()) };
        let is_clean = ["removed", "young", "named_meanwhile"].iter().all(|kind| done[*kind]["blobs"] == 0);
        let is_past = done["in_use"]["history"].is_null() && done["in_use"]["wanted"].is_null();
        if is_clean && is_past { Ok(()) } else { Err(done.to_string()) }
    })
    .await;
    let scrub = node.try_cli(&["scrub", "--json"], "");
    assert!(scrub.status.success(), "something rotted: {}", String::from_utf8_lossy(&scrub.stdout));
}

/// Nothing is missing or broken at a node that was killed in the middle.
fn assert_nothing_missing(node: &Node) -> Walk {
    let walk = Walk::of(&node.folder);
    let (missing, broken) = (walk.missing(&walk.named()), walk.broken());
    assert!(missing.is_empty() && broken.is_empty(), "{}: missing {missing:?}, broken {broken:?}", node.name);
    walk
}

/// The same, and nothing is there that shouldn't be, at a node that has come to rest.
fn assert_at_rest(node: &Node, is_mirror: bool, scale: &Scale) {
    let walk = Walk::of(&node.folder);
    println!("{}: {}", node.name, walk.summary());
    let named = walk.named();
    assert_eq!(walk.broken(), [], "{}", node.name);
    assert!(!is_mirror || walk.missing(&named).is_empty(), "{}: missing {:?}", node.name, walk.missing(&named));
    let leaked = walk.leaked(&named);
    assert!(leaked.is_empty(), "{}: {} blobs leaked: {leaked:?}", node.name, leaked.len());
    assert!(walk.strays.is_empty(), "{}: {:?}", node.name, walk.strays);
    let (disk, live) = walk.settled();
    assert!(disk * 100 <= live * 105, "{}: {disk} bytes for {live} that are live", node.name);
    // Two packs that no compaction may touch yet, and the blocks that are reserved ahead of what is written.
    assert!(walk.open_bytes() <= 2 * scale.pack_bytes + (4 << 20) + (1 << 20), "{}: {}", node.name, walk.open_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn collections_race_uploads_downloads_and_replication_and_nothing_is_missing_or_leaked() {
    let root = tempfile::tempdir().expect("a folder");
    let Some(clock) = Clock::in_file(&root.path().join("clock")) else {
        println!("not tried: clocks of their own need libfaketime (Debian: libfaketime)");
        return;
    };
    let (scale, mut dice) = (Scale::of_this_run(), Dice::fresh("race"));
    let mut circle = circle(&scale, &clock).await;
    let steady = put_steady(&circle, scale.steady, &mut dice).await;
    let load = Arc::new(Load::on(steady));

    let first = Stage { scale: &scale, clock: &clock, removed: scale.removed / 2, victim: Some(1) };
    rage(&mut circle, &load, &first, &mut dice).await;
    println!("{}, killed: {}", circle.nodes[1].name, assert_nothing_missing(&circle.nodes[1]).summary());
    circle.nodes[1].start();
    rage(&mut circle, &load, &Stage { removed: scale.removed, victim: None, ..first }, &mut dice).await;
    circle.converged().await;
    check_all(&circle, &load).await;

    // What is written anew, of whichever pack that holds anything dead, is at rest when that was done twice: what was in the
    // newest packs the first time is not in them the second time.
    for node in &mut circle.nodes {
        node.stop();
        node.set("ARTIMESH_STORE_COMPACT_BELOW", "100");
        node.start();
    }
    circle.converged().await;
    for node in &circle.nodes {
        collect_all(node, &clock).await;
        collect_all(node, &clock).await;
    }
    let fulls = circle.fulls;
    for (index, node) in circle.nodes.iter_mut().enumerate() {
        if index == 0 {
            node.stop();
        } else {
            node.kill();
        }
        assert_at_rest(node, index < fulls, &scale);
    }
}
