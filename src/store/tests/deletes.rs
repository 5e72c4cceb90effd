//! Blobs that go: at once for whoever looks, for good after a restart, and never those that come again.

use std::collections::BTreeSet;
use std::path::Path;

use artimesh_core::model::Digest;
use futures::future::join;

use super::{noise, open, put_blob, read, stage};
use crate::store::groups::GROUP_BYTES;
use crate::store::{Batch, RealFiles, Store, Walk};

const SIZES: [usize; 3] = [100, 9000, 2 * GROUP_BYTES + 1];

fn dropping(digests: impl IntoIterator<Item = Digest>) -> Batch {
    Batch { dropped: digests.into_iter().collect(), ..Batch::default() }
}

/// The blobs that are there, and what a walk from outside thinks of it.
async fn assert_holds(folder: &Path, store: Store, sizes: &[usize]) {
    assert_eq!(store.usage().blobs, sizes.len() as u64);
    store.close().await;
    drop(store);
    let named: BTreeSet<Digest> = sizes.iter().map(|size| Digest::of(&noise(*size as u64, *size))).collect();
    let verdict = Walk::of(&folder.join("store"), &RealFiles).unwrap().judge(&named);
    assert_eq!(verdict, crate::store::Verdict::default());
}

#[tokio::test]
async fn a_blob_that_was_dropped_is_gone_after_a_restart_and_after_the_loss_of_the_index() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("store");
    let (store, _) = open(&at);
    for size in SIZES {
        put_blob(&store, &noise(size as u64, size)).await;
    }
    let kept = noise(7, 500);
    put_blob(&store, &kept).await;
    let reader = store.reader(&Digest::of(&noise(SIZES[2] as u64, SIZES[2]))).unwrap().unwrap();
    store.commit(dropping(SIZES.map(|size| Digest::of(&noise(size as u64, size))))).await.unwrap();
    for lose_index in [false, true, true] {
        let (store, _) = if lose_index {
            std::fs::remove_dir_all(at.join("index")).unwrap();
            open(&at)
        } else {
            store.close().await;
            open(&at)
        };
        for size in SIZES {
            assert!(read(&store, &Digest::of(&noise(size as u64, size))).await.is_none(), "{size}");
        }
        assert_eq!(read(&store, &Digest::of(&kept)).await.unwrap(), kept);
        assert_eq!((store.usage().blobs, store.usage().large_bytes), (1, 0));
        store.close().await;
    }
    reader.verify_group(1).await.unwrap();
    assert_eq!(std::fs::read_dir(at.join("large")).unwrap().count(), 0, "whoever reads goes on, but the name is gone");
}

#[tokio::test]
async fn a_blob_that_comes_again_is_there_again() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("store");
    let (store, _) = open(&at);
    for _ in 0..3 {
        for size in SIZES {
            let bytes = noise(size as u64, size);
            let digest = put_blob(&store, &bytes).await;
            assert_eq!(read(&store, &digest).await.unwrap(), bytes);
            store.commit(dropping([digest])).await.unwrap();
            assert!(store.blob(&digest).unwrap().is_none());
            store.commit(dropping([digest])).await.unwrap();
        }
    }
    assert_eq!(store.usage().blobs, 0);
    for size in SIZES {
        let bytes = noise(size as u64, size);
        let staged = stage(&store, &bytes).await;
        let digest = staged.digest();
        store.commit(Batch { blobs: vec![staged], ..dropping([digest]) }).await.unwrap();
        assert_eq!(read(&store, &digest).await.unwrap(), bytes, "in one batch the delete comes first");
    }
    store.close().await;
    drop(store);
    std::fs::remove_dir_all(at.join("index")).unwrap();
    let (store, _) = open(&at);
    for size in SIZES {
        let bytes = noise(size as u64, size);
        assert_eq!(read(&store, &Digest::of(&bytes)).await.unwrap(), bytes);
    }
    assert_holds(folder.path(), store, &SIZES).await;
}

#[tokio::test]
async fn a_delete_in_the_group_of_a_put_counts_in_the_order_of_the_queue() {
    for size in SIZES {
        for is_put_first in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let (store, _) = open(&folder.path().join("store"));
            let bytes = noise(size as u64, size);
            let digest = put_blob(&store, &bytes).await;
            let staged = stage(&store, &bytes).await;
            let put = store.commit(Batch { blobs: vec![staged], ..Batch::default() });
            let drop_it = store.commit(dropping([digest]));
            // Both queue up before the committer can wake: one group, or two in the same order.
            if is_put_first {
                let (put, dropped) = join(put, drop_it).await;
                assert!(put.unwrap() <= dropped.unwrap());
                assert_holds(folder.path(), store, &[]).await;
            } else {
                let (dropped, put) = join(drop_it, put).await;
                assert!(dropped.unwrap() <= put.unwrap());
                assert_eq!(read(&store, &digest).await.unwrap(), bytes);
                assert_holds(folder.path(), store, &[size]).await;
            }
        }
    }
}

#[tokio::test]
async fn a_backup_that_is_being_made_keeps_what_it_promised() {
    use crate::store::backup::{About, Plan, read as unpack, write};
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("store");
    let (store, _) = open(&at);
    let digests: Vec<Digest> = {
        let mut digests = Vec::new();
        for size in SIZES {
            digests.push(put_blob(&store, &noise(size as u64, size)).await);
        }
        digests
    };
    let about = About::new(&"07".repeat(32).parse().unwrap(), &"berlin".parse().unwrap(), 1_700_000_000_000);
    let plan: Plan = store.plan_backup(about, Vec::new()).unwrap();
    store.commit(dropping(digests.clone())).await.unwrap();
    put_blob(&store, &noise(9, 10)).await;
    let mut archive = Vec::new();
    write(&plan, &RealFiles, &mut archive).unwrap();
    drop(plan);
    store.close().await;
    assert_eq!(std::fs::read_dir(at.join("large")).unwrap().count(), 0, "removed when the backup was done");
    let into = folder.path().join("copy");
    std::fs::create_dir(&into).unwrap();
    unpack(archive.as_slice(), Some(&into)).unwrap();
    let (copy, _) = open(&into.join("store"));
    for (digest, size) in digests.iter().zip(SIZES) {
        assert_eq!(read(&copy, digest).await.unwrap(), noise(size as u64, size));
    }
}
