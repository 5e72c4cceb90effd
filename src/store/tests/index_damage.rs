//! Whatever happens to the folder of the index, an open brings everything back.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use artimesh_core::model::Digest;

use super::{noise, open, put, put_blob, read};
use crate::store::{Batch, RowWrite, Store, Tree};

/// What is in the store, and a copy of its index from when it was half as old.
struct Template {
    folder: tempfile::TempDir,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    blobs: Vec<(Digest, Vec<u8>)>,
}

const HALF_OLD: &str = "half-old";

impl Template {
    async fn new() -> Template {
        let folder = tempfile::tempdir().unwrap();
        let mut template = Template { folder, rows: BTreeMap::new(), blobs: Vec::new() };
        for half in 0..2 {
            let (store, _) = open(&template.folder.path().join("store"));
            template.write(&store, half).await;
            store.close().await;
            drop(store);
            if half == 0 {
                copy(&template.folder.path().join("store/index"), &template.folder.path().join(HALF_OLD));
            }
        }
        template
    }

    async fn write(&mut self, store: &Store, half: u64) {
        for turn in 0..60 {
            let mut batch = Batch::default();
            for number in 0..100 {
                let seed = half << 32 | turn << 16 | number;
                let key = format!("path/{:02x}/{}", noise(seed, 1)[0], noise(seed, 2)[1]);
                let value = noise(seed, 40 + (number as usize) * 7);
                if seed.is_multiple_of(9) {
                    self.rows.remove(key.as_bytes());
                    batch.rows.push(RowWrite::delete(Tree::Catalog, key));
                } else {
                    self.rows.insert(key.clone().into_bytes(), value.to_vec());
                    batch.rows.push(put(&key, &value));
                }
            }
            store.commit(batch).await.unwrap();
            let bytes = noise(half << 32 | turn, if turn == 7 { 1_500_000 } else { 300 + 40 * turn as usize });
            self.blobs.push((put_blob(store, &bytes).await, bytes.to_vec()));
        }
    }

    async fn check(&self, store: &Store, what: &str) {
        let rows =
            store.range(Tree::Catalog, &[], &[255], usize::MAX).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(rows.into_iter().eq(self.rows.clone()), "{what}: the rows differ");
        for (digest, bytes) in &self.blobs {
            assert_eq!(read(store, digest).await.as_ref(), Some(bytes), "{what}");
        }
        assert_eq!(store.usage().blobs, self.blobs.len() as u64, "{what}");
        store.commit(super::rows([put("another", b"row")])).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(store.get(Tree::Catalog, b"another").unwrap().as_deref(), Some(&b"row"[..]), "{what}");
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, to) = {
            let entry = entry.unwrap();
            (entry.path(), to.join(entry.file_name()))
        };
        if path.is_dir() { copy(&path, &to) } else { fs::copy(&path, &to).map(drop).unwrap() }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn number(seed: u64, below: usize) -> usize {
    (u64::from_le_bytes(noise(seed, 8).as_ref().try_into().unwrap()) % below.max(1) as u64) as usize
}

/// Damages an index; returns what was done.
fn damage(root: &Path, seed: u64) -> String {
    let index = root.join("store/index");
    let files = files(&index);
    let file = &files[number(seed + 1, files.len())];
    let file = if seed.is_multiple_of(3) { file } else { &index.join("db") };
    let mut bytes = fs::read(file).unwrap();
    let name = file.file_name().unwrap().to_string_lossy().into_owned();
    let start = number(seed + 2, bytes.len());
    let most = [16, 4096, 300_000, usize::MAX][number(seed + 3, 4)];
    let end = start + 1 + number(seed + 4, most.min(bytes.len() - start).max(1)).min(bytes.len() - start - 1);
    match seed % 7 {
        0 => {
            fs::remove_file(file).unwrap();
            format!("{name} removed")
        }
        1 => {
            bytes.truncate(start);
            fs::write(file, &bytes).unwrap();
            format!("{name} cut at {start}")
        }
        2 => {
            bytes[start..end].fill(0);
            fs::write(file, &bytes).unwrap();
            format!("{name} zeroed {start}..{end}")
        }
        3 => {
            fs::write(file, fs::read(root.join(HALF_OLD).join(&name)).unwrap_or_default()).unwrap();
            format!("{name} of an older copy")
        }
        4 => {
            fs::remove_dir_all(&index).unwrap();
            copy(&root.join(HALF_OLD), &index);
            "an older copy".into()
        }
        _ => {
            bytes[start..end].copy_from_slice(&noise(seed, end - start));
            fs::write(file, &bytes).unwrap();
            format!("{name} of {} bytes overwritten {start}..{end}", bytes.len())
        }
    }
}

/// How many kinds of damage are tried.
fn tries() -> u64 {
    if std::env::var("ARTIMESH_LONG").is_ok_and(|value| value == "1") { 1000 } else { 21 }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_was_damaged_in_any_way_is_noticed_and_built_anew() {
    let template = Template::new().await;
    for seed in 0..tries() {
        let folder = tempfile::tempdir().unwrap();
        copy(template.folder.path(), folder.path());
        if seed.is_multiple_of(2) {
            // Then it isn't noticed by being a copy.
            open(&folder.path().join("store")).0.close().await;
            assert!(folder.path().join("store/index/as-closed").exists());
        }
        let done = format!("{seed}: {}", damage(folder.path(), seed));
        let (store, recovery) = open(&folder.path().join("store"));
        println!("{done}: {:?}", recovery.index);
        template.check(&store, &done).await;
        store.close().await;
    }
}
