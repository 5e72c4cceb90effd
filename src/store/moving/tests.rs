//! A store is moved, and the power fails before each file operation of that.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use artimesh_core::model::Digest;
use bytes::Bytes;
use tokio::runtime::Runtime;

use super::*;
use crate::store::files::{Loss, SimulatedFiles, SyncPoint};
use crate::store::{Batch, IndexKind, MemoryIndex, Options, RealFiles, RowWrite, Store, Tree, Walk};

const ID: [u8; 16] = *b"a store to move!";
const LOSSES: [Loss; 10] = [
    Loss::Everything,
    Loss::Nothing,
    Loss::Bytes,
    Loss::Names,
    Loss::FirstWrites,
    Loss::NewestName,
    Loss::Dice(1),
    Loss::Dice(2),
    Loss::Dice(3),
    Loss::Dice(4),
];

fn noise(seed: u64, count: usize) -> Bytes {
    let mut bytes = vec![0; count];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes.into()
}

fn blobs() -> Vec<Bytes> {
    vec![noise(1, 100), noise(2, 9000), noise(3, (1 << 20) + 5), noise(4, 9000), noise(5, 9000)]
}

fn open(files: &SimulatedFiles, folder: &Path) -> Result<Store, String> {
    let index = IndexKind::Memory(MemoryIndex::default());
    let options = Options { pack_bytes: 16 << 10, index_linger: Duration::ZERO, index, ..Options::default() };
    Store::open(folder, options, Arc::new(files.clone()), ID).map(|(store, _)| store).map_err(|error| error.to_string())
}

fn data() -> PathBuf {
    "/disk/node".into()
}

fn new_place() -> PathBuf {
    "/disk/big/place".into()
}

/// A disk with a store in the usual place and room for another; all of it durable.
fn disk(runtime: &Runtime) -> SimulatedFiles {
    let files = SimulatedFiles::new(Path::new("/disk"));
    for folder in [data(), "/disk/big".into()] {
        files.create_folder(&folder).unwrap();
    }
    files.sync_folder(Path::new("/disk"), SyncPoint::StoreFolder).unwrap();
    runtime.block_on(async {
        let store = open(&files, &data().join("store")).unwrap();
        for bytes in blobs() {
            let mut ingest = store.ingest().unwrap();
            ingest.write(bytes).await.unwrap();
            let blobs = vec![ingest.finish().await.unwrap()];
            let rows = vec![RowWrite::put(Tree::Catalog, "row", b"value")];
            store.commit(Batch { rows, blobs, ..Batch::default() }).await.unwrap();
        }
        store.close().await;
    });
    files
}

/// Moves it, as far as the power lasts.
fn relocate(runtime: &Runtime, files: &SimulatedFiles, to: &Path, keeps_old: bool) -> Result<(), String> {
    let location = Location::of(&data(), files).map_err(|error| error.to_string())?;
    let told = |error: MoveError| error.to_string();
    let plan = Move::plan(files, &location.folder, to, 0).map_err(told)?;
    plan.copy(&mut |_, _| ()).map_err(told)?;
    // To open it makes its names durable once more: what doesn't do so before must be noticed all the same.
    if !files.omits(SyncPoint::MovedNames) {
        runtime.block_on(async {
            open(files, to)?.close().await;
            Ok::<(), String>(())
        })?;
    }
    let location = plan.switch(&data(), keeps_old).map_err(told)?;
    clear_leftover(files, &data(), &location).map_err(told)
}

/// Where the store is, if all of it is there.
fn whole_at(runtime: &Runtime, files: &SimulatedFiles) -> Result<PathBuf, String> {
    let location = Location::of(&data(), files).map_err(|error| error.to_string())?;
    location.check(files).map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let store = open(files, &location.folder)?;
        for bytes in blobs() {
            let reader = store.reader(&Digest::of(&bytes)).map_err(|error| error.to_string())?;
            let reader = reader.ok_or_else(|| format!("{} lacks a blob", location.folder.display()))?;
            for index in 0..reader.group_count() {
                reader.verify_group(index).await.map_err(|error| error.to_string())?;
            }
        }
        store.close().await;
        Ok::<(), String>(())
    })?;
    clear_leftover(files, &data(), &location).map_err(|error| error.to_string())?;
    Ok(location.folder)
}

/// The power fails before each operation of a move.
fn first_loss(omitted: Option<SyncPoint>) -> Result<u64, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let ready = disk(&runtime);
    for operation in 0.. {
        let files = ready.after_kill();
        omitted.into_iter().for_each(|point| files.omit(point));
        files.turn_off_at(files.operations() + operation);
        let moved = relocate(&runtime, &files, &new_place(), false);
        assert_eq!(moved.is_ok(), !files.is_off(), "{moved:?}");
        for loss in LOSSES {
            let loss = if let Loss::Dice(seed) = loss { Loss::Dice(seed << 32 | operation) } else { loss };
            let name = |what: String| format!("power fails before operation {operation}, losing {loss:?}: {what}");
            let after = files.after_power_loss(loss);
            let place = whole_at(&runtime, &after).map_err(name)?;
            if moved.is_ok() && place != new_place() {
                return Err(name("it is back in the old place".into()));
            }
            // Whatever is left in the new place, the move can be repeated.
            if place != new_place() && omitted.is_none_or(|point| point == SyncPoint::MoveMarker) {
                relocate(&runtime, &after, &new_place(), false).map_err(name)?;
                assert_eq!(whole_at(&runtime, &after).map_err(name)?, new_place());
            }
        }
        let killed = files.after_kill();
        whole_at(&runtime, &killed)?;
        if !files.is_off() {
            return Ok(operation);
        }
    }
    unreachable!("the loop has no end")
}

#[test]
fn a_move_that_is_cut_off_anywhere_leaves_one_whole_store() {
    let operations = first_loss(None).unwrap();
    assert!(operations > 40, "the move has only {operations} operations");
}

#[test]
fn leaving_out_any_one_kind_of_sync_of_a_move_is_caught() {
    for point in SyncPoint::OF_MOVES {
        assert!(first_loss(Some(point)).is_err(), "nothing is lost when {point:?} is left out");
    }
}

#[test]
fn a_disk_that_reads_back_something_else_is_not_used() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let files = disk(&runtime);
    let plan = Move::plan(&files, &data().join("store"), &new_place(), 0).unwrap();
    let mut is_rotten = false;
    let result = plan.copy(&mut |stage, _| {
        if stage == Stage::Verify && !std::mem::replace(&mut is_rotten, true) {
            files.rot(&new_place().join("large/0000000000000000.blob"), 70_000);
        }
    });
    assert!(matches!(result, Err(MoveError::Different(_))), "{result:?}");
    assert_eq!(whole_at(&runtime, &files).unwrap(), data().join("store"));
}

#[test]
fn a_place_that_will_not_do_is_refused_and_nothing_is_changed() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path().canonicalize().unwrap();
    let (from, to) = (root.join("store"), root.join("to"));
    drop(Store::open(&from, Options::default(), Arc::new(RealFiles), ID).unwrap());
    let refused = |to: &Path, index_bytes| Move::plan(&RealFiles, &from, to, index_bytes).err().unwrap();
    assert!(matches!(refused(&from, 0), MoveError::Same(_)));
    assert!(matches!(refused(&from.join("deeper"), 0), MoveError::Inside { .. }));
    assert!(matches!(refused(&root, 0), MoveError::Inside { .. }));
    assert!(matches!(refused(&root.join("no/such/parent"), 0), MoveError::NotWritable { .. }));
    assert!(matches!(refused(&to, u64::MAX / 2), MoveError::NoRoom { .. }));
    assert!(!to.exists(), "it wasn't there before");
    std::fs::create_dir(&to).unwrap();
    std::fs::write(to.join("mine"), "x").unwrap();
    assert!(matches!(refused(&to, 0), MoveError::NotEmpty { found, .. } if found == "mine"));
    let nothing = Move::plan(&RealFiles, &root.join("nowhere"), &to, 0);
    assert!(matches!(nothing, Err(MoveError::NoStore(_))));
    assert_eq!(std::fs::read(to.join("mine")).unwrap(), b"x");
    Walk::of(&from, &RealFiles).unwrap();
}

#[test]
fn the_old_place_can_be_kept_and_what_is_not_the_stores_stays_in_it() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path().canonicalize().unwrap();
    let from = root.join("store");
    drop(Store::open(&from, Options::default(), Arc::new(RealFiles), ID).unwrap());
    for note in NOTES {
        std::fs::write(from.join(note), note).unwrap();
    }
    for (name, keeps_old) in [("one", true), ("two", false)] {
        std::fs::write(from.join("mine"), "x").unwrap();
        let plan = Move::plan(&RealFiles, &from, &root.join(name), 0).unwrap();
        plan.copy(&mut |_, _| ()).unwrap();
        let location = plan.switch(&root, keeps_old).unwrap();
        clear_leftover(&RealFiles, &root, &location).unwrap();
        let location = Location::of(&root, &RealFiles).unwrap();
        assert_eq!((location.folder.clone(), location.leftover.clone()), (root.join(name), None));
        location.check(&RealFiles).unwrap();
        assert_eq!(from.join("packs").exists(), keeps_old);
        assert!(from.join("mine").exists() && !root.join(name).join(MARKER).exists());
        for note in NOTES {
            assert_eq!(std::fs::read_to_string(root.join(name).join(note)).unwrap(), note);
            assert_eq!(from.join(note).exists(), keeps_old);
        }
    }
}
