//! Derived keys: whatever happens to store and index, none is missing, and at rest none is too many.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use artimesh_core::model::{Assurance, Digest};
use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};

use super::*;
use crate::store::{BlobInfo, Compaction, Derivation, IndexFault, IndexKind, IndexRecovery, MemoryIndex};

fn of_row(key: &[u8], value: &[u8], keys: &mut Vec<Vec<u8>>) {
    for number in 0..value[0] % 4 {
        keys.push([b"row/", &[number + value[0]][..], key].concat());
    }
}

fn of_blob(digest: &Digest, info: &BlobInfo, keys: &mut Vec<Vec<u8>>) {
    if info.assurance == Assurance::Confirmed {
        keys.push([b"blob/", &info.checksums.sha1[..], &digest.0].concat());
    }
}

const RULES: Derivation = Derivation { version: 3, tree: Tree::Catalog, of_row, of_blob };

fn options(index: IndexKind) -> Options {
    let derivation = Some(RULES);
    Options { pack_bytes: 20_000, index_linger: Duration::from_millis(1), index, derivation, ..Options::default() }
}

fn open_with(folder: &Path, options: Options) -> (Store, Recovery) {
    Store::open(folder, options, Arc::new(RealFiles), ID).unwrap()
}

/// What all rows and blobs come to.
fn expected(store: &Store) -> BTreeSet<Vec<u8>> {
    let mut keys = Vec::new();
    for (key, value) in store.range(Tree::Catalog, b"", b"~", usize::MAX).unwrap() {
        of_row(&key, &value, &mut keys);
    }
    for (digest, _) in store.blobs(&Digest::ZERO, usize::MAX).unwrap() {
        of_blob(&digest, &store.blob(&digest).unwrap().unwrap(), &mut keys);
    }
    keys.into_iter().collect()
}

fn found(store: &Store) -> BTreeSet<Vec<u8>> {
    let keys = store.derived(b"", b"~", usize::MAX).unwrap();
    assert!(keys.is_sorted());
    keys.into_iter().collect()
}

struct Dice(TestRng);

impl Dice {
    fn new(seed: u8) -> Dice {
        Dice(TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]))
    }

    fn below(&mut self, end: u32) -> u32 {
        self.0.next_u32() % end
    }

    fn one_in(&mut self, many: u32) -> bool {
        self.below(many) == 0
    }

    /// Rows over each other, some too long for the index, some of other trees.
    fn rows(&mut self) -> Vec<RowWrite> {
        let count = self.below(6);
        let mut row = || {
            let (key, value) = (format!("key-{}", self.below(12)), self.below(20) as u8);
            let tree = if self.one_in(6) { Tree::Log } else { Tree::Catalog };
            let bytes = if self.one_in(4) { 1500 } else { 20 };
            if self.one_in(4) { RowWrite::delete(tree, key) } else { RowWrite::put(tree, key, vec![value; bytes]) }
        };
        (0..count).map(|_| row()).collect()
    }

    async fn batch(&mut self, store: &Store) -> Batch {
        let mut batch = rows(self.rows());
        if self.one_in(3) {
            let bytes = noise(self.below(8).into(), 700 + 700 * self.below(2) as usize);
            let claimed = Staged::verified(Digest::of(&bytes), bytes.clone(), sums_of(&bytes));
            batch.blobs.push(if self.one_in(2) { claimed.unwrap() } else { stage(store, &bytes).await });
        }
        if self.one_in(8) {
            let bytes = noise(self.below(8).into(), 700);
            batch.dropped.push(Digest::of(&bytes));
        }
        batch
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_is_missing_and_at_rest_none_is_too_many() {
    for seed in 0..12 {
        let folder = tempfile::tempdir().unwrap();
        let mut dice = Dice::new(seed);
        let memory = MemoryIndex::with_history();
        let mut index = if seed % 3 == 0 { IndexKind::Sled } else { IndexKind::Memory(memory.clone()) };
        for _ in 0..6 {
            let (store, _) = open_with(folder.path(), options(index.clone()));
            // An index that was behind may have forgotten what a key came from.
            let found_first = found(&store);
            assert!(expected(&store).is_subset(&found_first), "seed {seed}");
            for _ in 0..40 {
                let batch = dice.batch(&store).await;
                store.commit(batch).await.unwrap();
                assert!(expected(&store).is_subset(&found(&store)), "seed {seed}");
            }
            if dice.one_in(2) {
                // A former value that is still in the index would go with its pack.
                while store.usage().overlay_bytes > 0 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                await_index(&store).await;
                store.compact(Compaction { live_percent: 90, ..Compaction::default() }).await.unwrap();
                assert!(expected(&store).is_subset(&found(&store)), "seed {seed}");
            }
            store.close().await;
            let left: Vec<Vec<u8>> = found(&store).difference(&expected(&store)).cloned().collect();
            let known = left.iter().all(|key| found_first.contains(key));
            assert!(known, "seed {seed}: {left:?} are of nothing");
            drop(store);
            match &index {
                IndexKind::Memory(last) => {
                    let number = dice.below(last.checkpoints() as u32) as usize;
                    let other = if dice.one_in(2) { last.earlier(number) } else { last.ahead_of(number) };
                    index = IndexKind::Memory(other.remembering(last, number));
                }
                IndexKind::Sled => std::fs::remove_dir_all(folder.path().join("index")).unwrap(),
            }
        }
        std::fs::remove_dir_all(folder.path().join("index")).ok();
        let (store, recovery) = open_with(folder.path(), options(IndexKind::Sled));
        assert!(matches!(recovery.index, IndexRecovery::Rebuilt { fault: IndexFault::Missing }));
        assert_eq!(found(&store), expected(&store), "seed {seed}: built anew");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_was_kept_by_other_rules_is_built_anew() {
    let folder = tempfile::tempdir().unwrap();
    let plain = Options::default();
    let derived = options(IndexKind::Sled);
    let other = Options { derivation: Some(Derivation { version: 4, ..RULES }), ..derived.clone() };
    let (store, _) = open_with(folder.path(), plain.clone());
    store.commit(rows([put("key", &[3; 10]), put("long", &[7; 2000])])).await.unwrap();
    store.close().await;
    assert_eq!(found(&store).len(), 0);
    drop(store);
    for (options, keys) in [(derived.clone(), 6), (other, 6), (plain, 0), (derived, 6)] {
        let (store, recovery) = open_with(folder.path(), options.clone());
        assert_eq!(recovery.index, IndexRecovery::Rebuilt { fault: IndexFault::Outdated });
        assert_eq!(found(&store).len(), keys);
        drop(store);
        let (_, recovery) = open_with(folder.path(), options);
        assert_eq!(recovery.index, IndexRecovery::Current);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_store_has_a_checkpoint_before_it_has_many_keys() {
    let (folder, memory) = (tempfile::tempdir().unwrap(), MemoryIndex::with_history());
    let (store, _) = open_with(folder.path(), options(IndexKind::Memory(memory.clone())));
    store.commit(rows([put("key", &[3; 10])])).await.unwrap();
    while memory.checkpoints() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let killed = IndexKind::Memory(memory.earlier(0));
    store.commit(rows([put("other", &[3; 10])])).await.unwrap();
    // As a kill leaves it: what was acknowledged, and the index as of its first checkpoint.
    let left = tempfile::tempdir().unwrap();
    copy_folder(folder.path(), left.path());
    store.close().await;
    let (store, recovery) = open_with(left.path(), options(killed));
    assert!(!matches!(recovery.index, IndexRecovery::Rebuilt { .. }), "{:?}", recovery.index);
    assert_eq!(found(&store), expected(&store));
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => copy_folder(&entry.path(), &to.join(entry.file_name())),
            false => drop(std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}
