//! Uploads, commits and reads on real files with sled.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use artimesh_core::model::{Assurance, Digest};
use bytes::Bytes;

use super::{ID, noise, open, put, put_blob, read, rows, stage, sums_of};
use crate::store::groups::{self, GROUP_BYTES};
use crate::store::{Batch, CommitError, IndexRecovery, Options, ReadError, RealFiles, RowWrite, Store, Tree};

const SIZES: [usize; 12] = [
    0,
    1,
    1024,
    1025,
    70_000,
    GROUP_BYTES - 1,
    GROUP_BYTES,
    GROUP_BYTES + 1,
    2 * GROUP_BYTES,
    2 * GROUP_BYTES + 1,
    3 * GROUP_BYTES + 5,
    7 * GROUP_BYTES,
];

fn large_files(folder: &Path) -> usize {
    fs::read_dir(folder.join("large")).unwrap().count()
}

async fn assert_all_there(store: &Store) {
    for size in SIZES {
        let bytes = noise(size as u64, size);
        let digest = Digest::of(&bytes);
        let info = store.blob(&digest).unwrap().unwrap();
        assert_eq!((info.size, info.checksums, info.assurance), (size as u64, sums_of(&bytes), Assurance::Confirmed));
        assert!(read(store, &digest).await.unwrap() == bytes, "{size} bytes come back as they were");
        let values = store.groups(&digest).unwrap().unwrap();
        assert_eq!(values.len(), if size > GROUP_BYTES { groups::count(size as u64) as usize } else { 0 });
        let reader = store.reader(&digest).unwrap().unwrap();
        for index in 0..reader.group_count() {
            reader.verify_group(index).await.unwrap();
        }
        let middle = (size / 3, size / 2);
        let part = reader.read_into(middle.0 as u64, vec![0; middle.1]).await.unwrap();
        assert_eq!(part, bytes[middle.0..middle.0 + middle.1]);
        for (offset, length) in [(size as u64, 1), (1, size), (u64::MAX, 1)] {
            let refused = reader.read_into(offset, vec![0; length]).await;
            assert!(matches!(refused, Err(ReadError::OutOfRange { .. })), "{length} at {offset} of {size}");
        }
        let tail = reader.read_at(size as u64, 10).await.unwrap();
        assert!(tail.is_empty());
        assert!(matches!(reader.read_at(size as u64 + 1, 1).await, Err(ReadError::OutOfRange { .. })));
    }
    assert_eq!(store.usage().blobs, SIZES.len() as u64);
}

#[tokio::test]
async fn blobs_of_every_size_come_back_after_a_restart_and_after_the_loss_of_the_index() {
    let folder = tempfile::tempdir().unwrap();
    let (store, recovery) = open(folder.path());
    assert!(recovery.is_created);
    for size in SIZES {
        put_blob(&store, &noise(size as u64, size)).await;
    }
    store.commit(rows([put("key", b"value"), put("long", &noise(1, 5000))])).await.unwrap();
    assert_all_there(&store).await;
    store.close().await;
    drop(store);

    let (store, recovery) = open(folder.path());
    assert_eq!((recovery.is_created, recovery.index, recovery.records_read), (false, IndexRecovery::Current, 0));
    assert_all_there(&store).await;
    store.close().await;
    drop(store);

    fs::remove_dir_all(folder.path().join("index")).unwrap();
    let (store, _) = open(folder.path());
    assert_all_there(&store).await;
    assert_eq!(store.get(Tree::Catalog, b"long").unwrap().unwrap(), noise(1, 5000));
    store.close().await;
    drop(store);

    fs::write(folder.path().join("index/db"), noise(3, 100_000)).unwrap();
    let (store, recovery) = open(folder.path());
    assert!(matches!(recovery.index, IndexRecovery::Rebuilt { .. }), "{recovery:?}");
    assert_all_there(&store).await;
    assert_eq!(store.store_id(), ID);
    drop(store);

    fs::write(folder.path().join("index/db"), b"").unwrap();
    let (store, recovery) = open(folder.path());
    assert!(matches!(recovery.index, IndexRecovery::Rebuilt { .. }), "{recovery:?}");
    assert_all_there(&store).await;
    let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let aside = names.filter(|name| name.to_string_lossy().starts_with("index.bad-")).count();
    assert_eq!(aside, 1, "only the newest bad index is kept");
}

#[tokio::test]
async fn a_store_reads_what_it_acknowledged_before_the_index_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    let value = noise(1, 2000);
    for round in 0u64..50 {
        store.commit(rows([put("a", &round.to_le_bytes()), put("b", &value)])).await.unwrap();
        assert_eq!(store.get(Tree::Catalog, b"a").unwrap().unwrap(), round.to_le_bytes());
        let found = store.range(Tree::Catalog, b"a", b"z", 10).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[1].1, value);
    }
    store.commit(rows([RowWrite::delete(Tree::Catalog, "a")])).await.unwrap();
    assert_eq!(store.get(Tree::Catalog, b"a").unwrap(), None);
    assert_eq!(store.range(Tree::Catalog, b"a", b"z", 10).unwrap().len(), 1);
    assert_eq!(store.range(Tree::Log, b"a", b"z", 10).unwrap().len(), 0, "trees are apart");
}

#[tokio::test]
async fn a_dropped_upload_and_a_dropped_staged_blob_leave_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    let mut ingest = store.ingest().unwrap();
    ingest.write(noise(1, 3 * GROUP_BYTES)).await.unwrap();
    assert_eq!(large_files(folder.path()), 1);
    drop(ingest);
    let staged = stage(&store, &noise(2, 2 * GROUP_BYTES)).await;
    let digest = staged.digest();
    drop(staged);
    assert!(store.blob(&digest).unwrap().is_none());
    store.close().await;
    assert_eq!(large_files(folder.path()), 0);
    assert_eq!(store.usage().large_bytes, 0);
}

#[tokio::test]
async fn an_upload_is_lost_with_a_call_that_was_dropped_halfway() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    for before in [0, 3 * GROUP_BYTES] {
        let mut ingest = store.ingest().unwrap();
        ingest.write(noise(1, before)).await.unwrap();
        // It waits at the latest for a place in a lane.
        let dropped = futures::FutureExt::now_or_never(ingest.write(noise(2, 64 * GROUP_BYTES)));
        assert!(dropped.is_none());
        let again = ingest.write(noise(3, 3 * GROUP_BYTES)).await;
        assert_eq!(again, Err(CommitError::Closed), "part of a group is missing");
        assert!(matches!(ingest.finish().await, Err(CommitError::Closed)));
    }
    store.close().await;
    assert_eq!(large_files(folder.path()), 0);
}

#[tokio::test]
async fn a_blob_that_is_stored_already_is_dropped_at_commit() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    for size in [10, 5000, GROUP_BYTES + 1] {
        let bytes = noise(7, size);
        let twice = vec![stage(&store, &bytes).await, stage(&store, &bytes).await];
        store.commit(Batch { blobs: twice, ..Batch::default() }).await.unwrap();
        let pack_bytes = store.usage().pack_bytes;
        put_blob(&store, &bytes).await;
        assert!(store.usage().pack_bytes - pack_bytes < 100, "only a commit record is written");
        assert!(read(&store, &Digest::of(&bytes)).await.unwrap() == bytes);
    }
    store.close().await;
    assert_eq!(large_files(folder.path()), 1);
    assert_eq!(store.usage().blobs, 3);
}

#[tokio::test]
async fn concurrent_commits_are_all_there_and_share_syncs() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    let commits = (0..200).map(|i| {
        let store = store.clone();
        async move { store.commit(rows([put(&format!("{i:03}"), b"x")])).await.unwrap() }
    });
    let numbers = futures::future::join_all(commits).await;
    assert!(numbers.iter().max().unwrap() < &200, "some shared a commit");
    assert_eq!(store.range(Tree::Catalog, b"", b"z", 1000).unwrap().len(), 200);
}

#[tokio::test]
async fn a_tiny_overlay_makes_commits_wait_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { overlay_bytes: 1, pack_bytes: 100_000, ..Options::default() };
    let (store, _) = Store::open(folder.path(), options, Arc::new(RealFiles), ID).unwrap();
    for round in 0..30 {
        store.commit(rows((0..50).map(|i| put(&format!("{round}/{i}"), &noise(i, 200))))).await.unwrap();
    }
    assert_eq!(store.range(Tree::Catalog, b"", b"z", 10_000).unwrap().len(), 1500);
    assert!(store.usage().packs > 2, "packs were rolled");
}

#[tokio::test]
async fn uploads_in_tiny_pieces_are_gathered() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    let bytes = noise(4, GROUP_BYTES + 777);
    let mut ingest = store.ingest().unwrap();
    for piece in bytes.chunks(61) {
        ingest.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    assert_eq!(ingest.size(), bytes.len() as u64);
    let staged = ingest.finish().await.unwrap();
    assert_eq!((staged.digest(), staged.size()), (Digest::of(&bytes), bytes.len() as u64));
    assert_eq!(staged.checksums(), sums_of(&bytes));
}

#[tokio::test]
async fn a_closed_store_reads_but_takes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    store.commit(rows([put("a", b"1")])).await.unwrap();
    store.close().await;
    store.close().await;
    assert_eq!(store.commit(rows([put("a", b"2")])).await, Err(CommitError::Closed));
    assert_eq!(store.get(Tree::Catalog, b"a").unwrap().unwrap(), b"1");
}

#[tokio::test]
async fn keys_and_values_have_limits() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    let long = "k".repeat(crate::store::KEY_BYTES_MAX);
    store.commit(rows([put(&long, &noise(1, crate::store::VALUE_BYTES_MAX))])).await.unwrap();
    assert_eq!(store.get(Tree::Catalog, long.as_bytes()).unwrap().unwrap().len(), crate::store::VALUE_BYTES_MAX);
    let refused = store.commit(rows([put(&(long + "k"), b"")])).await;
    assert!(matches!(refused, Err(CommitError::TooLarge { what: "key", .. })));
    let refused = store.commit(rows([put("k", &vec![0; crate::store::VALUE_BYTES_MAX + 1])])).await;
    assert!(matches!(refused, Err(CommitError::TooLarge { what: "value", .. })));
}
