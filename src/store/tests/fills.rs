//! Blobs that arrive group by group, and claims that are confirmed.

use std::fs;
use std::path::Path;

use artimesh_core::model::{Assurance, Digest};
use bytes::Bytes;

use super::{noise, open, put_blob, read, sums_of};
use crate::store::groups::{self, ChainingValue, GROUP_BYTES};
use crate::store::{BadGroups, Batch, ConfirmError, Fill, FillError, ReadError, Store};

const SIZE: usize = 4 * GROUP_BYTES + 17;

fn values(bytes: &Bytes) -> Vec<ChainingValue> {
    bytes.chunks(GROUP_BYTES).enumerate().map(|(index, group)| groups::chaining_value(index as u32, [group])).collect()
}

fn group(bytes: &Bytes, index: u32) -> Bytes {
    let start = index as usize * GROUP_BYTES;
    bytes.slice(start..start + groups::length(index, bytes.len() as u64))
}

async fn fill_of(store: &Store, bytes: &Bytes) -> Fill {
    store.fill(Digest::of(bytes), bytes.len() as u64, sums_of(bytes)).await.unwrap()
}

async fn commit(store: &Store, fill: &Fill) {
    let blobs = vec![fill.finish().await.unwrap()];
    store.commit(Batch { blobs, ..Batch::default() }).await.unwrap();
}

fn names(folder: &Path) -> Vec<String> {
    let listed = fs::read_dir(folder.join("large")).unwrap();
    let mut names: Vec<_> = listed.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn groups_arrive_in_any_order_while_readers_wait_for_them() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    let bytes = noise(1, SIZE);
    let fill = fill_of(&store, &bytes).await;
    assert!(!fill.has_groups());
    assert!(matches!(fill.write_group(0, group(&bytes, 0)).await, Err(FillError::NoGroups)));
    let mut wrong = values(&bytes);
    wrong[2][0] ^= 1;
    assert!(matches!(fill.set_groups(wrong).await, Err(BadGroups::Mismatch { offered: 5, .. })));
    fill.set_groups(values(&bytes)).await.unwrap();

    let reader = fill_of(&store, &bytes).await;
    let expected = group(&bytes, 1);
    let waiting = tokio::spawn(async move {
        reader.wait_group(1).await.unwrap();
        assert!(reader.read_group(1).await.unwrap() == expected);
    });
    let swapped = fill.write_group(1, group(&bytes, 0)).await;
    assert!(matches!(swapped, Err(FillError::BadGroup { index: 1 })));
    for index in [3, 1, 4] {
        fill.write_group(index, group(&bytes, index)).await.unwrap();
    }
    waiting.await.unwrap();
    assert_eq!(fill.missing(), [0..1, 2..3]);
    assert!(matches!(fill.finish().await, Err(FillError::Incomplete { missing: 2 })));
    for index in [2, 0, 0] {
        fill.write_group(index, group(&bytes, index)).await.unwrap();
    }
    commit(&store, &fill).await;
    assert!(matches!(fill.finish().await, Err(FillError::Finished)));
    assert!(fill.read_group(4).await.unwrap() == group(&bytes, 4), "readers of the fill go on");
    assert!(read(&store, &Digest::of(&bytes)).await.unwrap() == bytes);
    assert_eq!(store.blob(&Digest::of(&bytes)).unwrap().unwrap().assurance, Assurance::Claimed);
    assert_eq!(store.groups(&Digest::of(&bytes)).unwrap().unwrap(), values(&bytes));
    assert_eq!(names(folder.path()), ["0000000000000000.blob"]);
}

#[tokio::test]
async fn a_fill_goes_on_after_a_restart_with_what_is_still_right() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    let bytes = noise(2, SIZE);
    let fill = fill_of(&store, &bytes).await;
    fill.set_groups(values(&bytes)).await.unwrap();
    for index in [0, 2, 4] {
        fill.write_group(index, group(&bytes, index)).await.unwrap();
    }
    drop(fill);
    let again = fill_of(&store, &bytes).await;
    assert_eq!(again.missing(), [1..2, 3..4], "within one run");
    drop(again);
    store.close().await;
    drop(store);

    let part = folder.path().join("large/0000000000000000.part");
    let file = fs::OpenOptions::new().write(true).open(&part).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"rot", 4096 + 2 * GROUP_BYTES as u64 + 99).unwrap();
    let (store, recovery) = open(folder.path());
    assert_eq!(recovery.resumable_fills, 1);
    let fill = fill_of(&store, &bytes).await;
    assert!(fill.has_groups());
    assert_eq!(
        (0..5).filter(|index| fill.has(*index)).collect::<Vec<_>>(),
        [0, 4],
        "the rotten group is fetched again"
    );
    for index in 1..4 {
        fill.write_group(index, group(&bytes, index)).await.unwrap();
    }
    commit(&store, &fill).await;
    assert!(read(&store, &Digest::of(&bytes)).await.unwrap() == bytes);
    drop((fill, store));
    let (store, recovery) = open(folder.path());
    assert_eq!((recovery.resumable_fills, recovery.removed_files), (0, 0));
    assert!(read(&store, &Digest::of(&bytes)).await.unwrap() == bytes);
}

#[tokio::test]
async fn a_failed_fill_wakes_its_readers_and_the_next_one_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    let bytes = noise(3, SIZE);
    let fill = fill_of(&store, &bytes).await;
    fill.set_groups(values(&bytes)).await.unwrap();
    fill.write_group(1, group(&bytes, 1)).await.unwrap();
    let reader = fill.clone();
    let waiting = tokio::spawn(async move { reader.wait_group(0).await });
    tokio::task::yield_now().await;
    fill.fail("no peer has it");
    assert!(matches!(waiting.await.unwrap(), Err(FillError::Abandoned { reason }) if reason == "no peer has it"));
    assert!(matches!(fill.finish().await, Err(FillError::Abandoned { .. })));
    let next = fill_of(&store, &bytes).await;
    assert_eq!(next.missing(), [0..1, 2..5]);
}

#[tokio::test]
async fn a_small_blob_is_one_group_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    for size in [0, 10, GROUP_BYTES] {
        let bytes = noise(4, size);
        let fill = fill_of(&store, &bytes).await;
        assert!(fill.has_groups() && fill.group_count() == 1);
        if size > 0 {
            assert!(matches!(fill.write_group(0, noise(9, size)).await, Err(FillError::BadGroup { index: 0 })));
        }
        fill.write_group(0, bytes.clone()).await.unwrap();
        assert!(fill.read_group(0).await.unwrap() == bytes);
        commit(&store, &fill).await;
        assert!(read(&store, &Digest::of(&bytes)).await.unwrap() == bytes);
    }
    assert!(names(folder.path()).is_empty());
}

#[tokio::test]
async fn claims_are_confirmed_or_refuted_by_the_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    for size in [100, SIZE] {
        let (honest, lied) = (noise(5, size), noise(6, size));
        for (bytes, claimed) in [(&honest, &honest), (&lied, &honest)] {
            let fill = store.fill(Digest::of(bytes), size as u64, sums_of(claimed)).await.unwrap();
            if size > GROUP_BYTES {
                fill.set_groups(values(bytes)).await.unwrap();
            }
            for index in 0..fill.group_count() {
                fill.write_group(index, group(bytes, index)).await.unwrap();
            }
            commit(&store, &fill).await;
        }
        store.confirm(&Digest::of(&honest)).await.unwrap();
        let refuted = store.confirm(&Digest::of(&lied)).await;
        assert!(matches!(refuted, Err(ConfirmError::Mismatch { computed, .. }) if *computed == sums_of(&lied)));
        put_blob(&store, &lied).await;
        assert_eq!(store.blob(&Digest::of(&lied)).unwrap().unwrap().checksums, sums_of(&lied), "an upload settles it");
    }
    assert!(matches!(store.confirm(&Digest::ZERO).await, Err(ConfirmError::Unknown)));
    store.close().await;
    drop(store);
    fs::remove_dir_all(folder.path().join("index")).unwrap();
    let (store, _) = open(folder.path());
    for bytes in [noise(5, 100), noise(5, SIZE), noise(6, SIZE)] {
        let info = store.blob(&Digest::of(&bytes)).unwrap().unwrap();
        assert_eq!((info.assurance, info.checksums), (Assurance::Confirmed, sums_of(&bytes)));
    }
}

#[tokio::test]
async fn a_rotten_group_is_found_when_it_is_verified() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    let bytes = noise(7, SIZE);
    let digest = put_blob(&store, &bytes).await;
    let path = folder.path().join("large/0000000000000000.blob");
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"rot", 4096 + GROUP_BYTES as u64 + 5).unwrap();
    let reader = store.reader(&digest).unwrap().unwrap();
    reader.verify_group(0).await.unwrap();
    let rotten = reader.verify_group(1).await;
    assert!(matches!(rotten, Err(ReadError::Damaged { offset, .. }) if offset == 4096 + GROUP_BYTES as u64));
}

#[tokio::test]
async fn a_fill_that_got_nowhere_gives_its_space_back() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    let bytes = noise(8, SIZE);
    drop(fill_of(&store, &bytes).await);
    let fill = fill_of(&store, &bytes).await;
    fill.set_groups(values(&bytes)).await.unwrap();
    drop(fill);
    store.close().await;
    assert_eq!(names(folder.path()), ["0000000000000001.map", "0000000000000001.part"]);
    assert_eq!(store.usage().large_bytes, SIZE as u64);
}

#[tokio::test]
async fn who_begins_while_a_blob_is_sealed_takes_a_file_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    let bytes = noise(21, SIZE);
    let fill = fill_of(&store, &bytes).await;
    fill.set_groups(values(&bytes)).await.unwrap();
    for index in 0..fill.group_count() {
        fill.write_group(index, group(&bytes, index)).await.unwrap();
    }
    let staged = fill.finish().await.unwrap();
    // As it is until the sealing has come to its end.
    store.shared().rest_fill(Digest::of(&bytes), 0, SIZE as u64);
    let other = fill_of(&store, &bytes).await;
    assert_eq!(other.missing().len(), 1);
    store.commit(Batch { blobs: vec![staged], ..Batch::default() }).await.unwrap();
    assert_eq!(read(&store, &Digest::of(&bytes)).await.unwrap(), bytes);
    assert!(names(folder.path()).contains(&"0000000000000000.blob".to_owned()), "{:?}", names(folder.path()));
    drop(other);
    assert!(store.discard_fill(&Digest::of(&bytes)), "what the other one began can go");
    assert_eq!(read(&store, &Digest::of(&bytes)).await.unwrap(), bytes);
}
