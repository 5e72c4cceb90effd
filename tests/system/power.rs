//! Power failures, with a real disk below a real node: what was acknowledged is there afterwards, byte for byte.
//!
//! The node's folder is an ext4 on a device whose writes pass through this process ([`Device`]). At some moment nothing more
//! arrives there, and of what was never flushed a part that dice choose is lost, sector by sector and in any order. Then the
//! node is killed, and starts on what is left. `scripts/power.sh` runs this at length.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use hyper::StatusCode;

use crate::harness::{Client, Content, Device, Dice, Node, Setup, is_long, until};
use crate::kills::ledger::{Ledger, Written};

const REPO: &str = "libs";
const WORKERS: u64 = 8;
/// Files of their own begin behind the first of these sizes, in bytes.
const SIZES: [u64; 6] = [0, 700, 5_000, 60_000, 1 << 20, 1_700_000];
/// When a round has sent so much, only small uploads follow.
const ROUND_BYTES: u64 = 6 << 20;
/// A disk, and the node on it, live for so many rounds.
const ROUNDS_OF_A_LIFE: u64 = 10;
const DISK_MEBIBYTES: usize = 256;

/// How many times the power fails in the midst of work.
fn rounds() -> u64 {
    let told = std::env::var("POWER_ROUNDS").ok().and_then(|text| text.parse().ok());
    told.unwrap_or(if is_long() { 50 } else { 3 }).max(1)
}

fn path(name: &str) -> String {
    format!("/artifactory/{REPO}/{name}")
}

/// What the workers of a round share.
struct Round {
    number: u64,
    ledger: Mutex<Ledger>,
    /// The power is about to fail.
    is_doomed: AtomicBool,
    bytes: AtomicU64,
}

impl Round {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes, overwrites and deletes until that fails, because the power has.
struct Worker {
    number: u64,
    round: Arc<Round>,
    client: Client,
    dice: Dice,
}

impl Worker {
    async fn run(mut self) {
        let mut count = 0;
        loop {
            count += 1;
            let own = format!("own/{}-{}", self.number, self.dice.below(4));
            let outcome = match self.dice.below(10) {
                0 if self.round.ledger().is_there(&own) => self.write(&own, None).await,
                0..4 => {
                    let content = self.content();
                    self.write(&own, Some(content)).await
                }
                _ => {
                    let content = self.content();
                    self.write(&format!("{}/{}-{count}", self.round.number, self.number), Some(content)).await
                }
            };
            if outcome.is_err() {
                return;
            }
        }
    }

    fn content(&mut self) -> Content {
        let is_enough = self.round.bytes.load(Ordering::Relaxed) > ROUND_BYTES;
        let most = SIZES[self.dice.below(if is_enough { 3 } else { SIZES.len() as u64 }) as usize];
        let size = most + self.dice.below(most / 2 + 10);
        self.round.bytes.fetch_add(size, Ordering::Relaxed);
        Content { seed: self.dice.next(), size }
    }

    async fn write(&self, name: &str, written: Written) -> Result<(), ()> {
        let (answer, expected) = match written {
            Some(content) => (self.client.put_streamed(&path(name), content).await, StatusCode::CREATED),
            None => (self.client.delete(&path(name)).await, StatusCode::NO_CONTENT),
        };
        match answer {
            Ok(answer) if answer.status == expected => {
                self.round.ledger().acknowledged(name, written);
                Ok(())
            }
            other => {
                let is_doomed = self.round.is_doomed.load(Ordering::SeqCst);
                assert!(is_doomed, "{name}: {:?}", other.map(|answer| (answer.status, answer.text())));
                self.round.ledger().unanswered(name, written);
                Err(())
            }
        }
    }
}

/// A disk, a node on it, and what was acknowledged.
struct Site {
    device: Device,
    node: Node,
    ledger: Ledger,
}

impl Site {
    /// A node that was set up just now, of which nothing but its own syncs has made anything durable.
    fn new(root: &std::path::Path, dice: &mut Dice) -> Option<Site> {
        let device = Device::new(root, DISK_MEBIBYTES)?;
        // The log is beside the folder, and outlives the power.
        std::fs::create_dir(device.path.join("site")).expect("an empty disk");
        std::fs::File::open(&device.path).and_then(|disk| disk.sync_all()).expect("that much is on the disk");
        std::os::unix::fs::symlink(device.path.join("site"), root.join("site")).expect("a link");
        let mut setup = Setup { new_circle: true, ..Setup::default() }
            .with("ARTIMESH_STORE_PACK_SIZE", "1MiB")
            .with("ARTIMESH_STORE_COMPACT_BELOW", "90")
            .with("ARTIMESH_STORE_GC_GRACE", "0s");
        if dice.below(2) == 0 {
            setup = setup.with("ARTIMESH_INGEST_MD5", "deferred");
        }
        let mut node = Node::init(root, "site", setup);
        node.start();
        node.cli(&["repo", "create", REPO], "");
        Some(Site { device, node, ledger: Ledger::default() })
    }

    /// Everybody writes, the power fails in the middle, and the node starts on what is left.
    async fn lose_power(&mut self, number: u64, dice: &mut Dice) {
        let round = Arc::new(Round {
            number,
            ledger: Mutex::new(std::mem::take(&mut self.ledger)),
            is_doomed: AtomicBool::new(false),
            bytes: AtomicU64::new(0),
        });
        let workers: Vec<_> = (0..WORKERS)
            .map(|number| {
                let (round, client, dice) = (round.clone(), self.node.client(), Dice(dice.next()));
                tokio::spawn(Worker { number, round, client, dice }.run())
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(dice.below(1_000))).await;
        round.is_doomed.store(true, Ordering::SeqCst);
        self.device.doom(dice);
        until("the power fails", || async { if self.device.is_off() { Ok(()) } else { Err("not yet".into()) } }).await;
        // Nobody is answered from here on who wasn't served before.
        tokio::time::sleep(Duration::from_millis(dice.below(50))).await;
        let lost = self.device.cut();
        self.node.kill();
        for worker in join_all(workers).await {
            worker.expect("no worker saw anything wrong");
        }
        let (acknowledged, unknown) = round.ledger().counts();
        println!("round {number}: {lost:?}; {acknowledged} writes acknowledged so far, {unknown} unanswered");
        self.ledger = std::mem::take(&mut *round.ledger());
        self.device.come_back();
        for _ in 0..dice.below(3) {
            self.strike_at_the_start(dice).await;
        }
        self.node.start();
    }

    /// The power fails while the node starts.
    async fn strike_at_the_start(&mut self, dice: &mut Dice) {
        self.node.spawn();
        self.device.doom(dice);
        tokio::time::sleep(Duration::from_millis(dice.below(600))).await;
        let lost = self.device.cut();
        println!("  and while it starts: {lost:?}");
        self.node.kill();
        self.device.come_back();
    }

    /// Reads paths; each must show one of what it may, and that stays.
    async fn check(&mut self, paths: Vec<(String, Vec<Written>)>) {
        let client = self.node.client();
        for (name, allowed) in paths {
            let shown = client.get_streamed(&path(&name)).await.expect("an answer");
            let is_shown = |written: &&Written| match written {
                None => shown.status == StatusCode::NOT_FOUND,
                Some(content) => shown.status == StatusCode::OK && shown.sha256 == content.sha256(),
            };
            let found = *allowed.iter().find(is_shown).unwrap_or_else(|| panic!("{name}: {shown:?} of {allowed:?}"));
            self.ledger.settle(&name, found);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_the_power_fails() {
    let mut dice = Dice::fresh("power");
    let (rounds, mut done) = (rounds(), 0);
    while done < rounds {
        let root = tempfile::tempdir().expect("a folder");
        let Some(mut site) = Site::new(root.path(), &mut dice) else { return };
        for number in 0..(rounds - done).min(ROUNDS_OF_A_LIFE) {
            site.lose_power(number, &mut dice).await;
            let touched = site.ledger.touched();
            site.check(touched).await;
            if dice.below(3) == 0 {
                // A collection and a compaction, of which the next round may see the end.
                site.node.cli(&["gc"], "");
            }
            done += 1;
        }
        let all = site.ledger.all();
        println!("all {} paths are read once more", all.len());
        site.check(all).await;
        site.node.stop();
    }
}
