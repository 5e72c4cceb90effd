//! What a store is asked to do, and what it shows once it has said that it is done.

use std::collections::BTreeSet;
use std::io::Write as _;

use artimesh_core::model::{Assurance, Digest};
use futures::future::join_all;
use tokio::task::spawn_blocking;

use super::contents::{FIRST_LARGE, Number, POOL};
use super::seen::Seen;
use crate::store::files::SimulatedFiles;
use crate::store::groups::GROUP_BYTES;
use crate::store::sums::{Md5Turn, has_md5};
use crate::store::value::Place;
use crate::store::{Batch, Compaction, Garbage, Priority, RowWrite, Scrub, Staged, Store, large};

/// The magic number of the notes.
pub const NOTE: [u8; 8] = *b"ArtiTest";

/// How a blob comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Upload(Md5Turn),
    /// From a peer: whole, or by groups, going on with what is there of it.
    Peer,
}

/// One batch.
#[derive(Clone, Default)]
pub struct Commit {
    pub dropped: Vec<Number>,
    pub brought: Vec<(Number, Way)>,
    pub rows: Vec<RowWrite>,
}

/// One thing that a store does for its node.
#[derive(Clone)]
pub enum Step {
    /// Batches that are handed over at the same time, in this order.
    Commits(Vec<Commit>),
    /// An upload that never comes to its commit.
    GiveUp(Number),
    /// A peer that goes away after some groups.
    FillSome(Number),
    /// What is there of a blob isn't wanted any more.
    DiscardFill(Number),
    /// A collection: the list of garbage, the journal, then the blobs go. The number says when.
    Collect(Vec<Number>, u64),
    /// The cache makes room: its list, the journal, then the blobs go.
    Evict(Vec<Number>, u64),
    /// MD5 that was put off.
    Sum,
    /// The sums that a peer claimed.
    Confirm(Number),
    /// Packs of which less is live are compacted.
    Compact(u8),
    /// Everything is read; the blob, if any, rots just before that, and is taken out of use.
    Scrub(Option<Number>),
}

/// What came of a step.
pub struct Ran {
    /// How many of its commits were acknowledged; the first ones.
    pub acknowledged: usize,
    pub error: Option<String>,
}

impl Ran {
    fn of(outcome: Result<usize, String>) -> Ran {
        match outcome {
            Ok(acknowledged) => Ran { acknowledged, error: None },
            Err(error) => Ran { acknowledged: 0, error: Some(error) },
        }
    }
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Commit {
    fn effect(&self, seen: &mut Seen) {
        self.dropped.iter().for_each(|number| {
            seen.blobs.remove(number);
        });
        for (number, way) in &self.brought {
            // Small ones are summed at once, whatever was asked for.
            let (assurance, is_unsummed) = match way {
                Way::Upload(Md5Turn::Deferred) if *number >= FIRST_LARGE => (Assurance::Claimed, true),
                Way::Upload(_) => (Assurance::Confirmed, false),
                Way::Peer => (Assurance::Claimed, !has_md5(&POOL[*number].sums)),
            };
            seen.put(*number, assurance, is_unsummed);
        }
        self.rows.iter().for_each(|row| seen.write(row));
    }

    async fn batch(&self, store: &Store) -> Result<Batch, String> {
        let mut blobs = Vec::new();
        for (number, way) in &self.brought {
            blobs.push(match way {
                Way::Upload(md5) => upload(store, *number, *md5).await?,
                Way::Peer => fetch(store, *number).await?,
            });
        }
        let dropped = self.dropped.iter().map(|number| POOL[*number].digest).collect();
        Ok(Batch { rows: self.rows.clone(), blobs, dropped, ..Batch::default() })
    }
}

async fn upload(store: &Store, number: Number, md5: Md5Turn) -> Result<Staged, String> {
    let mut ingest = store.ingest().map_err(told)?.with_md5(md5);
    ingest.write(POOL[number].bytes.clone()).await.map_err(told)?;
    ingest.finish().await.map_err(told)
}

async fn fetch(store: &Store, number: Number) -> Result<Staged, String> {
    let content = &POOL[number];
    if number < FIRST_LARGE {
        let whole = Staged::verified(content.digest, content.bytes.clone(), content.sums);
        return whole.ok_or_else(|| "its own bytes aren't those of a blob".into());
    }
    let fill = store.fill(content.digest, content.bytes.len() as u64, content.sums).await.map_err(told)?;
    fill.set_groups(content.values()).await.map_err(told)?;
    let groups = content.groups();
    for index in fill.missing().into_iter().flatten().rev() {
        fill.write_group(index, groups[index as usize].clone()).await.map_err(told)?;
    }
    fill.finish().await.map_err(told)
}

async fn fetch_some(store: &Store, number: Number) -> Result<(), String> {
    let content = &POOL[number];
    let fill = store.fill(content.digest, content.bytes.len() as u64, content.sums).await.map_err(told)?;
    fill.set_groups(content.values()).await.map_err(told)?;
    // Never the last one: then it would be whole, and would only have to be sealed.
    fill.write_group(0, content.groups()[0].clone()).await.map_err(told)
}

async fn give_up(store: &Store, number: Number) -> Result<(), String> {
    if number.is_multiple_of(2) {
        return upload(store, number, Md5Turn::Inline).await.map(drop);
    }
    let mut ingest = store.ingest().map_err(told)?;
    ingest.write(POOL[number].bytes.slice(..GROUP_BYTES + 1)).await.map_err(told)
}

/// Several commits at once; how many of the first ones were acknowledged.
async fn commit_all(store: &Store, commits: &[Commit]) -> Ran {
    let mut batches = Vec::new();
    for commit in commits {
        match commit.batch(store).await {
            Ok(batch) => batches.push(batch),
            Err(error) => return Ran { acknowledged: 0, error: Some(error) },
        }
    }
    let outcomes = join_all(batches.into_iter().map(|batch| store.commit(batch))).await;
    let acknowledged = outcomes.iter().take_while(|outcome| outcome.is_ok()).count();
    if outcomes[acknowledged..].iter().any(Result::is_ok) {
        return Ran { acknowledged, error: Some("a later batch was taken, and an earlier one wasn't".into()) };
    }
    Ran { acknowledged, error: outcomes.into_iter().find_map(Result::err).map(told) }
}

/// Has blobs removed, as the engine does, with a line in the journal for each.
async fn remove(store: &Store, numbers: &[Number], write: impl FnOnce(&Store, &str) -> std::io::Result<()>) -> Ran {
    let lines: String = numbers.iter().map(|number| format!("{{\"digest\":\"{}\"}}\n", POOL[*number].digest)).collect();
    if let Err(error) = write(store, &lines) {
        return Ran::of(Err(error.to_string()));
    }
    let dropped = numbers.iter().map(|number| POOL[*number].digest).collect();
    let batch = Batch { dropped, priority: Priority::Vital, ..Batch::default() };
    Ran::of(store.commit(batch).await.map(|_| 1).map_err(told))
}

fn list_garbage(store: &Store, numbers: &[Number], since_ms: u64) -> std::io::Result<()> {
    let mut listed: Vec<Digest> = numbers.iter().map(|number| POOL[*number].digest).collect();
    listed.sort();
    let mut writer = store.write_garbage()?;
    for digest in listed {
        writer.push(&Garbage { digest, since_ms, path: Some("a/path".into()) })?;
    }
    writer.finish()
}

fn write_note(store: &Store, text: &str) -> std::io::Result<()> {
    let mut note = store.write_note("cache", &NOTE)?;
    note.write_all(text.as_bytes())?;
    note.finish()
}

/// What the list of the cache says at some time.
pub fn note(stamp: u64) -> String {
    format!("as of {stamp}: {}", "x".repeat(stamp as usize * 97 % 2000))
}

/// Changes a byte of a large blob behind everybody's back.
fn rot(store: &Store, files: &SimulatedFiles, number: Number) {
    let known = store.shared().blob(&POOL[number].digest).expect("the index is well");
    if let Some(Place::Large { file, .. }) = known.map(|known| known.place) {
        files.rot(&large::path(&store.shared().large_folder(), file, "blob"), large::DATA_OFFSET as usize + 4711);
    }
}

async fn scrub(store: &Store, files: &SimulatedFiles, rotten: &BTreeSet<Number>) -> Ran {
    let scrubbed = store.clone();
    let done = spawn_blocking(move || {
        let mut found = Vec::new();
        let outcome = scrubbed.scrub_here(Scrub::default(), &mut |rotten| found.extend_from_slice(rotten));
        (outcome, found)
    });
    let (outcome, found) = done.await.expect("no panic");
    let outcome = match outcome {
        Ok(outcome) if !files.is_off() => outcome,
        Ok(_) => return Ran::of(Err("the machine is off".into())),
        Err(error) => return Ran::of(Err(error.to_string())),
    };
    let expected: Vec<Digest> = rotten.iter().map(|number| POOL[*number].digest).collect();
    let digests: Vec<Digest> = found.iter().map(|rotten| rotten.digest).collect();
    if digests != expected || outcome.damaged_records > 0 {
        return Ran::of(Err(format!("a scrub found {found:?} of {rotten:?}, {outcome:?}")));
    }
    if found.is_empty() {
        return Ran::of(Ok(0));
    }
    found.iter().filter_map(|rotten| rotten.file).for_each(|file| store.spoil(file));
    let numbers: Vec<Number> = rotten.iter().copied().collect();
    remove(store, &numbers, |store, lines| store.journal("gc.log")?.append(lines)).await
}

impl Step {
    /// What is shown after each of its commits, in order, if `seen` was before them.
    pub fn effects(&self, seen: &Seen, rotten: &BTreeSet<Number>) -> Vec<Seen> {
        let without = |gone: &mut dyn Iterator<Item = &Number>| {
            let mut after = seen.clone();
            gone.for_each(|number| {
                after.blobs.remove(number);
            });
            after
        };
        match self {
            Step::Commits(commits) => commits
                .iter()
                .scan(seen.clone(), |after, commit| {
                    commit.effect(after);
                    Some(after.clone())
                })
                .collect(),
            Step::Collect(numbers, _) | Step::Evict(numbers, _) => vec![without(&mut numbers.iter())],
            Step::Sum => {
                let mut after = seen.clone();
                after.sum();
                vec![after]
            }
            Step::Confirm(number) => {
                let mut after = seen.clone();
                if seen.blobs.get(number) == Some(&Assurance::Claimed) {
                    after.blobs.insert(*number, Assurance::Confirmed);
                    after.rows.remove(&(crate::store::Tree::Meta, crate::store::unsummed::key(&POOL[*number].digest)));
                }
                vec![after]
            }
            Step::Scrub(_) => vec![without(&mut rotten.iter())],
            Step::GiveUp(_) | Step::FillSome(_) | Step::DiscardFill(_) | Step::Compact(_) => Vec::new(),
        }
    }

    /// Does it; `rotten` are the blobs that have rotted and weren't found so far.
    pub async fn run(&self, store: &Store, files: &SimulatedFiles, rotten: &BTreeSet<Number>) -> Ran {
        match self {
            Step::Commits(commits) => commit_all(store, commits).await,
            Step::GiveUp(number) => Ran::of(give_up(store, *number).await.map(|()| 0)),
            Step::FillSome(number) => Ran::of(fetch_some(store, *number).await.map(|()| 0)),
            Step::DiscardFill(number) => {
                store.discard_fill(&POOL[*number].digest);
                Ran::of(Ok(0))
            }
            Step::Collect(numbers, stamp) => {
                let write = |store: &Store, lines: &str| {
                    list_garbage(store, numbers, *stamp)?;
                    store.journal("gc.log")?.append(lines)
                };
                remove(store, numbers, write).await
            }
            Step::Evict(numbers, stamp) => {
                let write = |store: &Store, lines: &str| {
                    write_note(store, &note(*stamp))?;
                    store.journal("gc.log")?.append(lines)
                };
                remove(store, numbers, write).await
            }
            Step::Sum => Ran::of(store.sum_some(None, Default::default()).await.map(|_| 1).map_err(told)),
            Step::Confirm(number) => Ran::of(store.confirm(&POOL[*number].digest).await.map(|()| 1).map_err(told)),
            Step::Compact(live_percent) => {
                let compaction = Compaction { live_percent: *live_percent, ..Compaction::default() };
                Ran::of(store.compact(compaction).await.map(|_| 0).map_err(told))
            }
            Step::Scrub(number) => {
                number.iter().for_each(|number| rot(store, files, *number));
                scrub(store, files, rotten).await
            }
        }
    }

    /// What it is, for whoever counts.
    pub fn name(&self) -> &'static str {
        match self {
            Step::Commits(commits) if commits.len() > 1 => "commits together",
            Step::Commits(commits) => match commits[0].brought.first() {
                Some((number, Way::Peer)) if *number >= FIRST_LARGE => "a fill from peers",
                Some((number, Way::Upload(_))) if *number >= FIRST_LARGE => "a large upload",
                Some(_) => "a small blob",
                None if !commits[0].dropped.is_empty() => "a delete",
                None => "rows",
            },
            Step::GiveUp(_) => "an upload that is given up",
            Step::FillSome(_) => "a fill that is left",
            Step::DiscardFill(_) => "a fill that is discarded",
            Step::Collect(..) => "a collection",
            Step::Evict(..) => "an eviction",
            Step::Sum | Step::Confirm(_) => "sums computed later",
            Step::Compact(_) => "a compaction",
            Step::Scrub(None) => "a scrub",
            Step::Scrub(Some(_)) => "a quarantine",
        }
    }

    /// What it is, for whoever replays.
    pub fn told(&self) -> String {
        match self {
            Step::Commits(commits) => {
                let one = |commit: &Commit| {
                    let row = |row: &RowWrite| {
                        let (key, bytes) = (String::from_utf8_lossy(&row.key), row.value.as_ref().map(Vec::len));
                        format!("{:?}/{key}: {bytes:?}", row.tree)
                    };
                    let rows: Vec<String> = commit.rows.iter().map(row).collect();
                    format!("[drop {:?}, bring {:?}, rows {rows:?}]", commit.dropped, commit.brought)
                };
                commits.iter().map(one).collect::<Vec<_>>().join(" + ")
            }
            Step::GiveUp(number) | Step::FillSome(number) | Step::DiscardFill(number) | Step::Confirm(number) => {
                format!("{}: {number}", self.name())
            }
            Step::Collect(numbers, _) | Step::Evict(numbers, _) => format!("{}: {numbers:?}", self.name()),
            Step::Compact(percent) => format!("{} below {percent} %", self.name()),
            Step::Scrub(number) => format!("a scrub, {number:?} rotten just before"),
            Step::Sum => self.name().into(),
        }
    }
}
