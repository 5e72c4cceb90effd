//! Blobs on their way out: every range of every kind of blob, from memory or from a cold disk, whole or rotten.

use std::fs;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use artimesh_core::model::Digest;
use bytes::Bytes;
use rustix::fs::{Advice, fadvise};

use super::{ID, noise, open, put_blob};
use crate::store::files::SimulatedFiles;
use crate::store::groups::GROUP_BYTES;
use crate::store::mapping::file_range;
use crate::store::{Carriage, IndexKind, MemoryIndex, Options, ReadError, RealFiles, Store};

const COPIED: Carriage = Carriage::Copied { bytes_max: 256 << 10 };
const BOTH: [Carriage; 2] = [Carriage::Mapped, COPIED];

async fn pieces(
    store: &Store,
    digest: &Digest,
    range: Range<u64>,
    carriage: Carriage,
) -> Result<Vec<Bytes>, ReadError> {
    let mut stream = store.reader(digest).unwrap().unwrap().stream(range, carriage);
    let mut pieces = Vec::new();
    while let Some(piece) = stream.next().await {
        pieces.push(piece?);
    }
    Ok(pieces)
}

/// Has the kernel forget what it has in memory of the files in `folder`, as far as it listens.
fn forget_pages(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let file = fs::File::open(entry.unwrap().path()).unwrap();
        file.sync_all().unwrap();
        fadvise(&file, 0, None, Advice::DontNeed).unwrap();
    }
}

/// Flips a bit of the one file in `folder` at which `wanted` stands, `at` bytes behind its start.
fn rot(folder: &Path, wanted: &[u8], at: usize) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        let Some(start) = bytes.windows(64).position(|window| window == &wanted[..64]) else { continue };
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&[bytes[start + at] ^ 1], (start + at) as u64).unwrap();
        return;
    }
    panic!("the bytes are nowhere");
}

#[tokio::test]
async fn every_range_comes_as_it_was_stored_from_memory_and_from_the_disk() {
    const MIB: u64 = GROUP_BYTES as u64;
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    for size in [0, 1, 1024, 5000, 300_000, MIB, MIB + 1, 9 * MIB + 77] {
        let blob = noise(size, size as usize);
        let digest = put_blob(&store, &blob).await;
        let ranges =
            [0..size, 0..1, size / 2..size, 1..size.saturating_sub(1), MIB - 1..MIB + 1, 3 * MIB - 5..8 * MIB + 5];
        for range in ranges.into_iter().filter(|range| range.start <= range.end && range.end <= size) {
            for carriage in BOTH {
                for folder in [folder.path().join("packs"), folder.path().join("large")] {
                    forget_pages(&folder);
                }
                let whole = pieces(&store, &digest, range.clone(), carriage).await.unwrap().concat();
                let expected = &blob[range.start as usize..range.end as usize];
                assert!(whole == expected, "{range:?} of {size} bytes, {carriage:?}");
            }
        }
    }
    let past = pieces(&store, &Digest::of(&noise(5000, 5000)), 4990..6000, Carriage::Mapped).await.unwrap();
    assert_eq!(past.concat().len(), 10, "nothing comes after the end");
}

#[tokio::test]
async fn what_is_mapped_is_handed_out_by_reference_and_in_few_pieces() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    for size in [5000, 1 << 20, 40 << 20] {
        let digest = put_blob(&store, &noise(size, size as usize)).await;
        // Hundreds of readers who don't read on hold addresses, and nothing of their own.
        for _ in 0..if size < 1 << 21 { 100 } else { 2 } {
            let mapped = pieces(&store, &digest, 0..size, Carriage::Mapped).await.unwrap();
            assert!(mapped.iter().all(|piece| file_range(piece).is_some()), "a piece of {size} bytes was copied");
        }
        let warm = pieces(&store, &digest, 0..size, Carriage::Mapped).await.unwrap();
        assert!(warm.len() as u64 <= 2 + size / (4 << 20), "{} pieces of {size} bytes", warm.len());
        let copied = pieces(&store, &digest, 0..size, COPIED).await.unwrap();
        assert!(copied.iter().all(|piece| file_range(piece).is_none() && piece.len() <= 256 << 10));
    }
}

#[tokio::test]
async fn a_stream_goes_on_while_its_pack_grows_and_when_its_file_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    let (small, large) = (noise(1, 700_000), noise(2, 6 << 20));
    let (small_digest, large_digest) = (put_blob(&store, &small).await, put_blob(&store, &large).await);
    let mut before = store.reader(&small_digest).unwrap().unwrap().stream(0..700_000, Carriage::Mapped);
    let mut gone = store.reader(&large_digest).unwrap().unwrap().stream(0..6 << 20, Carriage::Mapped);
    let first = gone.next().await.unwrap().unwrap();
    let mut later = Vec::new();
    for seed in 10..20 {
        later.push((put_blob(&store, &noise(seed, 500_000)).await, noise(seed, 500_000)));
        let (digest, bytes) = later.last().unwrap();
        let read = pieces(&store, digest, 0..500_000, Carriage::Mapped).await.unwrap();
        assert!(read.concat() == *bytes, "what was appended is read as well");
    }
    for entry in fs::read_dir(folder.path().join("large")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    assert!(before.next().await.unwrap().unwrap() == small);
    let mut whole = first.to_vec();
    while let Some(piece) = gone.next().await {
        whole.extend_from_slice(&piece.unwrap());
    }
    assert!(whole == large);
}

#[tokio::test]
async fn what_rotted_does_not_leave_unless_it_was_verified_lately() {
    for (size, file) in [(90_000_usize, "packs"), (5 << 20, "large")] {
        for (max_age, lately) in [(Duration::from_secs(3600), true), (Duration::ZERO, false)] {
            let folder = tempfile::tempdir().unwrap();
            let options = Options { verify_max_age: max_age, ..Options::default() };
            let (store, _) = Store::open(folder.path(), options, Arc::new(RealFiles), ID).unwrap();
            let blob = noise(3, size);
            let digest = put_blob(&store, &blob).await;
            assert!(pieces(&store, &digest, 0..size as u64, Carriage::Mapped).await.unwrap().concat() == blob);
            rot(&folder.path().join(file), &blob, size - 9);
            for carriage in BOTH {
                let read = pieces(&store, &digest, 0..size as u64, carriage).await;
                assert_eq!(read.is_ok(), lately, "{size} bytes, {carriage:?}");
                let elsewhere = pieces(&store, &digest, 0..1000, carriage).await;
                assert_eq!(elsewhere.is_ok(), lately || size > GROUP_BYTES, "only its own group is refused");
            }
            store.close().await;
            drop(store);
            let (store, _) = open(folder.path());
            let read = pieces(&store, &digest, 0..size as u64, Carriage::Mapped).await;
            assert!(matches!(read, Err(ReadError::Damaged { .. })), "a start forgets what was verified");
        }
    }
}

#[tokio::test]
async fn where_nothing_can_be_mapped_bytes_are_read() {
    let options = Options { index: IndexKind::Memory(MemoryIndex::default()), ..Options::default() };
    let (store, _) =
        Store::open(Path::new("/disk/store"), options, Arc::new(SimulatedFiles::new(Path::new("/disk"))), ID).unwrap();
    for size in [10_000_u64, 3 << 20] {
        let blob = noise(size, size as usize);
        let digest = put_blob(&store, &blob).await;
        let read = pieces(&store, &digest, 0..size, Carriage::Mapped).await.unwrap();
        assert!(read.iter().all(|piece| file_range(piece).is_none()) && read.concat() == blob);
    }
}
