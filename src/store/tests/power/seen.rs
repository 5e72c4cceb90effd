//! What a store shows, and what it should.

use std::collections::{BTreeMap, BTreeSet};

use artimesh_core::model::{Assurance, Digest};

use super::contents::{FIRST_LARGE, Number, POOL, number_of};
use super::folder;
use crate::store::files::{FileSystem, SimulatedFiles};
use crate::store::sums::has_md5;
use crate::store::{RowWrite, Store, Tree, Walk, unsummed};

const TREES: [Tree; 5] = [Tree::Meta, Tree::Catalog, Tree::Log, Tree::History, Tree::Trie];

/// Rows, by where they stand.
pub type Rows = BTreeMap<(Tree, Vec<u8>), Vec<u8>>;

/// Rows of all trees, and blobs with what is known of their sums.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    pub rows: Rows,
    pub blobs: BTreeMap<Number, Assurance>,
}

impl Seen {
    /// What an open store shows; an error when a blob that it shows can't be read, unless it is known to have rotted, or
    /// when its counts and files say something else.
    pub async fn of(store: &Store, files: &SimulatedFiles, rotten: &BTreeSet<Number>) -> Result<Seen, String> {
        let mut seen = Seen { rows: Seen::rows_of(store)?, ..Seen::default() };
        for (digest, size) in store.blobs(&Digest::ZERO, usize::MAX).map_err(|error| error.to_string())? {
            let number = number_of(&digest).ok_or_else(|| format!("a blob that nobody brought: {digest}"))?;
            let assurance = read(store, number, size, rotten).await.map_err(|what| format!("blob {number}: {what}"))?;
            seen.blobs.insert(number, assurance);
        }
        let counted = store.usage().blobs;
        if counted != seen.blobs.len() as u64 {
            return Err(format!("{} blobs are there, and it counts {counted}", seen.blobs.len()));
        }
        seen.has_its_files(files)?;
        Ok(seen)
    }

    /// The rows of an open store.
    pub fn rows_of(store: &Store) -> Result<Rows, String> {
        let mut rows = Rows::new();
        for tree in TREES {
            let found = store.range(tree, b"", &[u8::MAX; 8], usize::MAX).map_err(|error| error.to_string())?;
            rows.extend(found.into_iter().map(|(key, value)| ((tree, key), value)));
        }
        Ok(rows)
    }

    fn has_its_files(&self, files: &SimulatedFiles) -> Result<(), String> {
        let listed = files.list(&folder().join("large")).map_err(|error| error.to_string())?;
        let there = listed.iter().filter(|file| file.name.ends_with(".blob")).count();
        let large = self.blobs.keys().filter(|number| **number >= FIRST_LARGE).count();
        if there == large { Ok(()) } else { Err(format!("{there} large files for {large} large blobs")) }
    }

    /// What one who looks from outside finds must be the same.
    pub fn is_walked(&self, files: &SimulatedFiles, rotten: &BTreeSet<Number>) -> Result<(), String> {
        let walk = Walk::of(&folder(), files).map_err(|error| error.to_string())?;
        let named: BTreeSet<Digest> = self.blobs.keys().map(|number| POOL[*number].digest).collect();
        let mut verdict = walk.judge(&named);
        verdict.missing.retain(|digest| number_of(digest).is_none_or(|number| !rotten.contains(&number)));
        let is_right = verdict.missing.is_empty() && verdict.leaked.is_empty() && verdict.orphans.is_empty();
        if is_right { Ok(()) } else { Err(format!("a walk from outside finds {verdict:?}")) }
    }

    /// A row comes or goes.
    pub fn write(&mut self, row: &RowWrite) {
        let key = (row.tree, row.key.clone());
        match &row.value {
            Some(value) => self.rows.insert(key, value.clone()),
            None => self.rows.remove(&key),
        };
    }

    /// A blob comes whose sums are known so well.
    pub fn put(&mut self, number: Number, assurance: Assurance, is_unsummed: bool) {
        match self.blobs.get(&number) {
            Some(Assurance::Confirmed) => return,
            Some(Assurance::Claimed) if assurance == Assurance::Confirmed => {
                self.blobs.insert(number, assurance);
                return;
            }
            Some(Assurance::Claimed) => {}
            None => {
                self.blobs.insert(number, assurance);
            }
        }
        if is_unsummed {
            self.write(&RowWrite::put(Tree::Meta, unsummed::key(&POOL[number].digest), b"1"));
        }
    }

    /// All blobs that are listed have their sums computed.
    pub fn sum(&mut self) {
        for (number, content) in POOL.iter().enumerate() {
            if self.rows.remove(&(Tree::Meta, unsummed::key(&content.digest))).is_some()
                && let Some(assurance) = self.blobs.get_mut(&number)
            {
                *assurance = Assurance::Confirmed;
            }
        }
    }

    /// How it differs from another, in a line.
    pub fn against(&self, other: &Seen) -> String {
        let keys = |seen: &Seen| -> BTreeSet<String> {
            let row = |((tree, key), value): (&(Tree, Vec<u8>), &Vec<u8>)| {
                format!("{tree:?}/{}={:08x}", String::from_utf8_lossy(key), crc32fast::hash(value))
            };
            let blob = |(number, assurance): (&Number, &Assurance)| format!("blob {number} {assurance:?}");
            seen.rows.iter().map(row).chain(seen.blobs.iter().map(blob)).collect()
        };
        let (mine, others) = (keys(self), keys(other));
        let less: Vec<_> = others.difference(&mine).collect();
        let more: Vec<_> = mine.difference(&others).collect();
        format!("lacks {less:?}, and has {more:?}")
    }
}

async fn read(store: &Store, number: Number, size: u64, rotten: &BTreeSet<Number>) -> Result<Assurance, String> {
    let content = &POOL[number];
    let reader = store.reader(&content.digest).map_err(|error| error.to_string())?.ok_or("it is listed, and gone")?;
    let info = reader.info();
    if (info.size, size) != (content.bytes.len() as u64, content.bytes.len() as u64) {
        return Err(format!("it is told to have {size} bytes"));
    }
    let known = info.checksums;
    let is_right = if info.assurance == Assurance::Confirmed || has_md5(&known) {
        known == content.sums
    } else {
        (known.sha256, known.sha1) == (content.sums.sha256, content.sums.sha1)
    };
    if !is_right {
        return Err("its sums are wrong".into());
    }
    for index in 0..if rotten.contains(&number) { 0 } else { reader.group_count() } {
        reader.verify_group(index).await.map_err(|error| error.to_string())?;
    }
    Ok(info.assurance)
}
