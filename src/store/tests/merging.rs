//! However much came and went, there are packs for what is here, and few more.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{ID, await_index, noise, put, rows};
use crate::store::backup::{About, Plan};
use crate::store::files::{FileSystem as _, Loss, SimulatedFiles, SyncPoint};
use crate::store::pack::{FORMAT_MERGED, HOLLOW_PACK_BYTES, PackHeader};
use crate::store::removal::Pin;
use crate::store::{
    Compacted, Compaction, IndexFault, IndexKind, IndexRecovery, MemoryIndex, OpenError, Options, Recovery, Scrub,
    Store, Tree, Walk,
};

/// As in `compact`: so many that follow each other become one.
const RUN_MIN: usize = 8;

fn folder() -> PathBuf {
    PathBuf::from("/disk/store")
}

fn open(files: &SimulatedFiles, index: &MemoryIndex) -> Result<(Store, Recovery), OpenError> {
    let index = IndexKind::Memory(index.clone());
    let options =
        Options { pack_bytes: 20_000, index_linger: Duration::ZERO, index, clock: || 7_000, ..Options::default() };
    Store::open(&folder(), options, Arc::new(files.clone()), ID)
}

/// Numbers and sizes of the packs.
fn packs(files: &SimulatedFiles) -> Vec<(String, u64)> {
    let listed = files.list(&folder().join("packs")).unwrap();
    listed.into_iter().map(|file| (file.name, file.bytes)).collect()
}

/// How many of them hold nothing.
fn hollow(files: &SimulatedFiles) -> usize {
    packs(files).iter().filter(|(_, bytes)| *bytes <= HOLLOW_PACK_BYTES).count()
}

/// Fills one pack with what the next call makes void.
async fn fill(store: &Store, seed: u64) {
    store.commit(rows([put("filler", &noise(seed, 18_000))])).await.unwrap();
}

async fn compact(store: &Store) -> Compacted {
    await_index(store).await;
    store.compact(Compaction::default()).await.unwrap()
}

fn assert_shows(store: &Store, kept: &[u64], filler: u64) {
    for seed in kept {
        let value = store.get(Tree::Catalog, format!("keep/{seed}").as_bytes()).unwrap();
        assert_eq!(value.as_deref(), Some(&noise(*seed, 15_000)[..]), "{seed}");
    }
    assert_eq!(store.get(Tree::Catalog, b"filler").unwrap().as_deref(), Some(&noise(filler, 18_000)[..]));
}

#[tokio::test]
async fn the_number_of_packs_is_bounded_by_what_is_live_and_not_by_what_there_was() {
    let (files, index) = (SimulatedFiles::new(Path::new("/disk")), MemoryIndex::with_history());
    let (store, _) = open(&files, &index).unwrap();
    let (mut kept, mut merged) = (Vec::new(), 0);
    for round in 0..120 {
        if round % 40 == 11 {
            store.commit(rows([put(&format!("keep/{round}"), &noise(round, 15_000))])).await.unwrap();
            kept.push(round);
        }
        fill(&store, round).await;
        if round % 5 == 4 {
            merged += compact(&store).await.merged;
        }
        let bound = (kept.len() + 2) * RUN_MIN + 5;
        assert!(packs(&files).len() <= bound, "round {round}: {:?}", packs(&files));
    }
    assert!(merged > 60, "{merged}");
    assert_eq!(kept.len(), 3);
    assert_eq!(store.usage().packs as usize, packs(&files).len());
    assert_eq!(store.usage().pack_bytes, packs(&files).iter().map(|(_, bytes)| bytes).sum::<u64>());
    assert_shows(&store, &kept, 119);
    let scrubber = store.clone();
    let scrubbed = move || scrubber.scrub_here(Scrub::default(), &mut |_| panic!("nothing rotted")).unwrap();
    assert_eq!(std::thread::spawn(scrubbed).join().unwrap().damaged_records, 0);
    let last_commit = store.usage().last_commit;
    store.close().await;
    drop(store);

    let packs_before = packs(&files);
    let walk = Walk::of(&folder(), &files).unwrap();
    assert_eq!(walk.last_commit, last_commit);
    // With each index that there ever was, and with none.
    let mut compacted = 0;
    for number in 0..index.checkpoints() {
        let (store, recovery) = open(&files, &index.earlier(number)).unwrap();
        compacted += u32::from(recovery.index == IndexRecovery::Rebuilt { fault: IndexFault::Compacted });
        assert_eq!(recovery.last_commit, last_commit);
        assert_shows(&store, &kept, 119);
        store.close().await;
    }
    assert!(compacted > 50, "{compacted}: most checkpoints are in packs that were merged");
    let (store, recovery) = open(&files, &MemoryIndex::default()).unwrap();
    assert!(matches!(recovery.index, IndexRecovery::Rebuilt { .. }));
    assert_shows(&store, &kept, 119);
    assert_eq!(packs(&files), packs_before);
    // And it goes on.
    for round in 200..230 {
        fill(&store, round).await;
    }
    compact(&store).await;
    assert!(packs(&files).len() <= packs_before.len() + RUN_MIN, "{:?}", packs(&files));
    assert_shows(&store, &kept, 229);
}

#[tokio::test]
async fn a_backup_finds_all_packs_and_has_merging_wait() {
    let (files, index) = (SimulatedFiles::new(Path::new("/disk")), MemoryIndex::default());
    let (store, _) = open(&files, &index).unwrap();
    for seed in 0..5 {
        fill(&store, seed).await;
    }
    assert_eq!(compact(&store).await.merged, 0, "they are few");
    let pin = Pin::new(store.shared());
    for seed in 5..12 {
        fill(&store, seed).await;
    }
    let done = compact(&store).await;
    assert!(done.waits_for_backup && done.merged == 0, "{done:?}");
    drop(pin);
    let done = compact(&store).await;
    assert!(done.merged > 5 && !done.waits_for_backup, "{done:?}");
    let about = || About::new(&"07".repeat(32).parse().unwrap(), &"berlin".parse().unwrap(), 1_700_000_000_000);
    let planned = store.plan_backup(about(), Vec::new()).unwrap().about().files;
    assert_eq!(planned as usize, packs(&files).len());
    store.close().await;
    drop(store);
    Plan::of_stopped(about(), Vec::new(), &folder(), &files).unwrap();
    // One that is missing behind those that were merged is missed.
    let (last, _) = packs(&files).into_iter().rfind(|(_, bytes)| *bytes > HOLLOW_PACK_BYTES).unwrap();
    files.rename(&folder().join("packs").join(&last), &folder().join("packs/00000000000000ff.pack")).unwrap();
    assert!(Plan::of_stopped(about(), Vec::new(), &folder(), &files).is_err());
    assert!(open(&files, &index).is_err());
}

#[tokio::test]
async fn one_that_stands_for_others_is_written_as_ever_and_a_release_that_doesn_t_know_it_refuses_it() {
    let (files, index) = (SimulatedFiles::new(Path::new("/disk")), MemoryIndex::default());
    let (store, _) = open(&files, &index).unwrap();
    for seed in 0..12 {
        fill(&store, seed).await;
    }
    assert!(compact(&store).await.merged > 5);
    let path = folder().join("packs/0000000000000001.pack");
    let file = files.open(&path).unwrap();
    let mut bytes = vec![0; file.size().unwrap() as usize];
    file.read_at(&mut bytes, 0).unwrap();
    super::golden::check("merged.bin", &bytes);
    let header = PackHeader::read(file.as_ref()).unwrap().unwrap();
    assert_eq!((header.format, header.number, header.first_commit), (FORMAT_MERGED, 1, 1));
    assert_eq!(bytes.len() as u64, HOLLOW_PACK_BYTES);
    store.close().await;
    drop(store);
    let newer = PackHeader { format: FORMAT_MERGED + 1, ..header };
    file.write_at(&newer.encode(), 0).unwrap();
    assert!(matches!(open(&files, &index), Err(OpenError::Newer { version, .. }) if version == FORMAT_MERGED + 1));
    // One that says it ends before it begins is nobody's.
    file.write_at(&PackHeader { until: 0, ..header }.encode(), 0).unwrap();
    assert!(matches!(open(&files, &index), Err(OpenError::Foreign { .. })));
}

const LOSSES: [Loss; 8] = [
    Loss::Everything,
    Loss::Nothing,
    Loss::Bytes,
    Loss::Names,
    Loss::NewestName,
    Loss::Dice(1),
    Loss::Dice(2),
    Loss::Dice(3),
];

/// A store with just so many hollow packs that one more has them merged.
async fn almost() -> (SimulatedFiles, MemoryIndex) {
    let (files, index) = (SimulatedFiles::new(Path::new("/disk")), MemoryIndex::default());
    let (store, _) = open(&files, &index).unwrap();
    let mut seed = 0;
    while hollow(&files) < RUN_MIN - 1 {
        fill(&store, seed).await;
        assert_eq!(compact(&store).await.merged, 0);
        seed += 1;
    }
    fill(&store, 99).await;
    store.close().await;
    (files.after_power_loss(Loss::Nothing), index)
}

/// Compacts one more, merges, writes on; the filler that was acknowledged last, and whether there was a merge.
async fn workload(files: &SimulatedFiles, index: &MemoryIndex) -> (u64, bool) {
    let Ok((store, _)) = open(files, index) else { return (99, false) };
    let mut acknowledged = 99;
    let mut merged = 0;
    for seed in [100, 101] {
        if store.commit(rows([put("filler", &noise(seed, 18_000))])).await.is_err() {
            break;
        }
        acknowledged = seed;
        await_index(&store).await;
        merged += store.compact(Compaction::default()).await.map_or(0, |done| done.merged);
    }
    store.close().await;
    (acknowledged, merged > 0)
}

/// Power fails right before this operation: whether the workload ended before, and what is wrong with what is left.
fn power_fails(
    base: &(SimulatedFiles, MemoryIndex),
    omitted: Option<SyncPoint>,
    operation: u64,
) -> (bool, Result<(), String>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let files = base.0.after_power_loss(Loss::Nothing);
    omitted.into_iter().for_each(|point| files.omit(point));
    files.turn_off_at(operation);
    let (acknowledged, merged) = runtime.block_on(workload(&files, &MemoryIndex::default()));
    let is_over = !files.is_off();
    assert!(!is_over || merged, "the workload merges");
    for loss in LOSSES {
        let after = files.after_power_loss(loss);
        for again in 0..2 {
            let at = || format!("off before operation {operation}, losing {loss:?}, opened {again} times before");
            let (store, _) = match open(&after, &MemoryIndex::default()) {
                Ok(opened) => opened,
                Err(error) => return (is_over, Err(format!("{}: {error}", at()))),
            };
            let value = store.get(Tree::Catalog, b"filler").unwrap();
            let is_there = (acknowledged..=101).any(|seed| value.as_deref() == Some(&noise(seed, 18_000)[..]));
            runtime.block_on(store.close());
            if !is_there {
                return (is_over, Err(format!("{}: what was acknowledged is missing", at())));
            }
        }
    }
    (is_over, Ok(()))
}

#[test]
fn a_crash_at_any_time_of_a_merge_leaves_a_store_that_opens_with_all_that_was_acknowledged() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let base = runtime.block_on(almost());
    for operation in 0.. {
        let (is_over, outcome) = power_fails(&base, None, operation);
        outcome.unwrap();
        if is_over {
            assert!(operation > 20, "the workload has only {operation} operations");
            break;
        }
    }
    for point in [SyncPoint::HollowPack, SyncPoint::HollowFolder] {
        let lost = (0..).map(|operation| power_fails(&base, Some(point), operation));
        let lost =
            lost.take_while(|(is_over, outcome)| !is_over || outcome.is_err()).any(|(_, outcome)| outcome.is_err());
        assert!(lost, "{point:?} is needed");
    }
}
