//! Rows in the order of their keys, more than memory holds: for an index that is built anew.
//!
//! # Why
//! Digests come in no order. An index that takes a million artifacts as they were written reads and rewrites a page for every
//! row; in the order of the keys each page is written once. What was overwritten later never gets there at all.

use std::cmp::Ordering;
use std::io;
use std::mem::take;
use std::path::PathBuf;
use std::sync::Arc;

use artimesh_core::model::Digest;
use bytes::Bytes;

use super::error::OpenError;
use super::files::{File, FileSystem};
use super::index::IndexRow;
use super::pack::record::Meta;
use super::value::{BlobEntry, Table};

/// So much is held while rows come in, before they go to a run.
const WINDOW_BYTES: usize = 48 << 20;
/// So many runs become one: each takes a descriptor and a piece in memory.
const RUNS_MAX: usize = 64;
/// A run is read and written in pieces of this size.
const PIECE_BYTES: usize = 256 << 10;
/// What stands before the key: the table, what is done, the lengths of key and value.
const HEAD_BYTES: usize = 10;

/// The name of a run while it is made, in the store's folder.
pub const RUN: &str = "index.run";

/// Done to one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Put,
    Delete,
    /// The sums of a blob that is known from before.
    Confirm,
}

/// Takes rows as they were written, and gives the last of each key, in the order of table and key.
///
/// What doesn't fit in memory goes to runs: files that have no name any more once they were made, so that they go with the
/// process.
pub struct Sorter {
    files: Arc<dyn FileSystem>,
    path: PathBuf,
    window_bytes: usize,
    window: Window,
    runs: Vec<Run>,
}

/// Encoded rows, and where they are.
#[derive(Default)]
struct Window {
    rows: Vec<u8>,
    places: Vec<Place>,
}

/// The table and the first bytes of the key decide most comparisons.
#[derive(Clone, Copy)]
struct Place {
    prefix: u64,
    at: u32,
}

/// One encoded row.
#[derive(Clone, Copy)]
struct Encoded<'a> {
    table: u8,
    deed: Deed,
    key: &'a [u8],
    value: &'a [u8],
}

/// A sorted file, read from its start.
struct Run {
    file: Arc<dyn File>,
    bytes: u64,
    read: u64,
    piece: Vec<u8>,
    at: usize,
}

/// What [`Sorter::finish`] gives.
pub struct Sorted {
    path: PathBuf,
    window: Window,
    next: usize,
    runs: Vec<Run>,
}

impl Sorter {
    /// One whose runs have no name once they were made; `path` is theirs until then.
    pub fn new(files: &Arc<dyn FileSystem>, path: PathBuf) -> Sorter {
        let (files, window) = (files.clone(), Window::default());
        Sorter { files, path, window_bytes: WINDOW_BYTES, window, runs: Vec::new() }
    }

    /// The next row.
    pub fn add(&mut self, row: &IndexRow) -> Result<(), OpenError> {
        let (deed, value) = match &row.value {
            Some(value) => (Deed::Put, value.as_ref()),
            None => (Deed::Delete, &[][..]),
        };
        self.push(Encoded { table: row.table as u8, deed, key: &row.key, value })
    }

    /// The sums of a blob that an earlier row brought; nothing is done when there is none.
    pub fn confirm(&mut self, digest: &Digest, meta: &Meta) -> Result<(), OpenError> {
        let value = &meta.encode();
        self.push(Encoded { table: Table::Blobs as u8, deed: Deed::Confirm, key: &digest.0, value })
    }

    /// No more rows will come.
    pub fn finish(mut self) -> Result<Sorted, OpenError> {
        if !self.runs.is_empty() {
            self.spill()?;
        }
        self.window.sort();
        let Sorter { path, window, runs, .. } = self;
        Ok(Sorted { path, window, next: 0, runs })
    }

    fn push(&mut self, row: Encoded<'_>) -> Result<(), OpenError> {
        if self.window.bytes() + row.bytes() > self.window_bytes {
            self.spill()?;
        }
        self.window.push(row);
        Ok(())
    }

    fn spill(&mut self) -> Result<(), OpenError> {
        let mut window = take(&mut self.window);
        window.sort();
        let mut writer = self.begin_run().map_err(OpenError::io(&self.path))?;
        for place in &window.places {
            writer.push(window.encoded(*place)).map_err(OpenError::io(&self.path))?;
        }
        self.runs.push(writer.finish().map_err(OpenError::io(&self.path))?);
        if self.runs.len() >= RUNS_MAX {
            self.merge()?;
        }
        window.rows.clear();
        window.places.clear();
        self.window = window;
        Ok(())
    }

    /// All runs become one. Before them there was nothing, so that what their rows come to is all that holds.
    fn merge(&mut self) -> Result<(), OpenError> {
        let mut writer = self.begin_run().map_err(OpenError::io(&self.path))?;
        let (path, window, runs) = (self.path.clone(), Window::default(), take(&mut self.runs));
        let mut sorted = Sorted { path, window, next: 0, runs };
        let mut encoded = Vec::new();
        while let Some(row) = sorted.next()? {
            encoded.clear();
            let value = row.value.as_deref().unwrap_or_default();
            Encoded { table: row.table as u8, deed: Deed::Put, key: &row.key, value }.append_to(&mut encoded);
            writer.push(&encoded).map_err(OpenError::io(&self.path))?;
        }
        self.runs.push(writer.finish().map_err(OpenError::io(&self.path))?);
        Ok(())
    }

    fn begin_run(&self) -> io::Result<RunWriter> {
        match self.files.remove(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = self.files.create(&self.path)?;
        self.files.remove(&self.path)?;
        Ok(RunWriter { file, piece: Vec::with_capacity(PIECE_BYTES), bytes: 0 })
    }
}

/// A run that is being written.
struct RunWriter {
    file: Arc<dyn File>,
    piece: Vec<u8>,
    bytes: u64,
}

impl RunWriter {
    fn push(&mut self, row: &[u8]) -> io::Result<()> {
        if self.piece.len() + row.len() > PIECE_BYTES {
            self.write()?;
        }
        self.piece.extend_from_slice(row);
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        self.file.write_at(&self.piece, self.bytes)?;
        self.bytes += self.piece.len() as u64;
        self.piece.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<Run> {
        self.write()?;
        Ok(Run { file: self.file, bytes: self.bytes, read: 0, piece: Vec::new(), at: 0 })
    }
}

impl Window {
    fn bytes(&self) -> usize {
        self.rows.len() + self.places.len() * size_of::<Place>()
    }

    fn push(&mut self, row: Encoded<'_>) {
        let at = u32::try_from(self.rows.len()).expect("a window is smaller than 4 GiB");
        let mut prefix = [0; 8];
        prefix[0] = row.table;
        let known = row.key.len().min(7);
        prefix[1..=known].copy_from_slice(&row.key[..known]);
        self.places.push(Place { prefix: u64::from_be_bytes(prefix), at });
        row.append_to(&mut self.rows);
    }

    fn encoded(&self, place: Place) -> &[u8] {
        let rest = &self.rows[place.at as usize..];
        &rest[..Encoded::first_of(rest).map_or(0, |row| row.bytes())]
    }

    fn row(&self, place: Place) -> Option<Encoded<'_>> {
        Encoded::first_of(&self.rows[place.at as usize..])
    }

    /// Rows of one key stay in the order in which they came.
    fn sort(&mut self) {
        let mut places = take(&mut self.places);
        places.sort_unstable_by(|a, b| {
            let by_key = || self.row(*a).map(|row| row.place()).cmp(&self.row(*b).map(|row| row.place()));
            a.prefix.cmp(&b.prefix).then_with(by_key).then_with(|| a.at.cmp(&b.at))
        });
        self.places = places;
    }
}

impl<'a> Encoded<'a> {
    /// `None` behind the last.
    fn first_of(bytes: &'a [u8]) -> Option<Encoded<'a>> {
        let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>()?;
        let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]) as usize;
        let (key, rest) = rest.split_at_checked(number(2))?;
        let value = rest.get(..number(6))?;
        let deed = [Deed::Put, Deed::Delete, Deed::Confirm].into_iter().find(|deed| *deed as u8 == head[1])?;
        Some(Encoded { table: head[0], deed, key, value })
    }

    fn append_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.table, self.deed as u8]);
        out.extend_from_slice(&(self.key.len() as u32).to_le_bytes());
        out.extend_from_slice(&(self.value.len() as u32).to_le_bytes());
        out.extend_from_slice(self.key);
        out.extend_from_slice(self.value);
    }

    fn bytes(&self) -> usize {
        HEAD_BYTES + self.key.len() + self.value.len()
    }

    fn place(&self) -> (u8, &'a [u8]) {
        (self.table, self.key)
    }
}

impl Run {
    /// Whether there is a next row, which is in memory then. What was written is what is read: a part of a row is an error.
    fn fill(&mut self) -> io::Result<bool> {
        loop {
            if Encoded::first_of(&self.piece[self.at..]).is_some() {
                return Ok(true);
            }
            let kept = self.piece.len() - self.at;
            let more = (self.bytes - self.read).min(PIECE_BYTES as u64) as usize;
            if more == 0 {
                return if kept == 0 { Ok(false) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
            self.piece.copy_within(self.at.., 0);
            self.piece.resize(kept + more, 0);
            self.file.read_at(&mut self.piece[kept..], self.read)?;
            self.read += more as u64;
            self.at = 0;
        }
    }

    fn row(&self) -> Option<Encoded<'_>> {
        Encoded::first_of(&self.piece[self.at..])
    }
}

impl Sorted {
    /// The row of the next key that has one.
    pub fn next(&mut self) -> Result<Option<IndexRow>, OpenError> {
        loop {
            for run in &mut self.runs {
                run.fill().map_err(OpenError::io(&self.path))?;
            }
            let heads = self.runs.iter().map(Run::row).chain([self.held()]);
            let Some((table, key)) = heads.flatten().map(|row| row.place()).min() else { return Ok(None) };
            let key = Bytes::copy_from_slice(key);
            let value = self.decide(table, &key)?;
            let table = Table::ALL.into_iter().find(|known| *known as u8 == table);
            if let (Some(table), Some(value)) = (table, value) {
                return Ok(Some(IndexRow { table, key, value: Some(value) }));
            }
        }
    }

    fn held(&self) -> Option<Encoded<'_>> {
        self.window.row(*self.window.places.get(self.next)?)
    }

    /// Takes all rows of a key, the earliest run's first, and says what they come to.
    fn decide(&mut self, table: u8, key: &[u8]) -> Result<Option<Bytes>, OpenError> {
        let mut value = None;
        for run in &mut self.runs {
            while run.fill().map_err(OpenError::io(&self.path))? {
                let Some(row) = run.row().filter(|row| row.place().cmp(&(table, key)) == Ordering::Equal) else {
                    break;
                };
                value = row.upon(value);
                run.at += row.bytes();
            }
        }
        while let Some(row) = self.held().filter(|row| row.place() == (table, key)) {
            value = row.upon(value);
            self.next += 1;
        }
        Ok(value)
    }
}

impl Encoded<'_> {
    fn upon(&self, before: Option<Bytes>) -> Option<Bytes> {
        match self.deed {
            Deed::Put => Some(Bytes::copy_from_slice(self.value)),
            Deed::Delete => None,
            Deed::Confirm => {
                let known = BlobEntry::decode(&before?)?;
                let meta = Meta::decode(self.value)?;
                Some(BlobEntry { meta, place: known.place }.encode())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use artimesh_core::model::{Assurance, Checksums};
    use proptest::prelude::*;

    use super::*;
    use crate::store::RealFiles;
    use crate::store::effects::blob_row;
    use crate::store::value::Place;

    #[derive(Debug, Clone)]
    enum Change {
        Row(Table, Vec<u8>, Option<Vec<u8>>),
        Blob(u8, u8),
        Confirm(u8, u8),
        Gone(u8),
    }

    fn changes() -> impl Strategy<Value = Vec<Change>> {
        let table = prop::sample::select(vec![Table::Meta, Table::Log, Table::Trie]);
        let key = prop::collection::vec(0..3_u8, 0..12);
        let value = prop::option::weighted(0.7, prop::collection::vec(any::<u8>(), 0..40));
        let change = prop_oneof![
            4 => (table, key, value).prop_map(|(table, key, value)| Change::Row(table, key, value)),
            2 => (0..6_u8, any::<u8>()).prop_map(|(digest, seed)| Change::Blob(digest, seed)),
            2 => (0..6_u8, any::<u8>()).prop_map(|(digest, seed)| Change::Confirm(digest, seed)),
            1 => (0..6_u8).prop_map(Change::Gone),
        ];
        prop::collection::vec(change, 0..200)
    }

    fn digest(number: u8) -> Digest {
        Digest([number; 32])
    }

    fn meta(seed: u8) -> Meta {
        Meta {
            assurance: Assurance::Confirmed,
            checksums: Checksums { sha256: [seed; 32], sha1: [0; 20], md5: [0; 16] },
        }
    }

    fn blob(seed: u8) -> BlobEntry {
        BlobEntry { meta: meta(seed), place: Place::Large { file: u64::from(seed), size_bytes: 7 } }
    }

    type Rows = Vec<(Table, Vec<u8>, Vec<u8>)>;

    /// What one change after the other comes to.
    fn expected(changes: &[Change]) -> Rows {
        let (mut rows, mut blobs) = (BTreeMap::new(), BTreeMap::new());
        for change in changes.iter().cloned() {
            match change {
                Change::Row(table, key, Some(value)) => drop(rows.insert((table, key), value)),
                Change::Row(table, key, None) => drop(rows.remove(&(table, key))),
                Change::Blob(number, seed) => drop(blobs.insert(number, blob(seed))),
                Change::Gone(number) => drop(blobs.remove(&number)),
                Change::Confirm(number, seed) => {
                    blobs.entry(number).and_modify(|known| known.meta = meta(seed));
                }
            }
        }
        rows.extend(
            blobs.iter().map(|(number, blob)| ((Table::Blobs, digest(*number).0.to_vec()), blob.encode().to_vec())),
        );
        rows.into_iter().map(|((table, key), value)| (table, key, value)).collect()
    }

    fn sorted(changes: &[Change], window_bytes: usize) -> (Rows, usize) {
        let folder = tempfile::tempdir().unwrap();
        let files: Arc<dyn FileSystem> = Arc::new(RealFiles);
        let mut sorter = Sorter { window_bytes, ..Sorter::new(&files, folder.path().join("run")) };
        for change in changes.iter().cloned() {
            match change {
                Change::Row(table, key, value) => {
                    sorter.add(&IndexRow { table, key: key.into(), value: value.map(Bytes::from) })
                }
                Change::Blob(number, seed) => sorter.add(&blob_row(&digest(number), &blob(seed))),
                Change::Confirm(number, seed) => sorter.confirm(&digest(number), &meta(seed)),
                Change::Gone(number) => {
                    sorter.add(&IndexRow { table: Table::Blobs, key: digest(number).0.to_vec().into(), value: None })
                }
            }
            .unwrap();
        }
        let mut sorted = sorter.finish().unwrap();
        let runs = sorted.runs.len();
        assert_eq!(files.list(folder.path()).unwrap(), [], "runs have no name");
        let mut rows = Rows::new();
        while let Some(row) = sorted.next().unwrap() {
            rows.push((row.table, row.key.to_vec(), row.value.unwrap().to_vec()));
        }
        (rows, runs)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
        #[test]
        fn the_last_of_each_key_comes_in_order_however_little_is_held(changes in changes(), window_bytes in 1..4000_usize) {
            let expected = expected(&changes);
            prop_assert_eq!(&sorted(&changes, window_bytes).0, &expected);
            let (rows, runs) = sorted(&changes, 1 << 20);
            prop_assert_eq!(rows, expected);
            prop_assert_eq!(runs, 0);
        }
    }

    #[test]
    fn a_run_is_read_in_pieces() {
        let rows: Vec<Change> = (0..40_u32)
            .rev()
            .map(|number| Change::Row(Table::Log, number.to_be_bytes().to_vec(), Some(vec![7; PIECE_BYTES / 3])))
            .collect();
        let (found, runs) = sorted(&rows, 10 * PIECE_BYTES);
        assert_eq!(found, expected(&rows));
        assert!(runs > 1);
    }
}
