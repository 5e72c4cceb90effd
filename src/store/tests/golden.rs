//! Examples of every stored format: read for ever, and written the same way.
//!
//! `ARTIMESH_WRITE_GOLDEN=1` writes them anew, for a format that was changed on purpose and got a new version.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use artimesh_core::model::{Assurance, Digest};
use bytes::Bytes;

use super::{ID, noise, put, read, rows, sums_of};
use crate::store::files::{FileSystem, SimulatedFiles};
use crate::store::groups::{self, GROUP_BYTES};
use crate::store::{Batch, Compaction, HOLLOW_PACK_BYTES, IndexKind, MemoryIndex, Options, RowWrite, Store, Tree};

fn folder() -> PathBuf {
    PathBuf::from("/disk/store")
}

pub(super) fn check(name: &str, written: &[u8]) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/store").join(name);
    if std::env::var_os("ARTIMESH_WRITE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, written).unwrap();
    }
    let golden = std::fs::read(&path).unwrap();
    assert!(golden == written, "{name}: the same values are no longer written as the same bytes");
    golden
}

fn bytes_of(files: &SimulatedFiles, path: &Path) -> Vec<u8> {
    let file = files.open(path).unwrap();
    let mut bytes = vec![0; file.size().unwrap() as usize];
    file.read_at(&mut bytes, 0).unwrap();
    bytes
}

fn open(files: &SimulatedFiles) -> Store {
    let index = IndexKind::Memory(MemoryIndex::default());
    let options = Options { pack_bytes: 9000, index, clock: || 1_700_000_000_000, ..Options::default() };
    Store::open(&folder(), options, Arc::new(files.clone()), ID).unwrap().0
}

fn pack(number: u64) -> PathBuf {
    folder().join(format!("packs/{number:016x}.pack"))
}

fn large(extension: &str) -> PathBuf {
    folder().join(format!("large/0000000000000000.{extension}"))
}

/// A store with every kind of record, a sealed pack and a large file; the map as it was when all groups were in.
async fn written() -> (SimulatedFiles, Vec<u8>) {
    let files = SimulatedFiles::new(Path::new("/disk"));
    let store = open(&files);
    let filled = noise(3, GROUP_BYTES + 5);
    let fill = store.fill(Digest::of(&filled), filled.len() as u64, sums_of(&filled)).await.unwrap();
    let chunks: Vec<&[u8]> = filled.chunks(GROUP_BYTES).collect();
    let values = chunks.iter().enumerate().map(|(index, chunk)| groups::chaining_value(index as u32, [*chunk]));
    fill.set_groups(values.collect()).await.unwrap();
    for index in [1, 0] {
        fill.write_group(index, filled.slice_ref(chunks[index as usize])).await.unwrap();
    }
    let map = bytes_of(&files, &large("map"));
    let mut blobs = vec![fill.finish().await.unwrap()];
    for bytes in [Bytes::from_static(b"a tiny blob"), noise(1, 2000)] {
        let mut ingest = store.ingest().unwrap();
        ingest.write(bytes).await.unwrap();
        blobs.push(ingest.finish().await.unwrap());
    }
    let writes = vec![put("key", b"value"), RowWrite::put(Tree::Meta, "long", noise(2, 1500).to_vec())];
    store.commit(Batch { rows: writes, blobs, ..Batch::default() }).await.unwrap();
    store.confirm(&Digest::of(&filled)).await.unwrap();
    store.commit(rows([RowWrite::delete(Tree::Catalog, "key"), RowWrite::put(Tree::Log, "entry", "1")])).await.unwrap();
    store.commit(rows([put("next", &noise(4, 6000))])).await.unwrap();
    store.close().await;
    (files, map)
}

#[tokio::test]
async fn every_stored_format_is_written_as_ever_and_read_for_ever() {
    let (files, map) = written().await;
    let sealed = check("pack-1.bin", &bytes_of(&files, &pack(1)));
    let newest = check("pack-2.bin", &bytes_of(&files, &pack(2)));
    check("map.bin", &map);
    let blob = bytes_of(&files, &large("blob"));
    let without_bytes = [&blob[..4096], &blob[4096 + GROUP_BYTES + 5..]].concat();
    let golden_blob = check("blob-without-bytes.bin", &without_bytes);

    let fresh = SimulatedFiles::new(Path::new("/disk"));
    for path in [folder(), folder().join("packs"), folder().join("large")] {
        fresh.create_folder(&path).unwrap();
    }
    let filled = noise(3, GROUP_BYTES + 5);
    let blob = [&golden_blob[..4096], &filled, &golden_blob[4096..]].concat();
    for (path, bytes) in [(pack(1), &sealed), (pack(2), &newest), (large("blob"), &blob)] {
        fresh.create(&path).unwrap().write_at(bytes, 0).unwrap();
    }
    let store = open(&fresh);
    assert_eq!(store.get(Tree::Catalog, b"key").unwrap(), None);
    assert_eq!(store.get(Tree::Log, b"entry").unwrap().unwrap(), b"1");
    assert_eq!(store.get(Tree::Meta, b"long").unwrap().unwrap(), noise(2, 1500));
    assert_eq!(store.get(Tree::Catalog, b"next").unwrap().unwrap(), noise(4, 6000));
    for bytes in [Bytes::from_static(b"a tiny blob"), noise(1, 2000), filled] {
        let info = store.blob(&Digest::of(&bytes)).unwrap().unwrap();
        assert_eq!((info.assurance, info.checksums), (Assurance::Confirmed, sums_of(&bytes)));
        assert!(read(&store, &Digest::of(&bytes)).await.unwrap() == bytes);
    }
    assert_eq!(store.groups(&Digest::of(&noise(3, GROUP_BYTES + 5))).unwrap().unwrap().len(), 2);
}

#[test]
fn a_map_that_was_written_once_is_read() {
    let files = SimulatedFiles::new(Path::new("/disk"));
    let path = Path::new("/disk/map");
    let golden = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/store/map.bin")).unwrap();
    files.create(path).unwrap().write_at(&golden, 0).unwrap();
    let digest = Digest::of(&noise(3, GROUP_BYTES + 5));
    let listed = crate::store::fill_map::FillMap::open(&files, path, digest).unwrap().1;
    assert_eq!(listed, [1, 0]);
    let other = crate::store::fill_map::FillMap::open(&files, path, Digest::ZERO).unwrap().1;
    assert!(other.is_empty(), "a map of another blob lists nothing");
}

/// A store from which a small and a large blob went, as it was then, and after its packs were compacted.
async fn removed() -> (SimulatedFiles, Vec<u8>) {
    let files = SimulatedFiles::new(Path::new("/disk"));
    let store = open(&files);
    let (mut blobs, mut dropped) = (Vec::new(), Vec::new());
    for bytes in [noise(1, 2000), noise(3, GROUP_BYTES + 5)] {
        let mut ingest = store.ingest().unwrap();
        ingest.write(bytes).await.unwrap();
        let staged = ingest.finish().await.unwrap();
        dropped.push(staged.digest());
        blobs.push(staged);
    }
    store.commit(Batch { blobs, ..rows([put("kept", b"value"), put("gone", b"value")]) }).await.unwrap();
    super::put_blob(&store, &noise(5, 1100)).await;
    let delete = RowWrite::delete(Tree::Catalog, "gone");
    store.commit(Batch { dropped, ..rows([delete, put("long", &noise(2, 1500))]) }).await.unwrap();
    let deleted = bytes_of(&files, &pack(2));
    for seed in [4, 6] {
        store.commit(rows([put("filler", &noise(seed, 8000))])).await.unwrap();
    }
    super::await_index(&store).await;
    store.compact(Compaction { live_percent: 90, ..Compaction::default() }).await.unwrap();
    store.close().await;
    (files, deleted)
}

#[tokio::test]
async fn deletes_and_compacted_packs_are_written_as_ever_and_read_for_ever() {
    let (files, deleted) = removed().await;
    check("pack-deleted.bin", &deleted);
    let packs = files.list(&folder().join("packs")).unwrap().len() as u64;
    let fresh = SimulatedFiles::new(Path::new("/disk"));
    for path in [folder(), folder().join("packs"), folder().join("large")] {
        fresh.create_folder(&path).unwrap();
    }
    for number in 1..=packs {
        let golden = check(&format!("compacted-{number}.bin"), &bytes_of(&files, &pack(number)));
        fresh.create(&pack(number)).unwrap().write_at(&golden, 0).unwrap();
    }
    assert_eq!(bytes_of(&fresh, &pack(1)).len() as u64, HOLLOW_PACK_BYTES, "the first pack is hollow");
    let store = open(&fresh);
    assert_eq!(store.get(Tree::Catalog, b"kept").unwrap().unwrap(), b"value");
    assert_eq!(store.get(Tree::Catalog, b"gone").unwrap(), None);
    assert_eq!(store.get(Tree::Catalog, b"long").unwrap().unwrap(), noise(2, 1500));
    assert_eq!(read(&store, &Digest::of(&noise(5, 1100))).await.unwrap(), noise(5, 1100));
    for bytes in [noise(1, 2000), noise(3, GROUP_BYTES + 5)] {
        assert!(store.blob(&Digest::of(&bytes)).unwrap().is_none());
    }
    assert_eq!(store.usage().blobs, 1);
}
