//! Writers, readers and an operator who collects, compacts and scrubs, all at the same time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Answer, Client, Clock, Dice, REPO};

/// So many paths has each writer.
const PATHS: u64 = 30;
/// Contents that all writers put again and again: what was just removed is named anew.
const COMMON: u64 = 40;
/// Paths that all writers write.
const SHARED: u64 = 20;

pub fn uri(name: &str) -> String {
    format!("/artifactory/{REPO}/{name}")
}

/// Bytes that say themselves what they have to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Body {
    pub seed: u64,
    pub size: usize,
}

impl Body {
    /// Mostly small, some of them larger than what packs take.
    fn any(dice: &mut Dice) -> Body {
        let size = match dice.below(40) {
            0 => (1 << 20) + dice.below(1 << 20),
            1..=4 => 20_000 + dice.below(200_000),
            5..=9 => 16 + dice.below(900),
            _ => 1_500 + dice.below(12_000),
        };
        Body { seed: dice.next(), size: size as usize }
    }

    pub fn bytes(self) -> Vec<u8> {
        let mut bytes = Dice(self.seed).bytes(self.size);
        bytes[..8].copy_from_slice(&self.seed.to_le_bytes());
        bytes[8..16].copy_from_slice(&(self.size as u64).to_le_bytes());
        bytes
    }

    /// What they are, if they are what they say.
    pub fn of(bytes: &[u8]) -> Option<Body> {
        let number = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let body = Body { seed: number(0)?, size: usize::try_from(number(8)?).ok()? };
        (body.size == bytes.len() && body.bytes() == bytes).then_some(body)
    }
}

/// What a path shows, as far as its writer knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Is(Option<Body>),
    /// Its node was killed before it answered.
    Unknown,
}

/// What happened.
#[derive(Debug, Default)]
pub struct Counts {
    pub puts: AtomicU64,
    pub ends: AtomicU64,
    pub reads: AtomicU64,
    pub ranges: AtomicU64,
    /// Readers of what was being replaced or deleted who got an error instead.
    pub too_late: AtomicU64,
    pub collections: AtomicU64,
    pub removed: AtomicU64,
    pub compacted: AtomicU64,
    pub scrubs: AtomicU64,
}

fn more(count: &AtomicU64, by: u64) {
    count.fetch_add(by, Ordering::Relaxed);
}

/// What all tasks share.
#[derive(Default)]
pub struct Load {
    pub stop: AtomicBool,
    pub counts: Counts,
    fates: Mutex<BTreeMap<String, Fate>>,
    /// Put before it all began, and never touched again.
    pub steady: Vec<(String, Body)>,
}

/// A node as a task sees it.
#[derive(Clone)]
pub struct Target {
    pub client: Client,
    /// It is killed in the middle: its silence is no fault.
    pub is_doomed: bool,
}

impl Load {
    pub fn on(steady: Vec<(String, Body)>) -> Load {
        Load { steady, ..Load::default() }
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    pub fn fates(&self) -> MutexGuard<'_, BTreeMap<String, Fate>> {
        self.fates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts, overwrites and deletes until it is told to stop.
    pub async fn write(self: Arc<Self>, target: Target, writer: String, mut dice: Dice) {
        while self.goes_on() {
            let is_shared = dice.below(12) == 0;
            let folder = if is_shared { "shared" } else { writer.as_str() };
            let name = format!("{folder}/{}", dice.below(if is_shared { SHARED } else { PATHS }));
            let known = self.fates().get(&name).copied().unwrap_or(Fate::Is(None));
            let is_there = known != Fate::Is(None);
            let body = match dice.below(10) {
                0..=3 if is_there => None,
                4 | 5 => Some(Body { seed: dice.below(COMMON), size: 3_000 }),
                _ => Some(Body::any(&mut dice)),
            };
            let is_answered = self.write_one(&target, &name, body, is_shared || known == Fate::Unknown).await;
            let fate = if is_answered && !is_shared { Fate::Is(body) } else { Fate::Unknown };
            self.fates().insert(name, fate);
            if !is_answered {
                return;
            }
            more(&self.counts.puts, u64::from(body.is_some()));
            more(&self.counts.ends, u64::from(is_there));
        }
    }

    async fn write_one(&self, target: &Target, name: &str, body: Option<Body>, may_be_gone: bool) -> bool {
        let answer = match body {
            Some(body) => target.client.put(&uri(name), body.bytes()).await,
            None => target.client.delete(&uri(name)).await,
        };
        match answer {
            Ok(answer) => {
                let is_gone = body.is_none() && answer.status == StatusCode::NOT_FOUND;
                assert!(answer.status.is_success() || (is_gone && may_be_gone), "{name}: {body:?}: {}", answer.text());
                true
            }
            Err(error) => {
                assert!(target.is_doomed, "{name}: {error}");
                false
            }
        }
    }

    /// Reads what is steady and what changes, whole and in parts.
    pub async fn read(self: Arc<Self>, target: Target, mut dice: Dice) {
        while self.goes_on() {
            let is_alive = if dice.below(3) == 0 {
                let (name, body) = self.steady[dice.below(self.steady.len() as u64) as usize].clone();
                self.read_steady(&target, &name, body, &mut dice).await
            } else {
                let names = self.fates().len() as u64;
                let name = if names == 0 { None } else { self.fates().keys().nth(dice.below(names) as usize).cloned() };
                match name {
                    Some(name) => self.read_changing(&target, &name, &mut dice).await,
                    None => true,
                }
            };
            if !is_alive {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn read_steady(&self, target: &Target, name: &str, body: Body, dice: &mut Dice) -> bool {
        let (first, last) = part_of(body.size, dice);
        let range = (dice.below(2) == 0).then(|| format!("bytes={first}-{last}"));
        let headers: Vec<(&str, &str)> = range.iter().map(|range| ("range", range.as_str())).collect();
        let answer = match target.client.send(Method::GET, &uri(name), &headers, "").await {
            Ok(answer) => answer,
            Err(error) => {
                assert!(target.is_doomed, "{name}: {error}");
                return false;
            }
        };
        let bytes = body.bytes();
        let (status, expected) = match range {
            Some(_) => (StatusCode::PARTIAL_CONTENT, &bytes[first..=last]),
            None => (StatusCode::OK, &bytes[..]),
        };
        assert_eq!(answer.status, status, "{name}: {}", answer.text().chars().take(300).collect::<String>());
        assert!(answer.body.as_ref() == expected, "{name} {range:?}: these aren't the bytes that were put");
        self.count_read(&answer);
        true
    }

    fn count_read(&self, answer: &Answer) {
        let is_part = answer.status == StatusCode::PARTIAL_CONTENT;
        more(if is_part { &self.counts.ranges } else { &self.counts.reads }, 1);
    }

    /// What changes may be gone, and who reads it where its bytes aren't yet may come too late; but what comes is whole.
    async fn read_changing(&self, target: &Target, name: &str, dice: &mut Dice) -> bool {
        let Ok(answer) = target.client.get(&uri(name)).await else { return self.came_too_late(target).await };
        let body = match answer.status {
            StatusCode::OK => Body::of(&answer.body).unwrap_or_else(|| panic!("{name}: bytes that nobody put")),
            StatusCode::NOT_FOUND => return true,
            StatusCode::GONE | StatusCode::SERVICE_UNAVAILABLE => return self.came_too_late(target).await,
            other => panic!("{name}: {other}: {}", answer.text()),
        };
        self.count_read(&answer);
        let (first, last) = part_of(body.size, dice);
        let (range, tag) = (format!("bytes={first}-{last}"), answer.header("etag").to_owned());
        let headers = [("range", range.as_str()), ("if-range", tag.as_str())];
        let Ok(again) = target.client.send(Method::GET, &uri(name), &headers, "").await else {
            return self.came_too_late(target).await;
        };
        match again.status {
            StatusCode::PARTIAL_CONTENT => {
                assert!(again.body.as_ref() == &body.bytes()[first..=last], "{name}: a part of other bytes");
                self.count_read(&again);
            }
            // It is another one by now.
            StatusCode::OK => drop(Body::of(&again.body).unwrap_or_else(|| panic!("{name}: bytes that nobody put"))),
            StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::SERVICE_UNAVAILABLE => {}
            other => panic!("{name}: {other}: {}", again.text()),
        }
        true
    }

    /// Says whether the node is still there.
    async fn came_too_late(&self, target: &Target) -> bool {
        more(&self.counts.too_late, 1);
        let is_alive = target.client.get("/healthz").await.is_ok();
        assert!(is_alive || target.is_doomed, "the node doesn't answer any more");
        is_alive
    }

    /// Collects garbage without grace, over and over, and scrubs now and then.
    pub async fn keep_up(self: Arc<Self>, target: Target) {
        for round in 0_u64.. {
            if !self.goes_on() {
                return;
            }
            if round.is_multiple_of(8) {
                match target.client.send(Method::POST, "/artifactory/api/mesh/scrub", &[], "{}").await {
                    Ok(answer) => more(&self.counts.scrubs, u64::from(answer.status == StatusCode::ACCEPTED)),
                    Err(_) if target.is_doomed => return,
                    Err(error) => panic!("scrub: {error}"),
                }
            }
            match collect(&target.client).await {
                Ok(Some(done)) => self.count_collection(&done),
                Ok(None) => {}
                Err(_) if target.is_doomed => return,
                Err(error) => panic!("gc: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn count_collection(&self, done: &Value) {
        more(&self.counts.collections, 1);
        more(&self.counts.removed, done["removed"]["blobs"].as_u64().expect("a number"));
        more(&self.counts.compacted, done["packs"]["compacted"].as_u64().expect("a number"));
        assert_eq!(done["packs"]["damaged"], 0, "{done}");
    }

    /// Lets more than a minute go by in every half second: what ended leaves the history at once.
    pub async fn pass_time(self: Arc<Self>, clock: Clock) {
        while self.goes_on() {
            clock.set(clock.ahead_s() + 61);
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

/// Some part, from a first to a last byte.
fn part_of(size: usize, dice: &mut Dice) -> (usize, usize) {
    let first = dice.below(size as u64);
    (first as usize, (first + dice.below(size as u64 - first)) as usize)
}

/// Collects garbage once, without grace; `None` when somebody else does.
pub async fn collect(client: &Client) -> Result<Option<Value>, String> {
    let wish = json!({"grace_s": 0}).to_string();
    let answer = client.send(Method::POST, "/artifactory/api/mesh/gc", &[], wish).await?;
    match answer.status {
        StatusCode::OK => Ok(Some(answer.json())),
        StatusCode::SERVICE_UNAVAILABLE if answer.text().contains("already") => Ok(None),
        other => panic!("{other}: {}", answer.text()),
    }
}
