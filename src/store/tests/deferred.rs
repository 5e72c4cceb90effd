//! An MD5 that was put off is computed later, whatever happens meanwhile.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use artimesh_core::model::{Assurance, Checksums, Digest};
use bytes::Bytes;

use super::{ID, noise, open, put, put_blob, sums_of};
use crate::store::files::{Loss, SimulatedFiles};
use crate::store::groups::GROUP_BYTES;
use crate::store::{
    Batch, CommitError, ConfirmError, IndexKind, Md5Turn, MemoryIndex, Options, Staged, Store, has_md5,
};

const SIZE: usize = GROUP_BYTES + 5;

async fn stage(store: &Store, bytes: &Bytes) -> Result<Staged, CommitError> {
    let mut ingest = store.ingest()?.with_md5(Md5Turn::Deferred);
    ingest.write(bytes.clone()).await?;
    ingest.finish().await
}

async fn put_deferred(store: &Store, bytes: &Bytes) -> Result<Digest, CommitError> {
    let staged = stage(store, bytes).await?;
    let digest = staged.digest();
    store.commit(Batch { blobs: vec![staged], ..Batch::default() }).await?;
    Ok(digest)
}

/// Computes whatever is listed; how many blobs that was.
async fn sum_all(store: &Store) -> Result<u64, ConfirmError> {
    let (mut after, mut confirmed) = (None, 0);
    loop {
        let summed = store.sum_some(after, HashSet::new()).await?;
        assert!(summed.failed.is_empty(), "{:?}", summed.failed);
        confirmed += summed.confirmed;
        after = summed.next;
        if after.is_none() {
            return Ok(confirmed);
        }
    }
}

async fn is_nothing_listed(store: &Store) -> bool {
    store.sum_some(None, HashSet::new()).await.unwrap().next.is_none()
}

#[tokio::test]
async fn a_large_upload_gets_its_md5_later_and_a_small_one_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    let (small, large) = (noise(1, GROUP_BYTES), noise(2, SIZE));
    let staged = stage(&store, &large).await.unwrap();
    assert_eq!(staged.checksums(), Checksums { md5: [0; 16], ..sums_of(&large) });
    drop(staged);
    assert_eq!(stage(&store, &small).await.unwrap().checksums(), sums_of(&small));
    let digest = put_deferred(&store, &large).await.unwrap();
    assert_eq!(store.confirmed_sums(&digest).unwrap(), None);
    put_deferred(&store, &large).await.unwrap();
    put_deferred(&store, &small).await.unwrap();
    assert_eq!(sum_all(&store).await.unwrap(), 1);
    assert_eq!(store.confirmed_sums(&digest).unwrap(), Some(sums_of(&large)));
    assert!(is_nothing_listed(&store).await);
    put_deferred(&store, &large).await.unwrap();
    assert_eq!(store.confirmed_sums(&digest).unwrap(), Some(sums_of(&large)), "what is known stays known");
}

#[tokio::test]
async fn what_was_put_off_survives_a_restart_and_the_loss_of_the_index() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = [noise(3, SIZE), noise(4, 3 * GROUP_BYTES)];
    let (store, _) = open(folder.path());
    let first = put_deferred(&store, &bytes[0]).await.unwrap();
    store.close().await;
    drop(store);
    let (store, _) = open(folder.path());
    let second = put_deferred(&store, &bytes[1]).await.unwrap();
    store.close().await;
    drop(store);
    fs::remove_dir_all(folder.path().join("index")).unwrap();
    let (store, _) = open(folder.path());
    assert_eq!(sum_all(&store).await.unwrap(), 2);
    for (digest, bytes) in [first, second].iter().zip(&bytes) {
        assert_eq!(store.confirmed_sums(digest).unwrap(), Some(sums_of(bytes)));
    }
}

#[tokio::test]
async fn what_is_gone_or_known_otherwise_leaves_the_list() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    let (dropped, again) = (noise(5, SIZE), noise(6, SIZE));
    let digest = put_deferred(&store, &dropped).await.unwrap();
    store.commit(Batch { dropped: vec![digest], ..Batch::default() }).await.unwrap();
    put_deferred(&store, &again).await.unwrap();
    put_blob(&store, &again).await;
    assert_eq!(store.confirmed_sums(&Digest::of(&again)).unwrap(), Some(sums_of(&again)));
    assert!(!is_nothing_listed(&store).await);
    assert_eq!(sum_all(&store).await.unwrap(), 0);
    assert!(is_nothing_listed(&store).await);
    assert_eq!(put_deferred(&store, &dropped).await.unwrap(), digest);
    assert_eq!(sum_all(&store).await.unwrap(), 1, "it came back, and is listed again");
}

#[tokio::test]
async fn an_author_who_put_md5_off_has_claimed_nothing_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    let (honest, lied) = (noise(7, 5000), noise(8, 5000));
    let mut blobs = Vec::new();
    for (bytes, claimed) in [(&honest, &honest), (&lied, &honest)] {
        let claimed = Checksums { md5: [0; 16], ..sums_of(claimed) };
        blobs.push(Staged::verified(Digest::of(bytes), bytes.clone(), claimed).unwrap());
    }
    store.commit(Batch { blobs, ..Batch::default() }).await.unwrap();
    let summed = store.sum_some(None, HashSet::new()).await.unwrap();
    assert_eq!(summed.confirmed, 2);
    assert!(
        matches!(&summed.failed[..], [(digest, ConfirmError::Mismatch { .. })] if *digest == Digest::of(&lied)),
        "{:?}",
        summed.failed
    );
    for bytes in [&honest, &lied] {
        assert_eq!(store.confirmed_sums(&Digest::of(bytes)).unwrap(), Some(sums_of(bytes)));
    }
}

#[tokio::test]
async fn whoever_needs_it_now_has_it_computed_now() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    let bytes = noise(9, SIZE);
    let digest = put_deferred(&store, &bytes).await.unwrap();
    store.confirm(&digest).await.unwrap();
    assert_eq!(store.confirmed_sums(&digest).unwrap(), Some(sums_of(&bytes)));
    assert!(is_nothing_listed(&store).await);
}

/// Puts a blob, computes what was put off, and writes once more; ends when the machine goes off.
async fn workload(files: &SimulatedFiles, bytes: &Bytes) {
    let Ok(store) = open_simulated(files) else { return };
    let done = async {
        put_deferred(&store, bytes).await.ok()?;
        sum_all(&store).await.ok()?;
        store.commit(super::rows([put("a", b"1")])).await.ok()
    };
    done.await;
    store.close().await;
}

/// With an index that is lost each time, so that everything is read from the packs.
fn open_simulated(files: &SimulatedFiles) -> Result<Store, crate::store::OpenError> {
    let index = IndexKind::Memory(MemoryIndex::default());
    let options =
        Options { pack_bytes: 16 << 10, index_linger: Duration::ZERO, index, clock: || 7, ..Options::default() };
    Store::open(Path::new("/disk/store"), options, Arc::new(files.clone()), ID).map(|(store, _)| store)
}

#[test]
fn a_crash_at_any_time_leaves_the_md5_known_or_listed() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let bytes = noise(10, SIZE);
    for operation in 0.. {
        let files = SimulatedFiles::new(Path::new("/disk"));
        files.turn_off_at(operation);
        runtime.block_on(workload(&files, &bytes));
        for loss in [Loss::Everything, Loss::Nothing, Loss::FirstWrites, Loss::Dice(operation)] {
            let after = files.after_power_loss(loss);
            runtime.block_on(async {
                let store = open_simulated(&after).unwrap();
                if let Some(info) = store.blob(&Digest::of(&bytes)).unwrap() {
                    assert_eq!(info.assurance == Assurance::Confirmed, has_md5(&info.checksums));
                    sum_all(&store).await.unwrap();
                    let known = store.confirmed_sums(&Digest::of(&bytes)).unwrap();
                    assert_eq!(known, Some(sums_of(&bytes)), "off before operation {operation}, losing {loss:?}");
                }
                store.close().await;
            });
        }
        if !files.is_off() {
            assert!(operation > 20, "the workload has only {operation} operations");
            break;
        }
    }
}
