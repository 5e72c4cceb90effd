//! What rots is noticed before anybody needs it, and what the index still has is mended.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use artimesh_core::model::Digest;

use super::{ID, noise, put, put_blob, read, rows};
use crate::store::files::{FileSystem, SimulatedFiles};
use crate::store::groups::GROUP_BYTES;
use crate::store::{Batch, IndexKind, MemoryIndex, Options, Rotten, Scrub, Scrubbed, Store};

struct Machine {
    files: SimulatedFiles,
    index: MemoryIndex,
}

impl Machine {
    fn new() -> Machine {
        Machine { files: SimulatedFiles::new(Path::new("/disk")), index: MemoryIndex::default() }
    }

    fn open(&self) -> Store {
        let index = IndexKind::Memory(self.index.clone());
        let options = Options { pack_bytes: 20_000, index, clock: || 7_000, ..Options::default() };
        Store::open(Path::new("/disk/store"), options, Arc::new(self.files.clone()), ID).unwrap().0
    }

    /// Where the record of a blob in the first pack has its bytes: they stand there as they are.
    fn place_of(&self, bytes: &[u8]) -> (PathBuf, usize) {
        let path = PathBuf::from("/disk/store/packs/0000000000000001.pack");
        let file = self.files.open(&path).unwrap();
        let mut pack = vec![0; file.size().unwrap() as usize];
        file.read_at(&mut pack, 0).unwrap();
        let at = pack.windows(bytes.len()).position(|window| window == bytes).expect("it is in the first pack");
        (path, at)
    }

    fn rot(&self, bytes: &[u8]) {
        let (path, at) = self.place_of(bytes);
        self.files.rot(&path, at + bytes.len() / 2);
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let listed = self.files.list(&Path::new("/disk/store").join(folder)).unwrap();
        listed.into_iter().map(|file| file.name).collect()
    }
}

fn scrub(store: &Store) -> (Scrubbed, Vec<Rotten>) {
    let mut found = Vec::new();
    let store = store.clone();
    let run = move || {
        let done = store.scrub_here(Scrub::default(), &mut |rotten| found.extend_from_slice(rotten)).unwrap();
        (done, found)
    };
    std::thread::spawn(run).join().unwrap()
}

#[tokio::test]
async fn a_store_that_is_well_is_verified_and_that_is_remembered() {
    let machine = Machine::new();
    let store = machine.open();
    let mut digests = Vec::new();
    for size in [2000, 15_000, 9000, GROUP_BYTES + 7] {
        digests.push(put_blob(&store, &noise(size as u64, size)).await);
    }
    let tiny = put_blob(&store, &noise(1, 10)).await;
    assert_eq!(store.verified_ms(&digests[0]).unwrap(), None);
    let (done, found) = scrub(&store);
    assert!(found.is_empty() && !done.is_running && done.units >= 3, "{done:?}");
    assert_eq!((done.done_bytes, done.oldest_ms, done.ended_ms), (done.bytes, Some(7000), Some(7000)));
    store.close().await;
    drop(store);
    let store = machine.open();
    for digest in &digests {
        assert_eq!(store.verified_ms(digest).unwrap(), Some(7000));
    }
    assert_eq!(store.verified_ms(&tiny).unwrap(), None);
    assert_eq!(store.verified_ms(&Digest::ZERO).unwrap(), None);
    for (due_ms, units) in [(7000, 0), (7001, done.units)] {
        let due = Scrub { due_before_ms: Some(due_ms), ..Scrub::default() };
        let store = store.clone();
        let again = std::thread::spawn(move || store.scrub_here(due, &mut |_| {}).unwrap()).join().unwrap();
        assert_eq!(again.units, units, "only what is due is read");
    }
}

#[tokio::test]
async fn what_rotted_is_found_if_it_still_counts_and_mended_if_the_index_has_it() {
    let machine = Machine::new();
    let store = machine.open();
    let [tiny, small, dead] = [noise(1, 700), noise(2, 3000), noise(3, 4000)];
    for bytes in [&tiny, &small, &dead] {
        put_blob(&store, bytes).await;
    }
    store.commit(rows([put("key", &noise(4, 900))])).await.unwrap();
    let large = put_blob(&store, &noise(5, 2 * GROUP_BYTES)).await;
    let headless = put_blob(&store, &noise(6, GROUP_BYTES + 1)).await;
    store.commit(Batch { dropped: vec![Digest::of(&dead)], ..Batch::default() }).await.unwrap();
    for bytes in [&tiny, &small, &dead, &noise(4, 900)] {
        machine.rot(bytes);
    }
    machine.files.rot(Path::new("/disk/store/large/0000000000000000.blob"), 4096 + GROUP_BYTES + 3);
    machine.files.rot(Path::new("/disk/store/large/0000000000000001.blob"), 20);
    let (done, mut found) = scrub(&store);
    assert_eq!((done.rotten, done.mended, done.damaged_records), (3, 1, 1), "{done:?}");
    found.sort_by_key(|rotten| rotten.size_bytes);
    let told: Vec<_> = found.iter().map(|rotten| (rotten.digest, rotten.file)).collect();
    assert_eq!(told, [(Digest::of(&small), None), (headless, Some(1)), (large, Some(0))]);
    assert_eq!(store.verified_ms(&Digest::of(&small)).unwrap(), None);
    assert_eq!(read(&store, &Digest::of(&tiny)).await.unwrap(), tiny);

    let (done, _) = scrub(&store);
    assert_eq!((done.rotten, done.mended), (3, 0), "what was mended is well");
}

#[tokio::test]
async fn what_is_left_of_a_large_blob_is_kept_until_it_is_whole_again() {
    let machine = Machine::new();
    let store = machine.open();
    let bytes = noise(1, 2 * GROUP_BYTES + 9);
    let digest = put_blob(&store, &bytes).await;
    machine.files.rot(Path::new("/disk/store/large/0000000000000000.blob"), 5000);
    let (_, found) = scrub(&store);
    store.spoil(found[0].file.unwrap());
    store.commit(Batch { dropped: vec![digest], ..Batch::default() }).await.unwrap();
    store.close().await;
    drop(store);
    assert_eq!(machine.names("large"), ["0000000000000000.rotten"]);
    let store = machine.open();
    assert!(store.blob(&digest).unwrap().is_none());
    scrub(&store);
    assert_eq!(machine.names("large"), ["0000000000000000.rotten"], "nothing better is there");
    put_blob(&store, &bytes).await;
    scrub(&store);
    assert_eq!(machine.names("large"), ["0000000000000001.blob"]);
    assert_eq!(read(&store, &digest).await.unwrap(), bytes);
}
