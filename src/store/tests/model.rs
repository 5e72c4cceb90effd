//! Random histories against an ordered map, with restarts and lost indexes in between.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use tokio::runtime::Runtime;

use super::ID;
use crate::store::files::SimulatedFiles;
use crate::store::{Batch, Compaction, IndexKind, MemoryIndex, Options, RealFiles, RowWrite, Store, Tree};

#[derive(Debug, Clone)]
enum Operation {
    Commit(Vec<(u8, Option<(u8, u16)>)>),
    Range(u8, u8, u8),
    Reopen,
    LoseIndex,
    Compact,
}

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn operation() -> impl Strategy<Value = Operation> {
    let value = prop_oneof![Just(0u16), 1..200u16, 1020..1030u16, Just(5000u16)];
    let row = (any::<u8>(), prop::option::weighted(0.7, (any::<u8>(), value)));
    prop_oneof![
        6 => prop::collection::vec(row, 0..12).prop_map(Operation::Commit),
        4 => any::<(u8, u8, u8)>().prop_map(|(from, to, limit)| Operation::Range(from, to, limit % 40)),
        1 => Just(Operation::Reopen),
        1 => Just(Operation::LoseIndex),
        1 => Just(Operation::Compact),
    ]
}

fn key(number: u8) -> Vec<u8> {
    vec![number / 8; 1 + usize::from(number % 8)]
}

fn check_range(store: &Store, model: &Model, from: &[u8], to: &[u8], limit: usize) {
    let found = store.range(Tree::Log, from, to, limit).unwrap();
    let inside = model.iter().filter(|(key, _)| key.as_slice() >= from && key.as_slice() < to);
    let expected: Vec<_> = inside.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect();
    assert_eq!(found, expected);
    let last = model.iter().rfind(|(key, _)| key.as_slice() >= from && key.as_slice() < to);
    assert_eq!(store.last(Tree::Log, from, to).unwrap(), last.map(|(key, value)| (key.clone(), value.clone())));
}

fn run(operations: Vec<Operation>, open: impl Fn() -> Store, lose_index: impl Fn()) {
    let runtime = Runtime::new().unwrap();
    let mut model = Model::new();
    let mut store = Some(open());
    for operation in operations {
        let current = store.clone().expect("it is open between operations");
        match operation {
            Operation::Commit(writes) => {
                let rows: Vec<RowWrite> = writes
                    .into_iter()
                    .map(|(number, value)| {
                        let value = value.map(|(byte, length)| vec![byte; usize::from(length)]);
                        RowWrite { tree: Tree::Log, key: key(number), value }
                    })
                    .collect();
                for row in rows.clone() {
                    match row.value {
                        Some(value) => model.insert(row.key, value),
                        None => model.remove(&row.key),
                    };
                }
                runtime.block_on(current.commit(Batch { rows, ..Batch::default() })).unwrap();
            }
            Operation::Compact => {
                let compaction = Compaction { live_percent: 90, ..Compaction::default() };
                runtime.block_on(current.compact(compaction)).unwrap();
            }
            Operation::Range(from, to, limit) => check_range(&current, &model, &key(from), &key(to), limit.into()),
            Operation::Reopen | Operation::LoseIndex => {
                drop((current, store.take()));
                if matches!(operation, Operation::LoseIndex) {
                    lose_index();
                }
                store = Some(open());
            }
        }
    }
    let store = store.expect("it is open at the end");
    check_range(&store, &model, b"", &[255; 9], usize::MAX);
    for number in 0..=255 {
        assert_eq!(store.get(Tree::Log, &key(number)).unwrap(), model.get(&key(number)).cloned());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_over_the_memory_index_is_that_of_a_map(operations in prop::collection::vec(operation(), 1..60)) {
        let files = SimulatedFiles::new(Path::new("/disk"));
        let index = MemoryIndex::default();
        let open = || {
            let index = IndexKind::Memory(index.clone());
            let options = Options { pack_bytes: 30_000, overlay_bytes: 10_000, index, ..Options::default() };
            Store::open(Path::new("/disk/store"), options, Arc::new(files.clone()), ID).unwrap().0
        };
        run(operations, open, || index.clear());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_over_sled_is_that_of_a_map(operations in prop::collection::vec(operation(), 1..40)) {
        let folder = tempfile::tempdir().unwrap();
        let open = || {
            let options = Options { pack_bytes: 30_000, ..Options::default() };
            Store::open(folder.path(), options, Arc::new(RealFiles), ID).unwrap().0
        };
        run(operations, open, || std::fs::remove_dir_all(folder.path().join("index")).unwrap());
    }
}
