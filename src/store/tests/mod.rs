//! The store as a whole: behaviour on real files, against a model, and over every crash.

mod accounts;
mod backup;
mod blobs;
mod compaction;
mod crash;
mod deferred;
mod deletes;
mod derived;
mod duplicates;
mod faults;
mod fills;
mod golden;
mod index_damage;
mod leftovers;
mod merging;
mod model;
mod power;
mod scrub;
mod streams;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use artimesh_core::model::{Checksums, Digest};
use bytes::Bytes;

use super::{Batch, Options, RealFiles, Recovery, RowWrite, Staged, Store, Tree, sums};

const ID: [u8; 16] = *b"a store for test";

/// Bytes that no compression or repetition makes equal by chance.
fn noise(seed: u64, count: usize) -> Bytes {
    let mut bytes = vec![0; count];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.finalize_xof().fill(&mut bytes);
    bytes.into()
}

fn sums_of(bytes: &Bytes) -> Checksums {
    sums::of_small(std::slice::from_ref(bytes)).1
}

fn open(folder: &Path) -> (Store, Recovery) {
    Store::open(folder, Options::default(), Arc::new(RealFiles), ID).unwrap()
}

fn put(key: &str, value: &[u8]) -> RowWrite {
    RowWrite::put(Tree::Catalog, key, value)
}

fn rows(rows: impl IntoIterator<Item = RowWrite>) -> Batch {
    Batch { rows: rows.into_iter().collect(), ..Batch::default() }
}

async fn stage(store: &Store, bytes: &Bytes) -> Staged {
    let mut ingest = store.ingest().unwrap();
    for piece in bytes.chunks(100_001) {
        ingest.write(bytes.slice_ref(piece)).await.unwrap();
    }
    ingest.finish().await.unwrap()
}

async fn put_blob(store: &Store, bytes: &Bytes) -> Digest {
    let staged = stage(store, bytes).await;
    let digest = staged.digest();
    store.commit(Batch { blobs: vec![staged], ..Batch::default() }).await.unwrap();
    digest
}

/// Waits until the index has everything and its checkpoint is in the newest pack.
async fn await_index(store: &Store) {
    let shared = store.shared();
    while shared.failure().is_none() && shared.indexed_pack.load(Ordering::Acquire) < shared.mark().pack {
        std::thread::sleep(Duration::from_millis(1));
        tokio::task::yield_now().await;
    }
}

async fn read(store: &Store, digest: &Digest) -> Option<Vec<u8>> {
    let reader = store.reader(digest).unwrap()?;
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < reader.info().size {
        bytes.extend_from_slice(&reader.read_at(bytes.len() as u64, usize::MAX).await.unwrap());
    }
    Some(bytes)
}
