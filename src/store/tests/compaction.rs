//! Packs that hold little give their space back, and nobody sees anything of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use artimesh_core::model::{Assurance, Digest};

use super::{ID, await_index, noise, put, put_blob, read, rows, stage};
use crate::store::files::{FileSystem, SimulatedFiles};
use crate::store::groups::GROUP_BYTES;
use crate::store::{
    Batch, Compacted, Compaction, IndexFault, IndexKind, IndexRecovery, MemoryIndex, Options, RealFiles, Recovery,
    RowWrite, Store, Tree, Verdict, Walk,
};

struct Machine {
    files: SimulatedFiles,
    index: MemoryIndex,
}

impl Machine {
    fn new() -> Machine {
        Machine { files: SimulatedFiles::new(Path::new("/disk")), index: MemoryIndex::with_history() }
    }

    fn open_with(&self, index: MemoryIndex) -> (Store, Recovery) {
        let options = Options { pack_bytes: 20_000, index: IndexKind::Memory(index), ..Options::default() };
        Store::open(Path::new("/disk/store"), options, Arc::new(self.files.clone()), ID).unwrap()
    }

    fn open(&self) -> Store {
        self.open_with(self.index.clone()).0
    }

    fn pack_sizes(&self) -> Vec<u64> {
        self.files.list(Path::new("/disk/store/packs")).unwrap().iter().map(|file| file.bytes).collect()
    }

    fn judge(&self, named: &[Digest]) -> Verdict {
        let walk = Walk::of(Path::new("/disk/store"), &self.files).unwrap();
        walk.judge(&named.iter().copied().collect())
    }
}

async fn compact(store: &Store, live_percent: u8) -> Compacted {
    await_index(store).await;
    store.compact(Compaction { live_percent, ..Compaction::default() }).await.unwrap()
}

/// Six packs; of what is in them every second blob and row goes.
async fn half_dead(store: &Store) -> (Vec<Digest>, BTreeMap<Vec<u8>, Vec<u8>>) {
    let (mut blobs, mut shown) = (Vec::new(), BTreeMap::new());
    let mut gone = Batch::default();
    for i in 0..40 {
        let blob = stage(store, &noise(i, if i % 5 == 0 { 200 } else { 2000 })).await;
        let digest = blob.digest();
        let value = noise(i, if i % 3 == 0 { 100 } else { 1500 });
        let key = format!("{i:02}");
        store.commit(Batch { blobs: vec![blob], ..rows([put(&key, &value)]) }).await.unwrap();
        if i % 2 == 0 {
            blobs.push(digest);
            shown.insert(key.into_bytes(), value.to_vec());
        } else {
            gone.dropped.push(digest);
            gone.rows.push(RowWrite::delete(Tree::Catalog, key));
        }
    }
    store.commit(gone).await.unwrap();
    store.commit(rows([put("filler", &noise(99, 18_000))])).await.unwrap();
    shown.insert(b"filler".to_vec(), noise(99, 18_000).to_vec());
    (blobs, shown)
}

async fn assert_shows(store: &Store, blobs: &[Digest], shown: &BTreeMap<Vec<u8>, Vec<u8>>) {
    let found: BTreeMap<_, _> = store.range(Tree::Catalog, b"", b"\xff", usize::MAX).unwrap().into_iter().collect();
    assert_eq!(&found, shown);
    for digest in blobs {
        let bytes = read(store, digest).await.unwrap_or_else(|| panic!("{digest} is missing"));
        assert_eq!(Digest::of(&bytes), *digest);
    }
    assert_eq!(store.usage().blobs, blobs.len() as u64);
}

#[tokio::test]
async fn compaction_gives_space_back_and_changes_nothing_that_anybody_sees() {
    let machine = Machine::new();
    let store = machine.open();
    let (blobs, shown) = half_dead(&store).await;
    let before: u64 = machine.pack_sizes().iter().sum();
    let dry = Compaction { live_percent: 100, is_dry: true, ..Compaction::default() };
    await_index(&store).await;
    let dry = store.compact(dry).await.unwrap();
    assert!(dry.compacted >= 4 && dry.carried.records == 0, "{dry:?}");
    assert_eq!(machine.pack_sizes().iter().sum::<u64>(), before, "a dry run changes nothing");

    let done = compact(&store, 100).await;
    assert!(done.compacted >= 4 && done.damaged.is_empty(), "{done:?}");
    let after: u64 = machine.pack_sizes().iter().sum();
    assert!(after < before * 7 / 10, "{before} → {after}");
    assert_eq!(store.usage().pack_bytes, after);
    assert_shows(&store, &blobs, &shown).await;
    store.close().await;
    drop(store);
    assert_eq!(machine.judge(&blobs), Verdict::default());

    let (store, recovery) = machine.open_with(machine.index.clone());
    assert_eq!(recovery.index, IndexRecovery::Current);
    assert_shows(&store, &blobs, &shown).await;
    store.close().await;
    drop(store);
    let (store, recovery) = machine.open_with(MemoryIndex::default());
    assert!(matches!(recovery.index, IndexRecovery::Rebuilt { .. }));
    assert_shows(&store, &blobs, &shown).await;
    put_blob(&store, &noise(1, 2000)).await;
    assert_eq!(store.usage().blobs, blobs.len() as u64 + 1);
}

#[tokio::test]
async fn an_index_of_any_age_is_brought_to_the_same_state_or_built_anew() {
    let machine = Machine::new();
    let store = machine.open();
    let (blobs, shown) = half_dead(&store).await;
    compact(&store, 100).await;
    store.commit(rows([RowWrite::delete(Tree::Catalog, "filler"), put("last", b"one")])).await.unwrap();
    compact(&store, 100).await;
    store.close().await;
    drop(store);
    let mut shown = shown;
    shown.remove(&b"filler"[..]);
    shown.insert(b"last".to_vec(), b"one".to_vec());
    let mut is_compacted = 0;
    for number in 0..machine.index.checkpoints() {
        for index in [machine.index.earlier(number), machine.index.ahead_of(number)] {
            let (store, recovery) = machine.open_with(index);
            is_compacted += u32::from(recovery.index == IndexRecovery::Rebuilt { fault: IndexFault::Compacted });
            assert_shows(&store, &blobs, &shown).await;
        }
    }
    assert!(is_compacted > 0, "some checkpoints are in packs that are hollow now");
}

#[tokio::test]
async fn what_was_deleted_stays_deleted_while_older_packs_hold_it_and_deletes_go_with_the_last_of_them() {
    let machine = Machine::new();
    let store = machine.open();
    let keep = noise(1, 15_000);
    store.commit(rows([put("gone", b"1"), put("keep", &keep)])).await.unwrap();
    put_blob(&store, &noise(2, 200)).await;
    let mut dead = Batch { dropped: vec![Digest::of(&noise(2, 200))], ..Batch::default() };
    dead.rows.extend([RowWrite::delete(Tree::Catalog, "gone"), put("dead", &noise(3, 12_000))]);
    store.commit(dead).await.unwrap();
    store.commit(rows([put("dead", &noise(4, 12_000))])).await.unwrap();
    store.commit(rows([put("dead", &noise(5, 12_000))])).await.unwrap();
    let done = compact(&store, 50).await;
    assert_eq!(done.compacted, 2, "the first pack is live: {done:?}");
    assert!(done.carried.records >= 2, "the deletes were repeated: {done:?}");
    store.close().await;
    drop(store);
    let (store, _) = machine.open_with(MemoryIndex::default());
    assert_eq!(store.get(Tree::Catalog, b"gone").unwrap(), None);
    assert!(store.blob(&Digest::of(&noise(2, 200))).unwrap().is_none());
    assert_eq!(store.usage().blobs, 0);
    drop(store);

    let store = machine.open();
    store.commit(rows([RowWrite::delete(Tree::Catalog, "keep"), put("dead", &noise(6, 16_000))])).await.unwrap();
    store.commit(rows([put("dead", &noise(7, 16_000))])).await.unwrap();
    store.commit(rows([put("dead", &noise(8, 16_000))])).await.unwrap();
    let done = compact(&store, 100).await;
    assert_eq!(done.carried.records, 0, "nothing older is left that they could be needed for: {done:?}");
    store.close().await;
    drop(store);
    let (store, _) = machine.open_with(MemoryIndex::default());
    assert_eq!(store.range(Tree::Catalog, b"", b"\xff", 10).unwrap(), [(b"dead".to_vec(), noise(8, 16_000).to_vec())]);
}

#[tokio::test]
async fn confirmed_sums_and_large_blobs_outlive_the_packs_that_named_them() {
    let machine = Machine::new();
    let store = machine.open();
    let mut digests = Vec::new();
    for size in [300, 4000, GROUP_BYTES + 9] {
        let bytes = noise(size as u64, size);
        let fill = store.fill(Digest::of(&bytes), size as u64, super::sums_of(&bytes)).await.unwrap();
        let chunks = bytes.chunks(GROUP_BYTES);
        let values =
            chunks.clone().enumerate().map(|(i, chunk)| crate::store::groups::chaining_value(i as u32, [chunk]));
        if size > GROUP_BYTES {
            fill.set_groups(values.collect()).await.unwrap();
        }
        for (index, chunk) in chunks.enumerate() {
            fill.write_group(index as u32, bytes.slice_ref(chunk)).await.unwrap();
        }
        let staged = fill.finish().await.unwrap();
        store.commit(Batch { blobs: vec![staged], ..Batch::default() }).await.unwrap();
        store.commit(rows([put("filler", &noise(1, 19_000))])).await.unwrap();
        store.confirm(&Digest::of(&bytes)).await.unwrap();
        digests.push(Digest::of(&bytes));
    }
    for i in 0..3 {
        store.commit(rows([put("filler", &noise(i, 19_000))])).await.unwrap();
    }
    for _ in 0..2 {
        compact(&store, 100).await;
        store.commit(rows([put("filler", &noise(9, 19_000))])).await.unwrap();
        store.commit(rows([put("filler", &noise(10, 19_000))])).await.unwrap();
    }
    store.close().await;
    drop(store);
    for index in [machine.index.clone(), MemoryIndex::default()] {
        let (store, _) = machine.open_with(index);
        for digest in &digests {
            assert_eq!(store.blob(digest).unwrap().unwrap().assurance, Assurance::Confirmed);
            read(&store, digest).await.unwrap();
        }
        assert_eq!(store.usage().blobs, 3);
    }
}

#[tokio::test]
async fn a_damaged_pack_stays_as_it_is() {
    let machine = Machine::new();
    let store = machine.open();
    let (blobs, _) = half_dead(&store).await;
    let sizes = machine.pack_sizes();
    let reader = store.reader(&blobs[2]).unwrap().unwrap();
    let (path, offset) = reader.extent().unwrap();
    let (path, offset) = (path.to_path_buf(), offset as usize);
    machine.files.rot(&path, offset + 7);
    let done = compact(&store, 100).await;
    assert_eq!(done.damaged.len(), 1, "{done:?}");
    assert_eq!(path, PathBuf::from(format!("/disk/store/packs/{:016x}.pack", done.damaged[0].0)));
    assert_eq!(machine.pack_sizes()[done.damaged[0].0 as usize - 1], sizes[done.damaged[0].0 as usize - 1]);
    assert!(done.compacted > 0, "the others were compacted");
    store.commit(Batch { dropped: vec![blobs[2]], ..Batch::default() }).await.unwrap();
    let done = compact(&store, 100).await;
    assert!(done.damaged.is_empty(), "what is damaged and doesn't count is in nobody's way: {done:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_writers_deletes_and_compaction_don_t_disturb_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { pack_bytes: 100_000, ..Options::default() };
    let (store, _) = Store::open(&folder.path().join("store"), options, Arc::new(RealFiles), ID).unwrap();
    let ended = Arc::new(AtomicBool::new(false));
    // Digests are read out of rows, which move as the blobs do; those below `keep` are never deleted.
    let keep = 30_u64;
    for i in 0..keep {
        let staged = stage(&store, &noise(i, 3000)).await;
        let value = [staged.digest().0.as_slice(), &noise(i, 1500)].concat();
        store.commit(Batch { blobs: vec![staged], ..rows([put(&format!("keep/{i:03}"), &value)]) }).await.unwrap();
    }
    let reader = tokio::spawn({
        let (store, ended) = (store.clone(), ended.clone());
        async move {
            let mut reads = 0_u64;
            while !ended.load(Ordering::Relaxed) {
                let found = store.range(Tree::Catalog, b"keep/", b"keep0", 100).unwrap();
                assert_eq!(found.len() as u64, keep);
                for (key, value) in found {
                    assert_eq!(store.get(Tree::Catalog, &key).unwrap().unwrap(), value);
                    let digest = Digest(value[..32].try_into().unwrap());
                    let bytes = read(&store, &digest).await.unwrap();
                    assert_eq!(Digest::of(&bytes), digest);
                    reads += 1;
                }
                tokio::task::yield_now().await;
            }
            reads
        }
    });
    let compactor = tokio::spawn({
        let (store, ended) = (store.clone(), ended.clone());
        async move {
            let mut compacted = 0;
            while !ended.load(Ordering::Relaxed) {
                let done = store.compact(Compaction { live_percent: 90, ..Compaction::default() }).await.unwrap();
                compacted += done.compacted;
                tokio::task::yield_now().await;
            }
            compacted
        }
    });
    let mut live = BTreeSet::new();
    let mut deletes = 0_u64;
    for round in 0..100_u64 {
        let mut batch = Batch::default();
        for i in 0..30 {
            let size = if round % 25 == 0 && i == 0 { GROUP_BYTES + 1 } else { 500 + 100 * i as usize };
            let staged = stage(&store, &noise(1000 + round * 100 + i, size)).await;
            live.insert(staged.digest());
            batch.blobs.push(staged);
            batch.rows.push(put(&format!("row/{i}"), &noise(round * 100 + i, 1200)));
        }
        store.commit(batch).await.unwrap();
        let dropped: Vec<Digest> = live.iter().copied().skip(3).collect();
        deletes += dropped.len() as u64;
        live.retain(|digest| !dropped.contains(digest));
        store.commit(Batch { dropped, ..Batch::default() }).await.unwrap();
    }
    ended.store(true, Ordering::Relaxed);
    let (reads, compacted) = (reader.await.unwrap(), compactor.await.unwrap());
    assert!(reads > 0 && compacted > 10 && deletes > 2900, "{reads} reads, {compacted} packs, {deletes} deletes");
    compact(&store, 100).await;
    store.close().await;
    drop(store);
    live.extend((0..keep).map(|i| Digest::of(&noise(i, 3000))));
    let walk = Walk::of(&folder.path().join("store"), &RealFiles).unwrap();
    assert_eq!(walk.judge(&live), Verdict::default());
    std::fs::remove_dir_all(folder.path().join("store/index")).unwrap();
    let (store, _) = super::open(&folder.path().join("store"));
    assert_eq!(store.usage().blobs, live.len() as u64);
    assert_eq!(store.range(Tree::Catalog, b"row/", b"row0", 100).unwrap().len(), 30);
}
