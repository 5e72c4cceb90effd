//! kill -9 at any moment: what was acknowledged is there afterwards, at every node, byte for byte.

mod damage;
pub mod ledger;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join_all;
use hyper::StatusCode;
use tokio::task::JoinHandle;

use crate::harness::{Circle, Client, Content, Dice, Node, REPO, Setup, is_long, until};
use damage::{Damage, essence, holdings};
use ledger::{Ledger, Written};

/// Uploads that are always in flight, and a few more, because some workers delete.
const UPLOADS_MIN: usize = 16;
const WORKERS: usize = 20;
const READERS: usize = 4;

const SIZE_MIN: u64 = 1 << 10;
const SIZE_MAX: u64 = 64 << 20;
/// When this much was sent in a round, only small uploads follow: the round is about moments, not about throughput.
const ROUND_BYTES: u64 = 80 << 20;
const SMALL_MAX: u64 = 64 << 10;

/// Paths that all workers write.
const HOT: u64 = 3;
/// Artifacts that the edge is asked for, the first time ever, while somebody is killed.
const FRESH: u64 = 4;

fn path(name: &str) -> String {
    format!("/artifactory/{REPO}/{name}")
}

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    /// The full member that most uploads go to.
    Sender,
    /// A full member that only receives what others were given.
    Receiver,
    Edge,
}

impl Victim {
    fn of(round: usize) -> Victim {
        [Victim::Sender, Victim::Receiver, Victim::Edge][round % 3]
    }

    fn index(self, round: usize, fulls: usize) -> usize {
        if self == Victim::Edge { fulls } else { (round / 3) % fulls }
    }

    /// Where a worker sends its uploads in this round.
    fn target(self, worker: usize, victim: usize, fulls: usize) -> usize {
        match self {
            Victim::Sender if !worker.is_multiple_of(3) => victim,
            Victim::Sender | Victim::Receiver => (victim + 1 + worker % (fulls - 1)) % fulls,
            Victim::Edge => worker % fulls,
        }
    }
}

/// What the workers of a round share.
struct Round {
    number: usize,
    ledger: Arc<Mutex<Ledger>>,
    stop: AtomicBool,
    uploading: AtomicUsize,
    bytes: AtomicU64,
}

impl Round {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Log-uniform between the bounds, or small when the round has sent enough. The first round has one of 64 MiB.
    fn content(&self, dice: &mut Dice, worker: usize) -> Content {
        let drawn = if self.bytes.load(Ordering::Relaxed) > ROUND_BYTES {
            log_uniform(dice, SMALL_MAX)
        } else if worker == 0 && self.number == 0 {
            SIZE_MAX
        } else {
            log_uniform(dice, SIZE_MAX)
        };
        self.bytes.fetch_add(drawn, Ordering::Relaxed);
        Content { seed: dice.next(), size: drawn }
    }
}

fn log_uniform(dice: &mut Dice, most: u64) -> u64 {
    let doublings = (most / SIZE_MIN).ilog2();
    let share = dice.below(1 << 20) as f64 / f64::from(1 << 20);
    ((SIZE_MIN as f64 * (share * f64::from(doublings)).exp2()) as u64).clamp(SIZE_MIN, most)
}

/// Puts, overwrites and deletes at one node until the round ends or the node dies.
struct Worker {
    number: usize,
    round: Arc<Round>,
    client: Client,
    dice: Dice,
    /// Whether its node will be killed: any other must answer.
    is_doomed: bool,
}

impl Worker {
    async fn run(mut self) {
        let mut count = 0;
        while !self.round.stop.load(Ordering::Relaxed) {
            count += 1;
            let goes_on = match self.dice.below(20) {
                0..2 => {
                    let name = format!("hot/{}", self.dice.below(HOT));
                    self.put(&name, true).await
                }
                2 => self.delete().await,
                3..10 => {
                    let name = self.own();
                    self.put(&name, false).await
                }
                _ => self.put(&format!("{}/{}-{count}", self.round.number, self.number), false).await,
            };
            if !goes_on {
                return;
            }
        }
    }

    /// A path that only this worker writes, in every round.
    fn own(&mut self) -> String {
        format!("own/{}-{}", self.number, self.dice.below(4))
    }

    async fn put(&mut self, name: &str, is_hot: bool) -> bool {
        let content = self.round.content(&mut self.dice, self.number);
        self.round.uploading.fetch_add(1, Ordering::Relaxed);
        let answer = self.client.put_streamed(&path(name), content).await;
        self.round.uploading.fetch_sub(1, Ordering::Relaxed);
        let answer = answer.inspect(|answer| {
            assert_eq!(answer.status, StatusCode::CREATED, "{name}: {}", answer.text());
            assert_eq!(answer.json()["checksums"]["sha256"], content.sha256(), "{name}");
        });
        self.record(name, Some(content), is_hot, answer.map(drop))
    }

    async fn delete(&mut self) -> bool {
        let name = self.own();
        if !self.round.ledger().is_there(&name) {
            return true;
        }
        let answer = self.client.delete(&path(&name)).await;
        let answer = answer.inspect(|answer| assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.text()));
        self.record(&name, None, false, answer.map(drop))
    }

    fn record(&self, name: &str, written: Written, is_hot: bool, answer: Result<(), String>) -> bool {
        let mut ledger = self.round.ledger();
        match answer {
            Ok(()) if is_hot => ledger.acknowledged_among_others(name, written),
            Ok(()) => ledger.acknowledged(name, written),
            Err(error) => {
                assert!(self.is_doomed, "{name}: nobody killed this node, and yet: {error}");
                ledger.unanswered(name, written);
                return false;
            }
        }
        true
    }
}

/// Reads the same artifacts over and over; whatever is whole must be right.
async fn read(round: Arc<Round>, edge: Client, fresh: Vec<(String, Content)>, first: usize) {
    for (name, content) in fresh.iter().cycle().skip(first) {
        if round.stop.load(Ordering::Relaxed) {
            return;
        }
        match edge.get_streamed(&path(name)).await {
            Ok(streamed) if streamed.status == StatusCode::OK => {
                assert_eq!(streamed.bytes, content.size, "{name}");
                assert_eq!(streamed.sha256, content.sha256(), "{name}");
            }
            Ok(streamed) => assert!(!streamed.status.is_success(), "{name}: {streamed:?}"),
            // It was killed, or broke the answer off because the node it came from was.
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

/// Packs so small that several are sealed in a run: a rebuild then reads their footers.
fn small_packs() -> Setup {
    Setup::default().with("ARTIMESH_STORE_PACK_SIZE", "8MiB")
}

/// A circle with a history: a used token for each member, and a fourth full member that wrote and was revoked.
async fn circle_with_a_past() -> Circle {
    let circle = Circle::new(3, 1, small_packs()).await;
    let mut doomed = Node::init(circle.root.path(), "site-x", small_packs());
    doomed.start();
    circle.pair(&doomed, "full");
    circle.nodes[0].cli(&["repo", "create", "past", "--federated", "--member", "site-1", "--member", "site-x"], "");
    let uri = "/artifactory/past/from/the/revoked";
    until("the fourth member writes", || async {
        let answer = doomed.client().put(uri, "a past").await?;
        if answer.status == StatusCode::CREATED { Ok(()) } else { Err(answer.text()) }
    })
    .await;
    for node in &circle.nodes[..2] {
        until("what it wrote arrives", || async {
            let answer = node.client().get(uri).await?;
            if answer.status == StatusCode::OK { Ok(()) } else { Err(answer.text()) }
        })
        .await;
    }
    circle.nodes[0].cli(&["trust", "revoke", "site-x"], "");
    doomed.stop();
    for node in &circle.nodes {
        until(&format!("{} hears of the revocation", node.name), || async {
            let status = node.status().await?;
            let revoked = status["trust"]["revoked"].as_array().map_or(0, Vec::len);
            if revoked == 1 { Ok(()) } else { Err(status["trust"].to_string()) }
        })
        .await;
    }
    circle
}

/// Uploads everywhere, reads at the edge, and a kill in the middle; afterwards the victim runs again.
async fn kill_in_the_middle(circle: &mut Circle, number: usize, ledger: &Arc<Mutex<Ledger>>, dice: &mut Dice) {
    let kind = Victim::of(number);
    let victim = kind.index(number, circle.fulls);
    let fresh = fresh_artifacts(circle, number, ledger, dice).await;
    let round = Arc::new(Round {
        number,
        ledger: ledger.clone(),
        stop: AtomicBool::new(false),
        uploading: AtomicUsize::new(0),
        bytes: AtomicU64::new(0),
    });
    let mut tasks: Vec<JoinHandle<()>> = Vec::new();
    for number in 0..WORKERS {
        let target = kind.target(number, victim, circle.fulls);
        let client = circle.nodes[target].client();
        let (round, dice) = (round.clone(), Dice(dice.next()));
        tasks.push(tokio::spawn(Worker { number, round, client, dice, is_doomed: target == victim }.run()));
    }
    for reader in 0..READERS {
        let edge = circle.nodes[circle.fulls].client();
        tasks.push(tokio::spawn(read(round.clone(), edge, fresh.clone(), reader)));
    }
    let delay = Duration::from_millis(20 + dice.below(2_500));
    tokio::time::sleep(delay).await;
    let uploading = until("many uploads are in flight", || async {
        let uploading = round.uploading.load(Ordering::Relaxed);
        if uploading >= UPLOADS_MIN { Ok(uploading) } else { Err(format!("only {uploading} are")) }
    })
    .await;
    circle.nodes[victim].kill();
    round.stop.store(true, Ordering::Relaxed);
    for task in join_all(tasks).await {
        task.expect("no worker saw anything wrong");
    }
    let damage = [None, None, Some(Damage::Removed), Some(Damage::Noise)][dice.below(4) as usize];
    if let Some(damage) = damage {
        damage.strike(&circle.nodes[victim], dice);
    }
    for _ in 0..dice.below(3) {
        // And again while it recovers, or joins the others.
        circle.nodes[victim].spawn();
        tokio::time::sleep(Duration::from_millis(dice.below(400))).await;
        circle.nodes[victim].kill();
    }
    circle.nodes[victim].start();
    // Without its index it asks a peer first.
    circle.nodes[victim].may_write().await;
    let (acknowledged, unknown) = round.ledger().counts();
    println!(
        "round {number}: killed {} ({kind:?}) after {delay:?} with {uploading} uploads in flight, index {damage:?}; \
         {} MiB sent; {acknowledged} writes acknowledged so far, {unknown} unanswered",
        circle.nodes[victim].name,
        round.bytes.load(Ordering::Relaxed) >> 20,
    );
}

/// Artifacts that no edge has the bytes of.
async fn fresh_artifacts(
    circle: &Circle,
    round: usize,
    ledger: &Arc<Mutex<Ledger>>,
    dice: &mut Dice,
) -> Vec<(String, Content)> {
    let mut fresh = Vec::new();
    for number in 0..FRESH {
        let (name, content) =
            (format!("{round}/fresh-{number}"), Content { seed: dice.next(), size: number << 20 | 77 });
        let answer = circle.nodes[0].client().put_streamed(&path(&name), content).await.expect("an answer");
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        ledger.lock().unwrap_or_else(PoisonError::into_inner).acknowledged(&name, Some(content));
        fresh.push((name, content));
    }
    circle.converged().await;
    fresh
}

/// Reads paths at every node; all must show the same, and one of what each may show.
async fn check(circle: &Circle, ledger: &Arc<Mutex<Ledger>>, paths: Vec<(String, Vec<Written>)>) {
    let clients: Vec<(String, Client)> = circle.nodes.iter().map(|node| (node.name.clone(), node.client())).collect();
    let checks = paths.into_iter().map(|(name, allowed)| {
        let clients = &clients;
        async move {
            let mut shown: Option<Written> = None;
            for (node, client) in clients {
                let streamed = client.get_streamed(&path(&name)).await.expect("an answer");
                let found = allowed.iter().find(|written| match written {
                    None => streamed.status == StatusCode::NOT_FOUND,
                    Some(content) => {
                        let Content { size, .. } = *content;
                        streamed.status == StatusCode::OK
                            && streamed.bytes == size
                            && streamed.sha256 == content.sha256()
                    }
                });
                let found = *found.unwrap_or_else(|| panic!("{name} at {node}: {streamed:?} is none of {allowed:?}"));
                assert_eq!(*shown.get_or_insert(found), found, "{name} at {node}");
            }
            (name, shown.expect("there are nodes"))
        }
    });
    let settled: Vec<(String, Written)> = futures::stream::iter(checks).buffer_unordered(8).collect().await;
    let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
    for (name, shown) in settled {
        ledger.settle(&name, shown);
    }
}

/// Takes a node's index away while nobody can tell it anything: it must know everything again from its packs.
async fn lose_the_index(circle: &mut Circle, round: usize, dice: &mut Dice) {
    let victim = (round / Damage::ALL.len()) % circle.nodes.len();
    let damage = Damage::ALL[round % Damage::ALL.len()];
    let (before, held_before) = (essence(&circle.nodes[victim]).await, holdings(&circle.nodes[victim]).await);
    for field in ["used_tokens", "revoked"] {
        assert!(before["trust"][field].as_array().is_some_and(|known| !known.is_empty()), "{field}: {before}");
    }
    match dice.below(2) {
        0 => circle.nodes[victim].stop(),
        _ => circle.nodes[victim].kill(),
    }
    damage.strike(&circle.nodes[victim], dice);
    let others = || circle.nodes.iter().enumerate().filter(|(index, _)| *index != victim).map(|(_, node)| node);
    others().for_each(Node::freeze);
    circle.nodes[victim].start();
    let (after, held_after) = (essence(&circle.nodes[victim]).await, holdings(&circle.nodes[victim]).await);
    let others = || circle.nodes.iter().enumerate().filter(|(index, _)| *index != victim).map(|(_, node)| node);
    others().for_each(Node::thaw);
    assert_eq!(before, after, "{} after its index was lost: {damage:?}", circle.nodes[victim].name);
    let is_all_there = held_before.iter().zip(&held_after).all(|(before, after)| before <= after);
    assert!(is_all_there, "{}: {held_before:?} became {held_after:?}: {damage:?}", circle.nodes[victim].name);
    circle.nodes[victim].may_write().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_by_kills_or_by_the_loss_of_the_index() {
    let mut dice = Dice::fresh("kills");
    let mut circle = circle_with_a_past().await;
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    for round in 0..if is_long() { 50 } else { 12 } {
        kill_in_the_middle(&mut circle, round, &ledger, &mut dice).await;
        circle.converged().await;
        let touched = ledger.lock().unwrap_or_else(PoisonError::into_inner).touched();
        check(&circle, &ledger, touched).await;
        lose_the_index(&mut circle, round, &mut dice).await;
    }
    circle.converged().await;
    let all = ledger.lock().unwrap_or_else(PoisonError::into_inner).all();
    println!("all {} paths are read once more at every node", all.len());
    check(&circle, &ledger, all).await;
}
