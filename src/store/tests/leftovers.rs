//! Files that a crash brings back are looked at, and go.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use artimesh_core::model::Digest;

use super::{ID, noise, put_blob, sums_of};
use crate::store::files::{FileSystem, Loss, SimulatedFiles, SyncPoint};
use crate::store::groups::{self, GROUP_BYTES};
use crate::store::{Batch, IndexKind, MemoryIndex, OpenError, Options, Recovery, Store};

fn open(files: &SimulatedFiles, index: &MemoryIndex) -> Result<(Store, Recovery), OpenError> {
    let options = Options { index: IndexKind::Memory(index.clone()), ..Options::default() };
    Store::open(Path::new("/disk/store"), options, Arc::new(files.clone()), ID)
}

async fn pass(files: &SimulatedFiles, index: &MemoryIndex) -> Recovery {
    let (store, recovery) = open(files, index).unwrap();
    store.close().await;
    recovery
}

fn large() -> PathBuf {
    PathBuf::from("/disk/store/large")
}

fn names(files: &SimulatedFiles) -> Vec<String> {
    files.list(&large()).unwrap().into_iter().map(|file| file.name).collect()
}

/// A store whose only large blob was dropped, and whose file was removed without that being durable. The second index is as
/// it was before the blob was dropped.
async fn removed_without_a_sync() -> (SimulatedFiles, MemoryIndex, MemoryIndex) {
    let (files, index) = (SimulatedFiles::new(Path::new("/disk")), MemoryIndex::with_history());
    let (store, _) = open(&files, &index).unwrap();
    let digest = put_blob(&store, &noise(1, GROUP_BYTES + 1)).await;
    store.close().await;
    drop(store);
    let before = index.earlier(index.checkpoints() - 1);
    let (store, _) = open(&files, &index).unwrap();
    files.fail_next(SyncPoint::LargeRemoved);
    store.commit(Batch { dropped: vec![digest], ..Batch::default() }).await.unwrap();
    store.close().await;
    assert!(names(&files).is_empty() && files.failures() == 1);
    (files, index, before)
}

#[tokio::test]
async fn a_file_that_was_removed_before_a_kill_stays_removed() {
    let (files, index, _) = removed_without_a_sync().await;
    let killed = files.after_kill();
    pass(&killed, &index).await;
    let after = killed.after_power_loss(Loss::Everything);
    pass(&after, &index).await;
    assert!(names(&after).is_empty());
}

#[tokio::test]
async fn a_removal_that_an_open_repeats_is_repeated_by_the_next_if_need_be() {
    let (files, _, before) = removed_without_a_sync().await;
    let back = files.after_power_loss(Loss::Everything);
    assert_eq!(names(&back).len(), 1);
    back.fail_next(SyncPoint::LargeRemoved);
    assert!(open(&back, &before).is_err());
    // The index has come further than the folder.
    let again = back.after_power_loss(Loss::Everything);
    assert_eq!(names(&again).len(), 1);
    assert_eq!(pass(&again, &before).await.removed_files, 1);
    assert!(names(&again).is_empty());
}

#[tokio::test]
async fn of_two_files_for_one_fill_one_goes_on_and_the_other_goes() {
    let (files, index) = (SimulatedFiles::new(Path::new("/disk")), MemoryIndex::default());
    let bytes = noise(1, 2 * GROUP_BYTES);
    let (store, _) = open(&files, &index).unwrap();
    let fill = store.fill(Digest::of(&bytes), bytes.len() as u64, sums_of(&bytes)).await.unwrap();
    let values = bytes.chunks(GROUP_BYTES).enumerate();
    fill.set_groups(values.map(|(index, group)| groups::chaining_value(index as u32, [group])).collect())
        .await
        .unwrap();
    drop(fill);
    store.close().await;
    drop(store);
    let first = files.open(&large().join("0000000000000000.part")).unwrap();
    let mut copy = vec![0; first.size().unwrap() as usize];
    first.read_at(&mut copy, 0).unwrap();
    files.create(&large().join("0000000000000007.part")).unwrap().write_at(&copy, 0).unwrap();
    let recovery = pass(&files, &index).await;
    assert_eq!((recovery.resumable_fills, recovery.removed_files), (1, 1));
    assert_eq!(names(&files).iter().filter(|name| name.ends_with(".part")).count(), 1);
}
