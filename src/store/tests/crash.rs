//! Every crash: the machine goes off before each file operation of a workload, in several ways; what was acknowledged
//! must be there, and nothing else may be half there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use artimesh_core::model::Digest;
use bytes::Bytes;
use tokio::runtime::Runtime;

use super::{ID, noise, put, rows, sums_of};
use crate::store::files::{Loss, SimulatedFiles, SyncPoint};
use crate::store::groups::{self, GROUP_BYTES};
use crate::store::{
    Batch, CommitError, CompactError, Compaction, IndexKind, MemoryIndex, OpenError, Options, RowWrite, Store, Tree,
    Walk,
};

const LOSSES: [Loss; 10] = [
    Loss::Everything,
    Loss::Nothing,
    Loss::Bytes,
    Loss::Names,
    Loss::FirstWrites,
    Loss::NewestName,
    Loss::Dice(1),
    Loss::Dice(2),
    Loss::Dice(3),
    Loss::Dice(4),
];

/// What a reader sees of a store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Seen {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    blobs: BTreeSet<Digest>,
}

/// Step `number` of the workload; its effect is one commit.
#[derive(Clone)]
enum Step {
    Rows(Vec<RowWrite>),
    Blob(Bytes, RowWrite),
    Fill(Bytes),
    Drop(Bytes),
    /// Changes nothing that anybody sees.
    Compact,
}

fn steps() -> Vec<Step> {
    vec![
        Step::Rows(vec![put("a", b"1"), put("b", b"2")]),
        Step::Blob(noise(1, 100), put("tiny", b"blob")),
        Step::Blob(noise(2, 9000), put("small", b"blob")),
        Step::Rows(vec![put("long", &noise(3, 3000)), RowWrite::delete(Tree::Catalog, "a")]),
        Step::Blob(noise(4, GROUP_BYTES + 5), put("large", b"blob")),
        Step::Rows((0..40).map(|i| put(&format!("many/{i}"), &noise(i, 300))).collect()),
        Step::Blob(noise(1, 100), put("again", b"the same bytes")),
        Step::Fill(noise(5, 2 * GROUP_BYTES + 1)),
        Step::Rows(vec![put("b", b"3"), put("z", &noise(9, 9000))]),
        Step::Rows(vec![put("b", b"4")]),
        Step::Drop(noise(2, 9000)),
        Step::Drop(noise(4, GROUP_BYTES + 5)),
        Step::Rows(vec![RowWrite::delete(Tree::Catalog, "long"), RowWrite::delete(Tree::Catalog, "many/7")]),
        Step::Blob(noise(6, 9000), put("z", b"short now")),
        Step::Rows(vec![put("filler", &noise(10, 12_000))]),
        Step::Compact,
        Step::Drop(noise(1, 100)),
        Step::Blob(noise(2, 9000), put("small", b"back again")),
        Step::Rows((0..20).map(|i| RowWrite::delete(Tree::Catalog, format!("many/{i}"))).collect()),
        Step::Blob(noise(4, GROUP_BYTES + 5), put("large", b"back again")),
        Step::Rows(vec![put("filler", &noise(11, 14_000))]),
        Step::Compact,
        Step::Drop(noise(5, 2 * GROUP_BYTES + 1)),
        Step::Rows(vec![put("b", b"5"), put("ghost", b"1"), put("filler", &noise(12, 14_000))]),
        // Once the pack before is hollow, nothing needs this delete any more: if that were not durable, it would be back.
        Step::Rows(vec![RowWrite::delete(Tree::Catalog, "ghost"), put("filler", &noise(13, 14_000))]),
        Step::Rows(vec![put("filler", &noise(14, 14_000))]),
        Step::Compact,
    ]
}

impl Step {
    fn expect(&self, seen: &mut Seen) {
        let writes = match self {
            Step::Rows(rows) => rows.clone(),
            Step::Blob(bytes, row) => {
                seen.blobs.insert(Digest::of(bytes));
                vec![row.clone()]
            }
            Step::Fill(bytes) => {
                seen.blobs.insert(Digest::of(bytes));
                Vec::new()
            }
            Step::Drop(bytes) => {
                seen.blobs.remove(&Digest::of(bytes));
                Vec::new()
            }
            Step::Compact => Vec::new(),
        };
        for row in writes {
            match row.value {
                Some(value) => seen.rows.insert(row.key, value),
                None => seen.rows.remove(&row.key),
            };
        }
    }

    async fn run(&self, store: &Store) -> Result<u64, CommitError> {
        match self {
            Step::Rows(writes) => store.commit(rows(writes.clone())).await,
            Step::Blob(bytes, row) => {
                let mut ingest = store.ingest()?;
                ingest.write(bytes.clone()).await?;
                let blobs = vec![ingest.finish().await?];
                store.commit(Batch { rows: vec![row.clone()], blobs, ..Batch::default() }).await
            }
            Step::Fill(bytes) => {
                let fill = store.fill(Digest::of(bytes), bytes.len() as u64, sums_of(bytes)).await?;
                let chunks: Vec<&[u8]> = bytes.chunks(GROUP_BYTES).collect();
                let values =
                    chunks.iter().enumerate().map(|(index, chunk)| groups::chaining_value(index as u32, [*chunk]));
                let failed = |error: &dyn std::fmt::Display| CommitError::Failed { reason: error.to_string() };
                fill.set_groups(values.collect()).await.map_err(|error| failed(&error))?;
                for index in (0..chunks.len()).rev() {
                    let group = bytes.slice_ref(chunks[index]);
                    fill.write_group(index as u32, group).await.map_err(|error| failed(&error))?;
                }
                let staged = fill.finish().await.map_err(|error| failed(&error))?;
                store.commit(Batch { blobs: vec![staged], ..Batch::default() }).await
            }
            Step::Drop(bytes) => store.commit(Batch { dropped: vec![Digest::of(bytes)], ..Batch::default() }).await,
            Step::Compact => {
                super::await_index(store).await;
                let compaction = Compaction { live_percent: 100, ..Compaction::default() };
                let failed = |error: CompactError| CommitError::Failed { reason: error.to_string() };
                store.compact(compaction).await.map_err(failed).map(|done| done.compacted)
            }
        }
    }
}

impl Seen {
    /// What the store shows; an error when a blob that it shows can't be read, or files lie about.
    async fn of(store: &Store, files: &SimulatedFiles) -> Result<Seen, String> {
        let found = store.range(Tree::Catalog, b"", b"\xFF", usize::MAX).map_err(|error| error.to_string())?;
        let mut seen = Seen { rows: found.into_iter().collect(), blobs: BTreeSet::new() };
        for step in steps() {
            let (Step::Blob(bytes, _) | Step::Fill(bytes)) = step else { continue };
            let digest = Digest::of(&bytes);
            let Some(reader) = store.reader(&digest).map_err(|error| format!("{digest:?}: {error}"))? else { continue };
            for index in 0..reader.group_count() {
                reader.verify_group(index).await.map_err(|error| format!("{digest:?}: {error}"))?;
            }
            seen.blobs.insert(digest);
        }
        let large = crate::store::files::FileSystem::list(files, &folder().join("large")).map_err(|e| e.to_string())?;
        let blobs = large.iter().filter(|file| file.name.ends_with(".blob")).count();
        let shown = seen
            .blobs
            .iter()
            .filter(|digest| store.blob(digest).ok().flatten().is_some_and(|info| info.size > GROUP_BYTES as u64));
        let shown = shown.count();
        if blobs != shown && (files.is_honest() || files.omits(SyncPoint::LargeRemoved)) {
            Err(format!("{blobs} large files for {shown} large blobs"))
        } else {
            Ok(seen)
        }
    }
}

fn folder() -> PathBuf {
    PathBuf::from("/disk/store")
}

fn options(index: &MemoryIndex) -> Options {
    let index = IndexKind::Memory(index.clone());
    Options { pack_bytes: 16 << 10, index_linger: Duration::ZERO, index, clock: || 7, ..Options::default() }
}

fn open(files: &SimulatedFiles, index: &MemoryIndex) -> Result<(Store, crate::store::Recovery), OpenError> {
    Store::open(&folder(), options(index), Arc::new(files.clone()), ID)
}

/// Runs the workload until the machine goes off; returns how many steps were acknowledged.
fn run(runtime: &Runtime, files: &SimulatedFiles, index: &MemoryIndex) -> usize {
    run_until(runtime, files, index, |_| {})
}

/// Runs the workload until a step fails; `before` gets the number of each step, from 0 for the opening.
fn run_until(runtime: &Runtime, files: &SimulatedFiles, index: &MemoryIndex, before: impl Fn(usize)) -> usize {
    runtime.block_on(async {
        before(0);
        let Ok((store, _)) = open(files, index) else { return 0 };
        let mut acknowledged = 0;
        for step in steps() {
            before(acknowledged + 1);
            if step.run(&store).await.is_err() {
                break;
            }
            acknowledged += 1;
        }
        store.close().await;
        acknowledged
    })
}

fn expected(steps_done: usize) -> Seen {
    let mut seen = Seen::default();
    steps().iter().take(steps_done).for_each(|step| step.expect(&mut seen));
    seen
}

/// The index as it may be found: up to date, empty, or as of an earlier checkpoint, with or without later rows.
fn stale(index: &MemoryIndex, variant: usize) -> MemoryIndex {
    let checkpoints = index.checkpoints();
    match variant % 4 {
        0 => MemoryIndex::default(),
        1 => index.earlier(checkpoints.saturating_sub(1)),
        2 => index.earlier(variant * 7 % checkpoints.max(1)),
        _ => index.ahead_of(variant * 5 % checkpoints.max(1)),
    }
}

/// Opens what a crash left and looks at it: `allowed` says which states are right.
fn look(
    runtime: &Runtime,
    files: &SimulatedFiles,
    index: &MemoryIndex,
    allowed: &[Seen],
    then_commit: bool,
) -> Result<Seen, String> {
    runtime.block_on(async {
        let (store, _) = open(files, index).map_err(|error| format!("it doesn't open: {error}"))?;
        let mut seen = Seen::of(&store, files).await?;
        if !allowed.contains(&seen) {
            let keys: Vec<_> = seen.rows.keys().map(|key| String::from_utf8_lossy(key).into_owned()).collect();
            return Err(format!("it shows {keys:?} and {:?}", seen.blobs));
        }
        if then_commit {
            let step = Step::Rows(vec![put("after", b"the crash")]);
            step.run(&store).await.map_err(|error| error.to_string())?;
            step.expect(&mut seen);
        }
        store.close().await;
        let walk = Walk::of(&folder(), files).map_err(|error| error.to_string())?;
        let verdict = walk.judge(&seen.blobs);
        let is_right = verdict.missing.is_empty() && verdict.leaked.is_empty() && verdict.orphans.is_empty();
        if is_right || !files.is_honest() { Ok(seen) } else { Err(format!("a walk from outside finds {verdict:?}")) }
    })
}

/// The power fails right before operation `operation`; `Ok(false)` when the workload ends before that.
fn power_fails(runtime: &Runtime, omitted: Option<SyncPoint>, operation: u64) -> Result<bool, String> {
    let files = SimulatedFiles::new(Path::new("/disk"));
    omitted.into_iter().for_each(|point| files.omit(point));
    files.turn_off_at(operation);
    let index = MemoryIndex::with_history();
    let acknowledged = run(runtime, &files, &index);
    let allowed = [expected(acknowledged), expected(acknowledged + 1)];
    for (variant, loss) in LOSSES.into_iter().enumerate() {
        // Other dice at each operation: what is lost in one way only must be found, too.
        let loss = if let Loss::Dice(seed) = loss { Loss::Dice(seed << 32 | operation) } else { loss };
        let name = |what: String| format!("power fails before operation {operation}, losing {loss:?}: {what}");
        let after = files.after_power_loss(loss);
        // Names out of order show in what is read from the packs alone.
        let variant = if matches!(loss, Loss::NewestName) { 0 } else { variant + operation as usize };
        look(runtime, &after, &stale(&index, variant), &allowed, true).map_err(name)?;
    }
    Ok(files.is_off())
}

/// The process is killed right before operation `operation`, starts again, and then the power fails: what the second
/// one showed is a promise too.
fn kill_then_power_fails(runtime: &Runtime, omitted: Option<SyncPoint>, operation: u64) -> Result<bool, String> {
    let files = SimulatedFiles::new(Path::new("/disk"));
    omitted.into_iter().for_each(|point| files.omit(point));
    files.turn_off_at(operation);
    let index = MemoryIndex::with_history();
    let acknowledged = run(runtime, &files, &index);
    let allowed = [expected(acknowledged), expected(acknowledged + 1)];
    for then_commit in [false, true] {
        let killed = files.after_kill();
        let name = |what: String| format!("killed before operation {operation}: {what}");
        let index = stale(&index, operation as usize);
        let seen = look(runtime, &killed, &index, &allowed, then_commit).map_err(name)?;
        for (variant, loss) in LOSSES.into_iter().enumerate().take(5) {
            let name = |what: String| format!("killed before operation {operation}, then losing {loss:?}: {what}");
            let after = killed.after_power_loss(loss);
            let index = stale(&index, variant);
            look(runtime, &after, &index, std::slice::from_ref(&seen), false).map_err(name)?;
        }
    }
    Ok(files.is_off())
}

/// The power fails before operation `operation`, and again before each operation of the recovery.
fn power_fails_twice(runtime: &Runtime, omitted: Option<SyncPoint>, operation: u64) -> Result<bool, String> {
    let files = SimulatedFiles::new(Path::new("/disk"));
    omitted.into_iter().for_each(|point| files.omit(point));
    files.turn_off_at(operation);
    let acknowledged = run(runtime, &files, &MemoryIndex::default());
    let allowed = [expected(acknowledged), expected(acknowledged + 1)];
    for loss in [Loss::FirstWrites, Loss::Dice(operation)] {
        for again in 0.. {
            let after = files.after_power_loss(loss);
            after.turn_off_at(again);
            drop(open(&after, &MemoryIndex::default()));
            let name = |what: String| format!("power fails before operation {operation}, then {again}: {what}");
            let twice = after.after_power_loss(Loss::Dice(again));
            look(runtime, &twice, &MemoryIndex::default(), &allowed, true).map_err(name)?;
            if !after.is_off() {
                break;
            }
        }
    }
    Ok(files.is_off())
}

type Crash = fn(&Runtime, Option<SyncPoint>, u64) -> Result<bool, String>;

/// The first loss that any crash leads to.
fn first_loss(omitted: Option<SyncPoint>, crash: Crash) -> Result<u64, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut operation = 0;
    while crash(&runtime, omitted, operation)? {
        operation += 1;
    }
    Ok(operation)
}

#[test]
fn what_was_acknowledged_survives_a_power_loss_before_any_file_operation() {
    let operations = first_loss(None, power_fails).unwrap();
    assert!(operations > 150, "the workload has only {operations} operations");
}

#[test]
fn what_a_restarted_process_shows_survives_a_later_power_loss() {
    first_loss(None, kill_then_power_fails).unwrap();
}

#[test]
fn a_power_loss_during_recovery_loses_nothing_either() {
    first_loss(None, power_fails_twice).unwrap();
}

#[test]
fn a_failing_sync_loses_nothing_that_was_acknowledged_or_shown_later() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for point in SyncPoint::ALL {
        for earlier_steps in [0, 2, 5, 7, 12, 16, 22] {
            let files = SimulatedFiles::new(Path::new("/disk"));
            let index = MemoryIndex::with_history();
            let acknowledged = run_until(&runtime, &files, &index, |step| {
                if step == earlier_steps {
                    files.fail_next(point);
                }
            });
            let allowed = [expected(acknowledged), expected(acknowledged + 1)];
            for loss in LOSSES {
                let name =
                    |what: String| format!("{point:?} fails after {earlier_steps} steps, losing {loss:?}: {what}");
                let after = files.after_power_loss(loss);
                look(&runtime, &after, &MemoryIndex::default(), &allowed, true).map_err(name).unwrap();
                let killed = files.after_kill();
                let seen = look(&runtime, &killed, &MemoryIndex::default(), &allowed, false).map_err(name).unwrap();
                let after = killed.after_power_loss(loss);
                look(&runtime, &after, &MemoryIndex::default(), &[seen], true).map_err(name).unwrap();
            }
        }
    }
}

#[test]
fn leaving_out_any_one_kind_of_sync_is_caught() {
    for point in SyncPoint::ALL {
        let found = first_loss(Some(point), power_fails).and_then(|_| first_loss(Some(point), kill_then_power_fails));
        assert!(found.is_err(), "nothing is lost when {point:?} is left out: the sync or this test is pointless");
    }
}
