//! An upload of bytes whose stored copy has rotted is worth what any upload is worth.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use artimesh_core::model::{Assurance, Digest};
use bytes::Bytes;

use super::{ID, noise, put, put_blob, read, rows, stage, sums_of};
use crate::store::files::{Loss, SimulatedFiles};
use crate::store::groups::GROUP_BYTES;
use crate::store::{
    Batch, Carriage, CommitError, IndexKind, Md5Turn, MemoryIndex, OpenError, Options, RealFiles, Scrub, Staged, Store,
    Walk,
};

/// Tiny, in the index; in a pack; in a file of its own.
const SIZES: [usize; 3] = [40, 5000, 2 * GROUP_BYTES + 5];

fn open(folder: &Path, verify_max_age: Duration) -> Store {
    // A pack for each blob: in the newest one a record that rotted couldn't be told from a torn end, had the index gone.
    let options = Options { verify_max_age, pack_bytes: 9000, ..Options::default() };
    Store::open(folder, options, Arc::new(RealFiles), ID).unwrap().0
}

/// Changes one bit of a stored blob on the disk.
fn rot(store: &Store, digest: &Digest, at: u64) {
    let reader = store.reader(digest).unwrap().unwrap();
    let (path, offset) = reader.extent().expect("on the disk");
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset + at).unwrap();
    file.write_all_at(&[byte[0] ^ 8], offset + at).unwrap();
}

/// Reads a blob as a download does, so that it counts as verified from then on.
async fn download(store: &Store, digest: &Digest) -> Option<Vec<u8>> {
    let mut stream = store.reader(digest).unwrap()?.stream(0..u64::MAX, Carriage::Copied { bytes_max: 1 << 20 });
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await {
        bytes.extend_from_slice(&piece.ok()?);
    }
    Some(bytes)
}

#[tokio::test]
async fn what_rotted_is_replaced_by_an_upload_of_the_same_bytes() {
    for size in [5000, SIZES[2]] {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), Duration::from_secs(3600));
        let (bytes, other) = (noise(1, size), noise(2, size));
        let digest = put_blob(&store, &bytes).await;
        put_blob(&store, &other).await;
        for at in [0, size as u64 - 1] {
            rot(&store, &digest, at);
            let staged = stage(&store, &bytes).await;
            let rotten = staged.replaces().expect("it is told").clone();
            assert_eq!(
                (rotten.digest, rotten.size_bytes, rotten.file.is_some()),
                (digest, size as u64, size > GROUP_BYTES)
            );
            store.commit(Batch { blobs: vec![staged], ..Batch::default() }).await.unwrap();
            assert!(read(&store, &digest).await.unwrap() == bytes);
            assert!(stage(&store, &other).await.replaces().is_none(), "a good copy stands for the upload");
            // Its groups were verified just now as far as anybody remembers: of the new copy that is true.
            assert!(download(&store, &digest).await.unwrap() == bytes);
            store.shared().outflow.forget();
        }
        assert_eq!(store.usage().blobs, 2);
        assert_eq!(store.blob(&digest).unwrap().unwrap().checksums, sums_of(&bytes));
        store.close().await;
        drop(store);
        std::fs::remove_dir_all(folder.path().join("index")).unwrap();
        let store = open(folder.path(), Duration::from_secs(3600));
        assert!(read(&store, &digest).await.unwrap() == bytes, "and when the index is built anew from the packs");
        assert_eq!(store.usage().blobs, 2);
        store.close().await;
        drop(store);
        let walked = Walk::of(folder.path(), &RealFiles).unwrap();
        assert!(walked.blobs.len() == 2 && walked.blobs.values().all(|blob| blob.is_whole), "{walked:?}");
        assert!(walked.orphans.is_empty(), "{walked:?}");
    }
}

#[tokio::test]
async fn a_copy_that_was_verified_lately_stands_for_an_upload_without_a_look() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), Duration::from_secs(3600));
    for (seed, size) in SIZES.into_iter().enumerate().skip(1) {
        let bytes = noise(seed as u64, size);
        let digest = put_blob(&store, &bytes).await;
        download(&store, &digest).await.unwrap();
        rot(&store, &digest, 7);
        assert!(stage(&store, &bytes).await.replaces().is_none(), "{size}: by a download");
        store.shared().outflow.forget();
        assert!(stage(&store, &bytes).await.replaces().is_some(), "{size}");
        let digest = put_blob(&store, &bytes).await;
        let scrubber = store.clone();
        let scrubbed = move || scrubber.scrub_here(Scrub::default(), &mut |_| panic!("nothing rotted")).unwrap();
        std::thread::spawn(scrubbed).join().unwrap();
        store.shared().outflow.forget();
        rot(&store, &digest, 7);
        assert!(stage(&store, &bytes).await.replaces().is_none(), "{size}: by a scrub");
        rot(&store, &digest, 7);
    }
    let strict = tempfile::tempdir().unwrap();
    let store = open(strict.path(), Duration::ZERO);
    let bytes = noise(9, 5000);
    let digest = put_blob(&store, &bytes).await;
    download(&store, &digest).await.unwrap();
    rot(&store, &digest, 7);
    assert!(stage(&store, &bytes).await.replaces().is_some(), "where nothing is taken for verified");
}

#[tokio::test]
async fn a_copy_whose_file_is_gone_is_replaced_and_confirmed_sums_stay() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), Duration::from_secs(3600));
    let bytes = noise(1, SIZES[2]);
    let digest = put_blob(&store, &bytes).await;
    let path = store.reader(&digest).unwrap().unwrap().extent().unwrap().0.to_owned();
    std::fs::remove_file(path).unwrap();
    let mut ingest = store.ingest().unwrap().with_md5(Md5Turn::Deferred);
    ingest.write(bytes.clone()).await.unwrap();
    let staged = ingest.finish().await.unwrap();
    store.commit(Batch { blobs: vec![staged], ..Batch::default() }).await.unwrap();
    assert!(read(&store, &digest).await.unwrap() == bytes);
    let info = store.blob(&digest).unwrap().unwrap();
    assert_eq!((info.assurance, info.checksums), (Assurance::Confirmed, sums_of(&bytes)));
}

#[tokio::test]
async fn of_several_uploads_at_once_one_takes_the_place_of_what_rotted() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), Duration::from_secs(3600));
    for size in [5000, SIZES[2]] {
        let bytes = noise(size as u64, size);
        let digest = put_blob(&store, &bytes).await;
        rot(&store, &digest, 3);
        let mut staged = Vec::new();
        for _ in 0..3 {
            staged.push(stage(&store, &bytes).await);
        }
        assert!(staged.iter().all(|staged| staged.replaces().is_some()));
        let last = staged.pop().unwrap();
        store.commit(Batch { blobs: staged, ..Batch::default() }).await.unwrap();
        let place = store.shared().blob(&digest).unwrap().unwrap().place;
        store.commit(Batch { blobs: vec![last], ..Batch::default() }).await.unwrap();
        assert_eq!(store.shared().blob(&digest).unwrap().unwrap().place, place, "the first one did it");
        assert!(read(&store, &digest).await.unwrap() == bytes);
    }
    assert_eq!(store.usage().blobs, 2);
}

/// With an index that is lost each time, so that everything is read from the packs.
fn open_simulated(files: &SimulatedFiles) -> Result<Store, OpenError> {
    let index = IndexKind::Memory(MemoryIndex::default());
    let options =
        Options { pack_bytes: 16 << 10, index_linger: Duration::ZERO, index, clock: || 7, ..Options::default() };
    Store::open(Path::new("/disk/store"), options, Arc::new(files.clone()), ID).map(|(store, _)| store)
}

async fn upload(store: &Store, bytes: &Bytes) -> Result<(), CommitError> {
    let mut ingest = store.ingest()?;
    ingest.write(bytes.clone()).await?;
    let staged: Staged = ingest.finish().await?;
    store.commit(Batch { blobs: vec![staged], ..Batch::default() }).await.map(|_| ())
}

/// A store whose blobs have rotted, as it was synced.
async fn rotten(blobs: &[Bytes]) -> SimulatedFiles {
    let files = SimulatedFiles::new(Path::new("/disk"));
    let store = open_simulated(&files).unwrap();
    for bytes in blobs {
        upload(&store, bytes).await.unwrap();
    }
    store.commit(rows([put("a", &noise(9, 14_000))])).await.unwrap();
    for bytes in blobs {
        let reader = store.reader(&Digest::of(bytes)).unwrap().unwrap();
        let (path, offset) = reader.extent().unwrap();
        files.rot(path, offset as usize + 100);
    }
    store.close().await;
    files
}

#[test]
fn an_upload_in_the_place_of_what_rotted_survives_any_crash_once_it_was_acknowledged() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let blobs = [noise(1, 5000), noise(2, GROUP_BYTES + 5)];
    for operation in 0.. {
        let files = runtime.block_on(rotten(&blobs)).after_power_loss(Loss::Nothing);
        files.turn_off_at(operation);
        let acknowledged = runtime.block_on(async {
            let Ok(store) = open_simulated(&files) else { return 0 };
            let mut acknowledged = 0;
            for bytes in &blobs {
                match upload(&store, bytes).await {
                    Ok(()) => acknowledged += 1,
                    Err(_) => break,
                }
            }
            store.close().await;
            acknowledged
        });
        for loss in [Loss::Everything, Loss::Nothing, Loss::FirstWrites, Loss::Dice(operation)] {
            let after = files.after_power_loss(loss);
            runtime.block_on(async {
                let store = open_simulated(&after).unwrap();
                assert_eq!(store.usage().blobs, 2, "off before operation {operation}, losing {loss:?}");
                for bytes in &blobs[..acknowledged] {
                    let found = download(&store, &Digest::of(bytes)).await;
                    assert!(found.is_some_and(|found| found == bytes[..]), "off before {operation}, losing {loss:?}");
                }
                store.close().await;
            });
        }
        if !files.is_off() {
            assert_eq!(acknowledged, 2);
            assert!(operation > 10, "the workload has only {operation} operations");
            break;
        }
    }
}
