//! Full disks, failing syncs, and damage at rest, on a simulated disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use artimesh_core::model::Digest;

use super::{ID, noise, put, put_blob, read, rows, stage};
use crate::store::files::{File, FileSystem, Loss, SimulatedFiles, SyncPoint};
use crate::store::groups::GROUP_BYTES;
use crate::store::index::Index;
use crate::store::{
    Batch, CommitError, IndexFault, IndexKind, IndexRecovery, MemoryIndex, OpenError, Options, Priority, ReadError,
    Recovery, Store, Tree,
};

struct Machine {
    files: SimulatedFiles,
    index: MemoryIndex,
    options: Options,
}

impl Machine {
    fn new() -> Machine {
        let index = MemoryIndex::default();
        let options = Options { pack_bytes: 20_000, index: IndexKind::Memory(index.clone()), ..Options::default() };
        Machine { files: SimulatedFiles::new(Path::new("/disk")), index, options }
    }

    fn open(&self) -> Result<(Store, Recovery), OpenError> {
        Store::open(Path::new("/disk/store"), self.options.clone(), Arc::new(self.files.clone()), ID)
    }

    fn pack(number: u64) -> PathBuf {
        PathBuf::from(format!("/disk/store/packs/{number:016x}.pack"))
    }

    fn file(&self, number: u64) -> Arc<dyn File> {
        self.files.open(&Self::pack(number)).unwrap()
    }

    /// A store of three packs: ten commits with a blob of 5,000 bytes and a row each.
    async fn with_three_packs() -> Machine {
        let machine = Machine::new();
        let (store, _) = machine.open().unwrap();
        for i in 0..10 {
            let blobs = vec![stage(&store, &noise(i, 5000)).await];
            let rows = vec![put(&format!("{i}"), b"row")];
            store.commit(Batch { rows, blobs, ..Batch::default() }).await.unwrap();
        }
        assert_eq!(store.usage().packs, 4);
        store.close().await;
        machine
    }
}

#[tokio::test]
async fn a_full_disk_refuses_the_batch_and_the_store_goes_on() {
    let machine = Machine::new();
    let (store, _) = machine.open().unwrap();
    store.commit(rows([put("a", b"1")])).await.unwrap();
    machine.files.limit(machine.files.used_bytes() + 3000);
    for size in [4000, GROUP_BYTES + 1] {
        let mut ingest = store.ingest().unwrap();
        let refused = match ingest.write(noise(1, size)).await {
            Ok(()) => match ingest.finish().await {
                Ok(staged) => store.commit(Batch { blobs: vec![staged], ..Batch::default() }).await.map(|_| ()),
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        assert!(matches!(refused, Err(CommitError::NoSpace { .. })), "{refused:?}");
    }
    let vital = Batch { priority: Priority::Vital, ..rows([put("b", &noise(1, 4000))]) };
    assert!(matches!(store.commit(vital).await, Err(CommitError::NoSpace { free_bytes: 0, .. })), "the device says so");
    store.commit(rows([put("a", b"2")])).await.unwrap();
    assert_eq!(store.usage().failed, None);
    machine.files.limit(u64::MAX);
    put_blob(&store, &noise(1, 4000)).await;
    store.close().await;
    drop(store);
    let (store, recovery) = machine.open().unwrap();
    assert_eq!(recovery.truncated_bytes, 0);
    assert_eq!(store.get(Tree::Catalog, b"a").unwrap().unwrap(), b"2");
    assert_eq!(store.get(Tree::Catalog, b"b").unwrap(), None);
    assert!(read(&store, &Digest::of(&noise(1, 4000))).await.is_some());
}

#[tokio::test]
async fn the_reserve_and_the_quota_are_kept_for_what_is_vital() {
    for is_quota in [false, true] {
        let mut machine = Machine::new();
        if is_quota {
            machine.options.quota_bytes = Some(10_000);
        } else {
            machine.files.limit(1_000_000);
            machine.options.reserve_bytes = 990_000;
        }
        let (store, _) = machine.open().unwrap();
        store.commit(rows([put("a", &noise(1, 5000))])).await.unwrap();
        let refused = store.commit(rows([put("b", &noise(1, 5000))])).await;
        assert!(matches!(refused, Err(CommitError::NoSpace { .. })), "{refused:?}");
        let vital = Batch { priority: Priority::Vital, ..rows([put("b", &noise(1, 5000))]) };
        store.commit(vital).await.unwrap();
        let refused = store.fill(Digest::of(b"x"), 50_000_000, super::sums_of(&noise(1, 1))).await;
        assert!(matches!(refused, Err(CommitError::NoSpace { .. })));
    }
}

#[tokio::test]
async fn a_failed_sync_fails_the_store_until_it_is_opened_again() {
    let machine = Machine::new();
    let (store, _) = machine.open().unwrap();
    store.commit(rows([put("a", b"1")])).await.unwrap();
    let staged = stage(&store, &noise(1, GROUP_BYTES + 1)).await;
    machine.files.fail_next(SyncPoint::Commit);
    let batch = Batch { blobs: vec![staged], ..rows([put("a", b"2")]) };
    assert!(matches!(store.commit(batch).await, Err(CommitError::Failed { .. })));
    assert!(matches!(store.commit(rows([put("a", b"3")])).await, Err(CommitError::Failed { .. })));
    assert!(matches!(store.ingest(), Err(CommitError::Failed { .. })));
    assert_eq!(store.get(Tree::Catalog, b"a").unwrap().unwrap(), b"1", "reading goes on");
    store.close().await;
    drop(store);
    let (store, _) = machine.open().unwrap();
    let seen = store.get(Tree::Catalog, b"a").unwrap().unwrap();
    assert_eq!(seen, b"2", "its bytes were in the page cache, so they are made durable and count");
    assert!(read(&store, &Digest::of(&noise(1, GROUP_BYTES + 1))).await.is_some(), "its file wasn't removed");
    drop(store);
    let after = Machine { files: machine.files.after_power_loss(Loss::Everything), ..machine };
    let (store, _) = after.open().unwrap();
    assert_eq!(store.get(Tree::Catalog, b"a").unwrap().unwrap(), seen, "what was shown stays");
}

#[tokio::test]
async fn a_torn_tail_of_the_newest_pack_is_cut() {
    let machine = Machine::with_three_packs().await;
    let file = machine.file(4);
    let size = file.size().unwrap();
    file.write_at(&noise(1, 777), size).unwrap();
    let (store, recovery) = machine.open().unwrap();
    assert_eq!(recovery.truncated_bytes, 777);
    assert_eq!(recovery.last_commit, 10);
    assert_eq!(store.range(Tree::Catalog, b"", b"z", 100).unwrap().len(), 10);
}

#[tokio::test]
async fn damage_before_a_later_commit_is_refused_with_file_and_offset() {
    let machine = Machine::new();
    let (store, _) = machine.open().unwrap();
    for i in 0..5 {
        store.commit(rows([put("key", &noise(i, 500))])).await.unwrap();
    }
    drop(store);
    machine.files.rot(&Machine::pack(1), 200);
    machine.index.clear();
    let refused = machine.open();
    let Err(OpenError::Damaged { file, offset, .. }) = refused else { panic!("it opened") };
    assert_eq!((file, offset), (Machine::pack(1), 64));
}

#[tokio::test]
async fn a_hole_in_an_older_pack_is_refused() {
    let machine = Machine::with_three_packs().await;
    machine.index.clear();
    let size = machine.file(2).size().unwrap();
    machine.file(2).set_size(size / 2).unwrap();
    assert!(matches!(machine.open(), Err(OpenError::Damaged { file, .. }) if file == Machine::pack(2)));
    machine.files.remove(&Machine::pack(2)).unwrap();
    assert!(matches!(machine.open(), Err(OpenError::Damaged { file, .. }) if file == Machine::pack(2)));
}

#[tokio::test]
async fn a_rebuild_reads_footers_and_no_blob_bytes_and_scans_without_them() {
    let machine = Machine::with_three_packs().await;
    machine.files.rot(&Machine::pack(1), 64 + 52 + 76 + 1000);
    machine.index.clear();
    let (store, recovery) = machine.open().unwrap();
    assert!(matches!(recovery.index, IndexRecovery::Rebuilt { .. }));
    assert_eq!((recovery.records_read, store.usage().blobs, recovery.damaged_blobs), (20, 10, 0));
    let reader = store.reader(&Digest::of(&noise(0, 5000))).unwrap().unwrap();
    assert!(matches!(reader.read_at(0, 5000).await, Err(ReadError::Damaged { .. })), "but a read notices");
    drop((reader, store));

    let machine = Machine::with_three_packs().await;
    machine.index.clear();
    for number in 1..4 {
        let file = machine.file(number);
        file.set_size(file.size().unwrap() - 1).unwrap();
    }
    let (store, recovery) = machine.open().unwrap();
    assert_eq!((recovery.records_read, store.usage().blobs), (20, 10));
    for i in 0..10 {
        assert!(read(&store, &Digest::of(&noise(i, 5000))).await.is_some());
    }
}

#[tokio::test]
async fn a_checkpoint_that_contradicts_the_packs_means_a_rebuild() {
    let other = Machine::with_three_packs().await;
    let mut machine = Machine::new();
    let (store, _) = machine.open().unwrap();
    store.commit(rows([put("a", b"1")])).await.unwrap();
    drop(store);
    machine.index = other.index.clone();
    machine.options.index = IndexKind::Memory(other.index.clone());
    let (store, recovery) = machine.open().unwrap();
    assert_eq!(recovery.index, IndexRecovery::Rebuilt { fault: IndexFault::Ahead });
    assert_eq!(store.range(Tree::Catalog, b"", b"z", 100).unwrap().len(), 1, "nothing of the other is left");
    drop(store);
    let mut foreign = machine.index.checkpoint().unwrap().unwrap();
    foreign.store_id = [9; 16];
    machine.index.set_checkpoint(&foreign).unwrap();
    let (_, recovery) = machine.open().unwrap();
    assert_eq!(recovery.index, IndexRecovery::Rebuilt { fault: IndexFault::Foreign });
}

#[tokio::test]
async fn large_files_without_packs_are_refused_and_not_tidied_away() {
    let machine = Machine::new();
    let (store, _) = machine.open().unwrap();
    put_blob(&store, &noise(1, GROUP_BYTES + 1)).await;
    drop(store);
    machine.files.remove(&Machine::pack(1)).unwrap();
    assert!(matches!(machine.open(), Err(OpenError::Damaged { file, .. }) if file == Machine::pack(1)));
    assert_eq!(machine.files.list(Path::new("/disk/store/large")).unwrap().len(), 1);
}

#[tokio::test]
async fn packs_of_another_store_or_a_newer_release_are_refused() {
    let machine = Machine::with_three_packs().await;
    let mut bytes = vec![0; 64];
    machine.file(2).read_at(&mut bytes, 0).unwrap();
    let mut header = crate::store::pack::PackHeader::decode(&bytes.clone().try_into().unwrap()).unwrap();
    header.store_id = [9; 16];
    machine.file(2).write_at(&header.encode(), 0).unwrap();
    assert!(matches!(machine.open(), Err(OpenError::Foreign { file }) if file == Machine::pack(2)));
    header.format = 4;
    machine.file(2).write_at(&header.encode(), 0).unwrap();
    assert!(matches!(machine.open(), Err(OpenError::Newer { version: 4, known: 3, .. })));
}

#[tokio::test]
async fn records_of_an_unknown_kind_are_skipped() {
    use crate::store::pack::PackHeader;
    use crate::store::pack::writer::Writer;
    let machine = Machine::new();
    let (store, _) = machine.open().unwrap();
    store.commit(rows([put("a", b"1")])).await.unwrap();
    drop(store);
    let file = machine.file(1);
    let end = file.size().unwrap();
    let header = PackHeader { format: 1, store_id: ID, number: 1, first_commit: 1, until: 1 };
    let mut writer = Writer::resume(file, header, end, Vec::new());
    let mut group = writer.group();
    group.push(4711, &Digest::ZERO, &[bytes::Bytes::from_static(b"from the future")]);
    writer.write(&mut group, 2, 0).unwrap();
    for _ in 0..2 {
        let (store, recovery) = machine.open().unwrap();
        assert_eq!((recovery.last_commit, recovery.truncated_bytes), (2, 0));
        assert_eq!(store.get(Tree::Catalog, b"a").unwrap().unwrap(), b"1");
        drop(store);
        machine.index.clear();
    }
}

#[tokio::test]
async fn an_early_sync_that_fails_ends_writing_as_the_last_one_would() {
    let machine = Machine::new();
    let (store, _) = machine.open().unwrap();
    machine.files.fail_next(SyncPoint::LargeFile);
    let mut ingest = store.ingest().unwrap();
    let group = noise(1, GROUP_BYTES);
    let mut refused = Ok(());
    for _ in 0..80 {
        refused = ingest.write(group.clone()).await;
        if refused.is_err() {
            break;
        }
    }
    assert!(matches!(refused, Err(CommitError::Failed { .. })), "{refused:?}");
    assert!(store.usage().failed.is_some_and(|reason| reason.contains("the disk doesn't answer")));
}
